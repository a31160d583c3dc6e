//! DescribeConfigs (API 32): configs of topics, brokers and groups.
//!
//! KIP-226 (v1): sources and synonyms. KIP-569 (v3): types and documentation.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Whose configs to tell.
    pub struct DescribeConfigsRequest: versions 1-4, flexible 4+ {
        resources: Vec<DescribeConfigsResource>, 0+;
        include_synonyms: bool,                  1+;
        include_documentation: bool,             3+;
    }

    /// A topic, broker or group, and which of its configs.
    pub struct DescribeConfigsResource {
        /// 2: topic, 4: broker, 8: broker logger, 16: client metrics, 32: group.
        resource_type: i8,                       0+;
        resource_name: String,                   0+;
        /// Null asks for all configs.
        configuration_keys: Option<Vec<String>>, 0+, null 0+;
    }
}

message! {
    /// The configs.
    pub struct DescribeConfigsResponse: versions 1-4, flexible 4+ {
        throttle_time_ms: i32,               0+;
        results: Vec<DescribeConfigsResult>, 0+;
    }

    /// The configs of one resource.
    pub struct DescribeConfigsResult {
        error_code: ErrorCode,                       0+;
        error_message: Option<String>,               0+, null 0+;
        resource_type: i8,                           0+;
        resource_name: String,                       0+;
        configs: Vec<DescribeConfigsResourceResult>, 0+;
    }

    /// One config and where its value comes from.
    pub struct DescribeConfigsResourceResult {
        name: String,                          0+;
        value: Option<String>,                 0+, null 0+;
        read_only: bool,                       0+;
        config_source: i8,                     1+ ignorable, default -1;
        is_sensitive: bool,                    0+;
        synonyms: Vec<DescribeConfigsSynonym>, 1+ ignorable;
        config_type: i8,                       3+ ignorable;
        documentation: Option<String>,         3+ ignorable, null 0+;
    }

    /// A place that the value may come from, in the order they count.
    pub struct DescribeConfigsSynonym {
        name: String,                  1+;
        value: Option<String>,         1+, null 0+;
        source: i8,                    1+;
    }
}
