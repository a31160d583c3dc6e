//! Metadata (API 3): brokers, topics, partitions and their leaders.
//!
//! Version 0 has no null: an empty list asks for all topics; later null does. KIP-430 (v8):
//! authorized operations. KIP-516 (v10): topic ids. KIP-1102 (v13): an error for the whole answer.

use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which topics to tell about.
    pub struct MetadataRequest: versions 0-13, flexible 9+ {
        /// Null asks for all topics; in version 0, which has no null, an empty list does.
        topics: Option<Vec<MetadataRequestTopic>>,   0+, null 1+, default Some(vec![]);
        allow_auto_topic_creation: bool,             4+, default true;
        include_cluster_authorized_operations: bool, 8-10;
        include_topic_authorized_operations: bool,   8+;
    }

    /// A topic by name, or from version 10 on by id.
    pub struct MetadataRequestTopic {
        topic_id: Uuid,                10+ ignorable;
        name: Option<String>,          0+, null 10+;
    }
}

message! {
    /// The cluster as the broker sees it.
    pub struct MetadataResponse: versions 0-13, flexible 9+ {
        throttle_time_ms: i32,                3+ ignorable;
        brokers: Vec<MetadataResponseBroker>, 0+;
        cluster_id: Option<String>,           2+ ignorable, null 2+;
        controller_id: i32,                   1+ ignorable, default -1;
        topics: Vec<MetadataResponseTopic>,   0+;
        cluster_authorized_operations: i32,   8-10, default i32::MIN;
        error_code: ErrorCode,                13+ ignorable;
    }

    /// A broker and where it listens.
    pub struct MetadataResponseBroker {
        node_id: i32,                  0+;
        host: String,                  0+;
        port: i32,                     0+;
        rack: Option<String>,          1+ ignorable, null 1+;
    }

    /// A topic and its partitions.
    pub struct MetadataResponseTopic {
        error_code: ErrorCode,                      0+;
        name: Option<String>,                       0+, null 12+, default Some(String::new());
        topic_id: Uuid,                             10+ ignorable;
        is_internal: bool,                          1+ ignorable;
        partitions: Vec<MetadataResponsePartition>, 0+;
        topic_authorized_operations: i32,           8+, default i32::MIN;
    }

    /// A partition and its replicas.
    pub struct MetadataResponsePartition {
        error_code: ErrorCode,         0+;
        partition_index: i32,          0+;
        leader_id: i32,                0+;
        leader_epoch: i32,             7+ ignorable, default -1;
        replica_nodes: Vec<i32>,       0+;
        isr_nodes: Vec<i32>,           0+;
        offline_replicas: Vec<i32>,    5+ ignorable;
    }
}
