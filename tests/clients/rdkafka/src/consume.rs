//! Cases of the consumer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use rust_suite::{Outcome, Test, equal, holds, sequence, until};

use crate::{CALL_MAX, an_hour_ago, consumer, new_topic, poll, reader, send, values};

/// One turn of a member's life; records are not expected here.
fn turn(member: &BaseConsumer) -> Outcome<usize> {
    member.poll(Duration::from_millis(20)).transpose()?;
    Ok(member.assignment()?.count())
}

/// One member owns all, two share, and the one that stays owns all again at once.
pub fn group_of_two(test: &Test, strategy: &str) -> Outcome {
    let (topic, group) = (new_topic(test, "a", 4, &[])?, test.name("group"));
    let join = || -> Outcome<BaseConsumer> {
        let member = consumer(test, &group, &[("partition.assignment.strategy", strategy)])?;
        member.subscribe(&[&topic])?;
        Ok(member)
    };
    let first = join()?;
    until("one member with all", || Ok((turn(&first)? == 4).then_some(())))?;
    let second = join()?;
    until("two members with two each", || {
        Ok((turn(&first)? == 2 && turn(&second)? == 2).then_some(()))
    })?;
    for partition in 0..4 {
        send(test, (&topic, partition), (0, 5), an_hour_ago()?, &[])?;
    }
    let mut seen = HashSet::new();
    for record in poll(&first, 10)?.iter().chain(&poll(&second, 10)?) {
        seen.insert((record.partition(), record.offset()));
    }
    equal(seen.len(), 20, "different records over both members")?;
    second.commit_consumer_state(CommitMode::Sync)?;
    drop(second);
    let left = Instant::now();
    until("all with the one that stays", || Ok((turn(&first)? == 4).then_some(())))?;
    holds(left.elapsed() < Duration::from_secs(8), "only the session timeout ended the leave")
}

/// KIP-345: a static member that comes back within its session keeps its partitions.
pub fn static_member(test: &Test) -> Outcome {
    let (topic, group) = (new_topic(test, "a", 1, &[])?, test.name("group"));
    let join = || -> Outcome<BaseConsumer> {
        let member = consumer(test, &group, &[("group.instance.id", "one")])?;
        member.subscribe(&[&topic])?;
        Ok(member)
    };
    send(test, (&topic, 0), (0, 4), an_hour_ago()?, &[])?;
    let first = join()?;
    equal(values(&poll(&first, 4)?), sequence(0, 4), "values")?;
    commit(&first, &topic, 4)?;
    drop(first);
    send(test, (&topic, 0), (4, 6), an_hour_ago()?, &[])?;
    equal(values(&poll(&join()?, 2)?), sequence(4, 6), "values after the return")
}

pub fn commit(member: &BaseConsumer, topic: &str, offset: i64) -> Outcome {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Offset(offset))?;
    Ok(member.commit(&place, CommitMode::Sync)?)
}

/// A second member of the same group goes on where the first committed.
pub fn commit_and_resume(test: &Test) -> Outcome {
    let (topic, group) = (new_topic(test, "a", 1, &[])?, test.name("group"));
    send(test, (&topic, 0), (0, 10), an_hour_ago()?, &[])?;
    let first = consumer(test, &group, &[])?;
    first.subscribe(&[&topic])?;
    poll(&first, 10)?;
    commit(&first, &topic, 6)?;
    drop(first);
    let second = consumer(test, &group, &[])?;
    second.subscribe(&[&topic])?;
    equal(values(&poll(&second, 4)?), sequence(6, 10), "values after the commit")?;
    equal(committed(&second, &topic)?, Offset::Offset(6), "committed offset")?;
    let stranger = consumer(test, &test.name("other"), &[])?;
    equal(committed(&stranger, &topic)?, Offset::Invalid, "commit of an unknown group")
}

pub fn committed(member: &BaseConsumer, topic: &str) -> Outcome<Offset> {
    let mut place = TopicPartitionList::new();
    place.add_partition(topic, 0);
    let found = member.committed_offsets(place, CALL_MAX)?;
    Ok(found.elements()[0].offset())
}

pub fn seek_by_offset(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    send(test, (&topic, 0), (0, 20), an_hour_ago()?, &[])?;
    let consumer = reader(test, &topic, 0, Offset::Offset(15))?;
    equal(values(&poll(&consumer, 5)?), sequence(15, 20), "from offset 15")?;
    consumer.seek(&topic, 0, Offset::Offset(3), CALL_MAX)?;
    equal(values(&poll(&consumer, 17)?), sequence(3, 20), "from offset 3")?;
    equal(consumer.fetch_watermarks(&topic, 0, CALL_MAX)?, (0, 20), "watermarks")?;
    let tail = reader(test, &topic, 0, Offset::OffsetTail(2))?;
    equal(values(&poll(&tail, 2)?), sequence(18, 20), "the last two")?;
    let beyond = reader(test, &topic, 0, Offset::Offset(1000))?;
    equal(values(&poll(&beyond, 20)?), sequence(0, 20), "out of range, reset to the start")?;

    let strict = crate::consumer(test, &test.name("strict"), &[("auto.offset.reset", "error")])?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&topic, 0, Offset::Offset(1000))?;
    strict.assign(&place)?;
    let code = until("an error", || match strict.poll(Duration::from_millis(100)) {
        Some(Err(KafkaError::MessageConsumption(code))) => Ok(Some(code)),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) | None => Ok(None),
    })?;
    equal(code, RDKafkaErrorCode::AutoOffsetReset, "out of range without a reset")
}

pub fn seek_by_time(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    let first = an_hour_ago()?;
    send(test, (&topic, 0), (0, 20), first, &[])?;
    let consumer = reader(test, &topic, 0, Offset::Beginning)?;
    for (ms, expected) in [(7000, 7), (7500, 8), (-60_000, 0), (19_000, 19)] {
        let found = consumer.offsets_for_timestamp(first + ms, CALL_MAX)?;
        let place = found.elements()[0].offset();
        equal(place, Offset::Offset(expected), &format!("offset {ms} ms on"))?;
        consumer.seek(&topic, 0, place, CALL_MAX)?;
        let from = usize::try_from(expected)?;
        equal(values(&poll(&consumer, 20 - from)?), sequence(from, 20), "values")?;
    }
    let none = consumer.offsets_for_timestamp(first + 19_001, CALL_MAX)?;
    equal(none.elements()[0].offset(), Offset::End, "after the last record")
}

/// A fetch that waits for up to 15 s is answered as soon as a record is there.
pub fn long_poll(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    send(test, (&topic, 0), (0, 1), an_hour_ago()?, &[])?;
    let settings = [("fetch.wait.max.ms", "15000"), ("socket.timeout.ms", "20000")];
    let reader = consumer(test, &test.name("reader"), &settings)?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&topic, 0, Offset::Beginning)?;
    reader.assign(&place)?;
    poll(&reader, 1)?; // librdkafka sends the next fetch at once.
    let began = Instant::now();
    send(test, (&topic, 0), (1, 2), an_hour_ago()?, &[])?;
    poll(&reader, 1)?;
    let took = began.elapsed();
    holds(took < Duration::from_secs(5), &format!("the parked fetch was answered after {took:?}"))
}
