//! What fails in passing: its key waits in order, the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::fixture::*;
use crate::client::cluster::Cluster;
use crate::services::{
    AfterDead, App, Cx, Order, Result, Retry, dlq, permanent, service, transient,
};

fn thank(event: Ordered, cx: &Cx) -> Result {
    cx.emit(&Thanked { order: event.order, total: event.amount })
}

async fn poisoned(event: Ordered, cx: Cx) -> Result {
    if event.order == "o-50" && event.amount == 1 {
        return Err(transient("down"));
    }
    thank(event, &cx)
}

#[tokio::test]
async fn one_poisoned_key_of_a_hundred_holds_nobody_else_up() {
    let bench = Bench::new();
    let retry = Retry::exp(Duration::from_millis(200), Duration::from_secs(30)).attempts(3);
    let running = bench.start(&App::new().service(service(GROUP).on(poisoned).retry(retry)));
    for n in 0..100 {
        bench.order(&format!("o-{n}"), 1).await;
    }
    bench.order("o-50", 2).await;
    let due = running.settle().await.unwrap();
    assert!(due.is_some());
    assert_eq!(bench.events::<Thanked>().len(), 99); // No time has passed.
    assert_eq!(running.metrics(GROUP).unwrap().parked_records.get(), 2);
    bench.run_out(&running).await;
    let dead = bench.dead();
    assert_eq!((dead.len(), text(&dead[0], "ottla-reason")), (1, "down"));
    assert_eq!(text(&dead[0], "__dlq.errors.delivery.count"), "4");
    let thanks = bench.events::<Thanked>();
    let of_key: Vec<_> =
        thanks.iter().filter(|one| one.order == "o-50").map(|one| one.total).collect();
    assert_eq!((thanks.len(), of_key), (100, vec![2]));
    assert_eq!(bench.left("ottla.park.shop"), 0);
    let metrics = running.metrics(GROUP).unwrap();
    assert_eq!((metrics.failed_transient.get(), metrics.dead_letters.get()), (4, 1));
}

/// A service that fails until its switch is thrown.
fn switched(switch: &Arc<AtomicBool>) -> crate::services::On<Ordered> {
    let switch = Arc::clone(switch);
    service(GROUP).on(move |event: Ordered, cx: Cx| {
        let is_up = switch.load(Ordering::SeqCst);
        async move { if is_up { thank(event, &cx) } else { Err(transient("down")) } }
    })
}

#[tokio::test]
async fn what_waits_keeps_its_order_over_a_restart() {
    let bench = Bench::new();
    let switch = Arc::new(AtomicBool::new(false));
    let app = App::new().service(switched(&switch));
    let running = bench.start(&app);
    for amount in 1..=4 {
        bench.order("a", amount).await;
    }
    running.settle().await.unwrap();
    drop(running);
    bench.order("a", 5).await;
    switch.store(true, Ordering::SeqCst);
    let running = bench.start(&app);
    running.settle().await.unwrap();
    bench.order("a", 6).await;
    bench.run_out(&running).await;
    let order: Vec<_> = bench.events::<Thanked>().iter().map(|one| one.total).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6]);
    assert_eq!(bench.left("ottla.park.shop"), 0);
}

#[tokio::test]
async fn without_order_the_next_record_does_not_wait() {
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(poisoned).order(Order::None)));
    bench.order("o-50", 1).await;
    bench.order("o-50", 2).await;
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 1);
    bench.run_out(&running).await;
    assert_eq!((bench.dead().len(), bench.events::<Thanked>().len()), (1, 1));
    assert_eq!(bench.left("ottla.park.shop"), 0);
}

#[tokio::test]
async fn with_order_by_partition_the_partition_waits() {
    let bench = Bench::new();
    bench.cluster.make_topic("orders", 3);
    let app = App::new().service(service(GROUP).on(poisoned).order(Order::Partition));
    let running = bench.start(&app);
    bench.order("o-50", 1).await;
    let partition = bench.cluster.records("orders")[0].at.partition;
    for n in 0..20 {
        bench.order(&format!("x-{n}"), 1).await;
    }
    let behind =
        bench.cluster.records("orders").iter().filter(|one| one.at.partition == partition).count();
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 21 - behind);
    bench.run_out(&running).await;
    assert_eq!(bench.events::<Thanked>().len(), 20);
}

