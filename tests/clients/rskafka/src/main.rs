//! The cases of rskafka: no groups, no idempotence, old request versions.

use std::collections::BTreeMap;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use rust_suite::{Case, Outcome, Test, equal, holds, run, sequence};

fn main() -> ExitCode {
    run(
        vec![
            case("produce_none", |test| codec(test, Compression::NoCompression)),
            case("produce_gzip", |test| codec(test, Compression::Gzip)),
            case("produce_snappy", |test| codec(test, Compression::Snappy)),
            case("produce_lz4", |test| codec(test, Compression::Lz4)),
            case("produce_zstd", |test| codec(test, Compression::Zstd)),
            case("seek_by_offset", seek_by_offset),
            case("seek_by_time", seek_by_time),
            case("long_poll_wakes_up", long_poll),
            case("too_large_message", too_large),
            case("admin_topics", admin_topics),
            case("admin_delete_records", admin_delete_records),
        ],
        vec![case("restart", before_restart)],
        vec![case("restart", after_restart)],
    )
}

/// A case on a runtime of its own.
fn case<F: Future<Output = Outcome>>(
    name: &'static str,
    body: impl Fn(Arc<Test>) -> F + Send + Sync + 'static,
) -> Case {
    Case::new(name, move |test| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(body(Arc::new(test.clone())))
    })
}

async fn client(test: &Test) -> Outcome<Client> {
    Ok(ClientBuilder::new(vec![test.bootstrap.clone()]).build().await?)
}

async fn new_topic(test: &Test, suffix: &str, partitions: i32) -> Outcome<String> {
    let name = test.name(suffix);
    let controller = client(test).await?.controller_client()?;
    controller.create_topic(&name, partitions, 1, 5_000).await?;
    Ok(name)
}

async fn partition(test: &Test, topic: &str, index: i32) -> Outcome<PartitionClient> {
    let client = client(test).await?;
    Ok(client.partition_client(topic, index, UnknownTopicHandling::Retry).await?)
}

/// An hour ago, without the part of a ms that Kafka does not keep.
fn first_time() -> DateTime<Utc> {
    let ms = Utc::now().timestamp_millis() - 3_600_000;
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// k-first v-first and so on, one second apart.
fn numbered(first: usize, end: usize, at: DateTime<Utc>) -> Vec<Record> {
    (first..end)
        .zip(0..)
        .map(|(i, seconds)| Record {
            key: Some(format!("k-{i}").into_bytes()),
            value: Some(format!("v-{i}").into_bytes()),
            headers: BTreeMap::new(),
            timestamp: at + TimeDelta::seconds(seconds),
        })
        .collect()
}

/// Fetches until there are `count` records from `offset` on.
async fn read(from: &PartitionClient, offset: i64, count: usize) -> Outcome<Vec<RecordAndOffset>> {
    let mut got: Vec<RecordAndOffset> = Vec::new();
    while got.len() < count {
        let next = got.last().map_or(offset, |last| last.offset + 1);
        let (records, _) = from.fetch_records(next, 1..1_000_000, 500).await?;
        // A whole batch comes: what lies before the asked offset is for the client to leave out.
        got.extend(records.into_iter().filter(|record| record.offset >= next));
    }
    Ok(got)
}

fn values(records: &[RecordAndOffset]) -> Vec<String> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    records.iter().filter_map(|got| got.record.value.as_ref().map(text)).collect()
}

/// Every shape of record comes back equal.
async fn codec(test: Arc<Test>, codec: Compression) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let partition = partition(&test, &topic, 0).await?;
    let record = |key: Option<&str>, value: Option<String>| Record {
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(String::into_bytes),
        headers: BTreeMap::from([
            ("empty".to_owned(), Vec::new()),
            ("bytes".to_owned(), vec![0, 0xff, 0x80]),
        ]),
        timestamp: first_time(),
    };
    let sent = vec![
        record(Some("key"), Some("value".to_owned())),
        record(Some("tombstone"), None),
        record(None, Some("no key".to_owned())),
        record(Some(""), Some(String::new())),
        record(Some("long"), Some("abcdefgh".repeat(20_000))),
    ];
    equal(partition.produce(sent.clone(), codec).await?, (0..5).collect(), "offsets answered")?;
    for (i, got) in read(&partition, 0, 5).await?.into_iter().enumerate() {
        equal(got.offset, i64::try_from(i)?, "offset")?;
        holds(got.record == sent[i], &format!("record {i} differs"))?;
    }
    Ok(())
}

async fn seek_by_offset(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let partition = partition(&test, &topic, 0).await?;
    partition.produce(numbered(0, 20, first_time()), Compression::NoCompression).await?;
    for offset in [15, 3, 0] {
        let got = read(&partition, offset, 20 - usize::try_from(offset)?).await?;
        equal(values(&got), sequence(usize::try_from(offset)?, 20), "values")?;
    }
    let beyond = partition.fetch_records(1000, 1..1000, 100).await;
    refused(beyond, ProtocolError::OffsetOutOfRange, "offset 1000")
}

