//! Requests that are answered by an error code of choice without being carried out, for
//! [`super::faults`].

use super::connection::Answer;
use super::dispatch::{Cx, now};
use crate::broker::TopicRef;
use crate::codec::{Message, Reader};
use crate::protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseTopic,
};
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use crate::protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::protocol::{ApiKey, ErrorCode};
use crate::types::TopicId;
use uuid::Uuid;

/// The topics that a request names; none where it cannot be read, or names none.
pub(super) fn topics(api: ApiKey, version: i16, mut reader: Reader) -> Vec<TopicRef> {
    let by_id = |id: Uuid, name: String| {
        if id.is_nil() { TopicRef::Name(name) } else { TopicRef::Id(TopicId(id)) }
    };
    let named: Option<Vec<TopicRef>> = match api {
        ApiKey::Produce => ProduceRequest::decode(&mut reader, version)
            .ok()
            .map(|it| it.topic_data.into_iter().map(|it| by_id(it.topic_id, it.name)).collect()),
        ApiKey::Fetch => FetchRequest::decode(&mut reader, version)
            .ok()
            .map(|it| it.topics.into_iter().map(|it| by_id(it.topic_id, it.topic)).collect()),
        ApiKey::ListOffsets => ListOffsetsRequest::decode(&mut reader, version)
            .ok()
            .map(|it| it.topics.into_iter().map(|it| TopicRef::Name(it.name)).collect()),
        ApiKey::OffsetCommit => OffsetCommitRequest::decode(&mut reader, version)
            .ok()
            .map(|it| it.topics.into_iter().map(|it| by_id(it.topic_id, it.name)).collect()),
        ApiKey::Metadata => MetadataRequest::decode(&mut reader, version).ok().map(|it| {
            let topics = it.topics.unwrap_or_default().into_iter();
            topics.map(|it| by_id(it.topic_id, it.name.unwrap_or_default())).collect()
        }),
        _ => None,
    };
    named.unwrap_or_default()
}

/// Answers by this error code alone; `None` for an API where that is not made.
pub(super) fn refuse(cx: &Cx, reader: Reader, code: ErrorCode) -> Option<Answer> {
    Some(match cx.call.api {
        ApiKey::Produce => now(cx, reader, |_, request| produce(request, code)),
        ApiKey::Fetch => now(cx, reader, |_, request| fetch(request, code)),
        ApiKey::ListOffsets => now(cx, reader, |_, request| list_offsets(request, code)),
        ApiKey::Metadata => now(cx, reader, |_, request| metadata(request, code)),
        ApiKey::OffsetCommit => now(cx, reader, |_, request| offset_commit(request, code)),
        ApiKey::FindCoordinator => now(cx, reader, |_, request| find_coordinator(request, code)),
        ApiKey::JoinGroup => now(cx, reader, |_, request: JoinGroupRequest| JoinGroupResponse {
            error_code: code,
            member_id: request.member_id,
            ..Default::default()
        }),
        ApiKey::SyncGroup => now(cx, reader, |_, _: SyncGroupRequest| SyncGroupResponse {
            error_code: code,
            ..Default::default()
        }),
        ApiKey::Heartbeat => now(cx, reader, |_, _: HeartbeatRequest| HeartbeatResponse {
            error_code: code,
            ..Default::default()
        }),
        ApiKey::LeaveGroup => now(cx, reader, |_, _: LeaveGroupRequest| LeaveGroupResponse {
            error_code: code,
            ..Default::default()
        }),
        ApiKey::InitProducerId => now(cx, reader, |_, _: InitProducerIdRequest| {
            InitProducerIdResponse { error_code: code, ..Default::default() }
        }),
        _ => return None,
    })
}

fn produce(request: ProduceRequest, error_code: ErrorCode) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| PartitionProduceResponse {
                index: data.index,
                error_code,
                base_offset: -1,
                ..Default::default()
            })
            .collect(),
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

fn fetch(request: FetchRequest, error_code: ErrorCode) -> FetchResponse {
    let topics = request.topics.into_iter().map(|topic| FetchableTopicResponse {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| PartitionData {
                partition_index: wanted.partition,
                error_code,
                high_watermark: -1,
                ..Default::default()
            })
            .collect(),
    });
    FetchResponse { responses: topics.collect(), ..Default::default() }
}

fn list_offsets(request: ListOffsetsRequest, error_code: ErrorCode) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                error_code,
                ..Default::default()
            })
            .collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn metadata(request: MetadataRequest, error_code: ErrorCode) -> MetadataResponse {
    let topics = request.topics.unwrap_or_default().into_iter();
    let topics = topics.map(|topic| MetadataResponseTopic {
        error_code,
        name: topic.name,
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: topics.collect(), ..Default::default() }
}

fn offset_commit(request: OffsetCommitRequest, error_code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| OffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code,
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn find_coordinator(
    request: FindCoordinatorRequest,
    error_code: ErrorCode,
) -> FindCoordinatorResponse {
    let row = |key| Coordinator { key, error_code, node_id: -1, port: -1, ..Default::default() };
    FindCoordinatorResponse {
        error_code,
        node_id: -1,
        port: -1,
        coordinators: request.coordinator_keys.into_iter().map(row).collect(),
        ..Default::default()
    }
}
