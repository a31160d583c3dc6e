//! Offsets within transactions, from the broker's door down to the journal and back.

use super::*;
use crate::broker::ShellError;
use crate::groups::{CommitOffsetsInTransaction, EndTransaction, FetchGroup, FetchOffsets, Reply};
use crate::records::{EndMarker, Outcome};
use crate::txn::{self, InitProducerId, Producer};
use crate::types::{ProducerEpoch, ProducerId, TransactionVersion};

pub(super) const PRODUCER: (ProducerId, ProducerEpoch) = (ProducerId(7), ProducerEpoch(0));

impl Run {
    /// Begins the producer's transaction, with the groups' offsets in it: what no coordinator knows is
    /// aborted at the next start.
    pub(super) async fn begin_transaction(&self) {
        let (producer_id, producer_epoch) = PRODUCER;
        let transactional_id = "id".to_owned();
        let init = txn::Command::InitProducerId(InitProducerId {
            transactional_id: transactional_id.clone(),
            timeout_ms: 60_000,
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
        });
        let supply = txn::Command::SupplyProducerIds(vec![producer_id]);
        self.broker.transactions().call(supply).await.unwrap();
        self.broker.transactions().call(init).await.unwrap();
        let producer = Producer { transactional_id, producer_id, producer_epoch };
        let version = TransactionVersion::V0;
        self.broker.add_offsets_to_transaction(&producer, version).await.unwrap();
    }

    /// Commits offsets of partition 0 of a topic, one after the other, within the producer's transaction.
    async fn commit_in_transaction(&self, topic: &str, offsets: &[i64]) -> Result<(), ShellError> {
        let topic_id = self.broker.registry.by_name(topic).unwrap().id;
        for offset in offsets {
            let row = PartitionCommit {
                partition: PartitionIndex(0),
                offset: Offset(*offset),
                leader_epoch: None,
                metadata: String::new(),
            };
            let (producer_id, producer_epoch) = PRODUCER;
            let commit = CommitOffsetsInTransaction {
                producer_id,
                producer_epoch,
                group_id: "group".to_owned(),
                member_id: String::new(),
                group_instance_id: None,
                generation: Generation(-1),
                topics: vec![TopicCommit {
                    topic: topic.to_owned(),
                    topic_id,
                    partitions: vec![row],
                }],
            };
            let command = Command::CommitOffsetsInTransaction(commit);
            let Reply::CommitOffsetsInTransaction(Ok(results)) =
                self.broker.groups().call(command).await?
            else {
                panic!("refused")
            };
            assert_eq!(results[0].partitions, [(PartitionIndex(0), Ok(()))]);
        }
        Ok(())
    }

    async fn end_transaction(&self, outcome: Outcome) {
        let (producer_id, producer_epoch) = PRODUCER;
        let marker = EndMarker { outcome, coordinator_epoch: 0 };
        let end = EndTransaction { producer_id, producer_epoch, marker };
        let done = self.broker.groups().call(Command::EndTransaction(end)).await.unwrap();
        assert_eq!(done, Reply::EndTransaction(Ok(())));
    }

    /// The group's offset of partition 0 of a topic; `None` while it is not stable.
    async fn stable_offset(&self, topic: &str) -> Option<i64> {
        let topics = Some(vec![(topic.to_owned(), vec![PartitionIndex(0)])]);
        let groups = vec![FetchGroup { group_id: "group".to_owned(), topics }];
        let fetch = Command::FetchOffsets(FetchOffsets { groups, require_stable: true });
        let Reply::FetchOffsets(groups) = self.broker.groups().call(fetch).await.unwrap() else {
            panic!("another reply")
        };
        let row = &groups[0].topics[0].1[0];
        (!row.is_unstable).then(|| row.committed.as_ref().map_or(-1, |kept| kept.offset.0))
    }
}

