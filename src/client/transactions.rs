//! Transactions seen from outside: listed, described, and ended by an operator (KIP-664).

use std::collections::BTreeMap;

use super::error::{ClientError, is_passing};
use super::wire::{Client, NamedPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerState, TopicRequest,
};
use crate::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, TransactionState,
};
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::list_transactions::ListTransactionsRequest;
use crate::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use crate::types::{NodeId, ProducerEpoch, ProducerId};

/// Wait before asking again, in ms.
const RETRY_MS: u64 = 100;
/// How often a moving leader or coordinator is followed.
const RETRIES_MAX: u32 = 20;

/// Which transactional ids to list; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// By the names of their states, which are told as Kafka writes them; empty for all.
    pub states: Vec<String>,
    /// By who holds them; empty for all.
    pub producer_ids: Vec<ProducerId>,
    /// Only those whose last transaction began longer ago, in ms (KIP-994): Kafka 3.8 on.
    pub longer_than_ms: Option<i64>,
    /// Only ids that this regular expression fits (KIP-1152): Kafka 4.1 on.
    pub pattern: Option<String>,
}

/// One transactional id of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The id.
    pub transactional_id: String,
    /// Who holds it.
    pub producer_id: ProducerId,
    /// The name of its state.
    pub state: String,
    /// The node that keeps it.
    pub coordinator: NodeId,
}

/// The transactional ids of a cluster that fit a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedTransactions {
    /// Names among the filter's that are no state's.
    pub unknown_states: Vec<String>,
    /// The others' ids, in order.
    pub transactions: Vec<ListedTransaction>,
}

impl Client {
    /// The transactional ids of all brokers.
    ///
    /// # Errors
    /// `Refusal`: 128 for a pattern that is none; `Encode` where a broker is too old for a filter; or
    /// those of [`super::Connection::call`].
    pub async fn transactions(
        &mut self,
        filter: &TransactionFilter,
    ) -> Result<ListedTransactions, ClientError> {
        let brokers = self.cluster(Some(&[])).await?.brokers;
        let mut listed = ListedTransactions::default();
        let request = |_| ListTransactionsRequest {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.iter().map(|id| id.0).collect(),
            duration_filter: filter.longer_than_ms.unwrap_or(-1),
            transactional_id_pattern: filter.pattern.clone(),
        };
        for (node, _) in brokers {
            let answer = self.node(node).await?.call(request).await?;
            let subject = || format!("transactions of node {node}");
            ClientError::check(subject, answer.error_code, None)?;
            listed.unknown_states = answer.unknown_state_filters;
            listed.transactions.extend(answer.transaction_states.into_iter().map(|found| {
                ListedTransaction {
                    transactional_id: found.transactional_id,
                    producer_id: ProducerId(found.producer_id),
                    state: found.transaction_state,
                    coordinator: node,
                }
            }));
        }
        listed
            .transactions
            .sort_by(|left, right| left.transactional_id.cmp(&right.transactional_id));
        Ok(listed)
    }

