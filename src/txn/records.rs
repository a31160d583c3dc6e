//! The records of `__transaction_state`, byte for byte as Kafka writes them, so that its own tools
//! read ours.
//!
//! | key (i16 type first)  | value (i16 version first)                | written as  |
//! |-----------------------|------------------------------------------|-------------|
//! | 0: transactional id   | TransactionLogValue 0-1, or a tombstone  | 0, and 1    |

use bytes::Bytes;
use thiserror::Error;

use super::state::TransactionState;
use crate::codec::{DecodeError, EncodeError, Message, Reader, Writer, message};

/// One record of the transaction journal: an id as it is now, or with `None` no more.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionRecord {
    /// The id.
    pub transactional_id: String,
    /// What is kept of it.
    pub metadata: Option<TransactionMetadata>,
}

/// A record that is none of ours, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record of a newer Kafka.
    #[error("key type {0} of a transaction record is not known")]
    KeyType(i16),
    /// A state of a newer Kafka.
    #[error("state {0} of a transaction record is not known")]
    State(i8),
    /// The bytes do not follow their format.
    #[error("transaction record: {0}")]
    Malformed(#[from] DecodeError),
}

message! {
    /// The key of an id.
    struct TransactionLogKey: versions 0-0, flexible none {
        transactional_id: String,                                0+;
    }
}

message! {
    /// A transactional id, as it is kept.
    pub struct TransactionMetadata: versions 0-1, flexible 1+ {
        /// Who holds the id.
        producer_id: i64,                                        0+;
        /// Who held it before the last change; the same one, but where the epochs ran out.
        previous_producer_id: i64,                               1+ ignorable, tag 0, default -1;
        /// Who will hold it once the markers are written; -1 for no change.
        next_producer_id: i64,                                   1+ ignorable, tag 1, default -1;
        /// The epoch of that producer, in an ending transaction the markers' as well.
        producer_epoch: i16,                                     0+;
        /// Of two-phase commit: not ours, kept as it is read.
        next_producer_epoch: i16,                                1+ ignorable, tag 3, default -1;
        /// How long a transaction may stay open, in ms.
        timeout_ms: i32,                                         0+;
        /// The number of a [`TransactionState`].
        state: i8,                                               0+;
        /// The partitions of an open or ending transaction; null in state Empty.
        partitions: Option<Vec<TransactionPartitions>>,          0+, null 0+;
        /// When this was written, in ms since 1970.
        last_update_timestamp: i64,                              0+;
        /// When the last transaction began, in ms since 1970; -1 before the first.
        start_timestamp: i64,                                    0+;
        /// The level of a [`TransactionVersion`](crate::types::TransactionVersion).
        client_transaction_version: i16,                         1+ ignorable, tag 2;
    }
    /// The partitions of one topic.
    pub struct TransactionPartitions {
        /// Its name.
        topic: String,                                           0+;
        /// Their numbers.
        partition_ids: Vec<i32>,                                 0+;
    }
}

const KEY: i16 = 0;
/// Kafka writes version 0 while its feature `transaction.version` is 0.
const VALUE: i16 = 1;

impl TransactionRecord {
    /// The record's key, and its value unless it is a tombstone.
    ///
    /// # Errors
    /// A text longer than 32767 bytes: none that came over the wire is.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let key = TransactionLogKey { transactional_id: self.transactional_id.clone() };
        let value = self.metadata.as_ref().map(|value| versioned(value, VALUE));
        Ok((versioned(&key, KEY)?, value.transpose()?))
    }

    /// Reads a record back; no value is a tombstone.
    ///
    /// # Errors
    /// `KeyType` and `State` for what is none of ours, `Malformed` for what is damaged.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, RecordError> {
        let mut key = Reader::new(key);
        let kind = key.i16()?;
        if kind != KEY {
            return Err(RecordError::KeyType(kind));
        }
        let TransactionLogKey { transactional_id } = TransactionLogKey::decode(&mut key, KEY)?;
        let metadata = value.map(metadata).transpose()?;
        Ok(Self { transactional_id, metadata })
    }
}

fn metadata(value: Bytes) -> Result<TransactionMetadata, RecordError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    let metadata = TransactionMetadata::decode(&mut reader, version)?;
    match TransactionState::from_code(metadata.state) {
        Some(_) => Ok(metadata),
        None => Err(RecordError::State(metadata.state)),
    }
}

fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}
