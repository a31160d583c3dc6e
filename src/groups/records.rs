//! The records of `__consumer_offsets`, byte for byte as Kafka writes them, so that its own tools
//! read ours.
//!
//! | key (i16 type first)            | value (i16 version first)                | written as |
//! |---------------------------------|------------------------------------------|------------|
//! | 0, 1: group, topic, partition   | OffsetCommitValue 0-4, or a tombstone    | 1, and 4; 1 if it expires at a set time |
//! | 2: group                        | GroupMetadataValue 0-4, or a tombstone   | 2, and 3   |
//!
//! Keys 3 and up belong to the other kinds of groups. An offset that a transaction commits is the same
//! record in a transactional batch of the producer's id and epoch; a control batch ends the transaction.

use bytes::Bytes;
use thiserror::Error;

use super::offsets::CommittedOffset;
use crate::codec::{DecodeError, EncodeError, Message, Reader, Writer, message};
use crate::records::EndMarker;
use crate::types::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId,
};

/// A record's key, and its value unless it is a tombstone.
pub type KeyValue = (Bytes, Option<Bytes>);

/// One record of the group journal.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRecord {
    /// An offset is kept, or with `None` no more.
    Offset {
        /// The group.
        group_id: String,
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// What is kept.
        committed: Option<CommittedOffset>,
    },
    /// A group as it was when a rebalance completed, or with `None` no more.
    Group {
        /// The group.
        group_id: String,
        /// The group's protocol, leader and members.
        metadata: Option<GroupMetadata>,
    },
    /// An offset is kept if the producer's transaction commits.
    PendingOffset {
        /// Whose transaction.
        producer_id: ProducerId,
        /// In this epoch of it.
        producer_epoch: ProducerEpoch,
        /// The group.
        group_id: String,
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// What is kept then.
        committed: CommittedOffset,
    },
    /// The producer's transaction ends, for all groups.
    EndTransaction {
        /// Whose transaction.
        producer_id: ProducerId,
        /// The producer's epoch from here on.
        producer_epoch: ProducerEpoch,
        /// How it ends.
        marker: EndMarker,
    },
}

/// A record that is none of ours, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record of another kind of group, or of a newer Kafka.
    #[error("key type {0} of a group record is not known")]
    KeyType(i16),
    /// The bytes do not follow their format.
    #[error("group record: {0}")]
    Malformed(#[from] DecodeError),
    /// Only offsets that are kept are written for a transaction.
    #[error("a transaction holds a group record other than an offset")]
    InTransaction,
}

message! {
    /// The key of an offset.
    struct OffsetCommitKey: versions 0-1, flexible none {
        group: String,                      0+;
        topic: String,                      0+;
        partition: i32,                     0+;
    }
}

message! {
    /// An offset, as it is kept.
    struct OffsetCommitValue: versions 0-4, flexible 4+ {
        offset: i64,                        0+;
        leader_epoch: i32,                  3+ ignorable, default -1;
        metadata: String,                   0+;
        commit_timestamp: i64,              0+;
        expire_timestamp: i64,              1-1 ignorable, default -1;
        topic_id: uuid::Uuid,               4+ ignorable, tag 0;
    }
}

message! {
    /// The key of a group.
    struct GroupMetadataKey: versions 2-2, flexible none {
        group: String,                      2+;
    }
}

