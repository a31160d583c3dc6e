//! Replays: records that a group has handled are given to it again, by its retry topic, so that no other group gets
//! them twice.
//!
//! A record keeps its event id, its time and its partition. What makes it no duplicate of itself is the header
//! `ottla-replay`, the name of the replay: the same record twice in one replay is one, where the handler has `dedup`.
//! What its handler emits has the ids that it had at first, so that whoever leaves out duplicates is not reached
//! again.
//!
//! **Without effects** (header `ottla-no-effects`) nothing is done outside: an effect is only looked up. A record whose
//! effect cannot be found is a dead letter with the reason `no-effects`; nothing waits behind it, and nobody is
//! answered that it failed.

use std::sync::Arc;

use super::dlq::own_headers;
use super::envelope::{self, headers};
use crate::client::cluster::{Stored, ToSend};

/// A replay of some of a group's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    topic: Arc<str>,
    name: String,
    has_effects: bool,
}

impl Replay {
    /// A replay for this group, under a name that no other of it has.
    pub fn new(group: &str, name: impl Into<String>) -> Self {
        Self { topic: retry_topic(group).into(), name: name.into(), has_effects: true }
    }

    /// Nothing is done outside.
    #[must_use]
    pub fn without_effects(mut self) -> Self {
        self.has_effects = false;
        self
    }

    /// The record that has the group handle this one again.
    pub fn record(&self, stored: &Stored) -> ToSend {
        let position = || format!("{}@{}", stored.at, stored.offset).into();
        let event_id =
            envelope::read(stored, None).map_or_else(|_| position(), |read| read.event_id);
        let mut all = own_headers(&stored.headers);
        let origin = format!("{}/{}/{}", stored.at.topic, stored.at.partition, stored.offset);
        headers::set(&mut all, headers::EVENT_ID, &event_id);
        headers::set(&mut all, headers::ORIGIN, &origin);
        headers::set(&mut all, headers::REPLAY, &self.name);
        if !self.has_effects {
            headers::set(&mut all, headers::NO_EFFECTS, "1");
        }
        ToSend {
            topic: Arc::clone(&self.topic),
            partition: Some(stored.at.partition),
            key: stored.key.clone(),
            value: stored.value.clone(),
            headers: all,
            timestamp: Some(stored.timestamp),
        }
    }
}

/// The topic by which a group is given records again.
pub fn retry_topic(group: &str) -> String {
    format!("{group}.retry")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::TopicPartition;
    use crate::types::{Offset, Timestamp};

    #[test]
    fn a_record_keeps_its_id_time_and_place() {
        let stored = Stored {
            at: TopicPartition::new("orders", 2),
            offset: Offset(7),
            timestamp: Timestamp(5),
            key: Some("o-1".into()),
            value: Some("{}".into()),
            headers: vec![("a".to_owned(), None), ("ottla-redrive".to_owned(), Some("1".into()))],
        };
        let sent = Replay::new("shop", "r-1").record(&stored);
        assert_eq!((&*sent.topic, sent.partition), ("shop.retry", Some(stored.at.partition)));
        assert_eq!((sent.timestamp, &sent.key), (Some(Timestamp(5)), &stored.key));
        let text = |name| headers::text(&sent.headers, name);
        assert_eq!(text("ottla-event-id"), Some("orders-2@7"));
        assert_eq!(text("ottla-origin"), Some("orders/2/7"));
        assert_eq!(text("ottla-replay"), Some("r-1"));
        assert_eq!((text("ottla-redrive"), text("ottla-no-effects")), (None, None));
        let sent = Replay::new("shop", "r-1").without_effects().record(&stored);
        assert_eq!(headers::text(&sent.headers, "ottla-no-effects"), Some("1"));
    }
}
