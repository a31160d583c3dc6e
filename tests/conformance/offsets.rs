//! Looking offsets up: ListOffsets (API 2) by end and by time, OffsetForLeaderEpoch (23), and
//! DeleteRecords (21), which moves a log's start.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::list_offsets::ListOffsetsRequest;
use ottla::protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::batch::{Batch, CODECS, Record};
use super::broker;
use super::client::Client;
use super::kit;

fn records_at(timestamps: &[i64]) -> Batch {
    Batch::records(timestamps.iter().map(|timestamp| Record::at(*timestamp, "v")).collect())
}

/// `(offset, timestamp)` of a lookup.
#[track_caller]
fn lookup(client: &mut Client, topic: &str, timestamp: i64) -> (i64, i64) {
    let at = kit::list_offsets(client, topic, 0, timestamp);
    assert_eq!(at.error_code, ErrorCode::None, "{at:?}");
    (at.offset, at.timestamp)
}

#[test]
fn the_ends_of_a_log_are_told_in_every_version() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b", "c"]));
    let epoch = kit::describe(&mut client, &topic).partitions[0].leader_epoch;
    for version in 1..=10 {
        for (timestamp, expected) in [(-1, 3), (-2, 0)] {
            let request = kit::list_offsets_request(&topic, 0, timestamp);
            let response = client.call(version, &request);
            let at = &response.topics[0].partitions[0];
            assert_eq!((at.error_code, at.offset, at.timestamp), (ErrorCode::None, expected, -1));
            assert_eq!(at.leader_epoch, if version < 4 { -1 } else { epoch }, "{version}");
        }
    }
}

#[test]
fn the_oldest_version_answers_with_a_list() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: 4.x dropped version 0 (KIP-896), kafkajs still asks in it.
    }
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b", "c"]));
    for (timestamp, expected) in [(-1, 3), (-2, 0)] {
        let response = client.call(0, &kit::list_offsets_request(&topic, 0, timestamp));
        let at = &response.topics[0].partitions[0];
        assert_eq!(at.error_code, ErrorCode::None);
        assert_eq!(at.old_style_offsets, [expected]);
    }
}

#[test]
fn a_time_finds_the_first_record_not_before_it_whatever_the_codec() {
    let mut client = Client::connect();
    for codec in CODECS {
        let topic = kit::topic(&mut client, 1);
        for first in [1_000, 2_000, 3_000] {
            let batch = records_at(&[first, first + 10, first + 20]).codec(codec);
            kit::produced(&mut client, &topic, 0, batch);
        }
        for (timestamp, expected) in [
            (0, (0, 1_000)),
            (1_000, (0, 1_000)),
            (1_001, (1, 1_010)),
            (1_020, (2, 1_020)),
            (1_021, (3, 2_000)),
            (2_011, (5, 2_020)),
            (3_020, (8, 3_020)),
            (3_021, (-1, -1)),
            (i64::MAX, (-1, -1)),
        ] {
            let got = lookup(&mut client, &topic, timestamp);
            assert_eq!(got, expected, "codec {codec} at {timestamp}");
        }
        assert_eq!(lookup(&mut client, &topic, -3), (8, 3_020), "codec {codec}: the greatest");
    }
}

#[test]
fn times_need_not_grow_with_offsets() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for timestamps in [&[500, 900, 100][..], &[700, 900], &[200]] {
        kit::produced(&mut client, &topic, 0, records_at(timestamps));
    }
    for (timestamp, expected) in
        [(0, (0, 500)), (501, (1, 900)), (900, (1, 900)), (901, (-1, -1)), (-3, (1, 900))]
    {
        assert_eq!(lookup(&mut client, &topic, timestamp), expected, "at {timestamp}");
    }
}

#[test]
fn the_greatest_time_is_that_of_the_log_and_none_in_an_empty_one() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    assert_eq!(lookup(&mut client, &topic, -3), (-1, -1));
    assert_eq!(lookup(&mut client, &topic, 5), (-1, -1));
    assert_eq!(lookup(&mut client, &topic, -1), (0, -1));
    kit::produced(&mut client, &topic, 0, records_at(&[10, 40, 20]));
    kit::produced(&mut client, &topic, 0, records_at(&[30]));
    assert_eq!(lookup(&mut client, &topic, -3), (1, 40));
}

#[test]
fn what_a_version_does_not_know_is_error_35() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for (version, timestamp, expected) in [
        (6, -3, ErrorCode::UnsupportedVersion),
        (7, -3, ErrorCode::None),
        (7, -4, ErrorCode::UnsupportedVersion),
        (8, -4, ErrorCode::None),
        (8, -5, ErrorCode::UnsupportedVersion),
        (9, -5, ErrorCode::None),
        (9, -7, ErrorCode::UnsupportedVersion),
        (3, i64::MIN, ErrorCode::UnsupportedVersion),
    ] {
        let response = client.call(version, &kit::list_offsets_request(&topic, 0, timestamp));
        let code = response.topics[0].partitions[0].error_code;
        assert_eq!(code, expected, "version {version} timestamp {timestamp}");
    }
    // Nothing is tiered: the local log is all there is.
    assert_eq!(lookup(&mut client, &topic, -4), (0, -1));
    assert_eq!(lookup(&mut client, &topic, -5), (-1, -1));
}

