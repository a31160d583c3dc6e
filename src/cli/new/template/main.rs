//! The service `billing`. `cargo run` starts it, with a Kafka broker in the same process; `cargo test` needs neither
//! network nor time.

use ottla::prelude::*;
use ottla::services::saga::{Saga, Versions};

/// Somebody has ordered something.
#[derive(Event, Serialize, Deserialize)]
#[event(topic = "billing.orders", name = "OrderPlaced", key = "customer")]
struct OrderPlaced {
    customer: String,
    total: u64,
}

/// What the service tells of it.
#[derive(Event, Serialize, Deserialize)]
#[event(topic = "billing.events", name = "CustomerThanked", key = "customer")]
struct CustomerThanked {
    customer: String,
    spent: u64,
}

/// A command of the saga, and the event that answers it.
#[derive(Command, Serialize, Deserialize)]
#[command(topic = "billing.commands", name = "charge", key = "order", reply = Charged)]
struct Charge {
    order: String,
    total: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "billing.events", name = "charged", key = "order")]
struct Charged {
    order: String,
    receipt: String,
}

#[derive(Command, Serialize, Deserialize)]
#[command(topic = "billing.commands", name = "refund", key = "order", reply = Refunded)]
struct Refund {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "billing.events", name = "refunded", key = "order")]
struct Refunded {
    order: String,
}

#[derive(Command, Serialize, Deserialize)]
#[command(topic = "billing.commands", name = "ship", key = "order", reply = Shipped)]
struct Ship {
    order: String,
    address: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "billing.events", name = "shipped", key = "order")]
struct Shipped {
    order: String,
}

/// The world outside. The key is the same over every crash and retry: give it to your provider, as the key by which it
/// knows that a second call is the first one again.
struct Payment {
    amount: i64,
}

impl Effect for Payment {
    type Out = String;

    async fn run(&self, key: &str) -> Result<String> {
        Ok(format!("receipt of {} by {key}", self.amount))
    }
}

/// What each customer has spent: a compacted topic, written in the same transaction as all else.
static SPENT: Table<String, u64> = Table::new("billing.spent");

/// Row, event and input are one transaction. What is transient is tried again, what is permanent a dead letter.
async fn on_order(order: OrderPlaced, cx: Cx) -> Result {
    if order.total == 0 {
        return Err(permanent("nothing-to-pay"));
    }
    let spent = cx.get(&SPENT, &order.customer).await?.unwrap_or(0) + order.total;
    cx.put(&SPENT, &order.customer, &spent)?;
    cx.emit(&CustomerThanked { customer: order.customer, spent })
}

async fn charge(command: Charge, cx: Cx) -> Result<Charged> {
    let amount = i64::try_from(command.total).map_err(|_| permanent("too-much"))?;
    let receipt = cx.effect("charge", Payment { amount }).await?;
    Ok(Charged { order: command.order, receipt })
}

/// Undoing is idempotent, and bears that there is nothing to undo.
async fn refund(command: Refund, cx: Cx) -> Result<Refunded> {
    cx.effect("refund", Payment { amount: 0 }).await?;
    Ok(Refunded { order: command.order })
}

async fn ship(command: Ship, _cx: Cx) -> Result<Shipped> {
    if command.address.is_empty() {
        return Err(permanent("no-address"));
    }
    Ok(Shipped { order: command.order })
}

/// What the saga works with: plain data.
#[derive(Serialize, Deserialize)]
struct Order {
    order: String,
    total: u64,
    address: String,
    #[serde(default)]
    receipt: String,
}

/// Charge, then ship. What fails, or takes longer than its deadline, has what was done undone in reverse.
fn saga() -> Saga<Order> {
    Saga::<Order>::new("billing", 1)
        .http("POST /api/saga/billing")
        .deadline(Duration::from_secs(60))
        .step("charge", |it: &Order| Charge { order: it.order.clone(), total: it.total })
        .save(|it: &mut Order, answer: Charged| it.receipt = answer.receipt)
        .undo(|it: &Order| Refund { order: it.order.clone() })
        .timeout(Duration::from_secs(10))
        .step("ship", |it: &Order| Ship { order: it.order.clone(), address: it.address.clone() })
        .timeout(Duration::from_secs(10))
        .end()
}

fn app() -> App {
    let retry = Retry::exp(Duration::from_millis(200), Duration::from_secs(30)).attempts(5);
    App::from_env()
        .service(
            service("billing")
                .on(on_order)
                .retry(retry)
                .dedup(Duration::from_secs(7 * 86_400))
                .breaker("orders")
                .done()
                .answer(charge)
                .answer(refund)
                .answer(ship),
        )
        .saga(Versions::of(saga()).expect("the saga above is whole"))
}

#[tokio::main]
async fn main() -> Result {
    app().run().await
}

/// No network and no sleep: the cluster is in memory, and its clock stands unless a test moves it.
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla::client::cluster::ClusterError;
    use ottla::clock::Clock;
    use ottla::services::publish::{Origin, publish};
    use ottla::services::saga::{Record, Status, start};
    use ottla::services::testing::{CommitFault, MemoryCluster};
    use ottla::services::{Emission, Running};
    use ottla::types::Timestamp;
    use serde_json::json;

    use super::*;

    fn cluster() -> MemoryCluster {
        MemoryCluster::new(Clock::manual(Timestamp(1_700_000_000_000)))
    }

    fn run(cluster: &MemoryCluster) -> Running {
        app().start(Arc::new(cluster.clone())).expect("services that fit together")
    }

    async fn send(cluster: &MemoryCluster, emission: &Emission) {
        publish(cluster, emission, &Origin::new("test", "e-1"))
            .await
            .expect("a cluster that takes it");
    }

    fn order() -> Emission {
        Emission {
            topic: OrderPlaced::TOPIC.into(),
            name: OrderPlaced::NAME.into(),
            envelope: OrderPlaced::ENVELOPE,
            key: "anna".to_owned(),
            body: json!({ "customer": "anna", "total": 7 }),
            headers: Vec::new(),
        }
    }

    /// The first transaction is lost, or is committed and the answer to that is lost: nobody knows which.
    #[tokio::test]
    async fn an_order_counts_once_whatever_becomes_of_its_commit() {
        let unknown = || ClusterError::Passing("the connection broke".to_owned());
        for fault in [CommitFault::Lost(unknown()), CommitFault::Done(unknown())] {
            let cluster = cluster();
            cluster.fail_commit(fault);
            let running = run(&cluster);
            send(&cluster, &order()).await;
            send(&cluster, &order()).await;
            running.settle().await.expect("a cluster that answers");
            assert_eq!(running.row("billing.spent", "anna").as_deref(), Some(&b"7"[..]));
            assert_eq!(cluster.records(CustomerThanked::TOPIC).len(), 1);
        }
    }

    #[tokio::test]
    async fn who_gets_nothing_gets_the_money_back() {
        let cluster = cluster();
        let running = run(&cluster);
        let data = json!({ "order": "o-1", "total": 7, "address": "" });
        send(&cluster, &start("billing", "s-1", data)).await;
        running.settle().await.expect("a cluster that answers");
        let saga = running.row("saga.billing", "s-1").expect("a saga");
        let saga = Record::decode(&saga).expect("its record");
        assert_eq!(
            (saga.status, saga.reason.as_deref()),
            (Status::Compensated, Some("no-address"))
        );
        assert!(cluster.records("billing.dlq").is_empty());
    }
}
