//! What the shared harness has to know of this coordinator: how its journal is compacted, and that
//! the offsets are those that a read of the journal under read_committed gives.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::groups::classic::ClassicGroup;
use crate::groups::command::GroupState;
use crate::groups::{CommittedOffset, Coordinator, GroupConfig, GroupMetadata, GroupRecord};
use crate::machine::testing::{Tested, Written};
use crate::records::Outcome;
use crate::types::{Now, PartitionIndex, ProducerId};

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

impl Tested for Coordinator {
    type Config = GroupConfig;

    fn start(config: &GroupConfig, now: Now) -> Self {
        Self::new(config.clone(), now)
    }

    fn check(&self) {
        Self::check(self);
    }

    /// Markers are control batches, which have no key of ours.
    fn encode(record: &GroupRecord) -> Option<(Bytes, Option<Bytes>)> {
        record.encode().unwrap()
    }

    fn decode(written: &GroupRecord, key: Bytes, value: Option<Bytes>) -> GroupRecord {
        match written {
            GroupRecord::PendingOffset { producer_id, producer_epoch, .. } => {
                GroupRecord::decode_pending(*producer_id, *producer_epoch, key, value).unwrap()
            }
            GroupRecord::Offset { .. }
            | GroupRecord::Group { .. }
            | GroupRecord::EndTransaction { .. } => GroupRecord::decode(key, value).unwrap(),
        }
    }

    fn assert_same(&self, restarted: &Self) {
        let (live, restarted) = (self.durable(), restarted.durable());
        assert_eq!(live.keys().collect::<Vec<_>>(), restarted.keys().collect::<Vec<_>>());
        for (id, live) in live {
            let restarted = &restarted[&id];
            if live.is_settled {
                assert_eq!(&live, restarted, "group {id} after a restart");
            } else {
                assert_eq!(live.offsets, restarted.offsets, "group {id} after a restart");
            }
        }
    }

    /// Up to the first record of an open transaction: the last record of each key, in order, without
    /// tombstones, without those of aborted transactions, and the markers of what is left. From there
    /// on: everything.
    fn compact(journal: &[Written<GroupRecord>]) -> Vec<GroupRecord> {
        let fates = fates(journal);
        let stable = fates.iter().position(Option::is_none).unwrap_or(journal.len());
        let mut last = BTreeMap::new();
        for (at, written) in journal[..stable].iter().enumerate() {
            if fates[at] == Some(Outcome::Commit)
                && let Some(key) = &written.key
            {
                last.insert(key, written.has_value.then_some(at));
            }
        }
        let kept: BTreeSet<usize> = last.into_values().flatten().collect();
        let mut left: BTreeSet<ProducerId> = BTreeSet::new();
        let mut compacted = Vec::new();
        for (at, Written { record, .. }) in journal.iter().enumerate() {
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

    /// The offsets are the last record of each key that is of no transaction or of a committed one.
    fn check_journal(&self, journal: &[Written<GroupRecord>]) {
        let fates = fates(journal);
        let mut last: BTreeMap<Key, &CommittedOffset> = BTreeMap::new();
        for (at, written) in journal.iter().enumerate() {
            let Some((key, committed)) = offset(&written.record) else { continue };
            match (committed, fates[at]) {
                (Some(committed), Some(Outcome::Commit)) => last.insert(key, committed),
                (None, _) => last.remove(&key),
                (Some(_), Some(Outcome::Abort) | None) => None,
            };
        }
        let kept = self.committed();
        let kept = kept.map(|(id, topic, it, kept)| ((id.to_owned(), topic.to_owned(), it), kept));
        assert_eq!(kept.collect::<BTreeMap<_, _>>(), last, "offsets under read_committed");
    }
}

/// What became of each record: `None` while its transaction is open.
fn fates(journal: &[Written<GroupRecord>]) -> Vec<Option<Outcome>> {
    let mut fates = vec![None; journal.len()];
    let mut outcomes: BTreeMap<ProducerId, Outcome> = BTreeMap::new();
    for (at, written) in journal.iter().enumerate().rev() {
        fates[at] = match &written.record {
            GroupRecord::EndTransaction { producer_id, marker, .. } => {
                outcomes.insert(*producer_id, marker.outcome);
                Some(Outcome::Commit)
            }
            GroupRecord::PendingOffset { producer_id, .. } => outcomes.get(producer_id).copied(),
            GroupRecord::Offset { .. } | GroupRecord::Group { .. } => Some(Outcome::Commit),
        };
    }
    fates
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
