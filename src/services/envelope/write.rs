//! Writing: from an emission to the record that carries it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{About, headers, time, trace};
use crate::client::cluster::{Headers, ToSend};
use crate::services::event::Envelope;
use crate::services::unit::Emission;

/// The version of events that say none.
const VERSION: i32 = 1;

/// The record of an emission. Headers that the emission has win over those of `about`; so does its id. An empty key
/// is none.
pub fn write(emission: &Emission, about: &About) -> ToSend {
    let mut all = emission.headers.clone();
    let own_id = match emission.envelope {
        Envelope::Flat => emission.body.get("eventId").and_then(Value::as_str),
        _ => None,
    };
    let own_id = own_id.filter(|id| !id.is_empty()).unwrap_or(&about.event_id);
    headers::add(&mut all, headers::CE_ID, own_id);
    headers::add(&mut all, headers::CE_TYPE, &emission.name);
    headers::add(&mut all, headers::CE_SOURCE, &about.source);
    headers::add(&mut all, headers::CE_TIME, &time::format(about.time));
    headers::add(&mut all, headers::CE_SPECVERSION, "1.0");
    headers::add(&mut all, headers::CONTENT_TYPE, "application/json");
    headers::add(&mut all, headers::CORRELATION_ID, &about.correlation_id);
    if let Some(id) = &about.causation_id {
        headers::add(&mut all, headers::CAUSATION_ID, id);
    }
    if let Some(id) = &about.saga_id {
        headers::add(&mut all, headers::SAGA_ID, id);
    }
    let event_id = headers::text(&all, headers::CE_ID).unwrap_or(own_id);
    let traceparent = trace::child(about.traceparent.as_deref(), &about.correlation_id, event_id);
    headers::add(&mut all, headers::TRACEPARENT, &traceparent);
    if emission.envelope == Envelope::Flat {
        headers::add(&mut all, headers::EVENT_TYPE, &emission.name);
    }
    let value = value(emission, &all, about);
    ToSend {
        topic: emission.topic.clone(),
        partition: None,
        key: (!emission.key.is_empty()).then(|| Bytes::copy_from_slice(emission.key.as_bytes())),
        value: Some(Bytes::from(value.to_string())),
        headers: all,
        timestamp: Some(about.time),
    }
}

fn value(emission: &Emission, all: &Headers, about: &About) -> Value {
    let text = |name: &str| headers::text(all, name);
    let (name, body) = (&*emission.name, &emission.body);
    let at = text(headers::CE_TIME);
    match emission.envelope {
        Envelope::CloudEvents => body.clone(),
        Envelope::Flat => flat(emission, all),
        Envelope::Payload => json!({
            "eventId": text(headers::CE_ID),
            "eventType": name,
            "timestamp": at,
            "version": format!("{VERSION}.0"),
            "source": &*about.source,
            "payload": body,
        }),
        Envelope::Command => {
            let mut command = json!({
                "command": name,
                "payload": body,
                "saga_id": text(headers::SAGA_ID),
                "correlation_id": text(headers::CORRELATION_ID),
                "source_service": &*about.source,
                "timestamp": at,
            });
            // For participants that read no headers.
            if let Some(step) = text(headers::STEP) {
                command["step"] = step.into();
            }
            command
        }
        Envelope::Domain => json!({
            "event_type": name,
            "aggregate_id": emission.key,
            "aggregate_type": aggregate_type(emission),
            "event_data": body,
            "event_version": VERSION,
            "occurred_at": at,
        }),
        Envelope::Data => {
            json!({ "type": name, "data": body, "metadata": metadata(all, about) })
        }
    }
}

/// The event's own fields, and what is about it where it leaves that out or empty; the saga too, which participants
/// that read no headers need. A body that is no object is
/// the field `value`.
fn flat(emission: &Emission, all: &Headers) -> Value {
    let mut fields = Map::new();
    fields.insert("eventType".to_owned(), (*emission.name).into());
    fields.insert("eventId".to_owned(), headers::text(all, headers::CE_ID).into());
    fields.insert("timestamp".to_owned(), headers::text(all, headers::CE_TIME).into());
    if let Some(saga_id) = headers::text(all, headers::SAGA_ID) {
        fields.insert("sagaId".to_owned(), saga_id.into());
    }
    match &emission.body {
        Value::Object(body) => {
            for (key, value) in body {
                let about_it = matches!(&**key, "eventType" | "eventId")
                    || (key == "timestamp" && (value.is_null() || value == ""));
                if !about_it {
                    fields.insert(key.clone(), value.clone());
                }
            }
        }
        Value::Null => {}
        other => {
            fields.insert("value".to_owned(), other.clone());
        }
    }
    Value::Object(fields)
}

fn metadata(all: &Headers, about: &About) -> Value {
    let mut fields = Map::new();
    let named = [
        ("tenantId", headers::TENANT_ID),
        ("eventId", headers::CE_ID),
        ("timestamp", headers::CE_TIME),
        ("correlationId", headers::CORRELATION_ID),
        ("causationId", headers::CAUSATION_ID),
        ("sagaId", headers::SAGA_ID),
    ];
    fields.insert("source".to_owned(), (*about.source).into());
    for (field, header) in named {
        if let Some(text) = headers::text(all, header) {
            fields.insert(field.to_owned(), text.into());
        }
    }
    Value::Object(fields)
}

/// `order` of the topic `order_domain_events`; elsewhere the name's first word.
fn aggregate_type(emission: &Emission) -> &str {
    let first_word = || emission.name.split(['_', '.', '-']).next().unwrap_or_default();
    emission.topic.strip_suffix("_domain_events").unwrap_or_else(first_word)
}
