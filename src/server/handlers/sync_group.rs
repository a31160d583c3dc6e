//! SyncGroup (API 14, v0-5): the leader brings the assignment, everyone gets their share. KIP-345
//! (v3: static members), KIP-559 (v5: the protocol is named).

use super::group_call;
use crate::groups::{Command, Reply, SyncGroup, SyncProtocol};
use crate::protocol::ErrorCode;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::server::dispatch::Cx;
use crate::types::Generation;

/// The first version that names the protocol.
const PROTOCOL_SINCE: i16 = 5;

pub(super) async fn handle(cx: Cx, request: SyncGroupRequest) -> SyncGroupResponse {
    let assignments = request.assignments.into_iter();
    let command = Command::Sync(SyncGroup {
        group_id: request.group_id,
        generation: Generation(request.generation_id),
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol: (cx.call.version >= PROTOCOL_SINCE).then_some(SyncProtocol {
            protocol_type: request.protocol_type,
            protocol_name: request.protocol_name,
        }),
        assignments: assignments.map(|one| (one.member_id, one.assignment)).collect(),
    });
    let synced = group_call(&cx, command, |reply| match reply {
        Reply::Sync(result) => Some(result),
        _ => None,
    });
    let error_code = match synced.await {
        Ok(Ok(synced)) => {
            return SyncGroupResponse {
                error_code: ErrorCode::None,
                protocol_type: Some(synced.protocol_type),
                protocol_name: Some(synced.protocol_name),
                assignment: synced.assignment,
                ..SyncGroupResponse::default()
            };
        }
        Ok(Err(error)) => (&error).into(),
        Err(code) => code,
    };
    SyncGroupResponse { error_code, ..SyncGroupResponse::default() }
}
