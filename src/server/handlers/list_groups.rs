//! ListGroups (API 16, v0-5): every group, or those in a state (KIP-518, v4) or of a type (KIP-848,
//! v5).

use super::group_call;
use crate::groups::{Command, ListGroups, Reply};
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::server::dispatch::Cx;

pub(super) async fn handle(cx: Cx, request: ListGroupsRequest) -> ListGroupsResponse {
    let filter = ListGroups { states: request.states_filter, types: request.types_filter };
    let listed = group_call(&cx, Command::List(filter), |reply| match reply {
        Reply::List(groups) => Some(groups),
        _ => None,
    });
    match listed.await {
        Ok(groups) => {
            let groups = groups.into_iter().map(|group| ListedGroup {
                group_id: group.group_id,
                protocol_type: group.protocol_type,
                group_state: group.state.name().to_owned(),
                group_type: "classic".to_owned(),
            });
            ListGroupsResponse { groups: groups.collect(), ..ListGroupsResponse::default() }
        }
        Err(error_code) => ListGroupsResponse { error_code, ..ListGroupsResponse::default() },
    }
}