#[test]
fn list_offsets_tells_each_partition_its_error() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let current = kit::describe(&mut client, &topic).partitions[0].leader_epoch;
    for (name, partition, epoch, expected) in [
        (topic.clone(), 0, -1, ErrorCode::None),
        (topic.clone(), 0, current, ErrorCode::None),
        (topic.clone(), 0, current + 1, ErrorCode::UnknownLeaderEpoch),
        (topic.clone(), 2, -1, ErrorCode::UnknownTopicOrPartition),
        (kit::unique("absent"), 0, -1, ErrorCode::UnknownTopicOrPartition),
    ] {
        let mut request = kit::list_offsets_request(&name, partition, -1);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let at = client.call(6, &request).topics[0].partitions[0].clone();
        assert_eq!(at.error_code, expected, "{name} {partition} epoch {epoch}");
        if expected.is_error() {
            assert_eq!((at.offset, at.timestamp), (-1, -1));
        }
    }
    let mut request: ListOffsetsRequest = kit::list_offsets_request(&topic, 1, -1);
    let again = request.topics[0].partitions[0].clone();
    request.topics[0].partitions.push(again);
    let response = client.call(6, &request);
    for at in &response.topics[0].partitions {
        assert_eq!(at.error_code, ErrorCode::InvalidRequest, "a partition named twice");
    }
}

#[test]
fn both_isolation_levels_end_at_the_same_place_without_transactions() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]));
    for isolation_level in [0, 1] {
        let request =
            ListOffsetsRequest { isolation_level, ..kit::list_offsets_request(&topic, 0, -1) };
        assert_eq!(client.call(5, &request).topics[0].partitions[0].offset, 1);
    }
}

fn epoch_end(client: &mut Client, topic: &str, current: i32, asked: i32) -> (ErrorCode, i32, i64) {
    let partition = OffsetForLeaderPartition {
        partition: 0,
        current_leader_epoch: current,
        leader_epoch: asked,
    };
    let topic = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
    let mut answers = (2..=4).map(|version| {
        let response = client.call(version, &request);
        let end = response.topics[0].partitions[0].clone();
        (end.error_code, end.leader_epoch, end.end_offset)
    });
    let first = answers.next().unwrap();
    assert!(answers.all(|answer| answer == first), "the same in every version");
    first
}

#[test]
fn the_end_of_an_epoch_is_found() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let current = kit::describe(&mut client, &topic).partitions[0].leader_epoch;
    let none = ErrorCode::None;
    assert_eq!(epoch_end(&mut client, &topic, -1, current), (none, current, 0), "no records yet");
    kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b"]));
    assert_eq!(epoch_end(&mut client, &topic, -1, current), (none, current, 2));
    assert_eq!(epoch_end(&mut client, &topic, current, current), (none, current, 2));
    assert_eq!(epoch_end(&mut client, &topic, -1, current + 1), (none, -1, -1));
    assert_eq!(epoch_end(&mut client, &topic, -1, -1), (none, -1, -1));
    let (code, ..) = epoch_end(&mut client, &topic, current + 1, current);
    assert_eq!(code, ErrorCode::UnknownLeaderEpoch);
    let (code, ..) = epoch_end(&mut client, &kit::unique("absent"), -1, 0);
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn deleting_records_moves_the_start_for_all_who_ask() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for _ in 0..3 {
        kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b", "c"]));
    }
    for (offset, expected) in [(4, 4), (2, 4), (4, 4), (-1, 9)] {
        let row = kit::delete_records(&mut client, &topic, 0, offset);
        let got = (row.partition_index, row.error_code, row.low_watermark);
        assert_eq!(got, (0, ErrorCode::None, expected), "up to {offset}");
        assert_eq!(lookup(&mut client, &topic, -2), (expected, -1));
        let data = kit::fetch(&mut client, &topic, 0, expected);
        assert_eq!((data.error_code, data.log_start_offset), (ErrorCode::None, expected));
        let data = kit::fetch(&mut client, &topic, 0, expected - 1);
        assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange);
        if expected == 4 {
            // The batch that holds the start is still served whole.
            assert_eq!(kit::stored(&mut client, &topic, 0, 4)[0].base_offset, 3);
        }
    }
    let row = kit::produce(&mut client, &topic, 0, Batch::of(&["next"]));
    assert_eq!((row.base_offset, row.log_start_offset), (9, 9), "offsets are never used again");
}

#[test]
fn a_time_finds_no_record_that_was_deleted() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, records_at(&[100, 200, 300]));
    kit::delete_records(&mut client, &topic, 0, 1);
    assert_eq!(lookup(&mut client, &topic, 50), (1, 200));
}

#[test]
fn records_that_cannot_be_deleted_are_refused() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let compacted = kit::topic_with(&mut client, 1, &[("cleanup.policy", "compact")]);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b"]));
    kit::commit_once(&mut client);
    for (what, name, partition, offset, expected) in [
        ("above the end", topic.as_str(), 0, 3, ErrorCode::OffsetOutOfRange),
        ("negative", &topic, 0, -2, ErrorCode::OffsetOutOfRange),
        ("partition", &topic, 9, 1, ErrorCode::UnknownTopicOrPartition),
        ("topic", "no-such-topic", 0, 1, ErrorCode::UnknownTopicOrPartition),
        ("internal", "__consumer_offsets", 0, 0, ErrorCode::InvalidTopicException),
        ("policy", &compacted, 0, 0, ErrorCode::PolicyViolation),
    ] {
        let row = kit::delete_records(&mut client, name, partition, offset);
        assert_eq!((row.error_code, row.low_watermark), (expected, -1), "{what}");
    }
    assert_eq!(lookup(&mut client, &topic, -2), (0, -1));
}
