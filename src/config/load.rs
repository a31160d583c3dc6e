//! Where settings come from: defaults, then a TOML file, then the environment, then flags; the
//! later one wins.
//!
//! The environment counts under two names: `OTTLA_` and the key in capitals with `_` for `.`
//! (`OTTLA_NUM_PARTITIONS`; the keys that begin with `ottla.` drop that: `OTTLA_DURABILITY`), and
//! the `KAFKA_` and `KAFKA_CFG_` names that container images of Kafka use. A name that nothing
//! knows is an error in a file or a flag, and a warning in the environment, since containers carry
//! names for many programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::accepted::{self, ACCEPTED};
use super::broker::BrokerConfig;
use super::keys::{ConfigError, ConfigTable};
use super::listener::{self, Endpoints, Exposure, Listener};
use super::topic::TopicConfig;
use super::value::{ConfigValue, items};

/// A configuration file, read but not yet understood.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// For messages.
    pub path: PathBuf,
    /// TOML. Tables stand for dotted names: `[log] retention.ms = 1` sets `log.retention.ms`.
    pub text: String,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`LoadError::Read`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) => Err(LoadError::Read { path: path.to_owned(), error: error.to_string() }),
        }
    }
}

/// Everything that sets something.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// `--config FILE`.
    pub file: Option<ConfigFile>,
    /// The environment of the process.
    pub environment: Vec<(String, String)>,
    /// `--set KEY=VALUE` and the flags that stand for a key, in the order given.
    pub flags: Vec<(String, String)>,
    /// `--insecure-no-auth`.
    pub insecure_no_auth: bool,
}

/// What was set, and what follows from it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings of this broker.
    pub broker: BrokerConfig,
    /// The keys that were set, with the value as Kafka prints it: the STATIC_BROKER_CONFIG rows of
    /// DescribeConfigs.
    pub statics: BTreeMap<&'static str, Static>,
    /// The listeners, checked.
    pub listeners: Vec<Listener>,
    /// Whether listeners without authentication may be reached from other machines.
    pub exposure: Exposure,
    /// To be logged once, each a sentence.
    pub warnings: Vec<String>,
}

/// One key that was set before the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// As Kafka prints it; `None` is null.
    pub value: Option<String>,
    /// By what.
    pub origin: Origin,
}

/// What set a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "configuration file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Why there is no configuration to start with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("configuration file {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// The file is not TOML; the text names line and column.
    #[error("configuration file {}: {error}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// What is wrong where.
        error: String,
    },
    /// A setting is refused.
    #[error("{origin}: {error}")]
    Setting {
        /// Where it came from.
        origin: Origin,
        /// Why.
        error: ConfigError,
    },
    /// The settings do not fit together.
    #[error(transparent)]
    Whole(#[from] ConfigError),
}

/// Reads `KEY=VALUE`, for `--set`.
///
/// # Errors
/// A sentence for the user, if there is no `=` or nothing before it.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Puts all settings together.
///
/// # Errors
/// Any [`LoadError`] but [`LoadError::Read`].
pub fn load(input: &Input) -> Result<Loaded, LoadError> {
    let mut loading = Loading::default();
    if let Some(file) = &input.file {
        for (key, value) in flatten(file)? {
            loading.set(&key, &value, Origin::File(file.path.clone()))?;
        }
    }
    loading.environment(&input.environment)?;
    for (key, value) in &input.flags {
        loading.set(key, value, Origin::Flag)?;
    }
    loading.node_id()?;
    loading.drop_controllers()?;
    loading.broker.check()?;
    let allowed = |(name, value): &(String, String)| {
        name == "OTTLA_INSECURE_NO_AUTH" && matches!(value.as_str(), "1" | "true")
    };
    let insecure = input.insecure_no_auth || input.environment.iter().any(allowed);
    let exposure = if insecure { Exposure::InsecureNoAuth } else { Exposure::Loopback };
    loading.finish(exposure)
}

