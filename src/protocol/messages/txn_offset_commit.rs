//! TxnOffsetCommit (API 28): stores offsets of a group that count once the transaction commits
//! (KIP-98).
//!
//! KIP-320 (v2): leader epochs. KIP-447 (v3): members and generations. KIP-890 (v4): error 120; (v5):
//! adds the group to the transaction by itself.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Offsets to store for a group with a transaction.
    pub struct TxnOffsetCommitRequest: versions 0-5, flexible 3+ {
        transactional_id: String,                 0+;
        group_id: String,                         0+;
        producer_id: i64,                         0+;
        producer_epoch: i16,                      0+;
        generation_id: i32,                       3+, default -1;
        member_id: String,                        3+;
        group_instance_id: Option<String>,        3+, null 3+;
        topics: Vec<TxnOffsetCommitRequestTopic>, 0+;
    }

    /// One topic.
    pub struct TxnOffsetCommitRequestTopic {
        name: String,                                     0+;
        partitions: Vec<TxnOffsetCommitRequestPartition>, 0+;
    }

    /// The offset of one partition.
    pub struct TxnOffsetCommitRequestPartition {
        partition_index: i32,               0+;
        committed_offset: i64,              0+;
        committed_leader_epoch: i32,        2+ ignorable, default -1;
        committed_metadata: Option<String>, 0+, null 0+, default Some(String::new());
    }
}

message! {
    /// What became of each offset.
    pub struct TxnOffsetCommitResponse: versions 0-5, flexible 3+ {
        throttle_time_ms: i32,                     0+;
        topics: Vec<TxnOffsetCommitResponseTopic>, 0+;
    }

    /// One topic of the answer.
    pub struct TxnOffsetCommitResponseTopic {
        name: String,                                      0+;
        partitions: Vec<TxnOffsetCommitResponsePartition>, 0+;
    }

    /// What became of one partition's offset.
    pub struct TxnOffsetCommitResponsePartition {
        partition_index: i32,          0+;
        error_code: ErrorCode,         0+;
    }
}
