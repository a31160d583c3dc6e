use serde_json::{Value, json};

use super::module;
use crate::services::modules::ai::Provider;
use crate::services::modules::notify;
use crate::services::modules::testing::{Bench, header, key, value};
use crate::services::saga::{Record, Status};

async fn bench() -> Bench {
    let notify = notify::module(&Default::default()).unwrap();
    Bench::new(vec![module(Provider::Echo), notify]).await
}

async fn register(bench: &Bench, user_id: &str, permissions: &[&str]) {
    let body = json!({
        "userId": user_id, "tenantId": "t-1", "email": format!("{user_id}@example.com"),
        "permissions": permissions,
    });
    bench.post("POST /api/auth/register", &format!("reg-{user_id}"), body).await.unwrap();
    bench.settle().await;
}

fn generation(workflow_id: &str) -> Value {
    json!({
        "userId": "u-1", "tenantId": "t-1", "workflowId": workflow_id,
        "description": "Read mails", "businessContext": "shop",
    })
}

fn saga(bench: &Bench, saga_id: &str) -> Record {
    Record::decode(&bench.running.row("saga.workflow", saga_id).unwrap()).unwrap()
}

/// The fields of a value that the document has, without those that are about the event.
fn fields(mut value: Value) -> Value {
    let all = value.as_object_mut().unwrap();
    for about in ["eventType", "eventId", "timestamp"] {
        all.shift_remove(about);
    }
    value
}

#[tokio::test]
async fn r64_r66_to_r69_a_workflow_is_validated_generated_saved_and_told() {
    let bench = bench().await;
    register(&bench, "u-1", &["workflow.create"]).await;
    bench.start("workflow", "s-1", generation("w-1")).await;
    bench.settle().await;
    let saga = saga(&bench, "s-1");
    assert_eq!((saga.status, saga.reason), (Status::Completed, None));
    let only = |topic: &str| fields(bench.only_value(topic));
    assert_eq!(
        only("saga.user.validation.requested"),
        json!({"sagaId": "s-1", "userId": "u-1", "tenantId": "t-1", "permissions": ["workflow.create"]})
    );
    assert_eq!(
        only("saga.ai.generation.requested"),
        json!({"sagaId": "s-1", "workflowId": "w-1", "description": "Read mails", "businessContext": "shop"})
    );
    let workflow = json!({
        "provider": "echo", "context": "shop",
        "steps": [{"id": "step-1", "action": "echo", "input": "Read mails"}],
    });
    assert_eq!(
        only("saga.workflow.save.requested"),
        json!({"sagaId": "s-1", "workflowId": "w-1", "generatedWorkflow": workflow,
            "userId": "u-1", "tenantId": "t-1"})
    );
    assert_eq!(
        only("saga.notification.requested"),
        json!({"sagaId": "s-1", "userId": "u-1", "type": "workflow.ready", "workflowId": "w-1"})
    );
    let completed = json!({"sagaId": "s-1", "status": "success", "workflowId": "w-1"});
    assert_eq!(only("saga.completed"), completed);
    assert!(bench.values("saga.compensation.requested").is_empty());
    assert_eq!(bench.row("workflow.workflows", "w-1").unwrap()["workflow"], workflow);
    // The saga's own requests say where they are answered: no topic is made for it alone.
    assert!(bench.values("saga.user.validation.completed.s-1").is_empty());
    assert_eq!(bench.only_value("notification.sent")["data"]["title"], "Workflow Ready");
}

#[tokio::test]
async fn r64_who_may_not_create_workflows_causes_no_ai_call() {
    let bench = bench().await;
    register(&bench, "u-1", &["workflow.read"]).await;
    bench.start("workflow", "s-1", generation("w-1")).await;
    let stranger =
        json!({"userId": "nobody", "tenantId": "t-1", "workflowId": "w-2", "description": "x"});
    bench.start("workflow", "s-2", stranger).await;
    let elsewhere =
        json!({"userId": "u-1", "tenantId": "t-2", "workflowId": "w-3", "description": "x"});
    bench.start("workflow", "s-3", elsewhere).await;
    bench.settle().await;
    for saga_id in ["s-1", "s-2", "s-3"] {
        let saga = saga(&bench, saga_id);
        let expected = (Status::Failed, Some("User validation failed"));
        assert_eq!((saga.status, saga.reason.as_deref()), expected, "{saga_id}");
    }
    assert!(bench.values("saga.ai.generation.requested").is_empty());

    let granted = json!({"userId": "u-1", "tenantId": "t-1", "permissions": ["workflow.create"]});
    bench.post("POST /api/auth/permissions", "p-1", granted).await.unwrap();
    bench.settle().await;
    bench.start("workflow", "s-4", generation("w-1")).await;
    bench.settle().await;
    let mut unnamed = generation("");
    unnamed.as_object_mut().unwrap().shift_remove("workflowId");
    bench.start("workflow", "s-5", unnamed).await;
    bench.settle().await;
    assert_eq!(saga(&bench, "s-4").status, Status::Completed);
    // It is called after its saga.
    assert_eq!(bench.row("workflow.workflows", "s-5").unwrap()["saga_id"], "s-5");
}

