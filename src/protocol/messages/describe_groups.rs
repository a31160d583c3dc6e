//! DescribeGroups (API 15): state and members of classic groups.
//!
//! KIP-430 (v3): authorized operations. KIP-345 (v4): static members. KIP-1043 (v6): an error
//! message, and error 69 for a group that does not exist.

use bytes::Bytes;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which groups to describe.
    pub struct DescribeGroupsRequest: versions 0-6, flexible 5+ {
        groups: Vec<String>,                 0+;
        include_authorized_operations: bool, 3+;
    }
}

message! {
    /// The groups described.
    pub struct DescribeGroupsResponse: versions 0-6, flexible 5+ {
        throttle_time_ms: i32,         1+ ignorable;
        groups: Vec<DescribedGroup>,   0+;
    }

    /// One group.
    pub struct DescribedGroup {
        error_code: ErrorCode,              0+;
        error_message: Option<String>,      6+, null 6+;
        group_id: String,                   0+;
        group_state: String,                0+;
        protocol_type: String,              0+;
        protocol_data: String,              0+;
        members: Vec<DescribedGroupMember>, 0+;
        authorized_operations: i32,         3+, default i32::MIN;
    }

    /// One member of a group.
    pub struct DescribedGroupMember {
        member_id: String,                 0+;
        group_instance_id: Option<String>, 4+ ignorable, null 4+;
        client_id: String,                 0+;
        client_host: String,               0+;
        member_metadata: Bytes,            0+;
        member_assignment: Bytes,          0+;
    }
}
