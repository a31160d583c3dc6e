//! `ottla consume`: prints the records of topics, as they come.
//!
//! Without a group every partition is read from where the flags say, and nothing is remembered.
//! With `--group` it is a member like any other: it gets its share of the partitions, goes on where
//! the group was, and commits what it has printed.

use std::collections::BTreeMap;

use super::connect::Connect;
use super::ended::Ended;
use super::format::{self, Format};
use super::output::{Output, tell};
use super::signals::Signals;
use super::{time, topic};
use crate::client::{
    Client, ClientError, Fetched, HEARTBEAT_INTERVAL_MS, Member, NamedPartition, Position, Standing,
};
use crate::protocol::ErrorCode;
use crate::types::{Monotonic, Offset, Timestamp};

/// How long one fetch waits for records, in ms: between two the member says that it is alive.
const FETCH_WAIT_MS: u32 = 500;
/// How often a member commits what it has printed, in ms.
const COMMIT_INTERVAL_MS: u64 = 1_000;

/// How long to wait before trying an unreachable cluster again, in ms.
const RETRY_MS: u64 = 250;

/// Print the records of topics, as they come
#[derive(Debug, clap::Args)]
pub(crate) struct Consume {
    /// The topics to read
    #[arg(required = true)]
    topics: Vec<String>,
    /// Begin with the first record there is; by default only new ones are printed
    #[arg(long, group = "from")]
    from_beginning: bool,
    /// Begin at this offset; below zero it counts from the end, so that -5 gives the last five
    #[arg(long, group = "from", allow_negative_numbers = true)]
    offset: Option<i64>,
    /// Begin with the first record of this time or later: a span such as 10m ago, or a UTC time
    #[arg(long, group = "from", value_name = "TIME")]
    since: Option<String>,
    /// Read as a member of this group, go on where it was, and commit what is printed
    ///
    /// With --from-beginning, partitions that the group has no offset of begin at their start.
    #[arg(long, short, conflicts_with_all = ["partition", "offset", "since"])]
    group: Option<String>,
    /// Only this partition; may be given several times
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    max: Option<u64>,
    /// Wait for new records; this is the default
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// End at what is the end of each partition when the command starts
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    /// How to print a record: %t topic, %p partition, %o offset, %T timestamp, %k key, %s value,
    /// %h headers, %K and %S their sizes, \n, \t
    #[arg(long, short, value_name = "TEMPLATE", value_parser = Format::parse,
          conflicts_with = "json")]
    format: Option<Format>,
    #[command(flatten)]
    connect: Connect,
}

/// What a round of reading led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Finished,
}

impl Consume {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let mut signals = Signals::listen()?;
        let mut client = self.connect.client().await?;
        let now = client.clock().now().wall;
        let since = self.since.as_deref().map(|text| time::parse_since(text, now));
        let since = since.transpose().map_err(Ended::Usage)?;
        let partitions = self.partitions(&mut client).await?;
        let mut reading = Reading::new(&self, client);
        tokio::select! {
            begun = reading.begin(&partitions, since) => begun?,
            () = signals.next() => return Ok(()),
        }
        let outcome = loop {
            // A round that is cut short leaves only its connections unusable, and they know it.
            let round = tokio::select! {
                round = reading.round() => round,
                () = signals.next() => break Ok(()),
            };
            let next = round.map(|fetched| reading.print(fetched, out));
            match next {
                Ok(Ok(Next::Continue)) => {}
                Ok(Ok(Next::Finished)) => break Ok(()),
                Ok(Err(ended)) | Err(ended) => break Err(ended),
            }
        };
        let ended = reading.end(outcome.is_ok()).await;
        outcome.and(ended)
    }

    /// The partitions that the flags name.
    async fn partitions(&self, client: &mut Client) -> Result<Vec<NamedPartition>, Ended> {
        let names: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let mut partitions = Vec::new();
        for found in client.cluster(Some(&names)).await?.topics {
            let name = found.name.unwrap_or_default();
            if found.error_code == ErrorCode::UnknownTopicOrPartition {
                return Err(Ended::failed(topic::unknown(&name)));
            }
            if found.partitions.is_empty() {
                ClientError::check(|| format!("topic {name}"), found.error_code, None)?;
            }
            let count = found.partitions.len();
            let indexes: Vec<i32> = found.partitions.iter().map(|it| it.partition_index).collect();
            if let Some(missing) = self.partition.iter().find(|index| !indexes.contains(index)) {
                return Err(Ended::failed(format!(
                    "topic {name} has no partition {missing}: it has {count}, from 0 on"
                )));
            }
            let wanted = indexes
                .iter()
                .filter(|it| self.partition.is_empty() || self.partition.contains(it));
            partitions.extend(wanted.map(|index| NamedPartition::new(&name, *index)));
        }
        Ok(partitions)
    }
}

