//! InitProducerId (API 22): an id for an idempotent or transactional producer (KIP-98).
//!
//! KIP-360 (v3): bumps the epoch of an id. KIP-890 (v5). KIP-939 (v6): two-phase commit.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who wants an id.
    pub struct InitProducerIdRequest: versions 0-6, flexible 2+ {
        /// Null for an idempotent producer.
        transactional_id: Option<String>, 0+, null 0+;
        transaction_timeout_ms: i32,      0+;
        producer_id: i64,                 3+, default -1;
        producer_epoch: i16,              3+, default -1;
        enable_2pc: bool,                 6+;
        keep_prepared_txn: bool,          6+;
    }
}

message! {
    /// The id and its epoch.
    pub struct InitProducerIdResponse: versions 0-6, flexible 2+ {
        throttle_time_ms: i32,           0+ ignorable;
        error_code: ErrorCode,           0+;
        producer_id: i64,                0+, default -1;
        producer_epoch: i16,             0+;
        ongoing_txn_producer_id: i64,    6+, default -1;
        ongoing_txn_producer_epoch: i16, 6+, default -1;
    }
}
