//! Versions that the independent codec lacks, written out by hand after Kafka's tables.

use bytes::Bytes;
use uuid::Uuid;

use super::super::messages::create_topics::*;
use super::super::messages::delete_topics::*;
use super::super::messages::describe_log_dirs::*;
use super::super::messages::init_producer_id::*;
use super::super::messages::list_offsets::*;
use super::super::messages::offset_commit::*;
use super::super::messages::offset_fetch::*;
use super::super::messages::write_txn_markers::*;
use super::encode;
use crate::codec::{Message, Reader};

/// All of them, by message and version.
pub(super) const VERSIONS: &[(&str, i16)] = &[
    ("ListOffsetsRequest", 0),
    ("ListOffsetsRequest", 11),
    ("ListOffsetsResponse", 0),
    ("ListOffsetsResponse", 11),
    ("OffsetCommitRequest", 10),
    ("OffsetFetchRequest", 10),
    ("CreateTopicsRequest", 0),
    ("CreateTopicsRequest", 1),
    ("CreateTopicsResponse", 0),
    ("CreateTopicsResponse", 1),
    ("DeleteTopicsRequest", 0),
    ("DeleteTopicsResponse", 0),
    ("InitProducerIdRequest", 6),
    ("WriteTxnMarkersRequest", 2),
    ("WriteTxnMarkersResponse", 2),
    ("DescribeLogDirsRequest", 5),
    ("DescribeLogDirsResponse", 5),
];

const ID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn check<M: Message + std::fmt::Debug>(version: i16, message: &M, parts: &[&[u8]]) {
    let bytes = Bytes::from(parts.concat());
    assert_eq!(encode(message, version), bytes);
    let mut reader = Reader::new(bytes);
    assert_eq!(M::decode(&mut reader, version).as_ref(), Ok(message));
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn list_offsets_request() {
    let request = |max_num_offsets, current_leader_epoch, timeout_ms| {
        let timestamp = -2;
        let partition = ListOffsetsPartition {
            partition_index: 3,
            current_leader_epoch,
            timestamp,
            max_num_offsets,
        };
        let topic = ListOffsetsTopic { name: "ab".into(), partitions: vec![partition] };
        ListOffsetsRequest { replica_id: -1, isolation_level: 0, topics: vec![topic], timeout_ms }
    };
    let topic: &[u8] = &[0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 1, 0, 0, 0, 3];
    let timestamp: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];
    check(0, &request(5, -1, 0), &[&[0xff; 4], topic, timestamp, &[0, 0, 0, 5]]);
    let topic: &[u8] = &[2, 3, b'a', b'b', 2, 0, 0, 0, 3, 0, 0, 0, 9];
    let end: &[u8] = &[0, 0, 0, 7, 208, 0];
    check(11, &request(1, 9, 2_000), &[&[0xff; 4], &[0], topic, timestamp, &[0], end]);
}

#[test]
fn list_offsets_response() {
    let response = |partition| {
        let topic = ListOffsetsTopicResponse { name: "ab".into(), partitions: vec![partition] };
        ListOffsetsResponse { throttle_time_ms: 0, topics: vec![topic] }
    };
    let old = ListOffsetsPartitionResponse {
        partition_index: 3,
        old_style_offsets: vec![300, 0],
        ..Default::default()
    };
    let topic: &[u8] = &[0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 1, 0, 0, 0, 3, 0, 0];
    let offsets: &[u8] = &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 44, 0, 0, 0, 0, 0, 0, 0, 0];
    check(0, &response(old), &[topic, offsets]);
    let new = ListOffsetsPartitionResponse {
        partition_index: 3,
        error_code: 74.into(),
        offset: 300,
        ..Default::default()
    };
    let topic: &[u8] = &[0, 0, 0, 0, 2, 3, b'a', b'b', 2, 0, 0, 0, 3, 0, 74];
    let partition: &[u8] = &[0, 0, 0, 0, 0, 0, 1, 44, 0xff, 0xff, 0xff, 0xff];
    check(11, &response(new), &[topic, &[0xff; 8], partition, &[0, 0, 0]]);
}

