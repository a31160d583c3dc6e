//! Which records belong together, and what is shown of each.

use std::collections::BTreeSet;

use crate::client::cluster::{Headers, Stored, TopicPartition};
use crate::services::dlq;
use crate::services::envelope::{self, headers};
use crate::types::{Offset, Timestamp};

/// An event in its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) causation_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) saga_id: Option<String>,
    pub(super) name: String,
    /// Who emitted it: for services their group.
    pub(super) source: Option<String>,
    pub(super) time: Timestamp,
    pub(super) at: TopicPartition,
    pub(super) offset: Offset,
    pub(super) key: Option<String>,
    /// Why the event lies in a second record; none for the first.
    pub(super) copy: Option<String>,
}

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Ids of events, sagas and wholes.
    ids: BTreeSet<String>,
    /// Events whose followers are wanted, wherever these say that they belong.
    causes: BTreeSet<String>,
}

impl Wanted {
    pub(super) fn new(id: &str) -> Self {
        Self { ids: BTreeSet::from([id.to_owned()]), causes: BTreeSet::from([id.to_owned()]) }
    }

    /// Also wants what shares something with these; false if that is nothing new.
    pub(super) fn follow(&mut self, found: &[Event]) -> bool {
        let before = (self.ids.len(), self.causes.len());
        for event in found {
            self.ids.extend(event.correlation_id.clone());
            self.ids.extend(event.saga_id.clone());
            self.causes.insert(event.id.clone());
        }
        before != (self.ids.len(), self.causes.len())
    }

    /// The event of a record, if it is wanted.
    pub(super) fn event(&self, stored: &Stored) -> Option<Event> {
        if !self.may_be_in(stored) {
            return None;
        }
        let event = event(stored);
        let has = |id: &Option<String>| id.as_ref().is_some_and(|id| self.ids.contains(id));
        let follows = event.causation_id.as_ref().is_some_and(|id| self.causes.contains(id));
        let is_wanted = self.ids.contains(&event.id)
            || self.causes.contains(&event.id)
            || has(&event.correlation_id)
            || has(&event.saga_id)
            || follows;
        is_wanted.then_some(event)
    }

    /// Whether one of the ids stands anywhere in the record: most are passed over without being parsed.
    fn may_be_in(&self, stored: &Stored) -> bool {
        let is_id = |text: &str| self.ids.contains(text) || self.causes.contains(text);
        let mut texts = stored.headers.iter().filter_map(|(_, value)| value.as_deref());
        if texts.any(|value| std::str::from_utf8(value).is_ok_and(is_id)) {
            return true;
        }
        let value = stored.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        let is_in_value = |id: &String| value.is_some_and(|value| value.contains(id.as_str()));
        // The position is the id of an event that has none.
        self.ids.iter().any(is_in_value) || is_id(&position(stored))
    }
}

fn position(stored: &Stored) -> String {
    format!("{}@{}", stored.at, stored.offset)
}

/// What is shown of a record, also of one that is no event.
fn event(stored: &Stored) -> Event {
    let text = |name: &str| headers::text(&stored.headers, name).map(str::to_owned);
    let mut event = Event {
        id: text(headers::EVENT_ID)
            .or_else(|| text(headers::CE_ID))
            .unwrap_or_else(|| position(stored)),
        causation_id: text(headers::CAUSATION_ID),
        correlation_id: text(headers::CORRELATION_ID),
        saga_id: text(headers::SAGA_ID),
        name: text(headers::CE_TYPE).unwrap_or_default(),
        source: text(headers::CE_SOURCE),
        time: stored.timestamp,
        at: stored.at.clone(),
        offset: stored.offset,
        key: stored.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
        copy: copy(stored),
    };
    if let Ok(read) = envelope::read(stored, None) {
        event.id = read.event_id.to_string();
        event.causation_id = read.causation_id.map(|id| id.to_string());
        event.correlation_id = Some(read.correlation_id.to_string());
        event.saga_id = read.saga_id.map(|id| id.to_string());
        event.name = read.name.to_string();
    }
    event
}

/// What a record is that carries an event a second time.
fn copy(stored: &Stored) -> Option<String> {
    let has = |name: &str| headers::text(&stored.headers, name).is_some();
    let own: &Headers = &stored.headers;
    if let Ok(letter) = dlq::parse(stored) {
        return Some(format!("dead letter of {}: {}", letter.group, letter.reason));
    }
    headers::text(own, headers::ORIGIN)?;
    let topic = &*stored.at.topic;
    let group = topic.strip_suffix(".retry").unwrap_or(topic);
    Some(if has(headers::DISCARD) {
        format!("discarded for {group}")
    } else if has(headers::REPLAY) {
        format!("replayed for {group}")
    } else if has(headers::REDRIVE) {
        format!("redriven for {group}")
    } else {
        "rerouted".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(headers: &[(&str, &str)], value: &str) -> Stored {
        let header =
            |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned().into()));
        Stored {
            at: TopicPartition::new("orders", 0),
            offset: Offset(3),
            timestamp: Timestamp(7),
            key: Some("k".into()),
            value: Some(value.to_owned().into()),
            headers: headers.iter().map(header).collect(),
        }
    }

    #[test]
    fn what_shares_an_id_is_wanted_and_what_only_names_it_is_not() {
        let mut wanted = Wanted::new("e-1");
        let own = stored(&[("ce_id", "e-1"), ("ottla-correlation-id", "c")], "{}");
        let found = wanted.event(&own).unwrap();
        assert_eq!((&*found.id, found.correlation_id.as_deref()), ("e-1", Some("c")));
        let caused = stored(&[("ce_id", "e-2"), ("ottla-causation-id", "e-1")], "{}");
        assert!(wanted.event(&caused).is_some());
        let other = stored(&[("ce_id", "e-3"), ("ottla-correlation-id", "c")], "{}");
        assert!(wanted.event(&other).is_none());
        assert!(wanted.follow(std::slice::from_ref(&found)));
        assert!(!wanted.follow(&[found]));
        assert!(wanted.event(&other).is_some());
        assert!(wanted.event(&stored(&[], r#"{"note": "see e-1"}"#)).is_none());
        let body = r#"{"eventId": "e-1", "eventType": "A"}"#;
        assert_eq!(wanted.event(&stored(&[], body)).unwrap().name, "A");
        assert!(Wanted::new("orders-0@3").event(&stored(&[], "no json")).is_some());
    }

    #[test]
    fn a_copy_says_what_it_is_for() {
        let mut record = stored(&[("ottla-origin", "a/0/1"), ("ottla-redrive", "1")], "{}");
        record.at = TopicPartition::new("shop.retry", 0);
        assert_eq!(copy(&record).as_deref(), Some("redriven for shop"));
        assert_eq!(copy(&stored(&[("ce_id", "e-1")], "{}")), None);
    }
}
