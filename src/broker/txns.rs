//! Transactions: asks the coordinator, and keeps what it decides in step with the partitions.
//!
//! Two orders hold here, and no crash turns them round:
//! - a batch begins a transaction in a partition only while the coordinator, under its lock, has that
//!   partition in it. The end of the transaction takes the same lock first, so its marker comes after
//!   the batch (the hole that KIP-890 closes);
//! - PrepareCommit or PrepareAbort is on disk before the first marker, and every marker before
//!   CompleteCommit or CompleteAbort, whatever `ottla.durability` says of topics
//!   ([`super::markers`]).
//!
//! Meanwhile a next request for the same transactional id is held back, which takes about as long as a
//! sync: Kafka sends it away with CONCURRENT_TRANSACTIONS, for the client to come again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::open::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, unreadable};
use super::{Broker, OpenError, ProduceError, Shell, ShellError, TopicError, TopicRef, Written};
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::config::value::Durability;
use crate::groups::{self, CommitOffsetsInTransaction, GroupError, PartitionResults};
use crate::machine::Machine;
use crate::partition::{Admitted, AppendError, Journal, JournalEntry, JournalRecord, Partition};
use crate::records::{BatchHeader, Outcome};
use crate::txn::{
    self, AddPartitions, Command, Coordinator, EndTransaction, InitProducerId, PartitionList,
    Producer, Reply, TransactionRecord, TxnConfig, TxnError, VerifyPartitions,
};
use crate::types::{Monotonic, Now, PartitionIndex, TransactionVersion};

/// The longest that a request waits for the end of the transaction before, in ms.
pub(super) const HELD_BACK_MS: u64 = 1_000;
/// The partition of `__consumer_offsets`, which has one.
pub(super) const OFFSETS_PARTITION: PartitionIndex = PartitionIndex(0);

/// The coordinator of transactions, driven.
pub(super) struct Transactions {
    pub(super) shell: Arc<Shell<Coordinator>>,
    pub(super) journal: Journal,
    /// Told each time that one has ended for good.
    pub(super) ended: Notify,
    /// The transactional ids whose markers are being written.
    under_way: Mutex<HashSet<String>>,
}

impl Transactions {
    /// Reads the coordinator's journal.
    ///
    /// # Errors
    /// The journal is damaged.
    pub(super) fn open(
        config: &BrokerConfig,
        clock: &Clock,
        journal: Journal,
    ) -> Result<Self, OpenError> {
        let mut coordinator = Coordinator::new(txn_config(config), clock.now());
        let mut damaged = None;
        journal
            .replay(|entry| match read(entry) {
                Ok(Some(record)) => coordinator.replay(clock.now(), record),
                Ok(None) => {}
                Err(error) => {
                    damaged.get_or_insert(error);
                }
            })
            .map_err(|error| unreadable(TRANSACTIONS_TOPIC, &error.to_string()))?;
        if let Some(error) = damaged {
            return Err(unreadable(TRANSACTIONS_TOPIC, &error));
        }
        let shell = Shell::new(coordinator, journal.clone(), encode, clock.clone());
        Ok(Self {
            shell: Arc::new(shell),
            journal,
            ended: Notify::new(),
            under_way: Mutex::default(),
        })
    }

