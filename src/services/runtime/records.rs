//! What a group writes down for itself: parked records, timers, events that were handled. All are JSON, so
//! that any Kafka tool shows them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::parking::{Lane, Seq, Waits};
use super::plan::Plan;
use crate::client::cluster::{Stored, ToSend, TopicPartition};
use crate::services::error::{Class, ServiceError};
use crate::types::{Offset, PartitionIndex, Timestamp};

/// A record that waits, with what it has been through.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parked {
    /// The record, as it lay where it was read.
    pub(super) stored: Stored,
    /// How often it was tried.
    pub(super) tried: u32,
    pub(super) first_failed_at: Option<Timestamp>,
    pub(super) error: Option<ServiceError>,
    /// Whether a try may have begun that nobody knows the end of.
    pub(super) maybe_begun: bool,
}

#[derive(Serialize, Deserialize)]
struct ParkedJson {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    lane: String,
    seq: u64,
    attempts: u32,
    due: i64,
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson>,
}

#[derive(Serialize, Deserialize)]
struct ErrorJson {
    class: String,
    reason: String,
    message: String,
}

/// A parked record's entry as it is written.
pub(super) fn park(
    plan: &Plan,
    lane: &Lane,
    seq: Seq,
    waits: Waits,
    parked: &Parked,
) -> Option<ToSend> {
    let stored = &parked.stored;
    let due = match waits {
        Waits::Until(due) => due,
        Waits::Running | Waits::Held => Timestamp(0),
    };
    let json = ParkedJson {
        topic: stored.at.topic.to_string(),
        partition: stored.at.partition.0,
        offset: stored.offset.0,
        timestamp: stored.timestamp.0,
        key: stored.key.as_deref().map(to_text),
        value: stored.value.as_deref().map(to_text),
        headers: stored
            .headers
            .iter()
            .map(|(key, value)| (key.clone(), value.as_deref().map(to_text)))
            .collect(),
        lane: lane.key.to_string(),
        seq: seq.0,
        attempts: parked.tried,
        due: due.0,
        held: waits == Waits::Held,
        first_failed_at: parked.first_failed_at.map(|at| at.0),
        error: parked.error.as_ref().map(|error| ErrorJson {
            class: error.class.name().to_owned(),
            reason: error.reason.clone(),
            message: error.message.clone(),
        }),
    };
    let value = serde_json::to_vec(&json).ok()?;
    Some(entry(plan.own_topic("park"), lane.partition, park_key(stored, lane, seq), Some(value)))
}

/// Takes a parked record's entry away.
pub(super) fn unpark(plan: &Plan, lane: &Lane, seq: Seq, stored: &Stored) -> ToSend {
    entry(plan.own_topic("park"), lane.partition, park_key(stored, lane, seq), None)
}

fn park_key(stored: &Stored, lane: &Lane, seq: Seq) -> String {
    format!("{}/{}/{}#{}", stored.at.topic, stored.at.partition, lane.key, seq.0)
}

/// Reads a parked record's entry; `None`: it is none of ours.
pub(super) fn parse_park(entry: &Stored) -> Option<(Lane, Seq, Waits, Parked)> {
    let json: ParkedJson = serde_json::from_slice(entry.value.as_deref()?).ok()?;
    let class = |name: &str| match name {
        "permanent" => Class::Permanent,
        _ => Class::Transient,
    };
    let mut headers = Vec::with_capacity(json.headers.len());
    for (key, value) in json.headers {
        headers.push((key, bytes(value)?));
    }
    let stored = Stored {
        at: TopicPartition::new(json.topic, json.partition),
        offset: Offset(json.offset),
        timestamp: Timestamp(json.timestamp),
        key: bytes(json.key)?,
        value: bytes(json.value)?,
        headers,
    };
    let parked = Parked {
        stored,
        tried: json.attempts,
        first_failed_at: json.first_failed_at.map(Timestamp),
        error: json.error.map(|error| ServiceError {
            class: class(&error.class),
            reason: error.reason,
            message: error.message,
        }),
        maybe_begun: true,
    };
    let lane = Lane { partition: entry.at.partition, key: json.lane.into() };
    let waits = if json.held { Waits::Held } else { Waits::Until(Timestamp(json.due)) };
    Some((lane, Seq(json.seq), waits, parked))
}