async fn seek_by_time(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let partition = partition(&test, &topic, 0).await?;
    let first = first_time();
    partition.produce(numbered(0, 20, first), Compression::Zstd).await?;
    for (ms, expected) in [(7000, 7), (7500, 8), (-60_000, 0), (19_000, 19), (19_001, -1)] {
        let at = OffsetAt::Timestamp(first + TimeDelta::milliseconds(ms));
        equal(partition.get_offset(at).await?, expected, &format!("offset {ms} ms on"))?;
    }
    equal(partition.get_offset(OffsetAt::Earliest).await?, 0, "earliest")?;
    equal(partition.get_offset(OffsetAt::Latest).await?, 20, "latest")
}

/// A fetch that waits for up to 15 s is answered as soon as a record is there.
async fn long_poll(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let (reader, writer) = (partition(&test, &topic, 0).await?, partition(&test, &topic, 0).await?);
    writer.produce(numbered(0, 1, first_time()), Compression::NoCompression).await?;
    let fetch = reader.fetch_records(1, 1..1000, 15_000);
    let began = Instant::now();
    let produce = async {
        // Polled second: the fetch is on the wire before this is.
        writer.produce(numbered(1, 2, first_time()), Compression::NoCompression).await
    };
    let (fetched, produced) = tokio::join!(fetch, produce);
    produced?;
    equal(values(&fetched?.0), sequence(1, 2), "values")?;
    holds(began.elapsed() < Duration::from_secs(5), "the parked fetch was answered too late")
}

async fn too_large(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let partition = partition(&test, &topic, 0).await?;
    let mut large = numbered(0, 1, first_time());
    large[0].value = Some(vec![b'x'; 2_000_000]);
    let answer = partition.produce(large, Compression::NoCompression).await;
    refused(answer, ProtocolError::MessageTooLarge, "2000000 bytes")?;
    let small = numbered(0, 1, first_time());
    equal(partition.produce(small, Compression::NoCompression).await?, vec![0], "a small one")
}

fn refused<T>(answer: Result<T, Error>, with: ProtocolError, what: &str) -> Outcome {
    match answer {
        Err(Error::ServerError { protocol_error, .. }) if protocol_error == with => Ok(()),
        Err(error) => Err(format!("{what}: got {error}, expected {with:?}").into()),
        Ok(_) => Err(format!("{what}: no error, expected {with:?}").into()),
    }
}

async fn admin_topics(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 3).await?;
    let client = client(&test).await?;
    let controller = client.controller_client()?;
    let again = controller.create_topic(&topic, 1, 1, 5_000).await;
    refused(again, ProtocolError::TopicAlreadyExists, "create again")?;
    let listed = listed(&client, &topic, true).await?;
    equal(listed, 3, "partitions")?;
    controller.delete_topic(&topic, 5_000).await?;
    self::listed(&client, &topic, false).await?;
    let unknown = controller.delete_topic(test.name("unknown"), 5_000).await;
    refused(unknown, ProtocolError::UnknownTopicOrPartition, "delete an unknown one")
}

/// Waits until the topic is in the list, or is not; its partitions.
async fn listed(client: &Client, topic: &str, wanted: bool) -> Outcome<usize> {
    loop {
        let found = client.list_topics().await?.into_iter().find(|found| found.name == topic);
        if found.is_some() == wanted {
            return Ok(found.map_or(0, |found| found.partitions.len()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn admin_delete_records(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let partition = partition(&test, &topic, 0).await?;
    partition.produce(numbered(0, 10, first_time()), Compression::Gzip).await?;
    partition.delete_records(4, 5_000).await?;
    equal(partition.get_offset(OffsetAt::Earliest).await?, 4, "earliest")?;
    equal(values(&read(&partition, 4, 6).await?), sequence(4, 10), "what is left")?;
    let gone = partition.fetch_records(0, 1..1000, 100).await;
    refused(gone, ProtocolError::OffsetOutOfRange, "a deleted offset")
}

async fn before_restart(test: Arc<Test>) -> Outcome {
    let topic = new_topic(&test, "a", 1).await?;
    let partition = partition(&test, &topic, 0).await?;
    for (i, codec) in [
        Compression::NoCompression,
        Compression::Gzip,
        Compression::Lz4,
        Compression::Snappy,
        Compression::Zstd,
    ]
    .into_iter()
    .enumerate()
    {
        partition.produce(numbered(4 * i, 4 * i + 4, first_time()), codec).await?;
    }
    Ok(())
}

async fn after_restart(test: Arc<Test>) -> Outcome {
    let partition = partition(&test, &test.name("a"), 0).await?;
    equal(values(&read(&partition, 0, 20).await?), sequence(0, 20), "records")?;
    let next =
        partition.produce(numbered(20, 21, first_time()), Compression::NoCompression).await?;
    equal(next, vec![20], "next offset")
}
