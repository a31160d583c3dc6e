//! FindCoordinator (API 10, v0-6): one node coordinates everything: this one. KIP-699 (v4: several
//! keys).

use crate::protocol::ErrorCode;
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::server::dispatch::Cx;

/// The first version with several keys.
const KEYS_SINCE: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn handle(cx: &Cx, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if cx.call.version >= KEYS_SINCE {
        let keys = request.coordinator_keys.into_iter();
        let coordinators = keys.map(|key| coordinator(cx, key, request.key_type)).collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let found = coordinator(cx, request.key, request.key_type);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn coordinator(cx: &Cx, key: String, key_type: i8) -> Coordinator {
    if key_type != GROUP && key_type != TRANSACTION {
        return Coordinator {
            key,
            node_id: -1,
            host: String::new(),
            port: -1,
            error_code: ErrorCode::InvalidRequest,
            error_message: Some(format!("coordinator type {key_type} is not 0 or 1")),
        };
    }
    let endpoint = cx.call.context.own_endpoint();
    Coordinator {
        key,
        node_id: cx.call.context.node_id.0,
        host: endpoint.host,
        port: i32::from(endpoint.port),
        error_code: ErrorCode::None,
        error_message: None,
    }
}
