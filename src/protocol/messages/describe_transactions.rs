//! DescribeTransactions (API 65): what the coordinator knows of transactional ids (KIP-664).

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The ids asked about.
    pub struct DescribeTransactionsRequest: versions 0-0, flexible 0+ {
        transactional_ids: Vec<String>, 0+;
    }
}

message! {
    /// What is known of each.
    pub struct DescribeTransactionsResponse: versions 0-0, flexible 0+ {
        throttle_time_ms: i32,                     0+;
        transaction_states: Vec<TransactionState>, 0+;
    }

    /// One id, and the partitions of its open transaction.
    pub struct TransactionState {
        error_code: ErrorCode,          0+;
        transactional_id: String,       0+;
        transaction_state: String,      0+;
        transaction_timeout_ms: i32,    0+;
        transaction_start_time_ms: i64, 0+;
        producer_id: i64,               0+;
        producer_epoch: i16,            0+;
        topics: Vec<TopicData>,         0+;
    }

    /// The partitions of one topic.
    pub struct TopicData {
        topic: String,                 0+;
        partitions: Vec<i32>,          0+;
    }
}
