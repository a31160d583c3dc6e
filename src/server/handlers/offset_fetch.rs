//! OffsetFetch (API 9, v1-9): a group's committed offsets: of one group up to v7, of several from v8
//! on (KIP-709). Nothing committed is offset -1 without an error.

use super::group_call;
use crate::groups::{Command, FetchGroup, FetchOffsets, FetchedGroup, FetchedPartition, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::server::dispatch::Cx;
use crate::types::PartitionIndex;

/// The first version with several groups.
const GROUPS_SINCE: i16 = 8;

pub(super) async fn handle(cx: Cx, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let several = cx.call.version >= GROUPS_SINCE;
    let groups = if several { several_groups(request) } else { vec![one_group(request)] };
    let asked: Vec<_> = groups.iter().map(|group| group.group_id.clone()).collect();
    let command = Command::FetchOffsets(FetchOffsets { groups });
    let fetched = group_call(&cx, command, |reply| match reply {
        Reply::FetchOffsets(groups) => Some(groups),
        _ => None,
    });
    match (fetched.await, several) {
        (Ok(groups), true) => OffsetFetchResponse {
            groups: groups.into_iter().map(group_row).collect(),
            ..OffsetFetchResponse::default()
        },
        (Ok(groups), false) => OffsetFetchResponse {
            topics: groups.into_iter().flat_map(|group| group.topics).map(topic_row).collect(),
            ..OffsetFetchResponse::default()
        },
        (Err(error_code), true) => OffsetFetchResponse {
            groups: asked
                .into_iter()
                .map(|group_id| OffsetFetchResponseGroup {
                    group_id,
                    error_code,
                    ..OffsetFetchResponseGroup::default()
                })
                .collect(),
            ..OffsetFetchResponse::default()
        },
        (Err(error_code), false) => {
            OffsetFetchResponse { error_code, ..OffsetFetchResponse::default() }
        }
    }
}

fn indexes(partitions: Vec<i32>) -> Vec<PartitionIndex> {
    partitions.into_iter().map(PartitionIndex).collect()
}

fn one_group(request: OffsetFetchRequest) -> FetchGroup {
    let topics = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, indexes(topic.partition_indexes))).collect()
    });
    FetchGroup { group_id: request.group_id, topics }
}

fn several_groups(request: OffsetFetchRequest) -> Vec<FetchGroup> {
    let groups = request.groups.into_iter().map(|group| {
        let topics = group.topics.map(|topics| {
            let topics = topics.into_iter();
            topics.map(|topic| (topic.name, indexes(topic.partition_indexes))).collect()
        });
        FetchGroup { group_id: group.group_id, topics }
    });
    groups.collect()
}

fn topic_row((name, partitions): (String, Vec<FetchedPartition>)) -> OffsetFetchResponseTopic {
    let partitions = partitions.into_iter().map(|partition| {
        let (committed_offset, committed_leader_epoch, metadata) = committed(&partition);
        OffsetFetchResponsePartition {
            partition_index: partition.partition.0,
            committed_offset,
            committed_leader_epoch,
            metadata: Some(metadata),
            error_code: ErrorCode::None,
        }
    });
    OffsetFetchResponseTopic { name, partitions: partitions.collect() }
}

fn group_row(group: FetchedGroup) -> OffsetFetchResponseGroup {
    let topics = group.topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|partition| {
            let (committed_offset, committed_leader_epoch, metadata) = committed(&partition);
            OffsetFetchResponsePartitions {
                partition_index: partition.partition.0,
                committed_offset,
                committed_leader_epoch,
                metadata: Some(metadata),
                error_code: ErrorCode::None,
            }
        });
        OffsetFetchResponseTopics {
            name,
            partitions: partitions.collect(),
            ..OffsetFetchResponseTopics::default()
        }
    });
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics: topics.collect(),
        error_code: ErrorCode::None,
    }
}

/// Offset, leader epoch and note as the wire has them.
fn committed(partition: &FetchedPartition) -> (i64, i32, String) {
    match &partition.committed {
        None => (-1, -1, String::new()),
        Some(kept) => {
            let epoch = kept.leader_epoch.map_or(-1, |epoch| epoch.0);
            (kept.offset.0, epoch, kept.metadata.clone())
        }
    }
}
