//! CreateTopics (API 19).
//!
//! KIP-464 (v4): -1 for default counts. KIP-525 (v5): the configs in the answer. KIP-516 (v7): the
//! topic id in the answer.

use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Topics to create.
    pub struct CreateTopicsRequest: versions 0-7, flexible 5+ {
        topics: Vec<CreatableTopic>,   0+;
        timeout_ms: i32,               0+, default 60_000;
        validate_only: bool,           1+;
    }

    /// One topic to create.
    pub struct CreatableTopic {
        name: String,                                 0+;
        /// -1 for the broker's default (v4), or with assignments.
        num_partitions: i32,                          0+;
        /// -1 for the broker's default (v4), or with assignments.
        replication_factor: i16,                      0+;
        assignments: Vec<CreatableReplicaAssignment>, 0+;
        configs: Vec<CreatableTopicConfig>,           0+;
    }

    /// The replicas of one partition, given by hand.
    pub struct CreatableReplicaAssignment {
        partition_index: i32,          0+;
        broker_ids: Vec<i32>,          0+;
    }

    /// A config of the topic.
    pub struct CreatableTopicConfig {
        name: String,                  0+;
        value: Option<String>,         0+, null 0+;
    }
}

message! {
    /// What became of each topic.
    pub struct CreateTopicsResponse: versions 0-7, flexible 5+ {
        throttle_time_ms: i32,             2+ ignorable;
        topics: Vec<CreatableTopicResult>, 0+;
    }

    /// What became of one topic.
    pub struct CreatableTopicResult {
        name: String,                                0+;
        topic_id: Uuid,                              7+ ignorable;
        error_code: ErrorCode,                       0+;
        error_message: Option<String>,               1+ ignorable, null 0+;
        topic_config_error_code: ErrorCode,          5+ ignorable, tag 0;
        num_partitions: i32,                         5+ ignorable, default -1;
        replication_factor: i16,                     5+ ignorable, default -1;
        configs: Option<Vec<CreatableTopicConfigs>>, 5+ ignorable, null 5+, default Some(vec![]);
    }

    /// A config that the topic got.
    pub struct CreatableTopicConfigs {
        name: String,                  5+;
        value: Option<String>,         5+, null 5+;
        read_only: bool,               5+;
        config_source: i8,             5+ ignorable, default -1;
        is_sensitive: bool,            5+;
    }
}
