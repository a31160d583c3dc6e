//! DescribeLogDirs (API 35): sizes of partitions by folder (KIP-113).
//!
//! KIP-784 (v3): an error for the whole answer. KIP-827 (v4): total and free bytes. KIP-1066 (v5):
//! cordoned folders.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which partitions to measure.
    pub struct DescribeLogDirsRequest: versions 1-5, flexible 2+ {
        /// Null asks for all topics.
        topics: Option<Vec<DescribableLogDirTopic>>, 0+, null 0+;
    }

    /// One topic and its partitions.
    pub struct DescribableLogDirTopic {
        topic: String,                 0+;
        partitions: Vec<i32>,          0+;
    }
}

message! {
    /// The folders and what is in them.
    pub struct DescribeLogDirsResponse: versions 1-5, flexible 2+ {
        throttle_time_ms: i32,               0+;
        error_code: ErrorCode,               3+ ignorable;
        results: Vec<DescribeLogDirsResult>, 0+;
    }

    /// One folder.
    pub struct DescribeLogDirsResult {
        error_code: ErrorCode,             0+;
        log_dir: String,                   0+;
        topics: Vec<DescribeLogDirsTopic>, 0+;
        total_bytes: i64,                  4+ ignorable, default -1;
        usable_bytes: i64,                 4+ ignorable, default -1;
        is_cordoned: bool,                 5+ ignorable;
    }

    /// One topic in it.
    pub struct DescribeLogDirsTopic {
        name: String,                              0+;
        partitions: Vec<DescribeLogDirsPartition>, 0+;
    }

    /// One partition's size and lag.
    pub struct DescribeLogDirsPartition {
        partition_index: i32,          0+;
        partition_size: i64,           0+;
        offset_lag: i64,               0+;
        is_future_key: bool,           0+;
    }
}
