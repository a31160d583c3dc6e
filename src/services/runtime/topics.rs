//! The topics that a group needs, and reading one to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::Plan;
use crate::client::cluster::{Cluster, ClusterError, ReadFrom, Stored, TopicPartition, TopicSpec};
use crate::services::envelope::VALUE_BYTES_MAX;

/// Bytes of one read while state is loaded.
const LOAD_BYTES: usize = 4 << 20;
/// How long dead letters, redriven records and intents of effects are kept.
const KEPT_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;
/// Bytes of a batch in topics that take whole records of others with what is said about them: an event is read up
/// to [`VALUE_BYTES_MAX`], and its topic may have been told to take that. 1 MiB for headers.
const WHOLE_RECORD_BYTES: usize = VALUE_BYTES_MAX + (1 << 20);
/// The same where the record lies in base64 within JSON.
const ENCODED_RECORD_BYTES: usize = WHOLE_RECORD_BYTES / 3 * 4 + (1 << 20);

/// How the partitions of a group's topics lie.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// All that is consumed.
    pub(super) inputs: Vec<Arc<str>>,
    /// Partitions of the largest of them: those of the group's own topics.
    pub(super) partition_count: i32,
    /// Whether what is handled has equally many partitions everywhere.
    pub(super) is_even: bool,
}

/// Makes the topics that a group reads from and writes its own state to.
pub(super) async fn ensure(cluster: &dyn Cluster, plan: &Plan) -> Result<Layout, ClusterError> {
    let any = |name: &Arc<str>| TopicSpec {
        name: name.to_string(),
        partitions: None,
        configs: BTreeMap::new(),
    };
    cluster.ensure_topics(plan.sources().map(any).collect()).await?;
    let mut partition_count = 1;
    for topic in plan.sources() {
        let count = cluster.partition_count(Arc::clone(topic)).await?;
        partition_count = partition_count.max(count.unwrap_or(1));
    }
    let mut own = vec![
        taking(WHOLE_RECORD_BYTES, kept(plan.retry_topic(), partition_count, "delete")),
        taking(WHOLE_RECORD_BYTES, kept(plan.dlq.to_string(), partition_count, "delete")),
        taking(ENCODED_RECORD_BYTES, compacted(plan.own_topic("park"), partition_count)),
        taking(ENCODED_RECORD_BYTES, compacted(plan.own_topic("timer"), partition_count)),
        kept(plan.own_topic("seen"), partition_count, "compact,delete"),
        kept(plan.own_topic("intent"), partition_count, "compact,delete"),
    ];
    own.extend(plan.by_topics().map(|topic| {
        taking(WHOLE_RECORD_BYTES, kept(topic.to_string(), partition_count, "delete"))
    }));
    cluster.ensure_topics(own).await?;

    let mut counts = BTreeSet::new();
    for topic in plan.handled_topics() {
        counts.insert(cluster.partition_count(topic).await?);
    }
    let retry = plan.retry_topic().into();
    let inputs = plan.sources().chain(plan.by_topics()).cloned().chain([retry]).collect();
    Ok(Layout { inputs, partition_count, is_even: counts.len() <= 1 })
}

/// A topic of which the last record a key is kept.
pub(super) fn compacted(name: String, partitions: i32) -> TopicSpec {
    let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
    TopicSpec { name, partitions: Some(partitions), configs }
}

/// The same, for batches of so many bytes.
fn taking(bytes: usize, mut topic: TopicSpec) -> TopicSpec {
    topic.configs.insert("max.message.bytes".to_owned(), bytes.to_string());
    topic
}

fn kept(name: String, partitions: i32, policy: &str) -> TopicSpec {
    let configs = [
        ("cleanup.policy".to_owned(), policy.to_owned()),
        ("retention.ms".to_owned(), (KEPT_DAYS * DAY_MS).to_string()),
    ];
    TopicSpec { name, partitions: Some(partitions), configs: configs.into() }
}

/// Reads all that a partition holds now.
pub(super) async fn read_all(
    cluster: &dyn Cluster,
    at: TopicPartition,
    mut each: impl FnMut(Stored) + Send,
) -> Result<(), ClusterError> {
    let spans = cluster.spans(vec![at.clone()]).await?;
    let Some(span) = spans.first().copied() else { return Err(ClusterError::Unknown(at)) };
    let mut next = span.start;
    while next < span.end {
        let from = vec![ReadFrom { at: at.clone(), offset: next }];
        for received in cluster.read(from, LOAD_BYTES, LOAD_WAIT_MS).await? {
            received.records.into_iter().for_each(&mut each);
            next = next.max(received.next);
        }
    }
    Ok(())
}

/// How long a read waits that should find something at once.
const LOAD_WAIT_MS: u64 = 100;
