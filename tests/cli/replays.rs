//! `replay` and `trace`: a group handles again what it has handled, and what followed from what is seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla::prelude::*;
use serde_json::{Value, json};

use crate::services::Shop;

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
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "mailed", name = "Mailed", key = "order")]
struct Mailed {
    order: String,
}

/// Counts how often it is done, and forgets what.
struct Mail(Arc<AtomicUsize>);

impl Effect for Mail {
    type Out = ();

    async fn run(&self, _key: &str) -> Result {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn app(mails: &Arc<AtomicUsize>) -> App {
    let mails = Arc::clone(mails);
    let mail = move |billed: Billed, cx: Cx| {
        let mails = Arc::clone(&mails);
        async move {
            cx.effect("mail", Mail(mails)).await?;
            cx.emit(&Mailed { order: billed.order })
        }
    };
    let bill = |order: Ordered, cx: Cx| async move { cx.emit(&Billed { order: order.order }) };
    let hour = Duration::from_secs(3_600);
    App::new()
        .service(service("billing").on(bill).by(|order| format!("t-{}", order.total)).done())
        .service(service("mail").on(mail).dedup(hour).done())
}

async fn order(shop: &Shop, name: &str, total: u64) {
    let value = json!({ "order": name, "total": total }).to_string();
    let id = format!("e-{name}");
    shop.send("orders", name, &value, &[("ce_id", &id), ("ce_type", "Ordered")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_reaches_one_group_once_and_can_leave_effects_out() {
    let shop = Shop::open().await;
    let error = shop.run(&["replay", "--group", "mail", "--since", "1h"]).fails(1);
    assert!(error.contains("group mail does not exist, or has read nothing"), "{error}");
    shop.topic("orders", 3).await;
    let mails = Arc::new(AtomicUsize::new(0));
    let running = shop.serve(app(&mails)).await;
    for (name, total) in [("o-1", 1), ("o-2", 2), ("o-3", 3)] {
        order(&shop, name, total).await;
    }
    running.settle().await.unwrap();
    assert_eq!(mails.load(Ordering::SeqCst), 3);

    let replay = |more: &[&str]| {
        let done = shop.run(&[&["replay", "--group", "mail", "--json"], more].concat());
        done.json()["records"].clone()
    };
    assert_eq!(replay(&["--since", "1h", "--dry-run"]), json!(3));
    assert_eq!(replay(&["--since", "1h", "--until", "30m"]), json!(0));
    running.settle().await.unwrap();
    assert_eq!(mails.load(Ordering::SeqCst), 3);
    assert_eq!(replay(&["--since", "1h", "--name", "r-1", "--where", "/order=o-2"]), json!(1));
    assert_eq!(replay(&["--since", "1h", "--name", "r-1"]), json!(3));
    running.settle().await.unwrap();
    assert_eq!(mails.load(Ordering::SeqCst), 6, "a replay has each record once");
    assert_eq!(shop.records("orders").await.len(), 3);
    assert_eq!(shop.records("billed").await.len(), 3, "no other group is reached");

    assert_eq!(replay(&["--since", "1h", "--no-effects"]), json!(3));
    running.settle().await.unwrap();
    assert_eq!(mails.load(Ordering::SeqCst), 6);
    let dead = shop.run(&["dlq", "list", "mail", "--json"]).json();
    assert_eq!(dead["reasons"][0]["reason"], json!("no-effects"));
    assert_eq!(dead["dead_letters"], json!(3));

    // One that reroutes is given the records as they lay at first.
    let told = shop.run(&["replay", "-g", "billing", "--since", "1h", "--topic", "orders"]).ok();
    assert!(told.contains("3 records are given to group billing again, as replay 2"), "{told}");
    running.settle().await.unwrap();
    assert_eq!(shop.records("billed").await.len(), 6);
    assert_eq!(mails.load(Ordering::SeqCst), 6, "what it emits again is a duplicate");

    let error = shop.run(&["replay", "-g", "mail", "--since", "1h", "--topic", "orders"]).fails(1);
    assert_eq!(error, "error: group mail does not read topic orders: it reads billed");
    shop.run(&["replay", "-g", "mail", "--since", "soon"]).fails(2);
    shop.run(&["consume", "orders", "-g", "plain", "--from-beginning", "-n", "1"]).ok();
    let error = shop.run(&["replay", "-g", "plain", "--since", "1h"]).fails(1);
    assert!(error.contains("there is no topic plain.retry"), "{error}");
    running.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_followed_from_what_is_a_tree() {
    let shop = Shop::open().await;
    let running = shop.serve(app(&Arc::default())).await;
    order(&shop, "o-1", 1).await;
    order(&shop, "o-2", 2).await;
    running.settle().await.unwrap();
    let trace = |id: &str| {
        let found = shop.run(&["trace", id, "--json"]).json();
        let line = |row: &Value| format!("{} {} {}", row["depth"], row["name"], row["topic"]);
        found.as_array().unwrap().iter().map(line).collect::<Vec<_>>()
    };
    let expected = [
        "0 \"Ordered\" \"orders\"",
        "1 \"Ordered\" \"ottla.by.billing.orders\"",
        "1 \"Billed\" \"billed\"",
        "2 \"Mailed\" \"mailed\"",
    ];
    assert_eq!(trace("e-o-1"), expected);
    let found = shop.run(&["trace", "e-o-1", "--json"]).json();
    let last = found[3]["event_id"].as_str().unwrap();
    assert_eq!((&found[3]["from"], &found[3]["key"]), (&json!("mail"), &json!("o-1")));
    assert_eq!(trace(last), expected, "from any of its events");
    let text = shop.run(&["trace", "e-o-1", "--since", "1h"]).ok();
    assert!(text.contains("└ Ordered (rerouted)") && text.contains("│ └ Mailed"), "{text}");
    let few = shop.run(&["trace", "e-o-1", "--limit", "2"]);
    assert!(few.err.contains("there may be more than 2 events"), "{few:?}");

    let error = shop.run(&["trace", "e-9"]).fails(1);
    assert!(error.contains("nothing has the id e-9 in "), "{error}");
    let error = shop.run(&["trace", "e-o-1", "--topic", "ordres"]).fails(1);
    assert!(error.starts_with("error: topic ordres does not exist"), "{error}");
    running.stop().await;
    shop.close().await;
}
