//! DescribeCluster (API 60): cluster id, controller, brokers (KIP-700).
//!
//! KIP-919 (v1): which listener is asked. KIP-1073 (v2): fenced brokers.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// What to tell of the cluster.
    pub struct DescribeClusterRequest: versions 0-2, flexible 0+ {
        include_cluster_authorized_operations: bool, 0+;
        endpoint_type: i8,                           1+, default 1;
        include_fenced_brokers: bool,                2+;
    }
}

message! {
    /// The cluster and its brokers.
    pub struct DescribeClusterResponse: versions 0-2, flexible 0+ {
        throttle_time_ms: i32,               0+;
        error_code: ErrorCode,               0+;
        error_message: Option<String>,       0+, null 0+;
        endpoint_type: i8,                   1+, default 1;
        cluster_id: String,                  0+;
        controller_id: i32,                  0+, default -1;
        brokers: Vec<DescribeClusterBroker>, 0+;
        cluster_authorized_operations: i32,  0+, default i32::MIN;
    }

    /// A broker and where it listens.
    pub struct DescribeClusterBroker {
        broker_id: i32,                0+;
        host: String,                  0+;
        port: i32,                     0+;
        rack: Option<String>,          0+, null 0+;
        is_fenced: bool,               2+;
    }
}
