//! What each idempotent producer wrote last to one partition: tells a new batch from a repeated one
//! and from one that skips (KIP-98, KIP-360). Pure; rebuilt from the log at start.
//!
//! Invariant: per producer id at most five batches are kept, newest last, consecutive in sequence
//! within one epoch.
//!
//! What all partitions remember together is bounded ([`ProducerSlots`], KIP-98 has no such bound): a
//! partition that would go beyond forgets those of its producers that wrote longest ago. One that
//! comes back after that is taken for new, as after producer.id.expiration.ms.

mod snapshot;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::log::{Log, ProducerTail, ReadError, Sidecar};
use crate::records::BatchHeader;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// How many batches a producer may have in flight and still have a repeat recognised.
const KEPT_BATCHES: usize = 5;

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Kafka's INVALID_PRODUCER_EPOCH.
    #[error("epoch {got} of producer {producer_id} is older than {current}: it was fenced")]
    InvalidEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// What the batch carries.
        got: ProducerEpoch,
        /// What this partition has seen.
        current: ProducerEpoch,
    },
    /// Kafka's OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("sequence {got} of producer {producer_id}, expected {expected}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence.
        got: i32,
        /// What would have followed.
        expected: i32,
    },
}

/// What the check of a batch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Append it.
    New,
    /// It is stored already, here: answer success with these.
    Duplicate {
        /// The first offset of the stored batch.
        base_offset: Offset,
        /// Its newest timestamp.
        timestamp: Timestamp,
    },
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: Offset,
    timestamp: Timestamp,
}

/// The state of one producer id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    epoch: ProducerEpoch,
    batches: VecDeque<Kept>,
    last_timestamp: Timestamp,
}

/// How many producers all partitions of a broker may remember together; clones count as one.
#[derive(Debug, Clone)]
pub struct ProducerSlots {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl ProducerSlots {
    /// `most` of them, all free (ottla.max.producers).
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Producer state of one partition.
#[derive(Debug)]
pub struct Producers {
    entries: HashMap<ProducerId, Entry>,
    slots: ProducerSlots,
}

impl Drop for Producers {
    fn drop(&mut self) {
        self.give_back(self.entries.len());
    }
}

impl Producers {
    /// Nothing known yet; what is learnt takes slots.
    pub fn new(slots: ProducerSlots) -> Self {
        Self { entries: HashMap::new(), slots }
    }

    /// Decides about a batch; changes nothing. Batches without a producer id are always new.
    pub fn check(&self, batch: &BatchHeader) -> Result<Checked, ProducerError> {
        let producer_id = batch.producer_id;
        if producer_id.0 < 0 {
            return Ok(Checked::New);
        }
        let Some(entry) = self.entries.get(&producer_id) else {
            // Unknown (new, expired, pushed out or deleted with its records): any sequence may begin.
            return Ok(Checked::New);
        };
        let (first, last) = (batch.base_sequence, last_sequence(batch));
        if batch.producer_epoch == entry.epoch
            && let Some(kept) =
                entry.batches.iter().find(|b| (b.first_sequence, b.last_sequence) == (first, last))
        {
            return Ok(Checked::Duplicate {
                base_offset: kept.base_offset,
                timestamp: kept.timestamp,
            });
        }
        if batch.producer_epoch < entry.epoch {
            return Err(ProducerError::InvalidEpoch {
                producer_id,
                got: batch.producer_epoch,
                current: entry.epoch,
            });
        }
        let expected = match entry.batches.back() {
            Some(newest) if batch.producer_epoch == entry.epoch => after(newest.last_sequence),
            Some(_) | None => 0,
        };
        if first == expected {
            Ok(Checked::New)
        } else {
            Err(ProducerError::OutOfOrderSequence { producer_id, got: first, expected })
        }
    }

    /// Remembers a batch that was appended at `base_offset`.
    pub fn record(&mut self, batch: &BatchHeader, base_offset: Offset) {
        if batch.producer_id.0 < 0 || batch.attributes.is_control() {
            return;
        }
        if !self.entries.contains_key(&batch.producer_id) {
            self.take_slot();
        }
        let entry = self.entries.entry(batch.producer_id).or_insert_with(|| Entry {
            epoch: batch.producer_epoch,
            batches: VecDeque::new(),
            last_timestamp: batch.max_timestamp,
        });
        if entry.epoch != batch.producer_epoch {
            entry.epoch = batch.producer_epoch;
            entry.batches.clear();
        }
        if entry.batches.len() == KEPT_BATCHES {
            entry.batches.pop_front();
        }
        entry.batches.push_back(Kept {
            first_sequence: batch.base_sequence,
            last_sequence: last_sequence(batch),
            base_offset,
            timestamp: batch.max_timestamp,
        });
        entry.last_timestamp = batch.max_timestamp;
    }

    /// Forgets producers whose newest batch is older than `expiration_ms`.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        let before = self.entries.len();
        self.entries
            .retain(|_, entry| now.0.saturating_sub(entry.last_timestamp.0) <= expiration_ms);
        self.give_back(before - self.entries.len());
    }

