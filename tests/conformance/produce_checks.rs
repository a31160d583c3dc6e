//! What Produce refuses: each rule with its error, and which rule is looked at first where a batch
//! breaks two. The order is that of Kafka's checks.

use bytes::Bytes;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::produce::{PartitionProduceResponse, ProduceRequest};

use super::batch::{Batch, HEADER_SIZE, Record};
use super::broker;
use super::client::Client;
use super::kit;

/// Produces each batch beside a good one: the good one is stored, of the other nothing.
fn check_refused(table: Vec<(&str, Bytes, ErrorCode)>) {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    for (index, (what, bytes, expected)) in (0..).zip(table) {
        eprintln!("case: {what}");
        let good = Batch::of(&["good"]).bytes();
        let request = kit::produce_to(&[(&topic, 0, bytes), (&topic, 1, good)]);
        let response = client.call(kit::PRODUCE, &request);
        let mut rows = response.responses[0].partition_responses.clone();
        rows.sort_by_key(|row| row.index); // Kafka may give them back in another order.
        check_row(&rows[0], expected);
        assert_eq!((rows[1].error_code, rows[1].base_offset), (ErrorCode::None, index));
        assert_eq!(kit::end_offset(&mut client, &topic, 0), 0, "nothing is stored");
    }
}

#[track_caller]
fn check_row(row: &PartitionProduceResponse, expected: ErrorCode) {
    assert_eq!(row.error_code, expected, "{row:?}");
    assert_eq!((row.base_offset, row.log_append_time_ms), (-1, -1));
}

fn batch() -> Batch {
    Batch::of(&["a", "b", "c"])
}

fn with_length(bytes: &Bytes, length: i32) -> Bytes {
    [&bytes[..8], &length.to_be_bytes(), &bytes[12..]].concat().into()
}

/// The first byte of the CRC, turned.
fn with_bad_crc(bytes: &Bytes) -> Bytes {
    [&bytes[..17], &[!bytes[17]], &bytes[18..]].concat().into()
}

#[test]
fn what_is_no_batch_is_refused() {
    let good = batch().bytes();
    check_refused(vec![
        ("no bytes", Bytes::new(), ErrorCode::InvalidRecord),
        ("fewer bytes than a header", good.slice(..30), ErrorCode::InvalidRecord),
        ("cut", good.slice(..good.len() - 1), ErrorCode::InvalidRecord),
        ("two", [good.clone(), good.clone()].concat().into(), ErrorCode::InvalidRecord),
        ("magic 0", Batch { magic: 0, ..batch() }.bytes(), ErrorCode::InvalidRecord),
        ("magic 1", Batch { magic: 1, ..batch() }.bytes(), ErrorCode::InvalidRecord),
        ("CRC", with_bad_crc(&good), ErrorCode::CorruptMessage),
        ("a byte of the records", corrupt_last(&good), ErrorCode::CorruptMessage),
    ]);
}

#[test]
fn a_magic_that_does_not_exist_is_corrupt() {
    let of_magic = |magic| Batch { magic, ..batch() }.bytes();
    if broker::shared().is_kafka() {
        // Differs from Kafka: there the good partitions of the request fail with it.
        let mut client = Client::connect();
        let topic = kit::topic(&mut client, 1);
        let row = kit::produce(&mut client, &topic, 0, of_magic(3));
        return check_row(&row, ErrorCode::CorruptMessage);
    }
    check_refused(vec![
        ("magic 3", of_magic(3), ErrorCode::CorruptMessage),
        ("magic -1", of_magic(-1), ErrorCode::CorruptMessage),
    ]);
}

fn corrupt_last(bytes: &Bytes) -> Bytes {
    let last = bytes.len() - 1;
    [&bytes[..last], &[!bytes[last]]].concat().into()
}

