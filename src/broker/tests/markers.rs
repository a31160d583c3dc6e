//! Markers that cannot be written at once: on a full disk, and where a partition is offline.

use super::transactions::PRODUCER;
use super::*;
use crate::records::{BatchBuilder, NewRecord, Outcome};
use crate::txn::{self, Producer, TransactionState};
use crate::types::{Now, ProducerEpoch, TransactionVersion};

fn producer() -> Producer {
    let (producer_id, producer_epoch) = PRODUCER;
    Producer { transactional_id: "id".to_owned(), producer_id, producer_epoch }
}

fn record(builder: BatchBuilder, now: Now) -> crate::records::ValidBatch {
    let mut builder = builder;
    builder.push(&NewRecord { timestamp: now.wall, key: None, value: Some(b"v"), headers: &[] });
    builder.build().unwrap()
}

impl Run {
    /// Puts a record into partition 0 of a topic, within the producer's transaction.
    async fn produce_in_transaction(&self, topic: &str) {
        let part = vec![(topic.to_owned(), vec![PartitionIndex(0)])];
        let version = TransactionVersion::V2;
        self.broker.add_to_transaction(&producer(), part, version).await.unwrap();
        let (id, epoch) = PRODUCER;
        let now = self.clock.now();
        let batch = record(BatchBuilder::new().producer(id, epoch, 0).transactional(), now);
        let appended =
            self.partition(topic).append_beginning(batch.to_bytes(), TransactionVersion::V2, now);
        self.partition(topic).visible(appended.unwrap().end).await.unwrap();
    }

    pub(super) fn start_markers(&self) {
        let stopping = self.broker.tasks.stopping();
        let markers = Arc::clone(&self.broker).write_markers(stopping);
        self.broker.tasks.spawn("markers", markers);
    }

    async fn state(&self) -> TransactionState {
        let describe = txn::Command::Describe(vec!["id".to_owned()]);
        let reply = self.broker.transactions().call(describe).await.unwrap();
        let txn::Reply::Describe(described) = reply else { panic!("another reply") };
        described[0].as_ref().unwrap().state
    }

    /// Lets time pass until the transaction has ended.
    async fn until_complete(&self) {
        let ended = async {
            while self.state().await != TransactionState::Complete(Outcome::Commit) {
                self.clock.advance(1_000);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_found_no_room_ends_its_transaction_once_there_is_some() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.begin_transaction().await;
    run.produce_in_transaction("t").await;
    run.start_markers();
    fs.inject(Fault { op: Op::Write, after: 0, kind: FaultKind::NoRoom });
    let version = TransactionVersion::V2;
    let refused = run.broker.end_transaction(&producer(), Outcome::Commit, version).await;
    refused.unwrap_err();
    run.until_complete().await;
    let watermarks = run.partition("t").watermarks();
    assert_eq!(watermarks.last_stable, watermarks.log_end, "read_committed consumers go on");
    run.broker.tasks.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_offline_costs_the_others_one_marker() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("sound").await;
    run.create("offline").await;
    run.begin_transaction().await;
    run.produce_in_transaction("sound").await;
    run.produce_in_transaction("offline").await;
    fs.inject(Fault { op: Op::Write, after: 0, kind: FaultKind::Error(io::ErrorKind::Other) });
    let now = run.clock.now();
    run.partition("offline").append_own(record(BatchBuilder::new(), now), now).unwrap_err();
    fs.heal();
    run.start_markers();
    let version = TransactionVersion::V2;
    let next = run.broker.end_transaction(&producer(), Outcome::Commit, version).await.unwrap();
    assert_eq!(next.producer_epoch, ProducerEpoch(1));
    let sound = run.partition("sound");
    let marked = async {
        while sound.watermarks().last_stable < Offset(2) {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            run.clock.advance(1_000);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), marked).await.unwrap();
    assert_eq!(sound.watermarks().log_end, Offset(2), "one record and one marker");
    assert_eq!(run.state().await, TransactionState::Prepare(Outcome::Commit));
    run.broker.tasks.stop();
}
