//! What the coordinator is asked and what it answers, free of wire versions: what a version of a
//! request means for the rules is a field here.

use std::collections::BTreeMap;

use super::error::TxnError;
use super::listing::{IdPattern, ListedTransaction};
use super::state::TransactionState;
use crate::records::Outcome;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TransactionVersion};

/// Topics by name, each with its partitions.
pub type PartitionList = Vec<(String, Vec<PartitionIndex>)>;

/// One request to the coordinator. Each is answered by the [`Reply`] of the same name, at once but
/// for `AwaitMarkers`.
#[derive(Clone, Debug)]
pub enum Command {
    /// A producer takes a transactional id.
    InitProducerId(InitProducerId),
    /// Partitions become part of a transaction, which begins with the first. A group's offsets
    /// are the partition of `__consumer_offsets` that keeps them.
    AddPartitions(AddPartitions),
    /// Whether partitions are part of a transaction; changes nothing.
    VerifyPartitions(VerifyPartitions),
    /// A transaction ends.
    EndTransaction(EndTransaction),
    /// An open transaction is aborted and its producer fenced, whoever it is: what an operator asks.
    AbortTransaction(String),
    /// Waits until markers are due that nobody was told of yet, and takes them. There is one
    /// waiter: a second one sends the first away with an empty list. Whoever takes markers writes
    /// them, or gives them back.
    AwaitMarkers,
    /// These markers, by transactional id, could not be written: they are told again.
    GiveBackMarkers(Vec<String>),
    /// The markers of a transaction are durable everywhere.
    MarkersWritten(Producer),
    /// Producer ids that nobody has, for producers to come.
    SupplyProducerIds(Vec<ProducerId>),
    /// The highest epochs of producers that partitions have seen, as they were at the start. An id that is
    /// behind them was kept by an older journal than this one: its producers would be refused until its
    /// epoch has caught up. So it is forgotten, once a transaction that it has open is aborted; who uses
    /// it has to take it anew, and gets a producer id that no partition knows.
    EpochsSeen(BTreeMap<ProducerId, ProducerEpoch>),
    /// These ids.
    Describe(Vec<String>),
    /// All ids, but for filters.
    List(ListTransactions),
}

/// One answer of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The producer to go on with.
    InitProducerId(Result<Producer, TxnError>),
    /// All of them are part of it now, or none was added.
    AddPartitions(Result<(), TxnError>),
    /// Which of them are, in the order of the request.
    VerifyPartitions(Result<Vec<(String, Vec<Membership>)>, TxnError>),
    /// The outcome is decided. The producer for the next transaction: from KIP-890 on its epoch is
    /// one higher, or if the epochs ran out it has a new id.
    EndTransaction(Result<Producer, TxnError>),
    /// The abort is decided.
    AbortTransaction(Result<(), TxnError>),
    /// Each in state PrepareCommit or PrepareAbort, which is durable when this reply is released.
    AwaitMarkers(Vec<MarkersDue>),
    /// Done.
    GiveBackMarkers,
    /// Whether there was such a transaction, and it has ended now.
    MarkersWritten(Completed),
    /// Done. More than the coordinator keeps are given up.
    SupplyProducerIds,
    /// The ids that were behind.
    EpochsSeen(Vec<String>),
    /// One entry for each id that was named, in that order.
    Describe(Vec<Result<DescribedTransaction, TxnError>>),
    /// Ordered by id.
    List(ListedTransactions),
}

/// Who holds a transactional id, or says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The id.
    pub transactional_id: String,
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
}

/// A producer takes a transactional id, and fences whoever held it.
#[derive(Clone, Debug)]
pub struct InitProducerId {
    /// The id.
    pub transactional_id: String,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// What the producer was before (KIP-360); -1 for a new one.
    pub producer_id: ProducerId,
    /// Likewise.
    pub producer_epoch: ProducerEpoch,
}

/// Partitions become part of a transaction.
#[derive(Clone, Debug)]
pub struct AddPartitions {
    /// Whose.
    pub producer: Producer,
    /// Which; they exist, as far as the caller knows. None at all begins a transaction, as in Kafka.
    pub partitions: PartitionList,
    /// `V2` where the broker adds them for a client.
    pub version: TransactionVersion,
}

/// Whether partitions are part of a transaction.
#[derive(Clone, Debug)]
pub struct VerifyPartitions {
    /// Whose.
    pub producer: Producer,
    /// Which.
    pub partitions: PartitionList,
}

/// Whether a partition is part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The partition.
    pub partition: PartitionIndex,
    /// Whether it is.
    pub is_member: bool,
}

/// A transaction ends.
#[derive(Clone, Debug)]
pub struct EndTransaction {
    /// Whose.
    pub producer: Producer,
    /// How.
    pub outcome: Outcome,
    /// `V2` from EndTxn 5 on.
    pub version: TransactionVersion,
}

/// The markers that end one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkersDue {
    /// Whose, and the epoch that the markers carry; this comes back in
    /// [`Command::MarkersWritten`].
    pub producer: Producer,
    /// What the markers carry, too.
    pub coordinator_epoch: i32,
    /// How it ends.
    pub outcome: Outcome,
    /// By which rules the client goes: with `V2` the epoch is higher than that of the records.
    pub version: TransactionVersion,
    /// Where they go; a partition that is gone is passed over.
    pub partitions: PartitionList,
}

/// What became of [`Command::MarkersWritten`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// The transaction has ended.
    Now,
    /// No such transaction is ending; it has ended before, if it ever was.
    NotEnding,
}

/// Which ids to list.
#[derive(Clone, Debug, Default)]
pub struct ListTransactions {
    /// Names of states; empty for all.
    pub states: Vec<String>,
    /// Producer ids; empty for all.
    pub producer_ids: Vec<ProducerId>,
    /// Only those whose transaction began longer ago, in ms (KIP-994); negative for all. An id
    /// that never had a transaction counts as begun at -1, as in Kafka.
    pub duration_ms: i64,
    /// Only ids that fit (KIP-1152).
    pub pattern: Option<IdPattern>,
}

/// The ids listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransactions {
    /// Those among the names of states that are none.
    pub unknown_states: Vec<String>,
    /// The others' ids.
    pub transactions: Vec<ListedTransaction>,
}

/// An id in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTransaction {
    /// Who holds it.
    pub producer: Producer,
    /// Where it stands.
    pub state: TransactionState,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// When the last transaction began, also after it ended; `None` before the first.
    pub started: Option<Timestamp>,
    /// Of an open or ending transaction, ordered by name.
    pub partitions: PartitionList,
}
