//! ListGroups (API 16): all groups. KIP-518 (v4): states. KIP-848 (v5): types.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which groups to list; empty filters match all.
    pub struct ListGroupsRequest: versions 0-5, flexible 3+ {
        states_filter: Vec<String>,    4+;
        types_filter: Vec<String>,     5+;
    }
}

message! {
    /// The groups listed.
    pub struct ListGroupsResponse: versions 0-5, flexible 3+ {
        throttle_time_ms: i32,         1+ ignorable;
        error_code: ErrorCode,         0+;
        groups: Vec<ListedGroup>,      0+;
    }

    /// One group.
    pub struct ListedGroup {
        group_id: String,              0+;
        protocol_type: String,         0+;
        group_state: String,           4+ ignorable;
        group_type: String,            5+ ignorable;
    }
}
