//! The journal records as Apache Kafka 4.3.1 wrote them, key and value in hexadecimal: read, and
//! written again byte for byte.

use bytes::Bytes;

use crate::machine::{Effects, Machine, Ticket};
use crate::txn::{
    Command, Coordinator, RecordError, Reply, TransactionMetadata, TransactionPartitions,
    TransactionRecord, TxnConfig,
};
use crate::types::{Monotonic, Now, Timestamp};

const KEY: &str = "0000000474782d31";

/// The last epoch but one of producer 16, whose client has sent nothing yet.
const EMPTY: &str = "000100000000000000107ffe0000ea600000000001a20d5cc253ffffffffffffffff0100080000\
    000000000010";
/// Partition 0 of topic t, added by the broker (transaction.version 2).
const ONGOING: &str = "000100000000000000107ffe0000ea6001020274020000000000000001a20d5cc254000001a2\
    0d5cc254020008000000000000001002020002";
/// The epochs have run out: producer 32 comes next.
const PREPARE_COMMIT: &str = "000100000000000000107fff0000ea6002020274020000000000000001a20d5cc2550\
    00001a20d5cc25403000800000000000000100108000000000000002002020002";
const COMPLETE_COMMIT: &str = "0001000000000000002000000000ea600401000001a20d5cc256000001a20d5cc25\
    4020008000000000000001002020002";

const ALL: [&str; 4] = [EMPTY, ONGOING, PREPARE_COMMIT, COMPLETE_COMMIT];

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> =
        hex.bytes().map(|it| u8::try_from(char::from(it).to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect()
}

fn read(value: &str) -> TransactionMetadata {
    let record = TransactionRecord::decode(bytes(KEY), Some(bytes(value))).unwrap();
    assert_eq!(record.transactional_id, "tx-1");
    record.metadata.unwrap()
}

fn now() -> Now {
    Now { wall: Timestamp(1_795_520_512_600), monotonic: Monotonic(0) }
}

#[test]
fn kafkas_records_are_written_again_byte_for_byte() {
    for value in ALL {
        let record = TransactionRecord::decode(bytes(KEY), Some(bytes(value))).unwrap();
        assert_eq!(record.encode(), Ok((bytes(KEY), Some(bytes(value)))));
    }
    let tombstone = TransactionRecord::decode(bytes(KEY), None).unwrap();
    assert_eq!(tombstone.metadata, None);
    assert_eq!(tombstone.encode(), Ok((bytes(KEY), None)));
}

/// What the coordinator makes of a record of Kafka's is what it would write itself.
#[test]
fn the_coordinator_keeps_all_that_kafka_wrote() {
    for value in ALL {
        let record = TransactionRecord::decode(bytes(KEY), Some(bytes(value))).unwrap();
        let mut coordinator = Coordinator::new(TxnConfig::default(), now());
        coordinator.replay(now(), record.clone());
        coordinator.check();
        assert_eq!(coordinator.durable()["tx-1"], record);
    }
}

#[test]
fn every_field_is_read() {
    let kept = read(PREPARE_COMMIT);
    assert_eq!((kept.producer_id, kept.producer_epoch), (16, 32_767));
    assert_eq!((kept.previous_producer_id, kept.next_producer_id), (16, 32));
    assert_eq!((kept.timeout_ms, kept.state), (60_000, 2));
    let partitions = TransactionPartitions { topic: "t".to_owned(), partition_ids: vec![0] };
    assert_eq!(kept.partitions, Some(vec![partitions]));
    assert_eq!(kept.start_timestamp, 1_795_520_512_596);
    assert_eq!(kept.last_update_timestamp, kept.start_timestamp + 1);
    assert_eq!(kept.client_transaction_version, 2);
    let kept = read(EMPTY);
    assert_eq!((kept.partitions, kept.start_timestamp), (None, -1));
    assert_eq!(kept.client_transaction_version, 0);
    assert_eq!(read(COMPLETE_COMMIT).partitions, Some(Vec::new()));
}

/// Version 0, which Kafka wrote before its feature `transaction.version`.
#[test]
fn old_records_are_read() {
    let old = "000000000000000000100003000003e8010000000100017400000002000000000000000500000000000003\
        e900000000000003e8";
    let kept = read(old);
    assert_eq!((kept.producer_id, kept.producer_epoch, kept.timeout_ms), (16, 3, 1_000));
    let partitions = TransactionPartitions { topic: "t".to_owned(), partition_ids: vec![0, 5] };
    assert_eq!(kept.partitions, Some(vec![partitions]));
    assert_eq!((kept.last_update_timestamp, kept.start_timestamp), (1_001, 1_000));
    assert_eq!((kept.previous_producer_id, kept.client_transaction_version), (-1, 0));
}

#[test]
fn other_records_and_damage_are_told_apart() {
    let other = TransactionRecord::decode(bytes("0001000474782d31"), None);
    assert_eq!(other, Err(RecordError::KeyType(1)));
    let mut unknown_state = bytes(EMPTY).to_vec();
    unknown_state[16] = 7;
    let other = TransactionRecord::decode(bytes(KEY), Some(unknown_state.into()));
    assert_eq!(other, Err(RecordError::State(7)));
    let key = bytes(KEY);
    for end in 0..key.len() {
        let cut = TransactionRecord::decode(key.slice(..end), None);
        assert!(matches!(cut, Err(RecordError::Malformed(_))), "key at {end}");
    }
    for value in ALL {
        let value = bytes(value);
        for end in 0..value.len() {
            let cut = TransactionRecord::decode(key.clone(), Some(value.slice(..end)));
            assert!(matches!(cut, Err(RecordError::Malformed(_))), "value at {end}");
        }
    }
}

/// Whatever the journal holds, the coordinator goes on: it lets time pass, ends what is open, and
/// never counts beyond the last epoch.
#[test]
fn odd_ids_are_survived() {
    for state in 0..=5 {
        for (producer_epoch, number) in [(i16::MAX, i64::MAX), (i16::MIN, i64::MIN), (-1, -1)] {
            let metadata = TransactionMetadata {
                producer_id: number,
                producer_epoch,
                next_producer_id: number,
                timeout_ms: -7,
                state,
                last_update_timestamp: number,
                start_timestamp: number,
                ..TransactionMetadata::default()
            };
            let transactional_id = String::new();
            let mut coordinator = Coordinator::new(TxnConfig::default(), now());
            let metadata = Some(metadata);
            coordinator.replay(now(), TransactionRecord { transactional_id, metadata });
            let later = Now { wall: Timestamp(i64::MAX), monotonic: Monotonic(u64::MAX) };
            let mut effects = Effects::default();
            let supply = Command::SupplyProducerIds(vec![crate::types::ProducerId(5)]);
            coordinator.handle(now(), Ticket(0), supply, &mut effects);
            coordinator.tick(later, &mut effects);
            coordinator.handle(later, Ticket(1), Command::AwaitMarkers, &mut effects);
            let due = effects.replies.iter().find_map(|(_, reply)| {
                if let Reply::AwaitMarkers(due) = reply { due.first().cloned() } else { None }
            });
            assert_eq!(due.is_some(), (1..=3).contains(&state), "{effects:?}");
            if let Some(due) = due {
                let written = Command::MarkersWritten(due.producer);
                coordinator.handle(later, Ticket(2), written, &mut effects);
                assert_eq!(coordinator.markers_due().count(), 0);
            }
        }
    }
}
