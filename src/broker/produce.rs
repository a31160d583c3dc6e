//! Produce: finds the partition and appends; the caller waits for durability as acks asks.

use std::sync::Arc;

use bytes::Bytes;

use super::{Broker, TransactionError};
use crate::catalog::TopicRef;
use crate::partition::{AppendError, Appended, Partition, Topic};
use crate::types::{Now, Offset, PartitionIndex};

/// Topics that only the broker itself writes.
pub const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// No such topic name, or no such partition.
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// No such topic id.
    #[error("unknown topic id")]
    UnknownTopicId,
    /// Kafka's UNSUPPORTED_COMPRESSION_TYPE.
    #[error("the version of the request has no such codec: zstd needs a newer one (KIP-110)")]
    UnsupportedCodec,
    /// This node does not lead the partition.
    #[error("not the leader")]
    NotLeader,
    /// Only the broker writes its own topics.
    #[error("{0} is written by the broker only")]
    InternalTopic(String),
    /// The request names the partition without anything to append.
    #[error("no records")]
    NoRecords,
    /// The coordinator of transactions refused it.
    #[error("{0}")]
    Transaction(Arc<TransactionError>),
    /// The partition refused it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A batch that was appended, and where to wait for its durability.
#[derive(Debug)]
pub struct Written {
    /// Where it lies.
    pub appended: Appended,
    /// The partition.
    pub partition: Arc<Partition>,
}

impl Broker {
    /// Appends what a producer sent for one partition: in the page cache on return, durable and
    /// visible once `partition.visible(appended.end)` returns. On `Err` nothing is stored.
    pub fn produce(
        &self,
        topic: &TopicRef,
        partition: PartitionIndex,
        records: Option<Bytes>,
        now: Now,
    ) -> Result<Written, ProduceError> {
        let (_, partition) = self.writable(topic, partition)?;
        let records = records.ok_or(ProduceError::NoRecords)?;
        let appended = partition.append(records, now)?;
        Ok(Written { appended, partition })
    }

    /// A topic that producers name.
    pub(super) fn topic(&self, topic: &TopicRef) -> Result<Arc<Topic>, ProduceError> {
        match topic {
            TopicRef::Name(name) => {
                self.registry.by_name(name).ok_or(ProduceError::UnknownTopicOrPartition)
            }
            TopicRef::Id(id) => self.registry.by_id(*id).ok_or(ProduceError::UnknownTopicId),
        }
    }

    /// A partition that producers may write to here, and its topic.
    pub(super) fn writable(
        &self,
        topic: &TopicRef,
        partition: PartitionIndex,
    ) -> Result<(Arc<Topic>, Arc<Partition>), ProduceError> {
        let topic = self.topic(topic)?;
        let partition = topic.partition(partition).ok_or(ProduceError::UnknownTopicOrPartition)?;
        let partition = Arc::clone(partition);
        if INTERNAL_TOPICS.contains(&&*topic.name) {
            return Err(ProduceError::InternalTopic(topic.name.to_string()));
        }
        if partition.leader() != self.node_id {
            return Err(ProduceError::NotLeader);
        }
        Ok((topic, partition))
    }

    /// Where a partition's log starts; `None` if it does not exist.
    pub fn log_start(&self, topic: &TopicRef, partition: PartitionIndex) -> Option<Offset> {
        let topic = match topic {
            TopicRef::Name(name) => self.registry.by_name(name)?,
            TopicRef::Id(id) => self.registry.by_id(*id)?,
        };
        Some(topic.partition(partition)?.watermarks().log_start)
    }
}
