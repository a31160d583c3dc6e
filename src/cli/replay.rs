//! `ottla replay`: gives a group of services again what it has handled (see [`crate::services::replay`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use serde_json::json;

use super::committed::{Committed, partitions_of};
use super::conditions::{Condition, all_hold};
use super::connect::Connect;
use super::ended::{Ended, explained};
use super::output::{Output, tell};
use super::progress::Progress;
use super::rate::{Pace, Rate};
use super::time;
use crate::client::cluster::{Stored, ToSend};
use crate::client::{Client, NamedPartition, Position, subscribed};
use crate::services::envelope;
use crate::services::replay::{Replay as Copies, retry_topic};
use crate::types::{Offset, PartitionIndex, Timestamp};

/// Records that are read before they are sent, and their bytes.
const CHUNK: usize = 500;
const CHUNK_BYTES: usize = 8 << 20;
/// What `--where` can ask for.
const FIELDS: [&str; 6] = ["topic", "partition", "key", "name", "event-id", "correlation-id"];

/// Give a group of services again what it has handled since a time, and no other group
///
/// Records that it has not handled yet are left out: they come anyway. Those of one topic keep their order. Each is
/// handled once even if this command is started again under the same --name, where the handler has `dedup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The consumer group
    #[arg(long, short)]
    group: String,
    /// Records of this time or later: a span such as 10m ago, or a UTC time
    #[arg(long, value_name = "TIME")]
    since: String,
    /// And before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only of this topic; may be given several times
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// Only those of which it holds: name=OrderCreated, key=o-1, /total=5; all, if given several times
    #[arg(long = "where", value_name = "CONDITION",
          value_parser = |text: &str| Condition::parse(text, &FIELDS))]
    conditions: Vec<Condition>,
    /// Do nothing outside: effects are looked up, and where that finds nothing the record is a dead letter
    #[arg(long)]
    no_effects: bool,
    /// The replay's name: the same one again goes on with the same replay
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// At most so many, such as 50/s or 100/m
    #[arg(long, value_name = "NUMBER/UNIT", value_parser = Rate::parse)]
    rate: Option<Rate>,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: Connect,
}

/// What is replayed, and where it goes.
struct Plan {
    reader: Committed,
    ends: HashMap<NamedPartition, Offset>,
    retry_partitions: i32,
}

