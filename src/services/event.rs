//! Typed events, commands and effects: topic, name on the wire, key and reply are part of the type.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Result;

/// How an event lies in a record. Each of the reference documents has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// CloudEvents in binary mode: the value is the event, all about it is in headers `ce_...`.
    CloudEvents,
    /// `{eventId, ...}` or `{eventType, eventId, timestamp, ...}`: the event's fields beside those about it; the
    /// name may be in the header `event-type` instead.
    Flat,
    /// `{eventId, eventType, timestamp, version, source, payload}`.
    Payload,
    /// `{command, payload, saga_id, correlation_id, source_service, timestamp}`.
    Command,
    /// `{event_type, aggregate_id, aggregate_type, event_data, event_version, occurred_at}`.
    Domain,
    /// `{type, data, metadata}`.
    Data,
}

/// Something that has happened. Usually derived: `#[derive(Event)]`.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic that it is sent to and read from.
    const TOPIC: &'static str;
    /// Its name on the wire. A topic may have events of several names; a handler is given those of its own.
    const NAME: &'static str;
    /// How it lies in a record.
    const ENVELOPE: Envelope = Envelope::CloudEvents;

    /// What it is about: events with the same key are in order.
    fn key(&self) -> String;
}

/// A request to do something, which is answered by an event.
pub trait Command: Event {
    /// The answer.
    type Reply: Event;
}

/// How an effect is kept from being done twice when nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectMode {
    /// Whoever does it knows the key: a second call with the same key gives the first one's answer.
    Idempotent,
    /// It can be looked up: [`Effect::lookup`] is asked before a second run.
    Lookup,
    /// Neither: an intent is made durable first, and if that is found again the input waits for
    /// somebody to decide.
    Park,
}

/// Something outside ottla: a charge, a mail, a call. The only thing of a handler that is not part of its
/// transaction.
pub trait Effect: Send + Sync + 'static {
    /// What it gives back.
    type Out: Serialize + DeserializeOwned + Send + 'static;
    /// What keeps it from being done twice.
    const MODE: EffectMode = EffectMode::Idempotent;

    /// Does it. The key is the same over every crash and retry of the same input and effect.
    fn run(&self, key: &str) -> impl Future<Output = Result<Self::Out>> + Send;

    /// What an earlier run came to, if there was one: asked where one may have begun.
    fn lookup(&self, key: &str) -> impl Future<Output = Result<Option<Self::Out>>> + Send {
        let _ = key;
        std::future::ready(Ok(None))
    }
}