#[tokio::test]
async fn offsets_of_a_transaction_wait_for_its_marker_over_restarts() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.commit("t").await;
    run.begin_transaction().await;
    // Batches of the same size and first sequence: none may pass for a repeat of another.
    run.commit_in_transaction("t", &[10, 11, 12]).await.unwrap();
    assert_eq!(run.stable_offset("t").await, None);
    run.kill();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, None);
    run.end_transaction(Outcome::Commit).await;
    assert_eq!(run.stable_offset("t").await, Some(12));
    let end = run.partition("__consumer_offsets").watermarks().log_end;
    run.end_transaction(Outcome::Commit).await;
    assert_eq!(run.partition("__consumer_offsets").watermarks().log_end, end, "told twice");
    run.commit_in_transaction("t", &[20]).await.unwrap();
    run.stop();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, None);
    run.end_transaction(Outcome::Abort).await;
    run.kill();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, Some(12));
    run.stop();
}

/// What `kafka-dump-log --offsets-decoder` shows of Kafka's own.
#[tokio::test]
async fn journal_holds_the_batches_that_kafka_writes_for_a_transaction() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.commit_in_transaction("t", &[10]).await.unwrap();
    run.end_transaction(Outcome::Commit).await;
    let partition = run.partition("__consumer_offsets");
    let batches = partition.reader().unwrap().batches(Offset(0));
    let seen: Vec<_> = batches
        .map(|batch| {
            let header = *batch.unwrap().header();
            let kind = (header.attributes.is_transactional(), header.attributes.is_control());
            ((header.producer_id, header.producer_epoch), header.base_sequence, kind)
        })
        .collect();
    assert_eq!(seen, [(PRODUCER, 0, (true, false)), (PRODUCER, -1, (true, true))]);
    run.stop();
}

#[tokio::test]
async fn pending_offsets_of_a_topic_that_went_while_nobody_looked_are_forgotten_at_start() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.begin_transaction().await;
    run.commit_in_transaction("t", &[10]).await.unwrap();
    let deleted = run.broker.change_now(|catalog| {
        let decided = catalog.delete_topics(&[TopicRef::Name("t".to_owned())]);
        (decided.into_iter().filter_map(|(_, record)| record.ok()).collect(), ())
    });
    deleted.unwrap();
    run.stop();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, None);
    run.broker.forget_lost_topics().await.unwrap();
    assert_eq!(run.stable_offset("t").await, Some(-1));
    run.end_transaction(Outcome::Commit).await;
    assert_eq!(run.stable_offset("t").await, Some(-1));
    run.stop();
}

#[tokio::test]
async fn what_a_full_disk_held_back_is_stored_in_its_order() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.begin_transaction().await;
    run.commit_in_transaction("t", &[10]).await.unwrap();
    fs.inject(Fault { op: Op::Write, after: 0, kind: FaultKind::NoRoom });
    run.commit_in_transaction("t", &[11]).await.unwrap_err();
    run.end_transaction(Outcome::Commit).await;
    run.kill();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, Some(11));
    run.stop();
}

/// The coordinator of transactions would believe that the marker is there, and forget the offsets.
#[tokio::test]
async fn a_marker_that_could_not_be_stored_is_not_taken_for_stored_when_it_is_asked_for_again() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.begin_transaction().await;
    run.commit_in_transaction("t", &[10]).await.unwrap();
    fs.inject(Fault { op: Op::Write, after: 0, kind: FaultKind::Error(io::ErrorKind::Other) });
    let (producer_id, producer_epoch) = PRODUCER;
    let marker = EndMarker { outcome: Outcome::Commit, coordinator_epoch: 0 };
    let end = EndTransaction { producer_id, producer_epoch, marker };
    for _ in 0..2 {
        run.broker.groups().call(Command::EndTransaction(end)).await.unwrap_err();
    }
    run.kill();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, None);
    run.end_transaction(Outcome::Commit).await;
    assert_eq!(run.stable_offset("t").await, Some(10));
    run.stop();
}

#[tokio::test]
async fn a_transaction_that_no_coordinator_knows_is_aborted_at_the_start() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.commit("t").await;
    run.commit_in_transaction("t", &[10]).await.unwrap();
    run.kill();
    let run = start(&fs).unwrap();
    assert_eq!(run.stable_offset("t").await, Some(1));
    run.stop();
}
