//! IncrementalAlterConfigs (API 44): changes single configs of a resource (KIP-339).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Configs to change; those not named stay.
    pub struct IncrementalAlterConfigsRequest: versions 0-1, flexible 1+ {
        resources: Vec<AlterConfigsResource>, 0+;
        validate_only: bool,                  0+;
    }

    /// The changes to one resource.
    pub struct AlterConfigsResource {
        resource_type: i8,             0+;
        resource_name: String,         0+;
        configs: Vec<AlterableConfig>, 0+;
    }

    /// One change.
    pub struct AlterableConfig {
        name: String,                  0+;
        /// 0: set, 1: delete, 2: append, 3: subtract.
        config_operation: i8,          0+;
        value: Option<String>,         0+, null 0+;
    }
}

message! {
    /// What became of each resource.
    pub struct IncrementalAlterConfigsResponse: versions 0-1, flexible 1+ {
        throttle_time_ms: i32,                        0+;
        responses: Vec<AlterConfigsResourceResponse>, 0+;
    }

    /// What became of one resource.
    pub struct AlterConfigsResourceResponse {
        error_code: ErrorCode,         0+;
        error_message: Option<String>, 0+, null 0+;
        resource_type: i8,             0+;
        resource_name: String,         0+;
    }
}
