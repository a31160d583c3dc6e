//! `ottla dlq list`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::letters::{Letters, TOPIC, Which};
use crate::cli::committed::{partitions_of, topics_of};
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash, tell};
use crate::cli::time;
use crate::client::Client;
use crate::services::dlq::DeadLetter;
use crate::types::Timestamp;

/// Characters of a message in a line.
const MESSAGE_MAX: usize = 80;

/// List what the handlers of a group gave up, by reason; without a group, of which there is any
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The consumer group
    group: Option<String>,
    /// The topic of its dead letters, where it is not GROUP.dlq
    #[arg(long, value_name = "NAME", requires = "group")]
    topic: Option<String>,
    /// Show so many entries, the last ones
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    which: Which,
}

/// Entries that died of the same.
struct Kind {
    class: &'static str,
    count: usize,
    first: Timestamp,
    last: Timestamp,
}

/// All that is to be told of a group.
#[derive(Default)]
struct Listing {
    count: usize,
    kinds: BTreeMap<String, Kind>,
    last: VecDeque<DeadLetter>,
}

impl Listing {
    fn add(&mut self, letter: DeadLetter, limit: usize) {
        self.count += 1;
        let class = letter.class.map_or("-", crate::services::Class::name);
        let died = letter.died_at;
        let new = || Kind { class, count: 0, first: died, last: died };
        let kind = self.kinds.entry(letter.reason.clone()).or_insert_with(new);
        kind.count += 1;
        kind.first = kind.first.min(died);
        kind.last = kind.last.max(died);
        let place = self.last.partition_point(|other| other.died_at <= died);
        self.last.insert(place, letter);
        if self.last.len() > limit {
            self.last.pop_front();
        }
    }

    fn reasons(&self) -> String {
        let mut all: Vec<_> = self.kinds.iter().map(|(name, kind)| (kind.count, name)).collect();
        all.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
        all.iter().map(|(count, name)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

impl List {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let Some(group) = &self.group else { return groups(&mut client, connect, out).await };
        let mut letters = Letters::open(&mut client, group, self.topic.as_deref()).await?;
        let mut listing = Listing::default();
        letters
            .each(&mut client, |letter| {
                if self.which.has(&letter) {
                    listing.add(letter, self.limit);
                }
            })
            .await?;
        if connect.json {
            return out.json(&as_json(group, &letters.topic, &listing));
        }
        let count = super::letters(listing.count);
        out.line(format_args!("group {group}: {count} in {}", letters.topic))?;
        if listing.count == 0 {
            return Ok(());
        }
        out.line("")?;
        let header = ["REASON", "CLASS", "COUNT", "FIRST", "LAST"];
        out.table(&header, listing.kinds.iter().map(kind_row).collect())?;
        out.line("")?;
        let header = ["ENTRY", "REASON", "KEY", "FIRST FAILED", "ATTEMPTS", "EVENT", "MESSAGE"];
        out.table(&header, listing.last.iter().map(letter_row).collect())?;
        if listing.count > listing.last.len() {
            let shown = listing.last.len();
            tell(format_args!("the last {shown} of {}: --limit shows more", listing.count));
        }
        Ok(())
    }
}

/// A line for each group that has dead letters.
async fn groups(client: &mut Client, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
    let partitions = partitions_of(client, |name| name.ends_with(TOPIC)).await?;
    let names: BTreeSet<_> =
        topics_of(&partitions).into_iter().filter_map(|name| name.strip_suffix(TOPIC)).collect();
    let mut rows = Vec::new();
    for group in names {
        let mut letters = Letters::open(client, group, None).await?;
        let mut listing = Listing::default();
        letters.each(client, |letter| listing.add(letter, 0)).await?;
        rows.push((group, listing));
    }
    if connect.json {
        let row = |(group, listing): &(&str, Listing)| json!({ "group": group, "dead_letters": listing.count, "reasons": reasons(listing) });
        return out.json(&rows.iter().map(row).collect());
    }
    let first = |listing: &Listing| listing.kinds.values().map(|kind| kind.first).min();
    let row = |(group, listing): &(&str, Listing)| {
        vec![
            (*group).to_owned(),
            listing.count.to_string(),
            or_dash(first(listing).map(time::show)),
            or_dash(Some(listing.reasons()).filter(|text| !text.is_empty())),
        ]
    };
    out.table(&["GROUP", "DEAD LETTERS", "FIRST", "REASONS"], rows.iter().map(row).collect())
}

fn kind_row((reason, kind): (&String, &Kind)) -> Vec<String> {
    vec![
        reason.clone(),
        kind.class.to_owned(),
        kind.count.to_string(),
        time::show(kind.first),
        time::show(kind.last),
    ]
}

fn letter_row(letter: &DeadLetter) -> Vec<String> {
    let key = letter.key.as_deref().map(String::from_utf8_lossy);
    let message = letter.message.lines().next().unwrap_or_default();
    vec![
        letter.entry.to_string(),
        letter.reason.clone(),
        or_dash(key),
        time::show(letter.first_failed_at),
        letter.tried.to_string(),
        letter.event_id.clone(),
        message.chars().take(MESSAGE_MAX).collect(),
    ]
}

fn reasons(listing: &Listing) -> Vec<Value> {
    let kind = |(reason, kind): (&String, &Kind)| {
        json!({
            "reason": reason,
            "class": kind.class,
            "count": kind.count,
            "first": time::show(kind.first),
            "last": time::show(kind.last),
        })
    };
    listing.kinds.iter().map(kind).collect()
}

fn as_json(group: &str, topic: &str, listing: &Listing) -> Value {
    json!({
        "group": group,
        "topic": topic,
        "dead_letters": listing.count,
        "reasons": reasons(listing),
        "entries": listing.last.iter().map(super::show::as_json).collect::<Vec<_>>(),
    })
}
