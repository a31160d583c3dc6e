//! The pack `workflow`: users, logins, workflows and the AI that makes them, by the topics of the first two
//! reference documents; as a chain of events, and as a saga.
//!
//! ```text
//! POST /api/auth/login -> user.authenticated -> workflow.requested -> workflow.generated -> (notify)
//!                                            -> user-events: users, interviews
//! POST /api/saga/workflow -> user.validation -> ai.generation -> workflow.save -> notification, saga.completed
//! ```

pub mod events;
mod saga;
mod workflows;

#[cfg(test)]
mod tests;

use serde_json::json;

pub use self::workflows::{WORKFLOWS, Workflow};
use super::Module;
use super::ai::{self, Provider};
use super::auth;
use super::route::{FieldError, Posted};
use crate::services::event::Envelope;
use crate::services::unit::Emission;

/// The pack.
pub(super) fn module(provider: Provider) -> Module {
    auth::add(Module::new("workflow"))
        .service(ai::events(provider))
        .service(ai::saga(provider))
        .service(workflows::workflows())
        .saga(saga::versions())
        .publishes("POST /api/workflows", request)
}

/// A workflow is asked for without a login or a saga.
fn request(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let workflow_id = fields.word_if("workflowId")?.unwrap_or_else(|| posted.event_id.to_owned());
    let description = fields.text_if("description")?.filter(|text| !text.is_empty());
    let body = json!({
        "workflowId": workflow_id,
        "userId": fields.word("userId")?,
        "tenantId": fields.word("tenantId")?,
        "description": description.ok_or_else(|| fields.wrong("description", "missing"))?,
        "businessContext": fields.text_if("businessContext")?,
        "priority": fields.word_if("priority")?.unwrap_or_else(|| "normal".to_owned()),
        "timestamp": posted.at.0,
    });
    Ok(Emission {
        topic: "workflow.requested".into(),
        name: "workflow.requested".into(),
        envelope: Envelope::Flat,
        key: workflow_id,
        body,
        headers: Vec::new(),
    })
}
