//! Fetch (API 1): reads record batches.
//!
//! KIP-227 (v7): fetch sessions. KIP-320 (v9): leader epochs. KIP-392 (v11): read from the nearest
//! replica. KIP-595 (v12): diverging epochs. KIP-516 (v13): topics by id. KIP-951 (v16): the new
//! leader in the answer. KIP-1166 (v18): the follower's high watermark.
//!
//! A broker sends records from files: put [`Records::External`] sizes into the response, encode it
//! with [`FetchResponse::pieces`], and send the pieces with file ranges between them:
//!
//! ```text
//! partition.records = Records::External(range.size);          // and ranges.push(range)
//! for piece in response.pieces(version, correlation_id)? {
//!     match piece {
//!         Piece::Bytes(bytes) => socket.write(bytes),
//!         Piece::External { index, size } => socket.sendfile(&ranges[index], size),
//!     }
//! }
//! ```

use bytes::Bytes;
use uuid::Uuid;

#[cfg(test)]
use crate::codec::testing::{Random, Sample};
use crate::codec::{
    DecodeError, EncodeError, Field, Layout, Message, Piece, Reader, Writer, message,
};
use crate::protocol::header::{encode_response_header, end_frame, start_frame};
use crate::protocol::{ApiKey, ErrorCode};

message! {
    /// Where to read, how much, and how long to wait for it.
    pub struct FetchRequest: versions 4-18, flexible 12+ {
        cluster_id: Option<String>,                 12+ ignorable, null 12+, tag 0;
        replica_id: i32,                            0-14, default -1;
        replica_state: ReplicaState,                15+, tag 1;
        /// The longest the answer may take to gather `min_bytes`.
        max_wait_ms: i32,                           0+;
        min_bytes: i32,                             0+;
        max_bytes: i32,                             3+ ignorable, default i32::MAX;
        /// 0: read uncommitted, 1: read committed.
        isolation_level: i8,                        4+ ignorable;
        session_id: i32,                            7+ ignorable;
        session_epoch: i32,                         7+ ignorable, default -1;
        topics: Vec<FetchTopic>,                    0+;
        forgotten_topics_data: Vec<ForgottenTopic>, 7+;
        rack_id: String,                            11+ ignorable;
    }

    /// Who asks: a follower, or -1 a consumer.
    pub struct ReplicaState {
        replica_id: i32,               15+, default -1;
        replica_epoch: i64,            15+, default -1;
    }

    /// One topic: by name up to version 12, then by id.
    pub struct FetchTopic {
        topic: String,                   0-12 ignorable;
        topic_id: Uuid,                  13+ ignorable;
        partitions: Vec<FetchPartition>, 0+;
    }

    /// Where to read in one partition.
    pub struct FetchPartition {
        partition: i32,                0+;
        current_leader_epoch: i32,     9+ ignorable, default -1;
        fetch_offset: i64,             0+;
        last_fetched_epoch: i32,       12+, default -1;
        /// A follower's; -1 from a consumer.
        log_start_offset: i64,         5+ ignorable, default -1;
        partition_max_bytes: i32,      0+;
        replica_directory_id: Uuid,    17+ ignorable, tag 0;
        high_watermark: i64,           18+ ignorable, tag 1, default i64::MAX;
    }

    /// Partitions to drop from the fetch session.
    pub struct ForgottenTopic {
        topic: String,                 7-12 ignorable;
        topic_id: Uuid,                13+ ignorable;
        partitions: Vec<i32>,          7+;
    }
}

