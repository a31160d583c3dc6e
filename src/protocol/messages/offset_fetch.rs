//! OffsetFetch (API 9): the committed offsets of one group, or from v8 on of several (KIP-709).
//!
//! KIP-447 (v7): offsets that no open transaction may change. KIP-848 (v9): member epochs. KIP-516
//! (v10): topics by id.

use uuid::Uuid;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Whose offsets to tell: one group up to version 7, then `groups`.
    pub struct OffsetFetchRequest: versions 1-10, flexible 6+ {
        group_id: String,                             0-7;
        /// Null asks for all topics of the group.
        topics: Option<Vec<OffsetFetchRequestTopic>>, 0-7, null 2-7, default Some(vec![]);
        groups: Vec<OffsetFetchRequestGroup>,         8+;
        require_stable: bool,                         7+;
    }

    /// One topic asked about, up to version 7.
    pub struct OffsetFetchRequestTopic {
        name: String,                  0-7;
        partition_indexes: Vec<i32>,   0-7;
    }

    /// One group asked about, from version 8 on.
    pub struct OffsetFetchRequestGroup {
        group_id: String,                              8+;
        member_id: Option<String>,                     9+ ignorable, null 9+;
        member_epoch: i32,                             9+ ignorable, default -1;
        /// Null asks for all topics of the group.
        topics: Option<Vec<OffsetFetchRequestTopics>>, 8+, null 8+, default Some(vec![]);
    }

    /// One topic of a group: by name up to version 9, then by id.
    pub struct OffsetFetchRequestTopics {
        name: String,                  8-9 ignorable;
        topic_id: Uuid,                10+ ignorable;
        partition_indexes: Vec<i32>,   8+;
    }
}

message! {
    /// Committed offsets: of one group up to version 7, then `groups`.
    pub struct OffsetFetchResponse: versions 1-10, flexible 6+ {
        throttle_time_ms: i32,                 3+ ignorable;
        topics: Vec<OffsetFetchResponseTopic>, 0-7;
        error_code: ErrorCode,                 2-7 ignorable;
        groups: Vec<OffsetFetchResponseGroup>, 8+;
    }

    /// One topic of the answer, up to version 7.
    pub struct OffsetFetchResponseTopic {
        name: String,                                  0-7;
        partitions: Vec<OffsetFetchResponsePartition>, 0-7;
    }

    /// One partition's offset, -1 if there is none, up to version 7.
    pub struct OffsetFetchResponsePartition {
        partition_index: i32,          0-7;
        committed_offset: i64,         0-7;
        committed_leader_epoch: i32,   5-7 ignorable, default -1;
        metadata: Option<String>,      0-7, null 0-7, default Some(String::new());
        error_code: ErrorCode,         0-7;
    }

    /// One group of the answer, from version 8 on.
    pub struct OffsetFetchResponseGroup {
        group_id: String,                       8+;
        topics: Vec<OffsetFetchResponseTopics>, 8+;
        error_code: ErrorCode,                  8+;
    }

    /// One topic of a group's answer.
    pub struct OffsetFetchResponseTopics {
        name: String,                                   8-9 ignorable;
        topic_id: Uuid,                                 10+ ignorable;
        partitions: Vec<OffsetFetchResponsePartitions>, 8+;
    }

    /// One partition's offset, -1 if there is none.
    pub struct OffsetFetchResponsePartitions {
        partition_index: i32,          8+;
        committed_offset: i64,         8+;
        committed_leader_epoch: i32,   8+ ignorable, default -1;
        metadata: Option<String>,      8+, null 8+, default Some(String::new());
        error_code: ErrorCode,         8+;
    }
}
