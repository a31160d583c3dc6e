//! OffsetDelete (API 47): removes committed offsets of a group (KIP-496).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Offsets to delete.
    pub struct OffsetDeleteRequest: versions 0-0, flexible none {
        group_id: String,                      0+;
        topics: Vec<OffsetDeleteRequestTopic>, 0+;
    }

    /// One topic.
    pub struct OffsetDeleteRequestTopic {
        name: String,                                  0+;
        partitions: Vec<OffsetDeleteRequestPartition>, 0+;
    }

    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32,          0+;
    }
}

message! {
    /// What became of each offset.
    pub struct OffsetDeleteResponse: versions 0-0, flexible none {
        error_code: ErrorCode,                  0+;
        throttle_time_ms: i32,                  0+ ignorable;
        topics: Vec<OffsetDeleteResponseTopic>, 0+;
    }

    /// One topic of the answer.
    pub struct OffsetDeleteResponseTopic {
        name: String,                                   0+;
        partitions: Vec<OffsetDeleteResponsePartition>, 0+;
    }

    /// What became of one partition's offset.
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32,          0+;
        error_code: ErrorCode,         0+;
    }
}