message! {
    /// Records, by topic and partition.
    pub struct FetchResponse: versions 4-18, flexible 12+ {
        throttle_time_ms: i32,                  1+ ignorable;
        error_code: ErrorCode,                  7+ ignorable;
        session_id: i32,                        7+;
        responses: Vec<FetchableTopicResponse>, 0+;
        /// Of the leaders named in `current_leader`.
        node_endpoints: Vec<NodeEndpoint>,      16+, tag 0;
    }

    /// One topic of the answer.
    pub struct FetchableTopicResponse {
        topic: String,                  0-12 ignorable;
        topic_id: Uuid,                 13+ ignorable;
        partitions: Vec<PartitionData>, 0+;
    }

    /// What one partition has.
    pub struct PartitionData {
        partition_index: i32,                                  0+;
        error_code: ErrorCode,                                 0+;
        high_watermark: i64,                                   0+;
        last_stable_offset: i64,                               4+ ignorable, default -1;
        log_start_offset: i64,                                 5+ ignorable, default -1;
        diverging_epoch: EpochEndOffset,                       12+, tag 0;
        current_leader: LeaderIdAndEpoch,                      12+, tag 1;
        snapshot_id: SnapshotId,                               12+, tag 2;
        /// Null unless the request read committed.
        aborted_transactions: Option<Vec<AbortedTransaction>>, 4+ ignorable, null 4+;
        /// -1: none but the leader.
        preferred_read_replica: i32,                           11+, default -1;
        records: Records,                                      0+;
    }

    /// Where the log parted from a follower's.
    pub struct EpochEndOffset {
        epoch: i32,                    12+, default -1;
        end_offset: i64,               12+, default -1;
    }

    /// The leader, where the asked broker is it no longer.
    pub struct LeaderIdAndEpoch {
        leader_id: i32,                12+, default -1;
        leader_epoch: i32,             12+, default -1;
    }

    /// A snapshot to fetch instead.
    pub struct SnapshotId {
        end_offset: i64,               0+, default -1;
        epoch: i32,                    0+, default -1;
    }

    /// A producer whose records from this offset on, up to its abort marker, do not count.
    pub struct AbortedTransaction {
        producer_id: i64,              4+;
        first_offset: i64,             4+;
    }

    /// Where a leader listens.
    pub struct NodeEndpoint {
        node_id: i32,                  16+;
        host: String,                  16+;
        port: i32,                     16+;
        rack: Option<String>,          16+, null 16+;
    }
}

/// The records of one partition in a [`FetchResponse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Here.
    Bytes(Bytes),
    /// So many bytes that lie elsewhere: only for [`FetchResponse::pieces`].
    External(u32),
}

impl Records {
    /// Bytes of the records.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External(size) => usize::try_from(*size).unwrap_or(usize::MAX),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl Field for Records {
    /// Null is read as none.
    fn read(reader: &mut Reader, layout: Layout, _: bool) -> Result<Self, DecodeError> {
        Ok(Self::Bytes(reader.nullable_bytes(layout.flexible)?.unwrap_or_default()))
    }

    /// None are written as zero bytes: librdkafka and kafka-python stumble over null.
    fn write(&self, writer: &mut Writer, layout: Layout, _: bool) -> Result<(), EncodeError> {
        match self {
            Self::Bytes(bytes) => writer.nullable_bytes(Some(bytes), layout.flexible),
            Self::External(size) => writer.external(*size, layout.flexible),
        }
    }
}

impl FetchResponse {
    /// The whole response frame (length, header, body), cut where [`Records::External`] stand: send
    /// the pieces in order, and for each [`Piece::External`] exactly `size` bytes of the records that
    /// it counts. External records of size 0 have a piece too, so that the counting holds.
    ///
    /// # Errors
    /// A value that this version cannot carry, or a frame over 2^31-1 bytes.
    pub fn pieces(&self, version: i16, correlation_id: i32) -> Result<Vec<Piece>, EncodeError> {
        let mut writer = Writer::in_pieces();
        start_frame(&mut writer);
        encode_response_header(ApiKey::Fetch, version, correlation_id, &mut writer);
        self.encode(&mut writer, version)?;
        end_frame(&mut writer)?;
        Ok(writer.into_pieces())
    }
}

#[cfg(test)]
impl Sample for Records {
    fn sample(random: &mut Random, layout: Layout, _: bool) -> Self {
        Self::Bytes(Bytes::sample(random, layout, false))
    }
}
