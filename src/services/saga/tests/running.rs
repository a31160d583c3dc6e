//! A saga on the runtime, with its participants, on a cluster in memory.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::sagas::{
    self, CancelOrder, CancelShipping, CreateOrder, NotShipped, OrderCancelled, OrderCreated, Paid,
    Pay, Refund, Refunded, Release, Released, Reserve, Reserved, Ship, Shipped,
};
use crate::client::cluster::{Cluster, ToSend};
use crate::clock::Clock;
use crate::services::saga::{Record, Status, start};
use crate::services::testing::MemoryCluster;
use crate::services::{App, Cx, Running, permanent, reply, service};
use crate::types::Timestamp;

/// Participants that do nothing, but refuse to ship what is for nobody, and never give money back for it.
fn app() -> App {
    let pay = |command: Pay, _cx: Cx| async move {
        let receipt = format!("r-{}", command.0["amount"]);
        let order = &command.0["order_id"];
        Ok(Paid(json!({ "order_id": order, "receipt": receipt })))
    };
    let ship = |command: Ship, _cx: Cx| async move {
        if command.0["order_id"] == "nobody" {
            return Err(permanent("no-address"));
        }
        Ok(Shipped(command.0))
    };
    App::new()
        .saga(sagas::named("order"))
        .service(
            service("order-service")
                .answer(|command: CreateOrder, _cx| async move { Ok(OrderCreated(command.0)) })
                .answer(|command: CancelOrder, _cx| async move { Ok(OrderCancelled(command.0)) }),
        )
        .service(
            service("inventory-service")
                .answer(|command: Reserve, _cx| async move { Ok(Reserved(command.0)) })
                .answer(|command: Release, _cx| async move { Ok(Released(command.0)) }),
        )
        .service(
            service("payment-service")
                .answer(pay)
                .answer(|command: Refund, _cx| async move { Ok(Refunded(command.0)) }),
        )
        .service(
            service("shipping-service")
                .answer(ship)
                .answer(|command: CancelShipping, _cx| async move { Ok(NotShipped(command.0)) }),
        )
}

struct Bench {
    cluster: MemoryCluster,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        Self { cluster: MemoryCluster::new(clock.clone()), clock }
    }

    fn run(&self) -> Running {
        app().start(Arc::new(self.cluster.clone())).unwrap()
    }

    async fn order(&self, saga_id: &str, order_id: &str) {
        let data = json!({
            "order_id": order_id, "customer_id": "c", "items": [], "total_amount": 7.5,
        });
        let event = start("order", saga_id, data);
        let header = |name: &str, text: &str| (name.to_owned(), Some(text.to_owned().into()));
        let record = ToSend {
            topic: event.topic,
            partition: None,
            key: Some(event.key.into()),
            value: Some(event.body.to_string().into()),
            headers: vec![
                header("ce_specversion", "1.0"),
                header("ce_id", &format!("start-{saga_id}")),
                header("ce_source", "test"),
                header("ce_type", &event.name),
            ],
            timestamp: None,
        };
        self.cluster.send(vec![record]).await.unwrap();
    }

    /// Lets time go by until nothing is due any more.
    async fn run_out(&self, running: &Running) {
        while let Some(due) = running.settle().await.unwrap() {
            let left = due.0 - self.clock.now().wall.0;
            self.clock.advance(u64::try_from(left).unwrap_or(0).max(1));
        }
    }

    /// The names of a saga's events, in order.
    fn lifecycle(&self, saga_id: &str) -> Vec<String> {
        let records = self.cluster.records("saga_domain_events");
        let own = records.iter().filter(|it| it.key.as_deref() == Some(saga_id.as_bytes()));
        own.map(|it| reply::header(&it.headers, "ce_type").unwrap().to_owned()).collect()
    }
}

fn saga(running: &Running, saga_id: &str) -> Record {
    Record::decode(&running.row("saga.order", saga_id).unwrap()).unwrap()
}

#[tokio::test]
async fn an_order_goes_through_and_another_is_undone() {
    let bench = Bench::new();
    let running = bench.run();
    running.settle().await.unwrap();
    bench.order("s-1", "o-1").await;
    bench.order("s-2", "nobody").await;
    bench.order("s-1", "o-1").await;
    bench.run_out(&running).await;
    let (first, second) = (saga(&running, "s-1"), saga(&running, "s-2"));
    assert_eq!((first.status, &first.data["receipt"]), (Status::Completed, &json!("r-7.5")));
    assert_eq!(second.status, Status::Compensated);
    assert_eq!(second.reason.as_deref(), Some("no-address"));
    let step = "saga_step_completed";
    assert_eq!(bench.lifecycle("s-1"), ["saga_started", step, step, step, step, "saga_completed"]);
    let undone = "saga_step_compensated";
    let turned = ["saga_started", step, step, step, "saga_step_failed", "saga_compensating"];
    let ended = [undone, undone, undone, "saga_compensated"];
    assert_eq!(bench.lifecycle("s-2"), [&turned[..], &ended[..]].concat());
    for (topic, count) in [("order_commands", 3), ("payment_commands", 3), ("shipping_commands", 2)]
    {
        assert_eq!(bench.cluster.records(topic).len(), count, "{topic}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_saga_goes_on_from_its_record_after_a_restart() {
    let bench = Bench::new();
    let running = bench.run();
    running.settle().await.unwrap();
    bench.order("s-1", "o-1").await;
    drop(running); // As if killed.
    let running = bench.run();
    bench.run_out(&running).await;
    assert_eq!(saga(&running, "s-1").status, Status::Completed);
    let value = |record: &crate::client::cluster::Stored| -> Value {
        serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()
    };
    let shipped = bench.cluster.records("shipping_domain_events");
    assert_eq!(shipped.iter().map(value).filter(|it| !it.is_null()).count(), 1);
}

#[tokio::test]
async fn a_saga_that_has_ended_goes_after_a_while_and_its_id_is_free() {
    let bench = Bench::new();
    let running =
        app().keep_sagas(Duration::from_secs(3600)).start(Arc::new(bench.cluster.clone()));
    let running = running.unwrap();
    running.settle().await.unwrap();
    bench.order("s-1", "o-1").await;
    let due = running.settle().await.unwrap().unwrap();
    assert_eq!(saga(&running, "s-1").ended_at.unwrap().plus_ms(3_600_000), due);
    bench.run_out(&running).await;
    assert_eq!(running.row("saga.order", "s-1"), None);
    let last = bench.cluster.records("ottla.saga.order").pop().unwrap();
    assert_eq!((last.key.as_deref(), last.value), (Some(&b"s-1"[..]), None));
    assert_eq!(bench.lifecycle("s-1").last().map(String::as_str), Some("saga_completed"));
    bench.order("s-1", "o-2").await;
    running.settle().await.unwrap();
    assert_eq!(saga(&running, "s-1").data["order_id"], "o-2");
    running.stop().await;
}
