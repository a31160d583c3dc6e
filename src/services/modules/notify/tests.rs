use std::path::Path;

use serde_json::{Value, json};

use super::module;
use crate::config::broker::BrokerConfig;
use crate::services::modules::PackError;
use crate::services::modules::testing::{Bench, header};

fn settings(folder: &Path) -> BrokerConfig {
    BrokerConfig {
        notify_channel: "maildir".into(),
        notify_maildir: Some(folder.to_string_lossy().into_owned()),
        notify_alerts_to: "ops@example.com".into(),
        ..BrokerConfig::default()
    }
}

/// The letters' heads that matter, sorted.
fn letters(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("new")).unwrap();
    let mut all: Vec<_> = entries
        .map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let head = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
            };
            format!("{}: {}", head("To: "), head("Subject: "))
        })
        .collect();
    all.sort();
    all
}

async fn four_events(bench: &Bench) {
    let created =
        json!({"eventId": "e-1", "userId": "u-1", "tenantId": "t-1", "email": "u-1@example.com"});
    bench.send("user.created", Some("u-1"), created).await;
    let generated = json!({"eventId": "e-2", "workflowId": "w-1", "generatedWorkflow": {}, "userId": "u-1",
        "tenantId": "t-1", "timestamp": 1});
    bench.send("workflow.generated", Some("w-1"), generated).await;
    let executed =
        json!({"eventId": "e-3", "workflowId": "w-1", "executionId": "x-1", "userId": "u-1"});
    bench.send("workflow.executed", Some("x-1"), executed).await;
    let alert = json!({"eventId": "e-4", "alert": "disk", "message": "full"});
    bench.send("system.alerts", None, alert).await;
}

#[tokio::test]
async fn r86_four_topics_become_four_letters_however_often_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(vec![module(&settings(folder.path())).unwrap()]).await;
    four_events(&bench).await;
    bench.settle().await;
    let expected = [
        "ops@example.com: System Alert: disk",
        "u-1: Workflow Completed",
        "u-1: Workflow Ready",
        "u-1@example.com: Welcome",
    ];
    assert_eq!(letters(folder.path()), expected);
    let mail = bench.only_value("email.sent");
    assert_eq!(
        (
            &mail["type"],
            &mail["data"]["to"],
            &mail["data"]["template"],
            &mail["metadata"]["tenantId"]
        ),
        (&json!("EMAIL_SENT"), &json!("u-1@example.com"), &json!("welcome"), &json!("t-1"))
    );
    assert_eq!(bench.values("notification.sent").len(), 3);

    four_events(&bench).await;
    bench.restart().await;
    bench.settle().await;
    assert_eq!(letters(folder.path()).len(), 4);
    let told = bench.values("notification.sent");
    // The alert has no key: its second record lies in another partition, where nobody knows the first.
    let with_key = told.iter().filter(|it| it["data"]["template"] != "system.alert");
    assert_eq!(with_key.count(), 2);
    let groups: Vec<_> = bench.running.groups().collect();
    assert_eq!(groups, ["notification-service-group"]);
}

#[tokio::test]
async fn events_of_one_id_but_two_keys_are_two_letters() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(vec![module(&settings(folder.path())).unwrap()]).await;
    for workflow_id in ["w-1", "w-2"] {
        let event = json!({"eventId": "workflow_generated_1700000000000", "workflowId": workflow_id, "userId": "u-1"});
        bench.send("workflow.generated", Some(workflow_id), event).await;
    }
    bench.settle().await;
    assert_eq!(letters(folder.path()).len(), 2);
}

#[tokio::test]
async fn letters_are_written_as_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(vec![module(&settings(folder.path())).unwrap()]).await;
    let ask = |id: &str, more: Value| {
        let mut event =
            json!({"eventType": "NotificationRequested", "eventId": id, "userId": "u-1"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    for (id, more) in [
        ("n-1", json!({"title": "Hi", "message": "there"})),
        ("n-2", json!({"email": "a@example.com", "template": "order-thanks"})),
        ("n-3", json!({"email": "a@example.com\nBcc: b@example.com"})),
    ] {
        bench.send("notification-requested", Some("u-1"), ask(id, more)).await;
    }
    let created = json!({"type": "USER_CREATED", "data": {"userId": "u-2", "email": "y@example.com", "name": "Ada"},
        "metadata": {"eventId": "e-9"}});
    bench.send("user.created", Some("u-2"), created).await;
    let registered = json!({"eventId": "r-1", "eventType": "user.registered", "timestamp": "2025-01-01T00:00:00Z",
        "version": "1.0", "source": "api-gateway", "payload": {"userId": "u-3", "email": "z@example.com"}});
    bench.send("user-events", None, registered).await;
    bench.send("user.created", Some("u-4"), json!({"eventId": "e-10", "userId": "u-4"})).await;
    bench.settle().await;
    assert_eq!(
        letters(folder.path()),
        [
            "a@example.com: order-thanks",
            "u-1: Hi",
            "y@example.com: Welcome",
            "z@example.com: Welcome"
        ]
    );
    let dead = bench.cluster.records("notification-service-group.dlq");
    let mut reasons: Vec<_> = dead.iter().map(|it| header(it, "ottla-reason")).collect();
    reasons.sort();
    assert_eq!(reasons, ["bad-recipient", "missing-field"]);
}

#[tokio::test]
async fn a_maildir_that_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
    let place = in_the_way.path().to_owned();
    let bench = Bench::new(vec![module(&settings(&place)).unwrap()]).await;
    let event = json!({"eventId": "e-2", "workflowId": "w-1", "userId": "u-1"});
    bench.send("workflow.generated", Some("w-1"), event).await;
    let due = bench.running.settle().await.unwrap();
    assert!(due.is_some(), "it waits for another try");
    assert!(bench.values("notification.sent").is_empty());
    drop(in_the_way);
    bench.settle().await;
    assert_eq!(letters(&place), ["u-1: Workflow Ready"]);
    assert_eq!(bench.values("notification.sent").len(), 1);
}

#[test]
fn settings_that_do_not_fit_are_named() {
    let wrong = |settings: BrokerConfig| match module(&settings).unwrap_err() {
        PackError::Setting { key, .. } => key,
        PackError::Unknown { name } => panic!("{name}"),
    };
    let maildir = BrokerConfig { notify_channel: "maildir".into(), ..BrokerConfig::default() };
    assert_eq!(wrong(maildir), "notify.maildir");
    let alerts = BrokerConfig { notify_alerts_to: "a b".into(), ..BrokerConfig::default() };
    assert_eq!(wrong(alerts), "notify.alerts.to");
}
