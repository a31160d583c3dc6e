//! CreatePartitions (API 37): raises the partition count of topics (KIP-195).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Topics and their new partition counts.
    pub struct CreatePartitionsRequest: versions 0-3, flexible 2+ {
        topics: Vec<CreatePartitionsTopic>, 0+;
        timeout_ms: i32,                    0+;
        validate_only: bool,                0+;
    }

    /// One topic; `count` is the new total.
    pub struct CreatePartitionsTopic {
        name: String,                                         0+;
        count: i32,                                           0+;
        assignments: Option<Vec<CreatePartitionsAssignment>>, 0+, null 0+;
    }

    /// The replicas of one new partition.
    pub struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>,          0+;
    }
}

message! {
    /// What became of each topic.
    pub struct CreatePartitionsResponse: versions 0-3, flexible 2+ {
        throttle_time_ms: i32,                     0+;
        results: Vec<CreatePartitionsTopicResult>, 0+;
    }

    /// What became of one topic.
    pub struct CreatePartitionsTopicResult {
        name: String,                  0+;
        error_code: ErrorCode,         0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
