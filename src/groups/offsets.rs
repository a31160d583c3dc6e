//! The committed offsets of one group, and when they are old enough to be forgotten.
//!
//! They are keyed by topic name, as Kafka's record keys are; the broker tells when a topic goes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::command::{CommitOffsets, FetchedPartition, PartitionCommit};
use super::records::GroupRecord;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

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

/// All offsets of one group.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Offsets(BTreeMap<String, BTreeMap<PartitionIndex, CommittedOffset>>);

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.0.get(topic)?.get(&partition)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, &CommittedOffset)> {
        self.0.iter().flat_map(|(topic, rows)| {
            rows.iter().map(|(partition, committed)| (topic.as_str(), *partition, committed))
        })
    }

    /// All of them, by topic.
    pub(super) fn all(&self) -> Vec<(String, Vec<FetchedPartition>)> {
        let fetched = |(partition, committed): (&PartitionIndex, &CommittedOffset)| {
            FetchedPartition { partition: *partition, committed: Some(committed.clone()) }
        };
        let topics = self.0.iter();
        topics.map(|(topic, rows)| (topic.clone(), rows.iter().map(fetched).collect())).collect()
    }

    /// Keeps an offset, or with `None` forgets it.
    pub(super) fn set(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        committed: Option<CommittedOffset>,
    ) {
        match (self.0.entry(topic.to_owned()), committed) {
            (topics, Some(committed)) => {
                topics.or_default().insert(partition, committed);
            }
            (Entry::Occupied(mut rows), None) => {
                rows.get_mut().remove(&partition);
                if rows.get().is_empty() {
                    rows.remove();
                }
            }
            (Entry::Vacant(_), None) => {}
        }
    }

    /// Forgets those that `gone` says, and returns their tombstones.
    pub(super) fn remove_if(
        &mut self,
        group_id: &str,
        mut gone: impl FnMut(&str, PartitionIndex, &CommittedOffset) -> bool,
    ) -> Vec<GroupRecord> {
        let mut tombstones = Vec::new();
        self.0.retain(|topic, rows| {
            rows.retain(|partition, committed| {
                let goes = gone(topic, *partition, committed);
                if goes {
                    tombstones.push(tombstone(group_id, topic, *partition));
                }
                !goes
            });
            !rows.is_empty()
        });
        tombstones
    }

    /// Forgets those of these topics, and returns their tombstones. An offset of a later topic of
    /// the same name has another id and stays.
    pub(super) fn remove_topics(
        &mut self,
        group_id: &str,
        topics: &[(String, TopicId)],
    ) -> Vec<GroupRecord> {
        let mut tombstones = Vec::new();
        for (topic, id) in topics {
            let Entry::Occupied(mut rows) = self.0.entry(topic.clone()) else { continue };
            rows.get_mut().retain(|partition, committed| {
                let goes = committed.topic_id == *id;
                if goes {
                    tombstones.push(tombstone(group_id, topic, *partition));
                }
                !goes
            });
            if rows.get().is_empty() {
                rows.remove();
            }
        }
        tombstones
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
