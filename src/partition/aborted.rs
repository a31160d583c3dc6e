//! The aborted transactions of a partition, as read_committed consumers are told of them (KIP-98).
//!
//! Invariant: they stand in the order of their markers, and every one's marker is in the log: a client
//! drops a producer's records until it meets the marker, so one too many would hide what counts.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::log::AbortedTransaction;
use crate::types::Offset;

/// Shared by the one who appends and those who read; clones are the same list.
#[derive(Clone, Debug, Default)]
pub(super) struct AbortedTransactions(Arc<RwLock<VecDeque<Aborted>>>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    /// Whose, and from where to where.
    pub(super) transaction: AbortedTransaction,
    /// Where the first transaction began that was open when this one ended; behind the marker if
    /// none was. None that ends later begins before.
    pub(super) stable: Offset,
}

impl AbortedTransactions {
    /// Adds one, whose marker is the newest.
    pub(super) fn push(&self, aborted: Aborted) {
        self.write().push_back(aborted);
    }

    /// Those that a reader of the records from `from` to before `end` must know, by first offset.
    pub(super) fn between(&self, from: Offset, end: Offset) -> Vec<AbortedTransaction> {
        let list = self.read();
        let first = list.partition_point(|aborted| aborted.transaction.last_offset < from);
        let mut found = Vec::new();
        for Aborted { transaction, stable } in list.range(first..) {
            if transaction.first_offset < end {
                found.push(*transaction);
            }
            if end <= *stable {
                break;
            }
        }
        found.sort_by_key(|transaction| transaction.first_offset);
        found
    }

    /// All of them, by marker.
    pub(super) fn all(&self) -> Vec<AbortedTransaction> {
        self.read().iter().map(|aborted| aborted.transaction).collect()
    }

    /// As [`AbortedTransactions::all`], with all that is known.
    pub(super) fn entries(&self) -> RwLockReadGuard<'_, VecDeque<Aborted>> {
        self.read()
    }

    /// Whether any lies wholly before `start`.
    pub(super) fn has_before(&self, start: Offset) -> bool {
        self.read().front().is_some_and(|oldest| oldest.transaction.last_offset < start)
    }

    /// Forgets those that lie wholly before `start`.
    pub(super) fn forget_before(&self, start: Offset) {
        let mut list = self.write();
        let count = list.partition_point(|aborted| aborted.transaction.last_offset < start);
        list.drain(..count);
    }

    /// Whether any has its marker at one of `markers`.
    pub(super) fn has_any(&self, markers: &[Offset]) -> bool {
        let list = self.read();
        markers.iter().any(|marker| find(&list, *marker).is_some())
    }

    /// Forgets those whose markers stood at `markers`.
    pub(super) fn forget(&self, markers: &[Offset]) {
        let mut list = self.write();
        list.retain(|aborted| !markers.contains(&aborted.transaction.last_offset));
    }

    /// Puts others in their place.
    pub(super) fn replace(&self, others: Vec<Aborted>) {
        *self.write() = others.into();
    }

    fn read(&self) -> RwLockReadGuard<'_, VecDeque<Aborted>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, VecDeque<Aborted>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the one stands whose marker is at `marker`.
fn find(list: &VecDeque<Aborted>, marker: Offset) -> Option<usize> {
    list.binary_search_by_key(&marker, |aborted| aborted.transaction.last_offset).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ProducerId;

    /// `(producer, first, last, stable)` each.
    fn list(all: &[(i64, i64, i64, i64)]) -> AbortedTransactions {
        let list = AbortedTransactions::default();
        for (producer_id, first, last, stable) in all {
            list.push(Aborted {
                transaction: AbortedTransaction {
                    producer_id: ProducerId(*producer_id),
                    first_offset: Offset(*first),
                    last_offset: Offset(*last),
                },
                stable: Offset(*stable),
            });
        }
        list
    }

    fn told(list: &AbortedTransactions, from: i64, end: i64) -> Vec<i64> {
        let found = list.between(Offset(from), Offset(end));
        found.iter().map(|transaction| transaction.first_offset.0).collect()
    }

    #[test]
    fn a_reader_is_told_of_those_that_reach_into_its_records_by_first_offset() {
        // 1 and 3 are open while 2 ends; 3 outlives 1.
        let list = list(&[(2, 5, 10, 0), (1, 0, 12, 8), (3, 8, 20, 21), (2, 30, 31, 32)]);
        assert_eq!(told(&list, 0, 40), [0, 5, 8, 30]);
        assert_eq!(told(&list, 11, 31), [0, 8, 30]);
        assert_eq!(told(&list, 12, 13), [0, 8], "its marker is among the records");
        assert_eq!(told(&list, 13, 30), [8]);
        assert_eq!(told(&list, 0, 5), [0]);
        assert!(told(&list, 32, 40).is_empty());
        assert!(told(&list, 21, 30).is_empty());
    }

    #[test]
    fn what_lies_before_the_start_or_has_no_marker_any_more_is_forgotten() {
        let list = list(&[(1, 0, 3, 4), (1, 4, 9, 10), (1, 10, 12, 13), (1, 13, 14, 15)]);
        assert!(!list.has_before(Offset(3)) && list.has_before(Offset(4)));
        list.forget_before(Offset(4));
        assert_eq!(told(&list, 0, 40), [4, 10, 13]);
        assert!(!list.has_any(&[Offset(3), Offset(8)]) && list.has_any(&[Offset(8), Offset(12)]));
        list.forget(&[Offset(8), Offset(12)]);
        assert_eq!(told(&list, 0, 40), [4, 13]);
    }
}
