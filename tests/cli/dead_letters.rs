//! `dlq`: what handlers gave up is seen, mended, handled again once, or left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla::prelude::*;
use ottla::services::Running;
use serde_json::{Value, json};

use crate::services::{Shop, header};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "orders", name = "Ordered", key = "order")]
struct Ordered {
    order: String,
    total: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "billed", name = "Billed", key = "order")]
struct Billed {
    order: String,
    total: u64,
}

/// Bills orders while the bank is open, and none that costs nothing.
fn app(is_open: &Arc<AtomicBool>) -> App {
    let is_open = Arc::clone(is_open);
    let bill = move |order: Ordered, cx: Cx| {
        let is_open = is_open.load(Ordering::SeqCst);
        async move {
            if order.total == 0 {
                return Err(permanent("nothing-to-pay"));
            }
            if !is_open {
                return Err(transient("timeout").because("the bank does not answer"));
            }
            cx.emit(&Billed { order: order.order, total: order.total })
        }
    };
    let billing = service("billing").on(bill).retry(Retry::none());
    App::new().service(billing.dedup(Duration::from_secs(3_600)).done())
}

async fn order(shop: &Shop, order: &str, total: u64) {
    let value = json!({ "order": order, "total": total }).to_string();
    let id = format!("e-{order}");
    let headers = [("ce_id", id.as_str()), ("ce_type", "Ordered"), ("tenant", "t-1")];
    shop.send("orders", order, &value, &headers).await;
}

/// The orders that were billed, with their totals, in order of their names.
async fn billed(shop: &Shop) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for record in shop.records("billed").await {
        let event: Billed = serde_json::from_slice(&record.value.unwrap()).unwrap();
        all.push((event.order, event.total));
    }
    all.sort();
    all
}

