//! Transactions through the broker in this process, as services have them: all of one is seen or
//! nothing, by readers in the process and by clients on the wire, and what one costs.
//! `OTTLA_TRANSACTIONS` says how many the measurement makes; its figures go to stderr.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(dead_code, unreachable_pub, reason = "the modules serve other tests, too")]

use std::sync::Arc;
use std::time::Duration;

use ottla::broker::{
    Broker, Fetch, GroupOffsets, PartitionFetch, PartitionRecords, TopicRef, TransactionError,
    TransactionWriteError, TransactionWrites, TransactionalProducer,
};
use ottla::clock::Clock;
use ottla::groups::{Command, FetchGroup, FetchOffsets, PartitionCommit, Reply};
use ottla::partition::Isolation;
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::records::{BatchBuilder, NewRecord};
use ottla::txn::TxnError;
use ottla::types::{Offset, PartitionIndex};
use ottla::{DeclaredTopic, Ottla};

#[path = "conformance/batch.rs"]
mod batch;
#[path = "conformance/broker.rs"]
mod broker;
#[path = "conformance/client.rs"]
mod client;
#[path = "conformance/kit.rs"]
mod kit;

use batch::Stored;
use client::Client;

const TIMEOUT_MS: i32 = 60_000;
/// What one transaction of the measurement has, as a service's would.
const PARTITIONS: i32 = 3;
const RECORDS: i32 = 100;
const VALUE_BYTES: usize = 200;

async fn start(folder: &std::path::Path, partitions: i32) -> Ottla {
    let topic = |name: &str| DeclaredTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        ..DeclaredTopic::default()
    };
    let builder = Ottla::builder().data_dir(folder).topics(vec![topic("in"), topic("out")]);
    builder.start().await.unwrap()
}

fn records(partition: i32, values: &[&str]) -> PartitionRecords {
    let mut records = BatchBuilder::new();
    let timestamp = Clock::system().now().wall;
    for value in values {
        let value = Some(value.as_bytes());
        records.push(&NewRecord { timestamp, key: None, value, headers: &[] });
    }
    let topic = TopicRef::Name("out".to_owned());
    PartitionRecords { topic, partition: PartitionIndex(partition), records }
}

fn offsets(group: &str, offset: i64) -> GroupOffsets {
    let row = PartitionCommit {
        partition: PartitionIndex(0),
        offset: Offset(offset),
        leader_epoch: None,
        metadata: String::new(),
    };
    let offsets = vec![("in".to_owned(), vec![row])];
    GroupOffsets { group_id: group.to_owned(), member: None, offsets }
}

