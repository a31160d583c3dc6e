//! A coordinator with a journal and a clock, which checks after every step that the invariants
//! hold, that nobody is answered twice, that the offsets are those that a read of the journal under
//! read_committed gives, and that a restart would bring back the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::groups::classic::ClassicGroup;
use crate::groups::command::GroupState;
use crate::groups::{
    Command, CommittedOffset, Coordinator, GroupConfig, GroupMetadata, GroupRecord, Reply,
};
use crate::machine::{Effects, Machine, Ticket};
use crate::records::Outcome;
use crate::types::{Monotonic, Now, PartitionIndex, ProducerId, Timestamp};

/// What offsets are kept under.
type Key = (String, String, PartitionIndex);

/// What the journal keeps of a group.
#[derive(Debug, PartialEq)]
pub(in crate::groups) struct Durable {
    /// As the journal should have it; `None` while a rebalance is under way, or never recorded.
    metadata: Option<GroupMetadata>,
    subscribed: Option<BTreeSet<String>>,
    /// In the order of the journal; those that are pending with their producer.
    offsets: Vec<(String, PartitionIndex, Option<ProducerId>, CommittedOffset)>,
    is_settled: bool,
}

impl Durable {
    pub(in crate::groups) fn of(group: &ClassicGroup) -> Self {
        let is_settled = matches!(group.state(), GroupState::Empty | GroupState::Stable);
        Self {
            metadata: (is_settled && group.recorded).then(|| group.metadata()),
            subscribed: group.subscribed.clone().filter(|_| is_settled),
            offsets: group.offsets.in_order(),
            is_settled,
        }
    }
}

/// A coordinator and all it needs.
pub(super) struct Harness {
    pub(super) config: GroupConfig,
    pub(super) coordinator: Coordinator,
    pub(super) now: Now,
    /// Every record, as it is read back.
    journal: Vec<GroupRecord>,
    /// What each is kept under, and whether it has a value.
    keys: Vec<Option<(Bytes, bool)>>,
    waiting: BTreeSet<Ticket>,
    steps: u32,
}

impl Harness {
    pub(super) fn new(config: GroupConfig) -> Self {
        let now = Now { wall: Timestamp(1_000_000), monotonic: Monotonic(0) };
        let coordinator = Coordinator::new(config.clone(), now);
        Self {
            config,
            coordinator,
            now,
            journal: Vec::new(),
            keys: Vec::new(),
            waiting: BTreeSet::new(),
            steps: 0,
        }
    }

