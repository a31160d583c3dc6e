//! DeleteRecords (API 21, v0-2): moves the start of partitions up, durably (KIP-107).

use crate::broker::DeleteRecordsError;
use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::server::dispatch::Cx;
use crate::types::{Offset, PartitionIndex};

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

pub(super) fn handle(cx: &Cx, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| DeleteRecordsTopicResult {
        partitions: topic.partitions.iter().map(|asked| row(cx, &topic.name, asked)).collect(),
        name: topic.name,
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}

fn row(cx: &Cx, topic: &str, asked: &DeleteRecordsPartition) -> DeleteRecordsPartitionResult {
    let (error_code, low_watermark) = match delete(cx, topic, asked) {
        Ok(start) => (ErrorCode::None, start.0),
        Err(error) => {
            let (partition, offset) = (asked.partition_index, asked.offset);
            tracing::debug!(topic, partition, offset, %error, "records not deleted");
            ((&error).into(), -1)
        }
    };
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark,
        error_code,
    }
}

fn delete(
    cx: &Cx,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, DeleteRecordsError> {
    let partition = cx.broker.partition(topic, PartitionIndex(asked.partition_index))?;
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    cx.broker.delete_records(&partition, before)
}
