//! Batches made, broken on purpose and read back.

use bytes::Bytes;

use super::*;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

const LIMIT: usize = compression::DECOMPRESSED_LIMIT;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn builder(count: u32) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for i in 0..count {
        let value = format!("value-{i}-").repeat(20);
        let headers: &[(&[u8], Option<&[u8]>)] =
            &[(b"h", Some(b"1")), (b"h", None), ("h\u{e9}".as_bytes(), Some(b""))];
        builder.push(&NewRecord {
            timestamp: Timestamp(1_700_000_000_000 + i64::from(i) * 7),
            key: (i % 3 != 0).then_some(b"key".as_slice()),
            value: (i % 4 != 0).then_some(value.as_bytes()),
            headers: if i % 2 == 0 { headers } else { &[] },
        });
    }
    builder
}

/// A produced batch with its fields changed by `change` and its CRC made right again.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = builder(3).build().unwrap().to_bytes().to_vec();
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn check(bytes: Bytes, expected: &str) {
    let result = ValidBatch::parse(bytes).map(|_| ());
    let text = format!("{result:?}");
    assert!(text.contains(expected), "{text} is not {expected}");
}

#[test]
fn what_was_built_is_read_back_under_every_codec() {
    for codec in CODECS {
        let batch = builder(50).compression(codec).build().unwrap();
        let mut parsed = ValidBatch::parse(batch.to_bytes()).unwrap();
        assert_eq!(parsed.header(), batch.header());
        parsed.assign(Offset(1000), LeaderEpoch(4));
        let records = parsed.records(LIMIT).unwrap();
        let all: Vec<OwnedRecord> =
            records.iter().map(|record| records.own(&record.unwrap())).collect();
        assert_eq!(all.len(), 50);
        assert_eq!(all[49].offset, Offset(1049));
        assert_eq!(all[49].timestamp, Timestamp(1_700_000_000_000 + 49 * 7));
        assert_eq!(all[0].key, None);
        assert_eq!(all[1].key.as_deref(), Some(b"key".as_slice()));
        assert_eq!(all[4].value, None);
        assert_eq!(all[0].headers.len(), 3);
        assert_eq!(all[0].headers[1], (Bytes::from_static(b"h"), None));
        assert_eq!(all[0].headers[2].0, "h\u{e9}".as_bytes());
        let summary = parsed.check_records(LIMIT).unwrap();
        assert_eq!(summary.max_timestamp_delta, 49);
        assert_eq!(summary.first_null_key, Some(0));
    }
}

#[test]
fn placing_a_batch_changes_only_its_prefix() {
    let mut batch = ValidBatch::parse(builder(2).build().unwrap().to_bytes()).unwrap();
    let before = batch.to_bytes();
    batch.assign(Offset(0x0102_0304_0506_0708), LeaderEpoch(9));
    let after = Bytes::from(batch.slices().concat());
    assert_eq!(after, batch.to_bytes());
    assert_eq!(after[16..], before[16..]);
    let stored = ValidBatch::parse_stored(after).unwrap();
    assert_eq!(stored.header(), batch.header());
    assert_eq!(stored.header().leader_epoch, LeaderEpoch(9));
    assert_eq!(stored.header().last_offset(), Offset(0x0102_0304_0506_0709));
}

#[test]
fn each_check_finds_what_it_is_for_and_in_order() {
    let good = builder(3).build().unwrap().to_bytes();
    let with = |extra: &[u8]| Bytes::from([&good, extra].concat());
    check(Bytes::new(), "NoBatch");
    check(good.slice(..good.len() - 1), "NoBatch");
    check(with(&good), "MoreThanOne");
    check(with(&good[..good.len() - 1]), "Ok");
    check(with(&[0; 100]), "Ok");
    check(changed(|b| b[16] = 0), "OldMagic { magic: 0 }");
    check(changed(|b| b[16] = 1), "OldMagic { magic: 1 }");
    check(changed(|b| b[16] = 3), "UnknownMagic { magic: 3 }");
    check(changed(|b| b[16] = 0xff), "UnknownMagic { magic: -1 }");
    check(changed(|b| b[7] = 1), "BaseOffset");
    check(changed(|b| b[8..12].copy_from_slice(&48i32.to_be_bytes())), "Length(48)");
    check(changed(|b| b[8..12].copy_from_slice(&(-1i32).to_be_bytes())), "Length(-1)");
    check(changed(|b| b[8..12].copy_from_slice(&i32::MAX.to_be_bytes())), "NoBatch");
    check(changed(|b| b[60] = 0), "Count");
    check(changed(|b| b[60] = 4), "Count");
    check(changed(|b| b[57] = 0x80), "Count");
    check(changed(|b| b[22] |= 0x20), "Control");
    check(changed(|b| b[43..51].copy_from_slice(&7i64.to_be_bytes())), "Sequence");
    check(changed(|b| b[22] |= 0x10), "TransactionalWithoutProducer");
    let mut broken = good.to_vec();
    broken[70] ^= 1;
    check(Bytes::from(broken), "Crc");
    let result = ValidBatch::parse_within(changed(|b| b[60] = 0), 100);
    assert!(matches!(result, Err(BatchError::TooLarge { limit_bytes: 100, .. })));
}

