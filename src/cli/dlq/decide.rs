//! `ottla dlq redrive` and `discard`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::letters::{Letters, Which, names};
use crate::cli::connect::Connect;
use crate::cli::ended::{Ended, explained};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::rate::{Pace, Rate};
use crate::client::cluster::ToSend;
use crate::client::{Client, ClientError, TransactionWriter};
use crate::protocol::ErrorCode;
use crate::services::dlq::{self, DeadLetter};

/// Which dead letters, and how fast.
#[derive(Debug, clap::Args)]
pub(super) struct Decide {
    /// The consumer group
    group: String,
    /// The topic of its dead letters, where it is not GROUP.dlq
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long)]
    all: bool,
    /// At most so many, such as 50/s or 100/m
    #[arg(long, value_name = "NUMBER/UNIT", value_parser = Rate::parse)]
    rate: Option<Rate>,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Redrive,
    Discard,
}

impl Verdict {
    pub(super) fn record(self, letter: &DeadLetter) -> ToSend {
        match self {
            Self::Redrive => dlq::redriven(letter),
            Self::Discard => dlq::discarded(letter),
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Discard => "discarded",
        }
    }
}

/// What was decided about.
#[derive(Default)]
struct Done {
    entries: BTreeSet<String>,
    reasons: BTreeMap<String, usize>,
    named: BTreeSet<String>,
}

impl Done {
    fn add(&mut self, letter: &DeadLetter, which: &Which) {
        self.entries.insert(letter.entry.to_string());
        *self.reasons.entry(letter.reason.clone()).or_default() += 1;
        self.named.extend(which.entries.iter().filter(|text| names(text, letter)).cloned());
    }
}

impl Decide {
    pub(super) async fn run(
        self,
        verdict: Verdict,
        connect: &Connect,
        out: &mut Output,
    ) -> Result<(), Ended> {
        if self.which.is_any() != self.all {
            let text = if self.all {
                "--all goes with no entry and no --where"
            } else {
                "say which: entries, --where reason=timeout, or --all"
            };
            return Err(Ended::Usage(text.to_owned()));
        }
        let mut client = connect.client().await?;
        let mut desk = Desk::open(&mut client, &self.group, self.topic.as_deref(), connect).await?;
        let mut done = Done::default();
        let outcome = self.work(verdict, &mut client, &mut desk, &mut done).await;
        // What was committed before a failure stays, and is told.
        self.tell(verdict, &done, connect, out)?;
        outcome?;
        let missing = self.which.entries.iter().filter(|text| !done.named.contains(*text));
        let (group, topic) = (&self.group, &desk.letters.topic);
        Ended::unless_empty(
            missing
                .map(|text| {
                    format!(
                        "{topic} has no entry {text} that waits for a decision: `ottla dlq show {group} {text}` says \
                         whether it was decided before, `ottla dlq list {group}` which wait"
                    )
                })
                .collect(),
        )
    }

    async fn work(
        &self,
        verdict: Verdict,
        client: &mut Client,
        desk: &mut Desk,
        done: &mut Done,
    ) -> Result<(), Ended> {
        let mut pace = Pace::new(self.rate, client.clock());
        let mut progress = Progress::new("deciding", None, client.clock());
        loop {
            let chunk = desk.letters.chunk(client, |letter| self.which.has(letter)).await?;
            if chunk.is_empty() {
                return Ok(());
            }
            for part in chunk.chunks(pace.at_once()) {
                if !self.dry_run {
                    pace.wait(part.len()).await;
                    desk.commit(client, part, verdict).await?;
                }
                part.iter().for_each(|letter| done.add(letter, &self.which));
                let count = done.entries.len();
                progress
                    .at(u64::try_from(count).unwrap_or(u64::MAX), || format!("{count} entries"));
            }
        }
    }

    fn tell(
        &self,
        verdict: Verdict,
        done: &Done,
        connect: &Connect,
        out: &mut Output,
    ) -> Result<(), Ended> {
        if connect.json {
            return out.json(&json!({
                "group": self.group,
                verdict.word(): if self.dry_run { 0 } else { done.entries.len() },
                "entries": done.entries,
                "reasons": done.reasons,
                "dry_run": self.dry_run,
            }));
        }
        let count = done.entries.len();
        let reasons = done.reasons.iter().map(|(name, count)| format!("{name} {count}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let is = match (self.dry_run, count) {
            (true, _) => "would be",
            (false, 1) => "is",
            (false, _) => "are",
        };
        let reasons = if count == 0 { String::new() } else { format!(": {reasons}") };
        let (letters, group, word) = (super::letters(count), &self.group, verdict.word());
        out.line(format_args!("{letters} of group {group} {is} {word}{reasons}"))
    }
}

/// Where it is decided about the dead letters of one group: by one at a time.
pub(super) struct Desk {
    writer: TransactionWriter,
    pub(super) letters: Letters,
    retry: String,
    retry_partitions: usize,
}

impl Desk {
    /// Takes it.
    ///
    /// # Errors
    /// `Failed` for a group that has no dead letters or does not read its retry topic, or the cluster's.
    pub(super) async fn open(
        client: &mut Client,
        group: &str,
        topic: Option<&str>,
        connect: &Connect,
    ) -> Result<Self, Ended> {
        // Before anything is taken, so that a wrong name leaves no trace.
        Letters::open(client, group, topic).await?;
        let id = format!("ottla-dlq-{group}");
        let writer = client.transaction_writer(&id, connect.timeout_ms()).await?;
        let letters = Letters::open(client, group, topic).await?;
        let retry = format!("{group}.retry");
        let found = client.cluster(Some(&[&retry])).await?.topics.into_iter().next();
        let retry_partitions = found.map_or(0, |topic| topic.partitions.len());
        if retry_partitions == 0 {
            return Err(Ended::failed(format!(
                "there is no topic {retry}, by which group {group} would learn of it: ottla's services make it when \
                 they start, other groups do not read it"
            )));
        }
        Ok(Self { writer, letters, retry, retry_partitions })
    }

    /// Decides about these, in one transaction.
    ///
    /// # Errors
    /// `Failed` where somebody else has begun to decide; the cluster's.
    pub(super) async fn commit(
        &mut self,
        client: &mut Client,
        letters: &[DeadLetter],
        verdict: Verdict,
    ) -> Result<(), Ended> {
        let records: Vec<_> = letters.iter().map(|letter| verdict.record(letter)).collect();
        let is_there =
            |index: i32| usize::try_from(index).is_ok_and(|index| index < self.retry_partitions);
        let outside = |record: &&ToSend| record.partition.is_some_and(|it| !is_there(it.0));
        if let Some(partition) = records.iter().find(outside).and_then(|record| record.partition) {
            let (retry, count) = (&self.retry, self.retry_partitions);
            return Err(Ended::failed(format!(
                "{retry} has no partition {partition}, where the record came from: it has {count}; start the group's \
                 service, which adds it"
            )));
        }
        client.commit_records(&mut self.writer, &records).await.map_err(|error| failed(&error))
    }
}

fn failed(error: &ClientError) -> Ended {
    match error.code() {
        Some(ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced) => Ended::failed(
            "somebody else has begun to decide about these dead letters: what is not told above is not done"
                .to_owned(),
        ),
        _ => Ended::failed(explained(error)),
    }
}
