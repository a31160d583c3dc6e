//! DescribeConfigs (API 32, v1-4): settings in force, and what made them so. KIP-226 (v1: sources
//! and synonyms), KIP-569 (v3: types and documentation).

use std::collections::HashSet;

use super::config_resources::{Named, source_code};
use crate::catalog::{ConfigRow, ConfigSynonym};
use crate::config::ConfigType;
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::server::dispatch::Cx;
use crate::server::errors::told;

/// What a request wants to know besides the values.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(super) fn handle(cx: &Cx, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let detail =
        Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let mut seen = HashSet::new();
    let mut results = Vec::new();
    for asked in request.resources {
        let named = Named { resource_type: asked.resource_type, name: asked.resource_name };
        // Unlike Kafka: one answer for a resource however often it stands in the request, which
        // bounds what a small request can make us say.
        if seen.insert(named.clone()) {
            results.push(describe(cx, named, asked.configuration_keys.as_deref(), detail));
        }
    }
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

fn describe(
    cx: &Cx,
    named: Named,
    keys: Option<&[String]>,
    detail: Detail,
) -> DescribeConfigsResult {
    let rows = named.resource().and_then(|resource| {
        cx.broker.look_at_catalog(|catalog| catalog.describe_configs(&resource, keys))
    });
    let mut result = DescribeConfigsResult {
        error_code: ErrorCode::None,
        error_message: Some(String::new()), // Kafka's way to say that there is none.
        resource_type: named.resource_type,
        resource_name: named.name,
        ..DescribeConfigsResult::default()
    };
    match rows {
        Ok(rows) => result.configs = rows.into_iter().map(|row| config(row, detail)).collect(),
        Err(error) => {
            let (error_code, message) = told(&error);
            result.error_code = error_code;
            result.error_message = Some(message);
        }
    }
    result
}

fn config(row: ConfigRow, detail: Detail) -> DescribeConfigsResourceResult {
    let synonyms = if detail.synonyms { row.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: row.name.to_owned(),
        value: row.value,
        read_only: row.is_read_only,
        config_source: source_code(row.source),
        is_sensitive: row.is_sensitive,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: type_code(row.kind),
        documentation: detail.documentation.then(|| row.documentation.to_owned()),
    }
}

fn synonym(synonym: ConfigSynonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: synonym.value,
        source: source_code(synonym.source),
    }
}

/// The number of a type; 8 is Kafka's CLASS, of which there are no settings.
fn type_code(kind: ConfigType) -> i8 {
    match kind {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Short => 4,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
        ConfigType::Password => 9,
    }
}
