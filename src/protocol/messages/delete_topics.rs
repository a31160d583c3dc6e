//! DeleteTopics (API 20): by name, or from v6 on by name or id (KIP-516).

use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Topics to delete: `topic_names` up to version 5, then `topics`.
    pub struct DeleteTopicsRequest: versions 0-6, flexible 4+ {
        topics: Vec<DeleteTopicState>, 6+;
        topic_names: Vec<String>,      0-5 ignorable;
        timeout_ms: i32,               0+;
    }

    /// One topic, by name or by id.
    pub struct DeleteTopicState {
        name: Option<String>,          6+, null 6+;
        topic_id: Uuid,                6+;
    }
}

message! {
    /// What became of each topic.
    pub struct DeleteTopicsResponse: versions 0-6, flexible 4+ {
        throttle_time_ms: i32,                1+ ignorable;
        responses: Vec<DeletableTopicResult>, 0+;
    }

    /// What became of one topic.
    pub struct DeletableTopicResult {
        name: Option<String>,          0+, null 6+, default Some(String::new());
        topic_id: Uuid,                6+ ignorable;
        error_code: ErrorCode,         0+;
        error_message: Option<String>, 5+ ignorable, null 5+;
    }
}
