//! The saga that generates a workflow: may the user, make it, keep it, tell him.
//!
//! Unlike the reference document's, it is a record and not in memory, all answers come by one topic and not by one a
//! saga and step, and only what was done is undone.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::{
    Compensate, GenerateWorkflow, NotifyUser, SagaCompleted, SaveWorkflow, UserValidated,
    ValidateUser,
};
use crate::services::saga::{Saga, Versions};

/// What the saga works with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    /// The saga's own id, where the asker gives none.
    workflow_id: String,
    user_id: String,
    tenant_id: String,
    description: String,
    #[serde(default)]
    business_context: Option<String>,
    /// What came of step 2.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    workflow: Value,
}

/// The name of step 2, as the document's compensations have it.
pub(super) const GENERATION: &str = "ai.generation";
/// The name of step 3.
pub(super) const SAVING: &str = "workflow.save";

/// The saga, started by `POST /api/saga/workflow`.
pub(super) fn versions() -> Versions {
    Versions::of(steps()).expect("steps have names of their own, of letters and dots")
}

fn steps() -> Saga<Generation> {
    let undo = |d: &Generation, step: &str| Compensate {
        workflow_id: d.workflow_id.clone(),
        error: None,
        steps: vec![step.to_owned()],
    };
    Saga::<Generation>::new("workflow", 1)
        .http("POST /api/saga/workflow")
        .about("workflowId")
        .deadline(Duration::from_secs(300))
        .step("user.validation", |d: &Generation| ValidateUser {
            user_id: d.user_id.clone(),
            tenant_id: d.tenant_id.clone(),
            permissions: vec!["workflow.create".to_owned()],
        })
        .require(|reply: &UserValidated| match reply.valid {
            true => Ok(()),
            false => Err("User validation failed".to_owned()),
        })
        .step(GENERATION, |d: &Generation| GenerateWorkflow {
            workflow_id: d.workflow_id.clone(),
            description: d.description.clone(),
            business_context: d.business_context.clone(),
        })
        .timeout(Duration::from_secs(120))
        .save(|d, reply| d.workflow = reply.workflow)
        .undo(move |d| undo(d, GENERATION))
        .undo_because("error")
        .step(SAVING, |d: &Generation| SaveWorkflow {
            workflow_id: d.workflow_id.clone(),
            generated_workflow: d.workflow.clone(),
            user_id: d.user_id.clone(),
            tenant_id: d.tenant_id.clone(),
        })
        .undo(move |d| undo(d, SAVING))
        .undo_because("error")
        .tell("notification", |d: &Generation| NotifyUser {
            user_id: d.user_id.clone(),
            kind: "workflow.ready".to_owned(),
            workflow_id: d.workflow_id.clone(),
        })
        .tell("completed", |d: &Generation| SagaCompleted {
            status: "success".to_owned(),
            workflow_id: d.workflow_id.clone(),
        })
        .end()
}
