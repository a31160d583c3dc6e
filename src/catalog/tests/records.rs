//! The record format, against what Apache Kafka 4.3.1 wrote (`testdata/kafka-records.txt`: offset
//! and value of every record of a `__cluster_metadata-0`), and against bytes that are wrong.

use bytes::Bytes;

use super::fixture::setup;
use crate::catalog::records::{
    ConfigRecord, FeatureLevelRecord, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord,
    RecordError, RemoveTopicRecord, TopicRecord,
};
use crate::catalog::{Catalog, CatalogRecord};
use crate::codec::Message;
use crate::codec::testing::{Random, Sample};
use crate::types::{LeaderEpoch, NodeId};

const KAFKA_RECORDS: &str = include_str!("../testdata/kafka-records.txt");

fn kafka_records() -> Vec<Bytes> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let value =
        |line: &str| line.split_once(' ').unwrap().1.as_bytes().chunks(2).map(byte).collect();
    KAFKA_RECORDS.lines().map(value).collect()
}

#[test]
fn what_kafka_wrote_is_read_and_written_again_byte_for_byte() {
    let mut kinds = std::collections::BTreeMap::new();
    for value in kafka_records() {
        let read = CatalogRecord::decode(value.clone()).unwrap();
        assert_eq!(read.record.encode_as(read.version).unwrap(), value, "{read:?}");
        *kinds.entry(value[1]).or_insert(0) += 1;
    }
    // Type and count; 0, 17, 20, 23, 24, 27 and 28 are those that are carried as they are.
    let counted: Vec<_> = kinds.into_iter().collect();
    assert_eq!(
        counted,
        [
            (0, 1),
            (2, 6),
            (3, 6),
            (4, 11),
            (5, 6),
            (12, 6),
            (15, 1),
            (17, 4),
            (20, 20),
            (23, 1),
            (24, 1),
            (27, 1),
            (28, 1)
        ]
    );
}

#[test]
fn what_kafka_wrote_makes_its_topics_and_settings() {
    let mut catalog = Catalog::new(setup(1, &[]));
    for value in kafka_records() {
        catalog.replay(&CatalogRecord::decode(value).unwrap().record);
    }
    let names: Vec<_> = catalog.topics().map(|topic| topic.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "__consumer_offsets",
            "__transaction_state",
            "appendtime",
            "codecs",
            "compacted",
            "transactions"
        ]
    );
    let compacted = catalog.topic_named("compacted").unwrap();
    assert_eq!(compacted.id.to_string(), "5pJisFBaT4eET32pVdq6Dw");
    assert!(compacted.config.cleanup_policy.compacts());
    // Kafka's shutdown leaves no leader; here the last one stays, in the epoch that follows.
    assert_eq!(compacted.partitions[0].leader, NodeId(1));
    assert_eq!(compacted.partitions[0].leader_epoch, LeaderEpoch(1));
    assert_eq!(catalog.next_producer_id(), 1_000);
    assert_eq!(catalog.features()["metadata.version"], 30);
    assert_eq!(catalog.features().len(), 6);
    assert_eq!(catalog.broker().min_insync_replicas, 1);
    assert_eq!(catalog.version(), 65);
    assert_eq!(catalog.skipped_count(), 0);
    let mut again = Catalog::new(setup(1, &[]));
    for record in catalog.to_records() {
        let value = record.encode().unwrap();
        again.replay(&CatalogRecord::decode(value).unwrap().record);
    }
    assert_eq!(again, catalog);
}

/// Random values of a record type, in each version, there and back.
fn there_and_back<M: Message + Sample>(make: impl Fn(M) -> CatalogRecord) {
    let mut random = Random::new(11);
    for version in (0..10).filter(|version| M::VERSIONS.contains(*version)) {
        let layout = M::layout(version).unwrap();
        for _ in 0..200 {
            let record = make(M::sample(&mut random, layout, false));
            let read = CatalogRecord::decode(record.encode_as(version).unwrap()).unwrap();
            assert_eq!((read.record, read.version), (record, version));
        }
    }
}

#[test]
fn every_type_goes_there_and_back_in_every_version() {
    there_and_back::<TopicRecord>(CatalogRecord::Topic);
    there_and_back::<PartitionRecord>(CatalogRecord::Partition);
    there_and_back::<ConfigRecord>(CatalogRecord::Config);
    there_and_back::<PartitionChangeRecord>(CatalogRecord::PartitionChange);
    there_and_back::<RemoveTopicRecord>(CatalogRecord::RemoveTopic);
    there_and_back::<FeatureLevelRecord>(CatalogRecord::FeatureLevel);
    there_and_back::<ProducerIdsRecord>(CatalogRecord::ProducerIds);
}

#[test]
fn types_and_versions_to_come_are_kept_for_the_snapshot_and_counted() {
    let mut catalog = Catalog::new(setup(1, &[]));
    for value in [&[1, 99, 3, 1, 2, 3][..], &[1, 2, 7, 9]] {
        let read = CatalogRecord::decode(Bytes::copy_from_slice(value)).unwrap();
        assert!(matches!(read.record, CatalogRecord::Other { .. }));
        assert_eq!(read.record.encode().unwrap(), value);
        catalog.replay(&read.record);
    }
    assert_eq!(catalog.skipped_count(), 2);
    assert_eq!(catalog.to_records().len(), 2);
}

#[test]
fn wrong_bytes_are_errors() {
    let decode = |value: &[u8]| CatalogRecord::decode(Bytes::copy_from_slice(value));
    assert_eq!(decode(&[2, 2, 0]), Err(RecordError::FrameVersion(2)));
    assert!(matches!(decode(&[]), Err(RecordError::Frame(_))));
    assert!(matches!(decode(&[1, 0x80]), Err(RecordError::Frame(_))));
    assert!(matches!(decode(&[1, 2, 0, 200]), Err(RecordError::Body { kind: 2, .. })));
    for value in kafka_records() {
        for size in 0..value.len() {
            // Cut short it is an error, or a record that is carried as it is.
            if let Ok(read) = CatalogRecord::decode(value.slice(..size)) {
                assert!(matches!(read.record, CatalogRecord::Other { .. }), "{read:?}");
            }
        }
        let longer = Bytes::from([&value[..], &[0]].concat());
        match CatalogRecord::decode(longer) {
            Ok(read) => assert!(matches!(read.record, CatalogRecord::Other { .. })),
            Err(error) => assert!(matches!(error, RecordError::Trailing { left: 1, .. })),
        }
    }
}
