//! FindCoordinator (API 10): which broker serves a group or a transactional id.
//!
//! KIP-699 (v4): several keys at once. KIP-932 (v6): share groups.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which coordinators to find: one key up to version 3, then several.
    pub struct FindCoordinatorRequest: versions 0-6, flexible 3+ {
        key: String,                   0-3;
        /// 0: a group, 1: a transactional id, 2: a share group's partition.
        key_type: i8,                  1+;
        coordinator_keys: Vec<String>, 4+;
    }
}

message! {
    /// The coordinator up to version 3, then one for each key.
    pub struct FindCoordinatorResponse: versions 0-6, flexible 3+ {
        throttle_time_ms: i32,          1+ ignorable;
        error_code: ErrorCode,          0-3;
        error_message: Option<String>,  1-3 ignorable, null 1-3;
        node_id: i32,                   0-3;
        host: String,                   0-3;
        port: i32,                      0-3;
        coordinators: Vec<Coordinator>, 4+;
    }

    /// The coordinator of one key.
    pub struct Coordinator {
        key: String,                   4+;
        node_id: i32,                  4+;
        host: String,                  4+;
        port: i32,                     4+;
        error_code: ErrorCode,         4+;
        error_message: Option<String>, 4+ ignorable, null 4+;
    }
}
