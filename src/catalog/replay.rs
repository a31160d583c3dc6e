//! The only thing that changes a catalog: taking one record, live or at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Catalog, Change, ConfigResource, Overrides, Partition, Topic};
use super::names::collision_key;
use super::records::{
    CatalogRecord, ConfigRecord, FeatureLevelRecord, PartitionChangeRecord, PartitionRecord,
    TopicRecord,
};
use crate::config::ConfigTable;
use crate::config::topic::TopicConfig;
use crate::types::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// Record types that say nothing a catalog keeps: registrations, fencing, KRaft's transaction marks
/// and no-ops. A snapshot leaves them out.
const MEANINGLESS: &[u32] = &[0, 1, 7, 8, 17, 20, 21, 23, 24, 25, 27, 28];

/// Removals that are remembered.
const REMOVED_MAX: usize = 10_000;

impl Catalog {
    /// Takes one record, live or at start: the only way that a catalog changes. One that cannot be
    /// applied is counted and passed over.
    pub fn replay(&mut self, record: &CatalogRecord) -> Change {
        self.version += 1;
        let change = match record {
            CatalogRecord::Topic(record) => self.replay_topic(record),
            CatalogRecord::Partition(record) => self.replay_partition(record),
            CatalogRecord::PartitionChange(record) => self.replay_partition_change(record),
            CatalogRecord::RemoveTopic(record) => self.replay_remove(TopicId(record.topic_id)),
            CatalogRecord::Config(record) => self.replay_config(record),
            CatalogRecord::FeatureLevel(record) => Some(self.replay_feature(record)),
            CatalogRecord::ProducerIds(record) => {
                self.next_producer_id = self.next_producer_id.max(record.next_producer_id);
                Some(Change::Other)
            }
            CatalogRecord::Other { kind, .. } if MEANINGLESS.contains(kind) => {
                Some(Change::Nothing)
            }
            CatalogRecord::Other { .. } => {
                self.unknown.push(record.clone());
                None
            }
        };
        change.unwrap_or_else(|| {
            self.skipped_count += 1;
            Change::Nothing
        })
    }

    fn replay_topic(&mut self, record: &TopicRecord) -> Option<Change> {
        let id = TopicId(record.topic_id);
        if self.names.contains_key(&record.name) || self.topics.contains_key(&id) {
            return None;
        }
        self.names.insert(record.name.clone(), id);
        self.collisions.insert(collision_key(&record.name), id);
        let topic = Topic {
            id,
            name: record.name.clone(),
            partitions: Vec::new(),
            overrides: Overrides::new(),
            config: Arc::clone(&self.inherited),
        };
        self.topics.insert(id, topic);
        Some(Change::Topic(id))
    }

    fn replay_partition(&mut self, record: &PartitionRecord) -> Option<Change> {
        let topic = self.topics.get_mut(&TopicId(record.topic_id))?;
        let at = usize::try_from(record.partition_id).ok()?;
        let replicas = nodes(&record.replicas);
        let first = *replicas.first()?;
        let partition = Partition {
            leader: if record.leader < 0 { first } else { NodeId(record.leader) },
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
            in_sync: nodes(&record.isr),
            replicas,
        };
        if let Some(known) = topic.partitions.get_mut(at) {
            *known = partition;
        } else if at == topic.partitions.len() {
            topic.partitions.push(partition);
            self.partition_count += 1;
        } else {
            return None; // A gap: partitions are made in order.
        }
        Some(Change::Partition(topic.id, PartitionIndex(record.partition_id)))
    }

    fn replay_partition_change(&mut self, record: &PartitionChangeRecord) -> Option<Change> {
        let topic = self.topics.get_mut(&TopicId(record.topic_id))?;
        let partition = topic.partitions.get_mut(usize::try_from(record.partition_id).ok()?)?;
        if let Some(replicas) = &record.replicas {
            partition.replicas = nodes(replicas);
        }
        if let Some(in_sync) = &record.isr {
            partition.in_sync = nodes(in_sync);
        }
        // -2 leaves the leader; -1 (none) is what Kafka writes at a shutdown, and nobody leads
        // until the old one is back. Each is counted as a leadership.
        if record.leader >= -1 {
            partition.leader_epoch.0 = partition.leader_epoch.0.saturating_add(1);
        }
        if record.leader >= 0 {
            partition.leader = NodeId(record.leader);
        }
        partition.partition_epoch = partition.partition_epoch.saturating_add(1);
        Some(Change::Partition(topic.id, PartitionIndex(record.partition_id)))
    }

    fn replay_remove(&mut self, id: TopicId) -> Option<Change> {
        if self.removed.len() >= REMOVED_MAX {
            self.removed.pop_front();
        }
        self.removed.push_back(id);
        let topic = self.topics.remove(&id)?;
        self.names.remove(&topic.name);
        self.collisions.remove(&collision_key(&topic.name));
        self.partition_count = self.partition_count.saturating_sub(topic.partitions.len());
        Some(Change::TopicRemoved(id, topic.name))
    }

    fn replay_feature(&mut self, record: &FeatureLevelRecord) -> Change {
        if record.feature_level == 0 {
            self.features.remove(&record.name);
        } else {
            self.features.insert(record.name.clone(), record.feature_level);
        }
        Change::Other
    }

    fn replay_config(&mut self, record: &ConfigRecord) -> Option<Change> {
        match ConfigResource::of_record(record)? {
            ConfigResource::Topic(name) => {
                let id = *self.names.get(&name)?;
                let topic = self.topics.get_mut(&id)?;
                put(&mut topic.overrides, record);
                topic.config = resolved(&self.inherited, &topic.overrides);
                Some(Change::Topic(id))
            }
            ConfigResource::BrokerDefaults => {
                put(&mut self.broker_defaults, record);
                self.resolve_brokers();
                Some(Change::Brokers)
            }
            ConfigResource::Broker(node) => {
                put_in(&mut self.brokers, node, record);
                self.resolve_brokers();
                Some(Change::Brokers)
            }
            ConfigResource::Group(group_id) => {
                put_in(&mut self.groups, group_id.clone(), record);
                Some(Change::Group(group_id))
            }
        }
    }

    /// Works out again what depends on brokers' settings.
    fn resolve_brokers(&mut self) {
        self.broker = Arc::new(self.broker_of(self.first_node()));
        self.inherited = Arc::new(TopicConfig::inherited(&self.broker).unwrap_or_default());
        for topic in self.topics.values_mut() {
            topic.config = resolved(&self.inherited, &topic.overrides);
        }
    }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn put(overrides: &mut Overrides, record: &ConfigRecord) {
    match &record.value {
        Some(value) => overrides.insert(record.name.clone(), value.clone()),
        None => overrides.remove(&record.name),
    };
}

/// As [`put`], for one of many; none is kept without settings.
fn put_in<Key: Ord + Clone>(all: &mut BTreeMap<Key, Overrides>, key: Key, record: &ConfigRecord) {
    let overrides = all.entry(key.clone()).or_default();
    put(overrides, record);
    if overrides.is_empty() {
        all.remove(&key);
    }
}

/// Settings in force. They were valid when they were given; one that no longer is has no effect.
fn resolved(inherited: &Arc<TopicConfig>, overrides: &Overrides) -> Arc<TopicConfig> {
    if overrides.is_empty() {
        return Arc::clone(inherited);
    }
    let mut config = TopicConfig::clone(inherited);
    for (name, value) in overrides {
        let _ = config.set(name, value);
    }
    Arc::new(config)
}
