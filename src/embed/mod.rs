//! ottla inside another program: a Rust test, or the `ottla` command itself.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let ottla = ottla::Ottla::builder().ephemeral().start().await?;
//! println!("point any Kafka client at {}", ottla.bootstrap_servers());
//! ottla.stop().await?;
//! # Ok(())
//! # }
//! ```

mod run;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::services::Services;
use crate::broker::{
    Boot, Broker, BrokerOptions, CloseError, Closed, OpenError, Tasks, TopicError,
};
use crate::client::embedded::Embedded;
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::config::listener::{Endpoint, Endpoints, Exposure, check_exposure, listeners};
use crate::config::load::Loaded;
use crate::config::value::{Durability, HttpPort};
use crate::config::{ConfigError, ConfigTable};
use crate::http::{self, HttpState, Names, ServicesFace};
use crate::ids::Ids;
use crate::log::fs::{DataLock, Fs, LockError, MemoryFs, RealFs};
use crate::partition::Flusher;
use crate::server::{
    BindError, Bound, FaultRule, Faults, Server, ServerMetrics, ServerOptions, bind,
};
use crate::services::http::Api;
use crate::services::modules::PackError;
use crate::services::{App, PlanError};
use crate::types::NodeId;

/// A topic that is there, with at least so many partitions and these settings, before anyone is
/// let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Its name.
    pub name: String,
    /// `None`: num.partitions for a new topic, any number for one that exists.
    pub partitions: Option<i32>,
    /// `None`: default.replication.factor.
    pub replication_factor: Option<i16>,
    /// Topic configs by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// How long background tasks may take to end before the logs are closed under them, in ms.
const TASKS_END_MAX_MS: u64 = 2_500;

/// Stands for the address of a listener where there is none, which the settings do not allow.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What to start; see [`Ottla::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    config: BrokerConfig,
    /// The settings that it began with, and which of those were set.
    base: BrokerConfig,
    given: BTreeSet<&'static str>,
    clock: Clock,
    ids: Ids,
    exposure: Exposure,
    topics: Vec<DeclaredTopic>,
    other_nodes: Vec<NodeId>,
    faults: (Vec<FaultRule>, u64),
    app: Option<App>,
}

/// Why ottla did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A Kafka listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data folder belongs to a running process, or cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A topic that was declared.
    #[error("topic {name}: {error}")]
    Topic {
        /// Its name.
        name: String,
        /// Why it is not as declared.
        error: TopicError,
    },
    /// A pack.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The services.
    #[error(transparent)]
    Services(#[from] PlanError),
    /// Services that are to run on another cluster.
    #[error(
        "KAFKA_BOOTSTRAP_SERVERS is set, and services on another cluster are not there yet: unset it to run them \
         beside the broker in this process"
    )]
    RemoteCluster,
    /// The runtime.
    #[error("cannot start: {0}")]
    Internal(String),
}

impl StartError {
    /// Whether somebody else has the port or the data folder.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Bind(error) => error.is_taken(),
            Self::Lock(error) => error.is_taken(),
            Self::Config(_)
            | Self::Open(_)
            | Self::Topic { .. }
            | Self::Pack(_)
            | Self::Services(_)
            | Self::RemoteCluster
            | Self::Internal(_) => false,
        }
    }
}

/// Why ottla did not stop as it should; what was acknowledged is safe all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The logs could not be closed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// A thread died.
    #[error("a thread failed: {0}")]
    Internal(String),
}

/// A running ottla. Dropping it does not stop its broker: call [`Ottla::stop`]. Its services end then as if the
/// process were killed.
#[derive(Debug)]
pub struct Ottla {
    broker: Arc<Broker>,
    boot: Arc<Boot>,
    metrics: Arc<ServerMetrics>,
    tasks: Arc<Tasks>,
    addresses: Vec<(String, SocketAddr)>,
    flusher: Flusher,
    flusher_thread: JoinHandle<()>,
    http: Option<SocketAddr>,
    services: Option<Services>,
    _lock: Option<DataLock>,
}

impl Ottla {
    /// Everything on its default: port 9092 on loopback, data in `./ottla-data`.
    pub fn builder() -> Builder {
        Builder {
            config: BrokerConfig::default(),
            base: BrokerConfig::default(),
            given: BTreeSet::new(),
            clock: Clock::system(),
            ids: Ids::random(),
            exposure: Exposure::Loopback,
            topics: Vec::new(),
            other_nodes: Vec::new(),
            faults: (Vec::new(), 0),
            app: None,
        }
    }

