//! The rows of DescribeConfigs: what is in force for a resource, and which setting made it so.

use super::error::CatalogError;
use super::model::{Catalog, ConfigResource, Overrides};
use crate::config::broker::BrokerConfig;
use crate::config::group::GroupConfig;
use crate::config::topic::TopicConfig;
use crate::config::{Change, ConfigTable, ConfigType, KeyInfo, Synonym};
use crate::types::NodeId;

/// What made a value what it is, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A setting of the topic.
    Topic,
    /// A setting of the group.
    Group,
    /// A setting of this broker, made at run time.
    DynamicBroker,
    /// A setting of all brokers, made at run time.
    DynamicDefaultBroker,
    /// A setting that stood before the start.
    StaticBroker,
    /// Nothing: the built-in default.
    Default,
}

/// One setting, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRow {
    /// The key.
    pub name: &'static str,
    /// What is in force; `None` is null. Null also where [`ConfigRow::is_sensitive`].
    pub value: Option<String>,
    /// Whether only a restart changes it.
    pub is_read_only: bool,
    /// Whether the value is a secret.
    pub is_sensitive: bool,
    /// What made it so.
    pub source: ConfigSource,
    /// Everything that is set for it, the strongest first.
    pub synonyms: Vec<ConfigSynonym>,
    /// How its values are written.
    pub kind: ConfigType,
    /// What it does.
    pub documentation: &'static str,
}

/// One of the settings that a value could come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The key that was set.
    pub name: &'static str,
    /// To what; `None` is null.
    pub value: Option<String>,
    /// Where.
    pub source: ConfigSource,
}

impl Catalog {
    /// What is set for a resource: of these keys, or of all. Keys that are not known are left out,
    /// as Kafka does.
    ///
    /// # Errors
    /// [`CatalogError::UnknownTopic`], [`CatalogError::InvalidName`]; [`CatalogError::InvalidRequest`]
    /// for a broker that is not here.
    pub fn describe_configs(
        &self,
        resource: &ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<Vec<ConfigRow>, CatalogError> {
        match resource {
            ConfigResource::Topic(name) => {
                super::names::check_name(name)?;
                let topic = self.named(name)?;
                Ok(self.topic_rows(&topic.overrides, &topic.config, keys))
            }
            ConfigResource::Broker(node) => {
                self.check_node(*node)?;
                Ok(self.broker_rows(*node, keys))
            }
            ConfigResource::BrokerDefaults => Ok(self.broker_default_rows(keys)),
            ConfigResource::Group(group_id) => Ok(self.group_rows(group_id, keys)),
        }
    }

    pub(super) fn check_node(&self, node: NodeId) -> Result<(), CatalogError> {
        if self.nodes().contains(&node) {
            return Ok(());
        }
        let known: Vec<_> = self.nodes().iter().map(NodeId::to_string).collect();
        Err(CatalogError::InvalidRequest(format!(
            "there is no broker {node}: name {}, or nothing for all",
            known.join(" or ")
        )))
    }

    pub(super) fn topic_rows(
        &self,
        overrides: &Overrides,
        config: &TopicConfig,
        keys: Option<&[String]>,
    ) -> Vec<ConfigRow> {
        let row = |info: &'static KeyInfo| {
            let value = config.value_of(info.name).flatten();
            let mut synonyms = Vec::new();
            if overrides.contains_key(info.name) {
                let value = value.clone();
                synonyms.push(ConfigSynonym {
                    name: info.name,
                    value,
                    source: ConfigSource::Topic,
                });
            }
            synonyms.extend(self.broker_synonyms(self.first_node(), info.synonyms));
            make_row(info, value, synonyms)
        };
        infos::<TopicConfig>(keys).map(row).collect()
    }

