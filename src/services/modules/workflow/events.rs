//! Events of users and workflows, with the topics and fields of the reference document, and the commands of the
//! saga that generates a workflow.
//!
//! | topic | key | fields |
//! |---|---|---|
//! | `user.authenticated` | user | `eventId, userId, tenantId, email, timestamp, ipAddress, userAgent, permissions` |
//! | `workflow.requested` | workflow | `eventId, workflowId, userId, tenantId, description, businessContext, priority, timestamp` |
//! | `workflow.generated` | workflow | `eventId, workflowId, generatedWorkflow, userId, tenantId, timestamp` |
//!
//! Unlike the document, in which `workflow.requested` is placed by tenant and `workflow.executed` by execution, all
//! of a workflow's events have the workflow as their key, so that they are in order.

use ottla_macros::{Command, Event};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::services::error::Result;
use crate::services::event::Event;
use crate::services::unit::Emission;
use crate::services::{Cx, permanent};

/// Somebody has logged in.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "user.authenticated", name = "user.authenticated", key = "user_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct UserAuthenticated {
    /// Who.
    pub user_id: String,
    /// Of which tenant.
    #[serde(default)]
    pub tenant_id: String,
    /// Where mail reaches him.
    #[serde(default)]
    pub email: String,
    /// When, in ms since 1970.
    pub timestamp: i64,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What he may do.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// The session that began.
    #[serde(default)]
    pub session_id: String,
    /// `oauth2` or `jwt_refresh`.
    #[serde(default = "oauth2")]
    pub auth_method: String,
    /// The workflow that was asked for in the same breath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowWish>,
}

fn oauth2() -> String {
    "oauth2".to_owned()
}

/// A workflow that somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowWish {
    /// Its id, where the asker gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// What it is to do.
    pub description: String,
    /// For what kind of business.
    #[serde(default)]
    pub business_context: Option<String>,
    /// How urgent.
    #[serde(default = "normal")]
    pub priority: String,
}

fn normal() -> String {
    "normal".to_owned()
}

/// A workflow is wanted.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "workflow.requested", name = "workflow.requested", key = "workflow_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRequested {
    /// Its id.
    pub workflow_id: String,
    /// For whom.
    #[serde(default)]
    pub user_id: String,
    /// Of which tenant.
    #[serde(default)]
    pub tenant_id: String,
    /// What it is to do.
    pub description: String,
    /// For what kind of business.
    #[serde(default)]
    pub business_context: Option<String>,
    /// How urgent.
    #[serde(default = "normal")]
    pub priority: String,
    /// When, in ms since 1970.
    #[serde(default)]
    pub timestamp: i64,
}

/// A workflow was made.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "workflow.generated", name = "workflow.generated", key = "workflow_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct WorkflowGenerated {
    /// Its id.
    pub workflow_id: String,
    /// It.
    pub generated_workflow: Value,
    /// For whom.
    #[serde(default)]
    pub user_id: String,
    /// Of which tenant.
    #[serde(default)]
    pub tenant_id: String,
    /// When, in ms since 1970.
    #[serde(default)]
    pub timestamp: i64,
}

/// Step 1 of the saga: may this user do that?
#[derive(Clone, Debug, Command, Serialize, Deserialize)]
#[command(topic = "saga.user.validation.requested", name = "saga.user.validation.requested")]
#[command(key = "user_id", envelope = "flat", reply = UserValidated)]
#[serde(rename_all = "camelCase")]
pub struct ValidateUser {
    /// Who.
    pub user_id: String,
    /// Of which tenant.
    #[serde(default)]
    pub tenant_id: String,
    /// What he wants to do.
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// Whether he may.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "saga.user.validation.completed", name = "saga.user.validation.completed")]
#[event(key = "user_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct UserValidated {
    /// Who.
    pub user_id: String,
    /// Whether he is known and may do all of it.
    pub valid: bool,
}

/// Step 2 of the saga: make a workflow.
#[derive(Clone, Debug, Command, Serialize, Deserialize)]
#[command(topic = "saga.ai.generation.requested", name = "saga.ai.generation.requested")]
#[command(key = "workflow_id", envelope = "flat", reply = AiGenerated)]
#[serde(rename_all = "camelCase")]
pub struct GenerateWorkflow {
    /// Its id.
    pub workflow_id: String,
    /// What it is to do.
    pub description: String,
    /// For what kind of business.
    #[serde(default)]
    pub business_context: Option<String>,
}

