//! Where a record lay at first, which a rerouted or redriven one carries in headers.

use std::fmt;

use bytes::Bytes;

use crate::client::cluster::{Headers, Stored, TopicPartition};
pub(super) use crate::services::envelope::headers::{DISCARD, NO_EFFECTS, REDRIVE, REPLAY};
use crate::services::envelope::headers::{EVENT_ID, ORIGIN, ORIGIN_KEY};
use crate::services::reply::header;
use crate::types::Offset;

/// Where a record lay at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) at: TopicPartition,
    pub(super) offset: Offset,
    pub(super) key: Option<Bytes>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.at, self.offset)
    }
}

/// A record's origin. Of one that was rerouted the key is in a header, since its own is what it is routed by.
pub(super) fn of(stored: &Stored, is_rerouted: bool) -> Origin {
    let own = || Origin { at: stored.at.clone(), offset: stored.offset, key: stored.key.clone() };
    let Some(mut origin) = header(&stored.headers, ORIGIN).and_then(parse) else { return own() };
    origin.key = if is_rerouted {
        stored
            .headers
            .iter()
            .rev()
            .find(|(key, _)| key == ORIGIN_KEY)
            .and_then(|(_, key)| key.clone())
    } else {
        stored.key.clone()
    };
    origin
}

/// Says an origin in headers, and the event's id, which may follow from where it lay.
pub(super) fn put(headers: &mut Headers, origin: &Origin, event_id: &str) {
    headers.retain(|(key, _)| key != ORIGIN && key != ORIGIN_KEY && key != EVENT_ID);
    headers.push((EVENT_ID.to_owned(), Some(event_id.to_owned().into())));
    let text = format!("{}/{}/{}", origin.at.topic, origin.at.partition, origin.offset);
    headers.push((ORIGIN.to_owned(), Some(text.into())));
    if let Some(key) = &origin.key {
        headers.push((ORIGIN_KEY.to_owned(), Some(key.clone())));
    }
}

fn parse(text: &str) -> Option<Origin> {
    let (rest, offset) = text.rsplit_once('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    let at = TopicPartition::new(topic, partition.parse().ok()?);
    Some(Origin { at, offset: Offset(offset.parse().ok()?), key: None })
}
