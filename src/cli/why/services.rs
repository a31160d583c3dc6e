//! What the topics of a group of ottla's services tell of it: keys that wait, dead letters, sagas that are stuck.
//!
//! Whether a breaker is open lies in no topic: `/health/services/GROUP` of the process says it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::Deserialize;

use crate::cli::committed::{Committed, partitions_of};
use crate::cli::ended::Ended;
use crate::cli::{dlq, saga};
use crate::client::{Client, Position};
use crate::services::replay::retry_topic;
use crate::types::Timestamp;

/// What the groups of sagas are called.
const SAGA_GROUP: &str = "ottla-saga-";

/// What is known of a group because its services wrote it down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceFacts {
    /// Entries that nobody has decided about.
    pub(super) dead_letters: usize,
    pub(super) parked: Parked,
    /// Sagas that wait for somebody; of a group of a saga.
    pub(super) stuck: usize,
}

/// Records that wait, of which some are tried again and the others wait behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) records: usize,
    /// Keys that somebody waits behind, those that are held included.
    pub(super) keys: usize,
    /// Keys that wait until it is decided about a dead letter.
    pub(super) held: usize,
    /// Why they failed, of those that did.
    pub(super) reasons: BTreeMap<String, usize>,
    /// When the first is tried again.
    pub(super) next_due: Option<Timestamp>,
}

/// An entry of `ottla.park.GROUP`, as far as it is of interest here.
#[derive(Deserialize)]
struct Entry {
    lane: String,
    due: i64,
    held: bool,
    error: Option<EntryError>,
}

#[derive(Deserialize)]
struct EntryError {
    reason: String,
}

/// Reads it; none for a group that is not one of ottla's services.
///
/// # Errors
/// The cluster's.
pub(super) async fn gather(
    client: &mut Client,
    group: &str,
) -> Result<Option<ServiceFacts>, Ended> {
    let retry = retry_topic(group);
    if partitions_of(client, |name| name == retry).await?.is_empty() {
        return Ok(None);
    }
    let dead_letters = dlq::count(client, group).await?;
    let parked = parked(client, group).await?;
    let stuck = match group.strip_prefix(SAGA_GROUP) {
        Some(name) => saga::stuck(client, name).await?,
        None => 0,
    };
    Ok(Some(ServiceFacts { dead_letters, parked, stuck }))
}

async fn parked(client: &mut Client, group: &str) -> Result<Parked, Ended> {
    let topic = format!("ottla.park.{group}");
    let partitions = partitions_of(client, |name| name == topic).await?;
    let mut reader = Committed::from(client, &partitions, Position::Start).await?;
    let mut entries = BTreeMap::new();
    reader
        .read(client, |stored| {
            let key = (stored.at.partition, stored.key);
            let value = stored.value.as_deref();
            match value.and_then(|value| serde_json::from_slice::<Entry>(value).ok()) {
                Some(entry) => entries.insert(key, entry),
                None => entries.remove(&key),
            };
            ControlFlow::Continue(())
        })
        .await?;
    let entries = entries.into_iter().map(|((partition, _), entry)| (partition.0, entry));
    Ok(summed(entries.collect()))
}

fn summed(entries: Vec<(i32, Entry)>) -> Parked {
    let mut parked = Parked { records: entries.len(), ..Parked::default() };
    let (mut keys, mut held) = (BTreeSet::new(), BTreeSet::new());
    for (partition, entry) in entries {
        let key = (partition, entry.lane);
        if entry.held {
            held.insert(key.clone());
        }
        keys.insert(key);
        if let Some(error) = entry.error {
            *parked.reasons.entry(error.reason).or_default() += 1;
        }
        // Those behind the first of their key are due at 0: as soon as it is done.
        let due = (entry.due > 0).then_some(Timestamp(entry.due));
        parked.next_due = [parked.next_due, due].into_iter().flatten().min();
    }
    (parked.keys, parked.held) = (keys.len(), held.len());
    parked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_not_records() {
        let entry = |lane: &str, due, held, reason: &str| {
            let error = Some(EntryError { reason: reason.to_owned() });
            let error = error.filter(|error| !error.reason.is_empty());
            (0, Entry { lane: lane.to_owned(), due, held, error })
        };
        let parked = summed(vec![
            entry("a", 50, false, "timeout"),
            entry("a", 0, false, ""),
            entry("b", 40, false, "timeout"),
            entry("c", 0, true, "bad"),
        ]);
        assert_eq!((parked.records, parked.keys, parked.held), (4, 3, 1));
        assert_eq!(parked.next_due, Some(Timestamp(40)));
        assert_eq!(
            parked.reasons,
            BTreeMap::from([("bad".to_owned(), 1), ("timeout".to_owned(), 2)])
        );
    }
}
