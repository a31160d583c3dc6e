//! Writes records in transactions of a transactional id, one after another (KIP-98): of each, all records are seen by
//! readers of committed records, or none.
//!
//! Who takes an id fences whoever had it, and what that one had committed is seen from then on. So an id that stands for
//! a piece of work is a lock on it, which nobody can forget to give back.

use std::collections::BTreeMap;

use super::cluster::ToSend;
use super::error::{ClientError, is_passing};
use super::produce::{Acks, Outgoing};
use super::wire::{Client, NamedPartition};
use crate::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use crate::protocol::messages::end_txn::EndTxnRequest;
use crate::protocol::{ErrorCode, Request};
use crate::records::{BatchBuilder, NewRecord};
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp};

/// The longest that a transaction stays open, in ms.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
/// How long to wait for an answer, in ms.
const ANSWER_TIMEOUT_MS: u64 = 25_000;
/// Wait before asking again, in ms.
const RETRY_MS: u64 = 20;
/// How often to ask again.
const RETRIES_MAX: u32 = 500;
/// Later versions are the brokers' own (AddPartitionsToTxn), or raise the epoch (EndTxn, KIP-890).
const ADD_VERSION_MAX: i16 = 3;
const END_VERSION_MAX: i16 = 4;

/// Holder of a transactional id. After an error it is of no use any more: take the id anew.
#[derive(Debug)]
pub struct TransactionWriter {
    id: String,
    producer_id: ProducerId,
    epoch: ProducerEpoch,
    /// The next sequence number, by partition.
    sequences: BTreeMap<NamedPartition, i32>,
}

impl Client {
    /// Takes a transactional id; gives up after `timeout_ms`.
    ///
    /// # Errors
    /// Those of [`Client::fence_transactional_id`].
    pub async fn transaction_writer(
        &mut self,
        id: &str,
        timeout_ms: u64,
    ) -> Result<TransactionWriter, ClientError> {
        let taken = self.fence_transactional_id(id, TRANSACTION_TIMEOUT_MS, timeout_ms).await?;
        let (producer_id, epoch) = taken;
        let sequences = BTreeMap::new();
        Ok(TransactionWriter { id: id.to_owned(), producer_id, epoch, sequences })
    }

    /// Writes records as one transaction; each says its partition. They are durable on return.
    ///
    /// # Errors
    /// `Refusal`: 47 or 90 where somebody else has taken the id; then, and after all others but those about the
    /// connection, nothing is ever seen of the records.
    pub async fn commit_records(
        &mut self,
        writer: &mut TransactionWriter,
        records: &[ToSend],
    ) -> Result<(), ClientError> {
        if records.is_empty() {
            return Ok(());
        }
        let now = self.clock().now().wall;
        let batches = writer.batches(records, now)?;
        let partitions: Vec<_> = batches.iter().map(|batch| batch.partition.clone()).collect();
        self.add_partitions(writer, &partitions).await?;
        match self.produce_within(batches, Acks::All, Some(&writer.id)).await {
            Ok(_) => self.end_transaction(writer, true).await,
            Err(error) => {
                // What fails here ends by itself when the transaction has been open for too long.
                let _ = self.end_transaction(writer, false).await;
                Err(error)
            }
        }
    }

