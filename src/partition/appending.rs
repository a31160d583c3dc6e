//! Appending to a partition: the one place where batches get their offsets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::admission;
use super::cache_window::PIECE_BYTES;
use super::error::AppendError;
use super::partition::{Appended, Partition, Writer};
use super::producers::{Checked, Marker, Producers};
use crate::config::value::Durability;
use crate::log::Log;
use crate::records::{BatchHeader, ValidBatch};
use crate::types::{Now, Offset, Timestamp, TransactionVersion};

/// A batch that nothing is wrong with by itself: only its place is left to be looked at.
#[derive(Debug)]
pub struct Admitted {
    batch: ValidBatch,
    /// The time that the broker gave it.
    log_append_time: Option<Timestamp>,
}

/// Whether a transactional batch may begin a transaction here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// It only goes on with one that is open.
    Refused,
    /// The coordinator has this partition in it.
    Allowed(TransactionVersion),
}

impl Beginning {
    /// What Kafka asks the coordinator about before it looks at anything else.
    fn check(self, producers: &Producers, batch: &BatchHeader) -> Result<(), AppendError> {
        let (producer_id, producer_epoch) = (batch.producer_id, batch.producer_epoch);
        let may = self != Self::Refused
            || !batch.attributes.is_transactional()
            || producer_id.0 < 0
            || producers.has_transaction(producer_id, producer_epoch);
        if may {
            return Ok(());
        }
        producers.check_epoch(batch)?;
        Err(AppendError::TransactionNotBegun { producer_id, producer_epoch })
    }

    fn version(self) -> TransactionVersion {
        match self {
            Self::Refused => TransactionVersion::V0,
            Self::Allowed(version) => version,
        }
    }
}

impl Partition {
    /// Checks and appends what a producer sent for this partition. On `Err` nothing of it is stored.
    /// On return the batch is in the page cache; it is on disk (under [`Durability::Fsync`]) and
    /// visible once [`Partition::visible`] of its end returns.
    ///
    /// # Errors
    /// `TransactionNotBegun`, before anything else is looked at, for a transactional batch whose
    /// producer and epoch have no transaction open here: ask the coordinator, then
    /// [`Partition::append_beginning`]. All others: see [`AppendError`].
    pub fn append(self: &Arc<Self>, sent: Bytes, now: Now) -> Result<Appended, AppendError> {
        if let Ok(header) = BatchHeader::parse(&sent)
            && header.attributes.is_transactional()
        {
            Beginning::Refused.check(&self.lock().producers, &header)?;
        }
        self.store_admitted(self.admit(sent, now)?, Beginning::Refused, now)
    }

    /// As [`Partition::append`], of a transactional batch that may begin its producer's transaction
    /// here: [`Partition::admit`] and [`Partition::append_admitted`] in one.
    pub fn append_beginning(
        self: &Arc<Self>,
        sent: Bytes,
        version: TransactionVersion,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.append_admitted(self.admit(sent, now)?, version, now)
    }

    /// Stores a transactional batch that may begin its producer's transaction here. The caller knows
    /// that the coordinator has this partition in the transaction, and keeps that from ending until
    /// this returns: so no marker comes before the batch (KIP-890).
    ///
    /// # Errors
    /// `Producer`, `DiskFull` and `Storage`: see [`AppendError`].
    pub fn append_admitted(
        self: &Arc<Self>,
        admitted: Admitted,
        version: TransactionVersion,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.store_admitted(admitted, Beginning::Allowed(version), now)
    }

