//! `ottla topic list`.

use serde_json::json;

use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::protocol::messages::metadata::MetadataResponseTopic;

/// List the topics of a cluster
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Also those that the cluster keeps for itself
    #[arg(long)]
    internal: bool,
}

impl List {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut topics = connect.client().await?.cluster(None).await?.topics;
        topics.retain(|topic| self.internal || !topic.is_internal);
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        if connect.json {
            return out.json(&topics.iter().map(as_json).collect());
        }
        let row = |topic: &MetadataResponseTopic| {
            let name = topic.name.clone().unwrap_or_default();
            vec![name, topic.partitions.len().to_string(), replicas(topic).to_string()]
        };
        out.table(&["TOPIC", "PARTITIONS", "REPLICAS"], topics.iter().map(row).collect())
    }
}

fn replicas(topic: &MetadataResponseTopic) -> usize {
    topic.partitions.iter().map(|partition| partition.replica_nodes.len()).max().unwrap_or(0)
}

fn as_json(topic: &MetadataResponseTopic) -> serde_json::Value {
    json!({
        "name": topic.name,
        "partitions": topic.partitions.len(),
        "replication_factor": replicas(topic),
        "internal": topic.is_internal,
    })
}
