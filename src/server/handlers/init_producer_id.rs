//! InitProducerId (API 22, v0-5): a new producer id (KIP-98). Transactional ids are answered with
//! UNSUPPORTED_VERSION: there are no transactions yet. Without one the pair that a client sends is
//! ignored, as Kafka does.

use crate::protocol::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::server::dispatch::Cx;

pub(super) async fn handle(cx: Cx, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let error_code = match request.transactional_id.as_deref() {
        Some("") => ErrorCode::InvalidRequest,
        Some(_) => ErrorCode::UnsupportedVersion,
        None => match cx.broker.new_producer_id().await {
            Ok(producer_id) => {
                let producer_id = producer_id.0;
                return InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() };
            }
            Err(error) => (&error).into(),
        },
    };
    InitProducerIdResponse { error_code, producer_epoch: -1, ..InitProducerIdResponse::default() }
}
