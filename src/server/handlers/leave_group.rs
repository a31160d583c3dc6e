//! LeaveGroup (API 13, v0-5): one member leaves (v0-2), or several are made to (v3+, KIP-345).

use super::group_call;
use crate::groups::{Command, LeaveGroup, Leaving, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberResponse,
};
use crate::server::dispatch::Cx;

/// The first version with several members, each with its own code.
const MEMBERS_SINCE: i16 = 3;

pub(super) async fn handle(cx: Cx, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let several = cx.call.version >= MEMBERS_SINCE;
    let members: Vec<Leaving> = if several {
        let members = request.members.into_iter();
        members
            .map(|member| Leaving {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
            })
            .collect()
    } else {
        vec![Leaving { member_id: request.member_id, group_instance_id: None }]
    };
    let named = members.clone();
    let command = Command::Leave(LeaveGroup { group_id: request.group_id, members });
    let left = group_call(&cx, command, |reply| match reply {
        Reply::Leave(result) => Some(result),
        _ => None,
    });
    let codes = match left.await {
        Ok(Ok(results)) => results
            .into_iter()
            .map(|result| result.map_or_else(|error| (&error).into(), |()| ErrorCode::None)),
        Ok(Err(error)) => return failed((&error).into()),
        Err(code) => return failed(code),
    };
    if !several {
        let mut codes = codes;
        return failed(codes.next().unwrap_or_default());
    }
    let members = named.into_iter().zip(codes).map(|(member, error_code)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code,
    });
    LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() }
}

fn failed(error_code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
}
