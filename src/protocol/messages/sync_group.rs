//! SyncGroup (API 14): the leader's assignment goes in, the member's own comes out.
//!
//! KIP-345 (v3): static members. KIP-559 (v5): protocol type and name.

use bytes::Bytes;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Asks for the assignment; the leader's brings it.
    pub struct SyncGroupRequest: versions 0-5, flexible 4+ {
        group_id: String,                             0+;
        generation_id: i32,                           0+;
        member_id: String,                            0+;
        group_instance_id: Option<String>,            3+, null 3+;
        protocol_type: Option<String>,                5+ ignorable, null 5+;
        protocol_name: Option<String>,                5+ ignorable, null 5+;
        assignments: Vec<SyncGroupRequestAssignment>, 0+;
    }

    /// The assignment of one member.
    pub struct SyncGroupRequestAssignment {
        member_id: String,             0+;
        assignment: Bytes,             0+;
    }
}

message! {
    /// The member's own assignment.
    pub struct SyncGroupResponse: versions 0-5, flexible 4+ {
        throttle_time_ms: i32,         1+ ignorable;
        error_code: ErrorCode,         0+;
        protocol_type: Option<String>, 5+ ignorable, null 5+;
        protocol_name: Option<String>, 5+ ignorable, null 5+;
        assignment: Bytes,             0+;
    }
}