/// A consumer at work.
struct Reading<'a> {
    command: &'a Consume,
    format: Format,
    client: Client,
    member: Option<Member>,
    /// Where to read on, by partition; those that are at their end are gone from here.
    positions: BTreeMap<NamedPartition, Offset>,
    /// Where to end, with `--no-follow`.
    ends: BTreeMap<NamedPartition, Offset>,
    /// Printed and not committed.
    uncommitted: BTreeMap<NamedPartition, Offset>,
    printed: u64,
    /// The membership is to be taken up anew before anything is read.
    must_join: bool,
    /// Since when brokers cannot be reached.
    failing_since: Option<Monotonic>,
    next_heartbeat: Monotonic,
    next_commit: Monotonic,
}

impl<'a> Reading<'a> {
    fn new(command: &'a Consume, client: Client) -> Self {
        let now = client.clock().now().monotonic;
        Self {
            command,
            format: command.format.clone().unwrap_or_else(Format::value_lines),
            client,
            member: None,
            positions: BTreeMap::new(),
            ends: BTreeMap::new(),
            uncommitted: BTreeMap::new(),
            printed: 0,
            must_join: false,
            failing_since: None,
            next_heartbeat: now.plus_ms(HEARTBEAT_INTERVAL_MS),
            next_commit: now.plus_ms(COMMIT_INTERVAL_MS),
        }
    }

    /// Finds the first positions; with a group, joins it.
    async fn begin(
        &mut self,
        partitions: &[NamedPartition],
        since: Option<Timestamp>,
    ) -> Result<(), ClientError> {
        if let Some(group) = &self.command.group {
            let topics = &self.command.topics;
            self.member = Some(Member::join(&mut self.client, group, topics).await?);
            return self.take_assigned().await;
        }
        self.positions = match (self.command.offset, since) {
            (Some(offset), _) => self.at_offset(partitions, offset).await?,
            (None, Some(time)) => self.at(partitions, Position::Time(time)).await?,
            (None, None) => self.at(partitions, self.default_position()).await?,
        };
        self.find_ends().await
    }

    fn default_position(&self) -> Position {
        if self.command.from_beginning { Position::Start } else { Position::End }
    }

    async fn at(
        &mut self,
        partitions: &[NamedPartition],
        position: Position,
    ) -> Result<BTreeMap<NamedPartition, Offset>, ClientError> {
        Ok(self.client.offsets(partitions, position).await?.into_iter().collect())
    }

    /// The same offset in each partition, or the nearest one that there is.
    async fn at_offset(
        &mut self,
        partitions: &[NamedPartition],
        offset: i64,
    ) -> Result<BTreeMap<NamedPartition, Offset>, ClientError> {
        let starts = self.at(partitions, Position::Start).await?;
        let ends = self.at(partitions, Position::End).await?;
        let place = |(partition, end): (NamedPartition, Offset)| {
            let start = starts.get(&partition).copied().unwrap_or_default().min(end);
            let wanted = if offset < 0 { end.plus(offset) } else { Offset(offset) };
            let found = wanted.clamp(start, end);
            if offset >= 0 && found != wanted {
                tell(format_args!(
                    "{partition} has no offset {wanted}: it has {start} to {end}, reading from \
                     {found} on"
                ));
            }
            (partition, found)
        };
        Ok(ends.into_iter().map(place).collect())
    }

    /// With `--no-follow`: where each partition ends now.
    async fn find_ends(&mut self) -> Result<(), ClientError> {
        if self.command.no_follow {
            let partitions: Vec<_> = self.positions.keys().cloned().collect();
            self.ends = self.at(&partitions, Position::End).await?;
            self.drop_finished();
        }
        Ok(())
    }

    fn drop_finished(&mut self) {
        let ends = &self.ends;
        self.positions.retain(|partition, at| ends.get(partition).is_none_or(|end| *at < *end));
    }

    /// After a join: goes on where the group was.
    async fn take_assigned(&mut self) -> Result<(), ClientError> {
        let (Some(group), Some(member)) = (&self.command.group, &self.member) else {
            return Ok(());
        };
        let assigned = member.assigned().to_vec();
        let mut committed = self.client.committed(group).await?;
        committed.retain(|partition, _| assigned.contains(partition));
        let without: Vec<_> =
            assigned.iter().filter(|it| !committed.contains_key(*it)).cloned().collect();
        self.positions = committed;
        let fresh = self.at(&without, self.default_position()).await?;
        // Committed at once: a later join would else choose a later end, and skip what lies between.
        self.uncommitted.clone_from(&fresh);
        self.positions.extend(fresh);
        self.find_ends().await
    }

