//! DescribeGroups (API 15, v0-6): state and members of groups. A group that is not there is "Dead"
//! without an error, from v6 on with one (KIP-1043).

use super::group_call;
use crate::groups::{Command, DescribedMember, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::server::dispatch::Cx;

/// The first version in which an unknown group is an error.
const NOT_FOUND_SINCE: i16 = 6;

pub(super) async fn handle(cx: Cx, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let version = cx.call.version;
    let asked = request.groups.clone();
    let described = group_call(&cx, Command::Describe(request.groups), |reply| match reply {
        Reply::Describe(groups) => Some(groups),
        _ => None,
    });
    let groups = match described.await {
        Ok(groups) => groups
            .into_iter()
            .zip(asked)
            .map(|(group, group_id)| match group {
                Some(group) => row(group),
                None => missing(version, group_id),
            })
            .collect(),
        Err(error_code) => asked
            .into_iter()
            .map(|group_id| DescribedGroup { error_code, group_id, ..DescribedGroup::default() })
            .collect(),
    };
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

fn row(group: crate::groups::DescribedGroup) -> DescribedGroup {
    DescribedGroup {
        group_id: group.group_id,
        group_state: group.state.name().to_owned(),
        protocol_type: group.protocol_type,
        protocol_data: group.protocol,
        members: group.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    }
}

fn missing(version: i16, group_id: String) -> DescribedGroup {
    let (error_code, error_message) = if version >= NOT_FOUND_SINCE {
        (ErrorCode::GroupIdNotFound, Some(format!("Group {group_id} not found.")))
    } else {
        (ErrorCode::None, None)
    };
    DescribedGroup {
        error_code,
        error_message,
        group_id,
        group_state: "Dead".to_owned(),
        ..DescribedGroup::default()
    }
}
