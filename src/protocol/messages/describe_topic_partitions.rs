//! DescribeTopicPartitions (API 75): topics by pages, with eligible leaders (KIP-966).

use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which topics to describe, and from where on.
    pub struct DescribeTopicPartitionsRequest: versions 0-0, flexible 0+ {
        topics: Vec<TopicRequest>,     0+;
        response_partition_limit: i32, 0+, default 2_000;
        /// Where the last page ended.
        cursor: Option<Cursor>,        0+, null 0+;
    }

    /// One topic asked about.
    pub struct TopicRequest {
        name: String,                  0+;
    }

    /// The partition that a page begins with.
    pub struct Cursor {
        topic_name: String,            0+;
        partition_index: i32,          0+;
    }
}

message! {
    /// One page of topics.
    pub struct DescribeTopicPartitionsResponse: versions 0-0, flexible 0+ {
        throttle_time_ms: i32,                             0+ ignorable;
        topics: Vec<DescribeTopicPartitionsResponseTopic>, 0+;
        /// Where the next page begins; null at the end.
        next_cursor: Option<Cursor>,                       0+, null 0+;
    }

    /// One topic.
    pub struct DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode,                                     0+;
        name: Option<String>, 0+, null 0+, default Some(String::new());
        topic_id: Uuid,                                            0+ ignorable;
        is_internal: bool,                                         0+ ignorable;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, 0+;
        topic_authorized_operations: i32,                          0+, default i32::MIN;
    }

    /// One partition and its replicas.
    pub struct DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode,                      0+;
        partition_index: i32,                       0+;
        leader_id: i32,                             0+;
        leader_epoch: i32,                          0+ ignorable, default -1;
        replica_nodes: Vec<i32>,                    0+;
        isr_nodes: Vec<i32>,                        0+;
        eligible_leader_replicas: Option<Vec<i32>>, 0+, null 0+;
        last_known_elr: Option<Vec<i32>>,           0+, null 0+;
        offline_replicas: Vec<i32>,                 0+ ignorable;
    }
}
