//! OffsetCommit (API 8, v2-10): keeps a group's offsets. KIP-320 (v6: leader epochs), KIP-345 (v7),
//! KIP-516 (v10: topics by id).
//!
//! Partitions that do not exist are answered with 3, unknown ids with 100, and the rest goes on.

use super::commits::{Asked, split};
use super::group_call;
use crate::broker::TopicRef;
use crate::groups::{Command, CommitOffsets, PartitionCommit, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::server::dispatch::Cx;
use crate::types::{Generation, LeaderEpoch, Offset, PartitionIndex, TopicId};

/// The first version that tells a member of an unknown group so.
const GROUP_NOT_FOUND_SINCE: i16 = 9;
/// The first version that names topics by id.
const TOPIC_ID_SINCE: i16 = 10;

pub(super) async fn handle(cx: Cx, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let by_id = cx.call.version >= TOPIC_ID_SINCE;
    let asked = request.topics.iter().map(|topic| asked(topic, by_id)).collect();
    let (topics, mut codes) = split(&cx.broker, asked);
    let retention_ms = (request.retention_time_ms >= 0).then_some(request.retention_time_ms);
    let command = Command::CommitOffsets(CommitOffsets {
        group_id: request.group_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation: Generation(request.generation_id_or_member_epoch),
        retention_ms,
        knows_group_id_not_found: cx.call.version >= GROUP_NOT_FOUND_SINCE,
        topics,
    });
    let committed = group_call(&cx, command, |reply| match reply {
        Reply::CommitOffsets(result) => Some(result),
        _ => None,
    });
    codes.settle(committed.await);
    let topics = request.topics.into_iter().zip(codes.into_topics());
    OffsetCommitResponse {
        topics: topics.map(|(topic, codes)| row(topic, codes)).collect(),
        ..OffsetCommitResponse::default()
    }
}

fn asked(topic: &OffsetCommitRequestTopic, by_id: bool) -> Asked {
    let commit = |row: &OffsetCommitRequestPartition| PartitionCommit {
        partition: PartitionIndex(row.partition_index),
        offset: Offset(row.committed_offset),
        leader_epoch: Some(LeaderEpoch(row.committed_leader_epoch)).filter(|it| it.0 >= 0),
        metadata: row.committed_metadata.clone().unwrap_or_default(),
    };
    Asked {
        topic: if by_id {
            TopicRef::Id(TopicId(topic.topic_id))
        } else {
            TopicRef::Name(topic.name.clone())
        },
        partitions: topic.partitions.iter().map(commit).collect(),
    }
}

fn row(topic: OffsetCommitRequestTopic, codes: Vec<ErrorCode>) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().zip(codes);
    let partitions = partitions.map(|(wanted, error_code)| OffsetCommitResponsePartition {
        partition_index: wanted.partition_index,
        error_code,
    });
    let partitions = partitions.collect();
    OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
}
