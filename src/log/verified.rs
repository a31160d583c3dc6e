//! Which bytes of a segment are known to be sound. What this process appended was checked before it
//! was written; what it found at start is checked when it is first read, so that a bit that has
//! turned on the disk reaches nobody.

use std::ops::Range;

/// So many separate ranges are remembered; of more, the first ones are checked again when read again.
const RANGES_MAX: usize = 64;

/// The checked part of what a process found in a segment.
#[derive(Debug)]
pub(crate) struct Verified {
    found_bytes: u64,
    /// In the order of their beginnings, none touching the next.
    checked: Vec<Range<u64>>,
}

impl Verified {
    /// Of a segment found with so many bytes, none of them checked yet.
    pub(crate) fn nothing_of(found_bytes: u64) -> Self {
        Self { found_bytes, checked: Vec::new() }
    }

    /// Whether all of `bytes` may be given to a reader.
    pub(crate) fn covers(&self, bytes: &Range<u64>) -> bool {
        let unknown = bytes.start..bytes.end.min(self.found_bytes);
        unknown.is_empty()
            || self
                .checked
                .iter()
                .any(|range| range.start <= unknown.start && unknown.end <= range.end)
    }

    /// Takes note that `bytes` are sound.
    pub(crate) fn add(&mut self, bytes: Range<u64>) {
        let mut merged = bytes;
        self.checked.retain(|range| {
            let touches = range.start <= merged.end && merged.start <= range.end;
            if touches {
                merged = merged.start.min(range.start)..merged.end.max(range.end);
            }
            !touches
        });
        let at = self.checked.partition_point(|range| range.start < merged.start);
        self.checked.insert(at, merged);
        if self.checked.len() > RANGES_MAX {
            self.checked.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut verified = Verified::nothing_of(100);
        assert!(!verified.covers(&(0..10)) && verified.covers(&(100..200)));
        verified.add(0..10);
        verified.add(20..30);
        assert!(verified.covers(&(0..10)) && !verified.covers(&(5..25)));
        verified.add(10..20);
        assert!(verified.covers(&(5..25)) && !verified.covers(&(25..31)));
        verified.add(30..100);
        assert!(verified.covers(&(0..500)), "the rest was appended by this process");
    }

    #[test]
    fn of_many_ranges_some_are_forgotten() {
        let mut verified = Verified::nothing_of(100_000);
        (0..1000).for_each(|number| verified.add(number * 10..number * 10 + 5));
        assert!(verified.covers(&(9990..9995)) && !verified.covers(&(0..5)));
    }
}
