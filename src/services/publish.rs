//! Events that no handler emits: what comes in by HTTP, or by somebody at a terminal. They lie in their records
//! as a handler's do, with id, correlation and trace.

use std::sync::Arc;

use super::envelope::{self, About};
use super::unit::Emission;
use crate::client::cluster::{Cluster, ClusterError, Placed, ToSend, TopicSpec};
use crate::types::Timestamp;

/// Where an event comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    source: Arc<str>,
    event_id: Arc<str>,
    correlation_id: Option<Arc<str>>,
    causation_id: Option<Arc<str>>,
    saga_id: Option<Arc<str>>,
    traceparent: Option<Arc<str>>,
}

impl Origin {
    /// From this source, such as `ottla-http`, as the event with this id. Who may publish the same twice derives
    /// the id from what makes it the same ([`super::ids::derived`]); it begins a correlation of its own.
    pub fn new(source: impl Into<Arc<str>>, event_id: impl Into<Arc<str>>) -> Self {
        let (source, event_id) = (source.into(), event_id.into());
        let (correlation_id, causation_id, saga_id, traceparent) = (None, None, None, None);
        Self { source, event_id, correlation_id, causation_id, saga_id, traceparent }
    }

    /// As part of what this id stands for.
    #[must_use]
    pub fn correlation(mut self, id: impl Into<Arc<str>>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// As what follows from the event with this id.
    #[must_use]
    pub fn causation(mut self, id: impl Into<Arc<str>>) -> Self {
        self.causation_id = Some(id.into());
        self
    }

    /// As part of this saga.
    #[must_use]
    pub fn saga(mut self, id: impl Into<Arc<str>>) -> Self {
        self.saga_id = Some(id.into());
        self
    }

    /// In the trace of this W3C traceparent; one that is not valid begins a trace.
    #[must_use]
    pub fn traceparent(mut self, parent: impl Into<Arc<str>>) -> Self {
        self.traceparent = Some(parent.into());
        self
    }
}

/// The record of an emission, for whoever sends it himself. Its partition follows from its key.
pub fn record(emission: &Emission, origin: &Origin, now: Timestamp) -> ToSend {
    let about = About {
        event_id: Arc::clone(&origin.event_id),
        correlation_id: Arc::clone(origin.correlation_id.as_ref().unwrap_or(&origin.event_id)),
        causation_id: origin.causation_id.clone(),
        source: Arc::clone(&origin.source),
        time: now,
        saga_id: origin.saga_id.clone(),
        traceparent: origin.traceparent.clone(),
    };
    envelope::write(emission, &about)
}

/// Sends an emission; durable on return. A topic that is not there is made.
///
/// # Errors
/// The cluster's; after `Passing` nobody knows whether it was sent, and to send it again with the same origin is
/// the same event.
pub async fn publish(
    cluster: &dyn Cluster,
    emission: &Emission,
    origin: &Origin,
) -> Result<Placed, ClusterError> {
    let name = emission.topic.to_string();
    let spec = TopicSpec { name, partitions: None, configs: Default::default() };
    cluster.ensure_topics(vec![spec]).await?;
    let record = record(emission, origin, cluster.clock().now().wall);
    let placed = cluster.send(vec![record]).await?.into_iter().next();
    placed.ok_or_else(|| ClusterError::Passing("no answer to a record that was sent".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::cluster::{Stored, TopicPartition};
    use crate::clock::Clock;
    use crate::services::event::Envelope;
    use crate::services::saga;
    use crate::services::testing::MemoryCluster;
    use crate::types::Offset;

    fn read_back(sent: ToSend) -> envelope::Read {
        let stored = Stored {
            at: TopicPartition::new(sent.topic, 0),
            offset: Offset(0),
            timestamp: sent.timestamp.unwrap_or(Timestamp(0)),
            key: sent.key,
            value: sent.value,
            headers: sent.headers,
        };
        envelope::read(&stored, Some(Envelope::CloudEvents)).unwrap()
    }

    #[test]
    fn a_record_says_where_it_comes_from() {
        let start = saga::start("order", "s-1", json!({"a": 1}));
        let origin = Origin::new("ottla-http", "e-1");
        let read = read_back(record(&start, &origin, Timestamp(5)));
        assert_eq!((&*read.name, &*read.event_id), ("ottla.saga.start", "e-1"));
        assert_eq!((&*read.correlation_id, read.body), ("e-1", json!({"a": 1})));
        assert!(read.traceparent.is_some() && read.causation_id.is_none());

        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let origin = origin.correlation("c").causation("e-0").saga("s-1").traceparent(parent);
        let read = read_back(record(&start, &origin, Timestamp(5)));
        assert_eq!((&*read.correlation_id, read.causation_id.as_deref()), ("c", Some("e-0")));
        assert_eq!(read.saga_id.as_deref(), Some("s-1"));
        let child = read.traceparent.unwrap();
        assert!(child.starts_with(&parent[..36]) && *child != *parent, "{child}");
    }

    #[tokio::test]
    async fn what_is_published_lies_in_its_topic() {
        let cluster = MemoryCluster::new(Clock::manual(Timestamp(7)));
        let start = saga::start("order", "s-1", json!({}));
        let placed = publish(&cluster, &start, &Origin::new("test", "e-1")).await.unwrap();
        assert_eq!((&*placed.at.topic, placed.offset), ("ottla.reply.order", Offset(0)));
    }
}
