//! AlterConfigs (API 33, v0-2): replaces all settings of a resource; what is not named goes back to
//! what is inherited (KIP-133).

use super::config_resources::{Altered, Named, altered};
use crate::broker::Apply;
use crate::protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use crate::server::dispatch::Cx;

pub(super) async fn handle(cx: Cx, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut asked = Vec::with_capacity(request.resources.len());
    let mut wanted = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let named = Named { resource_type: resource.resource_type, name: resource.resource_name };
        let parsed = named.alterable();
        if let Ok(parsed) = &parsed {
            let configs = resource.configs.into_iter();
            let configs = configs.map(|config| (config.name, config.value)).collect();
            wanted.push((parsed.clone(), configs));
        }
        asked.push((named, parsed));
    }
    let apply = Apply::when(!request.validate_only);
    let outcomes = cx.broker.replace_configs(wanted, apply).await;
    let responses = altered(asked, outcomes).into_iter().map(row).collect();
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }
}

fn row(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.named.resource_type,
        resource_name: altered.named.name,
    }
}
