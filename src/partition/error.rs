//! Why a partition refuses an append or a read.

use super::producers::ProducerError;
use crate::records::{BatchError, BuildError};
use crate::types::{Offset, ProducerEpoch, ProducerId};

/// A record that a rule refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Its index in the batch.
    pub index: i32,
    /// Why.
    pub message: String,
}

/// Why a produced batch is not stored. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Its bytes are not one sound batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Kafka's MESSAGE_TOO_LARGE.
    #[error("batch of {size} bytes, the topic takes {max} (max.message.bytes)")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The topic's limit in bytes.
        max: u64,
    },
    /// Kafka's RECORD_LIST_TOO_LARGE.
    #[error("batch of {size} bytes, a segment holds {max} (segment.bytes)")]
    LargerThanSegment {
        /// Its size in bytes.
        size: u64,
        /// The segment size in bytes.
        max: u64,
    },
    /// Kafka's INVALID_TIMESTAMP: some record's time is too far from now.
    #[error("{} records have a timestamp out of bounds", .0.len())]
    InvalidTimestamp(Vec<RecordError>),
    /// Kafka's INVALID_RECORD: a record without key in a compacted topic.
    #[error("{} records have no key, which a compacted topic needs", .0.len())]
    InvalidRecord(Vec<RecordError>),
    /// The broker's own records do not fit into one batch.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The producer's epoch or sequence does not fit, or its transaction.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A transactional batch, and its producer has no transaction open here: only the coordinator
    /// knows whether it may begin.
    #[error("producer {producer_id} of epoch {producer_epoch} has no transaction open here")]
    TransactionNotBegun {
        /// The producer.
        producer_id: ProducerId,
        /// Its epoch.
        producer_epoch: ProducerEpoch,
    },
    /// Kafka's KAFKA_STORAGE_ERROR.
    #[error("the partition is offline: {0}")]
    Storage(String),
    /// Kafka's KAFKA_STORAGE_ERROR, until some file is closed.
    #[error("{0}")]
    TooManyFiles(String),
    /// Kafka's KAFKA_STORAGE_ERROR, until there is room again.
    #[error("the disk is full, or less than min.free.bytes is left: delete topics or records")]
    DiskFull,
}

/// Why a partition cannot be read at an offset.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka's OFFSET_OUT_OF_RANGE.
    #[error("offset {asked} is outside {start} to {end}")]
    OutOfRange {
        /// What was asked for.
        asked: Offset,
        /// First readable offset.
        start: Offset,
        /// Next offset to be written.
        end: Offset,
    },
    /// Kafka's KAFKA_STORAGE_ERROR.
    #[error("the partition is offline: {0}")]
    Storage(String),
}
