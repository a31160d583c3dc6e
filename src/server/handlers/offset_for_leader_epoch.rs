//! OffsetForLeaderEpoch (API 23, v2-4): where a leader epoch ended, for clients that look whether
//! their position is still in the log (KIP-101, KIP-320).

use crate::broker::FetchError;
use crate::log::EpochEnd;
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use crate::server::dispatch::Cx;
use crate::types::{LeaderEpoch, PartitionIndex};

pub(super) fn handle(
    cx: &Cx,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        partitions: topic.partitions.iter().map(|asked| row(cx, &topic.topic, asked)).collect(),
        topic: topic.topic,
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    }
}

fn row(cx: &Cx, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut row = EpochEndOffset {
        error_code: ErrorCode::None,
        partition: asked.partition,
        ..EpochEndOffset::default()
    };
    match find(cx, topic, asked) {
        Ok(Some(found)) => {
            row.leader_epoch = found.epoch.0;
            row.end_offset = found.end.0;
        }
        Ok(None) => {}
        Err(error) => row.error_code = (&error).into(),
    }
    row
}

fn find(
    cx: &Cx,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<EpochEnd>, FetchError> {
    let partition = cx.broker.partition(topic, PartitionIndex(asked.partition))?;
    let current = asked.current_leader_epoch;
    let current = (current >= 0).then_some(LeaderEpoch(current));
    cx.broker.end_of_epoch(&partition, LeaderEpoch(asked.leader_epoch), current)
}
