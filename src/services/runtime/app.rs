//! Services that are run together, and what can be done with them while they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gate::Breakers;
use super::metrics::GroupMetrics;
use super::plan::{self, PlanError};
use super::status::Status;
use super::store::Owners;
use super::worker::{self, Shared};
use crate::client::cluster::{Cluster, ClusterError};
use crate::services::breaker::BreakerState;
use crate::services::modules::{Module, Route};
use crate::services::saga::{Orchestrator, Versions};
use crate::services::service::Service;
use crate::types::Timestamp;

/// Services to run together.
#[derive(Clone, Debug, Default)]
pub struct App {
    services: Vec<Service>,
    sagas: Vec<Versions>,
    routes: Vec<Route>,
    instance: u32,
}

impl App {
    /// No services yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this service.
    #[must_use]
    pub fn service(mut self, service: impl Into<Service>) -> Self {
        self.services.push(service.into());
        self
    }

    /// With this saga, in one version or several.
    #[must_use]
    pub fn saga(mut self, versions: Versions) -> Self {
        self.sagas.push(versions);
        self
    }

    /// With all of a module.
    #[must_use]
    pub fn module(mut self, module: Module) -> Self {
        let Module { services, sagas, routes, .. } = module;
        self.services.extend(services);
        self.sagas.extend(sagas);
        self.routes.extend(routes);
        self
    }

    /// The sagas that it has.
    pub fn sagas(&self) -> &[Versions] {
        &self.sagas
    }

    /// The HTTP routes that publish an event, but for those of its sagas.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Which of several processes with the same services this is; 0 without this. Two with the same number
    /// take each other's place.
    #[must_use]
    pub fn instance(mut self, instance: u32) -> Self {
        self.instance = instance;
        self
    }

    /// Runs the services on the runtime that this is called on.
    ///
    /// # Errors
    /// Services that contradict each other. A cluster that cannot be reached is tried again and again.
    pub fn start(&self, cluster: Arc<dyn Cluster>) -> Result<Running, PlanError> {
        let (stop, changed) = (watch::Sender::new(false), watch::Sender::new(0));
        let (owners, breakers) = (Arc::new(Owners::default()), Arc::new(Breakers::default()));
        let mut tasks = JoinSet::new();
        let mut groups = Vec::new();
        let sagas = self.sagas.iter().cloned().map(|versions| Orchestrator::new(versions).into());
        let services: Vec<Service> = self.services.iter().cloned().chain(sagas).collect();
        for plan in plan::plans(&services)? {
            let status = Arc::new(Status::new(Arc::clone(&plan.group), changed.clone()));
            groups.push(Arc::clone(&status));
            let shared = Arc::new(Shared {
                plan: Arc::new(plan),
                cluster: Arc::clone(&cluster),
                status,
                owners: Arc::clone(&owners),
                breakers: Arc::clone(&breakers),
                instance: self.instance,
            });
            tasks.spawn(worker::run(shared, stop.subscribe()));
        }
        Ok(Running { cluster, groups, tasks, stop, changed, breakers })
    }
}

/// Services that run. Dropped, they end where they are, as if the process were killed.
#[derive(Debug)]
pub struct Running {
    cluster: Arc<dyn Cluster>,
    groups: Vec<Arc<Status>>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    /// Counts what any worker shows.
    changed: watch::Sender<u64>,
    breakers: Arc<Breakers>,
}

impl Running {
    /// Ends the services: what is done is committed, what runs is ended and comes again, the groups are left.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }

    /// The groups' names.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|status| &*status.group)
    }

    /// A group's counters.
    pub fn metrics(&self, group: &str) -> Option<&GroupMetrics> {
        self.groups.iter().find(|status| &*status.group == group).map(|status| &status.metrics)
    }

    /// Where the breakers are at, by what they are for.
    pub fn breakers(&self) -> BTreeMap<Arc<str>, BreakerState> {
        self.breakers.states()
    }

    /// A committed row of a table that is open here: one that a handler has looked at or written to since its
    /// group took its partitions.
    pub fn row(&self, table: &str, key: &str) -> Option<Bytes> {
        let mut stores = self.groups.iter().filter_map(|status| status.standing().store);
        stores.find_map(|store| store.committed(table, key))
    }

    /// All committed rows of such a table, in the order of their keys.
    pub fn rows(&self, table: &str) -> BTreeMap<String, Bytes> {
        let stores = self.groups.iter().filter_map(|status| status.standing().store);
        stores.flat_map(|store| store.all(table)).collect()
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
