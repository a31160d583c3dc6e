//! Reading: from a record to the event and what is about it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{ELEMENTS_MAX, Read, VALUE_BYTES_MAX, headers, time, trace};
use crate::client::cluster::{Headers, Stored};
use crate::services::error::{ServiceError, permanent};
use crate::services::event::Envelope;

/// Keys of a value that a message names.
const KEYS_NAMED: usize = 5;

/// Letters of a key that a message names.
const KEY_LETTERS: usize = 40;

/// Why a record is no event. It will not get better by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The value is null.
    #[error("the record has no value")]
    NoValue,
    /// The value is over [`VALUE_BYTES_MAX`].
    #[error("value of {bytes} bytes is over the {VALUE_BYTES_MAX} that are read as an event")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The value has more than [`ELEMENTS_MAX`] elements.
    #[error("value has more than {ELEMENTS_MAX} elements")]
    TooManyElements,
    /// The value is as serializers of a schema registry write it.
    #[error("value is in a schema registry's format (schema id {schema_id}), not JSON")]
    Framed {
        /// The schema's id.
        schema_id: u32,
    },
    /// The value is no JSON, or nested too deeply.
    #[error("value is no JSON at byte {at}: {message}")]
    NotJson {
        /// The first byte that does not fit.
        at: usize,
        /// What is wrong with it.
        message: String,
    },
    /// None of the envelopes fits.
    #[error(
        "unknown envelope, {found}: known are cloudevents (headers ce_id and ce_type), flat (eventId or \
         eventType), payload (eventType, payload), command (command, payload), domain (event_type, event_data) and \
         data (type, data)"
    )]
    Unknown {
        /// What the value is.
        found: String,
    },
}

impl EnvelopeError {
    /// In a word, as dead letters are grouped by it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoValue => "no-value",
            Self::TooLarge { .. } | Self::TooManyElements => "too-large",
            Self::Framed { .. } | Self::NotJson { .. } => "bad-json",
            Self::Unknown { .. } => "unknown-envelope",
        }
    }
}

impl From<EnvelopeError> for ServiceError {
    fn from(error: EnvelopeError) -> Self {
        permanent(error.reason()).because(error)
    }
}

/// Reads a record; the module says how.
///
/// # Errors
/// The value is no JSON, or in no envelope that is known.
pub fn read(stored: &Stored, expected: Option<Envelope>) -> Result<Read, EnvelopeError> {
    let all = &stored.headers;
    let mut value = match &stored.value {
        Some(bytes) => json(bytes)?,
        // CloudEvents need no data.
        None if cloud_event(all).is_some() => Value::Null,
        None => return Err(EnvelopeError::NoValue),
    };
    let envelope = envelope_of(&value, all, expected)?;
    let said = Said::of(envelope, &value);
    let text = |name: &str| headers::text(all, name);
    let position = format!("{}@{}", stored.at, stored.offset);
    let event_id = first(&[text(headers::EVENT_ID), text(headers::CE_ID), said.id]);
    let event_id: Arc<str> = event_id.unwrap_or_else(|| position.into());
    let name = first(&[said.name, text(headers::CE_TYPE), text(headers::EVENT_TYPE)]);
    let header_time = text(headers::CE_TIME).and_then(time::parse);
    let plain_time = || time::from_json(&Value::from(text(headers::TIMESTAMP)?));
    let said_time = || said.time.and_then(time::from_json);
    let traceparent = text(headers::TRACEPARENT).or_else(|| text("ce_traceparent"));
    let correlation_id = first(&[text(headers::CORRELATION_ID), said.correlation_id]);
    let mut read = Read {
        name: name.unwrap_or_default(),
        correlation_id: correlation_id.unwrap_or_else(|| event_id.clone()),
        event_id,
        causation_id: first(&[text(headers::CAUSATION_ID), said.causation_id]),
        saga_id: first(&[text(headers::SAGA_ID), said.saga_id]),
        traceparent: traceparent.and_then(trace::valid).map(Arc::from),
        time: header_time.or_else(said_time).or_else(plain_time).unwrap_or(stored.timestamp),
        body: Value::Null,
        envelope,
    };
    let inner = inner(envelope, &value);
    read.body = match inner.and_then(|field| value.get_mut(field)) {
        Some(body) => body.take(),
        None if inner.is_some() => Value::Null,
        None => value,
    };
    Ok(read)
}