impl Replay {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let mut client = self.connect.client().await?;
        let now = client.clock().now().wall;
        let parse = |text: &String| time::parse_since(text, now).map_err(Ended::Usage);
        let since = parse(&self.since)?;
        let until = self.until.as_ref().map(parse).transpose()?;
        let name = self.name.clone().unwrap_or_else(|| time::show(now));
        let mut plan = self.plan(&mut client, since, until).await?;
        let mut counts = BTreeMap::new();
        let outcome = self.copy(&mut client, &mut plan, &name, &mut counts).await;
        self.print(&name, &counts, out)?;
        if outcome.is_err() {
            tell(format_args!("the same with --name {name} goes on with what is left"));
        }
        outcome
    }

    async fn plan(
        &self,
        client: &mut Client,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Plan, Ended> {
        let group = &self.group;
        let committed = client.committed(group).await?;
        let topics = self.topics(client, &committed).await?;
        let retry = retry_topic(group);
        let there = partitions_of(client, |name| name == retry).await?;
        let retry_partitions = there.last().map_or(0, |at| at.partition.0.saturating_add(1));
        if retry_partitions == 0 {
            return Err(Ended::failed(format!(
                "there is no topic {retry}, by which group {group} would get them: ottla's services make it when they \
                 start, other groups do not read it; `ottla group reset` sets their offsets back"
            )));
        }
        let partitions = partitions_of(client, |name| topics.contains(name)).await?;
        let mut ends = match until {
            Some(until) => client.offsets(&partitions, Position::Time(until)).await?,
            None => client.offsets(&partitions, Position::StableEnd).await?,
        };
        for (at, end) in &mut ends {
            // What it has not handled comes anyway.
            *end = (*end).min(committed.get(at).copied().unwrap_or_default());
        }
        let reader = Committed::from(client, &partitions, Position::Time(since)).await?;
        Ok(Plan { reader, ends, retry_partitions })
    }

    /// The topics that the group reads and that are wanted.
    async fn topics(
        &self,
        client: &mut Client,
        committed: &BTreeMap<NamedPartition, Offset>,
    ) -> Result<BTreeSet<String>, Ended> {
        let group = &self.group;
        let described = client.describe_group(group).await?;
        let members = described.map(|group| group.members).unwrap_or_default();
        let subscribed = members.into_iter().filter_map(|it| subscribed(it.member_metadata).ok());
        let mut topics: BTreeSet<String> = subscribed.flatten().collect();
        topics.extend(committed.keys().map(|at| at.topic.clone()));
        if topics.is_empty() {
            let text = format!(
                "group {group} does not exist, or has read nothing: `ottla group list` shows those there are"
            );
            return Err(Ended::failed(text));
        }
        // Its own: what lies there comes from the others.
        let (retry, by) = (retry_topic(group), format!("ottla.by.{group}."));
        topics.retain(|topic| *topic != retry && !topic.starts_with(&by));
        if let Some(foreign) = self.topic.iter().find(|topic| !topics.contains(*topic)) {
            let there: Vec<_> = topics.into_iter().collect();
            let text = format!(
                "group {group} does not read topic {foreign}: it reads {}",
                there.join(", ")
            );
            return Err(Ended::failed(text));
        }
        topics.retain(|topic| self.topic.is_empty() || self.topic.contains(topic));
        Ok(topics)
    }

    async fn copy(
        &self,
        client: &mut Client,
        plan: &mut Plan,
        name: &str,
        counts: &mut BTreeMap<String, u64>,
    ) -> Result<(), Ended> {
        let copies = Copies::new(&self.group, name);
        let copies = if self.no_effects { copies.without_effects() } else { copies };
        let mut writer = None;
        let mut pace = Pace::new(self.rate, client.clock());
        let mut progress = Progress::new("copying", None, client.clock());
        loop {
            let (chunk, is_done) = self.chunk(client, plan).await?;
            for part in chunk.chunks(pace.at_once()) {
                let records: Vec<_> = part.iter().map(|stored| copies.record(stored)).collect();
                self.check(&records, plan.retry_partitions)?;
                if !self.dry_run {
                    if writer.is_none() {
                        let id = format!("ottla-replay-{}", self.group);
                        let timeout_ms = self.connect.timeout_ms();
                        writer = Some(client.transaction_writer(&id, timeout_ms).await?);
                    }
                    pace.wait(part.len()).await;
                    if let Some(writer) = &mut writer {
                        let sent = client.commit_records(writer, &records).await;
                        sent.map_err(|error| Ended::failed(explained(&error)))?;
                    }
                }
                for stored in part {
                    *counts.entry(stored.at.topic.to_string()).or_default() += 1;
                }
                let total = counts.values().sum();
                progress.at(total, || format!("{total} records"));
            }
            if is_done {
                return Ok(());
            }
        }
    }

    /// The next records that are wanted, and whether they are the last.
    async fn chunk(
        &self,
        client: &mut Client,
        plan: &mut Plan,
    ) -> Result<(Vec<Stored>, bool), Ended> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let is_done = plan
            .reader
            .read_to(client, &plan.ends, |stored| {
                if self.wants(&stored) {
                    bytes += stored.value.as_ref().map_or(0, bytes::Bytes::len);
                    chunk.push(stored);
                }
                if chunk.len() >= CHUNK || bytes >= CHUNK_BYTES {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .await?;
        Ok((chunk, is_done))
    }

    fn wants(&self, stored: &Stored) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        let read = envelope::read(stored, None).ok();
        let said = |name: &str| {
            let read = read.as_ref()?;
            match name {
                "name" => Some(read.name.to_string()),
                "event-id" => Some(read.event_id.to_string()),
                "correlation-id" => Some(read.correlation_id.to_string()),
                _ => None,
            }
        };
        let field = |name: &str| match name {
            "topic" => Some(stored.at.topic.to_string()),
            "partition" => Some(stored.at.partition.to_string()),
            "key" => stored.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
            name => said(name),
        };
        let event = || match &read {
            Some(read) => Some(read.body.clone()),
            None => serde_json::from_slice(stored.value.as_deref()?).ok(),
        };
        all_hold(&self.conditions, field, event)
    }

    fn check(&self, records: &[ToSend], partitions: i32) -> Result<(), Ended> {
        let outside = |it: &PartitionIndex| it.0 >= partitions;
        let found = records.iter().filter_map(|record| record.partition).find(outside);
        let Some(partition) = found else { return Ok(()) };
        let (retry, group) = (retry_topic(&self.group), &self.group);
        Err(Ended::failed(format!(
            "{retry} has no partition {partition}, where a record came from: it has {partitions}; start the service of \
             group {group}, which adds it"
        )))
    }

    fn print(
        &self,
        name: &str,
        counts: &BTreeMap<String, u64>,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let total: u64 = counts.values().sum();
        if self.connect.json {
            return out.json(&json!({
                "group": self.group,
                "name": name,
                "records": total,
                "topics": counts,
                "effects": !self.no_effects,
                "dry_run": self.dry_run,
            }));
        }
        if total > 0 {
            let row = |(topic, count): (&String, &u64)| vec![topic.clone(), count.to_string()];
            out.table(&["TOPIC", "RECORDS"], counts.iter().map(row).collect())?;
        }
        let (is, effects) = (
            if self.dry_run { "would be" } else { "are" },
            if self.no_effects { ", without effects" } else { "" },
        );
        let group = &self.group;
        out.line(format_args!(
            "{total} records {is} given to group {group} again{effects}, as replay {name}"
        ))
    }
}
