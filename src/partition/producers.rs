//! What each idempotent producer wrote last to one partition: tells a new batch from a repeated one
//! and from one that skips (KIP-98, KIP-360), and which transaction is open (KIP-890). Pure; rebuilt
//! from the log at start.
//!
//! Invariant: per producer id at most five batches are kept, newest last, consecutive in sequence
//! within one epoch.
//!
//! What all partitions remember together is bounded ([`ProducerSlots`], KIP-98 has no such bound): a
//! partition that would go beyond forgets those of its producers that wrote longest ago, but none
//! with an open transaction. One that comes back after that is taken for new, as after
//! producer.id.expiration.ms. A marker of a producer that nothing is known of is remembered only while
//! half of all places are free, so that no marker pushes out who writes.

mod learn;
mod rules;
mod slots;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

pub(super) use learn::learn;
pub use rules::{Checked, Marker, ProducerError};
pub use slots::ProducerSlots;
pub(super) use snapshot::Snapshot;

use super::aborted::AbortedTransactions;
use super::transactions::Transactions;
use crate::log::ProducerTail;
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchHeader, ControlRecord, Outcome, ValidBatch};
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// How many batches a producer may have in flight and still have a repeat recognised.
const KEPT_BATCHES: usize = 5;

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: Offset,
    timestamp: Timestamp,
}

impl Kept {
    fn last_offset(&self) -> Offset {
        let more = i64::from(self.last_sequence) - i64::from(self.first_sequence);
        self.base_offset.plus(more & i64::from(i32::MAX)) // Sequences wrap.
    }
}

/// The state of one producer id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    epoch: ProducerEpoch,
    /// Of the last marker that told one.
    coordinator_epoch: Option<i32>,
    batches: VecDeque<Kept>,
    last_timestamp: Timestamp,
    /// Of the newest batch or marker.
    last_offset: Offset,
    /// Where its open transaction begins.
    transaction: Option<Offset>,
    /// Only a marker is known of it: its records were deleted, or there were none here. Its sequence
    /// may be any.
    is_cut: bool,
}

/// What is known of one producer, as DescribeProducers tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Which.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Of its last record; `None` if a marker has fenced what it wrote before.
    pub last_sequence: Option<i32>,
    /// Of its newest batch or marker.
    pub last_timestamp: Timestamp,
    /// Of the coordinator that wrote its last marker.
    pub coordinator_epoch: Option<i32>,
    /// The first offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// Producer state of one partition.
#[derive(Debug)]
pub struct Producers {
    entries: HashMap<ProducerId, Entry>,
    transactions: Transactions,
    slots: ProducerSlots,
}

impl Drop for Producers {
    fn drop(&mut self) {
        self.slots.give_back(self.entries.len());
    }
}

impl Producers {
    /// Nothing known yet; what is learnt takes slots.
    pub fn new(slots: ProducerSlots) -> Self {
        let (entries, transactions) = (HashMap::new(), Transactions::default());
        Self { entries, transactions, slots }
    }

    /// Remembers a batch that was appended at its base offset, or a marker.
    pub fn record(&mut self, batch: &ValidBatch) {
        let header = batch.header();
        if header.producer_id.0 < 0 {
            return;
        }
        if header.attributes.is_control() {
            self.record_control(batch);
            return;
        }
        let entry = self.entry(header);
        if 0 <= header.base_sequence {
            if entry.batches.len() == KEPT_BATCHES {
                entry.batches.pop_front();
            }
            entry.batches.push_back(Kept {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
                timestamp: header.max_timestamp,
            });
            entry.is_cut = false;
        }
        if header.attributes.is_transactional() && entry.transaction.is_none() {
            entry.transaction = Some(header.base_offset);
            self.transactions.begin(header.base_offset);
        }
    }

    fn record_control(&mut self, batch: &ValidBatch) {
        match marker_of(batch) {
            Some(ControlRecord::End(_)) | None if self.is_beside_the_point(batch.header()) => {}
            Some(ControlRecord::End(marker)) => {
                let entry = self.entry(batch.header());
                entry.coordinator_epoch = Some(marker.coordinator_epoch);
                self.end(batch.header(), marker.outcome);
            }
            Some(ControlRecord::Other(_)) => {}
            // Compaction has left its frame for the sake of the epoch, after all of its transaction.
            None => {
                self.entry(batch.header());
                self.end(batch.header(), Outcome::Commit);
            }
        }
    }

    /// Whether a marker is of a producer that nothing is known of and that has no place to be
    /// remembered: one that has written here must not go for it.
    fn is_beside_the_point(&self, marker: &BatchHeader) -> bool {
        !self.slots.are_half_free() && !self.entries.contains_key(&marker.producer_id)
    }

