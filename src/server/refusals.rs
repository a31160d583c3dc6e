//! Requests that are answered by an error code of choice without being carried out, for
//! [`super::faults`].

use super::connection::Answer;
use super::dispatch::{Cx, now};
use crate::broker::TopicRef;
use crate::codec::{Message, Reader};
use crate::protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use crate::protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, TopicResponse,
};
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TransactionState,
};
use crate::protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
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
use crate::protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse,
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
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};
use crate::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
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
        ApiKey::AddPartitionsToTxn => {
            AddPartitionsToTxnRequest::decode(&mut reader, version).ok().map(|it| {
                let batched = it.transactions.into_iter().flat_map(|it| it.topics);
                let topics = it.v3_and_below_topics.into_iter().chain(batched);
                topics.map(|it| TopicRef::Name(it.name)).collect()
            })
        }
        ApiKey::TxnOffsetCommit => TxnOffsetCommitRequest::decode(&mut reader, version)
            .ok()
            .map(|it| it.topics.into_iter().map(|it| TopicRef::Name(it.name)).collect()),
        ApiKey::WriteTxnMarkers => {
            WriteTxnMarkersRequest::decode(&mut reader, version).ok().map(|it| {
                let topics = it.markers.into_iter().flat_map(|it| it.topics);
                topics.map(|it| TopicRef::Name(it.name)).collect()
            })
        }
        ApiKey::DescribeProducers => DescribeProducersRequest::decode(&mut reader, version)
            .ok()
            .map(|it| it.topics.into_iter().map(|it| TopicRef::Name(it.name)).collect()),
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
            InitProducerIdResponse { error_code: code, producer_epoch: -1, ..Default::default() }
        }),
        _ => return refuse_in_transaction(cx, reader, code),
    })
}

/// The requests of transactions.
fn refuse_in_transaction(cx: &Cx, reader: Reader, code: ErrorCode) -> Option<Answer> {
    Some(match cx.call.api {
        ApiKey::AddPartitionsToTxn => now(cx, reader, |_, request| add_partitions(request, code)),
        ApiKey::AddOffsetsToTxn => now(cx, reader, |_, _: AddOffsetsToTxnRequest| {
            AddOffsetsToTxnResponse { error_code: code, ..Default::default() }
        }),
        ApiKey::EndTxn => now(cx, reader, |_, _: EndTxnRequest| EndTxnResponse {
            error_code: code,
            ..Default::default()
        }),
        ApiKey::TxnOffsetCommit => now(cx, reader, |_, request| txn_offset_commit(request, code)),
        ApiKey::WriteTxnMarkers => now(cx, reader, |_, request| write_markers(request, code)),
        ApiKey::DescribeProducers => {
            now(cx, reader, |_, request| describe_producers(request, code))
        }
        ApiKey::DescribeTransactions => {
            now(cx, reader, |_, request| describe_transactions(request, code))
        }
        ApiKey::ListTransactions => now(cx, reader, |_, _: ListTransactionsRequest| {
            ListTransactionsResponse { error_code: code, ..Default::default() }
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

fn add_partitions(
    request: AddPartitionsToTxnRequest,
    code: ErrorCode,
) -> AddPartitionsToTxnResponse {
    let rows = |topics: Vec<AddPartitionsToTxnTopic>| -> Vec<AddPartitionsToTxnTopicResult> {
        let row = |partition_index: &i32| AddPartitionsToTxnPartitionResult {
            partition_index: *partition_index,
            partition_error_code: code,
        };
        let topic = |topic: AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
            results_by_partition: topic.partitions.iter().map(row).collect(),
            name: topic.name,
        };
        topics.into_iter().map(topic).collect()
    };
    let results = request.transactions.into_iter().map(|transaction| AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id,
        topic_results: rows(transaction.topics),
    });
    AddPartitionsToTxnResponse {
        results_by_transaction: results.collect(),
        results_by_topic_v3_and_below: rows(request.v3_and_below_topics),
        ..Default::default()
    }
}

fn txn_offset_commit(
    request: TxnOffsetCommitRequest,
    error_code: ErrorCode,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| TxnOffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code,
            })
            .collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn write_markers(
    request: WriteTxnMarkersRequest,
    error_code: ErrorCode,
) -> WriteTxnMarkersResponse {
    let marker = |marker: WritableTxnMarker| WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: marker
            .topics
            .into_iter()
            .map(|topic| WritableTxnMarkerTopicResult {
                name: topic.name,
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|index| WritableTxnMarkerPartitionResult {
                        partition_index: *index,
                        error_code,
                    })
                    .collect(),
            })
            .collect(),
    };
    WriteTxnMarkersResponse { markers: request.markers.into_iter().map(marker).collect() }
}

fn describe_producers(
    request: DescribeProducersRequest,
    error_code: ErrorCode,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| TopicResponse {
        name: topic.name,
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| PartitionResponse {
                partition_index: *index,
                error_code,
                ..Default::default()
            })
            .collect(),
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn describe_transactions(
    request: DescribeTransactionsRequest,
    error_code: ErrorCode,
) -> DescribeTransactionsResponse {
    let row =
        |transactional_id| TransactionState { error_code, transactional_id, ..Default::default() };
    DescribeTransactionsResponse {
        transaction_states: request.transactional_ids.into_iter().map(row).collect(),
        ..Default::default()
    }
}
