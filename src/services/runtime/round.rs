//! Which records may be handled now, and what a transaction may commit: one lane after the other in its order,
//! many lanes at a time, and offsets that never pass what is not settled. Pure.
//!
//! A record is open from when it is read until it is settled: handled, parked or passed over. A transaction
//! takes all that is done; where something done lies behind something open in a partition, there is a gap, and the
//! lane of what is open has to be parked, so that the offset can pass it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::parking::Lane;
use crate::client::cluster::TopicPartition;
use crate::types::Offset;

/// A record in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) u64);

#[derive(Debug, Default)]
struct Progress {
    open: BTreeMap<Offset, Lane>,
    /// The last offset settled since the last commit.
    settled: Option<Offset>,
    /// Behind all that was read.
    next: Offset,
    committed: Option<Offset>,
}

impl Progress {
    fn position(&self) -> Offset {
        self.open.first_key_value().map_or(self.next, |(first, _)| *first)
    }
}

#[derive(Debug, Default)]
struct Line {
    running: Option<Id>,
    waiting: VecDeque<Id>,
}

/// The records that are read and not settled, and where their partitions stand.
#[derive(Debug, Default)]
pub(super) struct Round {
    partitions: BTreeMap<TopicPartition, Progress>,
    lines: BTreeMap<Lane, Line>,
    ready: BTreeSet<Id>,
    next_id: u64,
}

impl Round {
    /// Begins a partition at an offset, and says what its group has committed: where that is something else, the
    /// next commit takes it along, so that a group keeps the place where it began.
    pub(super) fn begin(&mut self, at: TopicPartition, offset: Offset, committed: Option<Offset>) {
        let progress = Progress { next: offset, committed, ..Progress::default() };
        self.partitions.insert(at, progress);
    }

    /// A new id; the order of ids is the order in which records begin.
    pub(super) fn draw(&mut self) -> Id {
        self.next_id += 1;
        Id(self.next_id)
    }

    /// A record of the log that is not settled yet.
    pub(super) fn open(&mut self, at: &TopicPartition, offset: Offset, lane: &Lane) {
        if let Some(progress) = self.partitions.get_mut(at) {
            progress.open.insert(offset, lane.clone());
        }
    }

    /// How far a partition is read.
    pub(super) fn read_to(&mut self, at: &TopicPartition, next: Offset) {
        if let Some(progress) = self.partitions.get_mut(at) {
            progress.next = next;
        }
    }

    /// Puts a record in its lane's line.
    pub(super) fn enqueue(&mut self, id: Id, lane: &Lane) {
        let line = self.lines.entry(lane.clone()).or_default();
        if line.running.is_none() && line.waiting.is_empty() {
            self.ready.insert(id);
        }
        line.waiting.push_back(id);
    }

