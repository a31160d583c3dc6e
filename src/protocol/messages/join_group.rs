//! JoinGroup (API 11): becomes or stays a member of a classic group.
//!
//! KIP-394 (v4): a first join is refused, with the member id to join with. KIP-345 (v5): static
//! members. KIP-800 (v8): reasons. KIP-814 (v9): a static leader may skip the assignment.

use bytes::Bytes;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who joins, and which protocols it can follow.
    pub struct JoinGroupRequest: versions 0-9, flexible 6+ {
        group_id: String,                         0+;
        session_timeout_ms: i32,                  0+;
        rebalance_timeout_ms: i32,                1+ ignorable, default -1;
        member_id: String,                        0+;
        group_instance_id: Option<String>,        5+, null 5+;
        protocol_type: String,                    0+;
        protocols: Vec<JoinGroupRequestProtocol>, 0+;
        reason: Option<String>,                   8+ ignorable, null 8+;
    }

    /// A protocol (assignor), with the subscription in its form.
    pub struct JoinGroupRequestProtocol {
        name: String,                  0+;
        metadata: Bytes,               0+;
    }
}

message! {
    /// The new generation; the leader gets the members as well.
    pub struct JoinGroupResponse: versions 0-9, flexible 6+ {
        throttle_time_ms: i32,                 2+ ignorable;
        error_code: ErrorCode,                 0+;
        generation_id: i32,                    0+, default -1;
        protocol_type: Option<String>,         7+ ignorable, null 7+;
        /// Never null before version 7: "" goes with an error.
        protocol_name: Option<String>,         0+, null 7+, default Some(String::new());
        leader: String,                        0+;
        skip_assignment: bool,                 9+;
        member_id: String,                     0+;
        members: Vec<JoinGroupResponseMember>, 0+;
    }

    /// A member, for the leader to assign to.
    pub struct JoinGroupResponseMember {
        member_id: String,                 0+;
        group_instance_id: Option<String>, 5+ ignorable, null 5+;
        metadata: Bytes,                   0+;
    }
}
