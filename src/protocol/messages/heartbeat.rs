//! Heartbeat (API 12): keeps a member of a classic group alive. KIP-345 (v3): static members.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which member is alive.
    pub struct HeartbeatRequest: versions 0-4, flexible 4+ {
        group_id: String,                  0+;
        generation_id: i32,                0+;
        member_id: String,                 0+;
        group_instance_id: Option<String>, 3+, null 3+;
    }
}

message! {
    /// Whether to go on, to rejoin, or to begin anew.
    pub struct HeartbeatResponse: versions 0-4, flexible 4+ {
        throttle_time_ms: i32,         1+ ignorable;
        error_code: ErrorCode,         0+;
    }
}
