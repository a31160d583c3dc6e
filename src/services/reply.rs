//! Answers to commands that name a reply topic: a copy of the answer with how it went (`spec`: any client takes
//! part by topics and headers only).

use super::error::{Class, Result, ServiceError, permanent};
use super::event::{Envelope, Event};
use super::unit::{Emission, Input};
use crate::client::cluster::Headers;

/// Where the answer goes; the name that Spring's and NestJS's responders know.
pub const REPLY_TOPIC: &str = "kafka_replyTopic";
/// Which question it answers.
pub const CORRELATION: &str = "kafka_correlationId";
/// The saga that asks.
pub const SAGA_ID: &str = "ottla-saga-id";
/// The saga's step.
pub const STEP: &str = "ottla-step";
/// How it went: `ok`, `failed`, or `retry` where it may go well another time.
pub const STATUS: &str = "ottla-status";
/// Why it did not go well, in a word.
pub const REASON: &str = "ottla-reason";

/// The copy of an answer for the reply topic, if the command names one.
pub(super) fn ok<E: Event>(command: &Input, answer: &E) -> Result<Option<Emission>> {
    let body =
        serde_json::to_value(answer).map_err(|error| permanent("bad-event").because(error))?;
    Ok(reply(command, E::NAME, E::ENVELOPE, body, &[(STATUS, "ok")]))
}

/// The answer to a command that has failed for good, if it names a reply topic.
pub(super) fn failed(
    command: &Input,
    error: &ServiceError,
    envelope: Envelope,
) -> Option<Emission> {
    let status = match error.class {
        Class::Permanent => "failed",
        Class::Transient => "retry",
    };
    let name = format!("{}.failed", command.name);
    let body = serde_json::json!({ "reason": error.reason, "message": error.message });
    reply(command, &name, envelope, body, &[(STATUS, status), (REASON, &error.reason)])
}

fn reply(
    command: &Input,
    name: &str,
    envelope: Envelope,
    body: serde_json::Value,
    more: &[(&str, &str)],
) -> Option<Emission> {
    let topic = header(&command.headers, REPLY_TOPIC)?;
    let mut headers: Headers = Vec::new();
    for kept in [CORRELATION, SAGA_ID, STEP] {
        headers.extend(command.headers.iter().find(|(key, _)| key == kept).cloned());
    }
    headers.extend(
        more.iter().map(|(key, value)| ((*key).to_owned(), Some(value.as_bytes().to_vec().into()))),
    );
    let key = match (&command.saga_id, header(&command.headers, SAGA_ID)) {
        (Some(saga), _) => saga.to_string(),
        (None, Some(saga)) => saga.to_owned(),
        (None, None) => command.routed_key.to_string(),
    };
    Some(Emission { topic: topic.into(), name: name.into(), envelope, key, body, headers })
}

/// The last header of this name, as text.
pub(super) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().rev().find(|(key, _)| key == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}
