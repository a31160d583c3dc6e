//! JoinGroup (API 11, v0-9): a member wants in. KIP-394 (v4: member ids are given first), KIP-345
//! (v5: static members), KIP-814 (v9: an assignment may be skipped).

use super::group_call;
use crate::groups::{Command, JoinGroup, Joined, Protocol, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use crate::server::dispatch::Cx;

/// The first version in which a new member is told its id and joins again.
const MEMBER_ID_FIRST_SINCE: i16 = 4;
/// The first version whose errors carry a null protocol.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// The first version that knows skip_assignment.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

pub(super) async fn handle(cx: Cx, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = cx.call.version;
    let asked = request.member_id.clone();
    let command = Command::Join(JoinGroup {
        group_id: request.group_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        client_id: cx.call.client_id.clone(),
        client_host: format!("/{}", cx.call.context.peer.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| Protocol { name: protocol.name, metadata: protocol.metadata })
            .collect(),
        requires_member_id: version >= MEMBER_ID_FIRST_SINCE,
        supports_skip_assignment: version >= SKIP_ASSIGNMENT_SINCE,
        fresh_id: cx.broker.ids.uuid(),
    });
    let joined = group_call(&cx, command, |reply| match reply {
        Reply::Join(result) => Some(result),
        _ => None,
    });
    match joined.await {
        Ok(Ok(joined)) => accepted(joined),
        Ok(Err(error)) => {
            let member_id = match &error {
                crate::groups::GroupError::MemberIdRequired(id) => id.clone(),
                _ => asked,
            };
            refused(version, member_id, (&error).into())
        }
        Err(code) => refused(version, asked, code),
    }
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        error_code: ErrorCode::None,
        generation_id: joined.generation.0,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol_name),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(version: i16, member_id: String, error_code: ErrorCode) -> JoinGroupResponse {
    let protocol_name = (version < NULL_PROTOCOL_SINCE).then(String::new);
    JoinGroupResponse { error_code, protocol_name, member_id, ..JoinGroupResponse::default() }
}
