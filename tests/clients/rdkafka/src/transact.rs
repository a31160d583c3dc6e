//! Cases of transactions.

use std::time::Duration;

use futures_executor::block_on;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use rust_suite::{Outcome, Test, equal, holds, sequence, until};

use crate::consume::committed;
use crate::{CALL_MAX, an_hour_ago, config, consumer, new_topic, poll, send, values};

const COMMITTED: [(&str, &str); 1] = [("isolation.level", "read_committed")];

/// A producer that may begin; its transactional id is the case's own.
fn transactional(test: &Test, settings: &[(&str, &str)]) -> Outcome<FutureProducer> {
    let mut config = config(test, settings);
    let producer: FutureProducer = config.set("transactional.id", test.name("txn")).create()?;
    producer.init_transactions(CALL_MAX)?;
    Ok(producer)
}

/// Sends v-first up to v-(end-1) in the transaction that is open.
fn send_in(producer: &FutureProducer, to: (&str, i32), numbers: (usize, usize)) -> Outcome {
    let values = sequence(numbers.0, numbers.1);
    let mut answers = Vec::new();
    for value in &values {
        let record = FutureRecord::<(), _>::to(to.0).partition(to.1).payload(value);
        answers.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    for answer in answers {
        block_on(answer)?.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// A whole transaction with these records.
fn whole(producer: &FutureProducer, topic: &str, numbers: (usize, usize)) -> Outcome {
    producer.begin_transaction()?;
    send_in(producer, (topic, 0), numbers)?;
    Ok(producer.commit_transaction(CALL_MAX)?)
}

/// A reader finds exactly these, and then the record that is sent to end the reading.
fn reads_committed(test: &Test, to: (&str, i32), mut want: Vec<String>) -> Outcome {
    send(test, to, (999, 1000), an_hour_ago()?, &[])?;
    want.push("v-999".to_owned());
    let reader = reader_with(test, to, &COMMITTED)?;
    equal(values(&poll(&reader, want.len())?), want, "committed")
}

/// A reader of a partition from its beginning.
fn reader_with(
    test: &Test,
    (topic, partition): (&str, i32),
    settings: &[(&str, &str)],
) -> Outcome<BaseConsumer> {
    let reader = consumer(test, &test.name("reader"), settings)?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, Offset::Beginning)?;
    reader.assign(&place)?;
    Ok(reader)
}

/// The fault of a call; it must have one.
fn fault(result: KafkaResult<()>) -> Outcome<KafkaError> {
    result.err().ok_or_else(|| "no error".into())
}

fn is_fenced(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fenced)
}

/// Commits and aborts over two partitions, with records of another producer in between.
pub fn commit_and_abort(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 2, &[])?;
    let producer = transactional(test, &[])?;
    for round in 0..4 {
        producer.begin_transaction()?;
        for partition in 0..2 {
            send_in(&producer, (&topic, partition), (3 * round, 3 * round + 3))?;
        }
        send(test, (&topic, 0), (100 + round, 101 + round), an_hour_ago()?, &[])?;
        if round % 2 == 0 {
            producer.abort_transaction(CALL_MAX)?;
        } else {
            producer.commit_transaction(CALL_MAX)?;
        }
    }
    let (first, second) = (sequence(3, 6), sequence(9, 12));
    let plain = |round: usize| sequence(100 + round, 101 + round);
    let all = [plain(0), first.clone(), plain(1), plain(2), second.clone(), plain(3)].concat();
    reads_committed(test, (&topic, 0), all)?;
    reads_committed(test, (&topic, 1), [first, second].concat())?;
    let settings = [("isolation.level", "read_uncommitted")];
    let reader = reader_with(test, (&topic, 1), &settings)?;
    equal(values(&poll(&reader, 12)?), sequence(0, 12), "uncommitted")
}

/// Offsets are there with the commit and not before.
pub fn offsets(test: &Test) -> Outcome {
    let (source, out) = (new_topic(test, "in", 1, &[])?, new_topic(test, "out", 1, &[])?);
    let group = test.name("group");
    send(test, (&source, 0), (0, 10), an_hour_ago()?, &[])?;
    let member = consumer(test, &group, &[])?;
    member.subscribe(&[&source])?;
    poll(&member, 10)?;
    let producer = transactional(test, &[])?;
    let metadata = member.group_metadata().ok_or("no group")?;
    let attempt = |first: usize, end: usize| -> Outcome {
        producer.begin_transaction()?;
        send_in(&producer, (&out, 0), (first, end))?;
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&source, 0, Offset::Offset(i64::try_from(end)?))?;
        Ok(producer.send_offsets_to_transaction(&place, &metadata, CALL_MAX)?)
    };
    attempt(5, 10)?;
    producer.abort_transaction(CALL_MAX)?;
    equal(committed(&member, &source)?, Offset::Invalid, "after the abort")?;
    attempt(0, 5)?;
    // librdkafka asks for stable offsets alone, and gets none while it is open.
    let mut place = TopicPartitionList::new();
    place.add_partition(&source, 0);
    let early = member.committed_offsets(place, Duration::from_millis(300));
    holds(early.is_err(), "a stable offset while it is open")?;
    producer.commit_transaction(CALL_MAX)?;
    equal(committed(&member, &source)?, Offset::Offset(5), "after the commit")?;
    reads_committed(test, (&out, 0), sequence(0, 5))?;
    drop(member);
    let again = consumer(test, &group, &[])?;
    again.subscribe(&[&source])?;
    equal(values(&poll(&again, 5)?), sequence(5, 10), "the next member")
}

/// Who begins with a transactional id ends what another one has open, and shuts it out.
pub fn zombie(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    let first = transactional(test, &[])?;
    first.begin_transaction()?;
    send_in(&first, (&topic, 0), (0, 2))?;
    let second = transactional(test, &[])?;
    whole(&second, &topic, (2, 4))?;
    let error = fault(first.commit_transaction(CALL_MAX))?;
    holds(is_fenced(&error), &format!("commit of a zombie: {error}"))?;
    reads_committed(test, (&topic, 0), sequence(2, 4))
}

/// The broker ends what is open for too long.
pub fn timeout(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    let late =
        transactional(test, &[("transaction.timeout.ms", "1000"), ("message.timeout.ms", "1000")])?;
    late.begin_transaction()?;
    send_in(&late, (&topic, 0), (0, 2))?;
    send(test, (&topic, 0), (50, 51), an_hour_ago()?, &[])?;
    // Held back by what is open before it, until the broker ends that.
    let reader = reader_with(test, (&topic, 0), &COMMITTED)?;
    let got = until("the record behind what is open", || {
        Ok(reader.poll(CALL_MAX / 100).transpose()?.map(|found| found.detach()))
    })?;
    equal(got.payload(), Some("v-50".as_bytes()), "the first one")?;
    let error = fault(late.commit_transaction(CALL_MAX))?;
    holds(is_fenced(&error), &format!("commit of what timed out: {error}"))?;
    whole(&transactional(test, &[])?, &topic, (2, 4))?;
    reads_committed(test, (&topic, 0), [sequence(50, 51), sequence(2, 4)].concat())
}
