//! What a group's worker shows of itself: whether it has something to do, and how far it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::metrics::GroupMetrics;
use super::plan::Plan;
use super::store::Store;
use crate::client::cluster::TopicPartition;
use crate::types::{Offset, Timestamp};

/// A worker as it was when it last looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Nothing runs, nothing waits to be committed, nothing is due.
    pub(super) is_idle: bool,
    /// When something is due: a timer, a retry, a breaker, a new try to reach the cluster.
    pub(super) next_due: Option<Timestamp>,
    /// What is committed, by partition.
    pub(super) positions: BTreeMap<TopicPartition, Offset>,
    /// Whether it waits for something else than records: then positions say nothing.
    pub(super) is_paused: bool,
    /// Counts what it has done.
    pub(super) steps: u64,
    pub(super) store: Option<Arc<Store>>,
    /// What the group does, once it works.
    pub(super) plan: Option<Arc<Plan>>,
}

/// A group as it is seen from outside.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) group: Arc<str>,
    pub(super) metrics: GroupMetrics,
    standing: Mutex<Standing>,
    changed: watch::Sender<u64>,
}

impl Status {
    /// A worker that has not begun; changes are told to `changed`.
    pub(super) fn new(group: Arc<str>, changed: watch::Sender<u64>) -> Self {
        let (metrics, standing) = (GroupMetrics::default(), Mutex::default());
        Self { group, metrics, standing, changed }
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// Changes what is shown, and tells those who wait for it.
    pub(super) fn show(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.lock();
        change(&mut standing);
        drop(standing);
        self.changed.send_modify(|n| *n += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
