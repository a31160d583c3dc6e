//! ApiVersions (API 18): which APIs and versions are served.
//!
//! The response header has version 0 in every version, so that a client too new for the broker can
//! read the answer. KIP-511 (v3): the client's name and version. KIP-584 (v3): features. Version 4
//! allows a feature with minimum 0.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Asks what is served.
    pub struct ApiVersionsRequest: versions 0-4, flexible 3+ {
        client_software_name: String,    3+ ignorable;
        client_software_version: String, 3+ ignorable;
    }
}

message! {
    /// What is served.
    pub struct ApiVersionsResponse: versions 0-4, flexible 3+ {
        error_code: ErrorCode,                        0+;
        api_keys: Vec<ApiVersion>,                    0+;
        throttle_time_ms: i32,                        1+ ignorable;
        supported_features: Vec<SupportedFeatureKey>, 3+ ignorable, tag 0;
        finalized_features_epoch: i64,                3+ ignorable, tag 1, default -1;
        finalized_features: Vec<FinalizedFeatureKey>, 3+ ignorable, tag 2;
        zk_migration_ready: bool,                     3+ ignorable, tag 3;
    }

    /// One API and its versions.
    pub struct ApiVersion {
        api_key: i16,                  0+;
        min_version: i16,              0+;
        max_version: i16,              0+;
    }

    /// A feature this broker knows.
    pub struct SupportedFeatureKey {
        name: String,                  3+;
        min_version: i16,              3+;
        max_version: i16,              3+;
    }

    /// A feature the cluster has switched on.
    pub struct FinalizedFeatureKey {
        name: String,                  3+;
        max_version_level: i16,        3+;
        min_version_level: i16,        3+;
    }
}
