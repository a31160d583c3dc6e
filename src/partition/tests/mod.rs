//! A partition as broker and producers see it, on a disk that fails on command.

mod lives;
mod transactions;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::config::value::Durability;
use crate::log::fs::{Crash, Fault, FaultKind, FaultyFs, Fs, Op};
use crate::log::{Checkpoint, CompactionConfig, Log, LogConfig, LogError};
use crate::records::{BatchBuilder, NewRecord, ValidBatch};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicId};

fn config() -> PartitionConfig {
    PartitionConfig {
        log: LogConfig {
            segment_bytes: 4096,
            segment_ms: i64::MAX,
            segment_jitter_ms: 0,
            index_interval_bytes: 256,
            retention_ms: -1,
            retention_bytes: -1,
            delete: true,
            compact: false,
            file_delete_delay_ms: 0,
        },
        compact: false,
        compaction: CompactionConfig {
            delete_retention_ms: 0,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
        },
        max_message_bytes: 1 << 20,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: None,
    }
}

/// A disk, and the thread that syncs it.
struct Machine {
    disk: FaultyFs,
    clock: Clock,
    flusher: Flusher,
}

impl Machine {
    fn new() -> Self {
        Self::on(FaultyFs::new())
    }

    fn on(disk: FaultyFs) -> Self {
        Self::with_thread(disk).0
    }

    fn with_thread(disk: FaultyFs) -> (Self, std::thread::JoinHandle<()>) {
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let (flusher, thread) = Flusher::start(clock.clone(), 1 << 20).unwrap();
        (Self { disk, clock, flusher }, thread)
    }

    /// Nobody syncs but who calls [`sync`].
    fn quiet_on(disk: FaultyFs) -> Self {
        let (machine, thread) = Self::with_thread(disk);
        machine.flusher.close();
        thread.join().unwrap();
        machine
    }

    fn open(&self, durability: Durability, checkpoint: Checkpoint) -> Arc<Partition> {
        self.open_as(config(), durability, checkpoint).unwrap()
    }

    fn open_as(
        &self,
        config: PartitionConfig,
        durability: Durability,
        checkpoint: Checkpoint,
    ) -> Result<Arc<Partition>, LogError> {
        let name = PartitionName {
            topic_id: TopicId(Uuid::from_u128(7)),
            topic: "topic".into(),
            index: PartitionIndex(0),
            leader: NodeId(1),
            leader_epoch: LeaderEpoch(0),
        };
        let context = PartitionContext {
            durability,
            flusher: self.flusher.clone(),
            space: Space::default(),
            producer_slots: ProducerSlots::new(1000),
        };
        let fs: Arc<dyn Fs> = Arc::new(self.disk.clone());
        let dir = PathBuf::from("/data/topic-0");
        let (log, _) = Log::open(fs, dir, config.log, checkpoint, self.clock.now().wall)?;
        Ok(Partition::open(name, log, config, context).unwrap())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.flusher.close();
    }
}

/// What the sync thread does for one partition.
fn sync(partition: &Partition) {
    if let Ok(Some(unsynced)) = partition.begin_sync() {
        // What a failure comes to is asked of the partition.
        let _ = partition.end_sync(&unsynced, unsynced.sync());
    }
}

