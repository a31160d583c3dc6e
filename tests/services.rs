//! Services beside the broker inside: what a handler wrote, emitted and read is one transaction, seen
//! by readers of committed records and by group tools like that of any other client, and a second
//! start goes on where the first one was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use ottla::Ottla;
use ottla::client::cluster::{Cluster, ReadFrom, Stored, ToSend, TopicPartition, TopicSpec};
use ottla::client::embedded::Embedded;
use ottla::clock::Clock;
use ottla::prelude::*;
use ottla::types::Offset;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "order-created", name = "OrderCreated", key = "order_id", envelope = "flat")]
struct OrderCreated {
    order_id: String,
    user_id: String,
    total: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "notification-requested", key = "user_id")]
struct NotificationRequested {
    user_id: String,
    spent: u64,
}

static SPENT: Table<String, u64> = Table::new("payment.spent");

async fn on_order(order: OrderCreated, cx: Cx) -> Result {
    if order.total == 0 {
        return Err(permanent("nothing-to-pay"));
    }
    let spent = cx.get(&SPENT, &order.user_id).await?.unwrap_or(0) + order.total;
    cx.put(&SPENT, &order.user_id, &spent)?;
    cx.emit(&NotificationRequested { user_id: order.user_id, spent })
}

fn app() -> App {
    let payment = service("payment").on(on_order).by(|order| order.user_id.clone());
    App::new().service(payment.group("payment-service").done())
}

async fn order(cluster: &Embedded, id: u64, user: &str, total: u64) {
    let value = serde_json::json!({
        "eventType": "OrderCreated", "eventId": format!("e-{id}"), "timestamp": "2026-01-01T00:00:00Z",
        "order_id": format!("o-{id}"), "user_id": user, "total": total,
    });
    let record = ToSend {
        topic: "order-created".into(),
        partition: None,
        key: Some(Bytes::from(format!("o-{id}"))),
        value: Some(Bytes::from(value.to_string())),
        headers: Vec::new(),
        timestamp: None,
    };
    cluster.send(vec![record]).await.unwrap();
}

/// All committed records of a topic, by partition.
async fn committed(cluster: &Embedded, topic: &str) -> Vec<Stored> {
    let count = cluster.partition_count(topic.into()).await.unwrap().unwrap_or(0);
    let mut records = Vec::new();
    for partition in 0..count {
        let at = TopicPartition::new(topic, partition);
        let span = cluster.spans(vec![at.clone()]).await.unwrap()[0];
        let mut offset = span.start;
        while offset < span.high_watermark {
            let from = vec![ReadFrom { at: at.clone(), offset }];
            for received in cluster.read(from, 1 << 20, 100).await.unwrap() {
                records.extend(received.records);
                offset = received.next;
            }
        }
    }
    records
}

/// What users were told to have spent, in order.
async fn told(cluster: &Embedded, user: &str) -> Vec<u64> {
    let mut spent = Vec::new();
    for record in committed(cluster, "notification-requested").await {
        let event: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        if event["user_id"] == user {
            spent.push(event["spent"].as_u64().unwrap());
        }
    }
    spent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_one_transaction_and_goes_on_after_a_restart() {
    let ottla = Ottla::builder().ephemeral().start().await.unwrap();
    let cluster = Embedded::new(Arc::clone(ottla.broker()));
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: Some(3),
        configs: Default::default(),
    };
    let topics = ["order-created", "notification-requested"].map(topic).to_vec();
    cluster.ensure_topics(topics).await.unwrap();
    for id in 0..20 {
        order(&cluster, id, if id % 2 == 0 { "anna" } else { "ben" }, 10).await;
    }
    order(&cluster, 20, "anna", 0).await;

    let running = app().start(Arc::new(cluster.clone())).unwrap();
    running.settle().await.unwrap();
    let sums: Vec<u64> = (1..=10).map(|count| count * 10).collect();
    assert_eq!(told(&cluster, "anna").await, sums);
    assert_eq!(told(&cluster, "ben").await, sums);
    let dead = committed(&cluster, "payment-service.dlq").await;
    assert_eq!(dead.len(), 1);
    let reason = dead[0].headers.iter().find(|(name, _)| name == "ottla-reason").unwrap();
    assert_eq!(reason.1.as_deref(), Some(&b"nothing-to-pay"[..]));
    let group = describe(&ottla, "payment-service").await;
    assert_eq!((group.0.as_str(), group.1), ("Stable", 1));

    drop(running); // As if the process were killed.
    order(&cluster, 21, "anna", 5).await;
    let running = app().start(Arc::new(cluster.clone())).unwrap();
    running.settle().await.unwrap();
    assert_eq!(told(&cluster, "anna").await.last(), Some(&105));
    assert_eq!(told(&cluster, "anna").await.len(), 11);
    running.stop().await;
    let ends: Vec<_> =
        (0..3).map(|partition| TopicPartition::new("order-created", partition)).collect();
    let spans = cluster.spans(ends.clone()).await.unwrap();
    let offsets = cluster.committed("payment-service".to_owned(), ends).await.unwrap();
    for (span, offset) in spans.iter().zip(offsets) {
        assert_eq!(offset.unwrap_or(Offset(0)), span.end, "{span}");
    }
    ottla.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_has_room_for_the_largest_record_of_its_topic() {
    let ottla = Ottla::builder().ephemeral().start().await.unwrap();
    let cluster = Embedded::new(Arc::clone(ottla.broker()));
    let configs = [("max.message.bytes".to_owned(), "2000000".to_owned())].into();
    let topic = TopicSpec { name: "order-created".to_owned(), partitions: Some(1), configs };
    cluster.ensure_topics(vec![topic]).await.unwrap();
    order(&cluster, 1, &"a".repeat(1_990_000), 0).await;
    let on_order = |_: OrderCreated, _: Cx| async { Err(permanent("no")) };
    let app = App::new().service(service("payment").on(on_order).done());
    let running = app.start(Arc::new(cluster.clone())).unwrap();
    running.settle().await.unwrap();
    let dead = committed(&cluster, "payment.dlq").await;
    assert_eq!(dead.len(), 1);
    assert!(dead[0].value.as_ref().unwrap().len() > 1_990_000);
    running.stop().await;
    ottla.stop().await.unwrap();
}

/// State and number of members, as a client over the network sees them.
async fn describe(ottla: &Ottla, group: &str) -> (String, usize) {
    let addresses = ottla::client::Address::parse_list(&ottla.bootstrap_servers()).unwrap();
    let options = ottla::client::Options::default();
    let mut client =
        ottla::client::Client::connect(&addresses, Clock::system(), options).await.unwrap();
    let described = client.describe_group(group).await.unwrap().unwrap();
    (described.group_state, described.members.len())
}
