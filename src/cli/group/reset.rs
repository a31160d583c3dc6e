//! `ottla group reset`.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::{refused, unknown};
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash};
use crate::cli::{partitions, time};
use crate::client::{Client, ClientError, Committer, NamedPartition, Position};
use crate::types::Offset;

/// Set the offsets of a group that has no members
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("to").required(true))]
pub(super) struct Reset {
    /// Its name; a group that does not exist is made if --topic is given
    group: String,
    /// Only this topic, or TOPIC:PARTITION; may be given several times
    ///
    /// Not given, it is every topic that the group has offsets of.
    #[arg(long, value_name = "TOPIC[:PARTITION]")]
    topic: Vec<String>,
    /// To the first record there is
    #[arg(long, group = "to")]
    to_earliest: bool,
    /// To the end: only new records will be read
    #[arg(long, group = "to")]
    to_latest: bool,
    /// To this offset, or the nearest one that there is
    #[arg(long, group = "to", value_name = "OFFSET",
          value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record of this time or later: a span such as 10m ago, or a UTC time
    #[arg(long, group = "to", value_name = "TIME")]
    since: Option<String>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

type Offsets = BTreeMap<NamedPartition, Offset>;

impl Reset {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let now = client.clock().now().wall;
        let since = self.since.as_deref().map(|text| time::parse_since(text, now));
        let since = since.transpose().map_err(Ended::Usage)?;
        let failed = |error: ClientError| Ended::failed(refused(&self.group, &error));
        let exists = self.check_empty(&mut client).await?;
        let before = client.committed(&self.group).await.map_err(failed)?;
        if before.is_empty() && self.topic.is_empty() {
            return Err(Ended::failed(if exists {
                format!("group {} has no offsets: name topics with --topic", self.group)
            } else {
                unknown(&self.group)
            }));
        }
        let partitions = self.partitions(&mut client, &before).await?;
        let position = match since {
            Some(time) => Position::Time(time),
            None if self.to_earliest => Position::Start,
            None => Position::End,
        };
        let after = self.target(&mut client, &partitions, position).await?;
        if !self.dry_run {
            let by = Committer::outside();
            client.commit(&self.group, &by, &after).await.map_err(failed)?;
        }
        self.print(connect, out, &before, &after)
    }

    /// Whether there is such a group.
    async fn check_empty(&self, client: &mut Client) -> Result<bool, Ended> {
        let found = client.describe_group(&self.group).await?;
        let members = found.as_ref().map_or(0, |found| found.members.len());
        if members > 0 {
            return Err(Ended::failed(format!(
                "group {} has {members} members, who would overwrite the offsets: stop them first",
                self.group
            )));
        }
        Ok(found.is_some())
    }

    /// The partitions asked for: by name, or all that have offsets.
    async fn partitions(
        &self,
        client: &mut Client,
        before: &Offsets,
    ) -> Result<Vec<NamedPartition>, Ended> {
        if self.topic.is_empty() {
            return Ok(before.keys().cloned().collect());
        }
        partitions::named(client, &self.topic).await
    }

    async fn target(
        &self,
        client: &mut Client,
        partitions: &[NamedPartition],
        position: Position,
    ) -> Result<Offsets, Ended> {
        let Some(wanted) = self.to_offset else {
            return Ok(client.offsets(partitions, position).await?.into_iter().collect());
        };
        let starts: HashMap<_, _> = client.offsets(partitions, Position::Start).await?;
        let ends = client.offsets(partitions, Position::End).await?;
        let clamp = |(partition, end): (NamedPartition, Offset)| {
            let start = starts.get(&partition).copied().unwrap_or_default();
            (partition, Offset(wanted).clamp(start, end.max(start)))
        };
        Ok(ends.into_iter().map(clamp).collect())
    }

    fn print(
        &self,
        connect: &Connect,
        out: &mut Output,
        before: &Offsets,
        after: &Offsets,
    ) -> Result<(), Ended> {
        if connect.json {
            let change = |(partition, offset): (&NamedPartition, &Offset)| {
                json!({
                    "topic": partition.topic,
                    "partition": partition.partition.0,
                    "before": before.get(partition).map(|offset| offset.0),
                    "after": offset.0,
                })
            };
            return out.json(&json!({
                "group": self.group,
                "applied": !self.dry_run,
                "offsets": after.iter().map(change).collect::<Vec<_>>(),
            }));
        }
        let row = |(partition, offset): (&NamedPartition, &Offset)| {
            vec![
                partition.topic.clone(),
                partition.partition.to_string(),
                or_dash(before.get(partition)),
                offset.to_string(),
            ]
        };
        let header = ["TOPIC", "PARTITION", "BEFORE", "AFTER"];
        out.table(&header, after.iter().map(row).collect())?;
        if self.dry_run {
            out.line("nothing was changed: --dry-run")?;
        }
        Ok(())
    }
}