/// What a reader of committed records in this process sees of a partition.
fn read(broker: &Broker, partition: i32) -> Vec<String> {
    let mut seen = Vec::new();
    let mut offset = Offset(0);
    loop {
        let partition = PartitionFetch {
            topic: TopicRef::Name("out".to_owned()),
            partition: PartitionIndex(partition),
            offset,
            max_bytes: 1024 * 1024,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let mut look = broker.fetch_now(&Fetch {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1024 * 1024,
            isolation: Isolation::ReadCommitted,
            partitions: vec![partition],
        });
        let fetched = look.results.remove(0).unwrap().records(offset).unwrap();
        let texts = fetched.records.into_iter().flat_map(|record| record.value);
        seen.extend(texts.map(|value| String::from_utf8(value.to_vec()).unwrap()));
        let Some(next) = fetched.next else { return seen };
        offset = next;
    }
}

/// The base offsets that a client on the wire is given of a partition, the aborted ones and the last
/// stable offset.
fn read_on_the_wire(address: &str, partition: i32) -> (Vec<i64>, Vec<(i64, i64)>, i64) {
    let mut client = Client::connect_to(address);
    let request = FetchRequest { isolation_level: 1, ..kit::fetch_request("out", partition, 0) };
    let data = kit::only_partition(&client.call(12, &request));
    let batches = Stored::all(&kit::record_bytes(&data));
    let aborted = data.aborted_transactions.unwrap_or_default();
    (
        batches.iter().map(|batch| batch.base_offset).collect(),
        aborted.iter().map(|it| (it.producer_id, it.first_offset)).collect(),
        data.last_stable_offset,
    )
}

async fn committed(broker: &Broker, group: &str) -> Option<i64> {
    let topics = Some(vec![("in".to_owned(), vec![PartitionIndex(0)])]);
    let groups = vec![FetchGroup { group_id: group.to_owned(), topics }];
    let fetch = Command::FetchOffsets(FetchOffsets { groups, require_stable: false });
    let Reply::FetchOffsets(groups) = broker.groups().call(fetch).await.unwrap() else {
        panic!("another reply")
    };
    groups[0].topics[0].1[0].committed.as_ref().map(|kept| kept.offset.0)
}

/// Waits until the markers of all that has ended are written.
async fn until_ended(broker: &Broker) {
    let ended = async {
        while broker.transaction_counts().ending > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_transaction_is_seen_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ottla = start(folder.path(), 2).await;
    let broker = Arc::clone(ottla.broker());
    let address = ottla.bootstrap_servers();
    let mut producer = broker.transactional_producer("service", TIMEOUT_MS).await.unwrap();

    let writes = TransactionWrites {
        records: vec![records(0, &["a", "b"]), records(1, &["c"])],
        offsets: vec![offsets("group", 5)],
    };
    let written = producer.write(writes).await.unwrap();
    assert_eq!(written.iter().map(|it| it.base_offset.0).collect::<Vec<_>>(), [0, 0]);
    let more = TransactionWrites { records: vec![records(0, &["d"])], offsets: Vec::new() };
    producer.write(more).await.unwrap();
    assert_eq!((read(&broker, 0), read(&broker, 1)), (vec![], vec![]));
    assert_eq!(read_on_the_wire(&address, 0), (vec![], vec![], 0));
    assert_eq!(committed(&broker, "group").await, None);
    producer.commit().await.unwrap();
    until_ended(&broker).await;
    assert_eq!(read(&broker, 0), ["a", "b", "d"]);
    assert_eq!(read(&broker, 1), ["c"]);
    assert_eq!(read_on_the_wire(&address, 0), (vec![0, 2, 3], vec![], 4));
    assert_eq!(committed(&broker, "group").await, Some(5));

    let lost = TransactionWrites {
        records: vec![records(0, &["lost"]), records(1, &["lost"])],
        offsets: vec![offsets("group", 9)],
    };
    producer.write(lost).await.unwrap();
    let id = producer.producer().producer_id.0;
    producer.abort().await.unwrap();
    until_ended(&broker).await;
    assert_eq!(read(&broker, 0), ["a", "b", "d"]);
    assert_eq!(read_on_the_wire(&address, 1), (vec![0, 1, 2, 3], vec![(id, 2)], 4));
    assert_eq!(committed(&broker, "group").await, Some(5));

    // What is aborted does not stand in the way of what follows.
    let last = TransactionWrites { records: vec![records(0, &["e"])], offsets: Vec::new() };
    producer.write(last).await.unwrap();
    producer.commit().await.unwrap();
    until_ended(&broker).await;
    assert_eq!(read(&broker, 0), ["a", "b", "d", "e"]);
    drop(broker);
    drop(producer);
    ottla.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_leaves_the_abort_only() {
    let folder = tempfile::tempdir().unwrap();
    let ottla = start(folder.path(), 2).await;
    let broker = ottla.broker();
    let mut producer = broker.transactional_producer("service", TIMEOUT_MS).await.unwrap();
    let good = || TransactionWrites { records: vec![records(0, &["a"])], offsets: Vec::new() };
    producer.write(good()).await.unwrap();
    let bad = TransactionWrites { records: vec![records(7, &["b"])], offsets: Vec::new() };
    let refused = producer.write(bad).await.unwrap_err();
    assert!(matches!(refused, TransactionWriteError::Partition { .. }), "{refused}");
    let refused = producer.commit().await.unwrap_err();
    assert!(matches!(refused, TransactionWriteError::MustAbort), "{refused}");
    producer.abort().await.unwrap();
    producer.write(good()).await.unwrap();
    producer.commit().await.unwrap();
    until_ended(broker).await;
    assert_eq!(read(broker, 0), ["a"]);
    producer.commit().await.unwrap(); // Nothing is open.
    drop(producer);
    ottla.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_id_fences_who_had_it() {
    let folder = tempfile::tempdir().unwrap();
    let ottla = start(folder.path(), 2).await;
    let broker = ottla.broker();
    let mut zombie = broker.transactional_producer("service", TIMEOUT_MS).await.unwrap();
    let writes = |value: &str| TransactionWrites {
        records: vec![records(0, &[value])],
        offsets: vec![offsets("group", 1)],
    };
    zombie.write(writes("zombie")).await.unwrap();
    let mut producer = broker.transactional_producer("service", TIMEOUT_MS).await.unwrap();
    producer.write(writes("new")).await.unwrap();
    let refused = zombie.commit().await.unwrap_err();
    let is_fenced = matches!(
        refused,
        TransactionWriteError::Transaction(TransactionError::Refused(
            TxnError::ProducerFenced { .. }
        ))
    );
    assert!(is_fenced, "{refused}");
    producer.commit().await.unwrap();
    until_ended(broker).await;
    assert_eq!(read(broker, 0), ["new"]);
    drop((zombie, producer));
    ottla.stop().await.unwrap();
}

/// Aborts nothing, commits all: `count` transactions of one producer.
async fn transact(mut producer: TransactionalProducer, group: String, count: u64) {
    let value = "v".repeat(VALUE_BYTES);
    let share = usize::try_from(RECORDS / PARTITIONS).unwrap();
    let values = vec![value.as_str(); share];
    for offset in 1..=count {
        let writes = TransactionWrites {
            records: (0..PARTITIONS).map(|partition| records(partition, &values)).collect(),
            offsets: vec![offsets(&group, i64::try_from(offset).unwrap())],
        };
        producer.write(writes).await.unwrap();
        producer.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_costs_three_rounds_of_syncs() {
    let asked = std::env::var("OTTLA_TRANSACTIONS").ok();
    let count = asked.and_then(|text| text.parse().ok()).unwrap_or(50);
    for producers in [1, 4, 16] {
        let folder = tempfile::tempdir().unwrap();
        let ottla = start(folder.path(), PARTITIONS).await;
        let broker = ottla.broker();
        let mut all = Vec::new();
        for number in 0..producers {
            let id = format!("service-{number}");
            let producer = broker.transactional_producer(&id, TIMEOUT_MS).await.unwrap();
            all.push(transact(producer, format!("group-{number}"), count));
        }
        let before = ottla.broker().flusher.rounds();
        let clock = Clock::system();
        let begin = clock.elapsed();
        let tasks = ottla::broker::Tasks::default();
        all.into_iter().for_each(|each| tasks.spawn("transactions", each));
        tasks.join(clock.sleep_ms(600_000)).await;
        let took = clock.elapsed() - begin;
        let after = ottla.broker().flusher.rounds();
        let (rounds, syncs) = (after.count - before.count, after.partitions - before.partitions);
        let total = count * producers;
        eprintln!(
            "{producers} producers: {:.0} transactions/s, {:.2} rounds and {:.2} syncs each",
            1_000_000.0 * per(total, u64::try_from(took.as_micros()).unwrap()),
            per(rounds, total),
            per(syncs, total),
        );
        until_ended(ottla.broker()).await;
        for number in 0..producers {
            let offset = committed(ottla.broker(), &format!("group-{number}")).await;
            assert_eq!(offset, i64::try_from(count).ok(), "all have ended well");
        }
        // A round may begin between two appends that could have shared it, now and then.
        assert!(rounds <= total * 4, "{rounds} rounds for {total} transactions");
        ottla.stop().await.unwrap();
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per(count: u64, total: u64) -> f64 {
    count as f64 / total as f64
}
