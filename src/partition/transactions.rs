//! Which transactions of a partition keep its last stable offset back. Pure; part of what is known of
//! the producers, and rebuilt with it.
//!
//! A transaction counts as open from its first record until its marker lies below the high watermark:
//! before that a power cut could still take the marker back.

use std::collections::BTreeSet;

use super::aborted::{Aborted, AbortedTransactions};
use crate::log::AbortedTransaction;
use crate::records::Outcome;
use crate::types::{Offset, ProducerId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// First offsets of those without a marker.
    open: BTreeSet<Offset>,
    /// First offset and marker of those whose marker is not known to lie below the high watermark.
    ended: Vec<(Offset, Offset)>,
    aborted: AbortedTransactions,
}

impl Transactions {
    /// One begins.
    pub(super) fn begin(&mut self, first: Offset) {
        self.open.insert(first);
    }

    /// The one that began at `first` ends with the marker at `last`.
    pub(super) fn end(
        &mut self,
        producer_id: ProducerId,
        first: Offset,
        last: Offset,
        outcome: Outcome,
    ) {
        self.open.remove(&first);
        self.ended.push((first, last));
        if outcome == Outcome::Abort {
            let transaction =
                AbortedTransaction { producer_id, first_offset: first, last_offset: last };
            let stable = self.open.first().copied().unwrap_or(last.plus(1));
            self.aborted.push(Aborted { transaction, stable });
        }
    }

    /// Lets those go whose marker lies below `high_watermark`; whether there were any.
    pub(super) fn release(&mut self, high_watermark: Offset) -> bool {
        let before = self.ended.len();
        self.ended.retain(|(_, last)| high_watermark <= *last);
        self.ended.len() < before
    }

    /// Whether any waits for [`Transactions::release`].
    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Where the first of them begins.
    pub(super) fn first_unstable(&self) -> Option<Offset> {
        let ended = self.ended.iter().map(|(first, _)| *first).min();
        self.open.first().copied().into_iter().chain(ended).min()
    }

    /// The aborted ones.
    pub(super) fn aborted(&self) -> &AbortedTransactions {
        &self.aborted
    }

    /// Knows nothing any more.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.ended.clear();
        self.aborted.replace(Vec::new());
    }
}
