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
use super::metrics::ServerMetrics;
use super::server::Shared;
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::types::NodeId;

/// Wait after an accept that failed (mostly: no file descriptors left), in ms.
const ACCEPT_RETRY_MS: u64 = 50;
/// A line in the log about connections that could not be taken comes at most so often, in s.
const TROUBLE_EVERY_SECONDS: u64 = 5;
/// How long clients may take to read their last answers when the broker stops, in ms.
const LAST_ANSWERS_MAX_MS: u64 = 2_000;

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

/// How many connections there may be, seen from one address.
#[derive(Clone, Copy, Debug)]
struct Limits {
    open_max: usize,
    /// `None` for an address that counts for the total only.
    per_ip_max: Option<usize>,
    /// See [`Limits::per_ip_max`].
    per_second_max: Option<usize>,
}

impl Limits {
    /// Those that the settings have for connections from `ip`: loopback counts for the total only,
    /// unless it is named.
    fn of(config: &BrokerConfig, ip: IpAddr) -> Self {
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        let named = config.max_connections_per_ip_overrides.of(ip);
        let named = named.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let remote = |value: i32| (!ip.is_loopback()).then(|| size(value));
        Self {
            open_max: size(config.max_connections),
            per_ip_max: named.or_else(|| remote(config.max_connections_per_ip)),
            per_second_max: remote(config.max_connection_creation_rate),
        }
    }
}

#[derive(Debug, Default)]
struct AdmissionState {
    open: usize,
    by_ip: HashMap<IpAddr, usize>,
    /// The second in which `created` connections were made.
    second: u64,
    created: usize,
    trouble: Trouble,
}

/// What went wrong since the log was last told; a flood of it must not flood the log.
#[derive(Debug, Default)]
struct Trouble {
    told_second: Option<u64>,
    count: u64,
}

impl Trouble {
    /// Notes one more; how many there were since the last line, if it is time for the next.
    fn note(&mut self, second: u64) -> Option<u64> {
        self.count += 1;
        let is_due = self.told_second.is_none_or(|told| second >= told + TROUBLE_EVERY_SECONDS);
        is_due.then(|| {
            self.told_second = Some(second);
            std::mem::take(&mut self.count)
        })
    }
}

impl Admission {
    /// Takes a place for `ip`, or says which limit is reached.
    fn enter(&self, ip: IpAddr, limits: Limits, second: u64) -> Result<(), &'static str> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open >= limits.open_max {
            return Err("max.connections");
        }
        if state.second != second {
            (state.second, state.created) = (second, 0);
        }
        if limits.per_second_max.is_some_and(|most| state.created >= most) {
            return Err("max.connection.creation.rate");
        }
        let here = state.by_ip.get(&ip).copied().unwrap_or(0);
        if limits.per_ip_max.is_some_and(|most| here >= most) {
            return Err("max.connections.per.ip");
        }
        *state.by_ip.entry(ip).or_default() += 1;
        state.created += usize::from(limits.per_second_max.is_some());
        state.open += 1;
        Ok(())
    }

    /// Notes a connection that could not be taken; how many there were, if the log is to be told.
    fn trouble(&self, second: u64) -> Option<u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trouble.note(second)
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

/// The place of one connection within the limits; free again when it is dropped, however the
/// connection ended.
#[derive(Debug)]
struct Place {
    admission: Arc<Admission>,
    metrics: Arc<ServerMetrics>,
    ip: IpAddr,
}

impl Place {
    fn take(
        admission: &Arc<Admission>,
        metrics: &Arc<ServerMetrics>,
        (ip, limits, second): (IpAddr, Limits, u64),
    ) -> Result<Self, &'static str> {
        let entered = admission.enter(ip, limits, second);
        let counter = if entered.is_ok() { &metrics.accepted } else { &metrics.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        entered?;
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Self { admission: Arc::clone(admission), metrics: Arc::clone(metrics), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.admission.leave(self.ip);
    }
}

impl Listener {
    /// Serves until `stop` says so, then until each connection has answered what it took; one whose
    /// client does not read its answers is cut off.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.begin(stream, peer, &mut connections, &stop),
                    Err(error) => {
                        if let Some(count) = self.shared.admission.trouble(self.second()) {
                            tracing::warn!(%error, count, listener = %self.name, "accept failed");
                        }
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
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // Real time: whoever stops a broker waits, whatever its own clock shows.
        let clock = Clock::system();
        tokio::select! {
            () = all_ended => {}
            () = clock.sleep_ms(LAST_ANSWERS_MAX_MS) => {}
        }
        let left_count = connections.len();
        if left_count > 0 {
            tracing::warn!(left_count, "connections cut off whose clients read no answers");
        }
        connections.shutdown().await;
    }

    fn begin(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        connections: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) {
        // An IPv4 client of a dual-stack socket is an IPv4 client, and 127.0.0.1 is loopback.
        let peer = canonical(peer);
        let shared = &self.shared;
        let second = self.second();
        let client = (peer.ip(), self.limits(peer.ip()), second);
        let place = match Place::take(&shared.admission, &shared.metrics, client) {
            Ok(place) => place,
            Err(limit) => {
                if let Some(count) = shared.admission.trouble(second) {
                    tracing::warn!(%peer, limit, count, "connections refused at a limit");
                }
                return;
            }
        };
        let context = prepare(&stream, peer).map(|local| self.context(peer, local));
        let stop = stop.clone();
        connections.spawn(async move {
            let _place = place;
            match context {
                Ok(context) => Connection::new(stream, Arc::new(context)).serve(stop).await,
                Err(error) => tracing::debug!(%peer, %error, "connection not usable"),
            }
        });
    }

