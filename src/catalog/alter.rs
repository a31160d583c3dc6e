//! Decides about changes of settings: single ones (IncrementalAlterConfigs, KIP-339) or the whole
//! set of a resource (AlterConfigs). All changes of one resource stand or fall together.

use std::collections::HashSet;

use super::create::{GivenConfigs, canonical};
use super::error::CatalogError;
use super::model::{Catalog, ConfigResource, Overrides};
use super::records::CatalogRecord;
use crate::config::accepted;
use crate::config::broker::BrokerConfig;
use crate::config::group::GroupConfig;
use crate::config::topic::TopicConfig;
use crate::config::value::{distinct, items};
use crate::config::{Change, ConfigError, ConfigTable, ConfigType};

/// What to do with one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    /// Give it this value.
    Set,
    /// Take it away, so that it is inherited again.
    Delete,
    /// Add items to a list that are not in it.
    Append,
    /// Take items out of a list.
    Subtract,
}

/// One change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The key.
    pub name: String,
    /// What to do.
    pub operation: ConfigOperation,
    /// With what; null for [`ConfigOperation::Delete`] only.
    pub value: Option<String>,
}

/// A resource with what was decided about it, in the order of the request; one that stands twice in
/// it has one answer.
type Decided = Vec<(ConfigResource, Result<Vec<CatalogRecord>, CatalogError>)>;

impl Catalog {
    /// Decides about IncrementalAlterConfigs. Nothing is changed here, so `validate_only` is to drop
    /// the records.
    pub fn alter_configs(&self, requests: &[(ConfigResource, Vec<ConfigChange>)]) -> Decided {
        decide_each(requests, |resource, changes| {
            let overrides = self.overrides(resource)?;
            check_changes(changes)?;
            let mut wanted = overrides.clone();
            for change in changes {
                let value = change.value.as_deref().unwrap_or_default();
                let name = &change.name;
                let value = match change.operation {
                    ConfigOperation::Delete => None,
                    ConfigOperation::Set => Some(value.to_owned()),
                    ConfigOperation::Append => {
                        let list = self.list_in_force(resource, name)?;
                        Some(distinct(items(&list).chain(items(value))).join(","))
                    }
                    ConfigOperation::Subtract => {
                        let list = self.list_in_force(resource, name)?;
                        let out: HashSet<_> = items(value).collect();
                        let kept: Vec<_> =
                            items(&list).filter(|item| !out.contains(item)).collect();
                        Some(kept.join(","))
                    }
                };
                match value {
                    Some(value) => wanted.insert(name.clone(), value),
                    None => wanted.remove(name),
                };
            }
            let names = changes.iter().map(|change| change.name.as_str());
            self.changed(resource, overrides, wanted, names)
        })
    }

    /// Decides about AlterConfigs: settings that are not given go back to what is inherited.
    pub fn replace_configs(&self, requests: &[(ConfigResource, GivenConfigs)]) -> Decided {
        decide_each(requests, |resource, configs| {
            let overrides = self.overrides(resource)?;
            let mut wanted = Overrides::new();
            for (name, value) in configs {
                let Some(value) = value else { return Err(null_value(name)) };
                if wanted.insert(name.clone(), value.clone()).is_some() {
                    return Err(twice(name));
                }
            }
            let names: Vec<_> = overrides.keys().chain(wanted.keys()).cloned().collect();
            self.changed(resource, overrides, wanted, names.iter().map(String::as_str))
        })
    }

    /// What is set for a resource that can have settings.
    fn overrides(&self, resource: &ConfigResource) -> Result<Overrides, CatalogError> {
        match resource {
            ConfigResource::Topic(name) => Ok(self.named(name)?.overrides.clone()),
            ConfigResource::Broker(node) => {
                self.check_node(*node)?;
                Ok(self.brokers.get(node).cloned().unwrap_or_default())
            }
            ConfigResource::BrokerDefaults => Ok(self.broker_defaults.clone()),
            ConfigResource::Group(group_id) if group_id.is_empty() => {
                Err(CatalogError::InvalidRequest("settings for all groups do not exist".to_owned()))
            }
            ConfigResource::Group(group_id) => {
                Ok(self.groups.get(group_id).cloned().unwrap_or_default())
            }
        }
    }

    /// The list that is in force, for adding to it or taking from it.
    fn list_in_force(&self, resource: &ConfigResource, name: &str) -> Result<String, CatalogError> {
        match resource {
            ConfigResource::Topic(topic) => list_of(&*self.named(topic)?.config, name),
            ConfigResource::Broker(node) => list_of(&self.broker_of(*node), name),
            ConfigResource::BrokerDefaults => {
                list_of(&self.broker_with(&self.broker_defaults, &Overrides::new()), name)
            }
            ConfigResource::Group(_) => list_of(&GroupConfig::default(), name),
        }
    }

