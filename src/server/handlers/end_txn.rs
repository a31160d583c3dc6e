//! EndTxn (API 26, v0-5): commits or aborts (KIP-98). From v5 on each end raises the producer's epoch,
//! and the answer carries what it goes on with (KIP-890). The answer leaves when the outcome is on
//! disk; markers follow at once.

use crate::protocol::ErrorCode;
use crate::protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::records::Outcome;
use crate::server::dispatch::Cx;
use crate::server::errors::transaction_code;
use crate::txn::Producer;
use crate::types::{ProducerEpoch, ProducerId, TransactionVersion};

/// The first version that raises the epoch.
const EPOCH_RISES_SINCE: i16 = 5;

pub(super) async fn handle(cx: Cx, request: EndTxnRequest) -> EndTxnResponse {
    let producer = Producer {
        transactional_id: request.transactional_id,
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
    };
    let outcome = if request.committed { Outcome::Commit } else { Outcome::Abort };
    let version = if cx.call.version >= EPOCH_RISES_SINCE {
        TransactionVersion::V2
    } else {
        TransactionVersion::V0
    };
    match cx.broker.end_transaction(&producer, outcome, version).await {
        Ok(next) => EndTxnResponse {
            error_code: ErrorCode::None,
            producer_id: next.producer_id.0,
            producer_epoch: next.producer_epoch.0,
            ..EndTxnResponse::default()
        },
        Err(error) => EndTxnResponse {
            error_code: transaction_code(&error, cx.call.version < 2),
            ..EndTxnResponse::default()
        },
    }
}
