//! Tables, events and offsets: one transaction, whatever dies.

use std::time::Duration;

use super::fixture::*;
use crate::client::cluster::{ClusterError, TopicPartition};
use crate::services::testing::CommitFault;
use crate::services::{App, Cx, Result, service};
use crate::types::Offset;

async fn add_up(event: Ordered, cx: Cx) -> Result {
    let total = cx.get(&TOTALS, &event.order).await?.unwrap_or(0) + event.amount;
    cx.put(&TOTALS, &event.order, &total)?;
    cx.emit(&Thanked { order: event.order, total })
}

fn app() -> App {
    App::new().service(service(GROUP).on(add_up))
}

#[tokio::test]
async fn rows_events_and_offsets_take_place_together() {
    let bench = Bench::new();
    let running = bench.start(&app());
    for n in 1..=10 {
        bench.order("a", n).await;
        bench.order("b", 1).await;
    }
    assert_eq!(running.settle().await.unwrap(), None);
    assert_eq!((total(&running, "a"), total(&running, "b")), (55, 10));
    let thanks = bench.events::<Thanked>();
    let of_a: Vec<_> = thanks.iter().filter(|one| one.order == "a").map(|one| one.total).collect();
    assert_eq!(of_a, [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]); // In order, each on top of the one before.
    let committed =
        (0..3).filter_map(|n| bench.cluster.committed_at(GROUP, &TopicPartition::new("orders", n)));
    assert_eq!(committed.map(|offset| offset.0).sum::<i64>(), 20);
    assert_eq!(running.metrics(GROUP).unwrap().handled.get(), 20);
    running.stop().await;
}

#[tokio::test]
async fn a_restart_finds_the_tables_as_they_were() {
    let bench = Bench::new();
    let running = bench.start(&app());
    bench.order("a", 40).await;
    running.settle().await.unwrap();
    drop(running); // As if killed.
    bench.order("a", 2).await;
    let running = bench.start(&app());
    running.settle().await.unwrap();
    assert_eq!(total(&running, "a"), 42);
    assert_eq!(bench.events::<Thanked>().len(), 2);
}

#[tokio::test]
async fn a_commit_whose_end_nobody_knows_counts_once() {
    for fault in [
        CommitFault::Lost(ClusterError::Passing("down".to_owned())),
        CommitFault::Done(ClusterError::Passing("connection lost".to_owned())),
    ] {
        let bench = Bench::new();
        let running = bench.start(&app());
        running.settle().await.unwrap();
        bench.cluster.fail_commit(fault);
        bench.order("a", 7).await;
        bench.run_out(&running).await;
        bench.order("a", 1).await;
        bench.run_out(&running).await;
        assert_eq!(total(&running, "a"), 8);
        let totals: Vec<_> = bench.events::<Thanked>().iter().map(|one| one.total).collect();
        assert_eq!(totals, [7, 8]);
        assert!(running.metrics(GROUP).unwrap().restarts.get() > 0);
    }
}

#[tokio::test]
async fn two_instances_share_the_partitions_and_one_takes_over_from_the_other() {
    let bench = Bench::new();
    let first = bench.start(&app());
    first.settle().await.unwrap();
    let second = bench.start(&app().instance(1));
    second.settle().await.unwrap();
    bench.clock.advance(3_000); // The first hears of it.
    for n in 0..30 {
        bench.order(&format!("o-{n}"), 1).await;
    }
    first.settle().await.unwrap();
    second.settle().await.unwrap();
    let handled =
        |running: &crate::services::Running| running.metrics(GROUP).unwrap().handled.get();
    assert_eq!(handled(&first) + handled(&second), 30);
    assert!(handled(&first) > 0 && handled(&second) > 0);
    drop(first);
    bench.cluster.expire(GROUP, "ottla-shop-0");
    bench.clock.advance(3_000);
    for n in 0..30 {
        bench.order(&format!("o-{n}"), 2).await;
    }
    bench.run_out(&second).await;
    assert_eq!(bench.events::<Thanked>().iter().filter(|one| one.total == 3).count(), 30);
}

#[tokio::test]
async fn a_row_of_another_key_is_refused_and_by_makes_it_ones_own() {
    async fn by_customer(event: Ordered, cx: Cx) -> Result {
        let customer = event.order.split('/').next().unwrap_or_default().to_owned();
        let total = cx.get(&TOTALS, &customer).await?.unwrap_or(0) + event.amount;
        cx.put(&TOTALS, &customer, &total)
    }
    let bench = Bench::new();
    let running = bench.start(&App::new().service(service(GROUP).on(by_customer)));
    bench.order("c-1/o-1", 3).await;
    running.settle().await.unwrap();
    assert_eq!(text(&bench.dead()[0], "ottla-reason"), "foreign-row");
    drop(running);

    let bench = Bench::new();
    let route = |event: &Ordered| event.order.split('/').next().unwrap_or_default().to_owned();
    let running = bench.start(&App::new().service(service(GROUP).on(by_customer).by(route)));
    for n in 1..=5 {
        bench.order(&format!("c-1/o-{n}"), n).await;
    }
    bench.run_out(&running).await;
    assert_eq!((total(&running, "c-1"), bench.dead().len()), (15, 0));
    let rerouted = bench.cluster.records("ottla.by.shop.orders");
    assert!(text(&rerouted[0], "ottla-origin").starts_with("orders/"));
}

#[tokio::test]
async fn a_timer_fires_once_also_after_a_restart_and_not_if_it_is_taken_back() {
    async fn remind(event: Ordered, cx: Cx) -> Result {
        if event.amount == 0 {
            cx.cancel("reminder");
            return Ok(());
        }
        let reminder = Thanked { order: event.order, total: event.amount };
        cx.after("reminder", Duration::from_secs(60), &reminder)
    }
    let app = App::new().service(service(GROUP).on(remind));
    let bench = Bench::new();
    let running = bench.start(&app);
    bench.order("a", 1).await;
    bench.order("b", 2).await;
    bench.order("b", 0).await;
    let due = running.settle().await.unwrap().unwrap();
    assert_eq!(due, bench.clock.now().wall.plus_ms(60_000));
    drop(running);
    let running = bench.start(&app);
    assert_eq!(running.settle().await.unwrap(), Some(due));
    assert_eq!(bench.events::<Thanked>().len(), 0);
    bench.run_out(&running).await;
    let fired: Vec<_> = bench.events::<Thanked>().iter().map(|one| one.order.clone()).collect();
    assert_eq!((fired, bench.left("ottla.timer.shop")), (vec!["a".to_owned()], 0));
}

#[tokio::test]
async fn a_new_group_begins_where_it_is_told_to() {
    let bench = Bench::new();
    bench.order("a", 1).await;
    let late = App::new().service(service(GROUP).on(add_up).from_beginning(false));
    let running = bench.start(&late);
    running.settle().await.unwrap();
    drop(running); // It keeps the place, though nothing came.
    bench.order("a", 10).await;
    let running = bench.start(&late);
    running.settle().await.unwrap();
    assert_eq!(total(&running, "a"), 10);
    let at: Vec<_> = (0..3).map(|n| TopicPartition::new("orders", n)).collect();
    let committed = at.iter().filter_map(|at| bench.cluster.committed_at(GROUP, at)).max();
    assert_eq!(committed, Some(Offset(2)));
}
