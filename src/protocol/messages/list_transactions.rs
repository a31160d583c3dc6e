//! ListTransactions (API 66): all transactional ids (KIP-664). KIP-994 (v1): by duration. KIP-1152
//! (v2): by a pattern of ids.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Which ids to list; empty filters match all.
    pub struct ListTransactionsRequest: versions 0-2, flexible 0+ {
        state_filters: Vec<String>,               0+;
        producer_id_filters: Vec<i64>,            0+;
        /// Only transactions that run for longer than this many ms; -1 for all.
        duration_filter: i64,                     1+, default -1;
        transactional_id_pattern: Option<String>, 2+, null 2+;
    }
}

message! {
    /// The ids listed, and the names among the filters that are no state's.
    pub struct ListTransactionsResponse: versions 0-2, flexible 0+ {
        throttle_time_ms: i32,                     0+;
        error_code: ErrorCode,                     0+;
        unknown_state_filters: Vec<String>,        0+;
        transaction_states: Vec<TransactionState>, 0+;
    }

    /// One id.
    pub struct TransactionState {
        transactional_id: String,      0+;
        producer_id: i64,              0+;
        transaction_state: String,     0+;
    }
}
