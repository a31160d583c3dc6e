//! CloudEvents in binary mode, read and written.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::event::Envelope;
use super::reply::header;
use super::unit::Emission;
use crate::client::cluster::{Headers, Stored, ToSend};
use crate::types::Timestamp;

/// Why a record is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvelopeError {
    /// The value is no JSON.
    #[error("the value is no JSON: {0}")]
    NotJson(String),
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) name: Arc<str>,
    pub(super) event_id: Arc<str>,
    pub(super) correlation_id: Arc<str>,
    pub(super) saga_id: Option<Arc<str>>,
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) body: Value,
    pub(super) envelope: Envelope,
}

/// What is said about an event beside the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) event_id: Arc<str>,
    pub(super) correlation_id: Arc<str>,
    pub(super) causation_id: Option<Arc<str>>,
    pub(super) source: Arc<str>,
    pub(super) time: Timestamp,
    pub(super) saga_id: Option<Arc<str>>,
    pub(super) traceparent: Option<Arc<str>>,
}

pub(super) fn read(stored: &Stored, _expected: Option<Envelope>) -> Result<Read, EnvelopeError> {
    let value = stored.value.as_deref().unwrap_or(b"null");
    let body =
        serde_json::from_slice(value).map_err(|error| EnvelopeError::NotJson(error.to_string()))?;
    let text = |name: &str| header(&stored.headers, name).map(Into::<Arc<str>>::into);
    let own = || format!("{}@{}", stored.at, stored.offset).into();
    let event_id = text("ottla-event-id").or_else(|| text("ce_id")).unwrap_or_else(own);
    Ok(Read {
        name: text("ce_type").unwrap_or_default(),
        correlation_id: text("ce_correlationid").unwrap_or_else(|| Arc::clone(&event_id)),
        event_id,
        saga_id: text("ottla-saga-id"),
        traceparent: text("traceparent"),
        body,
        envelope: Envelope::CloudEvents,
    })
}

pub(super) fn write(emission: &Emission, about: &About) -> ToSend {
    let mut headers: Headers = Vec::new();
    let mut put = |name: &str, value: &str| {
        headers.push((name.to_owned(), Some(Bytes::from(value.to_owned()))));
    };
    put("ce_id", &about.event_id);
    put("ce_type", &emission.name);
    put("ce_source", &about.source);
    put("ce_correlationid", &about.correlation_id);
    put("ce_causationid", about.causation_id.as_deref().unwrap_or_default());
    if let Some(traceparent) = &about.traceparent {
        put("traceparent", traceparent);
    }
    if let Some(saga) = &about.saga_id {
        put("ottla-saga-id", saga);
    }
    headers.extend(emission.headers.iter().cloned());
    ToSend {
        topic: emission.topic.clone(),
        partition: None,
        key: Some(emission.key.clone().into()),
        value: serde_json::to_vec(&emission.body).ok().map(Bytes::from),
        headers,
        timestamp: Some(about.time),
    }
}
