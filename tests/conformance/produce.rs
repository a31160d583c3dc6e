//! Produce (API 0): what is stored and what is answered when all is well, in every version and with
//! every codec.

use std::io::Write;

use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::produce::{PartitionProduceResponse, ProduceRequest};

use super::batch::{Batch, CODECS, Record, Stored, without_brokers_own};
use super::broker;
use super::client::Client;
use super::kit;

/// Records of every kind: keys and values that are null or empty, headers twice and without value.
pub fn records_of_all_kinds() -> Vec<Record> {
    let now = kit::now_ms();
    let header = |key: &str, value: Option<&str>| {
        (key.to_owned(), value.map(|value| value.as_bytes().to_vec()))
    };
    let mut records = vec![Record::at(now, "value").key("key"), Record::at(now + 1, "").key("")];
    let mut null = Record::at(now - 5, "");
    null.value = None;
    let mut headers = Record::at(now, "with headers");
    headers.headers =
        vec![header("h", Some("1")), header("h", Some("2")), header("", None), header("h", None)];
    let mut long = Record::at(now, &"long ".repeat(20_000));
    long.offset_delta = None;
    records.extend([null, headers, long]);
    records
}

#[test]
fn every_version_stores_a_batch_and_says_where() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let mut expected = 0;
    for version in 3..=11 {
        for acks in [-1, 1] {
            let batch = Batch::of(&["one", "two"]);
            let request = ProduceRequest { acks, ..kit::produce_request(&topic, 0, batch) };
            let response = client.call(version, &request);
            assert_eq!(response.throttle_time_ms, 0);
            assert_eq!(response.responses[0].name, topic);
            let partition = &response.responses[0].partition_responses[0];
            let good = PartitionProduceResponse {
                base_offset: expected,
                log_start_offset: if version >= 5 { 0 } else { -1 },
                log_append_time_ms: -1,
                error_code: ErrorCode::None,
                ..Default::default()
            };
            assert_eq!(*partition, good, "version {version} acks {acks}");
            expected += 2;
        }
    }
    kit::until("all is visible", || kit::end_offset(&mut client, &topic, 0) == expected);
}

#[test]
fn a_batch_comes_back_byte_for_byte_whatever_its_codec() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for codec in CODECS {
        let sent = Batch::records(records_of_all_kinds()).codec(codec).bytes();
        let base = kit::produced(&mut client, &topic, 0, sent.clone());
        let batches = kit::stored(&mut client, &topic, 0, base);
        assert_eq!(batches[0].base_offset, base);
        assert!(batches[0].leader_epoch >= 0, "the broker stamps its own");
        assert_eq!(batches[0].as_sent(), without_brokers_own(&sent), "codec {codec}");
    }
}

#[test]
fn a_snappy_block_without_the_frames_of_java_is_taken_too() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let mut batch = Batch::of(&["raw", "block"]).codec(2);
    let plain = batch.plain_payload();
    batch.payload = Some(snap::raw::Encoder::new().compress_vec(&plain).unwrap());
    let sent = batch.bytes();
    let base = kit::produced(&mut client, &topic, 0, sent.clone());
    let batches = kit::stored(&mut client, &topic, 0, base);
    assert_eq!(batches[0].as_sent(), without_brokers_own(&sent));
}

#[test]
fn offsets_grow_by_the_records_of_each_batch() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let mut expected = 0;
    for count in [1, 10, 3, 500] {
        let values = vec!["x"; count];
        assert_eq!(kit::produced(&mut client, &topic, 1, Batch::of(&values)), expected);
        expected += i64::try_from(count).unwrap();
    }
    assert_eq!(kit::end_offset(&mut client, &topic, 1), expected);
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 0, "the other partition is empty");
    let batches = kit::stored(&mut client, &topic, 1, 0);
    let bases: Vec<_> = batches.iter().map(|batch| batch.base_offset).collect();
    assert_eq!(bases, [0, 1, 11, 14]);
}

