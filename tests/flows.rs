//! The flows of the reference documents on the broker inside: who registers and logs in, a workflow that is asked for
//! in the same breath, what users are told of it, and the saga that generates one, by the documents' topics,
//! envelopes and groups. The process is killed in the middle, and nothing happens twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use ottla::Ottla;
use ottla::client::cluster::{Cluster, ReadFrom, Stored, ToSend, TopicPartition, TopicSpec};
use ottla::client::embedded::Embedded;
use ottla::config::broker::BrokerConfig;
use ottla::prelude::*;
use ottla::services::envelope::headers;
use ottla::services::modules::{Posted, pack};
use ottla::services::publish::{Origin, publish};
use ottla::services::{Running, saga};
use serde_json::{Value, json};

/// The topics of the first document with the partitions that it gives them.
const DECLARED: &[(&str, i32)] = &[
    ("user.authenticated", 6),
    ("user.created", 6),
    ("user.permissions.changed", 6),
    ("workflow.requested", 12),
    ("workflow.generated", 12),
    ("workflow.executed", 12),
    ("ai.requested", 8),
    ("ai.processed", 8),
    ("system.alerts", 3),
];

struct Bench {
    ottla: Ottla,
    cluster: Embedded,
    app: App,
    running: Running,
}

impl Bench {
    async fn new(mail: &Path) -> Self {
        let ottla = Ottla::builder().ephemeral().start().await.unwrap();
        let cluster = Embedded::new(Arc::clone(ottla.broker()));
        let topics = DECLARED.iter().map(|(name, partitions)| TopicSpec {
            name: (*name).to_owned(),
            partitions: Some(*partitions),
            configs: Default::default(),
        });
        cluster.ensure_topics(topics.collect()).await.unwrap();
        let settings = BrokerConfig {
            notify_channel: "maildir".into(),
            notify_maildir: Some(mail.to_string_lossy().into_owned()),
            ..BrokerConfig::default()
        };
        let packs = ["workflow", "notify"].map(|name| pack(name, &settings).unwrap());
        let app = packs.into_iter().fold(App::new(), App::module);
        let running = app.start(Arc::new(cluster.clone())).unwrap();
        let bench = Self { ottla, cluster, app, running };
        bench.settle().await;
        bench
    }

    async fn settle(&self) {
        self.running.settle().await.unwrap();
    }

    /// As if the process were killed and begun anew.
    async fn restart(&mut self) {
        self.running = self.app.start(Arc::new(self.cluster.clone())).unwrap();
    }

    async fn post(&self, route: &str, id: &str, body: Value) {
        let route = self.app.routes().iter().find(|it| it.route() == route).unwrap();
        let at = self.cluster.clock().now().wall;
        let emission = route.event(Posted { body: &body, event_id: id, at }).unwrap();
        publish(&self.cluster, &emission, &Origin::new("test", id)).await.unwrap();
    }

    async fn send(&self, topic: &str, key: Option<&str>, value: Value) {
        let record = ToSend {
            topic: topic.into(),
            partition: None,
            key: key.map(|key| key.to_owned().into()),
            value: Some(value.to_string().into()),
            headers: Vec::new(),
            timestamp: None,
        };
        self.cluster.send(vec![record]).await.unwrap();
    }

    /// All committed records of a topic.
    async fn records(&self, topic: &str) -> Vec<Stored> {
        let count = self.cluster.partition_count(topic.into()).await.unwrap().unwrap_or(0);
        let mut records = Vec::new();
        for partition in 0..count {
            let at = TopicPartition::new(topic, partition);
            let span = self.cluster.spans(vec![at.clone()]).await.unwrap()[0];
            let mut offset = span.start;
            while offset < span.high_watermark {
                let from = vec![ReadFrom { at: at.clone(), offset }];
                for received in self.cluster.read(from, 1 << 20, 100).await.unwrap() {
                    records.extend(received.records);
                    offset = received.next;
                }
            }
        }
        records
    }

    async fn values(&self, topic: &str) -> Vec<Value> {
        let records = self.records(topic).await;
        records
            .iter()
            .map(|it| serde_json::from_slice(it.value.as_ref().unwrap()).unwrap())
            .collect()
    }

    async fn only(&self, topic: &str) -> Stored {
        let mut records = self.records(topic).await;
        assert_eq!(records.len(), 1, "{topic}");
        records.remove(0)
    }

    /// State and topics of a group, as a client over the network sees them.
    async fn group(&self, name: &str) -> (String, Vec<String>) {
        let addresses =
            ottla::client::Address::parse_list(&self.ottla.bootstrap_servers()).unwrap();
        let options = ottla::client::Options::default();
        let clock = ottla::clock::Clock::system();
        let mut client = ottla::client::Client::connect(&addresses, clock, options).await.unwrap();
        let described = client.describe_group(name).await.unwrap().unwrap();
        let mut topics = Vec::new();
        for (topic, _) in DECLARED {
            let at = TopicPartition::new(*topic, 0);
            let committed = self.cluster.committed(name.to_owned(), vec![at]).await.unwrap();
            if committed[0].is_some() {
                topics.push((*topic).to_owned());
            }
        }
        (described.group_state, topics)
    }
}

fn letters(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder.join("new")) else { return Vec::new() };
    let subject = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned()
    };
    let mut all: Vec<_> = entries.map(|entry| subject(&entry.unwrap().path())).collect();
    all.sort();
    all
}

