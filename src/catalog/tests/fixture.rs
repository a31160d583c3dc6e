//! A catalog with its decisions written and replayed at once.

use std::collections::BTreeMap;

use crate::catalog::{
    Catalog, CatalogError, CatalogRecord, ConfigChange, ConfigOperation, ConfigResource, ConfigRow,
    CreatedTopic, NewPartitions, NewTopic, Setup, TopicRef,
};
use crate::config::ConfigTable;
use crate::config::broker::BrokerConfig;
use crate::ids::Ids;
use crate::types::NodeId;

pub(super) struct Cluster {
    pub(super) catalog: Catalog,
    pub(super) journal: Vec<CatalogRecord>,
    pub(super) ids: Ids,
}

pub(super) fn setup(node_count: i32, settings: &[(&'static str, &str)]) -> Setup {
    let mut broker = BrokerConfig::default();
    let mut statics = BTreeMap::new();
    for (name, value) in settings {
        broker.set(name, value).unwrap();
        statics.insert(*name, Some((*value).to_owned()));
    }
    let nodes = (1..=node_count).map(NodeId).collect();
    Setup { cluster_id: "test".to_owned(), nodes, broker, statics, open_files_max: None }
}

pub(super) fn cluster(node_count: i32, settings: &[(&'static str, &str)]) -> Cluster {
    let catalog = Catalog::new(setup(node_count, settings));
    Cluster { catalog, journal: Vec::new(), ids: Ids::seeded(7) }
}

pub(super) fn topic(name: &str) -> NewTopic {
    NewTopic::named(name)
}

pub(super) fn with_configs(name: &str, configs: &[(&str, &str)]) -> NewTopic {
    let configs = configs.iter().map(|(key, value)| {
        let value = (*value != "null").then(|| (*value).to_owned());
        ((*key).to_owned(), value)
    });
    NewTopic { configs: configs.collect(), ..topic(name) }
}

pub(super) fn topic_resource(name: &str) -> ConfigResource {
    ConfigResource::Topic(name.to_owned())
}

pub(super) fn change(name: &str, operation: ConfigOperation, value: &str) -> ConfigChange {
    let value = (value != "null").then(|| value.to_owned());
    ConfigChange { name: name.to_owned(), operation, value }
}

impl Cluster {
    /// Writes and replays, checking that nothing else was needed to come here.
    pub(super) fn apply(&mut self, records: &[CatalogRecord]) {
        for record in records {
            self.catalog.replay(record);
        }
        self.journal.extend_from_slice(records);
    }

    pub(super) fn create(&mut self, new: &NewTopic) -> Result<CreatedTopic, CatalogError> {
        let mut decided = self.catalog.create_topics(std::slice::from_ref(new), &self.ids);
        let (_, result) = decided.pop().unwrap();
        if let Ok(created) = &result {
            self.apply(&created.records);
        }
        result
    }

    pub(super) fn grow(
        &mut self,
        name: &str,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
    ) -> Result<(), CatalogError> {
        let asked = NewPartitions { name: name.to_owned(), count, assignments };
        let (_, result) = self.catalog.create_partitions(&[asked]).pop().unwrap();
        self.apply(&result?);
        Ok(())
    }

    pub(super) fn delete(&mut self, topic: TopicRef) -> Result<(), CatalogError> {
        let (_, result) = self.catalog.delete_topics(&[topic]).pop().unwrap();
        self.apply(&[result?]);
        Ok(())
    }

    pub(super) fn alter(
        &mut self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
    ) -> Result<(), CatalogError> {
        let request = (resource.clone(), changes.to_vec());
        let (_, result) = self.catalog.alter_configs(&[request]).pop().unwrap();
        self.apply(&result?);
        Ok(())
    }

    pub(super) fn set(
        &mut self,
        resource: &ConfigResource,
        name: &str,
        value: &str,
    ) -> Result<(), CatalogError> {
        self.alter(resource, &[change(name, ConfigOperation::Set, value)])
    }

    pub(super) fn row(&self, resource: &ConfigResource, key: &str) -> ConfigRow {
        let keys = [key.to_owned()];
        let mut rows = self.catalog.describe_configs(resource, Some(&keys)).unwrap();
        assert_eq!(rows.len(), 1, "{key}");
        rows.pop().unwrap()
    }

    pub(super) fn value(&self, resource: &ConfigResource, key: &str) -> String {
        self.row(resource, key).value.unwrap()
    }
}
