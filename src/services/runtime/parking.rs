//! Records that wait: those that failed in passing, and in order behind them those of the same lane. Pure.
//!
//! A lane is what is handled in order: the records of one routed key in one partition number. The head of a
//! parked lane is tried again when its time has come; whatever comes for the lane meanwhile is put behind it. Its
//! truth is the topic `ottla.park.GROUP`; this is the copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::services::error::{Class, ServiceError};
use crate::services::policy::Retry;
use crate::types::{PartitionIndex, Timestamp};

/// What is handled in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    pub(super) partition: PartitionIndex,
    pub(super) key: Arc<str>,
}

/// A waiting record's place in the order of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seq(pub(super) u64);

/// Why a waiting record waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Until then.
    Until(Timestamp),
    /// Its handler is running.
    Running,
    /// Until somebody decides: it is a dead letter, and its key is held.
    Held,
}

#[derive(Clone, Debug)]
struct Waiting<T> {
    waits: Waits,
    record: T,
}

/// The waiting records of a group.
#[derive(Debug)]
pub(super) struct Parking<T> {
    lanes: BTreeMap<Lane, BTreeMap<Seq, Waiting<T>>>,
    /// Heads of lanes that wait for their time.
    due: BTreeSet<(Timestamp, Lane, Seq)>,
    count: usize,
    next: u64,
}

impl<T> Default for Parking<T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), due: BTreeSet::new(), count: 0, next: 0 }
    }
}

impl<T> Parking<T> {
    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many lanes have somebody waiting.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Whether what comes for this lane has to wait.
    pub(super) fn blocks(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Puts a record behind all that wait in its lane.
    pub(super) fn push(&mut self, lane: &Lane, waits: Waits, record: T) -> Seq {
        let seq = Seq(self.next);
        self.insert(lane, seq, waits, record);
        seq
    }

    /// Puts a record where it was: as the topic has it.
    pub(super) fn insert(&mut self, lane: &Lane, seq: Seq, waits: Waits, record: T) {
        self.next = self.next.max(seq.0.saturating_add(1));
        self.note_head(lane, Note::Out);
        let waiting = Waiting { waits, record };
        if self.lanes.entry(lane.clone()).or_default().insert(seq, waiting).is_none() {
            self.count += 1;
        }
        self.note_head(lane, Note::In);
    }

    /// Takes a record out; the next of its lane is the head now.
    pub(super) fn remove(&mut self, lane: &Lane, seq: Seq) -> Option<T> {
        self.note_head(lane, Note::Out);
        let all = self.lanes.get_mut(lane)?;
        let removed = all.remove(&seq);
        if all.is_empty() {
            self.lanes.remove(lane);
        }
        self.count -= usize::from(removed.is_some());
        self.note_head(lane, Note::In);
        removed.map(|waiting| waiting.record)
    }

    /// Changes what a record waits for.
    pub(super) fn set(&mut self, lane: &Lane, seq: Seq, waits: Waits) {
        self.note_head(lane, Note::Out);
        if let Some(waiting) = self.lanes.get_mut(lane).and_then(|all| all.get_mut(&seq)) {
            waiting.waits = waits;
        }
        self.note_head(lane, Note::In);
    }

    /// The first head whose time has come.
    pub(super) fn due(&self, now: Timestamp) -> Option<(Lane, Seq, &T)> {
        let (_, lane, seq) = self.due.first().filter(|(due, ..)| *due <= now)?;
        let waiting = self.lanes.get(lane)?.get(seq)?;
        Some((lane.clone(), *seq, &waiting.record))
    }

    /// When the next head's time comes.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// The lane's head, where that is held for somebody to decide.
    pub(super) fn held(&self, lane: &Lane) -> Option<Seq> {
        let (seq, waiting) = self.lanes.get(lane)?.first_key_value()?;
        (waiting.waits == Waits::Held).then_some(*seq)
    }

    fn note_head(&mut self, lane: &Lane, note: Note) {
        let head = self.lanes.get(lane).and_then(|all| all.first_key_value());
        let Some((seq, Waiting { waits: Waits::Until(due), .. })) = head else { return };
        let entry = (*due, lane.clone(), *seq);
        match note {
            Note::In => self.due.insert(entry),
            Note::Out => self.due.remove(&entry),
        };
    }
}

#[derive(Clone, Copy)]
enum Note {
    In,
    Out,
}

/// What becomes of a record that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is tried again then.
    Again(Timestamp),
    /// No further try.
    Dead,
}

