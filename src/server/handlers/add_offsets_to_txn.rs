//! AddOffsetsToTxn (API 25, v0-4): a group's offsets become part of a producer's transaction (KIP-98).

use crate::protocol::ErrorCode;
use crate::protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use crate::server::dispatch::Cx;
use crate::server::errors::transaction_code;
use crate::txn::Producer;
use crate::types::{ProducerEpoch, ProducerId, TransactionVersion};

pub(super) async fn handle(cx: Cx, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let producer = Producer {
        transactional_id: request.transactional_id,
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
    };
    let added = cx.broker.add_offsets_to_transaction(&producer, TransactionVersion::V0).await;
    let error_code = match added {
        Ok(()) => ErrorCode::None,
        Err(error) => transaction_code(&error, cx.call.version < 2),
    };
    AddOffsetsToTxnResponse { error_code, ..AddOffsetsToTxnResponse::default() }
}
