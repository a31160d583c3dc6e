//! The AI service: makes workflows and answers requests by a provider. The one in the box, `echo`, needs no
//! network and says the same to the same question.

use ottla_macros::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::{tenant, text};
use super::workflow::events::{
    AiGenerated, GenerateWorkflow, WorkflowGenerated, WorkflowRequested, answer_requester,
};
use super::{DEDUP, PackError};
use crate::services::event::Effect;
use crate::services::{Cx, Result, Service, service};

/// The document's group.
const GROUP: &str = "ai-service-group";
/// The group that takes part in the saga: the document's has two topics and no more.
const SAGA_GROUP: &str = "ai-saga-group";
/// Steps of a workflow.
const STEPS_MAX: usize = 100;

/// Who thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    /// Nobody: the question is given back in the form of an answer.
    Echo,
}

impl Provider {
    /// The one that `ai.provider` names.
    ///
    /// # Errors
    /// No provider is called so.
    pub(super) fn named(name: &str) -> Result<Self, PackError> {
        match name {
            "echo" => Ok(Self::Echo),
            other => Err(PackError::Setting {
                key: "ai.provider",
                problem: format!("{other:?}: there is `echo`"),
            }),
        }
    }
}

/// An answer of the AI.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "ai.processed", name = "ai.processed", key = "request_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct AiProcessed {
    /// The request.
    pub request_id: String,
    /// Who asked.
    pub user_id: String,
    /// Of which tenant.
    pub tenant_id: String,
    /// The answer.
    pub result: Value,
    /// When, in ms since 1970.
    pub timestamp: i64,
}

/// The service of the chain of events.
///
/// Unlike the document's consumer, which begins with what comes, the group begins with what is there: a request
/// that comes before its first start is not lost.
pub(super) fn events(provider: Provider) -> Service {
    service(GROUP)
        .on(move |event, cx| workflow_requested(provider, event, cx))
        .dedup(DEDUP)
        .breaker("ai")
        .done()
        .on_raw(["ai.requested"], move |cx| ai_requested(provider, cx))
        .dedup(DEDUP)
        .breaker("ai")
        .done()
}

/// The saga's participant.
pub(super) fn saga(provider: Provider) -> Service {
    let generate = move |command, cx| generate(provider, command, cx);
    service(SAGA_GROUP).answer_with(generate).breaker("ai").done()
}

async fn workflow_requested(provider: Provider, event: WorkflowRequested, cx: Cx) -> Result {
    let (description, context) = (event.description, event.business_context);
    let workflow = cx.effect("generate", Generate { provider, description, context }).await?;
    cx.emit(&WorkflowGenerated {
        workflow_id: event.workflow_id,
        generated_workflow: workflow,
        user_id: event.user_id,
        tenant_id: event.tenant_id,
        timestamp: cx.now().0,
    })
}

async fn ai_requested(provider: Provider, cx: Cx) -> Result {
    let input = cx.input();
    let request_id = text(&input.body, "requestId").unwrap_or_else(|| input.event_id.to_string());
    let prompt = input.body.get("prompt").or_else(|| input.body.get("input"));
    let prompt = prompt.cloned().unwrap_or(Value::Null);
    let result = cx.effect("answer", Answer { provider, prompt }).await?;
    cx.emit(&AiProcessed {
        request_id,
        user_id: text(&input.body, "userId").unwrap_or_default(),
        tenant_id: tenant(input),
        result,
        timestamp: cx.now().0,
    })
}

async fn generate(provider: Provider, command: GenerateWorkflow, cx: Cx) -> Result<AiGenerated> {
    let (description, context) = (command.description, command.business_context);
    let workflow = cx.effect("generate", Generate { provider, description, context }).await?;
    let answer = AiGenerated { workflow_id: command.workflow_id, workflow };
    answer_requester(&cx, &answer)?;
    Ok(answer)
}

/// Makes a workflow.
struct Generate {
    provider: Provider,
    description: String,
    context: Option<String>,
}

impl Effect for Generate {
    type Out = Value;

    async fn run(&self, _key: &str) -> Result<Value> {
        match self.provider {
            Provider::Echo => Ok(echo_workflow(&self.description, self.context.as_deref())),
        }
    }

    /// To echo is to do nothing outside: it can be said again at any time.
    async fn lookup(&self, key: &str) -> Result<Option<Value>> {
        match self.provider {
            Provider::Echo => self.run(key).await.map(Some),
        }
    }
}

/// Answers a question.
struct Answer {
    provider: Provider,
    prompt: Value,
}

impl Effect for Answer {
    type Out = Value;

    async fn run(&self, _key: &str) -> Result<Value> {
        match self.provider {
            Provider::Echo => Ok(json!({ "provider": "echo", "output": self.prompt })),
        }
    }

    async fn lookup(&self, key: &str) -> Result<Option<Value>> {
        match self.provider {
            Provider::Echo => self.run(key).await.map(Some),
        }
    }
}

/// A step for each sentence.
fn echo_workflow(description: &str, context: Option<&str>) -> Value {
    let sentences = description.split(['.', ';', '\n']).map(str::trim);
    let sentences = sentences.filter(|sentence| !sentence.is_empty()).take(STEPS_MAX);
    let steps: Vec<_> = sentences
        .enumerate()
        .map(|(at, text)| json!({ "id": format!("step-{}", at + 1), "action": "echo", "input": text }))
        .collect();
    json!({ "provider": "echo", "context": context, "steps": steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_gives_a_step_a_sentence() {
        let workflow = echo_workflow("Read mails. Sort them;\n\nAnswer", Some("shop"));
        assert_eq!(workflow["context"], "shop");
        let inputs: Vec<_> =
            workflow["steps"].as_array().unwrap().iter().map(|it| &it["input"]).collect();
        assert_eq!(inputs, ["Read mails", "Sort them", "Answer"]);
        assert_eq!(workflow["steps"][2]["id"], "step-3");
        assert_eq!(echo_workflow("", None)["steps"], json!([]));
    }
}