#[derive(Default)]
struct Loading {
    broker: BrokerConfig,
    statics: BTreeMap<&'static str, Static>,
    ignored: BTreeMap<String, String>,
    unknown_environment: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Loading {
    fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), LoadError> {
        let result = match BrokerConfig::info(name) {
            Some(info) => self.broker.set(name, value).map(|()| {
                let value = self.broker.value_of(name).flatten();
                self.statics.insert(info.name, Static { value, origin: origin.clone() });
            }),
            None => accepted::accept(name, value, known_names()).map(|()| {
                self.ignored.insert(name.to_owned(), value.to_owned());
            }),
        };
        result.map_err(|error| LoadError::Setting { origin, error: with_broker_name(error) })
    }

    /// `KAFKA_` names first, so that an `OTTLA_` name for the same key wins.
    fn environment(&mut self, variables: &[(String, String)]) -> Result<(), LoadError> {
        for prefix in ["KAFKA_", "OTTLA_"] {
            for (variable, value) in variables {
                let Some(rest) = variable.strip_prefix(prefix) else { continue };
                if value.is_empty() || is_for_others(rest) {
                    continue;
                }
                let rest = rest.strip_prefix("CFG_").unwrap_or(rest);
                let origin = Origin::Environment(variable.clone());
                match self.set(&key_of(rest, prefix), value, origin) {
                    Err(LoadError::Setting { error: ConfigError::Unknown { .. }, .. }) => {
                        self.unknown_environment.insert(variable.clone());
                    }
                    result => result?,
                }
            }
        }
        Ok(())
    }

    /// `broker.id` is the old name of `node.id`: each stands for the other.
    fn node_id(&mut self) -> Result<(), LoadError> {
        let (node, broker) = (self.broker.node_id, self.broker.broker_id);
        match (self.statics.contains_key("node.id"), self.statics.get("broker.id").cloned()) {
            (true, Some(_)) if node != broker && broker != -1 => {
                return Err(ConfigError::Conflict(format!(
                    "node.id is {node} and broker.id is {broker}: they are one thing"
                ))
                .into());
            }
            (false, Some(given)) if broker != -1 => {
                self.broker.node_id = broker;
                self.statics.insert("node.id", given);
            }
            _ => {}
        }
        self.broker.broker_id = self.broker.node_id;
        if let Some(given) = self.statics.get("node.id").cloned() {
            self.statics.insert("broker.id", given);
        }
        Ok(())
    }

    /// Listeners of a controller have nothing to do here. Where an image gives only the
    /// advertised addresses, it listens at the same ports on every interface.
    fn drop_controllers(&mut self) -> Result<(), LoadError> {
        let names = self.ignored.get("controller.listener.names");
        let names: Vec<_> =
            items(names.map_or("CONTROLLER", String::as_str)).map(str::to_owned).collect();
        if let Some(advertised) = &mut self.broker.advertised_listeners {
            advertised.remove(&names);
            if let (false, Some(Static { origin: Origin::Environment(name), .. })) =
                (self.statics.contains_key("listeners"), self.statics.get("advertised.listeners"))
                && name.starts_with("KAFKA_")
            {
                let origin = Origin::Environment(name.clone());
                self.broker.listeners = advertised.on_every_interface();
                self.record_listeners(origin);
            }
        }
        let dropped = self.broker.listeners.remove(&names);
        for endpoint in &dropped {
            self.warnings.push(format!("listener {endpoint} is left out: there is no controller"));
        }
        if self.broker.listeners.iter().next().is_none() {
            return Err(
                ConfigError::Conflict("listeners has no listener for clients".into()).into()
            );
        }
        if let (false, Some(given)) = (dropped.is_empty(), self.statics.get("listeners").cloned()) {
            self.record_listeners(given.origin);
        }
        Ok(())
    }

