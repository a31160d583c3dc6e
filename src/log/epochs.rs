//! Where each leader epoch begins (KIP-101): what a consumer or follower asks to find out whether
//! its log has parted from ours.
//!
//! It is derived, since every stored batch carries its epoch, but no checksum covers that one: what is
//! known here is what batches are checked by. So our file has a checksum (big-endian): magic `OEP1`,
//! number of entries u32, for each its epoch i32 and start offset i64, CRC-32C u32 of all before. Where
//! it is missing or damaged the batches are asked. Beside it stands Kafka's file, for Kafka's tools:
//! version 0, the number of entries, then `EPOCH START_OFFSET` a line.

use crate::codec::crc32c;
use crate::types::{LeaderEpoch, Offset};

/// Entries a file may have; leaderships come one at a time.
const ENTRIES_MAX: usize = 1_000_000;
const MAGIC: [u8; 4] = *b"OEP1";
const ENTRY_LEN: usize = 12;
/// The longest file, in bytes.
pub(crate) const FILE_LEN_MAX: u64 = 12 + 12 * ENTRIES_MAX as u64;

/// Epochs and their first offsets, both rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// The answer to "where does this epoch end?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch at or below the one asked for.
    pub epoch: LeaderEpoch,
    /// The offset behind its last record.
    pub end: Offset,
}

impl EpochCache {
    /// The newest epoch that has records.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Epochs and their first offsets.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// Where `asked` ends in a log that ends at `log_end` and is now led in epoch `current`. `None`
    /// if it is unknown: -1, or newer than ours.
    pub fn end(
        &self,
        asked: LeaderEpoch,
        current: LeaderEpoch,
        log_end: Offset,
    ) -> Option<EpochEnd> {
        if asked.0 < 0 || asked > current {
            return None;
        }
        if asked == current {
            return Some(EpochEnd { epoch: asked, end: log_end });
        }
        let behind = self.entries.partition_point(|(epoch, _)| *epoch <= asked);
        let end = self.entries.get(behind).map_or(log_end, |(_, start)| *start);
        let at = behind.checked_sub(1).and_then(|at| self.entries.get(at));
        Some(EpochEnd { epoch: at.map_or(asked, |(epoch, _)| *epoch), end })
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.entries.partition_point(|(_, start)| *start <= offset);
        behind.checked_sub(1).and_then(|at| self.entries.get(at)).map(|(epoch, _)| *epoch)
    }

    /// Takes note of a batch. True if it began an epoch. An epoch below the newest (in a log that
    /// others wrote) begins nothing.
    pub(crate) fn note(&mut self, epoch: LeaderEpoch, base: Offset) -> bool {
        let is_new = epoch.0 >= 0 && self.latest().is_none_or(|latest| latest < epoch);
        if is_new {
            self.entries.push((epoch, base));
        }
        is_new
    }

    /// Takes note of a stored batch that comes behind those noted before. As epochs only rise, one
    /// that is lower says that those above it were misread.
    pub(crate) fn note_stored(&mut self, epoch: LeaderEpoch, base: Offset) {
        if epoch.0 >= 0 {
            self.entries.retain(|(noted, _)| *noted <= epoch);
            self.note(epoch, base);
        }
    }

