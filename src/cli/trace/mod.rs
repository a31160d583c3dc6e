//! `ottla trace`: all events that belong together, over all topics, as a tree of what followed from what.
//!
//! They are found by what services write into every record: the event's id, its correlation id, what caused it, the
//! saga. Two or three passes over the records since a time: the first finds what has the id that was asked for, the next
//! whatever shares a correlation or a saga with that.

mod event;
mod tree;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::committed::{Committed, partitions_of};
use super::connect::Connect;
use super::ended::Ended;
use super::output::{Output, or_dash, tell};
use super::progress::Progress;
use super::{time, topic};
use crate::client::{Client, NamedPartition, Position};
use event::{Event, Wanted};
use tree::Line;

/// Passes over the records at most: ids that the last one finds are shown, and not followed.
const PASSES_MAX: u32 = 3;
/// Topics of the broker's own, and of what services keep for themselves.
const NOT_READ: [&str; 7] = [
    "__",
    "ottla.state.",
    "ottla.saga.",
    "ottla.park.",
    "ottla.timer.",
    "ottla.seen.",
    "ottla.intent.",
];

/// Show what belongs together, in all topics: who caused what
#[derive(Debug, clap::Args)]
pub(crate) struct Trace {
    /// The id of an event, of a saga, or of the whole (its correlation id)
    id: String,
    /// Read records of this time or later: a span such as 10m ago, or a UTC time
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Only in this topic; may be given several times
    #[arg(long, visible_alias = "topics", value_name = "NAME", value_delimiter = ',')]
    topic: Vec<String>,
    /// Show so many events at most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    connect: Connect,
}

impl Trace {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` if nothing has this id. See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let mut client = self.connect.client().await?;
        let now = client.clock().now().wall;
        let since = time::parse_since(&self.since, now).map_err(Ended::Usage)?;
        let partitions = self.partitions(&mut client).await?;
        let begin = Position::Time(since);
        let mut wanted = Wanted::new(&self.id);
        let mut found = Vec::new();
        for _ in 0..PASSES_MAX {
            found = self.pass(&mut client, &partitions, begin, &wanted).await?;
            if !wanted.follow(&found) {
                break;
            }
        }
        if found.is_empty() {
            let topics = partitions.iter().map(|at| &at.topic).collect::<BTreeSet<_>>().len();
            return Err(Ended::failed(format!(
                "nothing has the id {} in {topics} topics since {}: --since looks further back",
                self.id,
                time::show(since)
            )));
        }
        let lines = tree::lines(found);
        if self.connect.json {
            return out.json(&lines.iter().map(as_json).collect());
        }
        let header = ["TIME", "EVENT", "KEY", "FROM", "AT", "ID"];
        out.table(&header, lines.iter().map(row).collect())
    }

    async fn partitions(&self, client: &mut Client) -> Result<Vec<NamedPartition>, Ended> {
        let is_read = |name: &str| match self.topic.as_slice() {
            [] => !NOT_READ.iter().any(|prefix| name.starts_with(prefix)),
            topics => topics.iter().any(|topic| topic == name),
        };
        let partitions = partitions_of(client, is_read).await?;
        let has = |topic: &&String| partitions.iter().any(|at| at.topic == **topic);
        match self.topic.iter().find(|topic| !has(topic)) {
            Some(missing) => Err(Ended::failed(topic::unknown(missing))),
            None => Ok(partitions),
        }
    }

    /// The events of one pass.
    async fn pass(
        &self,
        client: &mut Client,
        partitions: &[NamedPartition],
        begin: Position,
        wanted: &Wanted,
    ) -> Result<Vec<Event>, Ended> {
        let mut reader = Committed::from(client, partitions, begin).await?;
        let mut progress = Progress::new("reading", None, client.clock());
        let (mut found, mut read) = (Vec::new(), 0_u64);
        let is_all = reader
            .read(client, |stored| {
                read += 1;
                progress.at(read, || format!("{read} records read"));
                found.extend(wanted.event(&stored));
                if found.len() >= self.limit {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .await?;
        drop(progress);
        if !is_all {
            tell(format_args!("there may be more than {} events: --limit shows more", self.limit));
        }
        Ok(found)
    }
}

fn row(line: &Line) -> Vec<String> {
    let event = &line.event;
    let name = if event.name.is_empty() { "(no name)" } else { &event.name };
    let copy = event.copy.as_ref().map(|copy| format!(" ({copy})")).unwrap_or_default();
    let branch = match line.depth {
        0 => String::new(),
        depth => format!("{}└ ", "│ ".repeat(depth - 1)),
    };
    vec![
        time::show(event.time),
        format!("{branch}{name}{copy}"),
        or_dash(event.key.as_ref()),
        or_dash(event.source.as_ref()),
        format!("{}@{}", event.at, event.offset),
        event.id.clone(),
    ]
}

fn as_json(line: &Line) -> Value {
    let event = &line.event;
    json!({
        "depth": line.depth,
        "time": time::show(event.time),
        "topic": event.at.topic.as_ref(),
        "partition": event.at.partition.0,
        "offset": event.offset.0,
        "name": event.name,
        "key": event.key,
        "from": event.source,
        "copy": event.copy,
        "event_id": event.id,
        "causation_id": event.causation_id,
        "correlation_id": event.correlation_id,
        "saga_id": event.saga_id,
    })
}
