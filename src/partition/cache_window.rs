//! The page-cache window: how much of the newest log stays in memory for consumers.
//!
//! A kernel left alone keeps every page it has written until memory is short, and then pays for it in
//! bursts; fresh pages cost a virtual machine many times what used ones do. So what has been synced
//! is kept up to a size, oldest out first. A range that a consumer is about to read is kept longer,
//! up to twice that size.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::Partition;
use crate::log::SyncedRange;
use crate::log::fs::File;
use crate::types::{Monotonic, Offset};

/// Ranges are taken in and dropped in pieces of at least this, in bytes. What a quiet partition
/// writes never reaches it and is left to the kernel.
pub(super) const PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// A consumer that has read within this time is expected to read on, in ms.
const READER_ACTIVE_MS: u64 = 10_000;

/// What is held, oldest first. Used by the sync thread alone.
#[derive(Debug)]
pub(super) struct CacheWindow {
    limit_bytes: u64,
    held_bytes: u64,
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
struct Piece {
    partition: Weak<Partition>,
    /// Not kept open: what is deleted has to give its space back.
    file: Weak<dyn File>,
    bytes: Range<u64>,
    offsets: Range<Offset>,
}

impl Piece {
    fn bytes(&self) -> u64 {
        self.bytes.end.saturating_sub(self.bytes.start)
    }
}

impl CacheWindow {
    /// A window of `limit_bytes`; 0 takes nothing and drops nothing.
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, held_bytes: 0, pieces: VecDeque::new() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.limit_bytes > 0
    }

    /// Takes a range in that has just been synced.
    pub(super) fn add(&mut self, partition: &Arc<Partition>, range: SyncedRange) {
        let piece = Piece {
            partition: Arc::downgrade(partition),
            file: Arc::downgrade(&range.file),
            bytes: range.bytes,
            offsets: range.offsets,
        };
        self.held_bytes = self.held_bytes.saturating_add(piece.bytes());
        self.pieces.push_back(piece);
    }

    /// Lets the oldest ranges go until the rest fits.
    pub(super) fn shrink(&mut self, now: Monotonic) {
        let active_since = Monotonic(now.0.saturating_sub(READER_ACTIVE_MS));
        let mut kept = VecDeque::new();
        while self.held_bytes > self.limit_bytes {
            let Some(piece) = self.pieces.pop_front() else { break };
            let may_hold = self.held_bytes <= self.limit_bytes.saturating_mul(2);
            if may_hold && is_awaited(&piece, &kept, active_since) {
                kept.push_back(piece);
                continue;
            }
            self.held_bytes = self.held_bytes.saturating_sub(piece.bytes());
            if let Some(file) = piece.file.upgrade() {
                file.uncache(piece.bytes.start, piece.bytes());
            }
        }
        while let Some(piece) = kept.pop_back() {
            self.pieces.push_front(piece);
        }
    }
}

/// Whether a consumer that reads on will come to this piece, without having to go to the disk before.
fn is_awaited(piece: &Piece, kept: &VecDeque<Piece>, active_since: Monotonic) -> bool {
    let Some(partition) = piece.partition.upgrade() else { return false };
    let first = kept.iter().find(|other| other.partition.ptr_eq(&piece.partition)).unwrap_or(piece);
    partition.is_read_between(first.offsets.start, piece.offsets.end, active_since)
}

/// The consumers that read a partition, told apart by where each will read on. Bounded: of more, those
/// that read last are known.
#[derive(Debug, Default)]
pub(super) struct Readers([Reader; 8]);

#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    next: Offset,
    at: Monotonic,
}

impl Readers {
    /// Takes note of a read from `from` to before `next`.
    pub(super) fn note(&mut self, from: Offset, next: Offset, now: Monotonic) {
        let same = self.0.iter().position(|reader| reader.next == from);
        let oldest =
            || self.0.iter().enumerate().min_by_key(|(_, reader)| reader.at).map(|(i, _)| i);
        let slot = same.or_else(oldest).and_then(|index| self.0.get_mut(index));
        if let Some(slot) = slot {
            *slot = Reader { next, at: now };
        }
    }

    /// Whether one that has read since `active_since` will read on in this range.
    pub(super) fn any_between(&self, start: Offset, end: Offset, active_since: Monotonic) -> bool {
        self.0
            .iter()
            .any(|reader| reader.at > active_since && start <= reader.next && reader.next < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_followed_from_read_to_read() {
        let mut readers = Readers::default();
        let at = Monotonic;
        readers.note(Offset(0), Offset(10), at(20_000));
        readers.note(Offset(10), Offset(20), at(20_001));
        readers.note(Offset(500), Offset(600), at(20_002));
        let since = at(10_000);
        assert!(!readers.any_between(Offset(0), Offset(20), since), "it has read on to 20");
        assert!(readers.any_between(Offset(20), Offset(21), since));
        assert!(readers.any_between(Offset(550), Offset(601), since));
        assert!(!readers.any_between(Offset(20), Offset(601), at(20_002)), "all were long ago");
    }

    #[test]
    fn of_many_readers_the_latest_are_known() {
        let mut readers = Readers::default();
        for number in 0..20 {
            readers.note(Offset(1000 * number + 1), Offset(1000 * number + 2), Monotonic(50_000));
            readers.note(
                Offset(1000 * number + 2),
                Offset(1000 * number + 3),
                Monotonic(50_000 + number.unsigned_abs()),
            );
        }
        assert!(readers.any_between(Offset(19_003), Offset(19_004), Monotonic(40_000)));
        assert!(!readers.any_between(Offset(3), Offset(4), Monotonic(40_000)));
    }
}
