//! `saga`: what runs and what hangs is seen, and somebody decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla::prelude::*;
use ottla::services::publish::{Origin, publish};
use ottla::services::saga::{Saga, Versions, start};
use serde_json::json;

use crate::services::Shop;

#[derive(Command, Serialize, Deserialize)]
#[command(topic = "stock_commands", name = "reserve", key = "order", reply = Reserved)]
struct Reserve {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "stock_events", name = "reserved", key = "order")]
struct Reserved {
    order: String,
}

#[derive(Command, Serialize, Deserialize)]
#[command(topic = "stock_commands", name = "release", key = "order", reply = Released)]
struct Release {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "stock_events", name = "released", key = "order")]
struct Released {
    order: String,
}

#[derive(Command, Serialize, Deserialize)]
#[command(topic = "payment_commands", name = "pay", key = "order", reply = Paid)]
struct Pay {
    order: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "payment_events", name = "paid", key = "order")]
struct Paid {
    order: String,
}

#[derive(Serialize, Deserialize)]
struct Order {
    order: String,
}

fn saga() -> Versions {
    let hour = Duration::from_secs(3_600);
    let saga = Saga::<Order>::new("order", 1)
        .step("reserve", |order: &Order| Reserve { order: order.order.clone() })
        .undo(|order: &Order| Release { order: order.order.clone() })
        .undo_retry(hour, Retry::none())
        .step("pay", |order: &Order| Pay { order: order.order.clone() })
        .timeout(hour)
        .end();
    Versions::of(saga).unwrap()
}

/// Nobody pays for what is free, and while the warehouse is shut nothing is released.
fn app(is_open: &Arc<AtomicBool>) -> App {
    let is_open = Arc::clone(is_open);
    let release = move |command: Release, _cx: Cx| {
        let is_open = is_open.load(Ordering::SeqCst);
        async move {
            if is_open { Ok(Released { order: command.order }) } else { Err(permanent("shut")) }
        }
    };
    let pay = |command: Pay, _cx: Cx| async move {
        if command.order.starts_with("free") {
            return Err(permanent("nothing-to-pay"));
        }
        Ok(Paid { order: command.order })
    };
    let reserve = |command: Reserve, _cx: Cx| async move { Ok(Reserved { order: command.order }) };
    App::new()
        .saga(saga())
        .service(service("stock").answer(reserve).answer(release))
        .service(service("payment").answer(pay))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_saga_is_seen_and_decided_about() {
    let shop = Shop::open().await;
    let error = shop.run(&["saga", "show", "s-1"]).fails(1);
    assert!(error.contains("this cluster has none, no topic ottla.saga.NAME"), "{error}");
    assert_eq!(shop.run(&["saga", "list", "--json"]).json(), json!([]));

    let is_open = Arc::new(AtomicBool::new(false));
    let running = shop.serve(app(&is_open)).await;
    for (id, order) in [("s-1", "o-1"), ("s-2", "free-2"), ("s-3", "free-3"), ("s-4", "free-4")] {
        let start = start("order", id, json!({ "order": order }));
        publish(&shop.cluster, &start, &Origin::new("test", format!("start-{id}"))).await.unwrap();
    }
    running.settle().await.unwrap();

    let list = |args: &[&str]| {
        let found = shop.run(&[&["saga", "list", "--json"], args].concat()).json();
        let rows = found.as_array().unwrap().iter();
        let mut rows: Vec<_> = rows
            .map(|row| format!("{} {}", row["saga_id"].as_str().unwrap(), row["state"]))
            .collect();
        rows.sort();
        rows
    };
    let stuck = ["s-2 \"stuck\"", "s-3 \"stuck\"", "s-4 \"stuck\""];
    assert_eq!(list(&["--state", "stuck"]), stuck);
    assert_eq!(list(&["--saga", "order", "--state", "completed"]), ["s-1 \"completed\""]);
    assert_eq!(list(&["--limit", "2"]).len(), 2);
    let text = shop.run(&["saga", "list"]).ok();
    assert_eq!(text.lines().count(), 5, "{text}");
    let error = shop.run(&["saga", "list", "--saga", "ordr"]).fails(1);
    assert_eq!(error, "error: no saga is called ordr: there are order");
    assert!(
        shop.run(&["saga", "list", "--state", "hung"]).fails(2).contains("compensated, failed")
    );

    let shown = shop.run(&["saga", "show", "s-2"]).ok();
    assert!(shown.starts_with("saga order s-2: stuck, undoing step reserve: "), "{shown}");
    for text in ["turned back because: nothing-to-pay", "ottla saga retry s-2", "shut"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let shown = shop.run(&["saga", "show", "s-1", "--json"]).json();
    assert_eq!((&shown["saga"]["status"], &shown["next"]), (&json!("completed"), &json!([])));

    is_open.store(true, Ordering::SeqCst);
    let told = shop.run(&["saga", "retry", "s-2", "--who", "anna"]).ok();
    assert!(told.starts_with("saga order s-2 is retried, and now "), "{told}");
    let told = shop.run(&["saga", "skip", "s-3", "--saga", "order", "--json"]).json();
    assert_eq!((&told["before"], &told["after"]), (&json!("stuck"), &json!("compensated")));
    let told = shop.run(&["saga", "abandon", "s-4", "--who", "ben"]).ok();
    assert!(told.ends_with("and now failed: abandoned by ben"), "{told}");
    running.settle().await.unwrap();
    assert_eq!(list(&["--state", "compensated"]), ["s-2 \"compensated\"", "s-3 \"compensated\""]);
    let shown = shop.run(&["saga", "show", "s-2"]).ok();
    assert!(shown.contains("anna"), "{shown}");

    let error = shop.run(&["saga", "retry", "s-1"]).fails(1);
    assert!(error.contains("has ended, nothing is left to decide: completed"), "{error}");
    let error = shop.run(&["saga", "retry", "s-9"]).fails(1);
    assert!(error.contains("no saga has the id s-9: `ottla saga list` shows"), "{error}");
    running.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_nobody_reads_is_said() {
    let shop = Shop::open().await;
    let is_open = Arc::new(AtomicBool::new(false));
    let running = shop.serve(app(&is_open)).await;
    let start = start("order", "s-1", json!({ "order": "free" }));
    publish(&shop.cluster, &start, &Origin::new("test", "start")).await.unwrap();
    running.settle().await.unwrap();
    running.stop().await;
    let error = shop.run(&["saga", "skip", "s-1", "--wait", "100ms"]).fails(1);
    assert!(error.contains("group ottla-saga-order has not read it within 100ms"), "{error}");

    let running = shop.serve(app(&is_open)).await;
    let shown = shop.run(&["saga", "show", "s-1", "--json"]).json();
    assert_eq!(shown["saga"]["status"], json!("compensated"));
    running.stop().await;
    shop.close().await;
}
