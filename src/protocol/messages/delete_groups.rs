//! DeleteGroups (API 42): removes empty groups (KIP-229).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Groups to delete.
    pub struct DeleteGroupsRequest: versions 0-2, flexible 2+ {
        groups_names: Vec<String>,     0+;
    }
}

message! {
    /// What became of each group.
    pub struct DeleteGroupsResponse: versions 0-2, flexible 2+ {
        throttle_time_ms: i32,              0+;
        results: Vec<DeletableGroupResult>, 0+;
    }

    /// What became of one group.
    pub struct DeletableGroupResult {
        group_id: String,              0+;
        error_code: ErrorCode,         0+;
    }
}
