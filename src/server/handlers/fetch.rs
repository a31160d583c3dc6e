//! Fetch (API 1, v4-18): whole stored batches, sent from their files. KIP-74 (limits), KIP-98 (v4),
//! KIP-320 (v9), KIP-516 (v13). What v18 adds (KIP-1166) is between brokers.
//!
//! Fetch sessions (KIP-227) are declined: every answer has session id 0, after which clients send
//! full requests. A request inside a session that cannot exist is told so (70).

use std::sync::Arc;

use crate::broker::{Fetch, FetchError, Fetched, Look, PartitionFetch, TopicRef};
use crate::codec::{Message, Piece, Reader};
use crate::partition::Isolation;
use crate::protocol::ErrorCode;
use crate::protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, PartitionData, Records,
};
use crate::server::connection::{Answer, Outcome};
use crate::server::dispatch::{Call, Cx};
use crate::server::frame::{Frame, Part};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};

/// The first version that names topics by id.
const TOPIC_ID_SINCE: i16 = 13;
/// Epoch of a request that opens no session or ends one.
const FINAL_EPOCH: i32 = -1;
/// The longest a fetch is parked, whatever it asks for, in ms.
const WAIT_MAX_MS: u64 = 300_000;

/// Why a connection ends whose fetch was understood.
const NOT_ANSWERED: &str = "a fetch could not be answered";

/// Where each partition of the fetch stands in the response: topics with their partitions' numbers.
type Shape = Vec<(FetchTopic, Vec<i32>)>;

pub(super) fn handle(cx: Cx, mut reader: Reader) -> Answer {
    let request = match FetchRequest::decode(&mut reader, cx.call.version) {
        Ok(request) => request,
        Err(error) => return cx.call.undecodable(&error.to_string()),
    };
    let replica = request.replica_id.max(request.replica_state.replica_id);
    if replica >= 0 {
        return refuse(&cx.call, ErrorCode::ClusterAuthorizationFailed);
    }
    if request.session_id != 0 && request.session_epoch > 0 {
        return refuse(&cx.call, ErrorCode::FetchSessionIdNotFound);
    }
    let ends_session = request.session_id != 0 && request.session_epoch == FINAL_EPOCH;
    let (fetch, shape) = translate(&cx, request);
    if ends_session && fetch.partitions.is_empty() {
        return cx.call.answer(&FetchResponse::default());
    }
    let look = cx.broker.fetch_now(&fetch);
    if look.is_final {
        return match respond(&cx.call, shape, look, fetch.isolation) {
            Some(frame) => Answer::Now(frame),
            None => Answer::Close(NOT_ANSWERED.to_owned()),
        };
    }
    Answer::Parked(Box::pin(async move {
        let stopping = cx.broker.tasks.stopping();
        let look = cx.broker.fetch_later(&fetch, look.unknown_count, stopping).await;
        match respond(&cx.call, shape, look, fetch.isolation) {
            Some(frame) => Outcome::Send(frame),
            None => Outcome::Close(NOT_ANSWERED.to_owned()),
        }
    }))
}

fn refuse(call: &Call, error_code: ErrorCode) -> Answer {
    call.answer(&FetchResponse { error_code, ..FetchResponse::default() })
}

fn translate(cx: &Cx, request: FetchRequest) -> (Fetch, Shape) {
    let by_id = cx.call.version >= TOPIC_ID_SINCE;
    let mut partitions = Vec::new();
    let mut shape = Shape::with_capacity(request.topics.len());
    for mut topic in request.topics {
        let name = if by_id {
            TopicRef::Id(TopicId(topic.topic_id))
        } else {
            TopicRef::Name(topic.topic.clone())
        };
        let wanted = std::mem::take(&mut topic.partitions);
        shape.push((topic, wanted.iter().map(|wanted| wanted.partition).collect()));
        partitions.extend(wanted.into_iter().map(|wanted| PartitionFetch {
            topic: name.clone(),
            partition: PartitionIndex(wanted.partition),
            offset: Offset(wanted.fetch_offset),
            max_bytes: unsigned(wanted.partition_max_bytes),
            current_leader_epoch: epoch(wanted.current_leader_epoch),
            last_fetched_epoch: epoch(wanted.last_fetched_epoch),
        }));
    }
    let limit = unsigned(cx.broker.config.fetch_max_bytes);
    let fetch = Fetch {
        max_wait_ms: unsigned(request.max_wait_ms).min(WAIT_MAX_MS),
        min_bytes: unsigned(request.min_bytes),
        max_bytes: unsigned(request.max_bytes).min(limit),
        isolation: if request.isolation_level == 1 {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        partitions,
    };
    (fetch, shape)
}

fn unsigned(value: i32) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn epoch(value: i32) -> Option<LeaderEpoch> {
    (value >= 0).then_some(LeaderEpoch(value))
}

fn respond(call: &Call, shape: Shape, look: Look, isolation: Isolation) -> Option<Frame> {
    let mut files = Vec::new();
    let mut results = look.results.into_iter();
    let responses = shape
        .into_iter()
        .map(|(topic, partitions)| FetchableTopicResponse {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: partitions
                .into_iter()
                .zip(&mut results)
                .map(|(index, result)| match result {
                    Ok(fetched) => found(index, fetched, isolation, &mut files),
                    Err(error) => failed(index, &error),
                })
                .collect(),
        })
        .collect();
    let response = FetchResponse { responses, ..FetchResponse::default() };
    let pieces = call.written(response.pieces(call.version, call.correlation_id))?;
    let mut files = files.into_iter();
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => parts.push(Part::Bytes(bytes)),
            Piece::External { .. } => parts.push(files.next()?),
        }
    }
    Some(Frame { parts })
}

fn found(
    index: i32,
    fetched: Fetched,
    isolation: Isolation,
    files: &mut Vec<Part>,
) -> PartitionData {
    let Fetched { watermarks, range, aborted, diverging } = fetched;
    let aborted = aborted.iter().map(|transaction| AbortedTransaction {
        producer_id: transaction.producer_id.0,
        first_offset: transaction.first_offset.0,
    });
    let mut data = PartitionData {
        partition_index: index,
        high_watermark: watermarks.high_watermark.0,
        last_stable_offset: watermarks.last_stable.0,
        log_start_offset: watermarks.log_start.0,
        aborted_transactions: (isolation == Isolation::ReadCommitted).then(|| aborted.collect()),
        ..PartitionData::default()
    };
    if let Some((epoch, end)) = diverging {
        data.diverging_epoch = EpochEndOffset { epoch: epoch.0, end_offset: end.0 };
    }
    if let Some(range) = range {
        data.records = Records::External(u32::try_from(range.len).unwrap_or(u32::MAX));
        files.push(Part::File {
            file: Arc::clone(&range.file),
            position: range.position,
            length: range.len,
        });
    }
    data
}

fn failed(index: i32, error: &FetchError) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: error.into(),
        high_watermark: -1,
        ..PartitionData::default()
    }
}