    async fn add_partitions(
        &mut self,
        writer: &TransactionWriter,
        partitions: &[NamedPartition],
    ) -> Result<(), ClientError> {
        let mut topics = BTreeMap::<&str, Vec<_>>::new();
        for named in partitions {
            topics.entry(&named.topic).or_default().push(named.partition.0);
        }
        let topic = |(name, partitions): (&str, _)| AddPartitionsToTxnTopic {
            name: name.to_owned(),
            partitions,
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: writer.id.clone(),
            v3_and_below_producer_id: writer.producer_id.0,
            v3_and_below_producer_epoch: writer.epoch.0,
            v3_and_below_topics: topics.into_iter().map(topic).collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        for tries in 0.. {
            let answer = self.ask_coordinator(&writer.id, ADD_VERSION_MAX, &request).await?;
            let rows = answer.results_by_topic_v3_and_below.iter();
            let mut codes = rows.flat_map(|topic| {
                topic.results_by_partition.iter().map(|row| row.partition_error_code)
            });
            // One that is refused has the others not attempted: its code is the reason.
            let codes: Vec<_> = codes.by_ref().filter(|code| code.is_error()).collect();
            let reason =
                codes.iter().find(|code| **code != ErrorCode::OperationNotAttempted).copied();
            let Some(code) = reason else { return Ok(()) };
            if tries >= RETRIES_MAX || !may_pass(code) {
                ClientError::check(|| writer.subject(), code, None)?;
            }
            self.clock().clone().sleep_ms(RETRY_MS).await;
        }
        Ok(())
    }

    async fn end_transaction(
        &mut self,
        writer: &TransactionWriter,
        committed: bool,
    ) -> Result<(), ClientError> {
        let request = EndTxnRequest {
            transactional_id: writer.id.clone(),
            producer_id: writer.producer_id.0,
            producer_epoch: writer.epoch.0,
            committed,
        };
        let mut tries = 0;
        loop {
            // Asked twice for the same end, the coordinator says yes twice.
            let code = match self.ask_coordinator(&writer.id, END_VERSION_MAX, &request).await {
                Ok(answer) => answer.error_code,
                Err(error) if error.is_connection() && tries == 0 => {
                    self.start_over();
                    ErrorCode::CoordinatorNotAvailable
                }
                Err(error) => return Err(error),
            };
            if tries >= RETRIES_MAX || !may_pass(code) {
                return ClientError::check(|| writer.subject(), code, None);
            }
            tries += 1;
            self.clock().clone().sleep_ms(RETRY_MS).await;
        }
    }

    async fn ask_coordinator<R: Request>(
        &mut self,
        id: &str,
        version_max: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let node = self.transaction_coordinator(id).await?;
        let connection = self.node(node).await?;
        let version = connection.version::<R>(version_max)?;
        let sent = connection.send(version, request).await?;
        connection.receive(sent, ANSWER_TIMEOUT_MS).await
    }
}

/// Whether the same question may get another answer a little later.
fn may_pass(code: ErrorCode) -> bool {
    code == ErrorCode::ConcurrentTransactions || is_passing(code)
}

impl TransactionWriter {
    fn subject(&self) -> String {
        format!("transactional id {}", self.id)
    }

    /// A batch a partition, with the sequence numbers that are next there.
    fn batches(
        &mut self,
        records: &[ToSend],
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, ClientError> {
        let mut by_partition = BTreeMap::<_, Vec<&ToSend>>::new();
        for record in records {
            let partition = record.partition.unwrap_or(PartitionIndex(0));
            let named = NamedPartition { topic: record.topic.to_string(), partition };
            by_partition.entry(named).or_default().push(record);
        }
        let mut batches = Vec::new();
        for (partition, records) in by_partition {
            let next = self.sequences.entry(partition.clone()).or_default();
            let mut builder =
                BatchBuilder::new().producer(self.producer_id, self.epoch, *next).transactional();
            records.iter().for_each(|record| push(&mut builder, record, now));
            *next = next.wrapping_add(builder.count()) & i32::MAX;
            let batch = built(&partition, builder)?;
            batches.push(Outgoing { partition, batch });
        }
        Ok(batches)
    }
}

/// Adds a record to a batch.
pub(super) fn push(builder: &mut BatchBuilder, record: &ToSend, now: Timestamp) {
    let headers: Vec<_> =
        record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
    builder.push(&NewRecord {
        timestamp: record.timestamp.unwrap_or(now),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    });
}

/// The bytes of a batch.
pub(super) fn built(
    partition: &NamedPartition,
    builder: BatchBuilder,
) -> Result<bytes::Bytes, ClientError> {
    let batch = builder.build().map_err(|error| ClientError::Records {
        subject: partition.to_string(),
        problem: error.to_string(),
    })?;
    Ok(batch.to_bytes())
}
