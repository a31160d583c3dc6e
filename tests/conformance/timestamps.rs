//! The timestamps of produced records: kept within bounds under CreateTime, replaced under
//! LogAppendTime.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::produce::PartitionProduceResponse;

use super::batch::{Batch, Record};
use super::broker;
use super::client::Client;
use super::kit;

const HOUR_MS: i64 = 3_600_000;

fn produce_at(client: &mut Client, topic: &str, timestamps: &[i64]) -> PartitionProduceResponse {
    let records = timestamps.iter().map(|timestamp| Record::at(*timestamp, "v")).collect();
    kit::produce(client, topic, 0, Batch::records(records))
}

#[test]
fn timestamps_are_kept_as_the_producer_made_them() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let now = kit::now_ms();
    for timestamps in [&[now, now - 5, now + 5][..], &[0], &[-1], &[-1_000], &[now + HOUR_MS / 2]] {
        let row = produce_at(&mut client, &topic, timestamps);
        assert_eq!(row.error_code, ErrorCode::None, "{timestamps:?}: {row:?}");
        assert_eq!(row.log_append_time_ms, -1);
        let batches = kit::stored(&mut client, &topic, 0, row.base_offset);
        assert_eq!(batches[0].base_timestamp, timestamps[0]);
        // Differs from Kafka: it lets no negative time be the largest, but says -1, none.
        let least = if broker::shared().is_kafka() { -1 } else { i64::MIN };
        let largest = timestamps.iter().fold(least, |largest, timestamp| largest.max(*timestamp));
        assert_eq!(batches[0].max_timestamp, largest);
        assert_eq!(batches[0].attributes & 8, 0);
    }
}

#[test]
fn a_record_more_than_an_hour_ahead_is_error_32_and_told_by_its_place() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let now = kit::now_ms();
    let row = produce_at(&mut client, &topic, &[now, now + 2 * HOUR_MS, now, now + 3 * HOUR_MS]);
    assert_eq!(row.error_code, ErrorCode::InvalidTimestamp);
    assert_eq!(row.base_offset, -1);
    let indexes: Vec<_> = row.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(indexes, [1, 3]);
    assert!(row.error_message.is_some());
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 0, "the whole batch is refused");
}

#[test]
fn bounds_of_the_topic_count() {
    let mut client = Client::connect();
    let configs = [
        ("message.timestamp.before.max.ms", "60000"),
        ("message.timestamp.after.max.ms", "86400000"),
    ];
    let topic = kit::topic_with(&mut client, 1, &configs);
    let now = kit::now_ms();
    for (what, timestamp, expected) in [
        ("now", now, ErrorCode::None),
        ("half a minute ago", now - 30_000, ErrorCode::None),
        ("two minutes ago", now - 120_000, ErrorCode::InvalidTimestamp),
        ("without a time", -1, ErrorCode::None),
        ("two hours ahead", now + 2 * HOUR_MS, ErrorCode::None),
        ("two days ahead", now + 48 * HOUR_MS, ErrorCode::InvalidTimestamp),
    ] {
        let row = produce_at(&mut client, &topic, &[timestamp]);
        assert_eq!(row.error_code, expected, "{what}");
    }
}

#[test]
fn a_bad_timestamp_weighs_more_than_a_missing_key() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("cleanup.policy", "compact")]);
    let now = kit::now_ms();
    let keyless = Record::at(now, "no key");
    let future = Record::at(now + 2 * HOUR_MS, "v").key("k");
    let row = kit::produce(&mut client, &topic, 0, Batch::records(vec![keyless, future]));
    assert_eq!(row.error_code, ErrorCode::InvalidTimestamp);
    let indexes: Vec<_> = row.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(indexes, [0, 1]);
}

#[test]
fn a_wrong_largest_timestamp_is_mended() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let now = kit::now_ms();
    for codec in [0, 3] {
        let records =
            vec![Record::at(now - 9, "a"), Record::at(now, "b"), Record::at(now - 3, "c")];
        let batch = Batch { max_timestamp: Some(now - 9), ..Batch::records(records) }.codec(codec);
        let base = kit::produced(&mut client, &topic, 0, batch);
        let batches = kit::stored(&mut client, &topic, 0, base); // Checks the CRC, too.
        assert_eq!(batches[0].max_timestamp, now);
    }
}

#[test]
fn a_producer_cannot_set_append_time_itself() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let now = kit::now_ms();
    let records = vec![Record::at(now - 1_000, "a"), Record::at(now - 500, "b")];
    let batch = Batch { attributes: 8, ..Batch::records(records) };
    let base = kit::produced(&mut client, &topic, 0, batch);
    let batches = kit::stored(&mut client, &topic, 0, base);
    assert_eq!(batches[0].attributes & 8, 0);
    assert_eq!((batches[0].base_timestamp, batches[0].max_timestamp), (now - 1_000, now - 500));
}

#[test]
fn under_log_append_time_the_broker_says_when() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("message.timestamp.type", "LogAppendTime")]);
    for codec in [0, 4] {
        let before = kit::now_ms();
        let records = vec![Record::at(5, "a"), Record::at(before + 90 * HOUR_MS, "b")];
        let row = kit::produce(&mut client, &topic, 0, Batch::records(records).codec(codec));
        assert_eq!(row.error_code, ErrorCode::None, "no bounds: {row:?}");
        let appended = row.log_append_time_ms;
        assert!((before..=kit::now_ms()).contains(&appended), "{appended}");
        let batches = kit::stored(&mut client, &topic, 0, row.base_offset); // Checks the CRC, too.
        assert_eq!(batches[0].attributes, 8 | codec);
        assert_eq!(batches[0].max_timestamp, appended);
        let at = kit::list_offsets(&mut client, &topic, 0, before);
        assert_eq!((at.offset, at.timestamp), (row.base_offset, appended));
        kit::until("the next ms has begun", || kit::now_ms() > appended);
    }
}
