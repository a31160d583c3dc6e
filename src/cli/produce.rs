//! `ottla produce`: each line of the input becomes a record.
//!
//! Lines are gathered into batches as long as more input is at hand, and sent as soon as the input
//! pauses, so that a file goes fast and a person at a keyboard sees each line arrive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;

use serde_json::json;

use super::connect::Connect;
use super::ended::Ended;
use super::output::{Output, tell};
use super::progress::Progress;
use crate::client::{Acks, Client, NamedPartition, Outgoing, partition_of};
use crate::protocol::ErrorCode;
use crate::records::{BatchBuilder, Codec, NewRecord};
use crate::types::{Offset, PartitionIndex};

/// A batch is sent at this size, before compression: below the usual limit of 1 MiB.
const BATCH_BYTES: usize = 512 * 1024;
/// All batches are sent when they have this size together.
const BATCHES_BYTES: usize = 8 * 1024 * 1024;
/// A line longer than this is no record that any broker takes.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const INPUT_BUFFER_BYTES: usize = 256 * 1024;

/// Write the lines of a file or of standard input as records
#[derive(Debug, clap::Args)]
pub(crate) struct Produce {
    /// The topic to write to
    topic: String,
    /// Read this file instead of standard input
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Each line is a key, this separator, and a value
    #[arg(long, short = 'K', value_name = "TEXT", allow_hyphen_values = true)]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, short, value_name = "TEXT", conflicts_with = "key_separator")]
    key: Option<String>,
    /// A value that is this text becomes null (a tombstone)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    null_value: Option<String>,
    /// Write all records to this partition, instead of choosing by key
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// A header for every record; may be given several times
    #[arg(long, short = 'H', value_name = "NAME=VALUE",
          value_parser = crate::config::load::assignment)]
    header: Vec<(String, String)>,
    /// Whose word to wait for: nobody's, the leader's, or that of all in-sync replicas
    #[arg(long, value_enum, default_value_t = AcksFlag::All)]
    acks: AcksFlag,
    /// How to compress batches
    #[arg(long, short = 'z', value_enum, default_value_t = CodecFlag::None)]
    compression: CodecFlag,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum AcksFlag {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    #[value(name = "all", alias = "-1")]
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CodecFlag {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Both may be null.
type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

impl From<AcksFlag> for Acks {
    fn from(flag: AcksFlag) -> Self {
        match flag {
            AcksFlag::None => Self::None,
            AcksFlag::Leader => Self::Leader,
            AcksFlag::All => Self::All,
        }
    }
}

impl From<CodecFlag> for Codec {
    fn from(flag: CodecFlag) -> Self {
        match flag {
            CodecFlag::None => Self::None,
            CodecFlag::Gzip => Self::Gzip,
            CodecFlag::Snappy => Self::Snappy,
            CodecFlag::Lz4 => Self::Lz4,
            CodecFlag::Zstd => Self::Zstd,
        }
    }
}

impl Produce {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let (input, size) = self.input()?;
        let mut client = self.connect.client().await?;
        let partition_count = partition_count(&mut client, &self.topic).await?;
        if let Some(partition) = self.partition
            && partition.unsigned_abs() >= partition_count
        {
            return Err(Ended::failed(format!(
                "topic {} has no partition {partition}: it has {partition_count}, from 0 on",
                self.topic
            )));
        }
        let progress = Progress::new("writing", size, client.clock());
        let mut sending = Sending {
            command: &self,
            client,
            partition_count,
            batches: BTreeMap::new(),
            next_without_key: 0,
            counts: Counts::default(),
            progress,
        };
        let outcome = sending.all(input).await;
        let counts = std::mem::take(&mut sending.counts);
        drop(sending);
        match &outcome {
            Ok(()) if self.connect.json => out.json(&counts.as_json(&self.topic))?,
            Ok(()) if counts.records == 1 => {
                tell(format_args!("1 record written to {}", self.topic))
            }
            Ok(()) => tell(format_args!("{} records written to {}", counts.records, self.topic)),
            Err(_) if counts.records > 0 => {
                tell(format_args!("records written before: {}", counts.records));
            }
            Err(_) => {}
        }
        outcome
    }

    /// The input, and its size where that is known.
    fn input(&self) -> Result<(Box<dyn Read>, Option<u64>), Ended> {
        let Some(path) = &self.file else { return Ok((Box::new(std::io::stdin()), None)) };
        let failed = |error| Ended::failed(format!("{} cannot be read: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?;
        Ok((Box::new(file), size.is_file().then_some(size.len())))
    }

    /// Splits a line into key and value.
    fn split<'a>(&'a self, line: &'a [u8], number: u64) -> Result<KeyAndValue<'a>, Ended> {
        let (key, value) = match &self.key_separator {
            Some(separator) => {
                let separator = separator.as_bytes();
                let mut places = line.windows(separator.len().max(1));
                let at = places.position(|window| window == separator).ok_or_else(|| {
                    Ended::failed(format!(
                        "line {number} has no key: the separator {:?} is not in it",
                        self.key_separator.as_deref().unwrap_or_default()
                    ))
                })?;
                let (key, rest) = line.split_at(at);
                (Some(key), rest.strip_prefix(separator).unwrap_or(rest))
            }
            None => (self.key.as_ref().map(String::as_bytes), line),
        };
        let is_null = self.null_value.as_ref().is_some_and(|null| null.as_bytes() == value);
        Ok((key, (!is_null).then_some(value)))
    }
}

/// How many partitions a topic has; it is made first, where the cluster makes topics by itself.
async fn partition_count(client: &mut Client, topic: &str) -> Result<u32, Ended> {
    for attempt in 0..2 {
        let cluster = client.cluster(Some(&[topic])).await?;
        let found = cluster.topics.first();
        let count = found.map_or(0, |found| u32::try_from(found.partitions.len()).unwrap_or(0));
        if count > 0 {
            return Ok(count);
        }
        let code = found.map_or(ErrorCode::UnknownTopicOrPartition, |found| found.error_code);
        if !matches!(
            code,
            ErrorCode::None | ErrorCode::UnknownTopicOrPartition | ErrorCode::LeaderNotAvailable
        ) {
            crate::client::ClientError::check(|| format!("topic {topic}"), code, None)?;
        }
        if attempt == 0 && !client.make_topic(topic).await? {
            break;
        }
    }
    Err(Ended::failed(format!(
        "topic {topic} does not exist, and this cluster makes none by itself: \
         `ottla topic create {topic}`"
    )))
}

/// What was written so far.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    bytes: u64,
    /// First offset and the one behind the last, by partition.
    offsets: BTreeMap<PartitionIndex, (Offset, Offset)>,
}

impl Counts {
    fn as_json(&self, topic: &str) -> serde_json::Value {
        let partition = |(index, (first, next)): (&PartitionIndex, &(Offset, Offset))| json!({ "partition": index.0, "first_offset": first.0, "next_offset": next.0 });
        json!({
            "topic": topic,
            "records": self.records,
            "partitions": self.offsets.iter().map(partition).collect::<Vec<_>>(),
        })
    }
}

struct Sending<'a> {
    command: &'a Produce,
    client: Client,
    partition_count: u32,
    batches: BTreeMap<PartitionIndex, BatchBuilder>,
    /// Records without a key fill one partition's batch, then the next one's.
    next_without_key: u32,
    counts: Counts,
    progress: Progress,
}

impl Sending<'_> {
    async fn all(&mut self, input: Box<dyn Read>) -> Result<(), Ended> {
        if self.command.file.is_none() && std::io::stdin().is_terminal() {
            tell("each line becomes a record; end with Ctrl-D");
        }
        let mut input = BufReader::with_capacity(INPUT_BUFFER_BYTES, input);
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let failed = |error| Ended::failed(format!("line {number} cannot be read: {error}"));
            let size = (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let size = u64::try_from(size.map_err(failed)?).unwrap_or(u64::MAX);
            if size == 0 {
                break;
            }
            if size == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                return Err(Ended::failed(format!("line {number} is over {LINE_BYTES_MAX} bytes")));
            }
            self.counts.bytes += size;
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            self.push(line.strip_suffix(b"\r").unwrap_or(line), number)?;
            let is_full = self.batches.values().any(|batch| batch.size_bytes() >= BATCH_BYTES)
                || self.batches.values().map(BatchBuilder::size_bytes).sum::<usize>()
                    >= BATCHES_BYTES;
            if is_full || input.buffer().is_empty() {
                self.send().await?;
            }
        }
        self.send().await
    }

    fn push(&mut self, line: &[u8], number: u64) -> Result<(), Ended> {
        let command = self.command;
        let (key, value) = command.split(line, number)?;
        let partition = match (command.partition, key) {
            (Some(partition), _) => PartitionIndex(partition),
            (None, Some(key)) => index(partition_of(key, self.partition_count)),
            (None, None) => index(self.next_without_key % self.partition_count),
        };
        let headers: Vec<(&[u8], Option<&[u8]>)> = command
            .header
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
            .collect();
        let timestamp = self.client.clock().now().wall;
        let codec = Codec::from(command.compression);
        let batch =
            self.batches.entry(partition).or_insert_with(|| BatchBuilder::new().compression(codec));
        batch.push(&NewRecord { timestamp, key, value, headers: &headers });
        Ok(())
    }

    /// Sends everything gathered.
    async fn send(&mut self) -> Result<(), Ended> {
        let topic = &self.command.topic;
        let mut outgoing = Vec::new();
        let mut counts = BTreeMap::new();
        for (partition, batch) in std::mem::take(&mut self.batches) {
            counts.insert(partition, batch.count());
            let built = batch.build().map_err(|error| Ended::failed(error.to_string()))?;
            let named = NamedPartition { topic: topic.clone(), partition };
            outgoing.push(Outgoing { partition: named, batch: built.to_bytes() });
        }
        let acks = self.command.acks.into();
        let written = self.client.produce(outgoing, acks).await.map_err(|error| {
            if error.code() == Some(ErrorCode::MessageTooLarge) {
                let bytes = "max.message.bytes";
                return Ended::failed(format!("{error}: raise {bytes} of topic {topic}"));
            }
            error.into()
        })?;
        for (named, base) in written {
            let count = i64::from(counts.get(&named.partition).copied().unwrap_or(0));
            let next = base.plus(count);
            let entry = self.counts.offsets.entry(named.partition).or_insert((base, next));
            entry.1 = next;
        }
        self.counts.records +=
            counts.values().map(|count| u64::from(count.unsigned_abs())).sum::<u64>();
        self.next_without_key = self.next_without_key.wrapping_add(1);
        let records = self.counts.records;
        self.progress.at(self.counts.bytes, || format!("{records} records written"));
        Ok(())
    }
}

fn index(partition: u32) -> PartitionIndex {
    PartitionIndex(i32::try_from(partition).unwrap_or(i32::MAX))
}