#[tokio::test]
async fn r70_where_saving_fails_only_the_generation_is_undone() {
    let bench = bench().await;
    register(&bench, "u-1", &["workflow.create"]).await;
    bench.start("workflow", "s-1", generation("w-1")).await;
    bench.settle().await;
    bench.start("workflow", "s-2", generation("w-1")).await;
    bench.settle().await;
    let saga = saga(&bench, "s-2");
    let expected = (Status::Compensated, Some("workflow-exists"));
    assert_eq!((saga.status, saga.reason.as_deref()), expected);
    assert_eq!(
        fields(bench.only_value("saga.compensation.requested")),
        json!({"sagaId": "s-2", "workflowId": "w-1", "error": "workflow-exists", "steps": ["ai.generation"]})
    );
    assert_eq!(bench.row("workflow.workflows", "w-1").unwrap()["saga_id"], "s-1");
    assert_eq!(bench.values("saga.completed").len(), 1);
    assert!(bench.values("workflow-service-group.dlq").is_empty());
}

#[tokio::test]
async fn what_is_undone_before_it_is_saved_is_not_saved() {
    let bench = bench().await;
    let undo = json!({"sagaId": "s-9", "workflowId": "w-9", "error": "timeout",
        "steps": ["ai.generation", "workflow.save"]});
    bench.send("saga.compensation.requested", Some("w-9"), undo).await;
    bench.settle().await;
    let save =
        json!({"sagaId": "s-9", "workflowId": "w-9", "generatedWorkflow": {}, "userId": "u-1"});
    bench.send("saga.workflow.save.requested", Some("w-9"), save.clone()).await;
    bench.settle().await;
    let letter = bench.only("workflow-service-group.dlq");
    assert_eq!(header(&letter, "ottla-reason"), "cancelled");
    let row = bench.row("workflow.workflows", "w-9").unwrap();
    assert_eq!((&row["is_undone"], &row["workflow"]), (&json!(true), &Value::Null));
    // Another saga may have the name.
    let mut other = save;
    other["sagaId"] = json!("s-10");
    bench.send("saga.workflow.save.requested", Some("w-9"), other).await;
    bench.settle().await;
    assert_eq!(bench.row("workflow.workflows", "w-9").unwrap()["saga_id"], "s-10");
}

/// The document's own code, which answers by a topic for each saga and step and keys nothing.
#[tokio::test]
async fn r65_a_requester_with_a_topic_a_saga_is_answered_there() {
    let bench = bench().await;
    register(&bench, "u-1", &["workflow.create"]).await;
    for n in 0..100 {
        let saga_id = format!("saga_1700000000000_{n}");
        let ask = json!({"sagaId": saga_id, "userId": if n % 2 == 0 { "u-1" } else { "u-2" },
            "tenantId": "t-1", "permissions": ["workflow.create"]});
        bench.send("saga.user.validation.requested", None, ask).await;
        let ask = json!({"sagaId": saga_id, "workflowId": format!("w-{n}"), "description": "x",
            "businessContext": null});
        bench.send("saga.ai.generation.requested", None, ask).await;
        let ask = json!({"sagaId": saga_id, "workflowId": format!("w-{n}"), "generatedWorkflow": {"n": n},
            "userId": "u-1", "tenantId": "t-1"});
        bench.send("saga.workflow.save.requested", None, ask).await;
    }
    bench.settle().await;
    for n in 0..100 {
        let saga_id = format!("saga_1700000000000_{n}");
        let answer = |step: &str| bench.only_value(&format!("saga.{step}.completed.{saga_id}"));
        assert_eq!(answer("user.validation")["valid"], n % 2 == 0);
        assert_eq!(answer("user.validation")["sagaId"], saga_id);
        assert_eq!(answer("ai.generation")["workflow"]["provider"], "echo");
        assert_eq!(answer("workflow.save")["workflowId"], format!("w-{n}"));
    }
}