fn names(found: &Value) -> Vec<&str> {
    let entries = found["entries"].as_array().unwrap().iter();
    let mut names: Vec<_> = entries.map(|entry| entry["event_id"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Services that have given up five orders: two that cost nothing, and three while the bank was shut.
async fn given_up(is_open: &Arc<AtomicBool>) -> (Shop, Running) {
    let shop = Shop::open().await;
    let error = shop.run(&["dlq", "list", "billing"]).fails(1);
    assert!(error.contains("there is no topic billing.dlq, nor any other .dlq"), "{error}");
    shop.topic("orders", 3).await;
    let running = shop.serve(app(is_open)).await;
    for (name, total) in [("o-1", 0), ("o-2", 5), ("o-3", 6), ("o-4", 0), ("o-5", 50)] {
        order(&shop, name, total).await;
    }
    running.settle().await.unwrap();
    (shop, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_by_reason_and_shown() {
    let (shop, running) = given_up(&Arc::default()).await;
    let error = shop.run(&["dlq", "list", "biling"]).fails(1);
    assert!(error.ends_with("there are those of billing"), "{error}");
    let found = shop.run(&["dlq", "list", "billing", "--json"]).json();
    let kind =
        |kind: &Value| (kind["reason"].clone(), kind["class"].clone(), kind["count"].clone());
    let kinds: Vec<_> = found["reasons"].as_array().unwrap().iter().map(kind).collect();
    let free = (json!("nothing-to-pay"), json!("permanent"), json!(2));
    assert_eq!(kinds, [free, (json!("timeout"), json!("transient"), json!(3))]);
    assert_eq!(names(&found).len(), 5);
    let list = |condition: &str| {
        let found = shop.run(&["dlq", "list", "billing", "--where", condition, "--json"]).json();
        names(&found).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("/total=50"), ["e-o-5"]);
    assert_eq!(list("key=o-2"), ["e-o-2"]);
    assert_eq!(list("message*=bank"), ["e-o-2", "e-o-3", "e-o-5"]);
    let error = shop.run(&["dlq", "list", "billing", "--where", "resaon=x"]).fails(2);
    assert!(error.contains("\"resaon\" is no field: reason, "), "{error}");
    let text = shop.run(&["dlq", "list", "billing"]).ok();
    assert!(text.starts_with("group billing: 5 dead letters in billing.dlq\n"), "{text}");
    assert!(text.contains("timeout: the bank does not answer"), "{text}");
    let all = shop.run(&["dlq", "list", "--json"]).json();
    assert_eq!((&all[0]["group"], &all[0]["dead_letters"]), (&json!("billing"), &json!(5)));

    let shown = shop.run(&["dlq", "show", "billing", "e-o-1", "--json"]).json();
    assert_eq!((&shown["record"]["topic"], &shown["attempts"]), (&json!("orders"), &json!(1)));
    let entry = shown["entry"].as_str().unwrap().to_owned();
    let text = shop.run(&["dlq", "show", "billing", &entry]).ok();
    for part in ["nothing-to-pay, permanent", "tenant           t-1", "\"total\": 0"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error = shop.run(&["dlq", "show", "billing", "9@9"]).fails(1);
    assert!(error.contains("billing.dlq has no entry 9@9"), "{error}");
    running.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_mended_and_handled_again_once() {
    let is_open = Arc::new(AtomicBool::new(false));
    let (shop, running) = given_up(&is_open).await;
    let shown = shop.run(&["dlq", "show", "billing", "e-o-1", "--json"]).json();
    let entry = shown["entry"].as_str().unwrap().to_owned();
    is_open.store(true, Ordering::SeqCst);
    let redrive = |more: &[&str]| shop.run(&[&["dlq", "redrive", "billing"], more].concat());
    let timeouts = ["--where", "reason=timeout"];
    let told = redrive(&[&timeouts[..], &["--dry-run"]].concat()).ok();
    assert_eq!(told, "3 dead letters of group billing would be redriven: timeout 3");
    running.settle().await.unwrap();
    assert_eq!(billed(&shop).await, []);
    let told = redrive(&[&timeouts[..], &["--rate", "50/s"]].concat()).ok();
    assert_eq!(told, "3 dead letters of group billing are redriven: timeout 3");
    running.settle().await.unwrap();
    let paid = |order: &str, total| (order.to_owned(), total);
    let expected = [paid("o-2", 5), paid("o-3", 6), paid("o-5", 50)];
    assert_eq!(billed(&shop).await, expected);
    assert_eq!(redrive(&timeouts).ok(), "0 dead letters of group billing are redriven");
    assert!(redrive(&["e-o-2"]).fails(1).contains("no entry e-o-2 that waits for a decision"));

    let edit = |more: &[&str]| shop.run(&[&["dlq", "edit", "billing", "e-o-1"], more].concat());
    assert!(edit(&["--set", "/total=7", "--dry-run"]).ok().contains("would be redriven"));
    let told = edit(&["--set", "/total=7"]).ok();
    assert!(told.ends_with(&format!("entry {entry} of group billing is redriven with this value")));
    assert!(edit(&["--set", "/total=8"]).fails(1).contains("was decided about before"));
    assert!(shop.run(&["dlq", "show", "billing", &entry]).ok().contains(", redriven already"));
    running.settle().await.unwrap();
    assert_eq!(billed(&shop).await[0], paid("o-1", 7));
    let again = shop.records("billing.retry").await;
    let again = again.iter().find(|record| record.key.as_deref() == Some(b"o-1")).unwrap();
    assert_eq!(header(again, "ottla-event-id"), Some("e-o-1"));
    assert_eq!((header(again, "ottla-redrive"), header(again, "tenant")), (Some("1"), Some("t-1")));

    let told = shop.run(&["dlq", "discard", "billing", "--all", "--json"]).json();
    assert_eq!((&told["discarded"], &told["reasons"]["nothing-to-pay"]), (&json!(1), &json!(1)));
    running.settle().await.unwrap();
    let found = shop.run(&["dlq", "list", "billing", "--json"]).json();
    assert_eq!((&found["dead_letters"], billed(&shop).await.len()), (&json!(0), 4));
    running.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_has_to_be_said() {
    let shop = Shop::open().await;
    let running = shop.serve(app(&Arc::new(AtomicBool::new(false)))).await;
    order(&shop, "o-1", 1).await;
    running.settle().await.unwrap();
    for args in [
        &["dlq", "redrive", "billing"][..],
        &["dlq", "redrive", "billing", "--all", "e-o-1"],
        &["dlq", "redrive", "billing", "--all", "--rate", "fast"],
        &["dlq", "edit", "billing", "e-o-1"],
        &["dlq", "edit", "billing", "e-o-1", "--set", "total=1"],
        &["dlq", "edit", "billing", "e-o-1", "--set", "/total=1", "--value-file", "x"],
    ] {
        let error = shop.run(args).fails(2);
        assert!(error.starts_with("error: "), "{args:?}: {error}");
    }
    shop.topic("other.dlq", 1).await;
    shop.send("other.dlq", "k", "no letter", &[]).await;
    let found = shop.run(&["dlq", "list", "other"]);
    assert!(found.err.contains("other.dlq-0@0 is no dead letter: header __dlq"), "{found:?}");
    assert!(found.ok().starts_with("group other: 0 dead letters"));
    assert!(
        shop.run(&["dlq", "discard", "other", "--all"]).fails(1).contains("no topic other.retry")
    );
    running.stop().await;
    shop.close().await;
}
