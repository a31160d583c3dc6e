//! The workflow service: asks for workflows where a login does, and keeps those that were generated.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::{
    Compensate, Compensated, SaveWorkflow, UserAuthenticated, WorkflowGenerated, WorkflowRequested,
    WorkflowSaved, answer_requester,
};
use super::saga::SAVING;
use crate::services::modules::DEDUP;
use crate::services::{Cx, Result, Service, Table, permanent, service};

/// Workflows by their id.
pub static WORKFLOWS: Table<String, Workflow> = Table::new("workflow.workflows");

/// The consumer group.
const GROUP: &str = "workflow-service-group";

/// A workflow that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// Whose it is.
    pub user_id: String,
    /// Of which tenant.
    pub tenant_id: String,
    /// It; null where it was undone.
    pub workflow: Value,
    /// The saga that saved it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga_id: Option<String>,
    /// Whether its saga has undone it. Saving that comes after is refused.
    #[serde(default)]
    pub is_undone: bool,
}

/// The service.
pub(super) fn workflows() -> Service {
    service(GROUP)
        .on(authenticated)
        .by(|event: &UserAuthenticated| event.user_id.clone())
        .dedup(DEDUP)
        .done()
        .on(generated)
        .by(|event: &WorkflowGenerated| event.workflow_id.clone())
        .done()
        .answer_with(save)
        .by(|command: &SaveWorkflow| command.workflow_id.clone())
        .done()
        .answer_with(compensate)
        .by(|command: &Compensate| command.workflow_id.clone())
        .done()
}

async fn authenticated(event: UserAuthenticated, cx: Cx) -> Result {
    let Some(wish) = event.workflow else { return Ok(()) };
    cx.emit(&WorkflowRequested {
        workflow_id: wish.workflow_id.unwrap_or_else(|| cx.uuid()),
        user_id: event.user_id,
        tenant_id: event.tenant_id,
        description: wish.description,
        business_context: wish.business_context,
        priority: wish.priority,
        timestamp: cx.now().0,
    })
}

async fn generated(event: WorkflowGenerated, cx: Cx) -> Result {
    let workflow = Workflow {
        user_id: event.user_id,
        tenant_id: event.tenant_id,
        workflow: event.generated_workflow,
        saga_id: None,
        is_undone: false,
    };
    cx.put(&WORKFLOWS, &event.workflow_id, &workflow)
}

async fn save(command: SaveWorkflow, cx: Cx) -> Result<WorkflowSaved> {
    let saga_id = cx.input().saga_id.as_deref().map(str::to_owned);
    let before = cx.get(&WORKFLOWS, &command.workflow_id).await?;
    match before {
        Some(before) if before.saga_id == saga_id && before.is_undone => {
            return Err(permanent("cancelled").because("it was undone before it was saved"));
        }
        Some(before) if before.saga_id != saga_id && !before.is_undone => {
            let message = format!("workflow {} is there already", command.workflow_id);
            return Err(permanent("workflow-exists").because(message));
        }
        Some(_) | None => {}
    }
    let workflow = Workflow {
        user_id: command.user_id,
        tenant_id: command.tenant_id,
        workflow: command.generated_workflow,
        saga_id,
        is_undone: false,
    };
    cx.put(&WORKFLOWS, &command.workflow_id, &workflow)?;
    let answer = WorkflowSaved { workflow_id: command.workflow_id };
    answer_requester(&cx, &answer)?;
    Ok(answer)
}

/// Undoes what this saga has done, and nothing of another. Generating leaves nothing behind.
async fn compensate(command: Compensate, cx: Cx) -> Result<Compensated> {
    if command.steps.iter().any(|step| step == SAVING) {
        let saga_id = cx.input().saga_id.as_deref().map(str::to_owned);
        let before = cx.get(&WORKFLOWS, &command.workflow_id).await?;
        if before.as_ref().is_none_or(|before| before.saga_id == saga_id || before.is_undone) {
            let undone = Workflow {
                user_id: String::new(),
                tenant_id: String::new(),
                workflow: Value::Null,
                saga_id,
                is_undone: true,
            };
            cx.put(&WORKFLOWS, &command.workflow_id, &undone)?;
        }
    }
    Ok(Compensated { workflow_id: command.workflow_id, steps: command.steps })
}
