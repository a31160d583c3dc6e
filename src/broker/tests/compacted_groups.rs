//! Compaction of the groups' journal, with transactions in it: random commits, deletions and markers,
//! then a run, then a restart, which must find the same offsets, committed and pending. `OTTLA_SEED=n`
//! runs one seed alone.

use super::*;
use crate::broker::settings;
use crate::config::topic::TopicConfig;
use crate::config::value::CleanupPolicy;
use crate::groups::{CommitOffsetsInTransaction, CommittedOffset, DeleteOffsets, EndTransaction};
use crate::machine::testing::{Dice, for_each_seed};
use crate::partition::PartitionConfig;
use crate::records::{EndMarker, Outcome};
use crate::txn::{self, InitProducerId, Producer};
use crate::types::{ProducerEpoch, ProducerId, TransactionVersion};

const SEEDS: u64 = 4;
const ROUNDS: u32 = 8;
const STEPS: u32 = 60;
const SEGMENT_BYTES: u64 = 2_048;

/// A group's offset of a partition.
type Row = (String, String, PartitionIndex, CommittedOffset);

fn config() -> PartitionConfig {
    let topic = TopicConfig {
        cleanup_policy: CleanupPolicy::Compact,
        delete_retention_ms: 0,
        min_cleanable_dirty_ratio: 0.0,
        ..TopicConfig::default()
    };
    let mut config = settings::partition_config(&topic);
    config.log.segment_bytes = SEGMENT_BYTES;
    config
}

impl Run {
    /// Begins a transaction of each producer, with the groups' offsets in it, which the coordinator
    /// never hears the end of: what it does not know is aborted at the next start.
    async fn begin_transactions(&self) -> Vec<Producer> {
        let mut producers = Vec::new();
        for number in 0..3 {
            self.broker.supply_producer_id().await.unwrap();
            let init = txn::Command::InitProducerId(InitProducerId {
                transactional_id: format!("id-{number}"),
                timeout_ms: 60_000,
                producer_id: ProducerId(-1),
                producer_epoch: ProducerEpoch(-1),
            });
            let txn::Reply::InitProducerId(Ok(producer)) =
                self.broker.transactions().call(init).await.unwrap()
            else {
                panic!("refused")
            };
            let version = TransactionVersion::V0;
            self.broker.add_offsets_to_transaction(&producer, version).await.unwrap();
            producers.push(producer);
        }
        producers
    }

    fn commits(&self, dice: &mut Dice) -> Vec<TopicCommit> {
        let row = PartitionCommit {
            partition: PartitionIndex(i32::try_from(dice.below(4)).unwrap()),
            offset: Offset(i64::try_from(dice.below(1_000)).unwrap()),
            leader_epoch: None,
            metadata: String::new(),
        };
        let topic_id = self.broker.registry.by_name("t").unwrap().id;
        vec![TopicCommit { topic: "t".to_owned(), topic_id, partitions: vec![row] }]
    }

    async fn step(&self, dice: &mut Dice, producers: &[Producer]) {
        let which = usize::try_from(dice.below(3)).unwrap();
        let Producer { producer_id, producer_epoch, .. } = producers[which];
        let group_id = ["one", "two"][usize::try_from(dice.below(2)).unwrap()].to_owned();
        let command = match dice.below(10) {
            0..2 => Command::CommitOffsets(CommitOffsets {
                group_id,
                member_id: String::new(),
                group_instance_id: None,
                generation: Generation(-1),
                retention_ms: None,
                knows_group_id_not_found: false,
                topics: self.commits(dice),
            }),
            2..6 => Command::CommitOffsetsInTransaction(CommitOffsetsInTransaction {
                producer_id,
                producer_epoch,
                group_id,
                member_id: String::new(),
                group_instance_id: None,
                generation: Generation(-1),
                topics: self.commits(dice),
            }),
            6 => {
                let partitions = vec![PartitionIndex(i32::try_from(dice.below(4)).unwrap())];
                let topics = vec![("t".to_owned(), partitions)];
                Command::DeleteOffsets(DeleteOffsets { group_id, topics })
            }
            _ => {
                let outcome = if dice.below(3) == 0 { Outcome::Abort } else { Outcome::Commit };
                let marker = EndMarker { outcome, coordinator_epoch: 0 };
                Command::EndTransaction(EndTransaction { producer_id, producer_epoch, marker })
            }
        };
        self.broker.groups().call(command).await.unwrap();
    }

    /// All offsets, those that are committed and those that are pending.
    fn offsets(&self) -> (Vec<Row>, Vec<Row>) {
        let own = |(group, topic, partition, kept): (&str, &str, _, &CommittedOffset)| {
            (group.to_owned(), topic.to_owned(), partition, kept.clone())
        };
        self.broker.groups().look(|groups| {
            (groups.committed().map(own).collect(), groups.pending().map(own).collect())
        })
    }

    /// One run over the groups' journal; how many bytes it freed.
    fn compact_groups(&self) -> u64 {
        let partition = self.partition("__consumer_offsets");
        let now = self.clock.now().wall;
        let Some(cleanable) = partition.compaction_due(now).unwrap() else { return 0 };
        let mut pace = |_, _| crate::log::Flow::Continue;
        partition.compact(cleanable, 1 << 20, now, &mut pace).unwrap().freed_bytes
    }
}

#[test]
fn compaction_of_the_groups_journal_changes_no_offset() {
    for_each_seed(SEEDS, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compact_and_restart(seed));
    });
}

async fn compact_and_restart(seed: u64) {
    let fs = FaultyFs::new();
    let mut dice = Dice::new(seed);
    let mut run = start(&fs).unwrap();
    run.create("t").await;
    let producers = run.begin_transactions().await;
    let mut freed_bytes = 0;
    for round in 0..ROUNDS {
        run.partition("__consumer_offsets").set_config(config());
        for _ in 0..STEPS {
            run.step(&mut dice, &producers).await;
            assert!(run.clock.advance(1_000));
        }
        let before = run.offsets();
        freed_bytes += run.compact_groups();
        run.kill();
        run = start(&fs).unwrap();
        // Each run's clock begins where that of the first did.
        assert!(run.clock.advance(u64::from(STEPS * (round + 1)) * 1_000));
        assert_eq!(run.offsets(), before, "seed {seed}, round {round}");
    }
    run.stop();
    assert!(freed_bytes > 10 * SEGMENT_BYTES, "seed {seed}: only {freed_bytes} bytes were freed");
}