    /// Reads once. While brokers cannot be reached it is tried again, for as long as one may be
    /// silent: a restart or a change of leaders is no reason to end.
    async fn round(&mut self) -> Result<Vec<Fetched>, Ended> {
        let error = match self.read().await {
            Ok(fetched) => {
                self.failing_since = None;
                return Ok(fetched);
            }
            Err(error) if error.is_connection() || error.is_passing() => error,
            Err(error) => return Err(error.into()),
        };
        let now = self.client.clock().now().monotonic;
        let since = *self.failing_since.get_or_insert_with(|| {
            tell(format_args!("{error}: trying again"));
            now
        });
        if now >= since.plus_ms(self.command.connect.timeout_ms()) {
            return Err(error.into());
        }
        self.client.start_over();
        self.client.clock().clone().sleep_ms(RETRY_MS).await;
        Ok(Vec::new())
    }

    /// Keeps the membership, then reads once.
    async fn read(&mut self) -> Result<Vec<Fetched>, ClientError> {
        self.keep_membership().await?;
        if self.positions.is_empty() {
            if !self.is_finished() {
                self.client.clock().clone().sleep_ms(u64::from(FETCH_WAIT_MS)).await;
            }
            return Ok(Vec::new());
        }
        let positions: Vec<_> =
            self.positions.iter().map(|(partition, at)| (partition.clone(), *at)).collect();
        let mut fetched = self.client.fetch(&positions, FETCH_WAIT_MS).await?;
        for gone in fetched.iter().filter(|it| it.is_out_of_range) {
            let partition = gone.partition.clone();
            let starts = self.at(std::slice::from_ref(&partition), Position::Start).await?;
            let start = starts.get(&partition).copied().unwrap_or_default();
            let before = gone.next_offset;
            tell(format_args!("{partition} has no offset {before} any more: going on at {start}"));
            self.positions.insert(partition, start);
        }
        fetched.retain(|it| !it.is_out_of_range);
        Ok(fetched)
    }

    async fn keep_membership(&mut self) -> Result<(), ClientError> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let now = self.client.clock().now().monotonic;
        let mut standing = Standing::Settled;
        if now >= self.next_heartbeat && !self.must_join {
            self.next_heartbeat = now.plus_ms(HEARTBEAT_INTERVAL_MS);
            standing = member.heartbeat(&mut self.client).await?;
        }
        if (now >= self.next_commit && !self.must_join) || standing == Standing::Rebalancing {
            self.next_commit = now.plus_ms(COMMIT_INTERVAL_MS);
            match member.commit(&mut self.client, &self.uncommitted).await? {
                Standing::Settled => self.uncommitted.clear(),
                Standing::Rebalancing => standing = Standing::Rebalancing,
            }
        }
        self.must_join |= standing == Standing::Rebalancing;
        self.join_again().await
    }

    /// Takes the membership up anew, if that is due. What fails on the way is done again later:
    /// until then nothing is read, since the partitions may be somebody else's.
    async fn join_again(&mut self) -> Result<(), ClientError> {
        let Some(member) = self.member.as_mut().filter(|_| self.must_join) else { return Ok(()) };
        self.positions.clear();
        self.uncommitted.clear();
        member.rejoin(&mut self.client).await?;
        self.take_assigned().await?;
        self.must_join = false;
        Ok(())
    }

    /// Whether nothing more is to come: the wanted number is printed, or every end is reached.
    fn is_finished(&self) -> bool {
        let is_full = self.command.max.is_some_and(|max| self.printed >= max);
        let is_at_end = self.command.no_follow && self.positions.is_empty() && !self.must_join;
        is_full || is_at_end
    }

    fn print(&mut self, fetched: Vec<Fetched>, out: &mut Output) -> Result<Next, Ended> {
        let mut text = Vec::new();
        for Fetched { partition, records, next_offset, .. } in fetched {
            let end = self.ends.get(&partition).copied();
            let mut next = next_offset;
            for record in records {
                let is_beyond = end.is_some_and(|end| record.offset >= end);
                if is_beyond || self.command.max.is_some_and(|max| self.printed >= max) {
                    next = record.offset;
                    break;
                }
                if self.command.connect.json {
                    out.json_line(&format::as_json(&partition, &record))?;
                } else {
                    text.clear();
                    self.format.write(&mut text, &partition, &record);
                    out.bytes(&text)?;
                }
                self.printed += 1;
            }
            if self.member.is_some() && self.positions.get(&partition) != Some(&next) {
                self.uncommitted.insert(partition.clone(), next);
            }
            self.positions.insert(partition, next);
        }
        out.flush()?;
        self.drop_finished();
        Ok(if self.is_finished() { Next::Finished } else { Next::Continue })
    }

    /// Commits and leaves.
    ///
    /// # Errors
    /// `Failed` if what was printed is not committed.
    async fn end(mut self, is_clean: bool) -> Result<(), Ended> {
        let Some(mut member) = self.member.take() else { return Ok(()) };
        let committed = if is_clean {
            member.commit(&mut self.client, &self.uncommitted).await.map(drop)
        } else {
            Ok(())
        };
        if let Err(error) = member.leave(&mut self.client).await {
            tell(format_args!("the group will notice only by our silence that we left: {error}"));
        }
        committed
            .map_err(|error| Ended::failed(format!("the last offsets are not committed: {error}")))
    }
}