#[test]
fn a_batch_that_contradicts_itself_is_refused() {
    let count = |count| Batch { record_count: Some(count), ..batch() }.bytes();
    let delta = |delta| Batch { last_offset_delta: Some(delta), ..batch() }.bytes();
    check_refused(vec![
        ("base offset 1", Batch { base_offset: 1, ..batch() }.bytes(), ErrorCode::InvalidRecord),
        ("no records", Batch::records(Vec::new()).bytes(), ErrorCode::InvalidRecord),
        ("count 0", count(0), ErrorCode::InvalidRecord),
        ("count -1", count(-1), ErrorCode::InvalidRecord),
        ("count 2 of 3", count(2), ErrorCode::InvalidRecord),
        ("count 2^31-1", count(i32::MAX), ErrorCode::InvalidRecord),
        ("last offset delta 3 of 3", delta(3), ErrorCode::InvalidRecord),
        ("last offset delta -1", delta(-1), ErrorCode::InvalidRecord),
        ("a control batch", Batch { attributes: 0x20, ..batch() }.bytes(), {
            ErrorCode::InvalidRecord
        }),
        ("a producer without sequence", batch().producer(7, 0, -1).bytes(), {
            ErrorCode::InvalidRecord
        }),
    ]);
}

#[test]
fn records_that_cannot_be_read_are_refused() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: it answers -1 to most of these, and stores some.
    }
    let payload = |attributes: i16, payload: &[u8]| {
        Batch { attributes, payload: Some(payload.to_vec()), ..batch() }.bytes()
    };
    let deltas = |codec: i16| {
        let mut batch = batch().codec(codec);
        batch.records[1].offset_delta = Some(2);
        batch.bytes()
    };
    let mut fewer = batch().codec(1);
    fewer.records.pop();
    (fewer.record_count, fewer.last_offset_delta) = (Some(3), Some(2));
    let table = [
        ("an endless varint", payload(0, &[0xff; 40])),
        ("no record bytes", payload(0, &[])),
        ("bad gzip", payload(1, b"not gzip at all, by no means")),
        ("bad snappy", payload(2, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\xff\xff")),
        ("bad lz4", payload(3, b"not lz4 at all, by no means")),
        ("bad zstd", payload(4, b"not zstd at all, by no means")),
        ("codec 5", payload(5, b"?")),
        ("codec 7", payload(7, b"?")),
        ("offset deltas with a gap", deltas(0)),
        ("compressed offset deltas with a gap", deltas(1)),
        ("fewer records than counted", fewer.bytes()),
        ("a producer with epoch -1", batch().producer(7, -1, 0).bytes()),
    ];
    let refused = |(what, bytes)| (what, bytes, ErrorCode::InvalidRecord);
    check_refused(table.into_iter().map(refused).collect());
}

#[test]
fn a_small_batch_that_unpacks_to_far_too_much_is_refused() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: it has no such limit.
    }
    let zeros = |mebibytes: usize| {
        let now = kit::now_ms();
        let records = (0..mebibytes).map(|_| Record::at(now, &"0".repeat(1 << 20)));
        Batch::records(records.collect()).codec(4)
    };
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    assert!(zeros(17).bytes().len() < 100_000);
    check_row(&kit::produce(&mut client, &topic, 0, zeros(17)), ErrorCode::InvalidRecord);
    kit::produced(&mut client, &topic, 0, zeros(15));
}

#[test]
fn a_length_below_that_of_a_header_is_corrupt() {
    let good = batch().bytes();
    check_refused(vec![
        ("length 48", with_length(&good, 48), ErrorCode::CorruptMessage),
        ("length 20", with_length(&good, 20), ErrorCode::CorruptMessage),
    ]);
}

#[test]
fn null_records_are_refused() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: it never answers.
    }
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let mut request = kit::produce_request(&topic, 0, Bytes::new());
    request.topic_data[0].partition_data[0].records = None;
    for version in [3, 9, 11] {
        let response = client.call(version, &request);
        let row = &response.responses[0].partition_responses[0];
        assert_eq!(row.error_code, ErrorCode::InvalidRecord);
    }
}

