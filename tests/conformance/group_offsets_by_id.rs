//! OffsetCommit 10 and OffsetFetch 10 (KIP-516): topics by id.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use uuid::Uuid;

use super::client::Client;
use super::group::{commit_code, commit_request};
use super::kit::{self, topic_id, unique};

/// The first version that names topics by id.
const BY_ID: i16 = 10;
/// An id that no topic has.
const ABSENT: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef);

/// A row of an answer: topic, partition, offset, error.
type Row = (Uuid, i32, i64, ErrorCode);

fn commit(client: &mut Client, group: &str, rows: &[(Uuid, i32, i64)]) -> Vec<Row> {
    let topic = |(topic_id, partition_index, committed_offset): &(Uuid, i32, i64)| {
        let partition = OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..Default::default()
        };
        let partitions = vec![partition];
        OffsetCommitRequestTopic { topic_id: *topic_id, partitions, ..Default::default() }
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: rows.iter().map(topic).collect(),
        ..Default::default()
    };
    let response = client.call(BY_ID, &request);
    let rows = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|row| (topic.topic_id, row.partition_index, 0, row.error_code))
    });
    sorted(rows.collect())
}

fn fetch(client: &mut Client, group: &str, topics: Option<&[(Uuid, &[i32])]>) -> Vec<Row> {
    let topic = |(topic_id, partitions): &(Uuid, &[i32])| OffsetFetchRequestTopics {
        topic_id: *topic_id,
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let response = client.call(BY_ID, &request);
    assert_eq!(response.groups[0].error_code, ErrorCode::None);
    let rows = response.groups[0].topics.iter().flat_map(|topic| {
        let rows = topic.partitions.iter();
        rows.map(|row| (topic.topic_id, row.partition_index, row.committed_offset, row.error_code))
    });
    sorted(rows.collect())
}

/// Kafka puts rows with errors first when it commits and last when it fetches.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|(id, partition, ..)| (*id, *partition));
    rows
}

#[test]
fn what_is_committed_by_name_is_found_by_id_and_the_other_way_round() {
    let mut client = Client::connect();
    let (topic, group) = (kit::topic(&mut client, 2), unique("group"));
    let id = topic_id(&mut client, &topic);
    assert_eq!(commit(&mut client, &group, &[(id, 0, 5)]), [(id, 0, 0, ErrorCode::None)]);
    let expected = [(id, 0, 5, ErrorCode::None), (id, 1, -1, ErrorCode::None)];
    assert_eq!(fetch(&mut client, &group, Some(&[(id, &[0, 1])])), expected);
    let group_of = OffsetFetchRequestGroup {
        group_id: group.clone(),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group_of], ..Default::default() };
    let by_name = client.call(9, &request);
    assert_eq!(by_name.groups[0].topics[0].name, topic);
    assert_eq!(by_name.groups[0].topics[0].partitions[0].committed_offset, 5);

    let code = commit_code(&mut client, 9, &commit_request(&group, &topic, 7));
    assert_eq!(code, ErrorCode::None);
    assert_eq!(fetch(&mut client, &group, Some(&[(id, &[0])])), [(id, 0, 7, ErrorCode::None)]);
    assert_eq!(fetch(&mut client, &group, None), [(id, 0, 7, ErrorCode::None)]);
    assert_eq!(fetch(&mut client, &unique("group"), None), []);
}

#[test]
fn ids_and_partitions_that_do_not_exist_fail_alone() {
    let mut client = Client::connect();
    let (topic, group) = (kit::topic(&mut client, 1), unique("group"));
    let id = topic_id(&mut client, &topic);
    let rows = [(ABSENT, 0, 1), (ABSENT, 1, 1), (id, 0, 5), (id, 9, 9), (Uuid::nil(), 0, 2)];
    let expected = vec![
        (Uuid::nil(), 0, 0, ErrorCode::UnknownTopicId),
        (ABSENT, 0, 0, ErrorCode::UnknownTopicId),
        (ABSENT, 1, 0, ErrorCode::UnknownTopicId),
        (id, 0, 0, ErrorCode::None),
        (id, 9, 0, ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(commit(&mut client, &group, &rows), sorted(expected));
    let asked: [(Uuid, &[i32]); 3] = [(ABSENT, &[0, 1]), (id, &[0, 9]), (Uuid::nil(), &[0])];
    let expected = vec![
        (Uuid::nil(), 0, -1, ErrorCode::UnknownTopicId),
        (ABSENT, 0, -1, ErrorCode::UnknownTopicId),
        (ABSENT, 1, -1, ErrorCode::UnknownTopicId),
        (id, 0, 5, ErrorCode::None),
        (id, 9, -1, ErrorCode::None),
    ];
    assert_eq!(fetch(&mut client, &group, Some(&asked)), sorted(expected));
    let expected = [(ABSENT, 0, -1, ErrorCode::UnknownTopicId)];
    assert_eq!(fetch(&mut client, &unique("group"), Some(&[(ABSENT, &[0])])), expected);
}

#[test]
fn a_refused_commit_leaves_unknown_ids_their_own_code() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let id = topic_id(&mut client, &topic);
    let of = |topic_id| OffsetCommitRequestTopic {
        topic_id,
        partitions: vec![OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: unique("group"),
        generation_id_or_member_epoch: 3,
        member_id: "nobody".to_owned(),
        topics: vec![of(ABSENT), of(id)],
        ..Default::default()
    };
    let response = client.call(BY_ID, &request);
    let code = |id| {
        let topic = response.topics.iter().find(|topic| topic.topic_id == id).unwrap();
        topic.partitions[0].error_code
    };
    assert_eq!(code(ABSENT), ErrorCode::UnknownTopicId);
    assert_eq!(code(id), ErrorCode::GroupIdNotFound);
}

#[test]
fn the_id_of_a_deleted_topic_is_unknown_though_the_name_is_there_again() {
    let mut client = Client::connect();
    let (topic, group) = (kit::topic(&mut client, 1), unique("group"));
    let old = topic_id(&mut client, &topic);
    commit(&mut client, &group, &[(old, 0, 5)]);
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.clone()],
        timeout_ms: 30_000,
        ..Default::default()
    };
    assert_eq!(client.call(5, &request).responses[0].error_code, ErrorCode::None);
    kit::until("the offset is gone", || fetch(&mut client, &group, None).is_empty());
    kit::create_topic(&mut client, &topic, 1, &[]);
    let new = topic_id(&mut client, &topic);
    let code = commit(&mut client, &group, &[(old, 0, 6)])[0].3;
    assert_eq!(code, ErrorCode::UnknownTopicId);
    let found = fetch(&mut client, &group, Some(&[(old, &[0]), (new, &[0])]));
    let expected = vec![(old, 0, -1, ErrorCode::UnknownTopicId), (new, 0, -1, ErrorCode::None)];
    assert_eq!(found, sorted(expected));
}
