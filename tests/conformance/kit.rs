//! What most tests begin with: a topic, a record in it, a look at what is stored.

use bytes::Bytes;
use ottla::clock::Clock;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla::protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, Records,
};
use ottla::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseTopic,
};
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use uuid::Uuid;

use super::batch::Stored;
use super::client::{ANSWER_MAX, Client};

/// The newest version of Produce by name, and of Fetch.
pub const PRODUCE: i16 = 11;
/// See [`PRODUCE`].
pub const FETCH: i16 = 12;

/// A name that no other test, nor an earlier run against the same broker, has used.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", &Uuid::new_v4().simple().to_string()[..12])
}

/// The wall clock, in ms.
pub fn now_ms() -> i64 {
    Clock::system().now().wall.0
}

/// Makes a topic with a new name.
#[track_caller]
pub fn topic(client: &mut Client, partition_count: i32) -> String {
    topic_with(client, partition_count, &[])
}

/// Makes a topic with a new name and these configs.
#[track_caller]
pub fn topic_with(client: &mut Client, partition_count: i32, configs: &[(&str, &str)]) -> String {
    let name = unique("topic");
    create_topic(client, &name, partition_count, configs);
    name
}

/// Makes a topic; it works when this returns.
#[track_caller]
pub fn create_topic(
    client: &mut Client,
    name: &str,
    partition_count: i32,
    configs: &[(&str, &str)],
) {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    });
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partition_count,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let response = client.call(7, &request);
    assert_eq!(response.topics[0].error_code, ErrorCode::None, "{response:?}");
    settle(client, name, partition_count);
}

/// Differs from Kafka: there a topic does not work yet when the request that makes it is answered
/// (error 3 or 6 for some ms); ottla needs no second look, so none is taken.
pub fn settle(client: &mut Client, name: &str, partition_count: i32) {
    if !client.is_kafka() {
        return;
    }
    until("a topic works", || {
        (0..partition_count).all(|partition| {
            let at = list_offsets(client, name, partition, -1);
            at.error_code == ErrorCode::None
        })
    });
}

/// Asks again and again until it is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::system();
    while !is_so() {
        assert!(clock.elapsed() < ANSWER_MAX, "never so: {what}");
        std::thread::yield_now();
    }
}

/// A Produce of one batch, acknowledged by all.
pub fn produce_request(topic: &str, partition: i32, records: impl Into<Bytes>) -> ProduceRequest {
    produce_to(&[(topic, partition, records.into())])
}

/// A Produce of a batch for each partition, in this order.
pub fn produce_to(batches: &[(&str, i32, Bytes)]) -> ProduceRequest {
    let mut topic_data: Vec<TopicProduceData> = Vec::new();
    for (topic, partition, records) in batches {
        let data = PartitionProduceData { index: *partition, records: Some(records.clone()) };
        match topic_data.iter_mut().find(|data| data.name == *topic) {
            Some(topic) => topic.partition_data.push(data),
            None => topic_data.push(TopicProduceData {
                name: (*topic).to_owned(),
                partition_data: vec![data],
                ..Default::default()
            }),
        }
    }
    ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topic_data }
}

/// Produces one batch.
#[track_caller]
pub fn produce(
    client: &mut Client,
    topic: &str,
    partition: i32,
    records: impl Into<Bytes>,
) -> PartitionProduceResponse {
    let response = client.call(PRODUCE, &produce_request(topic, partition, records));
    response.responses[0].partition_responses[0].clone()
}

/// Produces one batch that must be taken, and says where it stands.
#[track_caller]
pub fn produced(
    client: &mut Client,
    topic: &str,
    partition: i32,
    records: impl Into<Bytes>,
) -> i64 {
    let response = produce(client, topic, partition, records);
    assert_eq!(response.error_code, ErrorCode::None, "{response:?}");
    response.base_offset
}

/// A Fetch without session that does not wait, of as much as there is.
pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    fetch_from(topic, &[(partition, offset)])
}

/// The same for several partitions of a topic.
pub fn fetch_from(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(partition, offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *offset,
        partition_max_bytes: 16 << 20,
        ..Default::default()
    });
    let topic = FetchTopic {
        topic: topic.to_owned(),
        topic_id: Uuid::nil(),
        partitions: partitions.collect(),
    };
    FetchRequest { min_bytes: 1, topics: vec![topic], ..Default::default() }
}

/// The only partition of an answer.
#[track_caller]
pub fn only_partition(response: &FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, ErrorCode::None);
    assert_eq!(response.responses.len(), 1, "{response:?}");
    assert_eq!(response.responses[0].partitions.len(), 1, "{response:?}");
    response.responses[0].partitions[0].clone()
}

/// Fetches from one partition, without waiting.
#[track_caller]
pub fn fetch(client: &mut Client, topic: &str, partition: i32, offset: i64) -> PartitionData {
    only_partition(&client.call(FETCH, &fetch_request(topic, partition, offset)))
}

/// The batches from `offset` on.
#[track_caller]
pub fn stored(client: &mut Client, topic: &str, partition: i32, offset: i64) -> Vec<Stored> {
    let data = fetch(client, topic, partition, offset);
    assert_eq!(data.error_code, ErrorCode::None, "{data:?}");
    Stored::all(&record_bytes(&data))
}

/// The records of a partition's answer.
pub fn record_bytes(data: &PartitionData) -> Bytes {
    match &data.records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::External(_) => unreachable!("a decoded answer has its records in it"),
    }
}

/// The end of a partition, as consumers see it.
#[track_caller]
pub fn end_offset(client: &mut Client, topic: &str, partition: i32) -> i64 {
    let at = list_offsets(client, topic, partition, -1);
    assert_eq!(at.error_code, ErrorCode::None);
    at.offset
}

/// A ListOffsets for one partition.
pub fn list_offsets_request(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition =
        ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

/// Looks up one offset.
#[track_caller]
pub fn list_offsets(
    client: &mut Client,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let response = client.call(9, &list_offsets_request(topic, partition, timestamp));
    response.topics[0].partitions[0].clone()
}

/// Deletes the records of a partition before `offset`.
#[track_caller]
pub fn delete_records(
    client: &mut Client,
    topic: &str,
    partition_index: i32,
    offset: i64,
) -> DeleteRecordsPartitionResult {
    let partition = DeleteRecordsPartition { partition_index, offset };
    let topic = DeleteRecordsTopic { name: topic.to_owned(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 };
    client.call(2, &request).topics[0].partitions[0].clone()
}

/// A Metadata request for topics by name that creates none.
pub fn metadata_request(names: &[&str]) -> MetadataRequest {
    let topics = names
        .iter()
        .map(|name| MetadataRequestTopic { topic_id: Uuid::nil(), name: Some((*name).to_owned()) });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

/// What Metadata says about a topic.
#[track_caller]
pub fn describe(client: &mut Client, name: &str) -> MetadataResponseTopic {
    client.call(12, &metadata_request(&[name])).topics[0].clone()
}

/// A topic's id.
#[track_caller]
pub fn topic_id(client: &mut Client, name: &str) -> Uuid {
    describe(client, name).topic_id
}

/// Commits an offset of a group, so that what belongs to groups exists.
#[track_caller]
pub fn commit_once(client: &mut Client) {
    let topic = topic(client, 1);
    let partition = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: topic, partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: unique("group"),
        topics: vec![topic],
        ..Default::default()
    };
    let response = client.call(8, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::None);
}
