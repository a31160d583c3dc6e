//! `ottla topic create`.

use serde_json::json;

use super::{refused, retention, retention_config};
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::client::{CreatedTopic, Mode, NewTopic};
use crate::config::load::assignment;
use crate::protocol::ErrorCode;

/// Make topics
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Their names
    #[arg(required = true)]
    names: Vec<String>,
    /// Partitions of each; the broker's default if not given
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Copies of each partition; the broker's default if not given
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// How long records are kept, such as 7d, or forever
    #[arg(long, value_name = "SPAN", value_parser = retention, allow_hyphen_values = true)]
    retention: Option<i64>,
    /// A config such as cleanup.policy=compact; may be given several times
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = assignment)]
    config: Vec<(String, String)>,
    /// Topics that exist already are no error; they stay as they are
    #[arg(long)]
    if_not_exists: bool,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
}

impl Create {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let mode = if self.dry_run { Mode::ValidateOnly } else { Mode::Apply };
        let results = client.create_topics(&self.topics(), mode).await?;
        let (mut made, mut complaints) = (Vec::new(), Vec::new());
        for (name, result) in self.names.iter().zip(results) {
            match result {
                Ok(topic) => made.push(topic),
                Err(error) if self.may_exist() && is_exists(error.code()) => {}
                Err(error) => complaints.push(refused(name, &error)),
            }
        }
        if connect.json {
            out.json(&made.iter().map(as_json).collect())?;
        } else {
            let verb = if self.dry_run { "can be made" } else { "is made" };
            for topic in &made {
                out.line(format_args!("topic {} {verb}{}", topic.name, counts(topic)))?;
            }
        }
        Ended::unless_empty(complaints)
    }

    fn may_exist(&self) -> bool {
        self.if_not_exists
    }

    fn topics(&self) -> Vec<NewTopic> {
        let configs = self.config.iter().cloned().chain(retention_config(self.retention));
        let configs: Vec<_> = configs.collect();
        let topic = |name: &String| NewTopic {
            name: name.clone(),
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            configs: configs.clone(),
        };
        self.names.iter().map(topic).collect()
    }
}

fn is_exists(code: Option<ErrorCode>) -> bool {
    code == Some(ErrorCode::TopicAlreadyExists)
}

fn counts(topic: &CreatedTopic) -> String {
    match (topic.partitions, topic.replication_factor) {
        (Some(partitions), Some(replicas)) => {
            format!(": {partitions} partitions, replication factor {replicas}")
        }
        _ => String::new(),
    }
}

fn as_json(topic: &CreatedTopic) -> serde_json::Value {
    json!({
        "name": topic.name,
        "partitions": topic.partitions,
        "replication_factor": topic.replication_factor,
    })
}
