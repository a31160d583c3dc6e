//! ListOffsets (API 2): the offset at a time, or at an end of a partition.
//!
//! Version 0 answers with a list of segment starts (`old_style_offsets`), later ones with one
//! offset and its timestamp. KIP-207 (v4): leader epochs. KIP-734 (v7): the greatest timestamp (-3).
//! KIP-1075 (v10): a timeout. KIP-1023 (v11): the earliest offset not yet tiered.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which offsets to look up.
    pub struct ListOffsetsRequest: versions 0-11, flexible 6+ {
        replica_id: i32,               0+;
        isolation_level: i8,           2+;
        topics: Vec<ListOffsetsTopic>, 0+;
        timeout_ms: i32,               10+ ignorable;
    }

    /// One topic asked about.
    pub struct ListOffsetsTopic {
        name: String,                          0+;
        partitions: Vec<ListOffsetsPartition>, 0+;
    }

    /// One partition asked about.
    pub struct ListOffsetsPartition {
        partition_index: i32,          0+;
        current_leader_epoch: i32,     4+ ignorable, default -1;
        /// In ms; -1 the end, -2 the start, -3 the greatest timestamp, -4 and -5 of tiered storage.
        timestamp: i64,                0+;
        max_num_offsets: i32,          0-0, default 1;
    }
}

message! {
    /// The offsets found.
    pub struct ListOffsetsResponse: versions 0-11, flexible 6+ {
        throttle_time_ms: i32,                 2+ ignorable;
        topics: Vec<ListOffsetsTopicResponse>, 0+;
    }

    /// One topic of the answer.
    pub struct ListOffsetsTopicResponse {
        name: String,                                  0+;
        partitions: Vec<ListOffsetsPartitionResponse>, 0+;
    }

    /// One partition's offset.
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32,          0+;
        error_code: ErrorCode,         0+;
        old_style_offsets: Vec<i64>,   0-0;
        timestamp: i64,                1+, default -1;
        offset: i64,                   1+, default -1;
        leader_epoch: i32,             4+, default -1;
    }
}