#[test]
fn zstd_needs_version_7() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for version in 3..=11 {
        let request = kit::produce_request(&topic, 0, batch().codec(4));
        let response = client.call(version, &request);
        let code = response.responses[0].partition_responses[0].error_code;
        let expected =
            if version < 7 { ErrorCode::UnsupportedCompressionType } else { ErrorCode::None };
        assert_eq!(code, expected, "version {version}");
    }
}

#[test]
fn acknowledgements_that_do_not_exist_are_refused() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for acks in [2, -2, i16::MAX, i16::MIN] {
        let request = ProduceRequest { acks, ..kit::produce_request(&topic, 0, batch()) };
        let response = client.call(kit::PRODUCE, &request);
        check_row(&response.responses[0].partition_responses[0], ErrorCode::InvalidRequiredAcks);
    }
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 0);
}

#[test]
fn a_transactional_batch_without_a_transaction_fails_the_whole_request() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let transactional = Batch { attributes: 0x10, ..batch() }.producer(7, 0, 0);
    let request =
        kit::produce_to(&[(&topic, 0, batch().bytes()), (&topic, 1, transactional.bytes())]);
    let response = client.call(kit::PRODUCE, &request);
    for row in &response.responses[0].partition_responses {
        check_row(row, ErrorCode::TransactionalIdAuthorizationFailed);
    }
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 0);
}

#[test]
fn internal_topics_are_not_for_clients() {
    let mut client = Client::connect();
    kit::commit_once(&mut client);
    let row = kit::produce(&mut client, "__consumer_offsets", 0, batch());
    check_row(&row, ErrorCode::InvalidTopicException);
}

#[test]
fn a_batch_over_max_message_bytes_is_refused_and_the_connection_stays() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("max.message.bytes", "1000")]);
    let of_size = |size: usize| {
        let around = Batch::of(&[""]).bytes().len() + 2; // The two lengths take a byte more.
        Batch::of(&[&"x".repeat(size - around)]).bytes()
    };
    assert_eq!(of_size(1_000).len(), 1_000);
    kit::produced(&mut client, &topic, 0, of_size(1_000));
    check_row(&kit::produce(&mut client, &topic, 0, of_size(1_001)), ErrorCode::MessageTooLarge);
    let squeezed = Batch::of(&[&"x".repeat(50_000)]).codec(1);
    kit::produced(&mut client, &topic, 0, squeezed); // The compressed size counts.
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 2);
}

#[test]
fn a_batch_that_the_broker_unpacks_must_fit_afterwards_too() {
    let mut client = Client::connect();
    for compression in ["uncompressed", "zstd"] {
        let configs = [("max.message.bytes", "1000"), ("compression.type", compression)];
        let topic = kit::topic_with(&mut client, 1, &configs);
        let random: String = (0..400).map(|_| kit::unique("r")).collect();
        for text in ["x".repeat(50_000), random] {
            let squeezed = Batch::of(&[&text]).codec(1);
            if squeezed.bytes().len() > 1_000 || compression == "uncompressed" {
                let row = kit::produce(&mut client, &topic, 0, squeezed);
                check_row(&row, ErrorCode::MessageTooLarge);
            } else {
                kit::produced(&mut client, &topic, 0, squeezed);
            }
        }
    }
}

#[test]
fn a_batch_over_the_default_of_one_mebibyte_is_refused() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let row = kit::produce(&mut client, &topic, 0, Batch::of(&[&"x".repeat(1_048_588)]));
    check_row(&row, ErrorCode::MessageTooLarge);
    kit::produced(&mut client, &topic, 0, Batch::of(&[&"x".repeat(1_000_000)]));
}

#[test]
fn a_batch_over_segment_bytes_is_refused() {
    let mut client = Client::connect();
    let configs = [("segment.bytes", "1048576"), ("max.message.bytes", "4194304")];
    let topic = kit::topic_with(&mut client, 1, &configs);
    let row = kit::produce(&mut client, &topic, 0, Batch::of(&[&"x".repeat(1_048_576)]));
    check_row(&row, ErrorCode::RecordListTooLarge);
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 0);
}

