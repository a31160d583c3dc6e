//! A partition that a machine of the broker writes its decisions to, and reads back at start. What
//! a journal holds is always synced before it counts, whatever `ottla.durability` says of topics.

use std::sync::Arc;

use bytes::Bytes;

use super::error::AppendError;
use super::partition::Partition;
use crate::log::ReadError;
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchBuilder, BatchError, NewRecord};
use crate::types::{Now, Offset};

/// One key and value, as Kafka's internal topics hold them; no value deletes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    /// What the record is about.
    pub key: Option<Bytes>,
    /// Its new state.
    pub value: Option<Bytes>,
}

impl JournalRecord {
    /// Bytes of key and value.
    pub fn size_bytes(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        len(&self.key).saturating_add(len(&self.value))
    }
}

/// Why a journal could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The log itself.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal is offline.
    #[error(transparent)]
    Offline(#[from] super::ReadError),
    /// A batch in it.
    #[error("journal {topic} at offset {offset}: {error}")]
    Batch {
        /// The journal's name.
        topic: String,
        /// Where the batch begins.
        offset: Offset,
        /// What is wrong with it.
        error: BatchError,
    },
}

/// A journal over one partition.
#[derive(Clone, Debug)]
pub struct Journal {
    partition: Arc<Partition>,
}

impl Journal {
    /// A journal in `partition`, which nobody else writes.
    pub fn new(partition: Arc<Partition>) -> Self {
        Self { partition }
    }

    /// Appends `records` as one batch: after a crash all of them are there or none. Returns the end
    /// to wait for with [`Journal::durable`].
    pub fn append(&self, records: &[JournalRecord], now: Now) -> Result<Offset, AppendError> {
        let mut batch = BatchBuilder::new();
        for record in records {
            batch.push(&NewRecord {
                timestamp: now.wall,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &[],
            });
        }
        Ok(self.partition.append_own(batch.build()?, now)?.end)
    }

    /// Returns once everything before `end` is on disk (in memory, under `ephemeral`).
    pub async fn durable(&self, end: Offset) -> Result<(), AppendError> {
        self.partition.visible(end).await
    }

    /// Takes nothing more until restart, whose replay finds what was stored before.
    pub fn give_up(&self, reason: &str) {
        self.partition.take_offline(reason);
    }

    /// The end of what was appended.
    pub fn end(&self) -> Offset {
        self.partition.watermarks().log_end
    }

    /// The partition it lies in.
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Gives every record to `take`, oldest first.
    pub fn replay(&self, take: impl FnMut(JournalRecord)) -> Result<(), JournalError> {
        self.replay_from(self.partition.watermarks().log_start, take)
    }

    /// As [`Journal::replay`], of the batches from `offset` on.
    pub fn replay_from(
        &self,
        offset: Offset,
        mut take: impl FnMut(JournalRecord),
    ) -> Result<(), JournalError> {
        for batch in self.partition.reader()?.batches(offset) {
            let batch = batch?;
            if batch.header().attributes.is_control() {
                continue;
            }
            let fault = |error| JournalError::Batch {
                topic: self.partition.topic.to_string(),
                offset: batch.header().base_offset,
                error,
            };
            let records = batch.records(DECOMPRESSED_LIMIT).map_err(fault)?;
            for record in &records {
                let record = records.own(&record.map_err(|error| fault(error.into()))?);
                take(JournalRecord { key: record.key, value: record.value });
            }
        }
        Ok(())
    }
}
