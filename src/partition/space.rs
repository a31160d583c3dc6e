//! Room that producers may fill: what is free on the disk above the reserve. Looked at once in a
//! while, and counted down in between, so that a fast producer does not eat the reserve either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Shared by all partitions of a broker and whoever looks at the disk; clones are the same one.
#[derive(Clone, Debug)]
pub struct Space(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    left: AtomicI64,
    is_full: AtomicBool,
}

impl Default for Space {
    fn default() -> Self {
        Self(Arc::new(Shared { left: AtomicI64::new(i64::MAX), is_full: AtomicBool::new(false) }))
    }
}

impl Space {
    /// Takes `bytes` of it; false if nothing is left.
    pub(super) fn take(&self, bytes: u64) -> bool {
        if self.0.left.load(Ordering::Relaxed) <= 0 {
            return false;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0.left.fetch_sub(bytes, Ordering::Relaxed);
        true
    }

    /// Lets nothing more in until the next look.
    pub(super) fn close(&self) {
        self.0.left.store(0, Ordering::Relaxed);
    }

    /// Whether the last look at the disk found nothing above the reserve.
    pub fn is_full(&self) -> bool {
        self.0.is_full.load(Ordering::Relaxed)
    }

    /// Takes note of what a look at the disk found. Whether it is full, if that is news.
    pub fn set(&self, free: u64, reserve: u64) -> Option<bool> {
        let left = i64::try_from(free.saturating_sub(reserve)).unwrap_or(i64::MAX);
        self.0.left.store(left, Ordering::Relaxed);
        let is_full = left == 0;
        (self.0.is_full.swap(is_full, Ordering::Relaxed) != is_full).then_some(is_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_not_for_producers() {
        let space = Space::default();
        assert!(space.take(u64::MAX) && space.set(150, 100).is_none());
        assert!(space.take(30) && space.take(30), "the last one may go beyond");
        assert!(!space.take(1));
        assert_eq!(space.set(100, 100), Some(true));
        assert!(!space.take(1) && space.set(99, 100).is_none());
        assert_eq!(space.set(101, 100), Some(false));
        assert!(space.take(1));
    }
}
