//! What can be asked of services while they run, by whoever has a handle to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::gate::Breakers;
use super::metrics::GroupMetrics;
use super::status::Status;
use super::store::Store;
use crate::client::cluster::{Cluster, ClusterError, TopicPartition};
use crate::services::breaker::BreakerState;
use crate::services::error::Result;
use crate::types::{Offset, Timestamp};

/// Services that run, seen from outside; clones see the same. It does not keep them running.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) groups: Vec<Arc<Status>>,
    /// Counts what any worker shows.
    pub(super) changed: watch::Sender<u64>,
    pub(super) breakers: Arc<Breakers>,
}

/// How a group's worker is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// It has its partitions.
    pub is_working: bool,
    /// A breaker or a rate holds it back, or it waits to try the cluster again.
    pub is_paused: bool,
    /// How many partitions it has.
    pub partitions: usize,
}

/// What a look for a row came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It is there, and committed.
    Row(Bytes),
    /// It is not there, and records of its input from this offset on may not have been handled yet.
    Absent(Offset),
    /// This process does not have the partition, or not now.
    Elsewhere,
}

impl Handle {
    /// The cluster that they work on.
    pub fn cluster(&self) -> &Arc<dyn Cluster> {
        &self.cluster
    }

    /// The groups' names.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|status| &*status.group)
    }

    /// A group's counters.
    pub fn metrics(&self, group: &str) -> Option<&GroupMetrics> {
        self.status(group).map(|status| &status.metrics)
    }

    /// How a group's worker is.
    pub fn state(&self, group: &str) -> Option<GroupState> {
        let standing = self.status(group)?.standing();
        let is_working = standing.store.is_some();
        let partitions = if is_working { standing.positions.len() } else { 0 };
        Some(GroupState { is_working, is_paused: standing.is_paused, partitions })
    }

    /// Where the breakers are at, by what they are for.
    pub fn breakers(&self) -> BTreeMap<Arc<str>, BreakerState> {
        self.breakers.states()
    }

    /// Where those are at that a group's handlers depend on, as far as something has failed there.
    pub fn breakers_of(&self, group: &str) -> BTreeMap<Arc<str>, BreakerState> {
        let plan = self.status(group).and_then(|status| status.standing().plan);
        let handlers = plan.iter().flat_map(|plan| &plan.subscriptions);
        let names: Vec<_> = handlers.filter_map(|handler| handler.breaker.as_ref()).collect();
        let mut all = self.breakers.states();
        all.retain(|name, _| names.contains(&name));
        all
    }

    /// The topics of a group's dead letters, and of what is decided about them, once it works.
    pub fn letters_of(&self, group: &str) -> Option<(Arc<str>, Arc<str>)> {
        let plan = self.status(group)?.standing().plan?;
        Some((Arc::clone(&plan.dlq), plan.retry_topic().into()))
    }

    /// Changes whenever a worker has done something.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A committed row of a table that is open here: one that a handler has looked at or written to since its
    /// group took its partitions.
    pub fn row(&self, table: &str, key: &str) -> Option<Bytes> {
        self.stores().find_map(|store| store.committed(table, key))
    }

    /// All committed rows of such a table, in the order of their keys.
    pub fn rows(&self, table: &str) -> BTreeMap<String, Bytes> {
        self.stores().flat_map(|store| store.all(table)).collect()
    }

    /// Looks for a row of a group's table, which is opened for that, where the group has the partition of the input
    /// that the row belongs to.
    ///
    /// # Errors
    /// As to open a table.
    pub async fn look(
        &self,
        group: &str,
        table: &str,
        key: &str,
        input: &TopicPartition,
    ) -> Result<Looked> {
        let Some(status) = self.status(group) else { return Ok(Looked::Elsewhere) };
        // First the position: what was handled below it has its row by then.
        let standing = status.standing();
        let position = standing.positions.get(input).copied();
        let (Some(position), Some(store)) = (position, standing.store) else {
            return Ok(Looked::Elsewhere);
        };
        store.open(table).await?;
        Ok(store.committed(table, key).map_or(Looked::Absent(position), Looked::Row))
    }

    /// Opens a table of a group, if that has its partitions now; whether it has.
    ///
    /// # Errors
    /// As to open a table.
    pub async fn open(&self, group: &str, table: &str) -> Result<bool> {
        let store = self.status(group).and_then(|status| status.standing().store);
        match store {
            Some(store) => store.open(table).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Returns once everything that is in the topics is handled and committed, as far as that can be at this
    /// time: the answer is when the next timer or retry is due, if there is one. For tests, on a clock that they
    /// move; a handler that does not end is waited for.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn settle(&self) -> Result<Option<Timestamp>, ClusterError> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let before = self.steps();
            if self.is_settled().await? && self.steps() == before {
                let standings = self.groups.iter().map(|status| status.standing());
                return Ok(standings.filter_map(|standing| standing.next_due).min());
            }
            // Its sender is `self`'s: no error.
            let _ = changed.changed().await;
        }
    }

    fn status(&self, group: &str) -> Option<&Arc<Status>> {
        self.groups.iter().find(|status| &*status.group == group)
    }

    fn stores(&self) -> impl Iterator<Item = Arc<Store>> {
        self.groups.iter().filter_map(|status| status.standing().store)
    }

    fn steps(&self) -> Vec<u64> {
        self.groups.iter().map(|status| status.standing().steps).collect()
    }

    /// Whether every worker rests and has handled all that its partitions hold.
    async fn is_settled(&self) -> Result<bool, ClusterError> {
        let now = self.cluster.clock().now().wall;
        for status in &self.groups {
            let standing = status.standing();
            let has_due = standing.next_due.is_some_and(|due| due <= now);
            if !standing.is_idle || has_due {
                return Ok(false);
            }
            if standing.is_paused {
                continue;
            }
            let (at, positions): (Vec<_>, Vec<_>) = standing.positions.into_iter().unzip();
            let spans = self.cluster.spans(at).await?;
            // What is committed comes into sight a little later: it counts as well.
            if spans.iter().zip(positions).any(|(span, at)| at < span.high_watermark) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