    /// What a client needs to connect: `127.0.0.1:9092`.
    pub fn bootstrap_servers(&self) -> String {
        let first = self.addresses.first();
        first.map_or_else(String::new, |(_, address)| reachable(*address).to_string())
    }

    /// Each listener with the address it is bound to.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Where health and metrics are served, if they are.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The services beside the broker, if there are any.
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }

    /// Where the API of services is served, if it is.
    pub fn services_address(&self) -> Option<SocketAddr> {
        self.services.as_ref()?.address
    }

    /// The data folder; `None` where everything is in memory.
    pub fn data_dir(&self) -> Option<&Path> {
        match self.broker.config.ottla_durability {
            Durability::Ephemeral => None,
            Durability::Fsync | Durability::IntervalMs(_) | Durability::Os => {
                Some(self.broker.data_dir())
            }
        }
    }

    /// What an acknowledgement means.
    pub fn durability(&self) -> Durability {
        self.broker.config.ottla_durability
    }

    /// The broker itself.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The broker as the faces see it, from before it is ready.
    pub fn boot(&self) -> &Arc<Boot> {
        &self.boot
    }

    /// What the Kafka face counts.
    pub fn metrics(&self) -> &Arc<ServerMetrics> {
        &self.metrics
    }

    /// Background tasks run here, and end when ottla stops.
    pub fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    /// Stops cleanly: services end first, with what they have done committed; requests taken so far are answered, parked ones at once; then everything is
    /// synced and the logs are closed. Who does not take its answers within some seconds is cut off.
    pub async fn stop(self) -> Result<(), StopError> {
        self.stop_within(u64::MAX).await.map(drop)
    }

    /// As [`Ottla::stop`], but after `limit_ms` nothing more is begun: logs that are not synced by
    /// then are left to the next start, which recovers them as after a kill.
    pub async fn stop_within(self, limit_ms: u64) -> Result<Closed, StopError> {
        // Real time: whoever stops a broker waits, whatever its own clock shows.
        let clock = Clock::system();
        let limit = Duration::from_millis(limit_ms);
        if let Some(services) = self.services {
            services.end().await;
        }
        self.tasks.stop();
        self.tasks.join(clock.sleep_ms(TASKS_END_MAX_MS)).await;
        let broker = self.broker;
        let close = move || broker.close(|| clock.elapsed() >= limit);
        let closed = tokio::task::spawn_blocking(close).await;
        self.flusher.close();
        let ended = tokio::task::spawn_blocking(|| self.flusher_thread.join()).await;
        let closed = closed.map_err(|error| StopError::Internal(error.to_string()))??;
        match ended {
            Ok(Ok(())) => Ok(closed),
            Ok(Err(_)) => Err(StopError::Internal("the sync thread panicked".to_owned())),
            Err(error) => Err(StopError::Internal(error.to_string())),
        }
    }
}

impl Ottla {
    /// Serves the API of services, if there are any, and tells the metrics of them.
    async fn serve_services(
        &mut self,
        host: IpAddr,
        port: HttpPort,
        face: ServicesFace,
        told: &OnceLock<Api>,
    ) {
        let Some(services) = &mut self.services else { return };
        let api = services.api().clone();
        let _ = told.set(api.clone());
        let Some((address, listener)) = listen(host, port, "--services-port").await else { return };
        services.address = Some(address);
        let stop: watch::Receiver<bool> = services.stop.subscribe();
        self.tasks.spawn("services http", face.serve(listener, api, stop));
    }
}

impl Builder {
    /// Keeps everything in memory, takes any free port, and serves no HTTP.
    #[must_use]
    pub fn ephemeral(mut self) -> Self {
        self.config.ottla_durability = Durability::Ephemeral;
        self.config.ottla_http_port = HttpPort::Off;
        self.config.ottla_services_port = HttpPort::Off;
        self.config.listeners = Endpoints::local(0);
        self
    }

