//! LeaveGroup (API 13): ends the membership of one member, or from v3 on of several (KIP-345).
//!
//! KIP-800 (v5): reasons.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who leaves: one member up to version 2, then several.
    pub struct LeaveGroupRequest: versions 0-5, flexible 4+ {
        group_id: String,              0+;
        member_id: String,             0-2;
        members: Vec<MemberIdentity>,  3+;
    }

    /// One member that leaves, by member id or instance id.
    pub struct MemberIdentity {
        member_id: String,                 3+;
        group_instance_id: Option<String>, 3+, null 3+;
        reason: Option<String>,            5+ ignorable, null 5+;
    }
}

message! {
    /// What became of it.
    pub struct LeaveGroupResponse: versions 0-5, flexible 4+ {
        throttle_time_ms: i32,         1+ ignorable;
        error_code: ErrorCode,         0+;
        members: Vec<MemberResponse>,  3+;
    }

    /// What became of one member.
    pub struct MemberResponse {
        member_id: String,                 3+;
        group_instance_id: Option<String>, 3+, null 3+;
        error_code: ErrorCode,             3+;
    }
}
