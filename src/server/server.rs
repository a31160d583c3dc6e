//! The Kafka face as a whole: binds the listeners first, serves them until it is stopped.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::budget::Budget;
use super::context::{Endpoint, Limits};
use super::faults::Faults;
use super::listener::{Admission, Listener};
use super::metrics::ServerMetrics;
use crate::broker::Boot;
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::config::listener::LOCALHOST;
use crate::types::NodeId;

/// What every listener and connection shares.
pub(crate) struct Shared {
    pub(crate) boot: Arc<Boot>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<ServerMetrics>,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    /// The settings as started; those in force are the broker's, once it is ready.
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) advertised: HashMap<String, Endpoint>,
}

/// A bound listener that is not served yet.
#[derive(Debug)]
pub struct Bound {
    /// Its name, such as PLAINTEXT.
    pub name: String,
    /// Where it listens: with the port that was given, where 0 was asked for.
    pub address: SocketAddr,
    /// What its clients are told, if not where they came in.
    pub advertised: Option<(String, u16)>,
    socket: TcpListener,
    /// That of `localhost` in IPv6.
    second: Option<TcpListener>,
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address} ({name}): {source}")]
pub struct BindError {
    /// The listener's name.
    pub name: String,
    /// The address asked for.
    pub address: String,
    /// The system's answer.
    pub source: io::Error,
}

impl BindError {
    /// Whether somebody else has the port.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// Binds one listener. Connections wait in its backlog until it is served. At `localhost` it listens at
/// `::1` too, if the machine has that and nobody else the port.
pub async fn bind(
    name: &str,
    host: &str,
    port: u16,
    advertised: Option<(String, u16)>,
    backlog: i32,
) -> Result<Bound, BindError> {
    let shown = format!("{host}:{port}");
    let fail = |source| BindError { name: name.to_owned(), address: shown.clone(), source };
    let is_local = host.eq_ignore_ascii_case(LOCALHOST);
    let addresses: Vec<SocketAddr> = if is_local {
        vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    } else {
        tokio::net::lookup_host((host, port)).await.map_err(fail)?.collect()
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in addresses {
        match listen(address, backlog) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(fail)?;
                let second = (is_local && address.is_ipv4())
                    .then(|| listen((Ipv6Addr::LOCALHOST, address.port()).into(), backlog));
                let second = second.and_then(|bound| second_socket(bound, address.port()));
                return Ok(Bound { name: name.to_owned(), address, advertised, socket, second });
            }
            // Somebody else's port is not to be had by another address of the same machine.
            Err(error) if is_local && error.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError { address: address.to_string(), ..fail(error) });
            }
            Err(error) => last = error,
        }
    }
    Err(fail(last))
}

fn second_socket(bound: io::Result<TcpListener>, port: u16) -> Option<TcpListener> {
    match bound {
        Ok(socket) => Some(socket),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(
                port,
                "another process has this port of ::1: clients that are told \
                localhost may come to that one"
            );
            None
        }
        Err(error) => {
            tracing::debug!(%error, "no listener at ::1");
            None
        }
    }
}

fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The Kafka face of a broker that may still be starting.
pub struct Server {
    listeners: Vec<Listener>,
}

/// What a server stands on, besides its listeners and settings.
#[derive(Debug)]
pub struct ServerOptions {
    /// The broker, as soon as it is ready.
    pub boot: Arc<Boot>,
    /// Its time.
    pub clock: Clock,
    /// Counts what is done.
    pub metrics: Arc<ServerMetrics>,
    /// Nodes beside this one that clients are told of, at the same address.
    pub other_nodes: Vec<NodeId>,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Server {
    /// Takes the bound listeners; each serves this broker's node.
    pub fn new(bound: Vec<Bound>, config: &BrokerConfig, options: ServerOptions) -> Self {
        let node_id = NodeId(config.node_id);
        let advertised = bound
            .iter()
            .filter_map(|bound| {
                let (host, port) = bound.advertised.clone()?;
                let port = if port == 0 { bound.address.port() } else { port };
                Some((bound.name.clone(), Endpoint { host, port }))
            })
            .collect();
        let shared = Arc::new(shared(config, options, advertised));
        let listeners = bound.into_iter().flat_map(|bound| {
            let name: Arc<str> = bound.name.into();
            let shared = &shared;
            [Some(bound.socket), bound.second].into_iter().flatten().map(move |socket| Listener {
                name: Arc::clone(&name),
                node_id,
                socket,
                shared: Arc::clone(shared),
            })
        });
        Self { listeners: listeners.collect() }
    }

    /// Serves until `stop`, then until every request that was taken is answered.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        for listener in self.listeners {
            running.spawn(listener.run(stop.clone()));
        }
        while running.join_next().await.is_some() {}
    }
}

fn shared(
    config: &BrokerConfig,
    options: ServerOptions,
    advertised: HashMap<String, Endpoint>,
) -> Shared {
    let ServerOptions { boot, clock, metrics, other_nodes, faults } = options;
    let mut nodes = vec![NodeId(config.node_id)];
    nodes.extend(other_nodes);
    let size = |value: i32| usize::try_from(value).unwrap_or(0);
    Shared {
        boot,
        clock,
        metrics,
        limits: Limits {
            frame_max_bytes: size(config.socket_request_max_bytes),
            idle_ms: u64::try_from(config.connections_max_idle_ms).unwrap_or(u64::MAX),
        },
        budget: Arc::new(Budget::new(budget_bytes(config.queued_max_request_bytes))),
        config: Arc::new(config.clone()),
        admission: Arc::default(),
        faults: Arc::new(faults),
        nodes,
        advertised,
    }
}

/// Bytes of requests that may be in memory: as set, or a quarter of the machine's memory.
fn budget_bytes(configured: i64) -> usize {
    /// More than 2 GiB of requests is never wanted.
    const MOST: u64 = 2 * 1024 * 1024 * 1024;
    let bytes = u64::try_from(configured).unwrap_or_else(|_| memory_bytes() / 4);
    usize::try_from(bytes.min(MOST)).unwrap_or(usize::MAX)
}

fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram)
}
