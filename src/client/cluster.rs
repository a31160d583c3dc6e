//! What whatever runs above a broker asks of a cluster: services, and later SQL and the registry. They
//! see no socket, no wire type and no broker, so that they run beside any Kafka as well.
//!
//! Readers see committed records only. A transaction is one call: its records, and the offsets of the
//! records that it was made of, are all there on return, or none ever will be.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::types::{Generation, Offset, PartitionIndex, Timestamp};

/// What a call comes to, in time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ClusterError>> + Send + 'a>>;

/// Why a cluster did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClusterError {
    /// Somebody else has this transactional id or group membership now: stop, or begin anew.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The group shares its partitions out anew: what was to be committed is not.
    #[error("group {0} is rebalancing")]
    Rebalancing(String),
    /// No such topic or partition.
    #[error("{0} does not exist")]
    Unknown(TopicPartition),
    /// The offset is not in the log any more, or not yet.
    #[error("offset {offset} of {at} is not there: the log holds {span}")]
    OutOfRange {
        /// Where.
        at: TopicPartition,
        /// What was asked for.
        offset: Offset,
        /// What there is.
        span: Span,
    },
    /// It can be tried again: a disk that is full, a coordinator that moves, a connection that broke.
    /// Whether it was done is not known where a transaction was to be committed: take the
    /// transactional id anew before going on, and read what is committed.
    #[error("{0}")]
    Passing(String),
    /// It will not get better by itself.
    #[error("{0}")]
    Refused(String),
}

/// A partition by its topic's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition with this number.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition: PartitionIndex(partition) }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a partition holds for readers of committed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first offset.
    pub start: Offset,
    /// The end of what may be read: the last stable offset.
    pub end: Offset,
    /// The end of what is written: beyond `end` where a transaction is open, or has just been committed and
    /// its markers are on their way.
    pub high_watermark: Offset,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

/// A topic that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// At least so many partitions; `None`: any number, for a new one the cluster's default.
    pub partitions: Option<i32>,
    /// Topic configs by Kafka's names; set for a new topic, left alone where it exists.
    pub configs: BTreeMap<String, String>,
}

/// Headers of a record, in their order; a key may come more than once.
pub type Headers = Vec<(String, Option<Bytes>)>;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSend {
    /// The topic, which exists.
    pub topic: Arc<str>,
    /// `None`: by the key, as Kafka's default partitioner does (murmur2); without a key anywhere.
    pub partition: Option<PartitionIndex>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// The record's time; `None`: now.
    pub timestamp: Option<Timestamp>,
}

/// Where a record was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub at: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
}

/// A record as it lies in its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The partition.
    pub at: TopicPartition,
    /// Its offset.
    pub offset: Offset,
    /// Its time.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
}

/// Where to go on reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// The partition.
    pub at: TopicPartition,
    /// The first offset wanted.
    pub offset: Offset,
}

/// What a read gave from one partition.
#[derive(Clone, Debug)]
pub struct Received {
    /// The partition.
    pub at: TopicPartition,
    /// Committed records in their order, without those of aborted transactions and markers.
    pub records: Vec<Stored>,
    /// Where to go on: behind the last record, and behind what was passed over. May lie ahead
    /// of the offset that was asked for though no record came.
    pub next: Offset,
    /// The end of what may be read at this moment: caught up is `next >= end`, not "no record came".
    pub end: Offset,
}

/// How to be a member of a consumer group.
#[derive(Clone, Debug)]
pub struct JoinAs {
    /// The group.
    pub group: String,
    /// The topics, which exist.
    pub topics: Vec<String>,
    /// Static membership (KIP-345): who comes back under this name takes its place at once, and fences
    /// whoever still has it.
    pub instance_id: String,
    /// Silence after which the group goes on without it, in ms.
    pub session_timeout_ms: i32,
}

/// Who commits: what fences a member that the group has left behind (KIP-447).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupIdentity {
    /// The group.
    pub group: String,
    /// The generation.
    pub generation: Generation,
    /// The member.
    pub member_id: String,
    /// Its instance id.
    pub instance_id: String,
}

/// What a heartbeat showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStanding {
    /// All is as before.
    Settled,
    /// The group shares out anew: rejoin.
    Rebalancing,
}

/// A transaction: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Records, appended in this order where they share a partition.
    pub records: Vec<ToSend>,
    /// Who commits the offsets; `None` commits none.
    pub group: Option<GroupIdentity>,
    /// Next offsets to read.
    pub offsets: Vec<(TopicPartition, Offset)>,
}

/// A membership of a consumer group.
pub trait Membership: Send {
    /// The partitions that are ours, in order.
    fn assigned(&self) -> &[TopicPartition];

    /// What to commit with.
    fn identity(&self) -> GroupIdentity;

    /// Says that we are there.
    fn heartbeat(&mut self) -> Answer<'_, MemberStanding>;

    /// Joins again, after [`MemberStanding::Rebalancing`] or to wait for further topics; what is
    /// assigned may change.
    fn rejoin(&mut self) -> Answer<'_, ()>;

    /// Leaves, so that nobody waits for us.
    fn leave(&mut self) -> Answer<'_, ()>;
}

/// Holder of a transactional id.
pub trait TransactionalProducer: Send {
    /// Commits one transaction: durable, and seen by readers soon after. On `Err` nothing of it is ever
    /// seen, but for `Passing`: see there.
    fn commit(&mut self, transaction: Transaction) -> Answer<'_, Vec<Placed>>;
}

/// A cluster.
pub trait Cluster: Send + Sync + fmt::Debug {
    /// The time that goes here.
    fn clock(&self) -> &Clock;

    /// For people: where it is.
    fn name(&self) -> String;

    /// Makes topics that are not there, and adds partitions where there are too few.
    fn ensure_topics(&self, topics: Vec<TopicSpec>) -> Answer<'_, ()>;

    /// How many partitions a topic has; `None` if it does not exist.
    fn partition_count(&self, topic: Arc<str>) -> Answer<'_, Option<i32>>;

    /// What partitions hold, in the order of the question.
    fn spans(&self, partitions: Vec<TopicPartition>) -> Answer<'_, Vec<Span>>;

    /// The first offset whose record is as new as `time`, or the end.
    fn offset_at(&self, at: TopicPartition, time: Timestamp) -> Answer<'_, Offset>;

    /// Reads what is committed, about `max_bytes` in all but whole batches; where there is nothing, waits up to
    /// `max_wait_ms` for the first record. One answer for each partition that has news, in any order.
    fn read(
        &self,
        from: Vec<ReadFrom>,
        max_bytes: usize,
        max_wait_ms: u64,
    ) -> Answer<'_, Vec<Received>>;

    /// Appends outside any transaction, each record for itself; durable on return.
    fn send(&self, records: Vec<ToSend>) -> Answer<'_, Vec<Placed>>;

    /// Joins a group, and returns when partitions are assigned.
    fn join(&self, join: JoinAs) -> Answer<'_, Box<dyn Membership>>;

    /// What a group has committed, in the order of the question.
    fn committed(
        &self,
        group: String,
        partitions: Vec<TopicPartition>,
    ) -> Answer<'_, Vec<Option<Offset>>>;

    /// Takes a transactional id: fences whoever had it, and waits until what that one left open has ended.
    fn producer(
        &self,
        transactional_id: String,
        timeout_ms: i32,
    ) -> Answer<'_, Box<dyn TransactionalProducer>>;
}