/// Judges a failure at the `attempt`-th try (from 1); `random` shortens the pause by up to a half, so that not
/// all come back at once.
pub(super) fn judge(
    retry: &Retry,
    attempt: u32,
    error: &ServiceError,
    now: Timestamp,
    random: u64,
) -> Verdict {
    if error.class == Class::Permanent || attempt >= retry.attempts {
        return Verdict::Dead;
    }
    let doublings = attempt.saturating_sub(1).min(20);
    let pause = retry.first.saturating_mul(1 << doublings).min(retry.longest);
    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let shortened = pause_ms - random % (pause_ms / 2).saturating_add(1);
    Verdict::Again(now.plus_ms(i64::try_from(shortened).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::services::error::{permanent, transient};

    fn lane(key: &str) -> Lane {
        Lane { partition: PartitionIndex(0), key: key.into() }
    }

    #[test]
    fn a_lane_is_let_go_in_order_and_others_are_not_held_up() {
        let mut parking = Parking::default();
        let (a, b) = (lane("a"), lane("b"));
        let first = parking.push(&a, Waits::Until(Timestamp(50)), "a1");
        let second = parking.push(&a, Waits::Until(Timestamp(0)), "a2");
        let other = parking.push(&b, Waits::Until(Timestamp(20)), "b1");
        assert!(parking.blocks(&a) && !parking.blocks(&lane("c")));
        assert_eq!(parking.due(Timestamp(10)), None); // a2 is ready, but behind a1.
        assert_eq!(parking.next_due(), Some(Timestamp(20)));
        assert_eq!(parking.due(Timestamp(20)), Some((b.clone(), other, &"b1")));
        parking.set(&b, other, Waits::Running);
        assert_eq!(parking.due(Timestamp(49)), None);
        assert_eq!(parking.due(Timestamp(50)), Some((a.clone(), first, &"a1")));
        assert_eq!(parking.remove(&a, first), Some("a1"));
        assert_eq!(parking.due(Timestamp(50)), Some((a.clone(), second, &"a2")));
        assert_eq!(parking.remove(&a, second), Some("a2"));
        assert_eq!(parking.remove(&b, other), Some("b1"));
        assert_eq!((parking.count(), parking.lanes(), parking.next_due()), (0, 0, None));
    }

    #[test]
    fn what_is_loaded_keeps_its_order_whatever_order_it_comes_in() {
        let mut parking = Parking::default();
        let a = lane("a");
        parking.insert(&a, Seq(7), Waits::Until(Timestamp(0)), "later");
        parking.insert(&a, Seq(3), Waits::Held, "first");
        assert_eq!(parking.due(Timestamp(9)), None);
        assert_eq!(parking.held(&a), Some(Seq(3)));
        assert_eq!(parking.push(&a, Waits::Until(Timestamp(0)), "last"), Seq(8));
        parking.remove(&a, Seq(3));
        assert_eq!(parking.due(Timestamp(9)), Some((a, Seq(7), &"later")));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let retry = Retry::exp(Duration::from_millis(200), Duration::from_secs(1)).attempts(4);
        let broken = transient("down");
        let pause = |attempt, random| judge(&retry, attempt, &broken, Timestamp(1_000), random);
        assert_eq!(pause(1, 0), Verdict::Again(Timestamp(1_200)));
        assert_eq!(pause(2, 0), Verdict::Again(Timestamp(1_400)));
        assert_eq!(pause(4, 0), Verdict::Again(Timestamp(2_000)));
        assert_eq!(pause(1, 100), Verdict::Again(Timestamp(1_100)));
        assert_eq!(pause(5, 0), Verdict::Dead);
        assert_eq!(judge(&retry, 1, &permanent("bad"), Timestamp(0), 0), Verdict::Dead);
        assert_eq!(judge(&Retry::none(), 1, &broken, Timestamp(0), 0), Verdict::Dead);
    }
}