#[test]
fn every_flipped_bit_behind_the_prefix_is_found() {
    let good = builder(2).build().unwrap().to_bytes().to_vec();
    for bit in 16 * 8..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(ValidBatch::parse_stored(Bytes::from(bad)).is_err(), "bit {bit}");
    }
}

#[test]
fn records_that_do_not_add_up_are_refused() {
    let refuse = |bytes: Bytes, expected: &str| {
        let result = ValidBatch::parse(bytes).and_then(|batch| batch.check_records(LIMIT));
        let text = format!("{result:?}");
        assert!(text.contains(expected), "{text} is not {expected}");
    };
    refuse(changed(|b| b[22] = 5), "Codec(5)");
    refuse(changed(|b| b[22] = 1), "Compression");
    refuse(changed(|b| b[61] = 0xff), "Unparsable { index: 0 }");
    refuse(changed(|b| (b[60], b[26]) = (2, 1)), "Trailing");
    refuse(changed(|b| (b[60], b[26]) = (4, 3)), "Unparsable { index: 3 }");
    // The first record: length (two bytes), attributes, timestamp delta, offset delta.
    refuse(changed(|b| b[64] = 2), "OffsetDelta { index: 0, offset_delta: 1 }");
}

#[test]
fn no_bytes_make_the_record_reader_panic() {
    let good = builder(4).build().unwrap().to_bytes().to_vec();
    for at in 61..good.len() {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = byte;
            let crc = crc32c::crc32c(&bad[21..]);
            bad[17..21].copy_from_slice(&crc.to_be_bytes());
            let batch = ValidBatch::parse(Bytes::from(bad)).unwrap();
            for record in &batch.records(LIMIT).unwrap() {
                let Ok(record) = record else { break };
                assert_eq!(record.headers.iter().count(), record.headers.count());
            }
        }
    }
}

#[test]
fn append_time_is_every_records_time() {
    let batch = builder(3).compression(Codec::Gzip).build().unwrap();
    let stamped = batch.with_append_time(Timestamp(99));
    let stored = ValidBatch::parse_stored(stamped.to_bytes()).unwrap();
    assert!(stored.header().attributes.is_append_time());
    let records = stored.records(LIMIT).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == Timestamp(99)));
    let back = stamped.with_create_time(batch.header().max_timestamp);
    assert_eq!(back.to_bytes(), batch.to_bytes());
}

#[test]
fn recompressing_keeps_the_records() {
    let batch = builder(30).producer(ProducerId(5), ProducerEpoch(0), 12).build().unwrap();
    for codec in CODECS {
        let packed = batch.recompressed(codec.into(), LIMIT).unwrap();
        let stored = ValidBatch::parse(packed.to_bytes()).unwrap();
        assert_eq!(stored.header().attributes.codec(), Some(codec));
        assert_eq!(stored.header().base_sequence, 12);
        let area = stored.records(LIMIT).unwrap().area().clone();
        assert_eq!(area, batch.packed());
    }
}

#[test]
fn a_marker_says_how_its_transaction_ended() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let marker = EndMarker { outcome, coordinator_epoch: 3 };
        let batch = marker.batch(ProducerId(8), ProducerEpoch(2), Timestamp(5)).unwrap();
        let attributes = batch.header().attributes;
        assert!(attributes.is_control() && attributes.is_transactional());
        assert!(ValidBatch::parse(batch.to_bytes()).is_err());
        let stored = ValidBatch::parse_stored(batch.to_bytes()).unwrap();
        let records = stored.records(LIMIT).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!(ControlRecord::decode(&record), Some(ControlRecord::End(marker)));
    }
}

#[test]
fn sequences_wrap_to_zero() {
    let mut header = *builder(3).build().unwrap().header();
    assert_eq!(header.last_sequence(), -1);
    header.base_sequence = i32::MAX - 1;
    assert_eq!(header.last_sequence(), 0);
    header.base_sequence = 5;
    assert_eq!(header.last_sequence(), 7);
}
