//! TxnOffsetCommit (API 28, v0-5): a group's offsets, kept when the producer's transaction commits
//! (KIP-98). KIP-447 (v3): the consumer is named, and fenced with its group. KIP-890 (v5): the offsets
//! become part of the transaction by this. While the last transaction is ending all versions are told 51,
//! as Kafka 4.3.1 does.

use super::commits::{Asked, split};
use crate::broker::{TopicRef, TransactionError};
use crate::groups::{CommitOffsetsInTransaction, PartitionCommit};
use crate::protocol::ErrorCode;
use crate::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::server::dispatch::Cx;
use crate::types::{Generation, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId};

/// The first version that adds the offsets to the transaction.
const ADDS_SINCE: i16 = 5;
/// The first version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 4;
/// The first version whose clients know COORDINATOR_LOAD_IN_PROGRESS.
const LOADING_SINCE: i16 = 2;

pub(super) async fn handle(cx: Cx, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let (topics, mut codes) = split(&cx.broker, request.topics.iter().map(asked).collect());
    let commit = CommitOffsetsInTransaction {
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        group_id: request.group_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation: Generation(request.generation_id),
        topics,
    };
    let adds = cx.call.version >= ADDS_SINCE;
    let committed = if commit.topics.is_empty() {
        Ok(Ok(Vec::new()))
    } else if commit.group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        let id = request.transactional_id;
        match cx.broker.commit_offsets_in_transaction(id, commit, adds).await {
            Ok(results) => Ok(Ok(results)),
            Err(TransactionError::Group(error)) => Ok(Err(error)),
            Err(error) => Err(code(&error, cx.call.version)),
        }
    };
    codes.settle(committed);
    let topics = request.topics.into_iter().zip(codes.into_topics());
    TxnOffsetCommitResponse {
        topics: topics.map(|(topic, codes)| row(topic, codes)).collect(),
        ..TxnOffsetCommitResponse::default()
    }
}

/// As clients of the version know it; a fenced producer is told its epoch is invalid, here alone.
fn code(error: &TransactionError, version: i16) -> ErrorCode {
    match error.into() {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        ErrorCode::CoordinatorLoadInProgress if version < LOADING_SINCE => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    }
}

fn asked(topic: &TxnOffsetCommitRequestTopic) -> Asked {
    let commit = |row: &TxnOffsetCommitRequestPartition| PartitionCommit {
        partition: PartitionIndex(row.partition_index),
        offset: Offset(row.committed_offset),
        leader_epoch: Some(LeaderEpoch(row.committed_leader_epoch)).filter(|it| it.0 >= 0),
        metadata: row.committed_metadata.clone().unwrap_or_default(),
    };
    Asked {
        topic: TopicRef::Name(topic.name.clone()),
        partitions: topic.partitions.iter().map(commit).collect(),
    }
}

fn row(topic: TxnOffsetCommitRequestTopic, codes: Vec<ErrorCode>) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().zip(codes);
    let partitions = partitions.map(|(wanted, error_code)| TxnOffsetCommitResponsePartition {
        partition_index: wanted.partition_index,
        error_code,
    });
    TxnOffsetCommitResponseTopic { name: topic.name, partitions: partitions.collect() }
}
