//! Dead letters: a record that could not be handled, with its bytes and why, in the topic `GROUP.dlq`, and what
//! becomes of it.
//!
//! An entry is the record as it was: key, value and headers, of which several may have one name. Behind them come,
//! from `__dlq.errors.topic` on, the headers about its death: those that Kafka's share groups write (KIP-1191),
//! `__dlq.errors.{topic,partition,offset,group,delivery.count,message}`, and ours,
//! `ottla-{class,reason,first-failed-at,event-id,trace}`; `ottla-redrive` where it was redriven before. It lies in the
//! partition that has its origin's number.
//!
//! **What was decided** is not written into `GROUP.dlq`: a tombstone there would need a compacted topic, in which a
//! key has one entry, and a record that was a tombstone itself would remove another's. A decision is one record of
//! `GROUP.retry`, which the group consumes: the record again, with `ottla-redrive: N`, or `ottla-discard`, and with
//! `ottla-dlq-entry: PARTITION@OFFSET`. So a decision and what follows from it are one record, atomic without a
//! transaction, and a list is the entries less those that [`decided`] finds in `GROUP.retry`. Both topics keep their
//! records equally long, and an entry is older than what was decided about it: a list leaves out what is older than
//! that, since the decision may be gone before the entry's segment is.
//!
//! An entry that two people redrive at once is in `GROUP.retry` twice, with one event id and one N: whoever
//! leaves out duplicates by both handles it once.

use std::sync::Arc;

use bytes::Bytes;

use super::envelope::headers::{self, text};
use super::envelope::time;
use super::error::{Class, ServiceError};
use crate::client::cluster::{Headers, Stored, ToSend, TopicPartition};
use crate::types::{Offset, PartitionIndex, Timestamp};

/// The first of the headers about a death.
const TOPIC: &str = "__dlq.errors.topic";
const PARTITION: &str = "__dlq.errors.partition";
const OFFSET: &str = "__dlq.errors.offset";
const GROUP: &str = "__dlq.errors.group";
const DELIVERY_COUNT: &str = "__dlq.errors.delivery.count";
const MESSAGE: &str = "__dlq.errors.message";
const CLASS: &str = "ottla-class";
const REASON: &str = "ottla-reason";
const FIRST_FAILED_AT: &str = "ottla-first-failed-at";
const TRACE: &str = "ottla-trace";

/// What a message may take of an entry, in bytes: the record itself may be as large as records can be.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Headers that ottla adds to copies of a record, which are not the record's own.
const OF_COPIES: [&str; 6] = [
    headers::EVENT_ID,
    headers::ORIGIN,
    headers::ORIGIN_KEY,
    headers::REDRIVE,
    headers::DISCARD,
    headers::DLQ_ENTRY,
];

/// A record that is given up.
#[derive(Clone, Debug)]
pub struct Death<'a> {
    /// The topic of dead letters.
    pub topic: Arc<str>,
    /// The group that gives it up.
    pub group: &'a str,
    /// The record, as it was read last.
    pub stored: &'a Stored,
    /// Where it lay at first.
    pub at: &'a TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// Its key there.
    pub key: Option<Bytes>,
    /// Its event's id.
    pub event_id: &'a str,
    /// How often it was tried.
    pub tried: u32,
    /// When it failed first.
    pub first_failed_at: Timestamp,
    /// Why it failed last.
    pub error: &'a ServiceError,
}

/// An entry of `GROUP.dlq`. What is changed in it is what will be redriven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the entry lies.
    pub entry: Entry,
    /// When it was given up.
    pub died_at: Timestamp,
    /// The group that gave it up.
    pub group: String,
    /// Where the record lay at first.
    pub at: TopicPartition,
    /// Its offset there.
    pub offset: Offset,
    /// How often it was tried.
    pub tried: u32,
    /// What went wrong, for people.
    pub message: String,
    /// Whether trying again could have helped; none where another's entry does not say.
    pub class: Option<Class>,
    /// In a word; empty where another's entry does not say.
    pub reason: String,
    /// When it failed first.
    pub first_failed_at: Timestamp,
    /// The event's id.
    pub event_id: String,
    /// The traceparent, if there was one.
    pub trace: Option<String>,
    /// How often it was redriven before.
    pub redrives: u32,
    /// The record's key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

