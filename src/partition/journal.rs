//! A partition that a machine of the broker writes its decisions to, and reads back at start. What
//! a journal holds is always synced before it counts, whatever `ottla.durability` says of topics.
//!
//! A machine may keep records for producers' transactions (KIP-98): they lie in transactional batches
//! under the producer's id and epoch, and a control batch says what becomes of them. So a compaction of
//! the journal treats them as any topic's: aborted ones shadow nothing, nothing goes that an open
//! transaction may still decide about.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use bytes::Bytes;

use super::error::AppendError;
use super::partition::Partition;
use crate::log::ReadError;
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchBuilder, BatchError, ControlRecord, EndMarker, NewRecord, ValidBatch};
use crate::types::{Now, Offset, ProducerEpoch, ProducerId};

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

/// One thing that a journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalEntry {
    /// A record that counts at once.
    Record(JournalRecord),
    /// A record of a producer's open transaction: it counts if a marker commits that.
    Pending {
        /// Whose transaction.
        producer_id: ProducerId,
        /// In this epoch of it.
        producer_epoch: ProducerEpoch,
        /// What is to count.
        record: JournalRecord,
    },
    /// A producer's transaction ends, in the broker's own topic that this journal is.
    Marker {
        /// Whose transaction.
        producer_id: ProducerId,
        /// The producer's epoch from here on.
        producer_epoch: ProducerEpoch,
        /// How it ends.
        marker: EndMarker,
    },
}

impl JournalEntry {
    /// Bytes of key and value.
    pub fn size_bytes(&self) -> usize {
        const MARKER_BYTES: usize = 10;
        match self {
            Self::Record(record) | Self::Pending { record, .. } => record.size_bytes(),
            Self::Marker { .. } => MARKER_BYTES,
        }
    }

    /// Whether both can lie in one batch.
    fn shares_batch(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Record(_), Self::Record(_)) => true,
            (
                Self::Pending { producer_id, producer_epoch, .. },
                Self::Pending { producer_id: other_id, producer_epoch: other_epoch, .. },
            ) => (producer_id, producer_epoch) == (other_id, other_epoch),
            (Self::Record(_) | Self::Pending { .. } | Self::Marker { .. }, _) => false,
        }
    }

    fn record(&self) -> Option<&JournalRecord> {
        match self {
            Self::Record(record) | Self::Pending { record, .. } => Some(record),
            Self::Marker { .. } => None,
        }
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
    /// A control batch in it.
    #[error("journal {topic} at offset {offset}: no marker of a transaction")]
    Marker {
        /// The journal's name.
        topic: String,
        /// Where the batch begins.
        offset: Offset,
    },
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
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
        self.append_records(BatchBuilder::new(), records.iter(), now)
    }

    /// Appends the first of `entries`, as many as can lie in one batch: those of one transaction, or
    /// of none. Returns how many, and the end to wait for with [`Journal::durable`].
    pub fn append_some(
        &self,
        entries: &[JournalEntry],
        now: Now,
    ) -> Result<(usize, Offset), AppendError> {
        let Some(first) = entries.first() else { return Ok((0, self.end())) };
        let builder = match first {
            JournalEntry::Record(_) => BatchBuilder::new(),
            // Each batch begins with sequence 0, as Kafka's coordinator writes them.
            JournalEntry::Pending { producer_id, producer_epoch, .. } => {
                BatchBuilder::new().producer(*producer_id, *producer_epoch, 0).transactional()
            }
            JournalEntry::Marker { producer_id, producer_epoch, marker } => {
                let batch = marker.batch(*producer_id, *producer_epoch, now.wall)?;
                return Ok((1, self.partition.append_own(batch, now)?.end));
            }
        };
        let together = entries.iter().take_while(|entry| first.shares_batch(entry));
        let records: Vec<_> = together.filter_map(JournalEntry::record).collect();
        let count = records.len();
        Ok((count, self.append_records(builder, records.into_iter(), now)?))
    }

    fn append_records<'a>(
        &self,
        mut batch: BatchBuilder,
        records: impl Iterator<Item = &'a JournalRecord>,
        now: Now,
    ) -> Result<Offset, AppendError> {
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
        if self.partition.watermarks().high_watermark < end {
            self.partition.context.flusher.hurry();
        }
        self.partition.visible(end).await
    }

    /// Lets what is appended next be synced along with other appends: for what nobody waits for.
    pub fn sync_along(&self) {
        self.partition.sync_along();
    }

    /// As [`Journal::durable`], for a caller that may hold up its thread for as long as a sync takes.
    pub fn wait_durable(&self, end: Offset) -> Result<(), AppendError> {
        self.partition.request_sync();
        // A task's own budget must not let this spin.
        let mut durable = pin!(tokio::task::unconstrained(self.durable(end)));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match durable.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(durable) => return durable,
                Poll::Pending => std::thread::park(),
            }
        }
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

    /// Gives everything in it to `take`, oldest first.
    pub fn replay(&self, take: impl FnMut(JournalEntry)) -> Result<(), JournalError> {
        self.replay_from(self.partition.watermarks().log_start, take)
    }

    /// As [`Journal::replay`], of the batches from `offset` on.
    pub fn replay_from(
        &self,
        offset: Offset,
        mut take: impl FnMut(JournalEntry),
    ) -> Result<(), JournalError> {
        for batch in self.partition.reader()?.batches(offset) {
            self.replay_batch(&batch?, &mut take)?;
        }
        Ok(())
    }

    fn replay_batch(
        &self,
        batch: &ValidBatch,
        take: &mut impl FnMut(JournalEntry),
    ) -> Result<(), JournalError> {
        let header = *batch.header();
        let offset = header.base_offset;
        let topic = || self.partition.topic.to_string();
        let fault = |error| JournalError::Batch { topic: topic(), offset, error };
        let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
        let records = batch.records(DECOMPRESSED_LIMIT).map_err(fault)?;
        for record in &records {
            let record = record.map_err(|error| fault(error.into()))?;
            if header.attributes.is_control() {
                match ControlRecord::decode(&record) {
                    Some(ControlRecord::End(marker)) => {
                        take(JournalEntry::Marker { producer_id, producer_epoch, marker });
                    }
                    Some(ControlRecord::Other(_)) => {}
                    None => return Err(JournalError::Marker { topic: topic(), offset }),
                }
                continue;
            }
            let owned = records.own(&record);
            let record = JournalRecord { key: owned.key, value: owned.value };
            take(if header.attributes.is_transactional() {
                JournalEntry::Pending { producer_id, producer_epoch, record }
            } else {
                JournalEntry::Record(record)
            });
        }
        Ok(())
    }
}
