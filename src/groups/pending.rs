//! Offsets of one group that open transactions will commit or drop (KIP-98, KIP-447), by producer and by
//! partition.
//!
//! Invariant: the two ways in lead to the same offsets, and no map in here is empty.

use std::collections::{BTreeMap, BTreeSet};

use super::offsets::Placed;
use crate::types::{PartitionIndex, ProducerId};

/// All pending offsets of one group.
#[derive(Debug, Default)]
pub(super) struct PendingOffsets {
    by_topic: BTreeMap<String, BTreeMap<PartitionIndex, BTreeMap<ProducerId, Placed>>>,
    by_producer: BTreeMap<ProducerId, BTreeSet<(String, PartitionIndex)>>,
}

impl PendingOffsets {
    pub(super) fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    /// Whether an open transaction may change the offset of this partition.
    pub(super) fn holds(&self, topic: &str, partition: PartitionIndex) -> bool {
        self.by_topic.get(topic).is_some_and(|rows| rows.contains_key(&partition))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, PartitionIndex, ProducerId, &Placed)> {
        self.by_topic.iter().flat_map(|(topic, rows)| {
            rows.iter().flat_map(move |(partition, producers)| {
                let each = producers.iter();
                each.map(move |(id, placed)| (topic.as_str(), *partition, *id, placed))
            })
        })
    }

    /// The pending offset of this partition that was placed last.
    pub(super) fn newest(&self, topic: &str, partition: PartitionIndex) -> Option<&Placed> {
        self.by_topic.get(topic)?.get(&partition)?.values().max_by_key(|placed| placed.position)
    }

    /// The partitions of a topic that have any.
    pub(super) fn partitions(&self, topic: &str) -> impl Iterator<Item = PartitionIndex> {
        self.by_topic.get(topic).into_iter().flat_map(|rows| rows.keys().copied())
    }

    /// Adds one, in place of what the producer had pending for the partition.
    pub(super) fn add(
        &mut self,
        producer_id: ProducerId,
        topic: &str,
        partition: PartitionIndex,
        placed: Placed,
    ) {
        let rows = self.by_topic.entry(topic.to_owned()).or_default();
        rows.entry(partition).or_default().insert(producer_id, placed);
        self.by_producer.entry(producer_id).or_default().insert((topic.to_owned(), partition));
    }

    /// Takes out all of one producer.
    pub(super) fn take(
        &mut self,
        producer_id: ProducerId,
    ) -> Vec<(String, PartitionIndex, Placed)> {
        let keys = self.by_producer.remove(&producer_id).unwrap_or_default();
        let mut taken = Vec::with_capacity(keys.len());
        for (topic, partition) in keys {
            let Some(rows) = self.by_topic.get_mut(&topic) else { continue };
            let Some(producers) = rows.get_mut(&partition) else { continue };
            let placed = producers.remove(&producer_id);
            if producers.is_empty() {
                rows.remove(&partition);
            }
            if rows.is_empty() {
                self.by_topic.remove(&topic);
            }
            taken.extend(placed.map(|placed| (topic, partition, placed)));
        }
        taken
    }

    /// Drops all of one partition; false if there were none.
    pub(super) fn forget(&mut self, topic: &str, partition: PartitionIndex) -> bool {
        let Some(rows) = self.by_topic.get_mut(topic) else { return false };
        let Some(producers) = rows.remove(&partition) else { return false };
        if rows.is_empty() {
            self.by_topic.remove(topic);
        }
        let key = (topic.to_owned(), partition);
        for id in producers.into_keys() {
            let Some(keys) = self.by_producer.get_mut(&id) else { continue };
            keys.remove(&key);
            if keys.is_empty() {
                self.by_producer.remove(&id);
            }
        }
        true
    }

    /// The producers that have any, for the tests' comparison with the coordinator's own list.
    #[cfg(test)]
    pub(super) fn producers(&self) -> impl Iterator<Item = ProducerId> {
        self.by_producer.keys().copied()
    }

    /// Panics if an invariant does not hold. Under test only.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut by_producer: BTreeMap<ProducerId, BTreeSet<(String, PartitionIndex)>> =
            BTreeMap::new();
        for (topic, partition, id, _) in self.iter() {
            by_producer.entry(id).or_default().insert((topic.to_owned(), partition));
        }
        assert_eq!(by_producer, self.by_producer, "pending offsets are found both ways");
        assert!(self.by_topic.values().all(|rows| !rows.is_empty()), "no topic without any");
        let partitions = self.by_topic.values().flat_map(BTreeMap::values);
        assert!(partitions.into_iter().all(|it| !it.is_empty()), "no partition without any");
    }
}
