//! Reading a partition: without the append lock, but where a read meets a compaction.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::cache_window::Readers;
use super::{Isolation, Partition, ReadError, Watermarks};
use crate::log::{AbortedTransaction, LogRange, LogReader};
use crate::types::{LeaderEpoch, Monotonic, Offset};

/// What a read found.
#[derive(Clone, Debug)]
pub struct Read {
    /// The offsets of the moment.
    pub watermarks: Watermarks,
    /// Whole batches; `None` where there is nothing to read yet.
    pub range: Option<LogRange>,
    /// Under [`Isolation::ReadCommitted`] the aborted transactions that reach into the range, by
    /// first offset: from there on records of that producer do not count, up to its next marker.
    pub aborted: Vec<AbortedTransaction>,
}

/// What is to be read.
#[derive(Clone, Copy)]
struct Wanted {
    from: Offset,
    max_bytes: u64,
    at_least_one: bool,
    isolation: Isolation,
}

impl Partition {
    /// Whole batches from the one that holds `from`, at most `max_bytes` of them, or one of any size
    /// if `at_least_one`; with the offsets of the moment. Nothing lies between the last readable
    /// offset and the log's end: that is no error.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: u64,
        at_least_one: bool,
        isolation: Isolation,
    ) -> Result<Read, ReadError> {
        if self.is_offline() {
            return Err(ReadError::Storage(self.offline_reason()));
        }
        let reader = self.reader()?;
        let wanted = Wanted { from, max_bytes, at_least_one, isolation };
        let before = self.forgettings.load(Ordering::Acquire);
        let mut found = self.look(reader, wanted);
        let is_committed = isolation == Isolation::ReadCommitted;
        if is_committed && (before % 2 == 1 || self.forgettings.load(Ordering::Acquire) != before) {
            // Records and the list of what does not count of them may be of two moments.
            let _writer = self.lock();
            found = self.look(reader, wanted);
        }
        let found = found.map_err(|error| self.unreadable(&error))?;
        if let Some(range) = found.range.as_ref().filter(|_| self.context.flusher.has_window()) {
            self.readers().note(from, range.next, self.context.flusher.now());
        }
        Ok(found)
    }

    fn look(&self, reader: &LogReader, wanted: Wanted) -> Result<Read, crate::log::ReadError> {
        let Wanted { from, max_bytes, at_least_one, isolation } = wanted;
        let watermarks = self.watermarks();
        let Watermarks { log_start: start, last_stable, high_watermark, log_end: end } = watermarks;
        if from < start || end < from {
            return Err(crate::log::ReadError::OutOfRange { asked: from, start, end });
        }
        let up_to = match isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable,
        };
        if from >= up_to {
            return Ok(Read { watermarks, range: None, aborted: Vec::new() });
        }
        let range = reader.read(from, up_to, max_bytes, at_least_one)?;
        // Behind the range: what ended below the last stable offset is in the list by now.
        let aborted = match &range {
            Some(range) if isolation == Isolation::ReadCommitted => {
                self.aborted.between(from, range.next)
            }
            Some(_) | None => Vec::new(),
        };
        Ok(Read { watermarks, range, aborted })
    }

    /// Damage takes it offline: who reads on behind it would miss records without knowing.
    fn unreadable(&self, error: &crate::log::ReadError) -> ReadError {
        if let crate::log::ReadError::OutOfRange { asked, start, end } = *error {
            return ReadError::OutOfRange { asked, start, end };
        }
        let reason = error.to_string();
        if let crate::log::ReadError::Damaged(_) = error {
            self.take_offline(&reason);
        }
        ReadError::Storage(reason)
    }

    /// Whether a consumer that has read since `active_since` will read on between these offsets.
    pub(super) fn is_read_between(
        &self,
        start: Offset,
        end: Offset,
        active_since: Monotonic,
    ) -> bool {
        self.readers().any_between(start, end, active_since)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a log whose last record has `epoch`, and that goes on at `offset`, parts from this one
    /// (KIP-595); `None` where it does not.
    pub fn diverging(
        &self,
        epoch: LeaderEpoch,
        offset: Offset,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ReadError> {
        let (latest, end) = (self.leader_epoch, self.watermarks().log_end);
        if epoch > latest {
            return Err(ReadError::OutOfRange {
                asked: offset,
                start: self.watermarks().log_start,
                end,
            });
        }
        let (epoch_found, end_offset) = self.end_of_epoch(epoch);
        Ok((epoch_found < epoch || end_offset < offset).then_some((epoch_found, end_offset)))
    }

    /// The largest epoch at or below `epoch` and one past its last offset (KIP-320).
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let end = self.watermarks().log_end;
        if epoch >= self.leader_epoch {
            return (self.leader_epoch, end);
        }
        let found =
            self.reader.as_ref().and_then(|reader| reader.epoch_end(epoch, self.leader_epoch));
        match found {
            Some(found) => (found.epoch, found.end),
            None => (epoch, self.watermarks().log_start),
        }
    }
}
