//! The entries of a group's dead letters that nobody has decided about yet.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::cli::committed::{Committed, partitions_of, topics_of};
use crate::cli::conditions::{Condition, all_hold};
use crate::cli::ended::Ended;
use crate::cli::output::tell;
use crate::client::cluster::Stored;
use crate::client::{Client, NamedPartition, Position};
use crate::services::dlq::{self, DeadLetter, Decision, Entry};
use crate::services::envelope;
use crate::types::{Offset, Timestamp};

/// What the name of a topic of dead letters ends with.
pub(super) const TOPIC: &str = ".dlq";
/// Entries that are handed over at a time, and their bytes.
const CHUNK: usize = 500;
const CHUNK_BYTES: usize = 8 << 20;
/// What `--where` can ask for.
const FIELDS: [&str; 9] =
    ["reason", "class", "topic", "partition", "key", "event-id", "message", "attempts", "redrives"];

/// Which entries are meant.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Which {
    /// Only these: PARTITION@OFFSET as `ottla dlq list` shows it, or the id of the event
    #[arg(value_name = "ENTRY")]
    pub(super) entries: Vec<String>,
    /// Only those of which it holds: reason=timeout, class!=permanent, message*=refused, /total=5; all, if given
    /// several times
    #[arg(long = "where", value_name = "CONDITION",
          value_parser = |text: &str| Condition::parse(text, &FIELDS))]
    pub(super) conditions: Vec<Condition>,
}

impl Which {
    /// Whether nothing is said.
    pub(super) fn is_any(&self) -> bool {
        self.entries.is_empty() && self.conditions.is_empty()
    }

    pub(super) fn has(&self, letter: &DeadLetter) -> bool {
        let is_named = self.entries.is_empty() || self.entries.iter().any(|it| names(it, letter));
        is_named && all_hold(&self.conditions, |field| field_of(letter, field), || event(letter))
    }
}

/// Whether a text names an entry.
pub(super) fn names(text: &str, letter: &DeadLetter) -> bool {
    text == letter.event_id || Entry::parse(text) == Some(letter.entry)
}

fn field_of(letter: &DeadLetter, field: &str) -> Option<String> {
    match field {
        "reason" => Some(letter.reason.clone()),
        "class" => letter.class.map(|class| class.name().to_owned()),
        "topic" => Some(letter.at.topic.to_string()),
        "partition" => Some(letter.at.partition.to_string()),
        "key" => letter.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
        "event-id" => Some(letter.event_id.clone()),
        "message" => Some(letter.message.clone()),
        "attempts" => Some(letter.tried.to_string()),
        "redrives" => Some(letter.redrives.to_string()),
        _ => None,
    }
}

/// The event in it, if it is one.
fn event(letter: &DeadLetter) -> Option<serde_json::Value> {
    let stored = Stored {
        at: letter.at.clone(),
        offset: letter.offset,
        timestamp: letter.died_at,
        key: letter.key.clone(),
        value: letter.value.clone(),
        headers: letter.headers.clone(),
    };
    match envelope::read(&stored, None) {
        Ok(read) => Some(read.body),
        Err(_) => serde_json::from_slice(letter.value.as_deref()?).ok(),
    }
}

/// A reader of the entries of a group.
pub(super) struct Letters {
    group: String,
    pub(super) topic: String,
    reader: Committed,
    /// Up to here what is decided is known.
    ends: HashMap<NamedPartition, Offset>,
    decided: HashMap<Entry, (String, Decision)>,
    /// What was decided about older ones may not be there any more.
    oldest: Timestamp,
}

impl Letters {
    /// The entries of a group, in `GROUP.dlq` or in the topic that is given. What is decided is read here and now.
    ///
    /// # Errors
    /// `Failed` for a group that has no such topic, or the cluster's.
    pub(super) async fn open(
        client: &mut Client,
        group: &str,
        topic: Option<&str>,
    ) -> Result<Self, Ended> {
        let topic = topic.map_or_else(|| format!("{group}{TOPIC}"), str::to_owned);
        let partitions = partitions_of(client, |name| name == topic).await?;
        if partitions.is_empty() {
            return Err(Ended::failed(unknown(client, group, &topic).await?));
        }
        let reader = Committed::from(client, &partitions, Position::Start).await?;
        // First these: an entry that comes after them is none of what is decided.
        let ends = client.offsets(&partitions, Position::StableEnd).await?;
        let retry = format!("{group}.retry");
        let retry = partitions_of(client, |name| name == retry).await?;
        let mut decisions = Committed::from(client, &retry, Position::Start).await?;
        let mut decided = HashMap::new();
        decisions
            .read(client, |stored| {
                if let Some((entry, decision)) = dlq::decided(&stored) {
                    let id = envelope::headers::text(&stored.headers, envelope::headers::EVENT_ID);
                    decided.insert(entry, (id.unwrap_or_default().to_owned(), decision));
                }
                ControlFlow::Continue(())
            })
            .await?;
        let oldest = oldest(client, retry.first()).await?;
        Ok(Self { group: group.to_owned(), topic, reader, ends, decided, oldest })
    }