fn batch(values: usize, size: usize) -> ValidBatch {
    let mut builder = BatchBuilder::new();
    let value = vec![b'x'; size];
    for _ in 0..values {
        builder.push(&NewRecord {
            timestamp: Timestamp(1_700_000_000_000),
            key: None,
            value: Some(&value),
            headers: &[],
        });
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn what_is_visible_survives_a_power_cut() {
    let machine = Machine::new();
    let partition = machine.open(Durability::Fsync, Checkpoint::default());
    for _ in 0..20 {
        let appended = partition.append_own(batch(3, 100), machine.clock.now()).unwrap();
        partition.visible(appended.end).await.unwrap();
        let after = Machine::on(machine.disk.crash(Crash::DropUnsynced));
        let found = after.open(Durability::Fsync, Checkpoint::default());
        assert!(found.watermarks().log_end >= appended.end);
    }
}

#[tokio::test]
async fn a_failed_sync_answers_every_waiter_with_an_error_and_is_never_tried_again() {
    let machine = Machine::new();
    let partition = machine.open(Durability::Fsync, Checkpoint::default());
    let first = partition.append_own(batch(1, 10), machine.clock.now()).unwrap();
    partition.visible(first.end).await.unwrap();
    machine.disk.inject(Fault {
        op: Op::SyncData,
        after: 0,
        kind: FaultKind::Error(ErrorKind::Other),
    });
    let second = partition.append_own(batch(1, 10), machine.clock.now()).unwrap();
    assert!(matches!(partition.visible(second.end).await, Err(AppendError::Storage(_))));
    assert!(partition.is_offline());
    assert_eq!(partition.watermarks().high_watermark, first.end, "it was never on disk");
    let calls = machine.disk.calls();
    partition.request_sync();
    let refused = partition.append_own(batch(1, 10), machine.clock.now());
    assert!(matches!(refused, Err(AppendError::Storage(_))));
    assert_eq!(machine.disk.calls(), calls, "nothing more was written or synced");
}

#[tokio::test]
async fn a_sync_that_finds_no_file_to_open_is_tried_again_and_nobody_is_told_before() {
    for op in [Op::SyncDir, Op::Create] {
        let machine = Machine::new();
        let partition = machine.open(Durability::Fsync, Checkpoint::default());
        let before = partition.append_own(batch(1, 10), machine.clock.now()).unwrap();
        // The first sync of a folder, and of the epochs, is yet to come.
        machine.disk.inject(Fault { op, after: 0, kind: FaultKind::NoFile });
        machine.disk.inject(Fault { op, after: 1, kind: FaultKind::NoFile });
        let appended = partition.append_own(batch(1, 10), machine.clock.now()).unwrap();
        partition.visible(appended.end).await.unwrap();
        assert!(before.end < appended.end && !partition.is_offline());
        let after = Machine::on(machine.disk.crash(Crash::DropUnsynced));
        let found = after.open(Durability::Fsync, Checkpoint::default());
        assert_eq!(found.watermarks().log_end, appended.end);
    }
}

#[tokio::test]
async fn an_own_batch_larger_than_a_segment_is_stored() {
    let machine = Machine::new();
    let partition = machine.open(Durability::Fsync, Checkpoint::default());
    let large = partition.append_own(batch(10, 1000), machine.clock.now()).unwrap();
    partition.visible(large.end).await.unwrap();
    let next = partition.append_own(batch(1, 10), machine.clock.now()).unwrap();
    partition.visible(next.end).await.unwrap();
    assert_eq!(next.end, Offset(11));
}

#[tokio::test]
async fn an_error_that_harms_nothing_leaves_the_partition_online() {
    let machine = Machine::new();
    let partition = machine.open(Durability::Fsync, Checkpoint::default());
    let beyond = partition.with_log(|log| log.advance_start(Offset(1000)));
    assert!(beyond.is_err());
    assert!(!partition.is_offline());
    let appended = partition.append_own(batch(1, 10), machine.clock.now()).unwrap();
    partition.visible(appended.end).await.unwrap();
}

/// A batch of one record by the idempotent producer 5.
fn numbered(sequence: i32) -> Bytes {
    let mut bytes = batch(1, 10).to_bytes().to_vec();
    bytes[43..51].copy_from_slice(&5_i64.to_be_bytes());
    bytes[51..53].copy_from_slice(&0_i16.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[tokio::test]
async fn producers_are_known_after_every_kind_of_stop_and_with_any_file_of_them() {
    let machine = Machine::new();
    let partition = machine.open(Durability::Fsync, Checkpoint::default());
    for sequence in 0..8 {
        let appended = partition.append(numbered(sequence), machine.clock.now()).unwrap();
        partition.visible(appended.end).await.unwrap();
    }
    partition.close().unwrap();
    let file = Path::new("/data/topic-0").join(crate::log::layout::PRODUCERS);
    let saved = machine.disk.read(&file, 1 << 20).unwrap();
    let mut stale = saved.clone();
    stale[4..12].copy_from_slice(&1000_i64.to_be_bytes());
    let body = stale.len() - 4;
    let crc = crc32c::crc32c(&stale[..body]);
    stale[body..].copy_from_slice(&crc.to_be_bytes());
    let flipped: Vec<u8> = saved.iter().map(|byte| byte ^ 1).collect();
    for content in [Some(&saved), Some(&stale), Some(&flipped), Some(&Vec::new()), None] {
        let again = Machine::on(machine.disk.crash(Crash::KeepPrefix(u64::MAX)));
        if again.disk.exists(&file) {
            again.disk.remove_file(&file).unwrap();
        }
        if let Some(content) = content {
            again.disk.atomic_write(&file, content).unwrap();
        }
        let found = again.open(Durability::Fsync, Checkpoint::default());
        let repeated = found.append(numbered(3), again.clock.now()).unwrap();
        assert_eq!(repeated.base_offset, Offset(3), "of the last five batches a repeat is known");
        let next = found.append(numbered(8), again.clock.now()).unwrap();
        assert_eq!(next.base_offset, Offset(8));
        assert!(found.append(numbered(20), again.clock.now()).is_err(), "it skips");
    }
}

#[tokio::test]
async fn a_bit_that_turned_on_the_disk_reaches_nobody() {
    let machine = Machine::new();
    let partition = machine.open(Durability::Fsync, Checkpoint::default());
    for _ in 0..20 {
        let appended = partition.append_own(batch(1, 100), machine.clock.now()).unwrap();
        partition.visible(appended.end).await.unwrap();
    }
    let end = partition.close().unwrap();
    let again = Machine::on(machine.disk.clone());
    let segment = Path::new("/data/topic-0").join(crate::log::layout::segment_file(Offset(0)));
    let file = again.disk.open(&segment, crate::log::fs::OpenMode::ReadWrite).unwrap();
    let middle = file.len().unwrap() / 2 + 100; // Inside a value: a batch has 170 bytes.

    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_vectored_at(&[std::io::IoSlice::new(&[byte[0] ^ 4])], middle).unwrap();
    let clean = Checkpoint { durable_up_to: end, clean: true, ..Checkpoint::default() };
    let found = again.open(Durability::Fsync, clean);
    let whole = found.read(Offset(0), 1 << 20, true, Isolation::ReadUncommitted);
    assert!(matches!(whole, Err(ReadError::Storage(_))), "{whole:?}");
    assert!(found.is_offline());
}
