//! EndTxn (API 26): commits or aborts a producer's transaction (KIP-98).
//!
//! KIP-890 (v5): each end raises the epoch, and the answer tells the pair for the next transaction.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Whose transaction, and how it ends.
    pub struct EndTxnRequest: versions 0-5, flexible 3+ {
        transactional_id: String,      0+;
        producer_id: i64,              0+;
        producer_epoch: i16,           0+;
        /// True to commit, false to abort.
        committed: bool,               0+;
    }
}

message! {
    /// Whether the end is decided.
    pub struct EndTxnResponse: versions 0-5, flexible 3+ {
        throttle_time_ms: i32,         0+;
        error_code: ErrorCode,         0+;
        producer_id: i64,              5+ ignorable, default -1;
        producer_epoch: i16,           5+ ignorable, default -1;
    }
}
