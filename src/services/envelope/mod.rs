//! How events lie in records: CloudEvents' headers, and the five envelopes of the reference documents around
//! the event itself. Each is read and written without code of the user's.
//!
//! | name | value |
//! | --- | --- |
//! | `cloudevents` | the event; what is about it is in headers `ce_...` alone. Read in structured mode too: `{specversion, id, source, type, data}` |
//! | `flat` | `{eventType, eventId, timestamp}`, `sagaId` within a saga, and the event's fields beside them; or the name in the header `event-type` |
//! | `payload` | `{eventId, eventType, timestamp, version, source, payload}` |
//! | `command` | `{command, payload, saga_id, correlation_id, source_service, timestamp}` |
//! | `domain` | `{event_type, aggregate_id, aggregate_type, event_data, event_version, occurred_at}` |
//! | `data` | `{type, data, metadata}` |
//!
//! **Written** is always both: the envelope, and the headers [`headers`] lists, so that whoever knows CloudEvents
//! or W3C Trace Context reads any of them.
//!
//! **Read** is the envelope that was expected if the value has its shape, else the one that is recognised: tested
//! are, in this order, structured CloudEvents (`specversion`), `command` (`command` with `payload` or `saga_id`),
//! `domain` (`event_type` with `event_data` or `aggregate_id`), `payload` (`eventType` with `payload`), `data`
//! (`type` with `data`), `flat` (`eventId`, `eventType` or `sagaId`, or the header `event-type`); the first that fits
//! is it. Where the headers are a CloudEvent's, the value is an envelope only if it has the name that `ce_type` has:
//! else what looks like one is the event. Who expects `cloudevents` or `flat` is also given values that are no
//! envelope at all: they are the event.
//!
//! **What is missing** is filled in: the id is `TOPIC-PARTITION@OFFSET`, the time the record's, the correlation id
//! the event's own id. Headers win over what the value says, `ottla-event-id` over `ce_id`. Ids are opaque text.
//! A header that is no UTF-8, or empty, counts as missing; of several with one name the last counts.

pub mod headers;
mod read;
pub mod time;
pub mod trace;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::read::{EnvelopeError, read};
pub use self::write::write;
use super::event::Envelope;
use crate::types::Timestamp;

/// The largest value that is read as JSON, in bytes; larger bodies belong elsewhere, with a reference in the event.
pub const VALUE_BYTES_MAX: usize = 8 << 20;

/// The most elements that a value may have: what they take in memory is many times what they take in a record.
pub const ELEMENTS_MAX: usize = 250_000;

/// An event, out of its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Its name; empty where the record does not say.
    pub name: Arc<str>,
    /// Its id.
    pub event_id: Arc<str>,
    /// What it belongs to as a whole.
    pub correlation_id: Arc<str>,
    /// The event that it follows from, if it says.
    pub causation_id: Option<Arc<str>>,
    /// The saga that it belongs to, if any.
    pub saga_id: Option<Arc<str>>,
    /// W3C traceparent, if it came with a valid one.
    pub traceparent: Option<Arc<str>>,
    /// When it happened.
    pub time: Timestamp,
    /// The event itself. Of `flat` it is the whole value, with what is about it.
    pub body: serde_json::Value,
    /// The envelope that it was in.
    pub envelope: Envelope,
}

/// What is said about an event beside the event itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its id. A `flat` event with an `eventId` of its own keeps that one.
    pub event_id: Arc<str>,
    /// What it belongs to as a whole.
    pub correlation_id: Arc<str>,
    /// The event that it follows from.
    pub causation_id: Option<Arc<str>>,
    /// Who emits it: the service.
    pub source: Arc<str>,
    /// When it happened.
    pub time: Timestamp,
    /// The saga that it belongs to.
    pub saga_id: Option<Arc<str>>,
    /// The traceparent of what it follows from; the event's own is a child of it, or begins a trace.
    pub traceparent: Option<Arc<str>>,
}

impl Envelope {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::CloudEvents, Self::Flat, Self::Payload, Self::Command, Self::Domain, Self::Data];

    /// As flags and derives have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudEvents => "cloudevents",
            Self::Flat => "flat",
            Self::Payload => "payload",
            Self::Command => "command",
            Self::Domain => "domain",
            Self::Data => "data",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|envelope| envelope.name() == name)
    }
}
