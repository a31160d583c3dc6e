//! DeleteRecords (API 21): moves the log start offset up (KIP-107).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Up to where to delete.
    pub struct DeleteRecordsRequest: versions 0-2, flexible 2+ {
        topics: Vec<DeleteRecordsTopic>, 0+;
        timeout_ms: i32,                 0+;
    }

    /// One topic.
    pub struct DeleteRecordsTopic {
        name: String,                            0+;
        partitions: Vec<DeleteRecordsPartition>, 0+;
    }

    /// One partition; -1 is its high watermark.
    pub struct DeleteRecordsPartition {
        partition_index: i32,          0+;
        offset: i64,                   0+;
    }
}

message! {
    /// The new log starts.
    pub struct DeleteRecordsResponse: versions 0-2, flexible 2+ {
        throttle_time_ms: i32,                 0+;
        topics: Vec<DeleteRecordsTopicResult>, 0+;
    }

    /// One topic of the answer.
    pub struct DeleteRecordsTopicResult {
        name: String,                                  0+;
        partitions: Vec<DeleteRecordsPartitionResult>, 0+;
    }

    /// One partition's new log start.
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32,          0+;
        low_watermark: i64,            0+;
        error_code: ErrorCode,         0+;
    }
}
