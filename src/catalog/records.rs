//! The records of `__cluster_metadata`, in Kafka's format.
//!
//! | part of the value | form |
//! |---|---|
//! | frame version, 1 | unsigned varint |
//! | record type | unsigned varint |
//! | version of that type | unsigned varint |
//! | the record | flexible, by the field lists below |
//!
//! Keys are null. Types that have no meaning here (registrations of brokers and controllers,
//! KRaft's transaction marks) and types of later versions are carried as they are, as
//! [`CatalogRecord::Other`].

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::{DecodeError, EncodeError, Message, Reader, Writer, message};

const FRAME_VERSION: u32 = 1;

message! {
    /// A topic exists.
    pub struct TopicRecord: versions 0-0, flexible 0+ {
        name: String,                                   0+;
        topic_id: Uuid,                                 0+;
    }
}
message! {
    /// A partition exists.
    pub struct PartitionRecord: versions 0-2, flexible 0+ {
        partition_id: i32,                              0+, default -1;
        topic_id: Uuid,                                 0+;
        replicas: Vec<i32>,                             0+;
        isr: Vec<i32>,                                  0+;
        removing_replicas: Vec<i32>,                    0+;
        adding_replicas: Vec<i32>,                      0+;
        leader: i32,                                    0+, default -1;
        leader_recovery_state: i8,                      0+, tag 0;
        leader_epoch: i32,                              0+, default -1;
        partition_epoch: i32,                           0+, default -1;
        directories: Vec<Uuid>,                         1+ ignorable;
        eligible_leader_replicas: Option<Vec<i32>>,     2+ ignorable, null 2+, tag 1;
        last_known_elr: Option<Vec<i32>>,               2+ ignorable, null 2+, tag 2;
    }
}
message! {
    /// A partition changed: fields that are not given stay as they were.
    pub struct PartitionChangeRecord: versions 0-2, flexible 0+ {
        partition_id: i32,                              0+, default -1;
        topic_id: Uuid,                                 0+;
        isr: Option<Vec<i32>>,                          0+, null 0+, tag 0;
        leader: i32,                                    0+, tag 1, default -2;
        replicas: Option<Vec<i32>>,                     0+, null 0+, tag 2;
        removing_replicas: Option<Vec<i32>>,            0+, null 0+, tag 3;
        adding_replicas: Option<Vec<i32>>,              0+, null 0+, tag 4;
        leader_recovery_state: i8,                      0+, tag 5, default -1;
        directories: Option<Vec<Uuid>>,                 1+ ignorable, null 1+, tag 8;
        eligible_leader_replicas: Option<Vec<i32>>,     2+ ignorable, null 2+, tag 6;
        last_known_elr: Option<Vec<i32>>,               2+ ignorable, null 2+, tag 7;
    }
}
message! {
    /// A topic and all that belongs to it is gone.
    pub struct RemoveTopicRecord: versions 0-0, flexible 0+ {
        topic_id: Uuid,                                 0+;
    }
}
message! {
    /// One setting of one resource; null takes it away.
    pub struct ConfigRecord: versions 0-0, flexible 0+ {
        resource_type: i8,                              0+;
        resource_name: String,                          0+;
        name: String,                                   0+;
        value: Option<String>,                          0+, null 0+;
    }
}
message! {
    /// A feature is at this level; 0 takes it away.
    pub struct FeatureLevelRecord: versions 0-0, flexible 0+ {
        name: String,                                   0+;
        feature_level: i16,                             0+;
    }
}
message! {
    /// Producer ids below this one are given away.
    pub struct ProducerIdsRecord: versions 0-0, flexible 0+ {
        broker_id: i32,                                 0+;
        broker_epoch: i64,                              0+, default -1;
        next_producer_id: i64,                          0+;
    }
}

/// One record of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogRecord {
    /// Type 2.
    Topic(TopicRecord),
    /// Type 3.
    Partition(PartitionRecord),
    /// Type 4.
    Config(ConfigRecord),
    /// Type 5.
    PartitionChange(PartitionChangeRecord),
    /// Type 9.
    RemoveTopic(RemoveTopicRecord),
    /// Type 12.
    FeatureLevel(FeatureLevelRecord),
    /// Type 15.
    ProducerIds(ProducerIdsRecord),
    /// Any other type, as it came.
    Other {
        /// The type.
        kind: u32,
        /// The version of that type.
        version: u32,
        /// The record, not understood.
        body: Bytes,
    },
}

