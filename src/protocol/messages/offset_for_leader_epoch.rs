//! OffsetForLeaderEpoch (API 23): where a leader epoch ended (KIP-101, KIP-320).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which epochs to look up.
    pub struct OffsetForLeaderEpochRequest: versions 2-4, flexible 4+ {
        replica_id: i32,                   3+ ignorable, default -2;
        topics: Vec<OffsetForLeaderTopic>, 0+;
    }

    /// One topic asked about.
    pub struct OffsetForLeaderTopic {
        topic: String,                             0+;
        partitions: Vec<OffsetForLeaderPartition>, 0+;
    }

    /// One partition asked about.
    pub struct OffsetForLeaderPartition {
        partition: i32,                0+;
        current_leader_epoch: i32,     2+ ignorable, default -1;
        leader_epoch: i32,             0+;
    }
}

message! {
    /// Where the epochs ended.
    pub struct OffsetForLeaderEpochResponse: versions 2-4, flexible 4+ {
        throttle_time_ms: i32,                   2+ ignorable;
        topics: Vec<OffsetForLeaderTopicResult>, 0+;
    }

    /// One topic of the answer.
    pub struct OffsetForLeaderTopicResult {
        topic: String,                   0+;
        partitions: Vec<EpochEndOffset>, 0+;
    }

    /// Where the epoch ended in one partition, -1 if unknown.
    pub struct EpochEndOffset {
        error_code: ErrorCode,         0+;
        partition: i32,                0+;
        leader_epoch: i32,             1+ ignorable, default -1;
        end_offset: i64,               0+, default -1;
    }
}