message! {
    /// A group, as it is kept.
    pub struct GroupMetadata: versions 0-4, flexible 4+ {
        /// Such as `consumer`; empty for a group that never had members.
        protocol_type: String,              0+;
        /// The number of its last completed rebalance.
        generation: i32,                    0+;
        /// What the members chose; null without members.
        protocol: Option<String>,           0+, null 0+;
        /// Who assigned; null without members.
        leader: Option<String>,             0+, null 0+;
        /// When the group last changed its state, in ms since 1970; -1 if not known.
        current_state_timestamp: i64,       2+ ignorable, default -1;
        /// All members.
        members: Vec<MemberMetadata>,       0+;
    }
    /// A member, as it is kept.
    pub struct MemberMetadata {
        /// Its id.
        member_id: String,                  0+;
        /// Of a static member.
        group_instance_id: Option<String>,  3+ ignorable, null 3+;
        /// As the client calls itself.
        client_id: String,                  0+;
        /// Where it is.
        client_host: String,                0+;
        /// Time to rejoin; -1 if not known.
        rebalance_timeout: i32,             1+ ignorable, default -1;
        /// Silence until eviction.
        session_timeout: i32,               0+;
        /// What it said under the chosen protocol.
        subscription: Bytes,                0+;
        /// Its share.
        assignment: Bytes,                  0+;
    }
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 4;
/// The only version with a time of expiry; it has no leader epoch.
const EXPIRING_OFFSET_VALUE: i16 = 1;
const GROUP_VALUE: i16 = 3;

impl GroupRecord {
    /// The record's key and value; `None` for the end of a transaction, which is a marker.
    ///
    /// # Errors
    /// A text longer than 32767 bytes: none that came over the wire is.
    pub fn encode(&self) -> Result<Option<KeyValue>, EncodeError> {
        match self {
            Self::Offset { group_id, topic, partition, committed } => {
                offset(group_id, topic, *partition, committed.as_ref()).map(Some)
            }
            Self::PendingOffset { group_id, topic, partition, committed, .. } => {
                offset(group_id, topic, *partition, Some(committed)).map(Some)
            }
            Self::Group { group_id, metadata } => {
                let key = GroupMetadataKey { group: group_id.clone() };
                let value = metadata.as_ref().map(|value| versioned(value, GROUP_VALUE));
                Ok(Some((versioned(&key, GROUP_KEY)?, value.transpose()?)))
            }
            Self::EndTransaction { .. } => Ok(None),
        }
    }

    /// Reads back a record of a producer's transaction.
    ///
    /// # Errors
    /// As [`GroupRecord::decode`]; `InTransaction` for anything but an offset that is kept.
    pub fn decode_pending(
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<Self, RecordError> {
        match Self::decode(key, value)? {
            Self::Offset { group_id, topic, partition, committed: Some(committed) } => {
                Ok(Self::PendingOffset {
                    producer_id,
                    producer_epoch,
                    group_id,
                    topic,
                    partition,
                    committed,
                })
            }
            Self::Offset { committed: None, .. }
            | Self::Group { .. }
            | Self::PendingOffset { .. }
            | Self::EndTransaction { .. } => Err(RecordError::InTransaction),
        }
    }

    /// Reads back a record of no transaction; no value is a tombstone.
    ///
    /// # Errors
    /// `KeyType` for what is none of ours, `Malformed` for what is damaged.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, RecordError> {
        let mut key = Reader::new(key);
        match key.i16()? {
            version @ 0..=OFFSET_KEY => {
                let key = OffsetCommitKey::decode(&mut key, version)?;
                let value = value.map(unversioned::<OffsetCommitValue>).transpose()?;
                Ok(Self::Offset {
                    group_id: key.group,
                    topic: key.topic,
                    partition: PartitionIndex(key.partition),
                    committed: value.map(CommittedOffset::from),
                })
            }
            GROUP_KEY => Ok(Self::Group {
                group_id: GroupMetadataKey::decode(&mut key, GROUP_KEY)?.group,
                metadata: value.map(unversioned).transpose()?,
            }),
            other => Err(RecordError::KeyType(other)),
        }
    }
}

fn offset(
    group_id: &str,
    topic: &str,
    partition: PartitionIndex,
    committed: Option<&CommittedOffset>,
) -> Result<KeyValue, EncodeError> {
    let (group, topic) = (group_id.to_owned(), topic.to_owned());
    let key = OffsetCommitKey { group, topic, partition: partition.0 };
    let value = committed.map(|committed| {
        let expires = committed.expires.is_some();
        let version = if expires { EXPIRING_OFFSET_VALUE } else { OFFSET_VALUE };
        versioned(&OffsetCommitValue::from(committed), version)
    });
    Ok((versioned(&key, OFFSET_KEY)?, value.transpose()?))
}

fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(version);
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}

fn unversioned<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    M::decode(&mut reader, version)
}

impl From<&CommittedOffset> for OffsetCommitValue {
    fn from(committed: &CommittedOffset) -> Self {
        Self {
            offset: committed.offset.0,
            leader_epoch: committed.leader_epoch.map_or(-1, |epoch| epoch.0),
            metadata: committed.metadata.clone(),
            commit_timestamp: committed.committed_at.0,
            expire_timestamp: committed.expires.map_or(-1, |expires| expires.0),
            topic_id: committed.topic_id.0,
        }
    }
}

impl From<OffsetCommitValue> for CommittedOffset {
    fn from(value: OffsetCommitValue) -> Self {
        Self {
            offset: Offset(value.offset),
            leader_epoch: (value.leader_epoch >= 0).then_some(LeaderEpoch(value.leader_epoch)),
            metadata: value.metadata,
            topic_id: TopicId(value.topic_id),
            committed_at: Timestamp(value.commit_timestamp),
            expires: (value.expire_timestamp >= 0).then_some(Timestamp(value.expire_timestamp)),
        }
    }
}
