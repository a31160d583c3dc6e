//! The offsets of one group, committed and pending, and when they are old enough to be forgotten.
//!
//! They are keyed by topic name, as Kafka's record keys are; the broker tells when a topic goes.
//!
//! What counts for a partition is decided by the order of the journal (KIP-98): a commit makes a
//! pending offset visible unless a record behind it has set the partition meanwhile, and the record that
//! forgets an offset drops those that are pending, too. Log compaction, which keeps the last record of
//! a key, comes to the same.

use std::collections::BTreeMap;

use super::command::{CommitOffsets, FetchedPartition, PartitionCommit};
use super::pending::PendingOffsets;
use super::records::GroupRecord;
use crate::records::Outcome;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicId};

/// One offset, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to read; negative if the client committed that.
    pub offset: Offset,
    /// Of the last record read, if the client knew it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own note.
    pub metadata: String,
    /// The topic's id at the time; zero if not known.
    pub topic_id: TopicId,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// When it is forgotten, if the commit said so (OffsetCommit v2-4).
    pub expires: Option<Timestamp>,
}

impl CommittedOffset {
    /// What `commit` asks to keep from `now` on. With an expiry set, the record format has no place
    /// for the leader epoch and the topic id, so neither is kept.
    pub(super) fn new(
        commit: PartitionCommit,
        topic_id: TopicId,
        retention_ms: Option<i64>,
        now: Timestamp,
    ) -> Self {
        let expires = retention_ms.filter(|kept| *kept >= 0).map(|kept| now.plus_ms(kept));
        Self {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch.filter(|epoch| epoch.0 >= 0 && expires.is_none()),
            metadata: commit.metadata,
            topic_id: if expires.is_none() { topic_id } else { TopicId::ZERO },
            committed_at: now,
            expires,
        }
    }
}

/// An offset and its place in the order of the journal, counted within its group.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) committed: CommittedOffset,
    pub(super) position: u64,
}

