//! Log compaction: of all records with one key only the newest stays.
//!
//! 1. [`LogReader::cleanable`] tells how much of a log is new since it was compacted last, and
//!    whether that is enough or has waited long enough.
//! 2. [`LogReader::compact`] reads the new part and remembers each key's newest offset, up to a
//!    limit of memory: what does not fit is for the next run.
//! 3. [`Compaction::next`] writes, for some neighbouring segments at a time, one segment of their
//!    survivors to a `.cleaned` file, and syncs it.
//! 4. [`super::Log::swap`] puts it in the place of those it was made of.
//! 5. [`super::Log::mark_compacted`] keeps how far the run came.
//!
//! Only 4 and 5 need the writer, for some renames. The active segment is never touched, nor anything
//! at or behind the offset that the caller gives, which has to be the last stable offset.
//!
//! What stays, beside the newest record of each key:
//! * A tombstone, until its delete horizon (KIP-534): the first run that meets it sets it to now +
//!   `delete.retention.ms`, a run behind it drops the tombstone.
//! * The last batch of each producer that is still known, as an empty frame if need be: its sequence
//!   must survive. Likewise the last batch of each segment: so a segment ends where the next begins,
//!   and a swap that was cut short knows what it replaces.
//! * The marker of a transaction while records of it are left, and then until its own horizon.
//!   Records of aborted transactions go, and shadow nothing.
//!
//! Unlike Kafka, whose map holds hashes of keys: ours holds the keys, so two keys are never taken for
//! one, at the price of fewer keys in the same memory.

mod offset_map;
mod pass;
mod source;
pub(crate) mod swap;
mod transactions;

use std::collections::HashMap;

pub use pass::{Cleaned, Compaction};
pub use swap::Swap;
pub use transactions::AbortedTransaction;

use super::error::{LogError, ReadError};
use super::read::LogReader;
use super::segment::Segment;
use crate::types::{Offset, ProducerId, Timestamp};

/// The topic configs that concern compaction; names and units as in Kafka.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionConfig {
    /// How long a tombstone stays once compaction has met it.
    pub delete_retention_ms: i64,
    /// A segment with a record younger than this is left alone, and so is what follows it.
    pub min_compaction_lag_ms: i64,
    /// A record older than this must not wait for the ratio.
    pub max_compaction_lag_ms: i64,
    /// The share of the log that has to be new.
    pub min_cleanable_dirty_ratio: f64,
}

/// What of a log can be compacted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// The part that is new since the last run begins here.
    pub from: Offset,
    /// It ends here, where a segment begins.
    pub end: Offset,
    /// Bytes before it.
    pub clean_bytes: u64,
    /// Bytes in it.
    pub dirty_bytes: u64,
    /// Whether something in it is older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// The share of the new part.
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no exact bytes")]
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes.saturating_add(self.dirty_bytes);
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether it is worth a run, or has to have one.
    pub fn is_due(&self, config: &CompactionConfig) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// What a producer that is still known wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerTail {
    /// Its last record that no power cut can take back, or the marker that told its epoch if it has
    /// written none since; if that is not known, something before.
    pub from: Offset,
}

/// What a run is told from outside.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to compact, from [`LogReader::cleanable`].
    pub cleanable: Cleanable,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// At most how many bytes the survivors of several segments may come from.
    pub segment_bytes: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// Bytes that the keys and their offsets may take in memory.
    pub memory_bytes: usize,
    /// What becomes of the survivors' pages.
    pub pages: Pages,
    /// The time of the run.
    pub now: Timestamp,
    /// Producers whose sequence must survive.
    pub producers: HashMap<ProducerId, ProducerTail>,
    /// Aborted transactions of the log, by their first offset.
    pub aborted: Vec<AbortedTransaction>,
}

/// What becomes of pages that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// They leave the page cache once they are on disk, unless they are few.
    Dropped,
    /// The kernel decides.
    Kept,
}

/// Told of bytes as they are read and written; says whether to go on. May sleep.
pub type Pace<'a> = dyn FnMut(Io, u64) -> Flow + 'a;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// From a segment.
    Read,
    /// To a `.cleaned` file.
    Written,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It ends with [`CompactError::Stopped`]; the log stays as it is.
    Stop,
}

/// Why a run ended early. What was swapped before stays swapped, and the rest stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The caller said so.
    #[error("compaction was stopped")]
    Stopped,
    /// A segment could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A `.cleaned` file could not be written. The log is not poisoned by it.
    #[error(transparent)]
    Write(#[from] LogError),
}

impl LogReader {
    /// What can be compacted now: whole segments that are not active, end at or before `up_to`, and
    /// have no record younger than `min.compaction.lag.ms`.
    ///
    /// # Errors
    /// `Damaged`, `Io` if an index has to be made anew and cannot.
    pub fn cleanable(
        &self,
        config: &CompactionConfig,
        up_to: Offset,
        now: Timestamp,
    ) -> Result<Cleanable, ReadError> {
        let segments = self.all_segments();
        let start = self.start_offset();
        let active = segments.last().map_or(start, |active| active.base);
        let from = match self.compacted_up_to() {
            // As Kafka: a mark outside the log is worth nothing.
            mark if start <= mark && mark <= active => mark,
            _ => start,
        };
        let mut found =
            Cleanable { from, end: from, clean_bytes: 0, dirty_bytes: 0, is_overdue: false };
        let mut is_open = true;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.base <= from {
                found.clean_bytes = found.clean_bytes.saturating_add(segment.size_bytes());
                continue;
            }
            is_open = is_open && next.base <= up_to && !is_young(segment, config, now)?;
            if is_open {
                found.end = next.base;
                found.dirty_bytes = found.dirty_bytes.saturating_add(segment.size_bytes());
            }
            found.is_overdue = found.is_overdue || is_overdue(segment, config, now)?;
        }
        Ok(found)
    }
}

/// Whether `min.compaction.lag.ms` still guards a record of the segment.
fn is_young(
    segment: &Segment,
    config: &CompactionConfig,
    now: Timestamp,
) -> Result<bool, ReadError> {
    if config.min_compaction_lag_ms <= 0 {
        return Ok(false);
    }
    let newest = segment.index(|index| match index.max {
        Some(max) if max.timestamp.0 >= 0 => max.timestamp,
        _ => index.last_append,
    })?;
    Ok(newest > now.plus_ms(config.min_compaction_lag_ms.saturating_neg()))
}

/// Whether `max.compaction.lag.ms` is over for the first batch of the segment.
fn is_overdue(
    segment: &Segment,
    config: &CompactionConfig,
    now: Timestamp,
) -> Result<bool, ReadError> {
    if config.max_compaction_lag_ms == i64::MAX {
        return Ok(false);
    }
    let first = segment.index(|index| index.first_timestamp)?;
    let limit = now.plus_ms(config.max_compaction_lag_ms.saturating_neg());
    Ok(first.is_some_and(|first| 0 < first.0 && first < limit))
}