    /// Takes the place of one more producer. If none is free this partition gives up a sixteenth of
    /// its own, the oldest first, so that the search for them is rare; with none of its own it goes
    /// beyond the limit by this one.
    fn take_slot(&mut self) {
        if self.slots.taken() >= self.slots.most && !self.entries.is_empty() {
            let newest = |entry: &Entry| entry.batches.back().map(|kept| kept.base_offset);
            let mut ages: Vec<_> =
                self.entries.iter().map(|(id, entry)| (newest(entry), *id)).collect();
            let count = ages.len().div_ceil(16);
            ages.select_nth_unstable(count - 1);
            for (_, id) in ages.iter().take(count) {
                self.entries.remove(id);
            }
            self.give_back(count);
        }
        self.slots.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn give_back(&self, count: usize) {
        self.slots.taken.fetch_sub(count, Ordering::Relaxed);
    }

    /// What each wrote last: compaction keeps at least the frame of it.
    pub(super) fn tails(&self) -> HashMap<ProducerId, ProducerTail> {
        let tail = |(id, entry): (&ProducerId, &Entry)| {
            let last_offset = entry.batches.back().map(|last| {
                let more = i64::from(last.last_sequence) - i64::from(last.first_sequence);
                last.base_offset.plus(more & i64::from(i32::MAX)) // Sequences wrap.
            });
            (*id, ProducerTail { epoch: entry.epoch, last_offset })
        };
        self.entries.iter().map(tail).collect()
    }

    fn forget(&mut self) {
        self.give_back(self.entries.len());
        self.entries.clear();
    }

    fn put(&mut self, id: ProducerId, entry: Entry) {
        if !self.entries.contains_key(&id) {
            self.take_slot();
        }
        self.entries.insert(id, entry);
    }

    /// How many producer ids are known.
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

/// The sequence of a batch's last record; sequences wrap from 2147483647 to 0.
fn last_sequence(batch: &BatchHeader) -> i32 {
    wrap(i64::from(batch.base_sequence) + i64::from(batch.last_offset_delta))
}

fn after(sequence: i32) -> i32 {
    wrap(i64::from(sequence) + 1)
}

fn wrap(sequence: i64) -> i32 {
    i32::try_from(sequence & i64::from(i32::MAX)).expect("masked to 31 bits")
}

/// The largest file of producers that is read, in bytes: a million of them.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Learns what every producer wrote last: from the file as far as it goes, from there on from the log.
/// A file that speaks of more than there is would be right again, and wrong, once the log has grown: it
/// is taken away.
pub(super) fn learn(producers: &mut Producers, log: &Log, file: &Sidecar) -> Result<(), ReadError> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let bytes = file.read(FILE_BYTES_MAX);
    let stands_for = bytes.as_deref().and_then(|bytes| producers.restore(bytes));
    let from = match stands_for {
        Some(at) if at <= end => at.max(start),
        Some(_) | None => {
            producers.forget();
            if bytes.is_some()
                && let Err(error) = file.remove()
            {
                return Err(ReadError::Io { path: log.dir().to_owned(), source: error });
            }
            start
        }
    };
    for batch in log.reader().batches(from) {
        let batch = batch?;
        producers.record(batch.header(), batch.header().base_offset);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, NewRecord};

    fn batch(producer_id: i64, base_sequence: i32) -> BatchHeader {
        let mut batch = BatchBuilder::new();
        let timestamp = Timestamp(1);
        batch.push(&NewRecord { timestamp, key: None, value: None, headers: &[] });
        let mut header = *batch.build().unwrap().header();
        header.producer_id = ProducerId(producer_id);
        header.producer_epoch = ProducerEpoch(0);
        header.base_sequence = base_sequence;
        header
    }

    /// Records one batch a producer, in this order; their offsets count up from `from`.
    fn fill(producers: &mut Producers, ids: std::ops::Range<i64>, from: i64) {
        for (offset, id) in (from..).zip(ids) {
            producers.record(&batch(id, 0), Offset(offset));
        }
    }

    #[test]
    fn full_table_takes_new_producers_and_forgets_the_oldest() {
        let slots = ProducerSlots::new(32);
        let mut producers = Producers::new(slots.clone());
        fill(&mut producers, 0..32, 0);
        producers.record(&batch(0, 1), Offset(32)); // The oldest id has the newest batch.
        assert_eq!(producers.check(&batch(99, 0)), Ok(Checked::New));
        producers.record(&batch(99, 0), Offset(33));
        assert_eq!((producers.count(), slots.taken()), (31, 31));
        let knows = |id| matches!(producers.check(&batch(id, 0)), Ok(Checked::Duplicate { .. }));
        let gone: Vec<_> = (0..32).filter(|id| !knows(*id)).collect();
        assert_eq!(gone, [1, 2]);
    }

    #[test]
    fn limit_is_that_of_all_partitions_together() {
        let slots = ProducerSlots::new(10);
        let mut full = Producers::new(slots.clone());
        fill(&mut full, 0..10, 0);
        let mut other = Producers::new(slots.clone());
        fill(&mut other, 0..100, 0);
        assert_eq!((full.count(), other.count(), slots.taken()), (10, 1, 11));
        drop(full);
        assert_eq!(slots.taken(), 1);
        fill(&mut other, 0..100, 0);
        assert!(other.count() <= 10 && slots.taken() == other.count());
    }

    #[test]
    fn expiry_bears_any_timestamp_of_a_client() {
        let slots = ProducerSlots::new(10);
        let mut producers = Producers::new(slots.clone());
        let mut first = batch(1, 0);
        first.max_timestamp = Timestamp(i64::MIN);
        producers.record(&first, Offset(0));
        let mut last = batch(2, 0);
        last.max_timestamp = Timestamp(i64::MAX);
        producers.record(&last, Offset(1));
        producers.expire(Timestamp(1_700_000_000_000), 86_400_000);
        assert_eq!((producers.count(), slots.taken()), (1, 1), "the one of the future stays");
    }
}
