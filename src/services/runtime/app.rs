//! Services that are run together, and what can be done with them while they run.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gate::Breakers;
use super::handle::Handle;
use super::plan::{self, PlanError};
use super::status::Status;
use super::store::Owners;
use super::worker::{self, Shared};
use crate::client::cluster::Cluster;
use crate::services::modules::{Module, Route};
use crate::services::saga::{Orchestrator, Versions};
use crate::services::service::Service;

/// Services to run together.
#[derive(Clone, Debug, Default)]
pub struct App {
    services: Vec<Service>,
    sagas: Vec<Versions>,
    routes: Vec<Route>,
    sagas_kept: Option<Duration>,
    instance: u32,
    is_remote: bool,
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

    /// Sagas that have ended go after so long, where their versions do not say so themselves; without this they
    /// stay for ever.
    #[must_use]
    pub fn keep_sagas(mut self, kept: Duration) -> Self {
        self.sagas_kept = Some(kept);
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

    /// Whether they are to run on another cluster than the broker in this process.
    pub(crate) fn is_remote(&self) -> bool {
        self.is_remote
    }

    pub(crate) fn remote(mut self, is_remote: bool) -> Self {
        self.is_remote = is_remote;
        self
    }

    /// Whether its services can be run together.
    ///
    /// # Errors
    /// Services that contradict each other.
    pub fn check(&self) -> Result<(), PlanError> {
        plan::plans(&self.all_services()).map(drop)
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
        for plan in plan::plans(&self.all_services())? {
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
            tasks.spawn(worker::keep(shared, stop.subscribe()));
        }
        Ok(Running { handle: Handle { cluster, groups, changed, breakers }, tasks, stop })
    }

    /// The services, with those that its sagas are.
    fn all_services(&self) -> Vec<Service> {
        let kept = |versions: Versions| match (versions.kept(), self.sagas_kept) {
            (None, Some(kept)) => versions.keep(kept),
            (Some(_), _) | (None, None) => versions,
        };
        let sagas = self.sagas.iter().cloned().map(kept);
        let sagas = sagas.map(|versions| Service::from(Orchestrator::new(versions)));
        self.services.iter().cloned().chain(sagas).collect()
    }
}

/// Services that run. Dropped, they end where they are, as if the process were killed.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Ends the services: what is done is committed, what runs is ended and comes again, the groups are left.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }

    /// To ask them with while they run.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Deref for Running {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}
