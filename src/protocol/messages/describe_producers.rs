//! DescribeProducers (API 61): what a partition knows of its producers (KIP-664).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The partitions asked about.
    pub struct DescribeProducersRequest: versions 0-0, flexible 0+ {
        topics: Vec<TopicRequest>,     0+;
    }

    /// One topic.
    pub struct TopicRequest {
        name: String,                  0+;
        partition_indexes: Vec<i32>,   0+;
    }
}

message! {
    /// The producers of each partition.
    pub struct DescribeProducersResponse: versions 0-0, flexible 0+ {
        throttle_time_ms: i32,         0+;
        topics: Vec<TopicResponse>,    0+;
    }

    /// One topic of the answer.
    pub struct TopicResponse {
        name: String,                       0+;
        partitions: Vec<PartitionResponse>, 0+;
    }

    /// The producers of one partition.
    pub struct PartitionResponse {
        partition_index: i32,                0+;
        error_code: ErrorCode,               0+;
        error_message: Option<String>,       0+, null 0+;
        active_producers: Vec<ProducerState>, 0+;
    }

    /// One producer, and where its open transaction begins: -1 if it has none.
    pub struct ProducerState {
        producer_id: i64,              0+;
        producer_epoch: i32,           0+;
        last_sequence: i32,            0+, default -1;
        last_timestamp: i64,           0+, default -1;
        coordinator_epoch: i32,        0+;
        current_txn_start_offset: i64, 0+, default -1;
    }
}
