//! Accepts connections, within the limits, and owns them until they end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::context::{Context, Endpoint};
use super::server::Shared;
use crate::types::NodeId;

/// Wait after an accept that failed (mostly: no file descriptors left), in ms.
const ACCEPT_RETRY_MS: u64 = 50;

/// One bound listener.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) node_id: NodeId,
    pub(crate) socket: TcpListener,
    pub(crate) shared: Arc<Shared>,
}

/// What the limits on connections need to know; one for all listeners.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    state: Mutex<AdmissionState>,
}

#[derive(Debug, Default)]
struct AdmissionState {
    open: usize,
    by_ip: HashMap<IpAddr, usize>,
    /// The second in which `created` connections were made.
    second: u64,
    created: usize,
}

impl Admission {
    /// Takes a place for `ip`, or says which limit is reached. Loopback counts for the total only.
    fn enter(&self, ip: IpAddr, shared: &Shared) -> Result<(), &'static str> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open >= shared.connections_max {
            return Err("max.connections");
        }
        if !ip.is_loopback() {
            let second = shared.clock.now().monotonic.0 / 1000;
            if state.second != second {
                (state.second, state.created) = (second, 0);
            }
            if state.created >= shared.connections_per_second_max {
                return Err("max.connection.creation.rate");
            }
            let here = state.by_ip.entry(ip).or_default();
            if *here >= shared.connections_per_ip_max {
                return Err("max.connections.per.ip");
            }
            *here += 1;
            state.created += 1;
        }
        state.open += 1;
        Ok(())
    }

    fn leave(&self, ip: IpAddr) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = state.open.saturating_sub(1);
        if let Some(here) = state.by_ip.get_mut(&ip) {
            *here -= 1;
            if *here == 0 {
                state.by_ip.remove(&ip);
            }
        }
    }
}

impl Listener {
    /// Serves until `stop` says so, then until each connection has answered what it took.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.begin(stream, peer, &mut connections, &stop),
                    Err(error) => {
                        tracing::warn!(%error, listener = %self.name, "accept failed");
                        self.shared.clock.sleep_ms(ACCEPT_RETRY_MS).await;
                    }
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                }
                _ = stop.changed() => break,
            }
        }
        while connections.join_next().await.is_some() {}
    }

    fn begin(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) {
        let shared = Arc::clone(&self.shared);
        if let Err(limit) = shared.admission.enter(peer.ip(), &shared) {
            shared.metrics.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%peer, limit, "connection refused at a limit");
            return;
        }
        shared.metrics.accepted.fetch_add(1, Ordering::Relaxed);
        shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
        let context = prepare(&stream, peer).map(|local| self.context(peer, local));
        let stop = stop.clone();
        connections.spawn(async move {
            match context {
                Ok(context) => Connection::new(stream, Arc::new(context)).serve(stop).await,
                Err(error) => tracing::debug!(%peer, %error, "connection not usable"),
            }
            shared.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            shared.admission.leave(peer.ip());
        });
    }

    fn context(&self, peer: SocketAddr, local: SocketAddr) -> Context {
        let shared = &self.shared;
        Context {
            boot: Arc::clone(&shared.boot),
            node_id: self.node_id,
            listener: Arc::clone(&self.name),
            peer,
            local,
            endpoints: self.endpoints(local),
            limits: shared.limits,
            clock: shared.clock.clone(),
            metrics: Arc::clone(&shared.metrics),
            budget: Arc::clone(&shared.budget),
            client: Mutex::default(),
        }
    }

    /// Where clients of this listener find each node: as advertised, else where they came in.
    fn endpoints(&self, local: SocketAddr) -> Vec<(NodeId, Endpoint)> {
        let came_in = Endpoint { host: local.ip().to_string(), port: local.port() };
        let own = self.shared.advertised.get(&*self.name).cloned().unwrap_or(came_in);
        self.shared.nodes.iter().map(|node| (*node, own.clone())).collect()
    }
}

/// Sets what a Kafka connection wants of its socket; returns the address the peer came in on.
fn prepare(stream: &TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    if peer.ip().is_loopback() {
        // A rate-based congestion control such as bbr paces loopback to a third of its speed.
        let chosen = ["cubic", "reno"]
            .iter()
            .any(|name| rustix::net::sockopt::set_tcp_congestion(stream, name).is_ok());
        if !chosen {
            tracing::trace!("loopback keeps the system's congestion control");
        }
    }
    let local = stream.local_addr()?;
    Ok(match local.ip() {
        // An IPv4 client on a dual-stack socket is told an IPv4 address.
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), local.port()),
            None => local,
        },
        IpAddr::V4(_) => local,
    })
}
