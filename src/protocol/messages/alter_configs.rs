//! AlterConfigs (API 33): replaces all configs of a resource (KIP-133).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Configs to set; those not named return to their defaults.
    pub struct AlterConfigsRequest: versions 0-2, flexible 2+ {
        resources: Vec<AlterConfigsResource>, 0+;
        validate_only: bool,                  0+;
    }

    /// All configs of one resource.
    pub struct AlterConfigsResource {
        resource_type: i8,             0+;
        resource_name: String,         0+;
        configs: Vec<AlterableConfig>, 0+;
    }

    /// One config.
    pub struct AlterableConfig {
        name: String,                  0+;
        value: Option<String>,         0+, null 0+;
    }
}

message! {
    /// What became of each resource.
    pub struct AlterConfigsResponse: versions 0-2, flexible 2+ {
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