#[test]
fn offsets_by_topic_id() {
    let topic_id = Uuid::from_bytes(ID);
    let partition = OffsetCommitRequestPartition {
        partition_index: 3,
        committed_offset: 300,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    let commit = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 1,
        member_id: "m".into(),
        group_instance_id: None,
        topics: vec![OffsetCommitRequestTopic {
            topic_id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let member: &[u8] = &[2, b'g', 0, 0, 0, 1, 2, b'm', 0];
    let partition: &[u8] = &[2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 44, 0xff, 0xff, 0xff, 0xff, 0, 0];
    check(10, &commit, &[member, &[2], &ID, partition, &[0, 0]]);

    let topics = OffsetFetchRequestTopics { topic_id, partition_indexes: vec![3], name: "".into() };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(vec![topics]),
        ..Default::default()
    };
    let fetch =
        OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let member: &[u8] = &[2, 2, b'g', 0, 0xff, 0xff, 0xff, 0xff];
    check(10, &fetch, &[member, &[2], &ID, &[2, 0, 0, 0, 3, 0], &[0, 1, 0]]);
}

#[test]
fn create_topics() {
    let request = |validate_only| {
        let config = CreatableTopicConfig { name: "k".into(), value: None };
        let assignment = CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1] };
        let topic = CreatableTopic {
            name: "ab".into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: vec![config],
        };
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 5, validate_only }
    };
    let topic: &[u8] = &[0, 0, 0, 1, 0, 2, b'a', b'b', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let assignment: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    let end: &[u8] = &[0, 0, 0, 1, 0, 1, b'k', 0xff, 0xff, 0, 0, 0, 5];
    check(0, &request(false), &[topic, assignment, end]);
    check(1, &request(true), &[topic, assignment, end, &[1]]);

    let response = |error_message| {
        let topic = CreatableTopicResult {
            name: "ab".into(),
            error_code: 36.into(),
            error_message,
            ..Default::default()
        };
        CreateTopicsResponse { throttle_time_ms: 0, topics: vec![topic] }
    };
    let result: &[u8] = &[0, 0, 0, 1, 0, 2, b'a', b'b', 0, 36];
    check(0, &response(None), &[result]);
    check(1, &response(None), &[result, &[0xff, 0xff]]);
    check(1, &response(Some("m".into())), &[result, &[0, 1, b'm']]);
}

#[test]
fn delete_topics() {
    let topic_names = vec!["ab".into()];
    let request = DeleteTopicsRequest { topic_names, timeout_ms: 5, ..Default::default() };
    check(0, &request, &[&[0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 5]]);
    let result = DeletableTopicResult {
        name: Some("ab".into()),
        error_code: 3.into(),
        ..Default::default()
    };
    let response = DeleteTopicsResponse { throttle_time_ms: 0, responses: vec![result] };
    check(0, &response, &[&[0, 0, 0, 1, 0, 2, b'a', b'b', 0, 3]]);
}

#[test]
fn init_producer_id() {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 5,
        enable_2pc: true,
        ..Default::default()
    };
    check(6, &request, &[&[0, 0, 0, 0, 5], &[0xff; 10], &[1, 0, 0]]);
}

#[test]
fn describe_log_dirs() {
    let topic = DescribableLogDirTopic { topic: "ab".into(), partitions: vec![3] };
    let request = DescribeLogDirsRequest { topics: Some(vec![topic]) };
    check(5, &request, &[&[2, 3, b'a', b'b', 2, 0, 0, 0, 3, 0, 0]]);
    let directory = DescribeLogDirsResult {
        log_dir: "/d".into(),
        total_bytes: 300,
        is_cordoned: true,
        ..Default::default()
    };
    let response = DescribeLogDirsResponse { results: vec![directory], ..Default::default() };
    let directory: &[u8] = &[2, 0, 0, 3, b'/', b'd', 1, 0, 0, 0, 0, 0, 0, 1, 44];
    check(5, &response, &[&[0, 0, 0, 0, 0, 0], directory, &[0xff; 8], &[1, 0, 0]]);
}

#[test]
fn write_txn_markers() {
    let topic = WritableTxnMarkerTopic { name: "ab".into(), partition_indexes: vec![3] };
    let marker = |transaction_version| WritableTxnMarker {
        producer_id: 300,
        producer_epoch: 2,
        transaction_result: true,
        topics: vec![topic.clone()],
        coordinator_epoch: 7,
        transaction_version,
    };
    let request = |version| WriteTxnMarkersRequest { markers: vec![marker(version)] };
    let pair: &[u8] = &[2, 0, 0, 0, 0, 0, 0, 1, 44, 0, 2, 1];
    let rest: &[u8] = &[2, 3, b'a', b'b', 2, 0, 0, 0, 3, 0, 0, 0, 0, 7];
    check(1, &request(0), &[pair, rest, &[0, 0]]);
    check(2, &request(2), &[pair, rest, &[2, 0, 0]]);

    let partition = WritableTxnMarkerPartitionResult { partition_index: 3, error_code: 52.into() };
    let topic = WritableTxnMarkerTopicResult { name: "ab".into(), partitions: vec![partition] };
    let result = WritableTxnMarkerResult { producer_id: 300, topics: vec![topic] };
    let response = WriteTxnMarkersResponse { markers: vec![result] };
    let topic: &[u8] = &[2, 3, b'a', b'b', 2, 0, 0, 0, 3, 0, 52, 0, 0, 0, 0];
    check(2, &response, &[&pair[..9], topic]);
}
