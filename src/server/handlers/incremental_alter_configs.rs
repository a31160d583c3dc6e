//! IncrementalAlterConfigs (API 44, v0-1): changes single settings of a resource, all of them or
//! none (KIP-339).

use super::config_resources::{Altered, Named, altered};
use crate::broker::Apply;
use crate::catalog::{CatalogError, ConfigChange, ConfigOperation};
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use crate::server::dispatch::Cx;

pub(super) async fn handle(
    cx: Cx,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut asked = Vec::with_capacity(request.resources.len());
    let mut wanted = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let named = Named { resource_type: resource.resource_type, name: resource.resource_name };
        let changes = resource.configs.into_iter().map(change).collect::<Result<Vec<_>, _>>();
        let parsed = named.alterable().and_then(|parsed| {
            // Changes that make no sense count as none, but the resource counts: that it stands
            // twice is an error of its own.
            wanted.push((parsed.clone(), changes.clone().unwrap_or_default()));
            changes.map(|_| parsed)
        });
        asked.push((named, parsed));
    }
    let apply = Apply::when(!request.validate_only);
    let outcomes = cx.broker.alter_configs(wanted, apply).await;
    let responses = altered(asked, outcomes).into_iter().map(row).collect();
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

/// Unlike Kafka, whose controller steps down over it: an unknown operation is an invalid request.
fn change(config: AlterableConfig) -> Result<ConfigChange, CatalogError> {
    let operation = match config.config_operation {
        0 => ConfigOperation::Set,
        1 => ConfigOperation::Delete,
        2 => ConfigOperation::Append,
        3 => ConfigOperation::Subtract,
        other => {
            return Err(CatalogError::InvalidRequest(format!(
                "operation {other} on {:?} is not 0 (set), 1 (delete), 2 (append) or 3 (subtract)",
                config.name
            )));
        }
    };
    Ok(ConfigChange { name: config.name, operation, value: config.value })
}

fn row(altered: Altered) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: altered.error_code,
        error_message: altered.error_message,
        resource_type: altered.named.resource_type,
        resource_name: altered.named.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_operation_is_an_invalid_request() {
        let asked = |config_operation| {
            change(AlterableConfig { config_operation, ..AlterableConfig::default() })
        };
        assert_eq!(asked(3).map(|it| it.operation), Ok(ConfigOperation::Subtract));
        assert!(matches!(asked(9), Err(CatalogError::InvalidRequest(_))));
    }
}
