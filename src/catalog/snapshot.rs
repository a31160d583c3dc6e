//! From state to records: what a decision writes, and the records that make a whole catalog again.

use super::model::{Catalog, ConfigResource, Overrides, Partition};
use super::records::{
    CatalogRecord, ConfigRecord, FeatureLevelRecord, PartitionRecord, ProducerIdsRecord,
    TopicRecord,
};
use crate::types::{NodeId, TopicId};

impl Catalog {
    /// Records that make an equal catalog out of an empty one with the same setup.
    pub fn to_records(&self) -> Vec<CatalogRecord> {
        let mut records = Vec::new();
        for (name, level) in &self.features {
            let record = FeatureLevelRecord { name: name.clone(), feature_level: *level };
            records.push(CatalogRecord::FeatureLevel(record));
        }
        config_records(&mut records, &ConfigResource::BrokerDefaults, &self.broker_defaults);
        for (node, overrides) in &self.brokers {
            config_records(&mut records, &ConfigResource::Broker(*node), overrides);
        }
        for topic in self.topics() {
            records.push(topic_record(topic.id, &topic.name));
            let resource = ConfigResource::Topic(topic.name.clone());
            config_records(&mut records, &resource, &topic.overrides);
            for (index, partition) in (0..).zip(&topic.partitions) {
                records.push(partition_record(topic.id, index, partition));
            }
        }
        for (group_id, overrides) in &self.groups {
            config_records(&mut records, &ConfigResource::Group(group_id.clone()), overrides);
        }
        if self.next_producer_id > 0 {
            records.push(self.producer_ids_record(self.first_node(), self.next_producer_id));
        }
        records.extend(self.unknown.iter().cloned());
        records
    }

    pub(super) fn producer_ids_record(&self, node: NodeId, next: i64) -> CatalogRecord {
        CatalogRecord::ProducerIds(ProducerIdsRecord {
            broker_id: node.0,
            broker_epoch: -1,
            next_producer_id: next,
        })
    }
}

impl ConfigResource {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    const GROUP: i8 = 32;

    pub(super) fn of_record(record: &ConfigRecord) -> Option<Self> {
        match (record.resource_type, record.resource_name.as_str()) {
            (Self::TOPIC, name) => Some(Self::Topic(name.to_owned())),
            (Self::BROKER, "") => Some(Self::BrokerDefaults),
            (Self::BROKER, id) => id.parse().ok().map(|id| Self::Broker(NodeId(id))),
            (Self::GROUP, name) => Some(Self::Group(name.to_owned())),
            _ => None,
        }
    }

    /// The record that gives this resource a setting, or with `None` takes it away.
    pub(super) fn record(&self, name: &str, value: Option<&str>) -> CatalogRecord {
        let (resource_type, resource_name) = match self {
            Self::Topic(name) => (Self::TOPIC, name.clone()),
            Self::Broker(node) => (Self::BROKER, node.to_string()),
            Self::BrokerDefaults => (Self::BROKER, String::new()),
            Self::Group(name) => (Self::GROUP, name.clone()),
        };
        CatalogRecord::Config(ConfigRecord {
            resource_type,
            resource_name,
            name: name.to_owned(),
            value: value.map(str::to_owned),
        })
    }
}

fn config_records(
    records: &mut Vec<CatalogRecord>,
    resource: &ConfigResource,
    overrides: &Overrides,
) {
    records.extend(overrides.iter().map(|(name, value)| resource.record(name, Some(value))));
}

pub(super) fn topic_record(id: TopicId, name: &str) -> CatalogRecord {
    CatalogRecord::Topic(TopicRecord { name: name.to_owned(), topic_id: id.0 })
}

pub(super) fn partition_record(id: TopicId, index: i32, partition: &Partition) -> CatalogRecord {
    CatalogRecord::Partition(PartitionRecord {
        partition_id: index,
        topic_id: id.0,
        replicas: partition.replicas.iter().map(|node| node.0).collect(),
        isr: partition.in_sync.iter().map(|node| node.0).collect(),
        leader: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch,
        ..PartitionRecord::default()
    })
}
