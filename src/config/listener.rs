//! Listeners: the addresses a broker listens at and those it tells its clients.
//!
//! Written as Kafka writes them, `NAME://HOST:PORT` with commas between; an IPv6 host stands in
//! brackets. A name stands for a security protocol by `listener.security.protocol.map`.

use std::fmt;
use std::net::IpAddr;

use super::broker::BrokerConfig;
use super::keys::ConfigError;
use super::value::{ConfigType, ConfigValue, Valid, items};

/// The host that stands for both loopback addresses, 127.0.0.1 and `::1`: some clients resolve it to
/// the one, some to the other, and few try both.
pub const LOCALHOST: &str = "localhost";

/// One address with the name of its listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub name: String,
    /// A host name or an address, without brackets; empty is every interface.
    pub host: String,
    /// The port; 0 takes any free one.
    pub port: u16,
}

impl Endpoint {
    /// Reads `NAME://HOST:PORT`; `None` if it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, address) = text.trim().split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let host = rest.strip_suffix(']')?;
                host.contains(':').then_some(host)?
            }
            None => host,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_host = |c: char| is_name(c) || matches!(c, ':' | '%');
        if name.is_empty() || !name.chars().all(is_name) || !host.chars().all(is_host) {
            return None;
        }
        Some(Self {
            name: name.to_ascii_uppercase(),
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// Whether only this machine can reach the address: 127.0.0.0/8, `::1` or `localhost`.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case(LOCALHOST),
        }
    }

    /// Whether the address stands for every interface, so that no client could connect to it.
    pub fn is_unspecified(&self) -> bool {
        self.host.is_empty() || self.host.parse::<IpAddr>().is_ok_and(|it| it.is_unspecified())
    }

    /// `HOST:PORT`, an IPv6 host in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.address())
    }
}

/// A list of addresses, no two of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// One listener named PLAINTEXT at [`LOCALHOST`].
    pub fn local(port: u16) -> Self {
        let name = SecurityProtocol::Plaintext.to_string();
        Self(vec![Endpoint { name, host: LOCALHOST.to_owned(), port }])
    }

    /// The addresses, as given.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// The address of the listener of that name.
    pub fn named(&self, name: &str) -> Option<&Endpoint> {
        self.0.iter().find(|endpoint| endpoint.name == name)
    }

    /// Takes the listeners of these names out and returns those that were there.
    pub fn remove(&mut self, names: &[String]) -> Vec<Endpoint> {
        let is_named = |endpoint: &Endpoint| {
            names.iter().any(|name| name.eq_ignore_ascii_case(&endpoint.name))
        };
        let (out, kept) = self.0.drain(..).partition(is_named);
        self.0 = kept;
        out
    }

    /// The same names and ports on every interface: what container images listen at when only
    /// the advertised addresses are given.
    pub fn on_every_interface(&self) -> Self {
        let open =
            |endpoint: &Endpoint| Endpoint { host: "0.0.0.0".to_owned(), ..endpoint.clone() };
        Self(self.0.iter().map(open).collect())
    }
}

impl ConfigValue for Endpoints {
    const KIND: ConfigType = ConfigType::List;

    fn parse(text: &str) -> Option<Self> {
        let endpoints: Vec<_> = items(text).map(Endpoint::parse).collect::<Option<_>>()?;
        let is_new = |(at, endpoint): (usize, &Endpoint)| {
            endpoints.iter().take(at).all(|before| before.name != endpoint.name)
        };
        let distinct = endpoints.iter().enumerate().all(is_new);
        (distinct && !endpoints.is_empty()).then_some(Self(endpoints))
    }

    fn print(&self) -> Option<String> {
        Some(self.0.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(","))
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}

/// How a listener protects what passes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Not at all.
    Plaintext,
    /// TLS.
    Ssl,
    /// Login without TLS.
    SaslPlaintext,
    /// Login within TLS.
    SaslSsl,
}

impl SecurityProtocol {
    const ALL: [Self; 4] = [Self::SaslSsl, Self::Plaintext, Self::Ssl, Self::SaslPlaintext];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.to_string().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        })
    }
}

/// The security protocol of each listener name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols(Vec<(String, SecurityProtocol)>);

