//! The cases of rust-rdkafka, which is librdkafka: the client under most languages' Kafka clients.

mod admin;
mod consume;
mod history;
mod produce;
mod transact;
mod transform;

use std::process::ExitCode;
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use rust_suite::{Case, Outcome, Test, equal, run, sequence, until};

fn main() -> ExitCode {
    match std::env::var("PHASE").as_deref() {
        Ok("history") => return history::run(),
        Ok("transform") => return transform::run(),
        _ => {}
    }
    let mut all = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name: &'static str = String::leak(format!("produce_{codec}"));
        all.push(Case::new(name, move |test| produce::codec(test, codec)));
    }
    for acks in ["0", "1", "all"] {
        let name: &'static str = String::leak(format!("acks_{acks}"));
        all.push(Case::new(name, move |test| produce::acks(test, acks)));
    }
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let name: &'static str = String::leak(format!("group_of_two_{strategy}"));
        all.push(Case::new(name, move |test| consume::group_of_two(test, strategy)));
    }
    all.extend([
        Case::new("idempotent_producer", produce::idempotent),
        Case::new("too_large_message", produce::too_large),
        Case::new("auto_creation", produce::auto_creation),
        Case::new("static_member", consume::static_member),
        Case::new("commit_and_resume", consume::commit_and_resume),
        Case::new("seek_by_offset", consume::seek_by_offset),
        Case::new("seek_by_time", consume::seek_by_time),
        Case::new("long_poll_wakes_up", consume::long_poll),
        Case::new("admin_topics", admin::topics),
        Case::new("admin_configs", admin::configs),
        Case::new("admin_delete_records", admin::delete_records),
        Case::new("admin_groups", admin::groups),
        Case::new("admin_cluster", admin::cluster),
        Case::new("txn_commit_and_abort", transact::commit_and_abort),
        Case::new("txn_offsets", transact::offsets),
        Case::new("txn_zombie", transact::zombie),
        Case::new("txn_timeout", transact::timeout),
    ]);
    run(all, vec![Case::new("restart", before_restart)], vec![Case::new("restart", after_restart)])
}

/// The time that one call of the library may take.
const CALL_MAX: Duration = Duration::from_secs(20);

fn config(test: &Test, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &test.bootstrap).set("log_level", "0");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

fn admin_client(test: &Test) -> Outcome<AdminClient<DefaultClientContext>> {
    Ok(config(test, &[]).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(CALL_MAX)).request_timeout(Some(CALL_MAX))
}

/// Makes a topic and waits until it is listed, which takes Apache Kafka a moment.
fn new_topic(
    test: &Test,
    suffix: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Outcome<String> {
    let name = test.name(suffix);
    let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        topic = topic.set(key, value);
    }
    let admin = admin_client(test)?;
    for result in block_on(admin.create_topics([&topic], &options()))? {
        result.map_err(|(topic, code)| format!("create topic {topic}: {code}"))?;
    }
    until("the new topic", || {
        let metadata = admin.inner().fetch_metadata(Some(&name), CALL_MAX)?;
        Ok(metadata.topics()[0].error().is_none().then_some(()))
    })?;
    Ok(name)
}

/// Sends v-first up to v-(end-1), one second apart, to one partition.
fn send(
    test: &Test,
    to: (&str, i32),
    numbers: (usize, usize),
    first_ms: i64,
    settings: &[(&str, &str)],
) -> Outcome<Vec<i64>> {
    let producer: FutureProducer = config(test, settings).create()?;
    let mut answers = Vec::new();
    for (i, at) in (numbers.0..numbers.1).zip(0..) {
        let (key, value) = (format!("k-{i}"), format!("v-{i}"));
        let record = FutureRecord::to(to.0)
            .partition(to.1)
            .key(&key)
            .payload(&value)
            .timestamp(first_ms + 1000 * at);
        answers.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    let mut offsets = Vec::new();
    for answer in answers {
        offsets.push(block_on(answer)?.map_err(|(error, _)| error)?.offset);
    }
    Ok(offsets)
}

/// The usual settings of a consumer of these cases, with others over them.
fn consumer(test: &Test, group: &str, settings: &[(&str, &str)]) -> Outcome<BaseConsumer> {
    let mut config = config(
        test,
        &[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("heartbeat.interval.ms", "100"),
            ("fetch.wait.max.ms", "200"),
            ("topic.metadata.refresh.interval.ms", "1000"),
            ("reconnect.backoff.ms", "20"),
            ("fetch.error.backoff.ms", "20"),
        ],
    );
    for (key, value) in settings {
        config.set(*key, *value);
    }
    Ok(config.create()?)
}

/// A consumer of one partition from an offset on.
fn reader(test: &Test, topic: &str, partition: i32, offset: Offset) -> Outcome<BaseConsumer> {
    let reader = consumer(test, &test.name("reader"), &[])?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, offset)?;
    reader.assign(&place)?;
    Ok(reader)
}

/// Polls until there are `count` records.
fn poll(consumer: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    let mut got = Vec::new();
    while got.len() < count {
        let message = until(&format!("record {} of {count}", got.len() + 1), || {
            Ok(consumer.poll(Duration::from_millis(100)).transpose()?.map(|found| found.detach()))
        })?;
        got.push(message);
    }
    Ok(got)
}

fn values(messages: &[OwnedMessage]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    messages.iter().filter_map(|message| message.payload().map(text)).collect()
}

/// Now, less an hour: for records with times of their own.
fn an_hour_ago() -> Outcome<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_millis())? - 3_600_000)
}

fn before_restart(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    for (i, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let numbers = (4 * i, 4 * i + 4);
        send(test, (&topic, 0), numbers, an_hour_ago()?, &[("compression.type", codec)])?;
    }
    let member = consumer(test, &test.name("group"), &[])?;
    member.subscribe(&[&topic])?;
    equal(values(&poll(&member, 20)?), sequence(0, 20), "records before")?;
    consume::commit(&member, &topic, 8)
}

fn after_restart(test: &Test) -> Outcome {
    let topic = test.name("a");
    let got = poll(&reader(test, &topic, 0, Offset::Beginning)?, 20)?;
    equal(values(&got), sequence(0, 20), "records")?;
    let member = consumer(test, &test.name("group"), &[])?;
    member.subscribe(&[&topic])?;
    equal(values(&poll(&member, 12)?), sequence(8, 20), "from the committed offset")?;
    equal(send(test, (&topic, 0), (20, 21), an_hour_ago()?, &[])?, vec![20], "next offset")
}