    /// Checks what a producer sent for this partition, all of it that asks for no lock: its checksum,
    /// its records and the topic's rules. Stores nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn admit(&self, sent: Bytes, now: Now) -> Result<Admitted, AppendError> {
        let config = self.config.load();
        let batch = ValidBatch::parse_within(sent, config.max_message_bytes)?;
        let batch = admission::admit(batch, &config, now.wall)?;
        let (size, max) = (batch.size_bytes(), config.log.segment_bytes);
        if size > max {
            return Err(AppendError::LargerThanSegment { size, max });
        }
        let log_append_time = config.log_append_time.then_some(now.wall);
        Ok(Admitted { batch, log_append_time })
    }

    fn store_admitted(
        self: &Arc<Self>,
        admitted: Admitted,
        beginning: Beginning,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let Admitted { batch, log_append_time } = admitted;
        if !self.context.space.take(batch.size_bytes()) {
            return Err(AppendError::DiskFull);
        }
        let mut appended = self.store(batch, now, |producers, header| {
            beginning.check(producers, header)?;
            Ok(producers.check(header, beginning.version())?)
        })?;
        // That of the stored one, where it is sent again.
        appended.log_append_time = appended.log_append_time.or(log_append_time);
        Ok(appended)
    }

    /// Appends a batch of the broker's own making, past the rules for producers: those for sequences
    /// too, for the broker writes down what others told it under their producer ids. If it is part of
    /// a transaction, or a marker, it counts as such.
    pub fn append_own(
        self: &Arc<Self>,
        batch: ValidBatch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.store(batch, now, |_, _| Ok(Checked::New))
    }

    /// Ends a producer's transaction here, if there is one; without one it is written all the same,
    /// and its epoch counts from then on. Read_committed consumers go on once
    /// [`Partition::visible`] of its end returns; [`Partition::durable`] tells when it is on disk
    /// whatever the durability setting.
    ///
    /// # Errors
    /// `Producer` with `InvalidEpoch` or `EpochNotBumped`, which of a marker that is sent again say
    /// that its transaction has ended and another has begun since, or with `CoordinatorFenced`.
    /// `Storage`, `DiskFull`.
    pub fn append_marker(
        self: &Arc<Self>,
        marker: &Marker,
        now: Now,
    ) -> Result<Appended, AppendError> {
        let batch = marker.end.batch(marker.producer_id, marker.producer_epoch, now.wall)?;
        self.store(batch, now, |producers, _| {
            producers.check_marker(marker)?;
            Ok(Checked::New)
        })
    }

    /// Whether a marker would be refused for its producer's epoch or its coordinator's: for one that is
    /// written by another way than [`Partition::append_marker`].
    ///
    /// # Errors
    /// As those of `append_marker`.
    pub fn check_marker(&self, marker: &Marker) -> Result<(), AppendError> {
        Ok(self.lock().producers.check_marker(marker)?)
    }

    /// Gives `batch` its offsets and writes it, if `check` has nothing against it.
    fn store(
        self: &Arc<Self>,
        mut batch: ValidBatch,
        now: Now,
        check: impl FnOnce(&Producers, &BatchHeader) -> Result<Checked, AppendError>,
    ) -> Result<Appended, AppendError> {
        let mut guard = self.lock();
        let Writer { log, producers, broken, unsaved_bytes, .. } = &mut *guard;
        let log = usable(log, broken)?;
        let start = log.start_offset();
        if let Checked::Duplicate { base_offset, timestamp } = check(producers, batch.header())? {
            let end = base_offset.plus(i64::from(batch.header().last_offset_delta) + 1);
            let log_append_time = Some(timestamp);
            return Ok(Appended { base_offset, end, log_append_time, log_start_offset: start });
        }
        let base_offset = log.end_offset();
        batch.assign(base_offset, self.leader_epoch);
        if let Err(error) = log.append(std::slice::from_ref(&batch), now.wall) {
            return Err(self.failed(guard, &error));
        }
        let end = log.end_offset();
        producers.record(&batch);
        if batch.header().attributes.is_transactional() {
            self.publish_unstable(producers); // Before anyone may read the batch.
        }
        *unsaved_bytes = unsaved_bytes.saturating_add(batch.size_bytes());
        self.log_end.store(end.0, Ordering::Release);
        let unhanded_bytes = log.unhanded_bytes();
        drop(guard);
        self.appended(end, unhanded_bytes);
        Ok(Appended { base_offset, end, log_append_time: None, log_start_offset: start })
    }

    /// Makes an append visible, or asks for the sync that will.
    fn appended(self: &Arc<Self>, end: Offset, unhanded_bytes: u64) {
        match self.context.durability {
            Durability::Fsync => self.request_sync(),
            Durability::IntervalMs(_) | Durability::Os => {
                self.advance_high_watermark(end);
                // Written behind, so that the page-cache window can let go of it.
                if unhanded_bytes >= PIECE_BYTES && self.context.flusher.has_window() {
                    self.request_sync();
                }
            }
            Durability::Ephemeral => self.advance_high_watermark(end),
        }
    }
}

/// The log, if it may still be written.
fn usable<'a>(
    log: &'a mut Option<Log>,
    broken: &Option<String>,
) -> Result<&'a mut Log, AppendError> {
    match (log, broken) {
        (Some(log), None) => Ok(log),
        (_, Some(reason)) => Err(AppendError::Storage(reason.clone())),
        (None, None) => Err(AppendError::Storage("the log is closed".to_owned())),
    }
}
