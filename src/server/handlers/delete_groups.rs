//! DeleteGroups (API 42, v0-2): removes groups without members, with their offsets (KIP-229).

use super::group_call;
use crate::groups::{Command, Reply};
use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use crate::server::dispatch::Cx;

pub(super) async fn handle(cx: Cx, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let asked = request.groups_names.clone();
    let command = Command::DeleteGroups(request.groups_names);
    let deleted = group_call(&cx, command, |reply| match reply {
        Reply::DeleteGroups(results) => Some(results),
        _ => None,
    });
    let codes: Vec<ErrorCode> = match deleted.await {
        Ok(results) => results
            .into_iter()
            .map(|result| result.map_or_else(|error| (&error).into(), |()| ErrorCode::None))
            .collect(),
        Err(code) => asked.iter().map(|_| code).collect(),
    };
    let results = asked
        .into_iter()
        .zip(codes)
        .map(|(group_id, error_code)| DeletableGroupResult { group_id, error_code })
        .collect();
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
