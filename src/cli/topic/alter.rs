//! `ottla topic alter`.

use serde_json::json;

use super::{refused, retention, retention_config, unknown};
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::client::{Client, Mode};
use crate::config::load::assignment;
use crate::protocol::ErrorCode;

/// Change the configs of a topic, or raise its partition count
#[derive(Debug, clap::Args)]
pub(super) struct Alter {
    /// Its name
    name: String,
    /// Raise the number of partitions to this; it never falls
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How long records are kept, such as 7d, or forever
    #[arg(long, value_name = "SPAN", value_parser = retention, allow_hyphen_values = true)]
    retention: Option<i64>,
    /// Set a config; may be given several times
    #[arg(long, visible_alias = "config", value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Let a config return to its default; may be given several times
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
}

impl Alter {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let set = self.set.iter().cloned().chain(retention_config(self.retention));
        let mut changes: Vec<_> = set.map(|(name, value)| (name, Some(value))).collect();
        changes.extend(self.unset.iter().map(|name| (name.clone(), None)));
        if changes.is_empty() && self.partitions.is_none() {
            let text = "nothing to change: give --set, --unset, --retention or --partitions";
            return Err(Ended::Usage(text.to_owned()));
        }
        let mut client = connect.client().await?;
        let failed = |error| Ended::failed(refused(&self.name, &error));
        let raised = match self.partitions {
            Some(wanted) => self.raise(&mut client, wanted).await?,
            None => None,
        };
        if !changes.is_empty() {
            let altered = client.alter_topic_configs(&self.name, &changes, Mode::Apply).await;
            altered.map_err(failed)?;
        }
        if connect.json {
            let changes: serde_json::Map<_, _> =
                changes.into_iter().map(|(name, value)| (name, json!(value))).collect();
            return out.json(&json!({
                "name": self.name, "partitions": raised, "configs": changes,
            }));
        }
        if let Some(count) = raised {
            out.line(format_args!("topic {} has {count} partitions now", self.name))?;
        }
        for (name, value) in changes {
            match value {
                Some(value) => out.line(format_args!("{name}={value} is set"))?,
                None => out.line(format_args!("{name} is at its default"))?,
            }
        }
        Ok(())
    }

    /// Raises the partition count; `None` if it is what is wanted already.
    async fn raise(&self, client: &mut Client, wanted: i32) -> Result<Option<i32>, Ended> {
        let name = &self.name;
        let cluster = client.cluster(Some(&[name])).await?;
        let topic = cluster
            .topics
            .first()
            .filter(|topic| !matches!(topic.error_code, ErrorCode::UnknownTopicOrPartition));
        let Some(topic) = topic else { return Err(Ended::failed(unknown(name))) };
        let present = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if wanted < present {
            return Err(Ended::failed(format!(
                "topic {name} has {present} partitions, they cannot be reduced to {wanted}: make \
                 another topic instead"
            )));
        }
        if wanted == present {
            return Ok(None);
        }
        let raised = client.create_partitions(name, wanted).await;
        raised.map_err(|error| Ended::failed(refused(name, &error)))?;
        Ok(Some(wanted))
    }
}
