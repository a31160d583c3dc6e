//! AddOffsetsToTxn (API 25): makes a group's offsets part of a producer's transaction (KIP-98).
//!
//! KIP-890 (v4): error 120.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Whose transaction, and which group's offsets.
    pub struct AddOffsetsToTxnRequest: versions 0-4, flexible 3+ {
        transactional_id: String,      0+;
        producer_id: i64,              0+;
        producer_epoch: i16,           0+;
        group_id: String,              0+;
    }
}

message! {
    /// Whether they are part of it.
    pub struct AddOffsetsToTxnResponse: versions 0-4, flexible 3+ {
        throttle_time_ms: i32,         0+;
        error_code: ErrorCode,         0+;
    }
}