    /// How many callers wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn run(&mut self, ticket: Ticket, command: Command) -> Effects<GroupRecord, Reply> {
        assert!(self.waiting.insert(ticket), "tickets are used once");
        let mut effects = Effects::default();
        self.coordinator.handle(self.now, ticket, command, &mut effects);
        self.take(&effects);
        effects
    }

    /// Moves the clock to each deadline on the way and fires it, as the shell would.
    pub(super) fn advance(&mut self, ms: u64) -> Effects<GroupRecord, Reply> {
        let end = self.now.monotonic.plus_ms(ms);
        let mut all = Effects::default();
        loop {
            let next = self.coordinator.next_deadline().filter(|at| *at <= end);
            let at = next.unwrap_or(end).max(self.now.monotonic);
            let step = at.0 - self.now.monotonic.0;
            self.now.monotonic = at;
            self.now.wall = self.now.wall.plus_ms(i64::try_from(step).unwrap());
            let mut effects = Effects::default();
            self.coordinator.tick(self.now, &mut effects);
            self.take(&effects);
            all.records.append(&mut effects.records);
            all.replies.append(&mut effects.replies);
            if next.is_none() {
                return all;
            }
            let after = self.coordinator.next_deadline();
            assert!(after.is_none_or(|after| after > at), "a deadline that is due has passed");
        }
    }

    /// Stops without notice and starts from the journal. Whoever waited is cut off.
    pub(super) fn restart(&mut self) {
        self.coordinator = self.replayed(&self.journal);
        self.waiting.clear();
        self.coordinator.check();
    }

    fn take(&mut self, effects: &Effects<GroupRecord, Reply>) {
        for record in &effects.records {
            assert_eq!(&read_back(record), record, "records are read as they were written");
            self.journal.push(record.clone());
            let encoded = record.encode().unwrap();
            self.keys.push(encoded.map(|(key, value)| (key, value.is_some())));
        }
        for (ticket, _) in &effects.replies {
            assert!(self.waiting.remove(ticket), "{ticket:?} is answered once");
        }
        self.coordinator.check();
        self.steps += 1;
        if self.steps.is_multiple_of(4) {
            self.check_replay(&self.compacted());
            self.check_offsets();
        }
        if self.steps.is_multiple_of(32) {
            self.check_replay(&self.journal);
        }
    }

    fn check_replay(&self, journal: &[GroupRecord]) {
        let (live, replayed) = (self.coordinator.durable(), self.replayed(journal).durable());
        assert_eq!(live.keys().collect::<Vec<_>>(), replayed.keys().collect::<Vec<_>>());
        for (id, live) in live {
            let replayed = &replayed[&id];
            if live.is_settled {
                assert_eq!(&live, replayed, "group {id} after a restart");
            } else {
                assert_eq!(live.offsets, replayed.offsets, "group {id} after a restart");
            }
        }
    }

    fn replayed(&self, journal: &[GroupRecord]) -> Coordinator {
        let mut coordinator = Coordinator::new(self.config.clone(), self.now);
        for record in journal {
            coordinator.replay(self.now, record.clone());
            coordinator.check();
        }
        coordinator
    }

    /// Compares the offsets with the last record of each key that is of no transaction or of a
    /// committed one.
    fn check_offsets(&self) {
        let fates = self.fates();
        let mut last: BTreeMap<Key, &CommittedOffset> = BTreeMap::new();
        for (at, record) in self.journal.iter().enumerate() {
            let Some((key, committed)) = offset(record) else { continue };
            match (committed, fates[at]) {
                (Some(committed), Some(Outcome::Commit)) => last.insert(key, committed),
                (None, _) => last.remove(&key),
                (Some(_), Some(Outcome::Abort) | None) => None,
            };
        }
        let kept = self.coordinator.committed();
        let kept = kept.map(|(id, topic, it, kept)| ((id.to_owned(), topic.to_owned(), it), kept));
        assert_eq!(kept.collect::<BTreeMap<_, _>>(), last, "offsets under read_committed");
    }

    /// What became of each record: `None` while its transaction is open.
    fn fates(&self) -> Vec<Option<Outcome>> {
        let mut fates = vec![None; self.journal.len()];
        let mut outcomes: BTreeMap<ProducerId, Outcome> = BTreeMap::new();
        for (at, record) in self.journal.iter().enumerate().rev() {
            fates[at] = match record {
                GroupRecord::EndTransaction { producer_id, marker, .. } => {
                    outcomes.insert(*producer_id, marker.outcome);
                    Some(Outcome::Commit)
                }
                GroupRecord::PendingOffset { producer_id, .. } => {
                    outcomes.get(producer_id).copied()
                }
                GroupRecord::Offset { .. } | GroupRecord::Group { .. } => Some(Outcome::Commit),
            };
        }
        fates
    }

    /// The journal as log compaction leaves it. Up to the first record of an open transaction: the last
    /// record of each key, in order, without tombstones, without those of aborted transactions, and the
    /// markers of what is left. From there on: everything.
    fn compacted(&self) -> Vec<GroupRecord> {
        let fates = self.fates();
        let stable = fates.iter().position(Option::is_none).unwrap_or(self.journal.len());
        let mut last = BTreeMap::new();
        for (at, key) in self.keys[..stable].iter().enumerate() {
            if fates[at] == Some(Outcome::Commit)
                && let Some((key, has_value)) = key
            {
                last.insert(key, has_value.then_some(at));
            }
        }
        let kept: BTreeSet<usize> = last.into_values().flatten().collect();
        let mut left: BTreeSet<ProducerId> = BTreeSet::new();
        let mut compacted = Vec::new();
        for (at, record) in self.journal.iter().enumerate() {
            let is_kept = match record {
                GroupRecord::EndTransaction { producer_id, .. } => left.remove(producer_id),
                GroupRecord::PendingOffset { .. }
                | GroupRecord::Offset { .. }
                | GroupRecord::Group { .. } => kept.contains(&at),
            };
            if let GroupRecord::PendingOffset { producer_id, .. } = record
                && is_kept
            {
                left.insert(*producer_id);
            }
            if is_kept || at >= stable {
                compacted.push(record.clone());
            }
        }
        compacted
    }
}

/// The record as the journal gives it back.
fn read_back(record: &GroupRecord) -> GroupRecord {
    let encoded = record.encode().unwrap();
    match (record, encoded) {
        (GroupRecord::PendingOffset { producer_id, producer_epoch, .. }, Some((key, value))) => {
            GroupRecord::decode_pending(*producer_id, *producer_epoch, key, value).unwrap()
        }
        (_, Some((key, value))) => GroupRecord::decode(key, value).unwrap(),
        (_, None) => record.clone(),
    }
}

/// What the record says of an offset.
fn offset(record: &GroupRecord) -> Option<(Key, Option<&CommittedOffset>)> {
    match record {
        GroupRecord::Offset { group_id, topic, partition, committed } => {
            Some(((group_id.clone(), topic.clone(), *partition), committed.as_ref()))
        }
        GroupRecord::PendingOffset { group_id, topic, partition, committed, .. } => {
            Some(((group_id.clone(), topic.clone(), *partition), Some(committed)))
        }
        GroupRecord::Group { .. } | GroupRecord::EndTransaction { .. } => None,
    }
}