#[test]
fn partitions_of_one_request_succeed_and_fail_alone() {
    let mut client = Client::connect();
    let (one, two) = (kit::topic(&mut client, 2), kit::topic(&mut client, 1));
    let absent = kit::unique("absent");
    let good: Bytes = Batch::of(&["good"]).bytes();
    let bad = Batch { crc: Some(1), ..Batch::of(&["bad"]) }.bytes();
    let request = kit::produce_to(&[
        (&one, 0, good.clone()),
        (&one, 1, bad),
        (&one, 99, good.clone()),
        (&absent, 0, good.clone()),
        (&two, 0, good),
    ]);
    let response = client.call(kit::PRODUCE, &request);
    let code = |topic: &str, index: i32| {
        let topic = response.responses.iter().find(|row| row.name == topic).unwrap();
        let row = topic.partition_responses.iter().find(|row| row.index == index).unwrap();
        assert_eq!(row.base_offset, if row.error_code.is_error() { -1 } else { 0 });
        row.error_code
    };
    assert_eq!(code(&one, 0), ErrorCode::None);
    assert_eq!(code(&one, 1), ErrorCode::CorruptMessage);
    assert_eq!(code(&one, 99), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&absent, 0), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&two, 0), ErrorCode::None);
    assert_eq!(kit::end_offset(&mut client, &one, 1), 0, "nothing of the bad one");
}

#[test]
fn a_producer_that_is_not_idempotent_may_say_so_in_any_way() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let ways =
        [(0, 0, -1), (0, 0, 0), (-1, -1, -1), (-1, 0, 0), (0, -1, -1), (0, 0, -1), (0, 0, 7)];
    for (expected, (epoch, sequence, leader_epoch)) in (0..).zip(ways) {
        let mut batch = Batch::of(&["again"]).producer(-1, epoch, sequence);
        batch.leader_epoch = leader_epoch;
        assert_eq!(kit::produced(&mut client, &topic, 0, batch), expected, "never a duplicate");
    }
}

#[test]
fn bytes_behind_the_batch_are_cut_off() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let (good, second) = (Batch::of(&["good"]).bytes(), Batch::of(&["cut"]).bytes());
    for tail in [&[7][..], &[0; 11], &second[..second.len() - 1]] {
        let bytes = Bytes::from([&good[..], tail].concat());
        let base = kit::produced(&mut client, &topic, 0, bytes);
        let batches = kit::stored(&mut client, &topic, 0, base);
        assert_eq!((batches.len(), batches[0].bytes.len()), (1, good.len()));
    }
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 3);
}

#[test]
fn a_topic_with_a_codec_of_its_own_stores_in_it() {
    let mut client = Client::connect();
    let names =
        [("uncompressed", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4), ("producer", 1)];
    for (name, codec) in names {
        let topic = kit::topic_with(&mut client, 1, &[("compression.type", name)]);
        let batch = Batch::records(records_of_all_kinds()).codec(1);
        kit::produced(&mut client, &topic, 0, batch);
        let stored: Vec<Stored> = kit::stored(&mut client, &topic, 0, 0);
        assert_eq!(stored[0].attributes & 7, codec, "{name}");
        assert_eq!((stored[0].record_count, stored[0].last_offset_delta), (5, 4));
        let at = kit::list_offsets(&mut client, &topic, 0, -3);
        assert_eq!(at.offset, 1, "{name}: the records are still readable");
    }
}

#[test]
fn lz4_frames_whose_blocks_depend_on_each_other_are_stored_and_served() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: it answers -1.
    }
    let mut client = Client::connect();
    // In a compacted topic every record is looked at.
    for configs in [&[][..], &[("cleanup.policy", "compact")]] {
        let topic = kit::topic_with(&mut client, 1, configs);
        let value = "depends on what stood before ".repeat(100);
        let records = (0..100).map(|_| Record::at(kit::now_ms(), &value).key("k"));
        let mut batch = Batch::records(records.collect()).codec(3);
        let linked = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB);
        let mut encoder = FrameEncoder::with_frame_info(linked, Vec::new());
        encoder.write_all(&batch.plain_payload()).unwrap();
        batch.payload = Some(encoder.finish().unwrap());
        kit::produced(&mut client, &topic, 0, batch.bytes());
        let stored = kit::stored(&mut client, &topic, 0, 0);
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].as_sent(), without_brokers_own(&batch.bytes()));
    }
}