    fn broker_rows(&self, node: NodeId, keys: Option<&[String]>) -> Vec<ConfigRow> {
        let config = self.broker_of(node);
        let row = |info: &'static KeyInfo| {
            let value = config.value_of(info.name).flatten();
            let own = [Synonym::of(info.name)];
            let synonyms = self.broker_synonyms(node, same_setting(info.name).unwrap_or(&own));
            // As in Kafka, what is stronger than the key itself is not among its synonyms.
            let synonyms = synonyms.into_iter().skip_while(|synonym| synonym.name != info.name);
            make_row(info, value, synonyms.collect())
        };
        infos::<BrokerConfig>(keys).map(row).collect()
    }

    /// Only what is set for all brokers.
    fn broker_default_rows(&self, keys: Option<&[String]>) -> Vec<ConfigRow> {
        let row = |info: &'static KeyInfo| {
            let value = self.broker_defaults.get(info.name)?.clone();
            let source = ConfigSource::DynamicDefaultBroker;
            let synonym = ConfigSynonym { name: info.name, value: Some(value.clone()), source };
            Some(make_row(info, Some(value), vec![synonym]))
        };
        infos::<BrokerConfig>(keys).filter_map(row).collect()
    }

    fn group_rows(&self, group_id: &str, keys: Option<&[String]>) -> Vec<ConfigRow> {
        let empty = Overrides::new();
        let overrides = self.groups.get(group_id).unwrap_or(&empty);
        let row = |info: &'static KeyInfo| {
            let value = match overrides.get(info.name) {
                Some(value) => Some(value.clone()),
                None => GroupConfig::default().value_of(info.name).flatten(),
            };
            let source = ConfigSource::Group;
            let own = overrides.get(info.name).map(|value| ConfigSynonym {
                name: info.name,
                value: Some(value.clone()),
                source,
            });
            make_row(info, value, own.into_iter().collect())
        };
        infos::<GroupConfig>(keys).map(row).collect()
    }

    /// What is set under these broker keys: for this node, for all, before the start, built in.
    fn broker_synonyms(&self, node: NodeId, keys: &[Synonym]) -> Vec<ConfigSynonym> {
        let own = self.brokers.get(&node);
        let defaults = BrokerConfig::default();
        let layer = |source: ConfigSource, value: &dyn Fn(&'static str) -> Option<String>| {
            keys.iter()
                .filter_map(|key| {
                    let value = Some(value(key.name)?);
                    Some(ConfigSynonym { name: key.name, value, source })
                })
                .collect::<Vec<_>>()
        };
        [
            layer(ConfigSource::DynamicBroker, &|name| own?.get(name).cloned()),
            layer(ConfigSource::DynamicDefaultBroker, &|name| {
                self.broker_defaults.get(name).cloned()
            }),
            layer(ConfigSource::StaticBroker, &|name| self.setup.statics.get(name)?.clone()),
            layer(ConfigSource::Default, &|name| defaults.value_of(name).flatten()),
        ]
        .concat()
    }
}

/// The broker keys that set one thing in several units, with this one among them, the strongest first.
fn same_setting(name: &str) -> Option<&'static [Synonym]> {
    let lists = TopicConfig::KEYS.iter().map(|key| key.info.synonyms);
    lists.into_iter().find(|list| list.iter().any(|synonym| synonym.name == name))
}

/// The facts of these keys, or of all, by name.
fn infos<Table: ConfigTable>(keys: Option<&[String]>) -> impl Iterator<Item = &'static KeyInfo> {
    let is_asked = move |info: &&KeyInfo| {
        keys.is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key == info.name))
    };
    Table::KEYS.iter().map(|key| &key.info).filter(is_asked)
}

fn make_row(
    info: &'static KeyInfo,
    value: Option<String>,
    synonyms: Vec<ConfigSynonym>,
) -> ConfigRow {
    let is_sensitive = info.kind == ConfigType::Password;
    let secret = |synonym: ConfigSynonym| ConfigSynonym {
        value: synonym.value.filter(|_| !is_sensitive),
        ..synonym
    };
    ConfigRow {
        name: info.name,
        value: value.filter(|_| !is_sensitive),
        is_read_only: info.change == Change::ReadOnly,
        is_sensitive,
        source: synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source),
        synonyms: synonyms.into_iter().map(secret).collect(),
        kind: info.kind,
        documentation: info.doc,
    }
}