/// R85 to R88.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_through_all_services_though_they_are_killed() {
    let mail = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(mail.path()).await;
    let anna = json!({"userId": "anna", "tenantId": "t-1", "email": "anna@example.com",
        "permissions": ["workflow.create"]});
    bench.post("POST /api/auth/register", "register-1", anna).await;
    bench.post("POST /api/interviews", "i-1", json!({"userId": "anna"})).await;
    bench.settle().await;
    let left = json!({"userId": "anna", "sessionId": "s-0", "reason": "timeout"});
    bench.post("POST /api/auth/logout", "logout-1", left).await;
    bench.settle().await;
    let login = json!({"userId": "anna", "tenantId": "t-1", "email": "anna@example.com",
        "workflow": {"workflowId": "w-1", "description": "Read mails"}});
    bench.post("POST /api/auth/login", "login-1", login).await;
    bench.restart().await;
    bench.settle().await;

    let five = ["user.authenticated", "workflow.requested", "workflow.generated"];
    for topic in five {
        let record = bench.only(topic).await;
        assert_eq!(
            headers::text(&record.headers, "ottla-correlation-id"),
            Some("login-1"),
            "{topic}"
        );
    }
    let ours = |records: Vec<Stored>| {
        let all = records.into_iter();
        all.filter(|it| headers::text(&it.headers, "ottla-correlation-id") == Some("login-1"))
            .count()
    };
    assert_eq!(ours(bench.records("user-events").await), 1);
    assert_eq!(ours(bench.records("notification.sent").await), 1);
    let interviews = bench.values("interview-events").await;
    let names: Vec<_> = interviews.iter().map(|it| it["eventType"].as_str().unwrap()).collect();
    assert_eq!(names, ["interview.started", "interview.paused", "interview.resumed"]);
    assert_eq!(letters(mail.path()), ["Welcome", "Workflow Ready"]);

    bench
        .post("POST /api/auth/callback", "cb-1", json!({"code": "code-anna", "tenantId": "t-1"}))
        .await;
    let executed =
        json!({"eventId": "e-3", "workflowId": "w-1", "executionId": "x-1", "userId": "anna"});
    bench.send("workflow.executed", Some("w-1"), executed).await;
    let alert = json!({"eventId": "e-4", "alert": "disk", "message": "full"});
    bench.send("system.alerts", Some("disk"), alert).await;
    bench.settle().await;
    let user: Value =
        serde_json::from_slice(&bench.running.row("auth.users", "anna").unwrap()).unwrap();
    assert_eq!((&user["login_count"], &user["email"]), (&json!(2), &json!("anna@example.com")));
    assert_eq!(
        letters(mail.path()),
        ["System Alert: disk", "Welcome", "Workflow Completed", "Workflow Ready"]
    );
    assert_eq!(bench.values("email.sent").await.len(), 1);
    assert_eq!(bench.values("notification.sent").await.len(), 3);

    let ai = bench.group("ai-service-group").await;
    assert_eq!(ai, ("Stable".into(), vec!["workflow.requested".into(), "ai.requested".into()]));
    let (state, topics) = bench.group("notification-service-group").await;
    let four = ["user.created", "workflow.generated", "workflow.executed", "system.alerts"];
    assert_eq!((&*state, topics), ("Stable", four.map(str::to_owned).to_vec()));
    bench.running.stop().await;
    bench.ottla.stop().await.unwrap();
}

/// R63 to R70: the saga, and beside it requesters as the document has them, with a topic for each saga and step.
#[tokio::test(flavor = "multi_thread")]
async fn workflow_sagas_end_though_they_are_killed_and_no_answer_is_lost() {
    let mail = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(mail.path()).await;
    let anna = json!({"userId": "anna", "tenantId": "t-1", "email": "anna@example.com",
        "permissions": ["workflow.create"]});
    bench.post("POST /api/auth/register", "register-1", anna).await;
    bench.settle().await;
    for n in 0..12 {
        let user = if n % 3 == 0 { "ben" } else { "anna" };
        let data = json!({"userId": user, "tenantId": "t-1", "workflowId": format!("w-{n}"),
            "description": "Read mails"});
        let start = saga::start("workflow", &format!("s-{n}"), data);
        publish(&bench.cluster, &start, &Origin::new("test", format!("e-{n}"))).await.unwrap();
        let ask = json!({"sagaId": format!("old-{n}"), "userId": user, "tenantId": "t-1",
            "permissions": ["workflow.create"]});
        bench.send("saga.user.validation.requested", None, ask).await;
        if n % 4 == 2 {
            bench.restart().await;
        }
    }
    bench.settle().await;
    for n in 0..12 {
        let row = bench.running.row("saga.workflow", &format!("s-{n}")).unwrap();
        let record = saga::Record::decode(&row).unwrap();
        let failed = (saga::Status::Failed, Some("User validation failed".to_owned()));
        let expected = if n % 3 == 0 { failed } else { (saga::Status::Completed, None) };
        assert_eq!((record.status, record.reason), expected, "s-{n}");
        let answer = bench.values(&format!("saga.user.validation.completed.old-{n}")).await;
        assert_eq!(answer.len(), 1, "old-{n}");
        assert_eq!(answer[0]["valid"], n % 3 != 0);
    }
    for (topic, count) in [
        ("saga.ai.generation.requested", 8),
        ("saga.workflow.save.requested", 8),
        ("saga.notification.requested", 8),
        ("saga.completed", 8),
        ("saga.compensation.requested", 0),
    ] {
        assert_eq!(bench.records(topic).await.len(), count, "{topic}");
    }
    assert_eq!(letters(mail.path()).iter().filter(|it| *it == "Workflow Ready").count(), 8);
    bench.running.stop().await;
    bench.ottla.stop().await.unwrap();
}