    /// The records that lead from one set of settings to another, if that is valid.
    fn changed<'a>(
        &self,
        resource: &ConfigResource,
        overrides: Overrides,
        wanted: Overrides,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<CatalogRecord>, CatalogError> {
        let wanted = match resource {
            ConfigResource::Topic(_) => {
                let config = TopicConfig::resolve(&self.inherited, &wanted)?;
                canonical(&config, wanted)
            }
            ConfigResource::Broker(_) => {
                check_dynamic(names.filter(|name| wanted.contains_key(*name)))?;
                self.check_brokers(&self.broker_defaults, &wanted)?;
                canonical(&self.broker_with(&Overrides::new(), &wanted), wanted)
            }
            ConfigResource::BrokerDefaults => {
                check_dynamic(names.filter(|name| wanted.contains_key(*name)))?;
                let own = self.brokers.get(&self.first_node()).cloned().unwrap_or_default();
                self.check_brokers(&wanted, &own)?;
                canonical(&self.broker_with(&wanted, &Overrides::new()), wanted)
            }
            ConfigResource::Group(_) => {
                let mut config = GroupConfig::default();
                for (name, value) in &wanted {
                    config.set(name, value)?;
                }
                canonical(&config, wanted)
            }
        };
        let gone = overrides.keys().filter(|name| !wanted.contains_key(*name));
        let gone = gone.map(|name| resource.record(name, None));
        let new = wanted.iter().filter(|(name, value)| overrides.get(*name) != Some(value));
        Ok(new.map(|(name, value)| resource.record(name, Some(value))).chain(gone).collect())
    }

    /// Kafka answers INVALID_REQUEST, not INVALID_CONFIG, to a broker's bad value.
    fn check_brokers(&self, defaults: &Overrides, own: &Overrides) -> Result<(), CatalogError> {
        let refused = |error: ConfigError| CatalogError::InvalidRequest(error.to_string());
        let mut broker = self.setup.broker.clone();
        for (name, value) in defaults.iter().chain(own) {
            broker.set(name, value).map_err(refused)?;
        }
        broker.check().map_err(refused)
    }
}

fn decide_each<Asked>(
    requests: &[(ConfigResource, Asked)],
    decide: impl Fn(&ConfigResource, &Asked) -> Result<Vec<CatalogRecord>, CatalogError>,
) -> Decided {
    let mut decided = Decided::new();
    let mut seen = HashSet::new();
    let mut again = HashSet::new();
    for (resource, _) in requests {
        if !seen.insert(resource) {
            again.insert(resource);
        }
    }
    for (resource, asked) in requests {
        if !again.contains(resource) {
            decided.push((resource.clone(), decide(resource, asked)));
        } else if seen.remove(resource) {
            let text = "a resource stands twice in the request".to_owned();
            decided.push((resource.clone(), Err(CatalogError::InvalidRequest(text))));
        }
    }
    decided
}

fn check_changes(changes: &[ConfigChange]) -> Result<(), CatalogError> {
    let mut names = HashSet::new();
    for change in changes {
        if !names.insert(&change.name) {
            return Err(twice(&change.name));
        }
        if change.value.is_none() && change.operation != ConfigOperation::Delete {
            return Err(null_value(&change.name));
        }
    }
    Ok(())
}

/// Whether all of these may change while brokers run.
fn check_dynamic<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), CatalogError> {
    for name in names {
        match BrokerConfig::info(name) {
            Some(info) if info.change == Change::Dynamic => {}
            Some(_) => {
                return Err(CatalogError::InvalidRequest(format!(
                    "{name} is read at start only: set it in the file, the environment or by --set"
                )));
            }
            None => {
                let known = BrokerConfig::KEYS.iter().map(|key| key.info.name);
                accepted::accept(name, "", known)?;
                return Err(CatalogError::InvalidRequest(format!(
                    "{name} is a setting of Apache Kafka that has no effect here"
                )));
            }
        }
    }
    Ok(())
}

fn list_of<Table: ConfigTable>(table: &Table, name: &str) -> Result<String, CatalogError> {
    match Table::info(name) {
        Some(info) if info.kind == ConfigType::List => {
            Ok(table.value_of(name).flatten().unwrap_or_default())
        }
        Some(info) => Err(CatalogError::InvalidConfig(ConfigError::Conflict(format!(
            "{name} is a {}, and only a LIST can be added to or taken from",
            info.kind
        )))),
        None => {
            let known = Table::KEYS.iter().map(|key| key.info.name);
            Err(ConfigError::unknown(name, known).into())
        }
    }
}

fn twice(name: &str) -> CatalogError {
    CatalogError::InvalidRequest(format!("config {name:?} stands twice for one resource"))
}

fn null_value(name: &str) -> CatalogError {
    CatalogError::InvalidRequest(format!("config {name:?} has no value (null)"))
}
