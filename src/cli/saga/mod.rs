//! `ottla saga`: shows sagas, and lets somebody decide about one that cannot go on.
//!
//! A saga's record lies in the topic `ottla.saga.NAME`, keyed by its id; a decision is a record in
//! `ottla.reply.NAME`, which the saga's own group reads. Nothing else is asked: it works on any cluster that has them.

mod decide;
mod list;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::committed::{Committed, partitions_of, topics_of};
use super::connect::Connect;
use super::ended::Ended;
use super::output::{Output, tell};
use crate::client::cluster::Stored;
use crate::client::{Client, NamedPartition, Position};
use crate::services::saga::{Operation, Phase, Record, Status};
use crate::types::{Offset, Timestamp};

/// What the names of topics of sagas begin with.
const TOPIC: &str = "ottla.saga.";
/// What the name of the topic ends with that keeps who waits for an event.
const WAITS: &str = ".waits";
/// Names that an error tells.
const NAMES_TOLD: usize = 20;

/// What to do with sagas.
#[derive(Debug, clap::Args)]
pub(crate) struct Saga {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    /// Have a saga send again what it waits for
    ///
    /// For one that is stuck, and for any that has not ended.
    Retry(decide::Decide),
    /// Have a saga count as done what it waits for
    Skip(decide::Decide),
    /// End a saga as failed; nothing more is sent, and nothing is undone
    Abandon(decide::Decide),
}

impl Saga {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let Self { command, connect } = self;
        match command {
            Command::List(list) => list.run(&connect, out).await,
            Command::Show(show) => show.run(&connect, out).await,
            Command::Retry(decide) => decide.run(Operation::Retry, &connect, out).await,
            Command::Skip(decide) => decide.run(Operation::Skip, &connect, out).await,
            Command::Abandon(decide) => decide.run(Operation::Abandon, &connect, out).await,
        }
    }
}

/// How many sagas of this name wait for somebody to decide; none where there is no such saga.
///
/// # Errors
/// The cluster's.
pub(crate) async fn stuck(client: &mut Client, saga: &str) -> Result<usize, Ended> {
    let topic = format!("{TOPIC}{saga}");
    let partitions = partitions_of(client, |name| name == topic).await?;
    let mut reader = Committed::from(client, &partitions, Position::Start).await?;
    let mut stuck = BTreeSet::new();
    reader
        .read(client, |stored| {
            let is_stuck = found(&stored).is_some_and(|it| it.record.status == Status::Stuck);
            match (is_stuck, stored.key) {
                (true, key) => stuck.insert(key),
                (false, key) => stuck.remove(&key),
            };
            ControlFlow::Continue(())
        })
        .await?;
    Ok(stuck.len())
}

/// A saga as its topic has it last.
#[derive(Clone, Debug)]
struct Found {
    record: Record,
    /// Where that lies.
    partition: NamedPartition,
    offset: Offset,
    /// When it was written.
    changed_at: Timestamp,
}

/// The partitions of the sagas of this name, or of all.
async fn partitions(client: &mut Client, saga: Option<&str>) -> Result<Vec<NamedPartition>, Ended> {
    let mut found = partitions_of(client, |name| name.starts_with(TOPIC)).await?;
    let names: Vec<String> = topics_of(&found).into_iter().map(str::to_owned).collect();
    let keeps_waits = |topic: &str| {
        topic.strip_suffix(WAITS).is_some_and(|saga| names.iter().any(|name| name == saga))
    };
    found.retain(|at| !keeps_waits(&at.topic));
    let Some(saga) = saga else { return Ok(found) };
    let there: Vec<String> = topics_of(&found).into_iter().map(name_of).collect();
    if !there.iter().any(|name| name == saga) {
        return Err(Ended::failed(match there.as_slice() {
            [] => format!("no saga is called {saga}: this cluster has none, no topic {TOPIC}NAME"),
            names => format!("no saga is called {saga}: there are {}", some(names)),
        }));
    }
    found.retain(|at| name_of(&at.topic) == saga);
    Ok(found)
}

/// The saga whose topic this is.
fn name_of(topic: &str) -> String {
    topic.strip_prefix(TOPIC).unwrap_or(topic).to_owned()
}

/// Some of these names, in one line.
fn some(names: &[String]) -> String {
    let told = names.iter().take(NAMES_TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

/// The saga of a record; none for a tombstone, and for what is none, which is told of.
fn found(stored: &Stored) -> Option<Found> {
    let value = stored.value.as_deref()?;
    let partition =
        NamedPartition { topic: stored.at.topic.to_string(), partition: stored.at.partition };
    match Record::decode(value) {
        Ok(record) => {
            let (offset, changed_at) = (stored.offset, stored.timestamp);
            Some(Found { record, partition, offset, changed_at })
        }
        Err(error) => {
            tell(format_args!("{partition}@{}: {error}", stored.offset));
            None
        }
    }
}

/// The saga with this id, and the reader that found it, which goes on behind it.
async fn find(
    client: &mut Client,
    saga: Option<&str>,
    id: &str,
) -> Result<(Found, Committed), Ended> {
    let partitions = partitions(client, saga).await?;
    let mut reader = Committed::from(client, &partitions, Position::Start).await?;
    let mut there = BTreeMap::new();
    let mut count = 0_u64;
    reader
        .read(client, |stored| {
            if stored.key.as_deref() != Some(id.as_bytes()) {
                count += 1;
                return ControlFlow::Continue(());
            }
            let topic = stored.at.topic.to_string();
            match found(&stored) {
                Some(found) => there.insert(topic, found),
                None => there.remove(&topic),
            };
            ControlFlow::Continue(())
        })
        .await?;
    let names: Vec<String> = there.keys().map(|topic| name_of(topic)).collect();
    if names.len() > 1 {
        let names = names.join(", ");
        let text = format!("several sagas have the id {id}: say which with --saga: {names}");
        return Err(Ended::Usage(text));
    }
    match there.into_values().next() {
        Some(found) => Ok((found, reader)),
        None => {
            let names: Vec<String> = topics_of(&partitions).into_iter().map(name_of).collect();
            Err(Ended::failed(unknown(id, &names, count)))
        }
    }
}

fn unknown(id: &str, names: &[String], count: u64) -> String {
    match names {
        [] => format!("no saga has the id {id}: this cluster has none, no topic {TOPIC}NAME"),
        _ if count == 0 => format!("no saga has the id {id}: there is none of {}", some(names)),
        names => format!(
            "no saga has the id {id}: `ottla saga list` shows those of {} that there are",
            some(names)
        ),
    }
}

/// Where a saga stands, in a few words.
fn standing(record: &Record) -> String {
    let mut text = record.status.name().to_owned();
    if let Some(step) = record.step.as_ref().filter(|_| !record.status.is_end()) {
        let direction = match record.phase {
            Phase::Run => "at step",
            Phase::Undo => "undoing step",
        };
        text.push_str(&format!(", {direction} {step}"));
    }
    if let Some(reason) = reason(record) {
        text.push_str(&format!(": {reason}"));
    }
    text
}

/// Why it stands there, if not because all goes well.
fn reason(record: &Record) -> Option<&str> {
    // What it was stuck for is of no interest any more once that was decided.
    let stuck = record.stuck_because.as_deref().filter(|_| record.status == Status::Stuck);
    stuck.or(record.reason.as_deref())
}