#[test]
fn a_compacted_topic_refuses_records_without_a_key_and_says_which() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("cleanup.policy", "compact")]);
    let now = kit::now_ms();
    let records = vec![
        Record::at(now, "keyed").key("k"),
        Record::at(now, "bare"),
        Record::at(now, "empty key").key(""),
        Record::at(now, "bare"),
    ];
    for codec in [0, 1] {
        let row =
            kit::produce(&mut client, &topic, 0, Batch::records(records.clone()).codec(codec));
        check_row(&row, ErrorCode::InvalidRecord);
        let indexes: Vec<_> = row.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(indexes, [1, 3]);
        assert!(row.record_errors.iter().all(|e| e.batch_index_error_message.is_some()));
        assert!(row.error_message.is_some());
    }
    let keyed = Record::at(now, "keyed").key("k");
    kit::produced(&mut client, &topic, 0, Batch::records(vec![keyed]));
}

#[test]
fn a_refusal_by_the_log_tells_where_the_log_starts() {
    let mut client = Client::connect();
    let configs = [("max.message.bytes", "2000"), ("cleanup.policy", "compact,delete")];
    let topic = kit::topic_with(&mut client, 1, &configs);
    let keyed = |value: &str| Batch::records(vec![Record::at(kit::now_ms(), value).key("k")]);
    for _ in 0..3 {
        kit::produced(&mut client, &topic, 0, keyed("v"));
    }
    assert_eq!(kit::delete_records(&mut client, &topic, 0, 2).low_watermark, 2);
    kit::produced(&mut client, &topic, 0, keyed("v").producer(77, 3, 0));
    let future = kit::now_ms() + 10_000_000_000;
    let future = Batch::records(vec![Record::at(future, "v").key("k")]);
    let sound = keyed("v").bytes();
    for (what, bytes, expected, start) in [
        ("no key", batch().bytes(), ErrorCode::InvalidRecord, 2),
        ("future", future.bytes(), ErrorCode::InvalidTimestamp, 2),
        (
            "a wrong count",
            Batch { record_count: Some(7), ..keyed("v") }.bytes(),
            { ErrorCode::InvalidRecord },
            2,
        ),
        ("control", Batch { attributes: 32, ..keyed("v") }.bytes(), ErrorCode::InvalidRecord, 2),
        ("a gap", keyed("v").producer(77, 3, 9).bytes(), ErrorCode::OutOfOrderSequenceNumber, 2),
        ("old epoch", keyed("v").producer(77, 2, 1).bytes(), ErrorCode::InvalidProducerEpoch, 2),
        ("too large", keyed(&"x".repeat(3_000)).bytes(), ErrorCode::MessageTooLarge, -1),
        ("CRC", with_bad_crc(&sound), ErrorCode::CorruptMessage, -1),
        ("magic 1", Batch { magic: 1, ..keyed("v") }.bytes(), ErrorCode::InvalidRecord, -1),
        ("two", [&sound[..], &sound].concat().into(), ErrorCode::InvalidRecord, -1),
        ("none", Bytes::new(), ErrorCode::InvalidRecord, -1),
    ] {
        let row = kit::produce(&mut client, &topic, 0, bytes);
        check_row(&row, expected);
        assert_eq!(row.log_start_offset, start, "{what}");
    }
}

#[test]
fn versions_before_8_tell_the_error_without_the_records() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("cleanup.policy", "compact")]);
    for version in 3..=7 {
        let response = client.call(version, &kit::produce_request(&topic, 0, batch()));
        let row = &response.responses[0].partition_responses[0];
        assert_eq!(row.error_code, ErrorCode::InvalidRecord, "version {version}");
    }
}

