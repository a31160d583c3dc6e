//! Reading a partition: none of it takes the append lock.

use std::sync::{MutexGuard, PoisonError};

use super::cache_window::Readers;
use super::{Isolation, Partition, ReadError, Watermarks};
use crate::log::LogRange;
use crate::types::{LeaderEpoch, Monotonic, Offset};

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
    ) -> Result<(Option<LogRange>, Watermarks), ReadError> {
        if self.is_offline() {
            return Err(ReadError::Storage(self.offline_reason()));
        }
        let watermarks = self.watermarks();
        let Watermarks { log_start, last_stable, high_watermark, log_end } = watermarks;
        if from < log_start || log_end < from {
            return Err(ReadError::OutOfRange { asked: from, start: log_start, end: log_end });
        }
        let up_to = match isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable,
        };
        if from >= up_to {
            return Ok((None, watermarks));
        }
        let range = self.reader()?.read(from, up_to, max_bytes, at_least_one);
        let range = range.map_err(|error| self.unreadable(&error))?;
        if let Some(range) = range.as_ref().filter(|_| self.context.flusher.has_window()) {
            self.readers().note(from, range.next, self.context.flusher.now());
        }
        Ok((range, watermarks))
    }

    /// Damage takes it offline: who reads on behind it would miss records without knowing.
    fn unreadable(&self, error: &crate::log::ReadError) -> ReadError {
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
