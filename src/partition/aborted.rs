//! The aborted transactions of a partition, as read_committed consumers are told of them (KIP-98).
//!
//! Invariant: they stand in the order of their markers, and every one's marker is in the log: a client
//! drops a producer's records until it meets the marker, so one too many would hide what counts.
//!
//! All but the newest lie packed in blocks ([`block`]) that are never changed: what is saved of them is
//! taken by their addresses, and written down while others append.

mod block;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(super) use block::Block;

use crate::log::AbortedTransaction;
use crate::types::Offset;

/// Transactions of one block: so many are unpacked at least by a reader that meets one of them.
const BLOCK_COUNT: usize = 256;

/// Shared by the one who appends and those who read; clones are the same list.
#[derive(Clone, Debug, Default)]
pub(super) struct AbortedTransactions(Arc<RwLock<List>>);

#[derive(Debug, Default)]
struct List {
    blocks: VecDeque<Arc<Block>>,
    /// Behind those in blocks; fewer than a block has.
    newest: Vec<Aborted>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    /// Whose, and from where to where.
    pub(super) transaction: AbortedTransaction,
    /// Where the first transaction began that was open when this one ended; behind the marker if
    /// none was. None that ends later begins before.
    pub(super) stable: Offset,
}

impl Aborted {
    fn marker(&self) -> Offset {
        self.transaction.last_offset
    }
}

impl List {
    /// From the one on whose marker is the first at or behind `from`.
    fn behind(&self, from: Offset) -> impl Iterator<Item = Aborted> + '_ {
        let first = self.blocks.partition_point(|block| block.last < from);
        let packed = self.blocks.range(first..).flat_map(|block| block.entries());
        packed.chain(self.newest.iter().copied()).skip_while(move |it| it.marker() < from)
    }

    fn count(&self) -> usize {
        self.blocks.iter().map(|block| block.count).sum::<usize>() + self.newest.len()
    }
}

impl AbortedTransactions {
    /// Adds one, whose marker is the newest.
    pub(super) fn push(&self, aborted: Aborted) {
        let mut list = self.write();
        list.newest.push(aborted);
        if list.newest.len() >= BLOCK_COUNT {
            let block = Block::of(&list.newest).map(Arc::new);
            list.blocks.extend(block);
            list.newest.clear();
        }
    }

    /// Those that a reader of the records from `from` to before `end` must know, by first offset.
    pub(super) fn between(&self, from: Offset, end: Offset) -> Vec<AbortedTransaction> {
        let list = self.read();
        let mut found = Vec::new();
        for Aborted { transaction, stable } in list.behind(from) {
            if transaction.first_offset < end {
                found.push(transaction);
            }
            if end <= stable {
                break;
            }
        }
        found.sort_by_key(|transaction| transaction.first_offset);
        found
    }

    /// All of them, by marker.
    pub(super) fn all(&self) -> Vec<AbortedTransaction> {
        self.read().behind(Offset(i64::MIN)).map(|aborted| aborted.transaction).collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.read().count()
    }

    /// All of them as they are now, in blocks: cheap, whatever their number.
    pub(super) fn blocks(&self) -> Vec<Arc<Block>> {
        let list = self.read();
        let newest = Block::of(&list.newest).map(Arc::new);
        list.blocks.iter().cloned().chain(newest).collect()
    }

    /// Whether any lies wholly before `start`.
    pub(super) fn has_before(&self, start: Offset) -> bool {
        let list = self.read();
        let oldest = list.blocks.front().map(|block| block.first);
        oldest.or(list.newest.first().map(Aborted::marker)).is_some_and(|oldest| oldest < start)
    }

    /// Forgets those that lie wholly before `start`.
    pub(super) fn forget_before(&self, start: Offset) {
        let mut list = self.write();
        let gone = list.blocks.partition_point(|block| block.last < start);
        list.blocks.drain(..gone);
        if let Some(oldest) = list.blocks.front_mut().filter(|block| block.first < start) {
            let kept: Vec<_> = oldest.entries().filter(|it| start <= it.marker()).collect();
            if let Some(block) = Block::of(&kept) {
                *oldest = Arc::new(block);
            }
        }
        list.newest.retain(|it| start <= it.marker());
    }

