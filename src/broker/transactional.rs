//! A transactional producer inside this process: records in several partitions, and the offsets of
//! what they were made from, count together or not at all (KIP-98).
//!
//! Its transactions are those of any Kafka client, in the same journal and the same logs, seen by the
//! same tools. It only takes fewer steps: all partitions of a [`TransactionalProducer::write`] become
//! part of the transaction at once, and what is appended waits for no disk before
//! [`TransactionalProducer::commit`] does. So one transaction costs three rounds of the sync thread:
//! records and offsets, then the decision, then the markers, for which only the next transaction of
//! the same id waits.
//!
//! No record is acknowledged before its partition is known on disk to be part of the transaction, which
//! is true of Kafka too. But it may be on disk: a power cut can leave records of a transaction that the
//! coordinator does not know. The next start aborts them, and their producer went with the process.

use std::collections::HashMap;
use std::sync::Arc;

use super::open::OFFSETS_TOPIC;
use super::txns::{HELD_BACK_MS, OFFSETS_PARTITION, offsets_partition};
use super::{Broker, ProduceError, ShellError, TopicRef, TransactionError};
use crate::config::value::Durability;
use crate::groups::{self, CommitOffsetsInTransaction, GroupError, PartitionCommit, TopicCommit};
use crate::partition::{Admitted, AppendError, Appended, Partition};
use crate::records::{BatchBuilder, Outcome};
use crate::txn::{
    AddPartitions, Command, InitProducerId, PartitionList, Producer, Reply, TxnError,
};
use crate::types::{
    Generation, Now, Offset, PartitionIndex, ProducerEpoch, ProducerId, TransactionVersion,
};

/// Each transaction has an epoch of its own.
const VERSION: TransactionVersion = TransactionVersion::V2;

/// Records for one partition, as one batch.
#[derive(Clone, Debug)]
pub struct PartitionRecords {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The records, with the codec that is wanted. Whose they are is filled in.
    pub records: BatchBuilder,
}

/// Offsets that a group has worked up to, if the transaction commits.
#[derive(Clone, Debug)]
pub struct GroupOffsets {
    /// The group; made if there is none.
    pub group_id: String,
    /// The member whose offsets they are, which must be one of the group then (KIP-447): its id, its
    /// instance id if it is static, and its generation.
    pub member: Option<(String, Option<String>, Generation)>,
    /// By topic's name: the next record to read of each partition.
    pub offsets: Vec<(String, Vec<PartitionCommit>)>,
}

/// What goes into a transaction at once.
#[derive(Clone, Debug, Default)]
pub struct TransactionWrites {
    /// Records, appended in this order.
    pub records: Vec<PartitionRecords>,
    /// Offsets.
    pub offsets: Vec<GroupOffsets>,
}

/// Why something is not part of a transaction, or did not end it.
#[derive(Debug, thiserror::Error)]
pub enum TransactionWriteError {
    /// By the coordinator. After `ProducerFenced` or `InvalidProducerIdMapping` another producer has
    /// the transactional id, or the transaction took too long and was aborted.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// By a partition.
    #[error("partition {partition} of {topic}: {error}")]
    Partition {
        /// The topic's name or id.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// Why.
        error: ProduceError,
    },
    /// What was written could not be made durable.
    #[error("{topic}: {error}")]
    NotDurable {
        /// The topic's name.
        topic: String,
        /// Why.
        error: AppendError,
    },
    /// A write before this failed: the transaction can only be aborted.
    #[error("what was written before has failed: the transaction has to be aborted")]
    MustAbort,
}

impl From<TxnError> for TransactionWriteError {
    fn from(error: TxnError) -> Self {
        Self::Transaction(error.into())
    }
}

impl From<ShellError> for TransactionWriteError {
    fn from(error: ShellError) -> Self {
        Self::Transaction(error.into())
    }
}

/// See the module. One transaction at a time: begun by the first [`TransactionalProducer::write`],
/// ended by [`TransactionalProducer::commit`] or [`TransactionalProducer::abort`]. One that is dropped
/// meanwhile is aborted when its time is over, or when its id is taken again.
#[derive(Debug)]
pub struct TransactionalProducer {
    broker: Arc<Broker>,
    producer: Producer,
    open: Open,
}

/// The transaction that is open.
#[derive(Debug, Default)]
struct Open {
    is_begun: bool,
    has_failed: bool,
    partitions: HashMap<(Arc<str>, PartitionIndex), Progress>,
    /// The end of the groups' journal that its offsets rest on.
    offsets_end: Option<Offset>,
}

/// What a transaction has in a partition.
#[derive(Debug)]
struct Progress {
    partition: Arc<Partition>,
    next_sequence: i32,
    end: Offset,
}

/// Records that nothing is wrong with, and where they go.
struct Ready {
    topic: Arc<str>,
    partition: Arc<Partition>,
    count: i32,
    admitted: Admitted,
}