/// What a timer sends, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Timed {
    /// The topic of the input that set it: its owner is who owns this topic's partition.
    pub(super) owner: Arc<str>,
    pub(super) send: ToSend,
}

#[derive(Serialize, Deserialize)]
struct TimerJson {
    due: i64,
    owner: String,
    topic: String,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

/// A timer's entry as it is written.
pub(super) fn timer(
    plan: &Plan,
    partition: PartitionIndex,
    id: &str,
    due: Timestamp,
    timed: &Timed,
) -> Option<ToSend> {
    let send = &timed.send;
    let json = TimerJson {
        due: due.0,
        owner: timed.owner.to_string(),
        topic: send.topic.to_string(),
        key: send.key.as_deref().map(to_text),
        value: send.value.as_deref().map(to_text),
        headers: send
            .headers
            .iter()
            .map(|(key, value)| (key.clone(), value.as_deref().map(to_text)))
            .collect(),
    };
    let value = serde_json::to_vec(&json).ok()?;
    Some(entry(plan.own_topic("timer"), partition, id.to_owned(), Some(value)))
}

/// Takes a timer's entry away.
pub(super) fn no_timer(plan: &Plan, partition: PartitionIndex, id: &str) -> ToSend {
    entry(plan.own_topic("timer"), partition, id.to_owned(), None)
}

/// Reads a timer's entry.
pub(super) fn parse_timer(entry: &Stored) -> Option<(Timestamp, Timed)> {
    let json: TimerJson = serde_json::from_slice(entry.value.as_deref()?).ok()?;
    let mut headers = Vec::with_capacity(json.headers.len());
    for (key, value) in json.headers {
        headers.push((key, bytes(value)?));
    }
    let send = ToSend {
        topic: json.topic.into(),
        partition: None,
        key: bytes(json.key)?,
        value: bytes(json.value)?,
        headers,
        timestamp: None,
    };
    Some((Timestamp(json.due), Timed { owner: json.owner.into(), send }))
}

#[derive(Serialize, Deserialize)]
struct SeenJson {
    until: i64,
}

/// The entry of an event that was handled.
pub(super) fn seen(
    plan: &Plan,
    partition: PartitionIndex,
    event_id: &str,
    until: Timestamp,
) -> Option<ToSend> {
    let value = serde_json::to_vec(&SeenJson { until: until.0 }).ok()?;
    Some(entry(plan.own_topic("seen"), partition, event_id.to_owned(), Some(value)))
}

/// Reads such an entry: the id and when it is forgotten.
pub(super) fn parse_seen(entry: &Stored) -> Option<(Arc<str>, Timestamp)> {
    let json: SeenJson = serde_json::from_slice(entry.value.as_deref()?).ok()?;
    let id = std::str::from_utf8(entry.key.as_deref()?).ok()?;
    Some((id.into(), Timestamp(json.until)))
}

/// A row of a table as it is written.
pub(super) fn row(
    topic: &str,
    partition: PartitionIndex,
    key: String,
    value: Option<Bytes>,
) -> ToSend {
    ToSend { value, ..entry(topic.to_owned(), partition, key, None) }
}

/// A key and value of one of a group's own topics.
pub(super) fn entry(
    topic: String,
    partition: PartitionIndex,
    key: String,
    value: Option<Vec<u8>>,
) -> ToSend {
    ToSend {
        topic: topic.into(),
        partition: Some(partition),
        key: Some(key.into()),
        value: value.map(Bytes::from),
        headers: Vec::new(),
        timestamp: None,
    }
}

fn to_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes that a text stands for; outer `None`: it stands for none.
fn bytes(text: Option<String>) -> Option<Option<Bytes>> {
    match text {
        None => Some(None),
        Some(text) => STANDARD.decode(text).ok().map(Bytes::from).map(Some),
    }
}
