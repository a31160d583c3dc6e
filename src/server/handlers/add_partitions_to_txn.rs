//! AddPartitionsToTxn (API 24, v0-5): partitions become part of a producer's transaction (KIP-98). From
//! v4 on it speaks for several transactions, and may only ask (KIP-890): that is what brokers say to
//! each other.

use std::collections::{HashMap, HashSet};

use crate::broker::{TRANSACTIONS_TOPIC, TransactionError};
use crate::catalog::is_internal;
use crate::protocol::ErrorCode;
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};
use crate::server::dispatch::Cx;
use crate::server::errors::transaction_code;
use crate::txn::{PartitionList, Producer};
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, TransactionVersion};

/// The first version for several transactions.
const BATCHED_SINCE: i16 = 4;

pub(super) async fn handle(
    cx: Cx,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if cx.call.version < BATCHED_SINCE {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let results = add(&cx, transaction).await.topic_results;
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in request.transactions {
        results.push(add(&cx, transaction).await);
    }
    AddPartitionsToTxnResponse {
        results_by_transaction: results,
        ..AddPartitionsToTxnResponse::default()
    }
}

async fn add(cx: &Cx, transaction: AddPartitionsToTxnTransaction) -> AddPartitionsToTxnResult {
    let producer = Producer {
        transactional_id: transaction.transactional_id,
        producer_id: ProducerId(transaction.producer_id),
        producer_epoch: ProducerEpoch(transaction.producer_epoch),
    };
    let topics = transaction.topics;
    let fault = |topic: &AddPartitionsToTxnTopic, index: i32| {
        if is_refused(&topic.name, cx.call.version) {
            return Some(ErrorCode::TopicAuthorizationFailed);
        }
        let found = cx.broker.registry.by_name(&topic.name);
        let is_known = found.is_some_and(|found| found.partition(PartitionIndex(index)).is_some());
        (!is_known).then_some(ErrorCode::UnknownTopicOrPartition)
    };
    let may_all = topics
        .iter()
        .all(|topic| topic.partitions.iter().all(|index| fault(topic, *index).is_none()));
    let topic_results = if may_all || producer.transactional_id.is_empty() {
        let partitions = topics.iter().map(|topic| {
            (topic.name.clone(), topic.partitions.iter().copied().map(PartitionIndex).collect())
        });
        let partitions: PartitionList = partitions.collect();
        let added = if transaction.verify_only {
            cx.broker.verify_part_of_transaction(&producer, partitions).await
        } else {
            let added = cx.broker.add_to_transaction(&producer, partitions, TransactionVersion::V0);
            added.await.map(|()| Vec::new())
        };
        let codes = codes_of(added, cx.call.version);
        rows(topics, |topic, index| codes(&topic.name, index))
    } else {
        // Nothing is added; the good ones are told so.
        rows(topics, |topic, index| fault(topic, index).unwrap_or(ErrorCode::OperationNotAttempted))
    };
    AddPartitionsToTxnResult { transactional_id: producer.transactional_id, topic_results }
}

/// Whether a topic is none for transactions: those of the broker itself. Groups' offsets have a request
/// of their own, but brokers add their partition by this one. Unlike Kafka: the coordinator's journal
/// is refused to brokers too.
fn is_refused(topic: &str, version: i16) -> bool {
    topic == TRANSACTIONS_TOPIC || version < BATCHED_SINCE && is_internal(topic)
}

/// What each partition is told: that the whole is refused, or that it is missing among those which
/// are part of the transaction.
fn codes_of(
    answer: Result<Vec<(String, PartitionIndex)>, TransactionError>,
    version: i16,
) -> impl Fn(&str, i32) -> ErrorCode {
    let answer = answer.map_err(|error| transaction_code(&error, version < 2));
    let answer = answer.map(|rows| {
        let mut missing: HashMap<String, HashSet<i32>> = HashMap::new();
        for (topic, partition) in rows {
            missing.entry(topic).or_default().insert(partition.0);
        }
        missing
    });
    move |topic, index| match &answer {
        Ok(missing) if missing.get(topic).is_some_and(|missing| missing.contains(&index)) => {
            ErrorCode::TransactionAbortable
        }
        Ok(_) => ErrorCode::None,
        Err(code) => *code,
    }
}

fn rows(
    topics: Vec<AddPartitionsToTxnTopic>,
    code: impl Fn(&AddPartitionsToTxnTopic, i32) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let row = |topic: AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
        results_by_partition: topic
            .partitions
            .iter()
            .map(|index| AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: code(&topic, *index),
            })
            .collect(),
        name: topic.name,
    };
    topics.into_iter().map(row).collect()
}