/// The workflow that was made.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "saga.ai.generation.completed", name = "saga.ai.generation.completed")]
#[event(key = "workflow_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct AiGenerated {
    /// Its id.
    pub workflow_id: String,
    /// It.
    pub workflow: Value,
}

/// Step 3 of the saga: keep it.
#[derive(Clone, Debug, Command, Serialize, Deserialize)]
#[command(topic = "saga.workflow.save.requested", name = "saga.workflow.save.requested")]
#[command(key = "workflow_id", envelope = "flat", reply = WorkflowSaved)]
#[serde(rename_all = "camelCase")]
pub struct SaveWorkflow {
    /// Its id.
    pub workflow_id: String,
    /// It.
    pub generated_workflow: Value,
    /// For whom.
    #[serde(default)]
    pub user_id: String,
    /// Of which tenant.
    #[serde(default)]
    pub tenant_id: String,
}

/// It is kept.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "saga.workflow.save.completed", name = "saga.workflow.save.completed")]
#[event(key = "workflow_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSaved {
    /// Its id.
    pub workflow_id: String,
}

/// Step 4 of the saga: tell the user. Nobody answers.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "saga.notification.requested", name = "saga.notification.requested")]
#[event(key = "user_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct NotifyUser {
    /// Whom.
    pub user_id: String,
    /// Of what: `workflow.ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which workflow.
    pub workflow_id: String,
}

/// The end of the saga, where it went well.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "saga.completed", name = "saga.completed", key = "workflow_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct SagaCompleted {
    /// `success`.
    pub status: String,
    /// Which workflow.
    pub workflow_id: String,
}

/// What was done is to be undone: one such command for each step, the last one done first.
#[derive(Clone, Debug, Command, Serialize, Deserialize)]
#[command(topic = "saga.compensation.requested", name = "saga.compensation.requested")]
#[command(key = "workflow_id", envelope = "flat", reply = Compensated)]
#[serde(rename_all = "camelCase")]
pub struct Compensate {
    /// Which workflow.
    pub workflow_id: String,
    /// Why; the saga says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The steps to undo.
    pub steps: Vec<String>,
}

/// It is undone.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "saga.compensation.completed", name = "saga.compensation.completed")]
#[event(key = "workflow_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct Compensated {
    /// Which workflow.
    pub workflow_id: String,
    /// The steps that are undone.
    pub steps: Vec<String>,
}

/// Answers a command of a requester that names no reply topic in its headers, as the reference document's own
/// code: to the topic that the command's field `replyTopic` names, or to the one that the document's requesters
/// read, `saga.STEP.completed.SAGA`.
///
/// # Errors
/// Permanent `bad-reply-topic`: a topic that is not for answers.
pub fn answer_requester<E: Event>(cx: &Cx, answer: &E) -> Result<()> {
    let input = cx.input();
    if crate::services::reply::header(&input.headers, crate::services::reply::REPLY_TOPIC).is_some()
    {
        return Ok(());
    }
    let saga_id = input.saga_id.as_deref().unwrap_or_default();
    let topic = match input.body.get("replyTopic").and_then(Value::as_str) {
        Some(topic) if topic.starts_with("__") || topic.starts_with("ottla.") => {
            let message = format!("{topic} is not for answers");
            return Err(permanent("bad-reply-topic").because(message));
        }
        Some(topic) => topic.to_owned(),
        None if saga_id.is_empty() => return Ok(()),
        None => format!("{}.{saga_id}", E::TOPIC),
    };
    let key = if saga_id.is_empty() { answer.key() } else { saga_id.to_owned() };
    cx.emit_raw(Emission {
        topic: topic.into(),
        name: E::NAME.into(),
        envelope: E::ENVELOPE,
        key,
        body: serde_json::to_value(answer)
            .map_err(|error| permanent("bad-event").because(error))?,
        headers: Vec::new(),
    });
    Ok(())
}