#[tokio::test]
async fn r65_a_requester_that_names_its_topic_is_answered_there() {
    let bench = bench().await;
    let ask = |topic: &str| json!({"sagaId": "s-1", "workflowId": "w-1", "description": "x", "replyTopic": topic});
    bench.send("saga.ai.generation.requested", None, ask("my-replies")).await;
    bench.send("saga.ai.generation.requested", None, ask("ottla.state.auth.users")).await;
    bench.settle().await;
    let answer = bench.only("my-replies");
    assert_eq!((key(&answer), value(&answer)["workflowId"].clone()), ("s-1".into(), json!("w-1")));
    let letter = bench.only("ai-saga-group.dlq");
    assert_eq!(header(&letter, "ottla-reason"), "bad-reply-topic");
    assert!(bench.values("saga.ai.generation.completed.s-1").is_empty());
}

#[tokio::test]
async fn a_saga_that_was_killed_in_the_middle_does_nothing_twice() {
    let mut bench = bench().await;
    register(&bench, "u-1", &["workflow.create"]).await;
    for n in 0..10 {
        bench.start("workflow", &format!("s-{n}"), generation(&format!("w-{n}"))).await;
        bench.restart().await;
    }
    bench.settle().await;
    let topics = [
        "saga.user.validation.requested",
        "saga.ai.generation.requested",
        "saga.workflow.save.requested",
        "saga.notification.requested",
        "saga.completed",
    ];
    for topic in topics {
        assert_eq!(bench.values(topic).len(), 10, "{topic}");
    }
}

/// R85: gateway, auth, workflow, AI, notification, without a call from one to the other.
#[tokio::test]
async fn r85_a_login_becomes_five_events_of_one_correlation() {
    let bench = bench().await;
    let body = json!({
        "userId": "u-1", "tenantId": "t-1", "email": "u-1@example.com",
        "workflow": {"workflowId": "w-1", "description": "Read mails", "priority": "high"},
    });
    bench.post("POST /api/auth/login", "login-1", body).await.unwrap();
    assert!(bench.values("workflow.requested").is_empty(), "it was answered before");
    bench.settle().await;
    for topic in [
        "user.authenticated",
        "user-events",
        "workflow.requested",
        "workflow.generated",
        "notification.sent",
    ] {
        assert_eq!(header(&bench.only(topic), "ottla-correlation-id"), "login-1", "{topic}");
    }
    let requested = bench.only("workflow.requested");
    assert_eq!(key(&requested), "w-1");
    assert_eq!(
        fields(value(&requested)),
        json!({"workflowId": "w-1", "userId": "u-1", "tenantId": "t-1", "description": "Read mails",
            "businessContext": null, "priority": "high"})
    );
    let generated = bench.only("workflow.generated");
    let causation = header(&generated, "ottla-causation-id");
    assert_eq!(causation, header(&requested, "ce_id"));
    assert_eq!(key(&generated), "w-1");
    assert!(value(&generated)["timestamp"].is_i64());
    let told = bench.only_value("notification.sent");
    assert_eq!(told["type"], "NOTIFICATION_SENT");
    assert_eq!(
        (&told["data"]["to"], &told["data"]["title"]),
        (&json!("u-1"), &json!("Workflow Ready"))
    );
    assert_eq!(told["metadata"]["tenantId"], "t-1");
}

/// R33, R87: one group, two topics.
#[tokio::test]
async fn r87_the_ai_service_answers_both_of_its_topics() {
    let bench = bench().await;
    let body = json!({"userId": "u-1", "tenantId": "t-1", "description": "Sort them", "workflowId": "w-1"});
    bench.post("POST /api/workflows", "e-1", body).await.unwrap();
    // Two events of one ms have one id in the document's code.
    for request in ["r-1", "r-2", "r-1"] {
        let ask = json!({"eventId": "ai_requested_1700000000000", "requestId": request, "userId": "u-1",
            "prompt": "why"});
        bench.send("ai.requested", Some(request), ask).await;
    }
    bench.settle().await;
    assert_eq!(
        bench.only_value("workflow.generated")["generatedWorkflow"]["steps"][0]["input"],
        "Sort them"
    );
    let processed = bench.values("ai.processed");
    assert_eq!(processed.len(), 2, "{processed:?}");
    assert_eq!(processed[0]["result"], json!({"provider": "echo", "output": "why"}));
    assert!(bench.running.groups().any(|group| group == "ai-service-group"));

    bench.send("workflow.requested", Some("w"), json!("broken")).await;
    bench.send("workflow.requested", Some("w"), json!({"eventId": "e", "userId": "u-1"})).await;
    bench.settle().await;
    assert_eq!(bench.values("ai-service-group.dlq").len(), 2);
    assert_eq!(bench.values("workflow.generated").len(), 1);
}