    /// Forgets epochs above the one that is led in now: there was none. True if there was one here.
    pub(crate) fn cap(&mut self, current: LeaderEpoch) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(epoch, _)| *epoch <= current);
        self.entries.len() != before
    }

    /// Forgets epochs that begin at or behind `end`.
    pub(crate) fn cut_end(&mut self, end: Offset) {
        self.entries.retain(|(_, start)| *start < end);
    }

    /// Forgets epochs that end at or before `start`; the one that goes on begins there then.
    pub(crate) fn cut_start(&mut self, start: Offset) {
        let behind = self.entries.partition_point(|(_, first)| *first <= start);
        if let Some(gone) = behind.checked_sub(1) {
            self.entries.drain(..gone);
            if let Some((_, first)) = self.entries.first_mut() {
                *first = start;
            }
        }
    }

    /// The content of our file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kept = self.entries.len().saturating_sub(ENTRIES_MAX);
        let entries = self.entries.get(kept..).unwrap_or_default();
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (epoch, start) in entries {
            out.extend_from_slice(&epoch.0.to_be_bytes());
            out.extend_from_slice(&start.0.to_be_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
        out
    }

    /// The cache in our file; `None` if anything about it is doubtful.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let (count, entries) = body.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        let entry = |bytes: &[u8]| {
            let (epoch, start) = bytes.split_first_chunk::<4>()?;
            let start = start.first_chunk::<8>()?;
            Some((LeaderEpoch(i32::from_be_bytes(*epoch)), Offset(i64::from_be_bytes(*start))))
        };
        let entries: Vec<_> = entries.chunks(ENTRY_LEN).map(entry).collect::<Option<_>>()?;
        let rises = entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        (entries.len() == count && rises).then_some(Self { entries })
    }

    /// The content of Kafka's file.
    pub(crate) fn encode_for_kafka(&self) -> String {
        let lines = self.entries.iter().map(|(epoch, start)| format!("{epoch} {start}\n"));
        format!("0\n{}\n{}", self.entries.len(), lines.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, base) in [(2, 10), (2, 15), (5, 20), (4, 25), (6, 30)] {
            cache.note(LeaderEpoch(epoch), Offset(base));
        }
        cache
    }

    fn check(asked: i32, expected: Option<(i32, i64)>) {
        let end = cache().end(LeaderEpoch(asked), LeaderEpoch(7), Offset(40));
        assert_eq!(end.map(|end| (end.epoch.0, end.end.0)), expected, "{asked}");
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        check(-1, None);
        check(8, None);
        check(7, Some((7, 40))); // The newest, which has no record yet.
        check(6, Some((6, 40)));
        check(5, Some((5, 30)));
        check(3, Some((2, 20)));
        check(2, Some((2, 20)));
        check(1, Some((1, 10))); // Below the first known.
    }

    #[test]
    fn the_file_comes_back_or_is_known_to_be_damaged() {
        assert_eq!(cache().encode_for_kafka(), "0\n3\n2 10\n5 20\n6 30\n");
        let whole = cache().encode();
        assert_eq!(EpochCache::decode(&whole), Some(cache()));
        assert_eq!(
            EpochCache::decode(&EpochCache::default().encode()),
            Some(EpochCache::default())
        );
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            *damaged.get_mut(at).unwrap() ^= 1;
            assert_eq!(EpochCache::decode(&damaged), None, "byte {at}");
            assert_eq!(EpochCache::decode(whole.get(..at).unwrap()), None, "{at} bytes");
        }
    }

    #[test]
    fn what_follows_shows_that_an_epoch_was_misread() {
        let mut stored = EpochCache::default();
        for (epoch, base) in [(1, 0), (1 << 20, 5), (1, 6), (2, 9), (-1, 12), (1 << 30, 15)] {
            stored.note_stored(LeaderEpoch(epoch), Offset(base));
        }
        assert!(stored.cap(LeaderEpoch(2)) && !stored.cap(LeaderEpoch(2)));
        assert_eq!(stored.encode_for_kafka(), "0\n2\n1 0\n2 9\n");
    }

    #[test]
    fn cutting_keeps_the_epoch_that_goes_on() {
        let mut cut = cache();
        cut.cut_start(Offset(22));
        assert_eq!(cut.encode_for_kafka(), "0\n2\n5 22\n6 30\n");
        cut.cut_end(Offset(30));
        assert_eq!(cut.encode_for_kafka(), "0\n1\n5 22\n");
        assert_eq!(cut.epoch_at(Offset(22)), Some(LeaderEpoch(5)));
    }
}