    /// Closes the transaction, if there is one.
    fn end(&mut self, marker: &BatchHeader, outcome: Outcome) {
        let entry = self.entries.get_mut(&marker.producer_id);
        if let Some(first) = entry.and_then(|entry| entry.transaction.take()) {
            self.transactions.end(marker.producer_id, first, marker.base_offset, outcome);
        }
    }

    /// The entry of the batch's producer, with all in it that every batch tells.
    fn entry(&mut self, batch: &BatchHeader) -> &mut Entry {
        if !self.entries.contains_key(&batch.producer_id) {
            self.take_slot();
        }
        let entry = self.entries.entry(batch.producer_id).or_insert_with(|| Entry {
            epoch: batch.producer_epoch,
            coordinator_epoch: None,
            batches: VecDeque::new(),
            last_timestamp: batch.max_timestamp,
            last_offset: batch.last_offset(),
            transaction: None,
            is_cut: batch.attributes.is_control(),
        });
        if entry.epoch != batch.producer_epoch {
            entry.epoch = batch.producer_epoch;
            entry.batches.clear();
            entry.is_cut = false;
        }
        entry.last_timestamp = batch.max_timestamp;
        entry.last_offset = batch.last_offset();
        entry
    }

    /// Forgets producers whose newest batch is older than `expiration_ms`, unless a transaction of
    /// theirs is open.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        let before = self.entries.len();
        self.entries.retain(|_, entry| {
            entry.transaction.is_some()
                || now.0.saturating_sub(entry.last_timestamp.0) <= expiration_ms
        });
        self.slots.give_back(before - self.entries.len());
    }

    /// Takes the place of one more producer. If none is free this partition gives up a sixteenth of
    /// its own, the oldest first, so that the search for them is rare; with none of its own it goes
    /// beyond the limit by this one.
    fn take_slot(&mut self) {
        if self.slots.are_taken() && !self.entries.is_empty() {
            let idle = self.entries.iter().filter(|(_, entry)| entry.transaction.is_none());
            let mut ages: Vec<_> = idle.map(|(id, entry)| (entry.last_offset, *id)).collect();
            let count = self.entries.len().div_ceil(16).min(ages.len());
            if 0 < count {
                ages.select_nth_unstable(count - 1);
            }
            for (_, id) in ages.iter().take(count) {
                self.entries.remove(id);
            }
            self.slots.give_back(count);
        }
        self.slots.take();
    }

    /// What each wrote last below the high watermark: compaction keeps at least the frame of it.
    pub(super) fn tails(&self, high_watermark: Offset) -> HashMap<ProducerId, ProducerTail> {
        let tail = |(id, entry): (&ProducerId, &Entry)| {
            let mut batches = entry.batches.iter().rev().map(Kept::last_offset);
            let last = batches.find(|last| *last < high_watermark);
            let is_marker = entry.batches.is_empty() && entry.last_offset < high_watermark;
            let from = last.or(is_marker.then_some(entry.last_offset)).unwrap_or(Offset(0));
            (*id, ProducerTail { from })
        };
        self.entries.iter().map(tail).collect()
    }

    fn forget(&mut self) {
        self.slots.give_back(self.entries.len());
        self.entries.clear();
        self.transactions.forget();
    }

    fn put(&mut self, id: ProducerId, entry: Entry) {
        if !self.entries.contains_key(&id) {
            self.take_slot();
        }
        if let Some(first) = entry.transaction {
            self.transactions.begin(first);
        }
        self.entries.insert(id, entry);
    }

    /// How many producer ids are known.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// What is known of each, by producer id.
    pub fn describe(&self) -> Vec<ProducerState> {
        let state = |(id, entry): (&ProducerId, &Entry)| ProducerState {
            producer_id: *id,
            producer_epoch: entry.epoch,
            last_sequence: entry.batches.back().map(|last| last.last_sequence),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            transaction_start: entry.transaction,
        };
        let mut all: Vec<_> = self.entries.iter().map(state).collect();
        all.sort_by_key(|state| state.producer_id);
        all
    }

    /// How many transactions were aborted that the log still has the markers of.
    pub fn aborted_count(&self) -> usize {
        self.aborted().count()
    }

    pub(super) fn aborted(&self) -> &AbortedTransactions {
        self.transactions.aborted()
    }

    pub(super) fn transactions(&mut self) -> &mut Transactions {
        &mut self.transactions
    }
}

/// What a control batch says; `None` if there is no record left in it, or none that can be read.
fn marker_of(batch: &ValidBatch) -> Option<ControlRecord> {
    let records = batch.records(DECOMPRESSED_LIMIT).ok()?;
    let record = records.iter().next()?.ok()?;
    ControlRecord::decode(&record)
}