    /// Whether any has its marker at one of `markers`.
    pub(super) fn has_any(&self, markers: &[Offset]) -> bool {
        let (Some(first), Some(last)) = (markers.iter().min(), markers.iter().max()) else {
            return false;
        };
        let wanted: HashSet<_> = markers.iter().collect();
        let list = self.read();
        let mut among = list.behind(*first).take_while(|it| it.marker() <= *last);
        among.any(|it| wanted.contains(&it.marker()))
    }

    /// Forgets those whose markers stood at `markers`.
    pub(super) fn forget(&self, markers: &[Offset]) {
        let (Some(first), Some(last)) = (markers.iter().min(), markers.iter().max()) else {
            return;
        };
        let gone: HashSet<_> = markers.iter().collect();
        let is_kept = |it: &Aborted| !gone.contains(&it.marker());
        let mut list = self.write();
        list.blocks.retain_mut(|block| {
            if block.last < *first || *last < block.first {
                return true;
            }
            let kept: Vec<_> = block.entries().filter(is_kept).collect();
            if kept.len() < block.count
                && let Some(smaller) = Block::of(&kept)
            {
                *block = Arc::new(smaller);
            }
            !kept.is_empty()
        });
        list.newest.retain(is_kept);
    }

    /// Puts others in their place, which are in the order of their markers.
    pub(super) fn replace(&self, others: Vec<Block>) {
        let blocks = others.into_iter().map(Arc::new).collect();
        *self.write() = List { blocks, newest: Vec::new() };
    }

    fn read(&self) -> RwLockReadGuard<'_, List> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, List> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// What one would know who kept them unpacked.
    fn told_plainly(all: &[Aborted], from: i64, end: i64) -> Vec<i64> {
        let (from, end) = (Offset(from), Offset(end));
        let reach =
            all.iter().filter(|it| from <= it.marker() && it.transaction.first_offset < end);
        let mut found: Vec<_> = reach.map(|it| it.transaction.first_offset.0).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_million_take_little_memory_and_are_found_again() {
        const COUNT: usize = 1_000_000;
        let list = AbortedTransactions::default();
        let mut all = Vec::with_capacity(COUNT);
        let mut dice = 1_u64;
        let mut below = |end: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from((dice >> 33) % end).unwrap()
        };
        let mut end = 0;
        for _ in 0..COUNT {
            // Fifty producers, one after the other, a tenth of them over the end of the one before.
            let first = end - i64::from(below(10) == 0).min(end);
            let marker = end + 1 + below(100);
            let aborted = Aborted {
                transaction: AbortedTransaction {
                    producer_id: ProducerId(1_000 + below(50)),
                    first_offset: Offset(first),
                    last_offset: Offset(marker),
                },
                stable: Offset(marker),
            };
            all.push(aborted);
            list.push(aborted);
            end = marker + 1;
        }
        assert_eq!(list.count(), COUNT);
        let size_bytes: usize = list.blocks().iter().map(|block| block.size_bytes()).sum();
        assert!(size_bytes < 7 * COUNT, "{size_bytes} bytes");
        for _ in 0..200 {
            let from = below(u64::try_from(end).unwrap());
            let near = all.partition_point(|it| it.marker() < Offset(from));
            let near = &all[near.saturating_sub(2)..(near + 200).min(COUNT)];
            let to = from + below(2_000);
            assert_eq!(told(&list, from, to), told_plainly(near, from, to), "{from} to {to}");
        }
        let half = all[COUNT / 2].marker();
        list.forget_before(half);
        assert_eq!(list.count(), COUNT - COUNT / 2);
        assert!(!list.has_before(half));
        let gone: Vec<_> = all[COUNT / 2..].iter().step_by(3).map(Aborted::marker).collect();
        assert!(list.has_any(&gone));
        list.forget(&gone);
        assert!(!list.has_any(&gone));
        let kept: Vec<_> =
            all[COUNT / 2..].iter().enumerate().filter(|(at, _)| at % 3 != 0).collect();
        assert_eq!(list.count(), kept.len());
        assert!(list.all().iter().eq(kept.iter().map(|(_, it)| &it.transaction)));
        let mut file = Vec::new();
        list.blocks().iter().for_each(|block| block.write(&mut file));
        let mut rest = file.as_slice();
        let read = std::iter::from_fn(|| Block::read(&mut rest)).collect();
        let again = AbortedTransactions::default();
        again.replace(read);
        assert_eq!(again.all(), list.all());
    }
}
