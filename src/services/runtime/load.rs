//! Reads what a group has written down for itself in the partitions that are now ours.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::parking::{Lane, Parking, Seq, Waits};
use super::plan::Plan;
use super::records::{self, Parked, Timed};
use super::seen::Seen;
use super::timers::Timers;
use super::topics::read_all;
use crate::client::cluster::{Cluster, ClusterError, TopicPartition};
use crate::types::{Offset, PartitionIndex, Timestamp};

/// All of it.
pub(super) struct Loaded {
    /// Where each partition goes on, and what is committed of it.
    pub(super) positions: Vec<(TopicPartition, Offset, Option<Offset>)>,
    /// Its end now.
    pub(super) horizon: BTreeMap<TopicPartition, Offset>,
    pub(super) parking: Parking<Parked>,
    pub(super) timers: Timers<Timed>,
    pub(super) seen: Seen,
    pub(super) intents: HashSet<String>,
}

/// Reads it to the ends.
pub(super) async fn load(
    cluster: &dyn Cluster,
    plan: &Plan,
    assigned: &[TopicPartition],
) -> Result<Loaded, ClusterError> {
    let spans = cluster.spans(assigned.to_vec()).await?;
    let committed = cluster.committed(plan.group.to_string(), assigned.to_vec()).await?;
    let mut loaded = Loaded {
        positions: Vec::new(),
        horizon: BTreeMap::new(),
        parking: Parking::default(),
        timers: Timers::default(),
        seen: Seen::default(),
        intents: HashSet::new(),
    };
    for ((at, span), committed) in assigned.iter().zip(spans).zip(committed) {
        let is_source = plan.sources().any(|topic| *topic == at.topic);
        let begins = if is_source && !plan.from_beginning { span.end } else { span.start };
        let position = committed.map_or(begins, |offset| offset.max(span.start));
        loaded.positions.push((at.clone(), position, committed));
        loaded.horizon.insert(at.clone(), span.end);
    }
    let numbers: BTreeSet<PartitionIndex> = assigned.iter().map(|at| at.partition).collect();
    for number in numbers {
        let owned: HashSet<Arc<str>> = assigned
            .iter()
            .filter(|at| at.partition == number)
            .map(|at| Arc::clone(&at.topic))
            .collect();
        loaded.partition(cluster, plan, number, &owned).await?;
    }
    Ok(loaded)
}

impl Loaded {
    async fn partition(
        &mut self,
        cluster: &dyn Cluster,
        plan: &Plan,
        number: PartitionIndex,
        owned: &HashSet<Arc<str>>,
    ) -> Result<(), ClusterError> {
        let at = |what| TopicPartition::new(plan.own_topic(what), number.0);
        let mut parked = BTreeMap::<Vec<u8>, (Lane, Seq, Waits, Parked)>::new();
        read_all(cluster, at("park"), |entry| {
            let key = entry.key.as_deref().unwrap_or_default().to_vec();
            match records::parse_park(&entry) {
                Some(one) if owned.contains(&one.3.stored.at.topic) => parked.insert(key, one),
                _ => parked.remove(&key),
            };
        })
        .await?;
        for (lane, seq, waits, one) in parked.into_values() {
            self.parking.insert(&lane, seq, waits, one);
        }
        let timers = &mut self.timers;
        read_all(cluster, at("timer"), |entry| {
            let id = String::from_utf8_lossy(entry.key.as_deref().unwrap_or_default()).into_owned();
            match records::parse_timer(&entry) {
                Some((due, timed)) if owned.contains(&timed.owner) => {
                    timers.set((number, id), due, timed);
                }
                _ => {
                    timers.cancel(&(number, id));
                }
            }
        })
        .await?;
        let now = cluster.clock().now().wall;
        let seen = &mut self.seen;
        read_all(cluster, at("seen"), |entry| {
            if let Some((id, until)) = records::parse_seen(&entry)
                && until > Timestamp::max(now, entry.timestamp)
            {
                seen.add(number, id, until, now);
            }
        })
        .await?;
        let intents = &mut self.intents;
        read_all(cluster, at("intent"), |entry| {
            let key = entry.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            intents.insert(key.into_owned());
        })
        .await
    }
}
