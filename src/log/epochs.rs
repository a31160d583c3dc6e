//! Where each leader epoch begins (KIP-101): what a consumer or follower asks to find out whether
//! its log has parted from ours.
//!
//! The file is Kafka's: version 0, the number of entries, then `EPOCH START_OFFSET` a line. It is
//! derived, since every stored batch carries its epoch.

use crate::types::{LeaderEpoch, Offset};

/// Entries a file may have; leaderships come one at a time.
const ENTRIES_MAX: usize = 1_000_000;

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

    pub(crate) fn encode(&self) -> String {
        let lines = self.entries.iter().map(|(epoch, start)| format!("{epoch} {start}\n"));
        format!("0\n{}\n{}", self.entries.len(), lines.collect::<String>())
    }

    /// The cache in a file; `None` if it is not whole or does not rise.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()?.trim() != "0" {
            return None;
        }
        let count: usize = lines.next()?.trim().parse().ok()?;
        let mut entries = Vec::new();
        for line in lines.take(ENTRIES_MAX) {
            let (epoch, start) = line.trim().split_once(' ')?;
            entries.push((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)));
        }
        let rises = entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        (entries.len() == count && rises).then_some(Self { entries })
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
    fn the_file_is_kafkas() {
        assert_eq!(cache().encode(), "0\n3\n2 10\n5 20\n6 30\n");
        assert_eq!(EpochCache::decode(&cache().encode()), Some(cache()));
        for bad in ["", "1\n0\n", "0\n2\n0 0\n", "0\n1\n0\n", "0\n2\n1 0\n1 5\n", "0\n1\nx y\n"] {
            assert_eq!(EpochCache::decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn cutting_keeps_the_epoch_that_goes_on() {
        let mut cut = cache();
        cut.cut_start(Offset(22));
        assert_eq!(cut.encode(), "0\n2\n5 22\n6 30\n");
        cut.cut_end(Offset(30));
        assert_eq!(cut.encode(), "0\n1\n5 22\n");
        assert_eq!(cut.epoch_at(Offset(22)), Some(LeaderEpoch(5)));
    }
}
