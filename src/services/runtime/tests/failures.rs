//! What fails for good: dead letters with bytes and reason, and the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fixture::*;
use crate::services::{App, Cx, Delivery, Result, Retry, permanent, service, transient};

async fn fussy(event: Ordered, cx: Cx) -> Result {
    match event.order.as_str() {
        "limit" => return Err(permanent("over-limit").because("too much")),
        "panic" => panic!("a bug"),
        _ => {}
    }
    cx.emit(&Thanked { order: event.order, total: event.amount })
}

#[tokio::test]
async fn a_permanent_failure_is_a_dead_letter_at_once_with_its_bytes() {
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(fussy)));
    bench.order("limit", 5).await;
    assert_eq!(running.settle().await.unwrap(), None);
    let dead = bench.dead();
    assert_eq!(dead[0].value.as_deref(), Some(&br#"{"order":"limit","amount":5}"#[..]));
    assert_eq!(dead[0].key.as_deref(), Some(&b"limit"[..]));
    assert_eq!(text(&dead[0], "ottla-class"), "permanent");
    assert_eq!(text(&dead[0], "ottla-reason"), "over-limit");
    assert_eq!(text(&dead[0], "__dlq.errors.topic"), "orders");
    assert_eq!(text(&dead[0], "__dlq.errors.group"), GROUP);
    assert_eq!(text(&dead[0], "__dlq.errors.offset"), "0");
    assert_eq!(text(&dead[0], "__dlq.errors.delivery.count"), "1");
    assert_eq!(text(&dead[0], "ce_id"), "limit-5"); // Its own headers are kept.
}

#[tokio::test]
async fn what_is_no_event_is_a_dead_letter_and_the_partition_goes_on() {
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(fussy)));
    bench
        .send("orders", "a", b"{not json".to_vec(), &[("ce_id", "x"), ("ce_type", "Ordered")])
        .await;
    bench
        .send("orders", "a", b"{\"amount\":1}".to_vec(), &[("ce_id", "y"), ("ce_type", "Ordered")])
        .await;
    bench.order("a", 1).await;
    running.settle().await.unwrap();
    let dead = bench.dead();
    assert_eq!(dead[0].value.as_deref(), Some(&b"{not json"[..]));
    assert_eq!(text(&dead[1], "ottla-reason"), "decode");
    assert!(text(&dead[1], "__dlq.errors.message").contains("order"));
    assert_eq!(bench.events::<Thanked>().len(), 1);
}

#[tokio::test]
async fn a_panic_is_a_dead_letter_and_no_more() {
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(fussy)));
    bench.order("panic", 1).await;
    bench.order("a", 1).await;
    running.settle().await.unwrap();
    assert_eq!(text(&bench.dead()[0], "ottla-reason"), "panic");
    assert!(text(&bench.dead()[0], "__dlq.errors.message").contains("a bug"));
    assert_eq!(bench.events::<Thanked>().len(), 1);
}

#[tokio::test]
async fn an_event_of_another_name_is_passed_over() {
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(fussy)));
    bench.send("orders", "a", b"{}".to_vec(), &[("ce_id", "x"), ("ce_type", "Other")]).await;
    running.settle().await.unwrap();
    assert_eq!(running.metrics(GROUP).unwrap().passed_over.get(), 1);
    assert!(bench.dead().is_empty());
}

#[tokio::test]
async fn a_command_is_answered_where_it_says_also_when_it_fails() {
    async fn pay(command: Pay, _cx: Cx) -> Result<Thanked> {
        match command.amount {
            0 => Err(permanent("declined")),
            total => Ok(Thanked { order: command.order, total }),
        }
    }
    let bench = Bench::new();
    bench.cluster.make_topic("payment_commands", 3);
    let running = bench.start(&App::new().service(service(GROUP).answer(pay)));
    let headers = [
        ("kafka_replyTopic", "replies"),
        ("kafka_correlationId", "q-1"),
        ("ottla-saga-id", "s-1"),
        ("ottla-step", "pay"),
    ];
    bench.event("c-1", &Pay { order: "a".to_owned(), amount: 3 }, &headers).await;
    bench.event("c-2", &Pay { order: "a".to_owned(), amount: 0 }, &headers).await;
    bench.event("c-3", &Pay { order: "a".to_owned(), amount: 0 }, &[]).await;
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 1);
    let replies = bench.cluster.records("replies");
    let said: Vec<_> = replies.iter().map(|one| text(one, "ottla-status")).collect();
    assert_eq!(said, ["ok", "failed"]);
    assert_eq!(text(&replies[1], "ottla-reason"), "declined");
    for reply in &replies {
        assert_eq!(reply.key.as_deref(), Some(&b"s-1"[..]));
        assert_eq!((text(reply, "kafka_correlationId"), text(reply, "ottla-step")), ("q-1", "pay"));
    }
    assert_eq!(bench.dead().len(), 1); // The one that nobody waits for.
}

#[tokio::test]
async fn a_command_that_was_answered_as_not_done_is_no_duplicate_when_it_comes_again() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let pay = move |command: Pay, _cx: Cx| {
        let is_down = is_down.load(Ordering::SeqCst);
        async move {
            if is_down {
                return Err(transient("down"));
            }
            Ok(Thanked { order: command.order, total: command.amount })
        }
    };
    let bench = Bench::new();
    bench.cluster.make_topic("payment_commands", 3);
    let service =
        service(GROUP).answer_with(pay).retry(Retry::none()).dedup(Duration::from_secs(60));
    let running = bench.start(&App::new().service(service));
    let command = Pay { order: "a".to_owned(), amount: 3 };
    let headers = [("kafka_replyTopic", "replies")];
    bench.event("c-1", &command, &headers).await;
    running.settle().await.unwrap();
    down.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        bench.event("c-1", &command, &headers).await;
        running.settle().await.unwrap();
    }
    let replies = bench.cluster.records("replies");
    let said: Vec<_> = replies.iter().map(|one| text(one, "ottla-status")).collect();
    assert_eq!(said, ["retry", "ok"]); // What has been done is a duplicate.
}

#[tokio::test]
async fn at_most_once_tries_once() {
    async fn never(_event: Ordered, _cx: Cx) -> Result {
        Err(transient("down"))
    }
    let bench = Bench::new();
    let service = service(GROUP).on(never).delivery(Delivery::AtMostOnce);
    let running = bench.start(&App::new().service(service));
    bench.order("a", 1).await;
    assert_eq!(running.settle().await.unwrap(), None);
    assert_eq!(text(&bench.dead()[0], "__dlq.errors.delivery.count"), "1");
}

#[tokio::test]
async fn handlers_that_contradict_each_other_are_refused() {
    let two = service(GROUP).on(fussy).done().on(fussy).done();
    let cluster = Arc::new(Bench::new().cluster);
    let refused = App::new().service(two).start(cluster.clone()).unwrap_err();
    assert_eq!(refused.to_string(), "group shop has two handlers for Ordered of topic orders");
    async fn pay(command: Pay, _cx: Cx) -> Result<Thanked> {
        Ok(Thanked { order: command.order, total: command.amount })
    }
    let odd = service(GROUP).on(fussy).parallel(2).done().answer_with(pay).parallel(3).done();
    let refused = App::new().service(odd).start(cluster).unwrap_err();
    assert_eq!(refused.to_string(), "handlers of group shop disagree about parallel");
}