    /// What was decided about an entry.
    pub(super) fn decision(&self, letter: &DeadLetter) -> Option<Decision> {
        let (event_id, decision) = self.decided.get(&letter.entry)?;
        // A topic that was made anew counts its offsets anew.
        (*event_id == letter.event_id).then_some(*decision)
    }

    /// Reads all entries that are not decided about.
    ///
    /// # Errors
    /// The cluster's.
    pub(super) async fn each(
        &mut self,
        client: &mut Client,
        mut each: impl FnMut(DeadLetter),
    ) -> Result<(), Ended> {
        loop {
            let chunk = self.chunk(client, |_| true).await?;
            if chunk.is_empty() {
                return Ok(());
            }
            chunk.into_iter().for_each(&mut each);
        }
    }

    /// The next entries that are wanted and not decided about; none any more if there is none.
    ///
    /// # Errors
    /// The cluster's.
    pub(super) async fn chunk(
        &mut self,
        client: &mut Client,
        is_wanted: impl Fn(&DeadLetter) -> bool,
    ) -> Result<Vec<DeadLetter>, Ended> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        let mut reader = std::mem::take(&mut self.reader);
        let outcome = reader
            .read_to(client, &self.ends, |stored| {
                if let Some(letter) = self.letter(&stored)
                    && self.decision(&letter).is_none()
                    && is_wanted(&letter)
                {
                    bytes += stored.value.map_or(0, |value| value.len());
                    chunk.push(letter);
                }
                if chunk.len() >= CHUNK || bytes >= CHUNK_BYTES {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .await;
        self.reader = reader;
        outcome.map(|_| chunk)
    }

    /// The entry that a text names, decided about or not.
    ///
    /// # Errors
    /// `Failed` if there is none, or the cluster's.
    pub(super) async fn one(
        &mut self,
        client: &mut Client,
        text: &str,
    ) -> Result<DeadLetter, Ended> {
        let mut found = None;
        let mut reader = std::mem::take(&mut self.reader);
        let outcome = reader
            .read_to(client, &self.ends, |stored| {
                let letter = self.letter(&stored).filter(|letter| names(text, letter));
                // An event may have died several times: the last counts.
                found = letter.or(found.take());
                ControlFlow::Continue(())
            })
            .await;
        self.reader = reader;
        outcome?;
        let (group, topic) = (&self.group, &self.topic);
        found.ok_or_else(|| {
            let all = format!("`ottla dlq list {group}` shows those that there are");
            Ended::failed(format!("{topic} has no entry {text}, nor one of an event {text}: {all}"))
        })
    }

    /// An entry of this group's that is young enough; what is none is told of.
    fn letter(&self, stored: &Stored) -> Option<DeadLetter> {
        match dlq::parse(stored) {
            Ok(letter) if letter.group == self.group => {
                Some(letter).filter(|letter| letter.died_at >= self.oldest)
            }
            Ok(_) => None,
            Err(error) => {
                tell(error);
                None
            }
        }
    }
}

/// The time before which records of this partition's topic may have been deleted.
async fn oldest(client: &mut Client, at: Option<&NamedPartition>) -> Result<Timestamp, Ended> {
    let Some(at) = at else { return Ok(Timestamp(i64::MIN)) };
    let configs = client.topic_configs(&at.topic).await?;
    let retention = configs.iter().find(|config| config.name == "retention.ms");
    let retention = retention.and_then(|config| config.value.as_deref()?.parse::<i64>().ok());
    let now = client.clock().now().wall;
    let oldest = retention.filter(|ms| *ms >= 0).map(|ms| now.0.saturating_sub(ms));
    Ok(Timestamp(oldest.unwrap_or(i64::MIN)))
}

async fn unknown(client: &mut Client, group: &str, topic: &str) -> Result<String, Ended> {
    let there = partitions_of(client, |name| name.ends_with(TOPIC)).await?;
    let names: Vec<&str> =
        topics_of(&there).into_iter().filter_map(|name| name.strip_suffix(TOPIC)).collect();
    Ok(match names.as_slice() {
        [] => format!(
            "group {group} has no dead letters, there is no topic {topic}, nor any other {TOPIC}"
        ),
        names => format!(
            "group {group} has no dead letters, there is no topic {topic}: there are those of {}",
            names.join(", ")
        ),
    })
}