    /// The limits that are in force now: those set before the start, until the broker is ready.
    fn limits(&self, ip: IpAddr) -> Limits {
        match self.shared.boot.broker() {
            Some(broker) => Limits::of(&broker.settings(), ip),
            None => Limits::of(&self.shared.config, ip),
        }
    }

    /// The second that it is, on the monotonic clock.
    fn second(&self) -> u64 {
        self.shared.clock.now().monotonic.0 / 1000
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
            faults: Arc::clone(&shared.faults),
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
    stream.local_addr().map(canonical)
}

/// The address as the other side knows it: an IPv4 address that came in on an IPv6 socket as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigTable;

    fn config() -> BrokerConfig {
        BrokerConfig {
            max_connections: 5,
            max_connections_per_ip: 2,
            max_connection_creation_rate: 3,
            ..BrokerConfig::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn enter(
        admission: &Admission,
        config: &BrokerConfig,
        (ip, second): (&str, u64),
    ) -> Result<(), &'static str> {
        let ip = address(ip);
        admission.enter(ip, Limits::of(config, ip), second)
    }

    /// Lets clients in, one after the other, each by address and second.
    #[track_caller]
    fn check(
        config: &BrokerConfig,
        clients: &[(&str, u64, Result<(), &'static str>)],
    ) -> Admission {
        let admission = Admission::default();
        for (ip, second, expected) in clients {
            assert_eq!(enter(&admission, config, (ip, *second)), *expected, "{ip} at {second} s");
        }
        admission
    }

    #[test]
    fn one_address_has_so_many_connections_and_others_theirs() {
        let full = Err("max.connections.per.ip");
        let admission = check(
            &config(),
            &[
                ("10.0.0.1", 0, Ok(())),
                ("10.0.0.1", 1, Ok(())),
                ("10.0.0.1", 2, full),
                ("10.0.0.2", 2, Ok(())),
                ("10.0.0.1", 3, full),
            ],
        );
        admission.leave(address("10.0.0.1"));
        assert_eq!(enter(&admission, &config(), ("10.0.0.1", 4)), Ok(()));
    }

    #[test]
    fn an_address_that_is_named_has_a_limit_of_its_own() {
        let mut config = config();
        config.set("max.connections.per.ip.overrides", "10.0.0.1:1, ::1:1").unwrap();
        let full = Err("max.connections.per.ip");
        check(
            &config,
            &[
                ("10.0.0.1", 0, Ok(())),
                ("10.0.0.1", 0, full),
                ("10.0.0.2", 0, Ok(())),
                ("::1", 0, Ok(())),
                ("::1", 0, full),
                ("127.0.0.1", 0, Ok(())),
            ],
        );
    }

    #[test]
    fn a_changed_limit_counts_at_once_and_ends_no_connection() {
        let mut config = config();
        let admission = check(&config, &[("10.0.0.1", 0, Ok(())), ("10.0.0.1", 0, Ok(()))]);
        config.max_connections_per_ip = 1;
        let refused = enter(&admission, &config, ("10.0.0.1", 1));
        assert_eq!(refused, Err("max.connections.per.ip"));
        config.max_connections_per_ip = 3;
        assert_eq!(enter(&admission, &config, ("10.0.0.1", 1)), Ok(()));
    }

    #[test]
    fn a_second_has_so_many_new_connections() {
        let fast = Err("max.connection.creation.rate");
        check(
            &config(),
            &[
                ("10.0.0.1", 7, Ok(())),
                ("10.0.0.2", 7, Ok(())),
                ("10.0.0.3", 7, Ok(())),
                ("10.0.0.4", 7, fast),
                ("127.0.0.1", 7, Ok(())),
                ("10.0.0.4", 8, Ok(())),
            ],
        );
    }

    #[test]
    fn loopback_counts_for_the_total_only() {
        let mut clients = vec![("127.0.0.1", 0, Ok(())); 3];
        clients.extend([("::1", 0, Ok(())); 2]);
        clients.push(("127.0.0.1", 0, Err("max.connections")));
        check(&config(), &clients);
    }

    #[test]
    fn the_log_is_told_now_and_then_and_then_of_all() {
        let mut trouble = Trouble::default();
        let told = [0, 0, 1, 4, 5, 5, 30].map(|second| trouble.note(second));
        assert_eq!(told, [Some(1), None, None, None, Some(4), None, Some(2)]);
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
        let seen = |text: &str| canonical(SocketAddr::new(address(text), 1)).ip();
        assert_eq!(seen("::ffff:127.0.0.1"), address("127.0.0.1"));
        assert_eq!(seen("::1"), address("::1"));
        assert_eq!(seen("10.0.0.1"), address("10.0.0.1"));
    }

    #[tokio::test]
    async fn the_place_of_a_connection_that_panics_is_free_again() {
        let admission = Arc::new(Admission::default());
        let metrics = Arc::new(ServerMetrics::default());
        let ip = address("10.0.0.1");
        let place = Place::take(&admission, &metrics, (ip, Limits::of(&config(), ip), 0));
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let _place = place;
            panic!("as a handler might");
        });
        assert!(connections.join_next().await.is_some_and(|ended| ended.is_err()));
        let state = admission.state.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((state.open, state.by_ip.len()), (0, 0));
        assert_eq!(metrics.connections.load(Ordering::Relaxed), 0);
    }
}