/// An entry by its place in `GROUP.dlq`; as text `PARTITION@OFFSET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: Offset,
}

/// What was decided about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Handle it again.
    Redriven,
    /// Leave it.
    Discarded,
}

/// Why a record is no dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}@{offset} is no dead letter: header {header} is missing or not understood")]
pub struct NoDeadLetter {
    /// Where it lies.
    pub at: TopicPartition,
    /// Its offset.
    pub offset: Offset,
    /// The first header that it lacks.
    pub header: &'static str,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

impl Entry {
    /// The one that was printed so.
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('@')?;
        let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
        Some(Self { partition: PartitionIndex(partition), offset: Offset(offset) })
    }
}

/// The entry of a record that is given up.
pub fn dead_letter(death: &Death<'_>) -> ToSend {
    let trace = text(&death.stored.headers, headers::TRACEPARENT);
    let redrives = text(&death.stored.headers, headers::REDRIVE);
    let mut all = own_headers(&death.stored.headers);
    let mut put = |name: &str, value: String| all.push((name.to_owned(), Some(value.into())));
    put(TOPIC, death.at.topic.to_string());
    put(PARTITION, death.at.partition.to_string());
    put(OFFSET, death.offset.to_string());
    put(GROUP, death.group.to_owned());
    put(DELIVERY_COUNT, death.tried.to_string());
    put(MESSAGE, shortened(death.error.to_string()));
    put(CLASS, death.error.class.name().to_owned());
    put(REASON, shortened(death.error.reason.clone()));
    put(FIRST_FAILED_AT, time::format(death.first_failed_at));
    put(headers::EVENT_ID, death.event_id.to_owned());
    if let Some(trace) = trace {
        put(TRACE, trace.to_owned());
    }
    if let Some(redrives) = redrives {
        put(headers::REDRIVE, redrives.to_owned());
    }
    ToSend {
        topic: Arc::clone(&death.topic),
        partition: Some(death.at.partition),
        key: death.key.clone(),
        value: death.stored.value.clone(),
        headers: all,
        timestamp: None,
    }
}

/// Reads an entry, also one that a share group of Kafka has written.
///
/// # Errors
/// It does not say where the record lay.
pub fn parse(stored: &Stored) -> Result<DeadLetter, NoDeadLetter> {
    let no = |header| NoDeadLetter { at: stored.at.clone(), offset: stored.offset, header };
    let first = stored.headers.iter().rposition(|(name, _)| name == TOPIC);
    let (own, about) = stored.headers.split_at(first.ok_or_else(|| no(TOPIC))?);
    let is_about = |name: &str| {
        name.starts_with("__dlq.errors.")
            || [CLASS, REASON, FIRST_FAILED_AT, TRACE].contains(&name)
            || OF_COPIES.contains(&name)
    };
    let after = about.iter().filter(|(name, _)| !is_about(name));
    let headers_of_record = own.iter().chain(after).cloned().collect();
    let about = about.to_vec();
    let said = |name: &'static str| text(&about, name).ok_or_else(|| no(name));
    let number = |name: &'static str| said(name)?.parse::<i64>().map_err(|_| no(name));
    let partition = i32::try_from(number(PARTITION)?).map_err(|_| no(PARTITION))?;
    let at = TopicPartition::new(said(TOPIC)?, partition);
    let offset = Offset(number(OFFSET)?);
    let position = || format!("{at}@{offset}");
    let owned = |name: &str| text(&about, name).map(str::to_owned);
    let class = [Class::Transient, Class::Permanent]
        .into_iter()
        .find(|class| text(&about, CLASS) == Some(class.name()));
    Ok(DeadLetter {
        entry: Entry { partition: stored.at.partition, offset: stored.offset },
        died_at: stored.timestamp,
        group: said(GROUP)?.to_owned(),
        tried: number(DELIVERY_COUNT).ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        message: owned(MESSAGE).unwrap_or_default(),
        class,
        reason: owned(REASON).unwrap_or_default(),
        first_failed_at: text(&about, FIRST_FAILED_AT)
            .and_then(time::parse)
            .unwrap_or(stored.timestamp),
        event_id: owned(headers::EVENT_ID).unwrap_or_else(position),
        trace: owned(TRACE),
        redrives: redrives(&about),
        key: stored.key.clone(),
        value: stored.value.clone(),
        headers: headers_of_record,
        at,
        offset,
    })
}