impl Broker {
    /// Takes a transactional id: fences whoever held it, also in another process, and aborts what that
    /// one had open, which is waited for. A transaction may stay open for `timeout_ms`.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn transactional_producer(
        self: &Arc<Self>,
        transactional_id: &str,
        timeout_ms: i32,
    ) -> Result<TransactionalProducer, TransactionError> {
        let init = InitProducerId {
            transactional_id: transactional_id.to_owned(),
            timeout_ms,
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
        };
        let producer = self.init_transactional_producer(init).await?;
        let broker = Arc::clone(self);
        Ok(TransactionalProducer { broker, producer, open: Open::default() })
    }
}

impl TransactionalProducer {
    /// Who it is now; the epoch rises with each transaction.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Puts records and offsets into the transaction, which begins with the first. Waits for the end of
    /// the last one, if need be, and for no disk: [`TransactionalProducer::commit`] does. Returns where
    /// the records of each batch lie.
    ///
    /// # Errors
    /// See [`TransactionWriteError`]. Some of it may be written then: all that is left is to abort.
    pub async fn write(
        &mut self,
        writes: TransactionWrites,
    ) -> Result<Vec<Appended>, TransactionWriteError> {
        if self.open.has_failed {
            return Err(TransactionWriteError::MustAbort);
        }
        self.open.has_failed = true; // Also where the caller goes away on the way.
        let written = self.write_all(writes).await?;
        self.open.has_failed = false;
        Ok(written)
    }

    async fn write_all(
        &mut self,
        writes: TransactionWrites,
    ) -> Result<Vec<Appended>, TransactionWriteError> {
        let broker = Arc::clone(&self.broker);
        if !self.open.is_begun {
            let deadline = broker.clock.now().monotonic.plus_ms(HELD_BACK_MS);
            broker.hold_back(&self.producer.transactional_id, deadline).await;
        }
        let now = broker.clock.now();
        let ready = self.admit(writes.records, now)?;
        let offsets = self.offset_commits(writes.offsets)?;
        let _gathering = broker.flusher.gather();
        self.add(&ready, !offsets.is_empty())?;
        let mut written = Vec::with_capacity(ready.len());
        for ready in ready {
            written.push(self.append(ready, now)?);
        }
        for commit in offsets {
            self.commit_offsets(commit)?;
        }
        Ok(written)
    }

    /// Looks at all that can be looked at without a lock.
    fn admit(
        &self,
        records: Vec<PartitionRecords>,
        now: Now,
    ) -> Result<Vec<Ready>, TransactionWriteError> {
        let mut sequences: HashMap<(Arc<str>, PartitionIndex), i32> = HashMap::new();
        let mut all = Vec::with_capacity(records.len());
        for PartitionRecords { topic, partition: index, records } in records {
            let refused = |error| partition_error(&topic, index, error);
            let (found, partition) = self.broker.writable(&topic, index).map_err(refused)?;
            let place = (Arc::clone(&found.name), index);
            let known = self.open.partitions.get(&place).map_or(0, |it| it.next_sequence);
            let sequence = sequences.entry(place).or_insert(known);
            let count = records.count();
            let (id, epoch) = (self.producer.producer_id, self.producer.producer_epoch);
            let batch = records.producer(id, epoch, *sequence).transactional().build();
            let batch = batch.map_err(|error| refused(AppendError::from(error).into()))?;
            *sequence = after(*sequence, count);
            let admitted = partition.admit(batch.to_bytes(), now);
            let admitted = admitted.map_err(|error| refused(error.into()))?;
            all.push(Ready { topic: Arc::clone(&found.name), partition, count, admitted });
        }
        Ok(all)
    }

    fn offset_commits(
        &self,
        offsets: Vec<GroupOffsets>,
    ) -> Result<Vec<CommitOffsetsInTransaction>, TransactionWriteError> {
        let registry = &self.broker.registry;
        let commit = |of: GroupOffsets| {
            let topics = of.offsets.into_iter().map(|(topic, partitions)| {
                let found = registry.by_name(&topic);
                let unknown = partitions.iter().map(|row| row.partition).find(|index| {
                    found.as_ref().is_none_or(|topic| topic.partition(*index).is_none())
                });
                match (found, unknown) {
                    (Some(found), None) => {
                        Ok(TopicCommit { topic, topic_id: found.id, partitions })
                    }
                    (_, unknown) => Err(TransactionWriteError::Partition {
                        topic,
                        partition: unknown.unwrap_or_default(),
                        error: ProduceError::UnknownTopicOrPartition,
                    }),
                }
            });
            let topics = topics.collect::<Result<_, _>>()?;
            let (member_id, group_instance_id, generation) =
                of.member.unwrap_or((String::new(), None, Generation(-1)));
            Ok(CommitOffsetsInTransaction {
                producer_id: self.producer.producer_id,
                producer_epoch: self.producer.producer_epoch,
                group_id: of.group_id,
                member_id,
                group_instance_id,
                generation,
                topics,
            })
        };
        offsets.into_iter().map(commit).collect()
    }

