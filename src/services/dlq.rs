//! Dead letters: a record that could not be handled, with its bytes and why, under Kafka's own header names
//! (KIP-1191).

use std::sync::Arc;

use bytes::Bytes;

use super::error::ServiceError;
use crate::client::cluster::{Stored, ToSend, TopicPartition};
use crate::types::{Offset, Timestamp};

/// A record that is given up.
pub(super) struct Death<'a> {
    pub(super) topic: Arc<str>,
    pub(super) group: &'a str,
    pub(super) stored: &'a Stored,
    pub(super) at: &'a TopicPartition,
    pub(super) offset: Offset,
    pub(super) key: Option<Bytes>,
    pub(super) event_id: &'a str,
    pub(super) tried: u32,
    pub(super) first_failed_at: Timestamp,
    pub(super) error: &'a ServiceError,
}

pub(super) fn dead_letter(death: &Death<'_>) -> ToSend {
    let mut headers = death.stored.headers.clone();
    let mut put = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into())));
    put("__dlq.errors.topic", death.at.topic.to_string());
    put("__dlq.errors.partition", death.at.partition.to_string());
    put("__dlq.errors.offset", death.offset.to_string());
    put("__dlq.errors.group", death.group.to_owned());
    put("__dlq.errors.delivery.count", death.tried.to_string());
    put("__dlq.errors.message", death.error.to_string());
    put("ottla-class", death.error.class.name().to_owned());
    put("ottla-reason", death.error.reason.clone());
    put("ottla-first-failed-at", death.first_failed_at.to_string());
    put("ottla-event-id", death.event_id.to_owned());
    ToSend {
        topic: Arc::clone(&death.topic),
        partition: None,
        key: death.key.clone(),
        value: death.stored.value.clone(),
        headers,
        timestamp: None,
    }
}