/// All offsets of one group.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: BTreeMap<String, BTreeMap<PartitionIndex, Placed>>,
    pending: PendingOffsets,
    next_position: u64,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    pub(super) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.committed.get(topic)?.get(&partition).map(|placed| &placed.committed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, &CommittedOffset)> {
        self.committed.iter().flat_map(|(topic, rows)| {
            rows.iter().map(|(partition, row)| (topic.as_str(), *partition, &row.committed))
        })
    }

    /// Those of open transactions.
    pub(super) fn pending(&self) -> &PendingOffsets {
        &self.pending
    }

    /// What a reader is told of a partition. Where it wants an offset that no open transaction may
    /// change (KIP-447), it may have to wait.
    pub(super) fn fetched(
        &self,
        topic: &str,
        partition: PartitionIndex,
        require_stable: bool,
    ) -> FetchedPartition {
        let is_unstable = require_stable && self.pending.holds(topic, partition);
        let committed = self.get(topic, partition).filter(|_| !is_unstable).cloned();
        FetchedPartition { partition, committed, is_unstable }
    }

    /// What a reader is told of all partitions that have an offset, by topic.
    pub(super) fn all(&self, require_stable: bool) -> Vec<(String, Vec<FetchedPartition>)> {
        let topic = |(topic, rows): (&String, &BTreeMap<PartitionIndex, Placed>)| {
            let fetched = rows.keys().map(|it| self.fetched(topic, *it, require_stable));
            (topic.clone(), fetched.collect())
        };
        self.committed.iter().map(topic).collect()
    }

    /// Keeps an offset; or with `None` forgets it, and those that are pending for the partition.
    pub(super) fn set(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        committed: Option<CommittedOffset>,
    ) {
        match committed {
            Some(committed) => {
                let placed = self.place(committed);
                let rows = self.committed.entry(topic.to_owned()).or_default();
                rows.insert(partition, placed);
            }
            None => {
                self.forget(topic, partition);
            }
        }
    }

    /// Keeps an offset until the producer's transaction ends.
    pub(super) fn pend(
        &mut self,
        producer_id: ProducerId,
        topic: &str,
        partition: PartitionIndex,
        committed: CommittedOffset,
    ) {
        let placed = self.place(committed);
        self.pending.add(producer_id, topic, partition, placed);
    }

    fn place(&mut self, committed: CommittedOffset) -> Placed {
        let position = self.next_position;
        self.next_position += 1;
        Placed { committed, position }
    }

    /// The producer's transaction has ended: its pending offsets count now, where nothing newer does,
    /// or are gone.
    pub(super) fn end_transaction(&mut self, producer_id: ProducerId, outcome: Outcome) {
        for (topic, partition, placed) in self.pending.take(producer_id) {
            if outcome == Outcome::Abort {
                continue;
            }
            let rows = self.committed.entry(topic).or_default();
            if rows.get(&partition).is_none_or(|kept| kept.position < placed.position) {
                rows.insert(partition, placed);
            }
        }
    }

    /// Forgets all of one partition; false if there was nothing.
    pub(super) fn forget(&mut self, topic: &str, partition: PartitionIndex) -> bool {
        let was_pending = self.pending.forget(topic, partition);
        let Some(rows) = self.committed.get_mut(topic) else { return was_pending };
        let was_committed = rows.remove(&partition).is_some();
        if rows.is_empty() {
            self.committed.remove(topic);
        }
        was_pending || was_committed
    }

    /// Forgets those committed ones that `is_old` says and no open transaction may change, and returns
    /// their tombstones.
    pub(super) fn expire(
        &mut self,
        group_id: &str,
        is_old: impl Fn(&str, &CommittedOffset) -> bool,
    ) -> Vec<GroupRecord> {
        let old = self.iter().filter(|(topic, partition, committed)| {
            is_old(topic, committed) && !self.pending.holds(topic, *partition)
        });
        let old = old.map(|(topic, partition, _)| (topic.to_owned(), partition)).collect();
        self.forget_all(group_id, old)
    }

    /// Forgets everything, and returns the tombstones.
    pub(super) fn clear(&mut self, group_id: &str) -> Vec<GroupRecord> {
        let committed = self.iter().map(|(topic, partition, _)| (topic, partition));
        let pending = self.pending.iter().map(|(topic, partition, ..)| (topic, partition));
        let all = committed.chain(pending).map(|(topic, it)| (topic.to_owned(), it)).collect();
        self.forget_all(group_id, all)
    }

    /// Forgets those of these topics, and returns their tombstones. The newest offset of a partition
    /// tells which topic of that name they belong to: one of a later topic has another id and stays.
    pub(super) fn remove_topics(
        &mut self,
        group_id: &str,
        topics: &[(String, TopicId)],
    ) -> Vec<GroupRecord> {
        let mut gone = Vec::new();
        for (topic, id) in topics {
            let committed = self.committed.get(topic).into_iter().flat_map(BTreeMap::keys).copied();
            let partitions = committed.chain(self.pending.partitions(topic));
            let dead =
                partitions.filter(|partition| self.newest_id(topic, *partition) == Some(*id));
            gone.extend(dead.map(|partition| (topic.clone(), partition)));
        }
        self.forget_all(group_id, gone)
    }

    fn newest_id(&self, topic: &str, partition: PartitionIndex) -> Option<TopicId> {
        let committed = self.committed.get(topic).and_then(|rows| rows.get(&partition));
        let placed = committed.into_iter().chain(self.pending.newest(topic, partition));
        placed.max_by_key(|placed| placed.position).map(|placed| placed.committed.topic_id)
    }

    /// Forgets these, which may be named more than once, and returns their tombstones.
    fn forget_all(
        &mut self,
        group_id: &str,
        partitions: Vec<(String, PartitionIndex)>,
    ) -> Vec<GroupRecord> {
        let mut tombstones = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            if self.forget(&topic, partition) {
                tombstones.push(tombstone(group_id, &topic, partition));
            }
        }
        tombstones
    }

    /// All of them in the order of their places, with whose transaction they wait for. Under test only.
    #[cfg(test)]
    pub(super) fn in_order(
        &self,
    ) -> Vec<(String, PartitionIndex, Option<ProducerId>, CommittedOffset)> {
        let committed = self.committed.iter().flat_map(|(topic, rows)| {
            rows.iter().map(move |(partition, placed)| (topic.as_str(), *partition, None, placed))
        });
        let pending = self.pending.iter();
        let pending = pending.map(|(topic, partition, id, it)| (topic, partition, Some(id), it));
        let mut all: Vec<_> = committed.chain(pending).collect();
        all.sort_by_key(|(.., placed)| placed.position);
        let own = |(topic, partition, id, placed): (&str, _, _, &Placed)| {
            (topic.to_owned(), partition, id, placed.committed.clone())
        };
        all.into_iter().map(own).collect()
    }

    /// Panics if an invariant does not hold. Under test only.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.pending.check();
        assert!(self.committed.values().all(|rows| !rows.is_empty()), "no topic without any");
        let committed = self.committed.values().flat_map(BTreeMap::values);
        let pending = self.pending.iter().map(|(_, _, _, placed)| placed);
        let mut positions: Vec<u64> = committed.chain(pending).map(|it| it.position).collect();
        let count = positions.len();
        positions.sort_unstable();
        positions.dedup();
        assert_eq!(positions.len(), count, "no two in one place");
        assert!(positions.last().is_none_or(|last| *last < self.next_position), "places are past");
    }
}

/// The record that forgets an offset.
pub(super) fn tombstone(group_id: &str, topic: &str, partition: PartitionIndex) -> GroupRecord {
    GroupRecord::Offset {
        group_id: group_id.to_owned(),
        topic: topic.to_owned(),
        partition,
        committed: None,
    }
}

/// From when on the retention of a group's offsets counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetentionStart {
    /// Never: they are in use, or may be.
    Held,
    /// Each from its own commit.
    Commit,
    /// Each from its own commit, but not before this.
    NotBefore(Timestamp),
}

impl RetentionStart {
    /// Whether an offset may be forgotten at `now`. A time that the commit itself set goes before
    /// the configured retention, but not before [`RetentionStart::Held`].
    pub(super) fn has_run_out(
        self,
        committed: &CommittedOffset,
        retention_ms: i64,
        now: Timestamp,
    ) -> bool {
        let start = match self {
            Self::Held => return false,
            Self::Commit => committed.committed_at,
            Self::NotBefore(start) => start.max(committed.committed_at),
        };
        now >= committed.expires.unwrap_or(start.plus_ms(retention_ms))
    }
}

/// The member that a commit names, if it does not name none on purpose.
pub(super) fn is_from_member(commit: &CommitOffsets) -> bool {
    commit.generation.0 >= 0 || !commit.member_id.is_empty() || commit.group_instance_id.is_some()
}
