//! Which transactions a run has met records of, as it walks the log from its start.
//!
//! Invariant: what is walked ends before the last stable offset, so every transaction met has ended;
//! the caller's list says which of them were aborted, all others were committed.

use std::collections::{HashMap, HashSet};

use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchError, BatchHeader, ControlRecord, Outcome, ValidBatch};
use crate::types::{Offset, ProducerId};

/// A transaction whose records do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Of its first record.
    pub first_offset: Offset,
    /// Of its marker.
    pub last_offset: Offset,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Transactions {
    /// Those that begin further on, the next one last.
    coming: Vec<AbortedTransaction>,
    /// Aborted ones under way: where the marker is, and whether a batch of them was met.
    aborted: HashMap<ProducerId, (Offset, bool)>,
    /// Committed ones under way that a batch was met of.
    committed: HashSet<ProducerId>,
}

impl Transactions {
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { coming: aborted, aborted: HashMap::new(), committed: HashSet::new() }
    }

    /// Walks on over `batch`; whether it means nothing any more: records of an aborted transaction, or
    /// the marker of one that no batch is left of.
    pub(super) fn is_void(&mut self, batch: &ValidBatch) -> Result<bool, BatchError> {
        let header = batch.header();
        self.begin(header);
        if header.attributes.is_control() {
            return self.end(batch);
        }
        if !header.attributes.is_transactional() {
            return Ok(false);
        }
        if let Some((last, met)) = self.aborted.get_mut(&header.producer_id)
            && header.base_offset < *last
        {
            *met = true;
            return Ok(true);
        }
        self.committed.insert(header.producer_id);
        Ok(false)
    }

    /// Aborted transactions that begin with or before this batch are under way.
    fn begin(&mut self, header: &BatchHeader) {
        let started = |next: &mut AbortedTransaction| next.first_offset <= header.last_offset();
        while let Some(next) = self.coming.pop_if(started) {
            // One that ended before what is walked leaves no marker here to end it.
            if header.base_offset <= next.last_offset {
                self.committed.remove(&next.producer_id);
                self.aborted.insert(next.producer_id, (next.last_offset, false));
            }
        }
    }

    /// What a marker ends.
    fn end(&mut self, batch: &ValidBatch) -> Result<bool, BatchError> {
        let producer_id = batch.header().producer_id;
        let records = batch.records(DECOMPRESSED_LIMIT)?;
        let Some(record) = records.iter().next() else {
            // A marker of which only the frame is left: its transaction went before it.
            self.aborted.remove(&producer_id);
            self.committed.remove(&producer_id);
            return Ok(true);
        };
        let void = match ControlRecord::decode(&record?) {
            Some(ControlRecord::End(marker)) => match marker.outcome {
                Outcome::Abort => !self.aborted.remove(&producer_id).is_some_and(|(_, met)| met),
                Outcome::Commit => !self.committed.remove(&producer_id),
            },
            // What it means is not known here, so it stays.
            Some(ControlRecord::Other(_)) | None => false,
        };
        Ok(void)
    }
}
