//! OffsetCommit (API 8, v2-9): keeps a group's offsets. KIP-320 (v6: leader epochs), KIP-345 (v7).
//!
//! Partitions that do not exist are answered with 3 and the rest goes on.

use super::group_call;
use crate::broker::Broker;
use crate::groups::{
    Command, CommitOffsets, PartitionCommit, PartitionResults, Reply, TopicCommit,
};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::server::dispatch::Cx;
use crate::types::{Generation, LeaderEpoch, Offset, PartitionIndex};

/// The first version that tells a member of an unknown group so.
const GROUP_NOT_FOUND_SINCE: i16 = 9;

pub(super) async fn handle(cx: Cx, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut shape = Vec::with_capacity(request.topics.len());
    let mut topics = Vec::new();
    for topic in request.topics {
        let (commit, row) = split(&cx.broker, topic);
        topics.extend(commit);
        shape.push(row);
    }
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
    match committed.await {
        Ok(Ok(results)) => fill(&mut shape, results),
        Ok(Err(error)) => fill_all(&mut shape, (&error).into()),
        Err(code) => fill_all(&mut shape, code),
    }
    OffsetCommitResponse { topics: shape, ..OffsetCommitResponse::default() }
}

/// The partitions of a topic that exist, to be committed, and the answer's rows for all of them.
fn split(
    broker: &Broker,
    topic: OffsetCommitRequestTopic,
) -> (Option<TopicCommit>, OffsetCommitResponseTopic) {
    let known = broker.registry.by_name(&topic.name);
    let mut commits = Vec::new();
    let mut rows = Vec::with_capacity(topic.partitions.len());
    for wanted in topic.partitions {
        let partition = PartitionIndex(wanted.partition_index);
        let exists = known.as_ref().is_some_and(|topic| topic.partition(partition).is_some());
        rows.push(OffsetCommitResponsePartition {
            partition_index: wanted.partition_index,
            error_code: if exists { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition },
        });
        if exists {
            let epoch = wanted.committed_leader_epoch;
            commits.push(PartitionCommit {
                partition,
                offset: Offset(wanted.committed_offset),
                leader_epoch: (epoch >= 0).then_some(LeaderEpoch(epoch)),
                metadata: wanted.committed_metadata.unwrap_or_default(),
            });
        }
    }
    let commit = known.filter(|_| !commits.is_empty()).map(|known| TopicCommit {
        topic: topic.name.clone(),
        topic_id: known.id,
        partitions: commits,
    });
    let row =
        OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions: rows };
    (commit, row)
}

/// Puts the coordinator's results, which leave out what does not exist, into the rows.
fn fill(rows: &mut [OffsetCommitResponseTopic], results: Vec<PartitionResults>) {
    let mut results = results.into_iter().flat_map(|topic| topic.partitions);
    let partitions = rows.iter_mut().flat_map(|topic| &mut topic.partitions);
    for row in partitions.filter(|row| !row.error_code.is_error()) {
        if let Some((_, Err(error))) = results.next() {
            row.error_code = (&error).into();
        }
    }
}

fn fill_all(rows: &mut [OffsetCommitResponseTopic], code: ErrorCode) {
    let partitions = rows.iter_mut().flat_map(|topic| &mut topic.partitions);
    for row in partitions.filter(|row| !row.error_code.is_error()) {
        row.error_code = code;
    }
}