/// The record that has the group handle it again: with the same event id, in the same partition.
pub fn redriven(letter: &DeadLetter) -> ToSend {
    let again = letter.redrives.saturating_add(1).to_string();
    decision(letter, headers::REDRIVE, &again)
}

/// The record that has the group leave it, and go on with its key if that waits.
pub fn discarded(letter: &DeadLetter) -> ToSend {
    decision(letter, headers::DISCARD, "1")
}

/// The entry that a record of `GROUP.retry` decides about, and what.
pub fn decided(stored: &Stored) -> Option<(Entry, Decision)> {
    let entry = Entry::parse(text(&stored.headers, headers::DLQ_ENTRY)?)?;
    let is_discarded = text(&stored.headers, headers::DISCARD).is_some();
    Some((entry, if is_discarded { Decision::Discarded } else { Decision::Redriven }))
}

fn decision(letter: &DeadLetter, name: &str, value: &str) -> ToSend {
    let mut all = own_headers(&letter.headers);
    let origin = format!("{}/{}/{}", letter.at.topic, letter.at.partition, letter.offset);
    headers::set(&mut all, headers::EVENT_ID, &letter.event_id);
    headers::set(&mut all, headers::ORIGIN, &origin);
    headers::set(&mut all, headers::DLQ_ENTRY, &letter.entry.to_string());
    headers::set(&mut all, name, value);
    ToSend {
        topic: format!("{}.retry", letter.group).into(),
        partition: Some(letter.at.partition),
        key: letter.key.clone(),
        value: letter.value.clone(),
        headers: all,
        timestamp: None,
    }
}

/// The headers that a record has of its own.
pub(super) fn own_headers(all: &Headers) -> Headers {
    all.iter().filter(|(name, _)| !OF_COPIES.contains(&&**name)).cloned().collect()
}

