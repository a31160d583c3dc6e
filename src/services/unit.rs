//! The unit of work: a record with all that its handler wants done, which takes place as a whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Envelope;
use crate::client::cluster::{Headers, TopicPartition};
use crate::types::{Offset, Timestamp};

/// The record that a handler is given, its envelope read.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it lies; of a record that was rerouted or redriven, where it lay at first.
    pub at: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// When it was made.
    pub timestamp: Timestamp,
    /// The key as it was sent.
    pub key: Option<Bytes>,
    /// The value as it was sent.
    pub value: Option<Bytes>,
    /// Headers as they were sent.
    pub headers: Headers,
    /// What it was routed by: the key, or what `by` says. Order, parked keys and tables go by this.
    pub routed_key: Arc<str>,
    /// The event's id: the envelope's, or `TOPIC-PARTITION@OFFSET` where it has none. Never changes on retry or
    /// redrive.
    pub event_id: Arc<str>,
    /// The event's name; empty where the record does not say.
    pub name: Arc<str>,
    /// What it belongs to as a whole; the event's own id where it began something.
    pub correlation_id: Arc<str>,
    /// The saga that it belongs to, if any.
    pub saga_id: Option<Arc<str>>,
    /// W3C traceparent, if it came with one.
    pub traceparent: Option<Arc<str>>,
    /// The event itself, as JSON: the part of the value that the envelope carries.
    pub body: serde_json::Value,
    /// How it lay in its record.
    pub envelope: Envelope,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Whether an earlier try, perhaps of a process that was killed, may have begun.
    pub maybe_begun: bool,
}

/// An event that a handler emits, not yet in its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// The topic.
    pub topic: Arc<str>,
    /// The event's name.
    pub name: Arc<str>,
    /// Its envelope.
    pub envelope: Envelope,
    /// Its key.
    pub key: String,
    /// The event.
    pub body: serde_json::Value,
    /// Headers beside those of the envelope.
    pub headers: Headers,
}

/// A timer that is set or taken back.
#[derive(Clone, Debug, PartialEq)]
pub enum TimerChange {
    /// Emits an event at a time, in place of what this name stood for.
    Set {
        /// Its name, unique below the routed key.
        id: String,
        /// When.
        due: Timestamp,
        /// What is emitted then.
        event: Emission,
    },
    /// Takes it back; one that is not set is no error.
    Cancel {
        /// Its name.
        id: String,
    },
}

/// What a handler wants done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unit {
    /// Events, in order.
    pub emissions: Vec<Emission>,
    /// Rows by table and key: the new value, or none where it is removed.
    pub rows: BTreeMap<(&'static str, String), Option<Bytes>>,
    /// Timers.
    pub timers: Vec<TimerChange>,
}