    pub(super) fn under_way(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record of the journal; none where it is of a kind that a newer Kafka wrote.
fn read(entry: JournalEntry) -> Result<Option<TransactionRecord>, String> {
    let JournalEntry::Record(JournalRecord { key: Some(key), value }) = entry else {
        return Ok(None);
    };
    match TransactionRecord::decode(key, value) {
        Ok(record) => Ok(Some(record)),
        Err(txn::RecordError::KeyType(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn encode(record: &TransactionRecord) -> Result<JournalEntry, String> {
    let (key, value) = record.encode().map_err(|error| error.to_string())?;
    Ok(JournalEntry::Record(JournalRecord { key: Some(key), value }))
}

fn txn_config(config: &BrokerConfig) -> TxnConfig {
    let ms = |value: i32| u64::try_from(value).unwrap_or(1);
    TxnConfig {
        timeout_ms_max: config.transaction_max_timeout_ms,
        id_expiration_ms: i64::from(config.transactional_id_expiration_ms),
        expiration_check_interval_ms: ms(config.transaction_expiration_interval_ms),
        id_count_max: usize::try_from(config.ottla_max_transactional_ids).unwrap_or(usize::MAX),
        ..TxnConfig::default()
    }
}

/// Why a request about a transaction was refused.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// By the coordinator.
    #[error(transparent)]
    Refused(#[from] TxnError),
    /// It gave no answer.
    #[error(transparent)]
    NotAnswered(#[from] ShellError),
    /// No producer id could be had.
    #[error(transparent)]
    NoProducerId(#[from] TopicError),
    /// By the coordinator of groups.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// A batch that is to begin its producer's transaction in a partition.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The batch.
    pub records: Bytes,
}

/// How many transactions there are, for whoever watches the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionCounts {
    /// Transactional ids that are known.
    pub ids: usize,
    /// Open transactions.
    pub open: usize,
    /// Those whose markers are being written.
    pub ending: usize,
    /// How long the oldest open one has been open, in ms; `None` if none is.
    pub oldest_open_ms: Option<u64>,
}

impl Broker {
    /// How many transactions there are, all at one moment.
    pub fn transaction_counts(&self) -> TransactionCounts {
        let now = self.clock.now().wall;
        self.transactions.shell.look(|machine| TransactionCounts {
            ids: machine.id_count(),
            open: machine.open_count(),
            ending: machine.ending_count(),
            oldest_open_ms: machine.oldest_open_ms(now),
        })
    }

    /// The coordinator of transactions.
    pub fn transactions(&self) -> &Shell<Coordinator> {
        &self.transactions.shell
    }

    /// Gives a transactional id to a producer and fences whoever held it (KIP-98, KIP-360). A
    /// transaction that was open is aborted first, which is waited for.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn init_transactional_producer(
        &self,
        init: InitProducerId,
    ) -> Result<Producer, TransactionError> {
        let id = init.transactional_id.clone();
        let producer = self
            .ask_coordinator(&id, Command::InitProducerId(init), |reply| match reply {
                Reply::InitProducerId(result) => Some(result),
                _ => None,
            })
            .await?;
        // The one that was there may be taken now.
        self.supply_producer_id().await?;
        Ok(producer)
    }

    /// Makes partitions, which exist, part of a producer's transaction, which begins with the first.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn add_to_transaction(
        &self,
        producer: &Producer,
        partitions: PartitionList,
        version: TransactionVersion,
    ) -> Result<(), TransactionError> {
        let add = AddPartitions { producer: producer.clone(), partitions, version };
        let id = &producer.transactional_id;
        self.ask_coordinator(id, Command::AddPartitions(add), |reply| match reply {
            Reply::AddPartitions(result) => Some(result),
            _ => None,
        })
        .await
    }

    /// Makes the partition that keeps groups' offsets part of a producer's transaction.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn add_offsets_to_transaction(
        &self,
        producer: &Producer,
        version: TransactionVersion,
    ) -> Result<(), TransactionError> {
        self.add_to_transaction(producer, offsets_partition(), version).await
    }

    /// Decides how a transaction ends: durable on return. Its markers follow by themselves. Returns
    /// the producer to go on with.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn end_transaction(
        &self,
        producer: &Producer,
        outcome: Outcome,
        version: TransactionVersion,
    ) -> Result<Producer, TransactionError> {
        if outcome == Outcome::Commit {
            self.make_durable(&producer.transactional_id).await?;
        }
        self.decide_end(producer, outcome, version).await
    }

    /// As [`Broker::end_transaction`], of one that has nothing in it which is not on disk.
    pub(super) async fn decide_end(
        &self,
        producer: &Producer,
        outcome: Outcome,
        version: TransactionVersion,
    ) -> Result<Producer, TransactionError> {
        let id = &producer.transactional_id;
        let producer = producer.clone();
        let end = EndTransaction { producer, outcome, version };
        self.ask_coordinator(id, Command::EndTransaction(end), |reply| match reply {
            Reply::EndTransaction(result) => Some(result),
            _ => None,
        })
        .await
    }

    /// Returns once all that the partitions of an id's transaction hold is on disk, also where
    /// `ottla.durability` leaves that to later: a power cut after the commit would tear it, since the
    /// decision and the offsets are always on disk.
    async fn make_durable(&self, id: &str) -> Result<(), TransactionError> {
        match self.partition_context.durability {
            Durability::Ephemeral | Durability::Fsync => return Ok(()),
            Durability::IntervalMs(_) | Durability::Os => {}
        }
        let described =
            self.transactions.shell.call(Command::Describe(vec![id.to_owned()])).await?;
        let Reply::Describe(described) = described else {
            return Err(ShellError::WrongReply.into());
        };
        let topics = described.into_iter().flatten().flat_map(|row| row.partitions);
        let mut partitions = Vec::new();
        for (topic, indexes) in topics {
            let Some(topic) = self.registry.by_name(&topic) else { continue };
            partitions.extend(indexes.iter().filter_map(|index| topic.partition(*index).cloned()));
        }
        partitions.iter().for_each(Partition::request_sync); // All of them in one round.
        for partition in partitions {
            let end = partition.watermarks().log_end;
            let durable = partition.durable(end).await;
            durable.map_err(|error| ShellError::Storage(error.to_string()))?;
        }
        Ok(())
    }

    /// Appends batches that are to begin their producer's transaction, each in its partition: what
    /// [`Broker::produce`] refused with `TransactionNotBegun`. Under `V2` the partitions are made part
    /// of the transaction first, else they must be. One result for each, as that of `produce`; as in
    /// Kafka all are of one producer, and those that are not are refused.
    pub async fn produce_beginning(
        &self,
        transactional_id: &str,
        version: TransactionVersion,
        batches: Vec<Beginning>,
    ) -> Vec<Result<Written, ProduceError>> {
        let first = batches.iter().find_map(|batch| producer_of(transactional_id, &batch.records));
        let Some(producer) = first else {
            return batches.iter().map(|_| Err(ProduceError::NoRecords)).collect();
        };
        let (ours, others): (Vec<_>, Vec<_>) = (0..).zip(batches).partition(|(_, batch)| {
            producer_of(transactional_id, &batch.records).as_ref() == Some(&producer)
        });
        let wanted = ours.iter().filter_map(|(_, batch)| {
            let topic = self.topic(&batch.topic).ok()?;
            Some((topic.name.to_string(), vec![batch.partition]))
        });
        let answer = match version {
            TransactionVersion::V2 => {
                self.add_to_transaction(&producer, wanted.collect(), version).await
            }
            TransactionVersion::V0 => self.check_part_of(&producer, wanted.collect()).await,
        };
        let answer = answer.map_err(Arc::new);
        let now = self.clock.now();
        let begun = ours.into_iter().map(|(place, batch): (usize, _)| {
            let part = answer.clone().map_err(ProduceError::Transaction);
            (place, part.and_then(|()| self.begin_in_partition(&producer, version, batch, now)))
        });
        let refused = others.into_iter().map(|(place, _)| {
            let transactional_id = transactional_id.to_owned();
            let producer_id = producer.producer_id;
            let error = TxnError::InvalidProducerIdMapping { transactional_id, producer_id };
            (place, Err(ProduceError::Transaction(Arc::new(error.into()))))
        });
        let mut results: Vec<_> = begun.chain(refused).collect();
        results.sort_by_key(|(place, _)| *place);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Appends a batch if the partition is part of its producer's transaction at this very moment.
    fn begin_in_partition(
        &self,
        producer: &Producer,
        version: TransactionVersion,
        batch: Beginning,
        now: Now,
    ) -> Result<Written, ProduceError> {
        let (topic, partition) = self.writable(&batch.topic, batch.partition)?;
        // All that takes long comes first: every transaction waits for what is done while one looks.
        let admitted = partition.admit(batch.records, now);
        self.begin_admitted(producer, version, (&topic.name, partition, admitted), now)
    }

    /// As `begin_in_partition`, of a batch that was looked at, or what was found.
    pub(super) fn begin_admitted(
        &self,
        producer: &Producer,
        version: TransactionVersion,
        (topic, partition, admitted): (&str, Arc<Partition>, Result<Admitted, AppendError>),
        now: Now,
    ) -> Result<Written, ProduceError> {
        let append = || partition.append_admitted(admitted?, version, now);
        let is_checked = version == TransactionVersion::V2
            || self.settings().transaction_partition_verification_enable;
        let appended = self.transactions.shell.look(|machine| {
            let is_part = machine.is_part_of(producer, topic, partition.index);
            (is_part || !is_checked).then(append)
        });
        let appended = appended.ok_or_else(|| {
            let (topic, partition) = (topic.to_owned(), partition.index);
            ProduceError::Transaction(Arc::new(
                TxnError::NotInTransaction { topic, partition }.into(),
            ))
        })?;
        Ok(Written { appended: appended?, partition })
    }

    /// Whether partitions are part of a producer's transaction, where that is asked for at all.
    async fn check_part_of(
        &self,
        producer: &Producer,
        partitions: PartitionList,
    ) -> Result<(), TransactionError> {
        if !self.settings().transaction_partition_verification_enable {
            return Ok(());
        }
        // Which of them are is asked again when the batch is appended.
        self.verify_part_of_transaction(producer, partitions).await.map(drop)
    }

    /// Those of `partitions` that are not part of a producer's transaction.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn verify_part_of_transaction(
        &self,
        producer: &Producer,
        partitions: PartitionList,
    ) -> Result<Vec<(String, PartitionIndex)>, TransactionError> {
        let verify = VerifyPartitions { producer: producer.clone(), partitions };
        let reply = self.transactions.shell.call(Command::VerifyPartitions(verify)).await?;
        let Reply::VerifyPartitions(result) = reply else {
            return Err(ShellError::WrongReply.into());
        };
        let rows = result?.into_iter().flat_map(|(topic, memberships)| {
            let missing = memberships.into_iter().filter(|membership| !membership.is_member);
            missing.map(move |membership| (topic.clone(), membership.partition))
        });
        Ok(rows.collect())
    }

    /// Keeps a group's offsets until the producer's transaction ends (KIP-447). With `adds` the
    /// offsets' partition is made part of the transaction first (KIP-890), else it must be.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn commit_offsets_in_transaction(
        &self,
        transactional_id: String,
        commit: CommitOffsetsInTransaction,
        adds: bool,
    ) -> Result<Vec<PartitionResults>, TransactionError> {
        let (producer_id, producer_epoch) = (commit.producer_id, commit.producer_epoch);
        let producer = Producer { transactional_id, producer_id, producer_epoch };
        if adds {
            self.add_offsets_to_transaction(&producer, TransactionVersion::V2).await?;
        } else {
            self.check_part_of(&producer, offsets_partition()).await?;
        }
        let asked = self.transactions.shell.look(|machine| {
            let is_part = machine.is_part_of(&producer, OFFSETS_TOPIC, OFFSETS_PARTITION);
            let is_asked = adds || self.settings().transaction_partition_verification_enable;
            (is_part || !is_asked)
                .then(|| self.groups.ask(groups::Command::CommitOffsetsInTransaction(commit)))
        });
        let asked = asked.ok_or_else(|| TxnError::NotInTransaction {
            topic: OFFSETS_TOPIC.to_owned(),
            partition: OFFSETS_PARTITION,
        })?;
        match self.groups.answer(asked).await? {
            groups::Reply::CommitOffsetsInTransaction(result) => Ok(result?),
            _ => Err(ShellError::WrongReply.into()),
        }
    }

    /// Asks about one transactional id once no transaction of it is ending, and again while one is,
    /// within bounds.
    async fn ask_coordinator<T>(
        &self,
        id: &str,
        command: Command,
        pick: impl Fn(Reply) -> Option<Result<T, TxnError>>,
    ) -> Result<T, TransactionError> {
        let shell = &self.transactions.shell;
        let deadline = self.clock.now().monotonic.plus_ms(HELD_BACK_MS);
        loop {
            let is_over = !self.hold_back(id, deadline).await;
            self.supply_producer_id().await?;
            let reply = shell.call(command.clone()).await?;
            match pick(reply).ok_or(ShellError::WrongReply)? {
                // Another has taken the one that was there.
                Err(TxnError::ProducerIdNeeded) => {}
                Err(TxnError::ConcurrentTransactions(_)) if !is_over => {}
                answer => return Ok(answer?),
            }
        }
    }

    /// Keeps a producer id ready that nobody has: for a new transactional id, and for one whose epochs
    /// have run out.
    pub(super) async fn supply_producer_id(&self) -> Result<(), TopicError> {
        let shell = &self.transactions.shell;
        if shell.look(Coordinator::wants_producer_id) {
            let id = self.new_producer_id().await?;
            drop(shell.ask(Command::SupplyProducerIds(vec![id])));
        }
        Ok(())
    }

    /// Waits until no transaction of this id is ending; whether that was so before `deadline`.
    pub(super) async fn hold_back(&self, id: &str, deadline: Monotonic) -> bool {
        loop {
            let ended = self.transactions.ended.notified();
            let mut ended = std::pin::pin!(ended);
            ended.as_mut().enable();
            if !self.transactions.shell.look(|machine| machine.is_ending(id)) {
                return true;
            }
            tokio::select! {
                () = ended => {}
                () = self.clock.sleep_until(deadline) => return false,
            }
        }
    }
}

pub(super) fn offsets_partition() -> PartitionList {
    vec![(OFFSETS_TOPIC.to_owned(), vec![OFFSETS_PARTITION])]
}

/// Who sent a batch.
fn producer_of(transactional_id: &str, records: &[u8]) -> Option<Producer> {
    let header = BatchHeader::parse(records).ok()?;
    let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
    let transactional_id = transactional_id.to_owned();
    Some(Producer { transactional_id, producer_id, producer_epoch })
}
