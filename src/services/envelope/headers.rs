//! Names of the headers that services write and read, and how one is looked up.

use bytes::Bytes;

use crate::client::cluster::Headers;

/// CloudEvents: the event's id.
pub const CE_ID: &str = "ce_id";
/// CloudEvents: the event's name.
pub const CE_TYPE: &str = "ce_type";
/// CloudEvents: who emitted it.
pub const CE_SOURCE: &str = "ce_source";
/// CloudEvents: when it happened, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// CloudEvents: `1.0`.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// What the value is.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// The event's name, as the first of the reference documents has it.
pub const EVENT_TYPE: &str = "event-type";
/// The tenant, there too.
pub const TENANT_ID: &str = "tenant-id";
/// The time, there too: ms since 1970.
pub const TIMESTAMP: &str = "timestamp";
/// The id that an event keeps wherever its record is copied to.
pub const EVENT_ID: &str = "ottla-event-id";
/// Where a copy's record lay at first: `TOPIC/PARTITION/OFFSET`.
pub const ORIGIN: &str = "ottla-origin";
/// The key there, of a copy that is routed by another.
pub const ORIGIN_KEY: &str = "ottla-origin-key";
/// How often a record has been redriven.
pub const REDRIVE: &str = "ottla-redrive";
/// On a record of the retry topic: its dead letter is given up.
pub const DISCARD: &str = "ottla-discard";
/// On a record of the retry topic: the dead letter that it decides about, `PARTITION@OFFSET`.
pub const DLQ_ENTRY: &str = "ottla-dlq-entry";
/// Which replay a record was sent again by: its like of another replay is no duplicate.
pub const REPLAY: &str = "ottla-replay";
/// On a record that is sent again: it is handled without doing anything outside.
pub const NO_EFFECTS: &str = "ottla-no-effects";
/// What the event belongs to as a whole.
pub const CORRELATION_ID: &str = "ottla-correlation-id";
/// The event that it follows from.
pub const CAUSATION_ID: &str = "ottla-causation-id";
/// The saga that it belongs to.
pub const SAGA_ID: &str = "ottla-saga-id";
/// The saga's step that a command is of.
pub const STEP: &str = "ottla-step";

/// The text of a header: of the last with this name; none where it is null, empty or no UTF-8.
pub fn text<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().rev().find(|(key, _)| key == name)?;
    std::str::from_utf8(value.as_ref()?).ok().filter(|text| !text.is_empty())
}

/// Adds a header, unless there is one of this name.
pub fn add(headers: &mut Headers, name: &str, value: &str) {
    if !headers.iter().any(|(key, _)| key == name) {
        headers.push((name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))));
    }
}

/// Sets a header, in place of all of this name.
pub fn set(headers: &mut Headers, name: &str, value: &str) {
    headers.retain(|(key, _)| key != name);
    add(headers, name, value);
}
