//! InitProducerId (API 22, v0-5): a new producer id (KIP-98), or that of a transactional id, whose
//! former producer is fenced. KIP-360 (v3): a producer goes on with its own after an error. Without a
//! transactional id the pair that a client sends is ignored, as Kafka does.

use crate::protocol::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::server::dispatch::Cx;
use crate::server::errors::transaction_code;
use crate::txn::InitProducerId;
use crate::types::{ProducerEpoch, ProducerId};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

pub(super) async fn handle(cx: Cx, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let Some(transactional_id) = request.transactional_id else {
        return match cx.broker.new_producer_id().await {
            Ok(id) => answer(id, ProducerEpoch(0)),
            Err(error) => refused((&error).into()),
        };
    };
    let init = InitProducerId {
        transactional_id,
        timeout_ms: request.transaction_timeout_ms,
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
    };
    match cx.broker.init_transactional_producer(init).await {
        Ok(producer) => answer(producer.producer_id, producer.producer_epoch),
        Err(error) => refused(transaction_code(&error, cx.call.version < FENCED_SINCE)),
    }
}

fn answer(producer_id: ProducerId, producer_epoch: ProducerEpoch) -> InitProducerIdResponse {
    InitProducerIdResponse {
        producer_id: producer_id.0,
        producer_epoch: producer_epoch.0,
        ..InitProducerIdResponse::default()
    }
}

fn refused(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code, producer_epoch: -1, ..InitProducerIdResponse::default() }
}