    /// Makes everything that is to be written part of the transaction, in one step. It is in the journal
    /// on return, before what is appended now; that it is on disk is known when the decision is, which
    /// lies behind it.
    fn add(&mut self, ready: &[Ready], has_offsets: bool) -> Result<(), TransactionWriteError> {
        let topics = ready.iter().map(|it| (it.topic.to_string(), vec![it.partition.index]));
        let offsets = has_offsets.then(offsets_partition).into_iter().flatten();
        let partitions: PartitionList = topics.chain(offsets).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        self.open.is_begun = true;
        let add = AddPartitions { producer: self.producer.clone(), partitions, version: VERSION };
        match self.broker.transactions().decide(Command::AddPartitions(add))?.0 {
            Reply::AddPartitions(result) => Ok(result?),
            _ => Err(ShellError::WrongReply.into()),
        }
    }

    fn append(&mut self, ready: Ready, now: Now) -> Result<Appended, TransactionWriteError> {
        let Ready { topic, partition, count, admitted } = ready;
        let index = partition.index;
        let batch = (&*topic, partition, Ok(admitted));
        let written = self.broker.begin_admitted(&self.producer, VERSION, batch, now);
        let written = written
            .map_err(|error| partition_error(&TopicRef::Name(topic.to_string()), index, error))?;
        let (partition, end) = (written.partition, written.appended.end);
        let progress = self.open.partitions.entry((topic, index));
        let progress = progress.or_insert(Progress { partition, next_sequence: 0, end });
        progress.next_sequence = after(progress.next_sequence, count);
        progress.end = end;
        Ok(written.appended)
    }

    fn commit_offsets(
        &mut self,
        commit: CommitOffsetsInTransaction,
    ) -> Result<(), TransactionWriteError> {
        let broker = &self.broker;
        let decided = broker.transactions().look(|machine| {
            machine.is_part_of(&self.producer, OFFSETS_TOPIC, OFFSETS_PARTITION).then(|| {
                broker.groups().decide(groups::Command::CommitOffsetsInTransaction(commit))
            })
        });
        let decided = decided.ok_or_else(|| TxnError::NotInTransaction {
            topic: OFFSETS_TOPIC.to_owned(),
            partition: OFFSETS_PARTITION,
        })?;
        let (reply, end) = decided?;
        let groups::Reply::CommitOffsetsInTransaction(result) = reply else {
            return Err(ShellError::WrongReply.into());
        };
        let refused = |error: GroupError| TransactionWriteError::Transaction(error.into());
        for topic in result.map_err(refused)? {
            for (_, result) in topic.partitions {
                result.map_err(refused)?;
            }
        }
        self.open.offsets_end = Some(end);
        Ok(())
    }

    /// Ends the transaction: all of it counts, durably, when this returns; read_committed consumers see
    /// it as soon as its markers are written, which follows by itself. Nothing written is nothing to do.
    ///
    /// # Errors
    /// See [`TransactionWriteError`]. Where the coordinator gave no answer the transaction may have
    /// ended: ask again, or take the id again and look at the offsets of the group. Else abort.
    pub async fn commit(&mut self) -> Result<(), TransactionWriteError> {
        if self.open.has_failed {
            return Err(TransactionWriteError::MustAbort);
        }
        if self.open.is_begun {
            self.make_durable().await?;
            self.end(Outcome::Commit).await?;
        }
        Ok(())
    }

    /// Ends the transaction: nothing of it counts.
    ///
    /// # Errors
    /// By the coordinator. Where it gave no answer: ask again.
    pub async fn abort(&mut self) -> Result<(), TransactionWriteError> {
        if self.open.is_begun {
            self.end(Outcome::Abort).await?;
        }
        self.open = Open::default();
        Ok(())
    }

    async fn end(&mut self, outcome: Outcome) -> Result<(), TransactionWriteError> {
        self.producer = self.broker.decide_end(&self.producer, outcome, VERSION).await?;
        self.open = Open::default();
        Ok(())
    }

    /// Waits until all that was written is on disk, whatever the setting for topics: the decision is.
    async fn make_durable(&self) -> Result<(), TransactionWriteError> {
        let is_on_its_way = match self.broker.partition_context.durability {
            Durability::Ephemeral | Durability::Fsync => true,
            Durability::IntervalMs(_) | Durability::Os => false,
        };
        let partitions = self.open.partitions.values();
        if !is_on_its_way {
            let _gathering = self.broker.flusher.gather();
            partitions.clone().for_each(|progress| progress.partition.request_sync());
        }
        for Progress { partition, end, .. } in partitions {
            let durable = if is_on_its_way {
                partition.visible(*end).await
            } else {
                partition.durable(*end).await
            };
            durable.map_err(|error| TransactionWriteError::NotDurable {
                topic: partition.topic.to_string(),
                error,
            })?;
        }
        match self.open.offsets_end {
            Some(end) => Ok(self.broker.groups().durable(end).await?),
            None => Ok(()),
        }
    }
}

fn partition_error(
    topic: &TopicRef,
    partition: PartitionIndex,
    error: ProduceError,
) -> TransactionWriteError {
    let topic = match topic {
        TopicRef::Name(name) => name.clone(),
        TopicRef::Id(id) => id.to_string(),
    };
    TransactionWriteError::Partition { topic, partition, error }
}

/// The sequence `count` records further on; they begin again behind the largest.
fn after(sequence: i32, count: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX);
    i32::try_from(next).unwrap_or(0)
}
