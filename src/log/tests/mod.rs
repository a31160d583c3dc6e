//! Tests of the log as its users see it, on a disk, in memory and on a disk that fails.

mod basic;
mod compact;
mod copy;
mod faults;
mod model;
mod repair;
mod retention;
mod times;
mod torn;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fs::{FaultyFs, Fs};
use super::*;
use crate::records::{BatchBuilder, NewRecord, ValidBatch};
use crate::types::{LeaderEpoch, Offset, Timestamp};

pub(super) const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub(super) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        segment_ms: 604_800_000,
        segment_jitter_ms: 0,
        index_interval_bytes: 256,
        retention_ms: 604_800_000,
        retention_bytes: -1,
        delete: true,
        compact: false,
        file_delete_delay_ms: 60_000,
    }
}

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/data/topic-0")
}

/// A disk that has the folder above [`dir`].
pub(super) fn disk() -> FaultyFs {
    let disk = FaultyFs::new();
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// A batch of `count` records at the end of `log`; each value names its offset.
pub(super) fn batch_at(base: Offset, count: i64, timestamp: Timestamp) -> ValidBatch {
    let mut builder = BatchBuilder::new();
    for i in 0..count {
        let value = format!("record-{}", base.0 + i);
        builder.push(&NewRecord {
            timestamp: timestamp.plus_ms(i),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    let mut batch = builder.build().unwrap();
    batch.assign(base, LeaderEpoch(0));
    batch
}

pub(super) fn append(log: &mut Log, count: i64) {
    let batch = batch_at(log.end_offset(), count, NOW);
    log.append(&[batch], NOW).unwrap();
}

pub(super) fn open(fs: &Arc<dyn Fs>, checkpoint: Checkpoint) -> Result<(Log, Recovery), LogError> {
    Log::open(Arc::clone(fs), dir(), config(), checkpoint, NOW)
}

/// Offsets of all records, each checked to say what it should.
pub(super) fn read_all(reader: &LogReader) -> Vec<i64> {
    let start = reader.start_offset();
    let mut offsets = Vec::new();
    for batch in reader.batches(start) {
        for record in &batch.unwrap().records(1 << 20).unwrap() {
            let record = record.unwrap();
            if record.offset >= start {
                let value = format!("record-{}", record.offset);
                assert_eq!(record.value, Some(value.as_bytes()));
                offsets.push(record.offset.0);
            }
        }
    }
    offsets
}

pub(super) fn sync(log: &mut Log) {
    let unsynced = log.unsynced().unwrap();
    unsynced.sync().unwrap();
    log.mark_synced(&unsynced);
}
