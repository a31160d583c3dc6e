//! Timers by name and by time. Pure; the truth is the topic `ottla.timer.GROUP`.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{PartitionIndex, Timestamp};

/// A timer's name: below its partition number.
pub(super) type Name = (PartitionIndex, String);

/// The timers of a group, each with what it sends.
#[derive(Debug)]
pub(super) struct Timers<T> {
    by_name: BTreeMap<Name, (Timestamp, T)>,
    by_time: BTreeSet<(Timestamp, Name)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<T> Timers<T> {
    /// Sets a timer, in place of the one that has its name.
    pub(super) fn set(&mut self, name: Name, due: Timestamp, what: T) {
        self.cancel(&name);
        self.by_time.insert((due, name.clone()));
        self.by_name.insert(name, (due, what));
    }

    /// Takes a timer back; whether it was set.
    pub(super) fn cancel(&mut self, name: &Name) -> bool {
        let Some((due, _)) = self.by_name.remove(name) else { return false };
        self.by_time.remove(&(due, name.clone()))
    }

    /// Takes the first timer whose time has come, with the time it was set to.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Name, Timestamp, T)> {
        let (due, name) = self.by_time.first().filter(|(due, _)| *due <= now)?.clone();
        self.by_time.remove(&(due, name.clone()));
        let (_, what) = self.by_name.remove(&name)?;
        Some((name, due, what))
    }

    /// When the next one's time comes.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// How many are set.
    pub(super) fn count(&self) -> usize {
        self.by_name.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_at_its_last_time_unless_it_is_taken_back() {
        let mut timers = Timers::default();
        let name = |id: &str| (PartitionIndex(0), id.to_owned());
        timers.set(name("a"), Timestamp(10), 1);
        timers.set(name("b"), Timestamp(5), 2);
        timers.set(name("a"), Timestamp(20), 3);
        timers.set(name("c"), Timestamp(7), 4);
        assert!(timers.cancel(&name("c")) && !timers.cancel(&name("c")));
        assert_eq!(timers.next_due(), Some(Timestamp(5)));
        assert_eq!(timers.pop(Timestamp(4)), None);
        assert_eq!(timers.pop(Timestamp(15)), Some((name("b"), Timestamp(5), 2)));
        assert_eq!(timers.pop(Timestamp(15)), None);
        assert_eq!(timers.pop(Timestamp(20)), Some((name("a"), Timestamp(20), 3)));
        assert_eq!((timers.count(), timers.next_due()), (0, None));
    }
}
