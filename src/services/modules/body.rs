//! Events of others, whose fields are read one by one: the reference documents have one topic in two envelopes.

use serde_json::Value;

use crate::services::envelope::headers::{self, TENANT_ID};
use crate::services::error::{Result, permanent};
use crate::services::unit::Input;

/// A field's text; a number counts as one.
pub(super) fn text(body: &Value, field: &str) -> Option<String> {
    match body.get(field)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The same, or nothing: what a record is routed by.
pub(super) fn key(body: &Value, field: &str) -> String {
    text(body, field).unwrap_or_default()
}

/// A field without which there is nothing to do.
///
/// # Errors
/// Permanent `missing-field`.
pub(super) fn needed(body: &Value, field: &str) -> Result<String> {
    text(body, field).ok_or_else(|| permanent("missing-field").because(field))
}

/// The tenant: in the event, in the header, or in the metadata beside it; empty where none of them says.
pub(super) fn tenant(input: &Input) -> String {
    let in_event = text(&input.body, "tenantId");
    let in_header = || headers::text(&input.headers, TENANT_ID).map(str::to_owned);
    let beside = || {
        let whole: Value = serde_json::from_slice(input.value.as_deref()?).ok()?;
        text(whole.get("metadata")?, "tenantId")
    };
    in_event.or_else(in_header).or_else(beside).unwrap_or_default()
}
