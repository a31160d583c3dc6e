//! Cases of the producer.

use std::time::Duration;

use futures_executor::block_on;
use rdkafka::Offset;
use rdkafka::admin::{AlterConfig, ResourceSpecifier};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rust_suite::{Outcome, Test, equal, holds, sequence, until};

use crate::{admin_client, an_hour_ago, config, new_topic, options, poll, reader, send, values};

/// Every shape of record comes back equal.
pub fn codec(test: &Test, codec: &str) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    let producer: FutureProducer =
        config(test, &[("compression.type", codec), ("linger.ms", "50")]).create()?;
    let headers = OwnedHeaders::new()
        .insert(Header { key: "twice", value: Some("1") })
        .insert(Header { key: "twice", value: Some("2") })
        .insert(Header { key: "null", value: None::<&str> })
        .insert(Header { key: "bytes", value: Some(&[0, 0xff, 0x80]) });
    let long = "abcdefgh".repeat(20_000);
    let shapes = [
        (Some("key"), Some("value")),
        (Some("tombstone"), None),
        (None, Some("no key")),
        (Some("long"), Some(long.as_str())),
    ];
    let at = an_hour_ago()?;
    let mut answers = Vec::new();
    for (key, value) in shapes {
        let mut record =
            FutureRecord::to(&topic).partition(0).timestamp(at).headers(headers.clone());
        record.key = key;
        record.payload = value;
        answers.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    for answer in answers {
        block_on(answer)?.map_err(|(error, _)| error)?;
    }
    for (got, (key, value)) in
        poll(&reader(test, &topic, 0, Offset::Beginning)?, 4)?.iter().zip(shapes)
    {
        equal(got.key(), key.map(str::as_bytes), "key")?;
        holds(got.payload() == value.map(str::as_bytes), "the value differs")?;
        equal(got.timestamp().to_millis(), Some(at), "timestamp")?;
        same_headers(got, &headers)?;
    }
    Ok(())
}

fn same_headers(got: &OwnedMessage, sent: &OwnedHeaders) -> Outcome {
    let got = got.headers().ok_or("no headers")?;
    equal(got.count(), sent.count(), "headers")?;
    for (got, sent) in got.iter().zip(sent.iter()) {
        equal((got.key, got.value), (sent.key, sent.value), "header")?;
    }
    Ok(())
}

/// One level; with 0 nothing is answered, and the connection must stay usable.
pub fn acks(test: &Test, acks: &str) -> Outcome {
    let topic = new_topic(test, "a", 1, &[])?;
    for i in 0..10 {
        send(test, (&topic, 0), (i, i + 1), an_hour_ago()?, &[("acks", acks)])?;
    }
    equal(values(&poll(&start(test, &topic, 0)?, 10)?), sequence(0, 10), "values")
}

fn start(test: &Test, topic: &str, partition: i32) -> Outcome<BaseConsumer> {
    reader(test, topic, partition, Offset::Beginning)
}

/// Many small batches to three partitions, five requests in flight: all there, once, in order.
pub fn idempotent(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 3, &[])?;
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "10")];
    for partition in 0..3 {
        let offsets = send(test, (&topic, partition), (0, 300), an_hour_ago()?, &settings)?;
        equal(offsets, (0..300).collect(), "offsets answered")?;
        equal(values(&poll(&start(test, &topic, partition)?, 300)?), sequence(0, 300), "values")?;
    }
    Ok(())
}

/// Refused with 10, and accepted once the topic's limit is raised.
pub fn too_large(test: &Test) -> Outcome {
    let topic = new_topic(test, "a", 1, &[("max.message.bytes", "2000")])?;
    let producer: FutureProducer = config(test, &[]).create()?;
    let send = |size: usize| -> Outcome<Result<i64, KafkaError>> {
        let value = vec![b'x'; size];
        let record = FutureRecord::<(), _>::to(&topic).partition(0).payload(&value);
        let answer = producer.send_result(record).map_err(|(error, _)| error)?;
        Ok(block_on(answer)?.map(|stored| stored.offset).map_err(|(error, _)| error))
    };
    let refused = Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
    equal(send(4000)?, refused, "4000 bytes")?;
    equal(send(10)?, Ok(0), "a small one")?;
    let resource = ResourceSpecifier::Topic(&topic);
    let raise = AlterConfig::new(resource).set("max.message.bytes", "9000");
    for result in block_on(admin_client(test)?.alter_configs([&raise], &options()))? {
        result.map_err(|(_, code)| code)?;
    }
    until("a raised max.message.bytes in force", || Ok(send(4000)?.ok()))?;
    Ok(())
}

pub fn auto_creation(test: &Test) -> Outcome {
    let topic = test.name("a");
    let producer: FutureProducer = config(test, &[]).create()?;
    let record = FutureRecord::<(), _>::to(&topic).payload("v-0");
    block_on(producer.send(record, Duration::from_secs(10))).map_err(|(error, _)| error)?;
    Ok(())
}