#[tokio::test]
async fn a_handler_that_never_ends_is_ended_and_others_are_committed_before() {
    async fn stuck(event: Ordered, cx: Cx) -> Result {
        if event.order == "stuck" {
            std::future::pending::<()>().await;
        }
        thank(event, &cx)
    }
    let bench = Bench::new();
    let service = service(GROUP)
        .on(stuck)
        .handler_timeout(Duration::from_secs(5))
        .retry(Retry::exp(Duration::from_secs(1), Duration::from_secs(1)).attempts(1));
    let running = bench.start(&App::new().service(service));
    bench.order("stuck", 1).await;
    for n in 0..20 {
        bench.order(&format!("o-{n}"), 1).await;
    }
    let handled = || running.metrics(GROUP).unwrap().handled.get();
    while handled() < 20 {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(100); // Longer than the others wait for it.
    while bench.events::<Thanked>().len() < 20 {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(5_000);
    while running.metrics(GROUP).unwrap().failed_transient.get() < 1 {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(1_000);
    while running.metrics(GROUP).unwrap().in_flight.get() < 1 {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(5_000);
    bench.run_out(&running).await;
    assert_eq!(text(&bench.dead()[0], "ottla-reason"), "timeout");
    assert_eq!(bench.left("ottla.park.shop"), 0);
}

#[tokio::test]
async fn a_held_key_waits_until_its_dead_letter_is_redriven() {
    static TRIES: AtomicU32 = AtomicU32::new(0);
    async fn strict(event: Ordered, cx: Cx) -> Result {
        if event.amount == 1 && TRIES.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(permanent("bad"));
        }
        thank(event, &cx)
    }
    let bench = Bench::new();
    let app = App::new().service(service(GROUP).on(strict).after_dead(AfterDead::HoldKey));
    let running = bench.start(&app);
    bench.order("a", 1).await;
    bench.order("a", 2).await;
    running.settle().await.unwrap();
    drop(running);
    let running = bench.start(&app);
    running.settle().await.unwrap();
    assert_eq!((bench.dead().len(), bench.events::<Thanked>().len()), (1, 0));
    let letter = dlq::parse(&bench.dead()[0]).unwrap();
    bench.cluster.send(vec![dlq::redriven(&letter)]).await.unwrap();
    bench.run_out(&running).await;
    let order: Vec<_> = bench.events::<Thanked>().iter().map(|one| one.total).collect();
    assert_eq!(order, [1, 2]);
    assert_eq!(bench.left("ottla.park.shop"), 0);
}

#[tokio::test]
async fn a_duplicate_within_the_window_is_not_handled() {
    let bench = Bench::new();
    let app = App::new().service(service(GROUP).on(poisoned).dedup(Duration::from_secs(60)));
    let running = bench.start(&app);
    bench.order("a", 1).await;
    bench.order("a", 1).await;
    running.settle().await.unwrap();
    drop(running);
    let running = bench.start(&app);
    bench.order("a", 1).await;
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 1);
    let event = Ordered { order: "a".to_owned(), amount: 1 };
    bench.event("a-1", &event, &[("ottla-redrive", "1")]).await;
    bench.event("a-1", &event, &[("ottla-redrive", "1")]).await;
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 2); // What is redriven is handled again, once.
    bench.clock.advance(60_000);
    bench.order("a", 1).await;
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 3);
}

#[tokio::test]
async fn an_open_breaker_stops_reading_and_uses_up_no_attempts() {
    let bench = Bench::new();
    let switch = Arc::new(AtomicBool::new(false));
    let retry = Retry::exp(Duration::from_millis(200), Duration::from_secs(1)).attempts(3);
    let running =
        bench.start(&App::new().service(switched(&switch).breaker("psp").retry(retry).parallel(1)));
    for n in 0..50 {
        bench.order(&format!("o-{n}"), 1).await;
    }
    running.settle().await.unwrap();
    let metrics = running.metrics(GROUP).unwrap();
    assert_eq!(metrics.failed_transient.get(), 5);
    for _ in 0..9 {
        bench.clock.advance(1_000);
        running.settle().await.unwrap();
    }
    assert_eq!(metrics.failed_transient.get(), 5);
    switch.store(true, Ordering::SeqCst);
    bench.run_out(&running).await;
    assert_eq!((bench.events::<Thanked>().len(), bench.dead().len()), (50, 0));
}

#[tokio::test]
async fn a_rate_is_kept() {
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(poisoned).rate(10)));
    for n in 0..25 {
        bench.order(&format!("x-{n}"), 1).await;
    }
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 10);
    bench.clock.advance(500);
    running.settle().await.unwrap();
    assert_eq!(bench.events::<Thanked>().len(), 15);
    bench.run_out(&running).await;
    assert_eq!(bench.events::<Thanked>().len(), 25);
}

#[tokio::test]
async fn a_held_key_goes_on_when_its_dead_letter_is_discarded() {
    async fn strict(event: Ordered, cx: Cx) -> Result {
        if event.amount == 1 { Err(permanent("bad")) } else { thank(event, &cx) }
    }
    let bench = Bench::new();
    let app = App::new().service(service(GROUP).on(strict).after_dead(AfterDead::HoldKey));
    let running = bench.start(&app);
    bench.order("a", 1).await;
    bench.order("a", 2).await;
    running.settle().await.unwrap();
    let letter = dlq::parse(&bench.dead()[0]).unwrap();
    assert_eq!((letter.reason.as_str(), letter.event_id.as_str()), ("bad", "a-1"));
    bench.cluster.send(vec![dlq::discarded(&letter)]).await.unwrap();
    bench.run_out(&running).await;
    let order: Vec<_> = bench.events::<Thanked>().iter().map(|one| one.total).collect();
    assert_eq!((order, bench.left("ottla.park.shop")), (vec![2], 0));
}