/// Parses with bounds: serde_json refuses what is nested more than 128 deep.
fn json(bytes: &[u8]) -> Result<Value, EnvelopeError> {
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
    }
    let is_element = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
    if bytes.len() > ELEMENTS_MAX && bytes.iter().filter(is_element).count() > ELEMENTS_MAX {
        return Err(EnvelopeError::TooManyElements);
    }
    if let [0, a, b, c, d, _, ..] = bytes {
        let schema_id = u32::from_be_bytes([*a, *b, *c, *d]);
        return Err(EnvelopeError::Framed { schema_id });
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
        let message = error.to_string();
        // The position follows as line and column there.
        let message =
            message.rsplit_once(" at line").map_or(&*message, |(what, _)| what).to_owned();
        EnvelopeError::NotJson { at: before + error.column().saturating_sub(1), message }
    })
}

/// The name in the headers, if they are those of a CloudEvent.
fn cloud_event(all: &Headers) -> Option<&str> {
    headers::text(all, headers::CE_ID)?;
    headers::text(all, headers::CE_TYPE)
}

fn envelope_of(
    value: &Value,
    all: &Headers,
    expected: Option<Envelope>,
) -> Result<Envelope, EnvelopeError> {
    if let Some(envelope) = expected.filter(|envelope| fits(*envelope, value)) {
        return Ok(envelope);
    }
    let in_headers = cloud_event(all);
    let recognised = recognise(value, all);
    match (in_headers, recognised) {
        (Some(name), Some(envelope)) if Said::of(envelope, value).name == Some(name) => {
            Ok(envelope)
        }
        (Some(_), _) => Ok(Envelope::CloudEvents),
        (None, Some(envelope)) => Ok(envelope),
        (None, None) if headers::text(all, headers::CE_TYPE).is_some() => Ok(Envelope::CloudEvents),
        (None, None) => match expected {
            Some(Envelope::CloudEvents) => Ok(Envelope::CloudEvents),
            Some(Envelope::Flat) if value.is_object() => Ok(Envelope::Flat),
            _ => Err(EnvelopeError::Unknown { found: found(value) }),
        },
    }
}

/// Whether a value has the shape of what was expected. CloudEvents and flat events have none of their own: they
/// come after what is recognised.
fn fits(envelope: Envelope, value: &Value) -> bool {
    let is_text = |key: &str| value.get(key).is_some_and(Value::is_string);
    let has = |key: &str| value.get(key).is_some();
    match envelope {
        Envelope::CloudEvents => false,
        Envelope::Flat => is_text("eventId") || is_text("eventType"),
        Envelope::Payload => has("payload") && (is_text("eventType") || is_text("eventId")),
        Envelope::Command => is_text("command"),
        Envelope::Domain => is_text("event_type"),
        Envelope::Data => is_text("type") && has("data"),
    }
}

fn recognise(value: &Value, all: &Headers) -> Option<Envelope> {
    let is_text = |key: &str| value.get(key).is_some_and(Value::is_string);
    let has = |key: &str| value.get(key).is_some();
    if is_structured(value) {
        Some(Envelope::CloudEvents)
    } else if is_text("command") && (has("payload") || has("saga_id")) {
        Some(Envelope::Command)
    } else if is_text("event_type") && (has("event_data") || has("aggregate_id")) {
        Some(Envelope::Domain)
    } else if is_text("eventType") && has("payload") {
        Some(Envelope::Payload)
    } else if is_text("type") && has("data") {
        Some(Envelope::Data)
    } else if ["eventId", "eventType", "sagaId"].into_iter().any(is_text) {
        Some(Envelope::Flat)
    } else {
        let has_header = value.is_object() && headers::text(all, headers::EVENT_TYPE).is_some();
        has_header.then_some(Envelope::Flat)
    }
}

