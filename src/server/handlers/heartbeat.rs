//! Heartbeat (API 12, v0-4): keeps a classic group member alive. KIP-345 (v3): instance id of static
//! members.

use super::group_call;
use crate::groups::{Command, Heartbeat, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::server::dispatch::Cx;
use crate::types::Generation;

pub(super) async fn handle(cx: Cx, request: HeartbeatRequest) -> HeartbeatResponse {
    let command = Command::Heartbeat(Heartbeat {
        group_id: request.group_id,
        generation: Generation(request.generation_id),
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
    });
    let alive = group_call(&cx, command, |reply| match reply {
        Reply::Heartbeat(result) => Some(result),
        _ => None,
    });
    let error_code = match alive.await {
        Ok(Ok(())) => ErrorCode::None,
        Ok(Err(error)) => (&error).into(),
        Err(code) => code,
    };
    HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
}
