//! What tests of modules share: a module on a cluster in memory, what comes in from outside, what lies in topics.

use std::sync::Arc;

use serde_json::Value;

use super::{FieldError, Module, Posted};
use crate::client::cluster::{Cluster, Stored, ToSend, TopicSpec};
use crate::clock::Clock;
use crate::services::envelope::headers;
use crate::services::publish::{self, Origin};
use crate::services::saga;
use crate::services::testing::MemoryCluster;
use crate::services::{App, Running};
use crate::types::Timestamp;

/// Modules that run.
pub(super) struct Bench {
    pub(super) cluster: MemoryCluster,
    pub(super) clock: Clock,
    pub(super) app: App,
    pub(super) running: Running,
}

impl Bench {
    /// Runs modules until they rest.
    pub(super) async fn new(modules: Vec<Module>) -> Self {
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let cluster = MemoryCluster::new(clock.clone());
        // As the documents declare them: topics of one group have different numbers of partitions.
        for (topic, partitions) in [
            ("user.created", 6),
            ("user.authenticated", 6),
            ("workflow.requested", 12),
            ("order-created", 6),
        ] {
            cluster.make_topic(topic, partitions);
        }
        let app = modules.into_iter().fold(App::new(), App::module);
        let running = app.start(Arc::new(cluster.clone())).unwrap();
        let bench = Self { cluster, clock, app, running };
        bench.settle().await;
        bench
    }

    /// Ends the process as a kill does, and begins it anew.
    pub(super) async fn restart(&mut self) {
        self.running = self.app.start(Arc::new(self.cluster.clone())).unwrap();
        self.settle().await;
    }

    /// Lets time go by until nothing is due within a minute.
    pub(super) async fn settle(&self) {
        while let Some(due) = self.running.settle().await.unwrap() {
            let left = due.0 - self.clock.now().wall.0;
            if left > 60_000 {
                return;
            }
            self.clock.advance(u64::try_from(left).unwrap_or(0).max(1));
        }
    }

    /// What is posted becomes its route's event, with this id.
    pub(super) async fn post(&self, route: &str, id: &str, body: Value) -> Result<(), FieldError> {
        let route = self.app.routes().iter().find(|it| it.route() == route).expect("a route");
        let posted = Posted { body: &body, event_id: id, at: self.clock.now().wall };
        let emission = route.event(posted)?;
        publish::publish(&self.cluster, &emission, &Origin::new("test", id)).await.unwrap();
        Ok(())
    }

    /// Begins a saga.
    pub(super) async fn start(&self, name: &str, saga_id: &str, data: Value) {
        let origin = Origin::new("test", format!("start-{saga_id}"));
        let start = saga::start(name, saga_id, data);
        publish::publish(&self.cluster, &start, &origin).await.unwrap();
    }

    /// Sends what another program might: a value, no headers.
    pub(super) async fn send(&self, topic: &str, key: Option<&str>, value: Value) {
        let spec = TopicSpec { name: topic.into(), partitions: None, configs: Default::default() };
        self.cluster.ensure_topics(vec![spec]).await.unwrap();
        let record = ToSend {
            topic: topic.into(),
            partition: None,
            key: key.map(|key| key.to_owned().into()),
            value: Some(value.to_string().into()),
            headers: Vec::new(),
            timestamp: None,
        };
        self.cluster.send(vec![record]).await.unwrap();
    }

    /// The values of a topic's records.
    pub(super) fn values(&self, topic: &str) -> Vec<Value> {
        self.cluster.records(topic).iter().map(value).collect()
    }

    /// The only record of a topic.
    pub(super) fn only(&self, topic: &str) -> Stored {
        let mut records = self.cluster.records(topic);
        assert_eq!(records.len(), 1, "{topic}: {:?}", self.values(topic));
        records.remove(0)
    }

    /// The value of the only record of a topic.
    pub(super) fn only_value(&self, topic: &str) -> Value {
        value(&self.only(topic))
    }

    /// A row of a table.
    pub(super) fn row(&self, table: &str, key: &str) -> Option<Value> {
        self.running.row(table, key).map(|row| serde_json::from_slice(&row).unwrap())
    }
}

pub(super) fn value(record: &Stored) -> Value {
    record.value.as_deref().map_or(Value::Null, |value| serde_json::from_slice(value).unwrap())
}

/// A header's text.
pub(super) fn header(record: &Stored, name: &str) -> String {
    headers::text(&record.headers, name).unwrap_or_default().to_owned()
}

/// The key's text.
pub(super) fn key(record: &Stored) -> String {
    String::from_utf8(record.key.as_deref().unwrap_or_default().to_vec()).unwrap()
}