fn redrives(all: &Headers) -> u32 {
    text(all, headers::REDRIVE).and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::error::{permanent, transient};

    fn header(name: &str, value: &[u8]) -> (String, Option<Bytes>) {
        (name.to_owned(), Some(Bytes::copy_from_slice(value)))
    }

    fn record() -> Stored {
        Stored {
            at: TopicPartition::new("orders", 2),
            offset: Offset(17),
            timestamp: Timestamp(1_000),
            key: Some("o-1".into()),
            value: Some(vec![0xff, 0x00].into()),
            headers: vec![
                header("a", b"1"),
                header("a", b"2"),
                header("b", b"\xff"),
                ("c".to_owned(), None),
                header("traceparent", b"00-x"),
            ],
        }
    }

    fn entry(record: &Stored, error: &ServiceError) -> Stored {
        let sent = dead_letter(&Death {
            topic: "payment.dlq".into(),
            group: "payment",
            stored: record,
            at: &TopicPartition::new("orders", 2),
            offset: Offset(17),
            key: record.key.clone(),
            event_id: "e-1",
            tried: 4,
            first_failed_at: Timestamp(500),
            error,
        });
        stored(sent, 9, 2_000)
    }

    fn stored(sent: ToSend, offset: i64, at_ms: i64) -> Stored {
        Stored {
            at: TopicPartition::new(sent.topic, sent.partition.unwrap().0),
            offset: Offset(offset),
            timestamp: Timestamp(at_ms),
            key: sent.key,
            value: sent.value,
            headers: sent.headers,
        }
    }

    #[test]
    fn an_entry_has_all_of_the_record_and_why() {
        let record = record();
        let entry = entry(&record, &transient("timeout").because("no answer in 30 s"));
        assert_eq!((&entry.key, &entry.value), (&record.key, &record.value));
        assert_eq!(entry.at, TopicPartition::new("payment.dlq", 2));
        let about: Vec<_> = entry.headers[5..]
            .iter()
            .map(|(name, value)| (&**name, std::str::from_utf8(value.as_ref().unwrap()).unwrap()))
            .collect();
        assert_eq!(
            about,
            [
                ("__dlq.errors.topic", "orders"),
                ("__dlq.errors.partition", "2"),
                ("__dlq.errors.offset", "17"),
                ("__dlq.errors.group", "payment"),
                ("__dlq.errors.delivery.count", "4"),
                ("__dlq.errors.message", "timeout: no answer in 30 s"),
                ("ottla-class", "transient"),
                ("ottla-reason", "timeout"),
                ("ottla-first-failed-at", "1970-01-01T00:00:00.500Z"),
                ("ottla-event-id", "e-1"),
                ("ottla-trace", "00-x"),
            ]
        );
        let letter = parse(&entry).unwrap();
        assert_eq!(letter.headers, record.headers);
        assert_eq!((letter.at, letter.offset), (record.at, record.offset));
        assert_eq!(
            (letter.class, &*letter.reason, letter.tried),
            (Some(Class::Transient), "timeout", 4)
        );
        assert_eq!((letter.first_failed_at, letter.died_at), (Timestamp(500), Timestamp(2_000)));
        assert_eq!((&*letter.event_id, letter.redrives), ("e-1", 0));
    }

    #[test]
    fn a_record_can_die_again_and_keeps_its_id_place_and_headers() {
        let first = parse(&entry(&record(), &permanent("bad-event"))).unwrap();
        let again = stored(redriven(&first), 3, 3_000);
        assert_eq!(again.at, TopicPartition::new("payment.retry", 2));
        assert_eq!(text(&again.headers, "ottla-origin"), Some("orders/2/17"));
        assert_eq!(text(&again.headers, "ottla-event-id"), Some("e-1"));
        assert_eq!(text(&again.headers, "ottla-redrive"), Some("1"));
        assert_eq!(decided(&again), Some((first.entry, Decision::Redriven)));
        assert_eq!(first.entry.to_string(), "2@9");

        let second = parse(&entry(&again, &permanent("bad-event"))).unwrap();
        assert_eq!((second.redrives, &second.headers), (1, &record().headers));
        assert_eq!(text(&redriven(&second).headers, "ottla-redrive"), Some("2"));
    }

    #[test]
    fn a_discarded_entry_is_told_by_the_retry_topic() {
        let letter = parse(&entry(&record(), &permanent("bad-event"))).unwrap();
        let told = stored(discarded(&letter), 4, 3_000);
        assert_eq!(decided(&told), Some((letter.entry, Decision::Discarded)));
        assert_eq!(decided(&record()), None);
    }

    #[test]
    fn dead_letters_of_dead_letters_keep_the_first_ones_headers() {
        let first = entry(&record(), &permanent("bad-event"));
        let second = parse(&entry(&first, &permanent("other"))).unwrap();
        assert_eq!(text(&second.headers, "__dlq.errors.message"), Some("bad-event"));
        assert_eq!(&*second.reason, "other");
    }

    #[test]
    fn an_entry_of_a_share_group_is_read() {
        let mut entry = record();
        for (name, value) in
            [(TOPIC, "orders"), (PARTITION, "2"), (OFFSET, "17"), (GROUP, "share"), ("z", "own")]
        {
            entry.headers.push(header(name, value.as_bytes()));
        }
        let letter = parse(&entry).unwrap();
        assert_eq!(
            (&*letter.group, letter.class, &*letter.event_id),
            ("share", None, "orders-2@17")
        );
        assert_eq!((letter.headers.len(), letter.first_failed_at), (6, Timestamp(1_000)));
    }

    #[test]
    fn what_is_no_entry_is_told_by_the_header_it_lacks() {
        let mut entry = record();
        assert_eq!(parse(&entry).unwrap_err().header, TOPIC);
        entry.headers.push(header(TOPIC, b"orders"));
        entry.headers.push(header(PARTITION, b"99999999999"));
        let error = parse(&entry).unwrap_err();
        assert_eq!(
            error.to_string(),
            "orders-2@17 is no dead letter: header __dlq.errors.partition is missing or not understood"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let entry = entry(&record(), &permanent("long").because("ä".repeat(5_000)));
        let message = text(&entry.headers, MESSAGE).unwrap();
        assert!(message.len() <= MESSAGE_BYTES_MAX && message.len() > MESSAGE_BYTES_MAX - 4);
    }
}