#[test]
fn where_two_rules_are_broken_the_earlier_one_is_told() {
    let mut client = Client::connect();
    let configs = [("max.message.bytes", "1000"), ("cleanup.policy", "compact")];
    let topic = kit::topic_with(&mut client, 1, &configs);
    let absent = kit::unique("absent");
    let good = Batch::records(vec![Record::at(kit::now_ms(), "v").key("k")]);
    let large = Batch::records(vec![Record::at(kit::now_ms(), &"x".repeat(2_000)).key("k")]);
    let future = kit::now_ms() + 7_200_000;
    let two: Bytes = [good.bytes(), good.bytes()].concat().into();
    let transactional = Batch { attributes: 0x10, ..good.clone() }.producer(7, 0, 0).bytes();
    kit::commit_once(&mut client);
    let internal = "__consumer_offsets".to_owned();
    let far_base = |batch: &Batch| Batch { base_offset: 9, ..batch.clone() }.bytes();
    let miscounted = Batch { record_count: Some(9), ..good.clone() }.bytes();
    let keyless_future = Batch::records(vec![Record::at(future, "no key")]).producer(7, 0, -1);
    for (what, name, acks, bytes, expected) in [
        ("unknown topic, two batches", &absent, -1, two.clone(), {
            ErrorCode::UnknownTopicOrPartition
        }),
        ("two batches, acks 5", &topic, 5, two, ErrorCode::InvalidRecord),
        ("acks 5, base offset 9", &topic, 5, far_base(&good), ErrorCode::InvalidRequiredAcks),
        ("acks 5, transactional", &topic, 5, transactional, {
            ErrorCode::TransactionalIdAuthorizationFailed
        }),
        ("internal, no batch", &internal, -1, Bytes::new(), ErrorCode::InvalidRecord),
        ("internal, acks 5", &internal, 5, good.bytes(), ErrorCode::InvalidRequiredAcks),
        ("internal, base offset 9", &internal, -1, far_base(&good), {
            ErrorCode::InvalidTopicException
        }),
        ("base offset 9, too large", &topic, -1, far_base(&large), ErrorCode::InvalidRecord),
        ("too large, bad CRC", &topic, -1, with_bad_crc(&large.bytes()), {
            ErrorCode::MessageTooLarge
        }),
        ("bad CRC, wrong count", &topic, -1, with_bad_crc(&miscounted), {
            ErrorCode::CorruptMessage
        }),
        ("no sequence, future", &topic, -1, keyless_future.bytes(), ErrorCode::InvalidRecord),
        (
            "a future record, a stale sequence",
            &topic,
            -1,
            Batch::records(vec![Record::at(future, "v").key("k")]).producer(7, 0, 5).bytes(),
            ErrorCode::InvalidTimestamp,
        ),
    ] {
        eprintln!("case: {what}");
        let request = ProduceRequest { acks, ..kit::produce_request(name, 0, bytes) };
        let response = client.call(kit::PRODUCE, &request);
        check_row(&response.responses[0].partition_responses[0], expected);
    }
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 0);
}

#[test]
fn zstd_before_version_7_is_told_after_the_form_and_before_acks() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let absent = kit::unique("absent");
    let zstd = batch().codec(4).bytes();
    let two: Bytes = [zstd.clone(), zstd.clone()].concat().into();
    for (name, acks, bytes, expected) in [
        (&absent, -1, zstd.clone(), ErrorCode::UnknownTopicOrPartition),
        (&topic, -1, two, ErrorCode::UnsupportedCompressionType),
        (&topic, -1, Batch { magic: 1, ..batch().codec(4) }.bytes(), ErrorCode::InvalidRecord),
        (&topic, 5, zstd, ErrorCode::UnsupportedCompressionType),
    ] {
        let request = ProduceRequest { acks, ..kit::produce_request(name, 0, bytes) };
        let response = client.call(6, &request);
        check_row(&response.responses[0].partition_responses[0], expected);
    }
}

#[test]
fn a_transactional_id_alone_makes_no_transaction() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let request = ProduceRequest {
        transactional_id: Some(kit::unique("tx")),
        ..kit::produce_request(&topic, 0, batch())
    };
    let response = client.call(kit::PRODUCE, &request);
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::None);
}

#[test]
fn a_header_alone_is_not_a_batch() {
    assert_eq!(Batch::records(Vec::new()).bytes().len(), HEADER_SIZE);
    let header = batch().bytes().slice(..HEADER_SIZE);
    check_refused(vec![("a header without its records", header, ErrorCode::InvalidRecord)]);
}
