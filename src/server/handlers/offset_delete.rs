//! OffsetDelete (API 47, v0): forgets committed offsets of topics that nobody in the group reads
//! (KIP-496).

use super::group_call;
use crate::groups::{Command, DeleteOffsets, PartitionResults, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use crate::server::dispatch::Cx;
use crate::types::PartitionIndex;

pub(super) async fn handle(cx: Cx, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter();
        (topic.name, partitions.map(|one| PartitionIndex(one.partition_index)).collect())
    });
    let command = Command::DeleteOffsets(DeleteOffsets {
        group_id: request.group_id,
        topics: topics.collect(),
    });
    let deleted = group_call(&cx, command, |reply| match reply {
        Reply::DeleteOffsets(result) => Some(result),
        _ => None,
    });
    match deleted.await {
        Ok(Ok(results)) => OffsetDeleteResponse {
            topics: results.into_iter().map(|topic| row(&cx, topic)).collect(),
            ..OffsetDeleteResponse::default()
        },
        Ok(Err(error)) => failed((&error).into()),
        Err(code) => failed(code),
    }
}

fn row(cx: &Cx, results: PartitionResults) -> OffsetDeleteResponseTopic {
    let known = cx.broker.registry.by_name(&results.topic);
    let partitions = results.partitions.into_iter().map(|(partition, result)| {
        let exists = known.as_ref().is_some_and(|topic| topic.partition(partition).is_some());
        let error_code = match result {
            Err(error) => (&error).into(),
            Ok(()) if exists => ErrorCode::None,
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
        };
        OffsetDeleteResponsePartition { partition_index: partition.0, error_code }
    });
    OffsetDeleteResponseTopic { partitions: partitions.collect(), name: results.topic }
}

fn failed(error_code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() }
}