impl Default for Protocols {
    /// Each protocol under its own name.
    fn default() -> Self {
        Self(SecurityProtocol::ALL.map(|protocol| (protocol.to_string(), protocol)).into())
    }
}

impl Protocols {
    /// The protocol of the listener of that name.
    pub fn of(&self, name: &str) -> Option<SecurityProtocol> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, protocol)| *protocol)
    }
}

impl ConfigValue for Protocols {
    const KIND: ConfigType = ConfigType::String;

    fn parse(text: &str) -> Option<Self> {
        let pair = |item: &str| {
            let (name, protocol) = item.split_once(':')?;
            let protocol = SecurityProtocol::parse(protocol.trim())?;
            Some((name.trim().to_ascii_uppercase(), protocol))
        };
        items(text).map(pair).collect::<Option<_>>().map(Self)
    }

    fn print(&self) -> Option<String> {
        let pairs: Vec<_> =
            self.0.iter().map(|(name, protocol)| format!("{name}:{protocol}")).collect();
        Some(pairs.join(","))
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}

/// One listener, with all that is set for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub bind: Endpoint,
    /// How it protects its connections.
    pub protocol: SecurityProtocol,
    /// What its clients are told; `None`: the address that they came in on.
    pub advertised: Option<Endpoint>,
}

/// Whether listeners without authentication may be reached from other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Only from this machine.
    Loopback,
    /// The operator said so, by `--insecure-no-auth` or `OTTLA_INSECURE_NO_AUTH=1`.
    InsecureNoAuth,
}

/// The listeners of a broker.
///
/// # Errors
/// [`ConfigError::Conflict`]: a name without protocol, a protocol that is not there yet, an
/// advertised address without its listener or that nobody can connect to, or a listener that
/// lets other machines in without authentication.
pub fn listeners(config: &BrokerConfig, exposure: Exposure) -> Result<Vec<Listener>, ConfigError> {
    for advertised in config.advertised_listeners.iter().flat_map(Endpoints::iter) {
        check_advertised(advertised, &config.listeners)?;
    }
    config.listeners.iter().map(|bind| listener(config, bind, exposure)).collect()
}

fn listener(
    config: &BrokerConfig,
    bind: &Endpoint,
    exposure: Exposure,
) -> Result<Listener, ConfigError> {
    let name = &bind.name;
    let protocol = config.listener_security_protocol_map.of(name).ok_or_else(|| {
        ConfigError::Conflict(format!(
            "listener {name} has no security protocol: add {name}:PLAINTEXT to \
             listener.security.protocol.map"
        ))
    })?;
    if protocol != SecurityProtocol::Plaintext {
        return Err(ConfigError::Conflict(format!(
            "listener {name} asks for {protocol}, which this version does not have: only PLAINTEXT"
        )));
    }
    check_exposure(bind, exposure)?;
    let advertised = config.advertised_listeners.as_ref().and_then(|all| all.named(name)).cloned();
    Ok(Listener { bind: bind.clone(), protocol, advertised })
}

/// Whether a listener without authentication may bind this address.
///
/// # Errors
/// [`ConfigError::Conflict`] beyond loopback, unless the operator said so; the text says how.
pub fn check_exposure(bind: &Endpoint, exposure: Exposure) -> Result<(), ConfigError> {
    if exposure == Exposure::InsecureNoAuth || bind.is_loopback() {
        return Ok(());
    }
    Err(ConfigError::Conflict(format!(
        "{bind} lets other machines in without authentication: listen at 127.0.0.1, or accept the \
         risk with --insecure-no-auth or OTTLA_INSECURE_NO_AUTH=1"
    )))
}

fn check_advertised(advertised: &Endpoint, listeners: &Endpoints) -> Result<(), ConfigError> {
    if listeners.named(&advertised.name).is_none() {
        return Err(ConfigError::Conflict(format!(
            "advertised.listeners has {advertised}, but no listener is named {}",
            advertised.name
        )));
    }
    if advertised.is_unspecified() {
        return Err(ConfigError::Conflict(format!(
            "no client can connect to {advertised}: advertise a name or address of this machine"
        )));
    }
    Ok(())
}