    fn record_listeners(&mut self, origin: Origin) {
        let value = Endpoints::print(&self.broker.listeners);
        self.statics.insert("listeners", Static { value, origin });
    }

    fn finish(mut self, exposure: Exposure) -> Result<Loaded, LoadError> {
        let listeners = listener::listeners(&self.broker, exposure)?;
        let list = |names: Vec<&str>| names.join(", ");
        if !self.ignored.is_empty() {
            let names = list(self.ignored.keys().map(String::as_str).collect());
            self.warnings.push(format!("these settings of Kafka have no effect here: {names}"));
        }
        if !self.unknown_environment.is_empty() {
            let names = list(self.unknown_environment.iter().map(String::as_str).collect());
            self.warnings.push(format!("no setting is known for these variables: {names}"));
        }
        let Self { broker, statics, warnings, .. } = self;
        Ok(Loaded { broker, statics, listeners, exposure, warnings })
    }
}

/// Names that a misspelt one may have meant.
fn known_names() -> impl Iterator<Item = &'static str> {
    let whole = ACCEPTED.iter().copied().filter(|name| !name.ends_with('.'));
    BrokerConfig::KEYS.iter().map(|key| key.info.name).chain(whole)
}

/// A topic's name for a key leads to the broker's.
fn with_broker_name(error: ConfigError) -> ConfigError {
    let ConfigError::Unknown { name, nearest } = error else { return error };
    let synonym = TopicConfig::info(&name).and_then(|info| info.synonyms.first());
    let nearest = synonym.map(|synonym| synonym.name).or(nearest);
    ConfigError::Unknown { name, nearest }
}

/// The key that a variable's name stands for.
fn key_of(rest: &str, prefix: &str) -> String {
    let dotted = rest.to_ascii_lowercase().replace('_', ".");
    let own = format!("ottla.{dotted}");
    let is_known = |name: &str| BrokerConfig::info(name).is_some();
    if prefix == "OTTLA_" && !is_known(&dotted) && is_known(&own) { own } else { dotted }
}

/// Variables that are not settings of a broker: of clients, of the Java machine, of start scripts,
/// of our own command line, and those that Kubernetes makes for a service named like us.
fn is_for_others(rest: &str) -> bool {
    const WHOLE: &[&str] = &[
        "BOOTSTRAP_SERVER",
        "BOOTSTRAP_SERVERS",
        "CLUSTER_ID",
        "CONFIG",
        "GC_LOG_OPTS",
        "HEAP_OPTS",
        "HOME",
        "INSECURE_NO_AUTH",
        "JVM_PERFORMANCE_OPTS",
        "KRAFT_CLUSTER_ID",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "OPTS",
        "PORT",
        "URL",
        "VERSION",
    ];
    const BEGIN: &[&str] = &["JMX", "LOG4J", "PORT_", "SERVICE_"];
    WHOLE.contains(&rest)
        || BEGIN.iter().any(|begin| rest.starts_with(begin))
        || rest.contains("_SERVICE_")
        || rest.contains("_PORT_")
}

/// The settings of a file, tables joined by dots.
fn flatten(file: &ConfigFile) -> Result<Vec<(String, String)>, LoadError> {
    let syntax = |error: String| LoadError::Syntax { path: file.path.clone(), error };
    let table: toml::Table =
        file.text.parse().map_err(|error: toml::de::Error| syntax(error.to_string()))?;
    let mut settings = Vec::new();
    let mut open = vec![(String::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            match value {
                toml::Value::Table(inner) => open.push((format!("{name}."), inner)),
                value => {
                    let text = text_of(&value)
                        .ok_or_else(|| syntax(format!("{name} is neither text nor number")))?;
                    settings.push((name, text));
                }
            }
        }
    }
    Ok(settings)
}

/// A value of a file as text; an array is a list.
fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(format!("{number:?}")),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => {
            items.iter().map(text_of).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        toml::Value::Table(_) | toml::Value::Datetime(_) => None,
    }
}