    /// Keeps the data here, takes any free port, and serves no HTTP.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.ottla_data_dir = Some(path.into().display().to_string());
        self.config.ottla_http_port = HttpPort::Off;
        self.config.ottla_services_port = HttpPort::Off;
        self.config.listeners = Endpoints::local(0);
        self
    }

    /// Takes these settings in place of those so far.
    #[must_use]
    pub fn config(mut self, config: BrokerConfig) -> Self {
        self.config = config;
        self
    }

    /// Takes the settings of files, environment and flags in place of those so far, and who may come
    /// in. Clients that describe the broker see which of them were set.
    #[must_use]
    pub fn loaded(mut self, loaded: &Loaded) -> Self {
        self.config = loaded.broker.clone();
        self.base = loaded.broker.clone();
        self.given = loaded.statics.keys().copied().collect();
        self.exposure(loaded.exposure)
    }

    /// Changes single settings.
    #[must_use]
    pub fn with_config(mut self, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Takes time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Takes ids from here.
    #[must_use]
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    /// Whether other machines may connect without authentication.
    #[must_use]
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = exposure;
        self
    }

    /// Topics to be there from the start.
    #[must_use]
    pub fn topics(mut self, topics: Vec<DeclaredTopic>) -> Self {
        self.topics = topics;
        self
    }

    /// Services to run beside the broker, from when it is ready until before it stops; those of the packs of the
    /// settings come to them.
    #[must_use]
    pub fn app(mut self, app: App) -> Self {
        self.app = Some(app);
        self
    }

    /// Lets partitions be assigned to further nodes, which nobody serves: for tests of what a client
    /// meets when it asks a node that does not lead.
    #[must_use]
    pub fn other_nodes(mut self, nodes: Vec<NodeId>) -> Self {
        self.other_nodes = nodes;
        self
    }

    /// Lets requests fail by these rules, for tests of what a client does then; the seed chooses
    /// where a rule says "so many of a hundred".
    #[must_use]
    pub fn faults(mut self, rules: Vec<FaultRule>, seed: u64) -> Self {
        self.faults = (rules, seed);
        self
    }

    /// Starts; on return everything works: metadata, groups and declared topics.
    pub async fn start(mut self) -> Result<Ottla, StartError> {
        self.config.check()?;
        let app = services::with_packs(self.app.take(), &self.config)?;
        self.check_http(app.is_some())?;
        let ephemeral = self.config.ottla_durability == Durability::Ephemeral;
        let folder = PathBuf::from(self.config.data_dir());
        let lock = if ephemeral { None } else { Some(DataLock::take(&folder)?) };
        let fs: Arc<dyn Fs> = if ephemeral { Arc::new(MemoryFs::new()) } else { Arc::new(RealFs) };
        let bound = self.bind().await?;
        let addresses: Vec<_> =
            bound.iter().map(|bound| (bound.name.clone(), bound.address)).collect();
        let (flusher, flusher_thread) = Flusher::start(self.clock.clone(), self.cache_bytes())
            .map_err(|e| StartError::Internal(e.to_string()))?;
        let (boot, tasks) = (Arc::new(Boot::default()), Arc::new(Tasks::default()));
        let metrics = Arc::new(ServerMetrics::default());
        let (rules, seed) = std::mem::take(&mut self.faults);
        let server_options = ServerOptions {
            boot: Arc::clone(&boot),
            clock: self.clock.clone(),
            metrics: Arc::clone(&metrics),
            other_nodes: self.other_nodes.clone(),
            faults: Faults::new(rules, seed),
        };
        let server = Server::new(bound, &self.config, server_options);
        tasks.spawn("kafka listeners", server.run(tasks.stopping()));
        let state = self.http_state(&boot, &metrics, &addresses);
        let (names, api) = (state.names, Arc::clone(&state.services));
        let http = self.serve_http(state, &tasks).await;
        let options = BrokerOptions {
            config: self.config.clone(),
            statics: self.statics(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            fs,
            folder,
            flusher: flusher.clone(),
            tasks: Arc::clone(&tasks),
            other_nodes: self.other_nodes.clone(),
        };
        let face = ServicesFace { names, clock: self.clock.clone() };
        let (port, host) = (self.config.ottla_services_port, self.config.ottla_http_host);
        let ids = self.ids.clone();
        let opened = self.open(options).await.and_then(|broker| {
            boot.set_ready(Arc::clone(&broker));
            let cluster = Arc::new(Embedded::new(Arc::clone(&broker)));
            let brokers = addresses.first().map(|(_, address)| reachable(*address).to_string());
            let start = |app| Services::start(&app, cluster, brokers.unwrap_or_default(), ids);
            Ok((broker, app.map(start).transpose()?))
        });
        match opened {
            Ok((broker, services)) => {
                let mut ottla = Ottla {
                    broker,
                    boot,
                    metrics,
                    tasks,
                    addresses,
                    flusher,
                    flusher_thread,
                    http,
                    services,
                    _lock: lock,
                };
                ottla.serve_services(host, port, face, &api).await;
                Ok(ottla)
            }
            Err(error) => {
                boot.set_failed();
                tasks.stop();
                tasks.join(Clock::system().sleep_ms(TASKS_END_MAX_MS)).await;
                flusher.close();
                Err(error)
            }
        }
    }

    /// What the pages of HTTP are made from.
    fn http_state(
        &self,
        boot: &Arc<Boot>,
        metrics: &Arc<ServerMetrics>,
        addresses: &[(String, SocketAddr)],
    ) -> HttpState {
        let is_local = self.config.ottla_http_host.is_loopback();
        HttpState {
            boot: Arc::clone(boot),
            metrics: Arc::clone(metrics),
            clock: self.clock.clone(),
            durability: self.config.ottla_durability,
            kafka: addresses.first().map_or(NOWHERE, |(_, address)| *address),
            names: if is_local { Names::Local } else { Names::Any },
            services: Arc::new(OnceLock::new()),
        }
    }

    /// What was set: what was loaded as such, and what has changed since.
    fn statics(&self) -> BTreeMap<&'static str, Option<String>> {
        let value = |key: &'static str| {
            let value = self.config.value_of(key)?;
            let is_set =
                self.given.contains(key) || self.base.value_of(key).as_ref() != Some(&value);
            is_set.then_some((key, value))
        };
        BrokerConfig::KEYS.iter().filter_map(|key| value(key.info.name)).collect()
    }

    /// Bytes of the page cache that the newest log may hold: as set, at most a sixteenth of the memory.
    fn cache_bytes(&self) -> u64 {
        if self.config.ottla_durability == Durability::Ephemeral {
            return 0;
        }
        let memory = rustix::system::sysinfo();
        let memory_bytes = memory.totalram.saturating_mul(u64::from(memory.mem_unit));
        u64::try_from(self.config.log_cache_bytes).unwrap_or(0).min(memory_bytes / 16)
    }

    async fn bind(&self) -> Result<Vec<Bound>, StartError> {
        let backlog = self.config.socket_listen_backlog_size;
        let mut bound = Vec::new();
        for listener in listeners(&self.config, self.exposure)? {
            let host = if listener.bind.host.is_empty() { "::" } else { &listener.bind.host };
            let advertised = listener.advertised.map(|to| (to.host, to.port));
            bound.push(
                bind(&listener.bind.name, host, listener.bind.port, advertised, backlog).await?,
            );
        }
        Ok(bound)
    }

    /// Whether HTTP, which knows no users, may listen where it is to.
    fn check_http(&self, has_services: bool) -> Result<(), ConfigError> {
        let services = if has_services { self.config.ottla_services_port } else { HttpPort::Off };
        for port in [self.config.ottla_http_port, services] {
            let HttpPort::On(port) = port else { continue };
            let host = self.config.ottla_http_host.to_string();
            check_exposure(&Endpoint { name: "HTTP".to_owned(), host, port }, self.exposure)?;
        }
        Ok(())
    }

    /// Serves HTTP where that is wanted.
    async fn serve_http(&self, state: HttpState, tasks: &Tasks) -> Option<SocketAddr> {
        let port = self.config.ottla_http_port;
        let (address, listener) = listen(self.config.ottla_http_host, port, "--http-port").await?;
        tasks.spawn("http", http::serve(listener, state, tasks.stopping()));
        Some(address)
    }

    async fn open(self, options: BrokerOptions) -> Result<Arc<Broker>, StartError> {
        let opened = tokio::task::spawn_blocking(move || Broker::open(options)).await;
        let broker = opened.map_err(|error| StartError::Internal(error.to_string()))??;
        broker.recovered().await?;
        broker.start_tasks();
        let forgotten = broker.forget_lost_topics().await;
        forgotten.map_err(|error| StartError::Internal(error.to_string()))?;
        for topic in self.topics {
            let name = topic.name.clone();
            broker
                .declare_topic(
                    &topic.name,
                    topic.partitions,
                    topic.replication_factor,
                    topic.configs,
                )
                .await
                .map_err(|error| StartError::Topic { name, error })?;
        }
        Ok(broker)
    }
}

/// Listens for HTTP where that is wanted; a port that is taken is a warning, no more.
async fn listen(host: IpAddr, port: HttpPort, flag: &str) -> Option<(SocketAddr, TcpListener)> {
    let HttpPort::On(port) = port else { return None };
    let bound = TcpListener::bind((host, port)).await;
    match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(port, %error, "no HTTP: choose another port with {flag}");
            None
        }
    }
}

/// An address of this machine that a client can connect to, where every interface is listened at.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
