//! ListOffsets (API 2, v0-10): offsets by position or by time. KIP-98 (v2: isolation), KIP-320 (v4),
//! KIP-734 (v7: largest timestamp), KIP-405 (v8, v9: tiered storage, of which there is none).

use std::collections::HashSet;

use crate::broker::{FetchError, FoundOffset, OffsetSpec};
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::server::dispatch::Cx;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(super) fn handle(cx: &Cx, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    };
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for wanted in &topic.partitions {
            let key = (topic.name.clone(), wanted.partition_index);
            if !seen.insert(key.clone()) {
                twice.insert(key);
            }
        }
    }
    let topics = request.topics.into_iter().map(|topic| ListOffsetsTopicResponse {
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| {
                if twice.contains(&(topic.name.clone(), wanted.partition_index)) {
                    return row(wanted, ErrorCode::InvalidRequest);
                }
                find(cx, &topic.name, wanted, isolation)
            })
            .collect(),
        name: topic.name,
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}

fn find(
    cx: &Cx,
    topic: &str,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let Some(spec) = spec(wanted.timestamp, cx.call.version) else {
        return row(wanted, ErrorCode::UnsupportedVersion);
    };
    let epoch = wanted.current_leader_epoch;
    let epoch = (epoch >= 0).then_some(LeaderEpoch(epoch));
    let found = cx
        .broker
        .partition(topic, PartitionIndex(wanted.partition_index))
        .and_then(|partition| cx.broker.list_offset(&partition, spec, isolation, epoch));
    answer(cx.call.version, wanted, found)
}

/// What a timestamp field asks for; `None` for a special value that this version does not have.
fn spec(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match timestamp {
        LATEST => Some(OffsetSpec::Latest),
        EARLIEST => Some(OffsetSpec::Earliest),
        MAX_TIMESTAMP if version >= 7 => Some(OffsetSpec::MaxTimestamp),
        EARLIEST_LOCAL if version >= 8 => Some(OffsetSpec::Earliest),
        LATEST_TIERED if version >= 9 => Some(OffsetSpec::Tiered),
        time if time >= 0 => Some(OffsetSpec::At(Timestamp(time))),
        _ => None,
    }
}

fn answer(
    version: i16,
    wanted: &ListOffsetsPartition,
    found: Result<Option<FoundOffset>, FetchError>,
) -> ListOffsetsPartitionResponse {
    let mut row = row(wanted, ErrorCode::None);
    match found {
        Err(error) => row.error_code = (&error).into(),
        Ok(None) => {}
        Ok(Some(FoundOffset { offset: Offset(offset), .. })) if version == 0 => {
            row.old_style_offsets = vec![offset];
        }
        Ok(Some(found)) => {
            row.offset = found.offset.0;
            row.timestamp = found.timestamp.map_or(-1, |time| time.0);
            if version >= 4 {
                row.leader_epoch = found.leader_epoch.0;
            }
        }
    }
    row
}

fn row(wanted: &ListOffsetsPartition, error_code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: wanted.partition_index,
        error_code,
        ..ListOffsetsPartitionResponse::default()
    }
}
