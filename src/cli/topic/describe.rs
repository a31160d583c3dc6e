//! `ottla topic describe`.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::refused;
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash};
use crate::client::{Client, ClientError, NamedPartition, Position};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_configs::DescribeConfigsResourceResult;
use crate::protocol::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use crate::types::{Offset, TopicId};

/// Show partitions, offsets and configs of topics
#[derive(Debug, clap::Args)]
pub(super) struct Describe {
    /// Their names
    #[arg(required = true)]
    names: Vec<String>,
    /// Also the configs that are at their defaults
    #[arg(long)]
    all_configs: bool,
}

/// All that is shown of one topic.
struct Description {
    name: String,
    topic: MetadataResponseTopic,
    starts: HashMap<NamedPartition, Offset>,
    ends: HashMap<NamedPartition, Offset>,
    configs: Vec<DescribeConfigsResourceResult>,
}

impl Describe {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let (mut described, mut complaints) = (Vec::new(), Vec::new());
        for name in &self.names {
            match self.one(&mut client, name).await {
                Ok(description) => described.push(description),
                Err(error) => complaints.push(refused(name, &error)),
            }
        }
        if connect.json {
            out.json(&described.iter().map(Description::as_json).collect())?;
        } else {
            for (place, description) in described.iter().enumerate() {
                if place > 0 {
                    out.line("")?;
                }
                description.print(out)?;
            }
        }
        Ended::unless_empty(complaints)
    }

    async fn one(&self, client: &mut Client, name: &str) -> Result<Description, ClientError> {
        let topic = client.cluster(Some(&[name])).await?.topics.into_iter().next();
        let topic = topic.unwrap_or_else(|| MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicOrPartition,
            ..MetadataResponseTopic::default()
        });
        ClientError::check(|| format!("topic {name}"), topic.error_code, None)?;
        // Without a leader nobody knows the offsets; the rest is worth showing.
        let led = topic.partitions.iter().filter(|partition| partition.leader_id >= 0);
        let led: Vec<_> =
            led.map(|partition| NamedPartition::new(name, partition.partition_index)).collect();
        let starts = client.offsets(&led, Position::Start).await?;
        let ends = client.offsets(&led, Position::End).await?;
        let mut configs = client.topic_configs(name).await?;
        configs.retain(|config| self.all_configs || is_own(config));
        Ok(Description { name: name.to_owned(), topic, starts, ends, configs })
    }
}

/// Whether a config was set for this topic (source 1).
fn is_own(config: &DescribeConfigsResourceResult) -> bool {
    config.config_source == 1
}

impl Description {
    fn print(&self, out: &mut Output) -> Result<(), Ended> {
        let mut partitions: Vec<_> = self.topic.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        let records: i64 = partitions.iter().filter_map(|it| self.span(it)).sum();
        let count = partitions.len();
        out.line(format_args!("topic {}: {count} partitions, {records} offsets", self.name))?;
        if !self.topic.topic_id.is_nil() {
            out.line(format_args!("id {}", TopicId(self.topic.topic_id)))?;
        }
        for config in &self.configs {
            out.line(format_args!("config {}={}", config.name, or_dash(config.value.as_ref())))?;
        }
        let row = |partition: &MetadataResponsePartition| {
            vec![
                partition.partition_index.to_string(),
                or_dash(Some(partition.leader_id).filter(|node| *node >= 0)),
                list(&partition.replica_nodes),
                list(&partition.isr_nodes),
                or_dash(self.starts.get(&self.named(partition))),
                or_dash(self.ends.get(&self.named(partition))),
            ]
        };
        let header = ["PARTITION", "LEADER", "REPLICAS", "IN-SYNC", "START", "END"];
        out.table(&header, partitions.into_iter().map(row).collect())
    }

    fn named(&self, partition: &MetadataResponsePartition) -> NamedPartition {
        NamedPartition::new(&self.name, partition.partition_index)
    }

    /// Offsets between start and end.
    fn span(&self, partition: &MetadataResponsePartition) -> Option<i64> {
        let named = self.named(partition);
        Some(self.ends.get(&named)?.0 - self.starts.get(&named)?.0)
    }

    fn as_json(&self) -> Value {
        let partition = |partition: &MetadataResponsePartition| {
            json!({
                "partition": partition.partition_index,
                "leader": Some(partition.leader_id).filter(|node| *node >= 0),
                "leader_epoch": partition.leader_epoch,
                "replicas": partition.replica_nodes,
                "in_sync_replicas": partition.isr_nodes,
                "start_offset": self.starts.get(&self.named(partition)).map(|offset| offset.0),
                "end_offset": self.ends.get(&self.named(partition)).map(|offset| offset.0),
            })
        };
        let config = |config: &DescribeConfigsResourceResult| {
            (config.name.clone(), config.value.clone().map_or(Value::Null, Value::String))
        };
        json!({
            "name": self.name,
            "id": Some(TopicId(self.topic.topic_id).to_string())
                .filter(|_| !self.topic.topic_id.is_nil()),
            "internal": self.topic.is_internal,
            "partitions": self.topic.partitions.iter().map(partition).collect::<Vec<_>>(),
            "configs": self.configs.iter().map(config).collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn list(nodes: &[i32]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