/// Whether the value is a CloudEvent with all that is about it.
fn is_structured(value: &Value) -> bool {
    ["specversion", "id", "source", "type"]
        .into_iter()
        .all(|key| value.get(key).is_some_and(Value::is_string))
}

/// The field that the event lies in; none where it is the whole value.
fn inner(envelope: Envelope, value: &Value) -> Option<&'static str> {
    match envelope {
        Envelope::CloudEvents => is_structured(value).then_some("data"),
        Envelope::Flat => None,
        Envelope::Payload | Envelope::Command => Some("payload"),
        Envelope::Domain => Some("event_data"),
        Envelope::Data => Some("data"),
    }
}

/// What the value itself says about the event.
#[derive(Default)]
struct Said<'a> {
    name: Option<&'a str>,
    id: Option<&'a str>,
    time: Option<&'a Value>,
    correlation_id: Option<&'a str>,
    causation_id: Option<&'a str>,
    saga_id: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(envelope: Envelope, value: &'a Value) -> Self {
        let text = |key: &str| value.get(key)?.as_str().filter(|text| !text.is_empty());
        let snake = Self {
            time: value.get("timestamp"),
            correlation_id: text("correlation_id"),
            causation_id: text("causation_id"),
            saga_id: text("saga_id"),
            ..Self::default()
        };
        match envelope {
            Envelope::CloudEvents if is_structured(value) => Self {
                name: text("type"),
                id: text("id"),
                time: value.get("time"),
                ..Self::default()
            },
            Envelope::CloudEvents => Self::default(),
            Envelope::Flat | Envelope::Payload => Self::camel(value, text("eventType")),
            Envelope::Command => Self { name: text("command"), id: text("command_id"), ..snake },
            Envelope::Domain => {
                let time = value.get("occurred_at");
                Self { name: text("event_type"), id: text("event_id"), time, ..snake }
            }
            Envelope::Data => {
                let about = value.get("metadata").unwrap_or(&Value::Null);
                let said = Self::camel(about, text("type"));
                Self { time: said.time.or(snake.time), id: said.id.or_else(|| text("id")), ..said }
            }
        }
    }

    fn camel(value: &'a Value, name: Option<&'a str>) -> Self {
        let text = |key: &str| value.get(key)?.as_str().filter(|text| !text.is_empty());
        Self {
            name,
            id: text("eventId"),
            time: value.get("timestamp"),
            correlation_id: text("correlationId"),
            causation_id: text("causationId"),
            saga_id: text("sagaId"),
        }
    }
}

fn first(texts: &[Option<&str>]) -> Option<Arc<str>> {
    texts.iter().flatten().next().map(|text| Arc::from(*text))
}

/// What the value is, for people.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "the value is null".to_owned(),
        Value::Bool(_) => "the value is a boolean".to_owned(),
        Value::Number(_) => "the value is a number".to_owned(),
        Value::String(_) => "the value is a string".to_owned(),
        Value::Array(_) => "the value is a list".to_owned(),
        Value::Object(fields) => keys(fields),
    }
}

fn keys(fields: &Map<String, Value>) -> String {
    if fields.is_empty() {
        return "the value is an object without keys".to_owned();
    }
    let short = |key: &String| key.chars().take(KEY_LETTERS).collect::<String>();
    let named: Vec<_> = fields.keys().take(KEYS_NAMED).map(short).collect();
    let more = fields.len() - named.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the value's keys are {}{rest}", named.join(", "))
}