    /// Where a transactional id stands; `None` if it is not known.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn describe_transaction(
        &mut self,
        id: &str,
    ) -> Result<Option<TransactionState>, ClientError> {
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.to_owned()] };
        let mut tries = 0;
        loop {
            let node = self.transaction_coordinator(id).await?;
            let answer = self.node(node).await?.call(|_| request.clone()).await?;
            let Some(found) = answer.transaction_states.into_iter().next() else { return Ok(None) };
            if found.error_code == ErrorCode::TransactionalIdNotFound {
                return Ok(None);
            }
            if is_passing(found.error_code) && tries < RETRIES_MAX {
                tries += 1;
                self.clock().clone().sleep_ms(RETRY_MS).await;
                continue;
            }
            ClientError::check(|| subject(id), found.error_code, None)?;
            return Ok(Some(found));
        }
    }

    /// Takes a transactional id, which aborts what its producer has open and fences it. Returns once
    /// that has ended, with the pair that has the id now; gives up after `timeout_ms`.
    ///
    /// `transaction_timeout_ms` is how long transactions of the id may stay open from now on.
    ///
    /// # Errors
    /// `Refusal`: 51 where the end was not seen in time; or those of [`super::Connection::call`].
    pub async fn fence_transactional_id(
        &mut self,
        id: &str,
        transaction_timeout_ms: i32,
        timeout_ms: u64,
    ) -> Result<(ProducerId, ProducerEpoch), ClientError> {
        let request = |_| InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let deadline = self.clock().now().monotonic.plus_ms(timeout_ms);
        loop {
            let node = self.transaction_coordinator(id).await?;
            let answer = self.node(node).await?.call(request).await?;
            let code = answer.error_code;
            let is_passing = code == ErrorCode::ConcurrentTransactions || is_passing(code);
            if !is_passing || self.clock().now().monotonic >= deadline {
                ClientError::check(|| subject(id), code, None)?;
                return Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)));
            }
            self.clock().clone().sleep_ms(RETRY_MS).await;
        }
    }

    /// What partitions know of their producers, idempotent ones included.
    ///
    /// # Errors
    /// `Refusal` with 3 for a partition that does not exist, `NoLeader`, or those of
    /// [`super::Connection::call`].
    pub async fn producers(
        &mut self,
        partitions: &[NamedPartition],
    ) -> Result<BTreeMap<NamedPartition, Vec<ProducerState>>, ClientError> {
        let mut found = BTreeMap::new();
        let mut wanted = partitions.to_vec();
        let mut tries = 0;
        loop {
            for (node, asked) in self.by_leader(&std::mem::take(&mut wanted)).await? {
                let answer = self.node(node).await?.call(|_| producers_request(&asked)).await?;
                for (partition, code, message, producers) in rows(answer) {
                    if is_passing(code) && tries < RETRIES_MAX {
                        self.forget_leader(&partition);
                        wanted.push(partition);
                    } else {
                        ClientError::check(|| partition.to_string(), code, message)?;
                        found.insert(partition, producers);
                    }
                }
            }
            if wanted.is_empty() {
                return Ok(found);
            }
            tries += 1;
            self.clock().clone().sleep_ms(RETRY_MS).await;
        }
    }

    /// Writes the marker that aborts a producer's transaction in one partition, past the coordinator:
    /// only for one that no coordinator will end.
    ///
    /// # Errors
    /// `Refusal`, with 47 where the producer has gone on since it was looked at; or those of
    /// [`super::Connection::call`].
    pub async fn abort_in_partition(
        &mut self,
        partition: &NamedPartition,
        producer: &ProducerState,
    ) -> Result<(), ClientError> {
        let topic = WritableTxnMarkerTopic {
            name: partition.topic.clone(),
            partition_indexes: vec![partition.partition.0],
        };
        let too_high = || ClientError::Refusal {
            subject: format!("producer {} of {partition}", producer.producer_id),
            code: ErrorCode::InvalidProducerEpoch,
            message: None,
        };
        let marker = WritableTxnMarker {
            producer_id: producer.producer_id,
            producer_epoch: i16::try_from(producer.producer_epoch).map_err(|_| too_high())?,
            transaction_result: false,
            topics: vec![topic],
            // -1: no marker of a coordinator has come here yet, so that any will do.
            coordinator_epoch: producer.coordinator_epoch.max(0),
            transaction_version: 0,
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker] };
        let node = self.leader(partition).await?;
        let answer = self.node(node).await?.call(|_| request.clone()).await?;
        let rows = answer.markers.iter().flat_map(|marker| &marker.topics);
        for row in rows.flat_map(|topic| &topic.partitions) {
            let subject = || format!("marker of producer {} in {partition}", producer.producer_id);
            ClientError::check(subject, row.error_code, None)?;
        }
        Ok(())
    }
}

fn subject(id: &str) -> String {
    format!("transactional id {id}")
}

fn producers_request(partitions: &[NamedPartition]) -> DescribeProducersRequest {
    let mut topics = BTreeMap::<&str, Vec<_>>::new();
    for named in partitions {
        topics.entry(&named.topic).or_default().push(named.partition.0);
    }
    let topic = |(name, partition_indexes): (&str, _)| TopicRequest {
        name: name.to_owned(),
        partition_indexes,
    };
    DescribeProducersRequest { topics: topics.into_iter().map(topic).collect() }
}

type Row = (NamedPartition, ErrorCode, Option<String>, Vec<ProducerState>);

fn rows(answer: DescribeProducersResponse) -> impl Iterator<Item = Row> {
    answer.topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().map(move |row| {
            let named = NamedPartition::new(&topic.name, row.partition_index);
            (named, row.error_code, row.error_message, row.active_producers)
        })
    })
}
