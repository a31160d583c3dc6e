//! Produce (API 0): appends record batches.
//!
//! KIP-98 (v3): transactional id. KIP-467 (v8): which records were refused. KIP-951 (v10): the new
//! leader in the answer. KIP-516 (v13): topics by id. Versions 0-2 carried the old message sets.

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Batches to append, by topic and partition.
    pub struct ProduceRequest: versions 3-13, flexible 9+ {
        transactional_id: Option<String>,  3+, null 3+;
        /// 0: no answer wanted; 1: the leader's; -1: all in-sync replicas'.
        acks: i16,                         0+;
        timeout_ms: i32,                   0+;
        topic_data: Vec<TopicProduceData>, 0+;
    }

    /// One topic: by name up to version 12, then by id.
    pub struct TopicProduceData {
        name: String,                              0-12 ignorable;
        topic_id: Uuid,                            13+ ignorable;
        partition_data: Vec<PartitionProduceData>, 0+;
    }

    /// What to append to one partition.
    pub struct PartitionProduceData {
        index: i32,                    0+;
        /// Record batches, as they came: a slice of the frame.
        records: Option<Bytes>,        0+, null 0+;
    }
}

message! {
    /// What became of each partition's batch.
    pub struct ProduceResponse: versions 3-13, flexible 9+ {
        responses: Vec<TopicProduceResponse>, 0+;
        throttle_time_ms: i32,                1+ ignorable;
        /// Of the leaders named in `current_leader`.
        node_endpoints: Vec<NodeEndpoint>,    10+, tag 0;
    }

    /// One topic of the answer.
    pub struct TopicProduceResponse {
        name: String,                                       0-12 ignorable;
        topic_id: Uuid,                                     13+ ignorable;
        partition_responses: Vec<PartitionProduceResponse>, 0+;
    }

    /// What became of one partition's batch.
    pub struct PartitionProduceResponse {
        index: i32,                                    0+;
        error_code: ErrorCode,                         0+;
        base_offset: i64,                              0+;
        log_append_time_ms: i64,                       2+ ignorable, default -1;
        log_start_offset: i64,                         5+ ignorable, default -1;
        record_errors: Vec<BatchIndexAndErrorMessage>, 8+ ignorable;
        error_message: Option<String>,                 8+ ignorable, null 8+;
        current_leader: LeaderIdAndEpoch,              10+, tag 0;
    }

    /// A record that was refused.
    pub struct BatchIndexAndErrorMessage {
        batch_index: i32,                          8+;
        batch_index_error_message: Option<String>, 8+, null 8+;
    }

    /// The leader, where the asked broker is it no longer.
    pub struct LeaderIdAndEpoch {
        leader_id: i32,                10+, default -1;
        leader_epoch: i32,             10+, default -1;
    }

    /// Where a leader listens.
    pub struct NodeEndpoint {
        node_id: i32,                  10+;
        host: String,                  10+;
        port: i32,                     10+;
        rack: Option<String>,          10+, null 10+;
    }
}
