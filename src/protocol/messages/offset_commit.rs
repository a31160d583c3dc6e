//! OffsetCommit (API 8): stores the offsets of a group.
//!
//! KIP-211 (v5): retention is the broker's. KIP-320 (v6): leader epochs. KIP-345 (v7): static
//! members. KIP-848 (v9): member epochs. KIP-516 (v10): topics by id.

use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Offsets to store for a group.
    pub struct OffsetCommitRequest: versions 2-10, flexible 8+ {
        group_id: String,                      0+;
        generation_id_or_member_epoch: i32,    1+ ignorable, default -1;
        member_id: String,                     1+ ignorable;
        group_instance_id: Option<String>,     7+, null 7+;
        retention_time_ms: i64,                2-4 ignorable, default -1;
        topics: Vec<OffsetCommitRequestTopic>, 0+;
    }

    /// One topic: by name up to version 9, then by id.
    pub struct OffsetCommitRequestTopic {
        name: String,                                  0-9 ignorable;
        topic_id: Uuid,                                10+ ignorable;
        partitions: Vec<OffsetCommitRequestPartition>, 0+;
    }

    /// The offset of one partition.
    pub struct OffsetCommitRequestPartition {
        partition_index: i32,               0+;
        committed_offset: i64,              0+;
        committed_leader_epoch: i32,        6+ ignorable, default -1;
        committed_metadata: Option<String>, 0+, null 0+, default Some(String::new());
    }
}

message! {
    /// What became of each offset.
    pub struct OffsetCommitResponse: versions 2-10, flexible 8+ {
        throttle_time_ms: i32,                  3+ ignorable;
        topics: Vec<OffsetCommitResponseTopic>, 0+;
    }

    /// One topic of the answer.
    pub struct OffsetCommitResponseTopic {
        name: String,                                   0-9 ignorable;
        topic_id: Uuid,                                 10+ ignorable;
        partitions: Vec<OffsetCommitResponsePartition>, 0+;
    }

    /// What became of one partition's offset.
    pub struct OffsetCommitResponsePartition {
        partition_index: i32,          0+;
        error_code: ErrorCode,         0+;
    }
}
