//! Events that were handled, for as long as their like is refused. Pure; the truth is the topic
//! `ottla.seen.GROUP`. It holds where duplicates have the same key, since only then they come to the same partition.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::types::{PartitionIndex, Timestamp};

/// Ids that are remembered in each partition; the oldest are forgotten above it.
const IDS_MAX: usize = 200_000;

#[derive(Debug, Default)]
struct Window {
    until: HashMap<Arc<str>, Timestamp>,
    order: VecDeque<(Arc<str>, Timestamp)>,
}

/// What was handled, by partition number.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<PartitionIndex, Window>);

impl Seen {
    /// Whether an event with this id was handled and its time is not over.
    pub(super) fn has(&self, partition: PartitionIndex, id: &str, now: Timestamp) -> bool {
        let until = self.0.get(&partition).and_then(|window| window.until.get(id));
        until.is_some_and(|until| now < *until)
    }

    /// Remembers an event until then, and forgets those whose time is over.
    pub(super) fn add(
        &mut self,
        partition: PartitionIndex,
        id: Arc<str>,
        until: Timestamp,
        now: Timestamp,
    ) {
        let window = self.0.entry(partition).or_default();
        window.until.insert(Arc::clone(&id), until);
        window.order.push_back((id, until));
        while let Some((oldest, until)) = window.order.front() {
            let is_over = *until <= now || window.order.len() > IDS_MAX;
            if !is_over {
                break;
            }
            if window.until.get(oldest) == Some(until) {
                window.until.remove(oldest);
            }
            window.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_within_its_window_and_its_partition() {
        let mut seen = Seen::default();
        let (here, there) = (PartitionIndex(0), PartitionIndex(1));
        seen.add(here, "e-1".into(), Timestamp(100), Timestamp(0));
        assert!(seen.has(here, "e-1", Timestamp(99)));
        assert!(!seen.has(here, "e-1", Timestamp(100)));
        assert!(!seen.has(there, "e-1", Timestamp(0)));
        seen.add(here, "e-2".into(), Timestamp(300), Timestamp(200));
        assert_eq!(seen.0[&here].until.len(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten_where_there_are_too_many() {
        let mut seen = Seen::default();
        for n in 0..=IDS_MAX {
            let id = n.to_string().into();
            seen.add(PartitionIndex(0), id, Timestamp(i64::MAX), Timestamp(0));
        }
        assert!(!seen.has(PartitionIndex(0), "0", Timestamp(0)));
        assert!(seen.has(PartitionIndex(0), "1", Timestamp(0)));
    }
}