/// A record with the version that it was written in.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// The record.
    pub record: CatalogRecord,
    /// The version of its type.
    pub version: i16,
}

/// Bytes that are no record of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A later frame, which says nothing about what follows.
    #[error("frame version {0} of a metadata record is not known")]
    FrameVersion(u32),
    /// What follows the frame is not what its type and version say.
    #[error("metadata record of type {kind}: {error}")]
    Body {
        /// The type.
        kind: u32,
        /// What is wrong.
        error: DecodeError,
    },
    /// The frame itself is cut off.
    #[error("frame of a metadata record: {0}")]
    Frame(#[from] DecodeError),
    /// More bytes than the record has.
    #[error("metadata record of type {kind} has {left} bytes too many")]
    Trailing {
        /// The type.
        kind: u32,
        /// How many.
        left: usize,
    },
}

impl CatalogRecord {
    /// Reads the value of one record of `__cluster_metadata`.
    ///
    /// # Errors
    /// Any [`RecordError`]. A type that is not known is none, nor is a version of a known type
    /// that is not: both come back as [`CatalogRecord::Other`].
    pub fn decode(value: Bytes) -> Result<Versioned, RecordError> {
        let mut reader = Reader::new(value);
        let frame = reader.uvarint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::FrameVersion(frame));
        }
        let kind = reader.uvarint()?;
        let version = reader.uvarint()?;
        let read = &mut reader;
        let record = match kind {
            2 => known(read, version, Self::Topic),
            3 => known(read, version, Self::Partition),
            4 => known(read, version, Self::Config),
            5 => known(read, version, Self::PartitionChange),
            9 => known(read, version, Self::RemoveTopic),
            12 => known(read, version, Self::FeatureLevel),
            15 => known(read, version, Self::ProducerIds),
            _ => None,
        };
        match record {
            Some(Ok(_)) if reader.remaining() > 0 => {
                Err(RecordError::Trailing { kind, left: reader.remaining() })
            }
            Some(Ok(versioned)) => Ok(versioned),
            Some(Err(error)) => Err(RecordError::Body { kind, error }),
            None => {
                let body = reader.slice(reader.remaining())?;
                let record = Self::Other { kind, version, body };
                Ok(Versioned { version: i16::try_from(version).unwrap_or(i16::MAX), record })
            }
        }
    }

    /// The value to store, in the version that this broker writes.
    ///
    /// # Errors
    /// [`EncodeError`] for text that is too long for the format.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        self.encode_as(0)
    }

    /// The value to store, in a version of the record's type; [`CatalogRecord::Other`] keeps its own.
    ///
    /// # Errors
    /// As [`CatalogRecord::encode`]; also for a version that the type does not have, or that cannot
    /// carry a field that is set.
    pub fn encode_as(&self, version: i16) -> Result<Bytes, EncodeError> {
        match self {
            Self::Topic(record) => framed(2, version, record),
            Self::Partition(record) => framed(3, version, record),
            Self::Config(record) => framed(4, version, record),
            Self::PartitionChange(record) => framed(5, version, record),
            Self::RemoveTopic(record) => framed(9, version, record),
            Self::FeatureLevel(record) => framed(12, version, record),
            Self::ProducerIds(record) => framed(15, version, record),
            Self::Other { kind, version, body } => {
                let mut writer = frame(*kind, *version);
                writer.raw(body);
                Ok(writer.into_bytes())
            }
        }
    }
}

/// Reads a record of a known type; `None` if its version is a later one.
fn known<M: Message>(
    reader: &mut Reader,
    version: u32,
    make: impl FnOnce(M) -> CatalogRecord,
) -> Option<Result<Versioned, DecodeError>> {
    let version = i16::try_from(version).ok().filter(|version| M::VERSIONS.contains(*version))?;
    Some(M::decode(reader, version).map(|message| Versioned { record: make(message), version }))
}

fn framed<M: Message>(kind: u32, version: i16, record: &M) -> Result<Bytes, EncodeError> {
    let mut writer = frame(kind, u32::try_from(version).unwrap_or_default());
    record.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}

fn frame(kind: u32, version: u32) -> Writer {
    let mut writer = Writer::new();
    writer.uvarint(FRAME_VERSION);
    writer.uvarint(kind);
    writer.uvarint(version);
    writer
}