    /// The records that may begin, in order.
    pub(super) fn ready(&self) -> impl Iterator<Item = Id> + '_ {
        self.ready.iter().copied()
    }

    /// A ready record begins.
    pub(super) fn start(&mut self, id: Id, lane: &Lane) {
        self.ready.remove(&id);
        let line = self.lines.entry(lane.clone()).or_default();
        line.waiting.pop_front();
        line.running = Some(id);
    }

    /// The running record of a lane has ended; the next may begin.
    pub(super) fn end(&mut self, lane: &Lane) {
        let Some(line) = self.lines.get_mut(lane) else { return };
        line.running = None;
        match line.waiting.front() {
            Some(next) => {
                self.ready.insert(*next);
            }
            None => {
                self.lines.remove(lane);
            }
        }
    }

    /// Takes all that has not begun out of a lane's line, in order.
    pub(super) fn take_waiting(&mut self, lane: &Lane) -> Vec<Id> {
        let Some(line) = self.lines.get_mut(lane) else { return Vec::new() };
        let waiting: Vec<_> = line.waiting.drain(..).collect();
        if let Some(first) = waiting.first() {
            self.ready.remove(first);
        }
        if line.running.is_none() {
            self.lines.remove(lane);
        }
        waiting
    }

    /// What runs in a lane.
    pub(super) fn running_in(&self, lane: &Lane) -> Option<Id> {
        self.lines.get(lane)?.running
    }

    /// Whether nothing is open, waits or runs.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// A record of the log needs no more from its partition.
    pub(super) fn settle(&mut self, at: &TopicPartition, offset: Offset) {
        let Some(progress) = self.partitions.get_mut(at) else { return };
        progress.open.remove(&offset);
        progress.settled = progress.settled.max(Some(offset));
    }

    /// The first lane with a record that the next commit's offsets cannot pass, though they have to.
    pub(super) fn gap(&self) -> Option<Lane> {
        self.partitions.values().find_map(|progress| {
            let (first, lane) = progress.open.first_key_value()?;
            progress.settled.is_some_and(|settled| *first < settled).then(|| lane.clone())
        })
    }

    /// Offsets that have moved since the last commit.
    pub(super) fn moved(&self) -> Vec<(TopicPartition, Offset)> {
        let moved = self.partitions.iter().filter_map(|(at, progress)| {
            let position = progress.position();
            (progress.committed != Some(position)).then(|| (at.clone(), position))
        });
        moved.collect()
    }

    /// Those offsets are committed, with all that was settled.
    pub(super) fn committed(&mut self, offsets: &[(TopicPartition, Offset)]) {
        for (at, offset) in offsets {
            if let Some(progress) = self.partitions.get_mut(at) {
                progress.committed = Some(*offset);
            }
        }
        for progress in self.partitions.values_mut() {
            progress.settled = None;
        }
    }

    /// What is committed, by partition.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> + '_ {
        self.partitions.iter().filter_map(|(at, progress)| Some((at, progress.committed?)))
    }

    /// Where to read on, by partition.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> + '_ {
        self.partitions.iter().map(|(at, progress)| (at, progress.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PartitionIndex;

    fn lane(key: &str) -> Lane {
        Lane { partition: PartitionIndex(0), key: key.into() }
    }

    fn at() -> TopicPartition {
        TopicPartition::new("orders", 0)
    }

    /// A round with a record for each key, from offset 0.
    fn round(keys: &[&str]) -> (Round, Vec<Id>) {
        let mut round = Round::default();
        round.begin(at(), Offset(0), Some(Offset(0)));
        let mut ids = Vec::new();
        for (offset, key) in (0..).zip(keys) {
            let id = round.draw();
            round.open(&at(), Offset(offset), &lane(key));
            round.enqueue(id, &lane(key));
            round.read_to(&at(), Offset(offset + 1));
            ids.push(id);
        }
        (round, ids)
    }

    #[test]
    fn records_of_a_key_begin_one_after_the_other() {
        let (mut round, ids) = round(&["a", "a", "b"]);
        assert_eq!(round.ready().collect::<Vec<_>>(), [ids[0], ids[2]]);
        round.start(ids[0], &lane("a"));
        assert_eq!(round.ready().collect::<Vec<_>>(), [ids[2]]);
        round.end(&lane("a"));
        assert_eq!(round.ready().collect::<Vec<_>>(), [ids[1], ids[2]]);
    }

    #[test]
    fn offsets_stop_at_what_is_open_and_a_gap_names_its_lane() {
        let (mut round, _) = round(&["a", "b", "c"]);
        round.settle(&at(), Offset(0));
        assert_eq!((round.gap(), round.moved()), (None, vec![(at(), Offset(1))]));
        round.settle(&at(), Offset(2));
        assert_eq!(round.gap(), Some(lane("b")));
        round.settle(&at(), Offset(1)); // Parked.
        assert_eq!((round.gap(), round.moved()), (None, vec![(at(), Offset(3))]));
        round.committed(&[(at(), Offset(3))]);
        assert_eq!(round.moved(), vec![]);
    }

    #[test]
    fn a_group_keeps_the_place_where_it_began() {
        let mut round = Round::default();
        round.begin(at(), Offset(7), None);
        assert_eq!(round.moved(), vec![(at(), Offset(7))]);
    }

    #[test]
    fn a_lane_that_is_parked_gives_up_what_has_not_begun() {
        let (mut round, ids) = round(&["a", "a", "a", "b"]);
        round.start(ids[0], &lane("a"));
        assert_eq!(round.take_waiting(&lane("a")), [ids[1], ids[2]]);
        assert_eq!(round.running_in(&lane("a")), Some(ids[0]));
        round.end(&lane("a"));
        assert_eq!(round.take_waiting(&lane("b")), [ids[3]]);
        assert!(round.is_empty() && round.ready().next().is_none());
    }
}
