//! What each idempotent producer wrote last to one partition: tells a new batch from a repeated one
//! and from one that skips (KIP-98, KIP-360). Pure; rebuilt from the log at start.
//!
//! Invariant: per producer id at most five batches are kept, newest last, consecutive in sequence
//! within one epoch.

use std::collections::{HashMap, VecDeque};

use crate::log::{LogReader, ProducerTail, ReadError};
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
    /// Too many producers with live state; see `ottla.max.producer.ids`.
    #[error("{limit} producer ids are in use on this partition already")]
    TooMany {
        /// The limit.
        limit: usize,
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

/// Producer state of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producers {
    entries: HashMap<ProducerId, Entry>,
    limit: usize,
}

impl Producers {
    /// Nothing known yet; at most `limit` producer ids are kept.
    pub fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), limit }
    }

    /// Decides about a batch; changes nothing. Batches without a producer id are always new.
    pub fn check(&self, batch: &BatchHeader) -> Result<Checked, ProducerError> {
        let producer_id = batch.producer_id;
        if producer_id.0 < 0 {
            return Ok(Checked::New);
        }
        let Some(entry) = self.entries.get(&producer_id) else {
            // Unknown (new, expired or deleted with its records): any sequence may begin.
            return if self.entries.len() < self.limit {
                Ok(Checked::New)
            } else {
                Err(ProducerError::TooMany { limit: self.limit })
            };
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
        self.entries.retain(|_, entry| now.0 - entry.last_timestamp.0 <= expiration_ms);
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

/// Learns from the log what every producer wrote last.
pub(super) fn rebuild(
    producers: &mut Producers,
    reader: &LogReader,
    from: Offset,
) -> Result<(), ReadError> {
    for batch in reader.batches(from) {
        let batch = batch?;
        producers.record(batch.header(), batch.header().base_offset);
    }
    Ok(())
}
