//! What has settings, as the config APIs write it: a type and a name on the wire, a
//! [`ConfigResource`] inside. Shared by DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use std::collections::{HashMap, HashSet};

use crate::broker::{Outcomes, TopicError};
use crate::catalog::{CatalogError, ConfigResource, ConfigSource};
use crate::protocol::ErrorCode;
use crate::server::errors::told;
use crate::types::NodeId;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// A resource as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Named {
    pub(super) resource_type: i8,
    pub(super) name: String,
}

impl Named {
    /// The resource that is meant.
    ///
    /// # Errors
    /// [`CatalogError::InvalidRequest`] for a type that is unknown or has no settings here, and for
    /// a name that its type cannot have.
    pub(super) fn resource(&self) -> Result<ConfigResource, CatalogError> {
        let refused = |text: String| Err(CatalogError::InvalidRequest(text));
        let name = &self.name;
        match self.resource_type {
            TOPIC => Ok(ConfigResource::Topic(name.clone())),
            BROKER if name.is_empty() => Ok(ConfigResource::BrokerDefaults),
            BROKER => match name.parse::<i32>() {
                // Only the form in which we write it: clients find their answer by the name.
                Ok(id) if id.to_string() == *name => Ok(ConfigResource::Broker(NodeId(id))),
                Ok(_) | Err(_) => refused(format!("{name:?} is no broker id")),
            },
            GROUP if name.is_empty() => refused("a group is needed, by its id".to_owned()),
            GROUP => Ok(ConfigResource::Group(name.clone())),
            BROKER_LOGGER => refused("there are no loggers whose level could be set".to_owned()),
            CLIENT_METRICS => refused("metrics of clients are not taken".to_owned()),
            other => refused(format!("resource type {other} is unknown")),
        }
    }

    /// The resource that is meant, where settings can be changed.
    ///
    /// # Errors
    /// As [`Named::resource`]; there are no settings for all topics either.
    pub(super) fn alterable(&self) -> Result<ConfigResource, CatalogError> {
        match self.resource()? {
            ConfigResource::Topic(name) if name.is_empty() => Err(CatalogError::InvalidRequest(
                "a topic is needed: settings for all topics are the brokers' own".to_owned(),
            )),
            resource => Ok(resource),
        }
    }
}

/// What became of the settings of one resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Altered {
    pub(super) named: Named,
    pub(super) error_code: ErrorCode,
    pub(super) error_message: Option<String>,
}

/// One answer for each resource of a request, in its order; one that stands twice has one.
pub(super) fn altered(
    asked: Vec<(Named, Result<ConfigResource, CatalogError>)>,
    outcomes: Result<Outcomes<ConfigResource, ()>, TopicError>,
) -> Vec<Altered> {
    let outcomes = outcomes.map(|outcomes| outcomes.into_iter().collect::<HashMap<_, _>>());
    let error_of = |resource: &ConfigResource| match &outcomes {
        Ok(outcomes) => match outcomes.get(resource) {
            Some(Err(error)) => Some(told(error)),
            Some(Ok(())) | None => None,
        },
        Err(error) => Some(told(error)),
    };
    let mut seen = HashSet::new();
    let mut rows = Vec::with_capacity(asked.len());
    for (named, resource) in asked {
        if !seen.insert(named.clone()) {
            continue;
        }
        let error = match resource {
            Ok(resource) => error_of(&resource),
            Err(error) => Some(told(&error)),
        };
        let (error_code, error_message) = error.unzip();
        let error_code = error_code.unwrap_or(ErrorCode::None);
        rows.push(Altered { named, error_code, error_message });
    }
    rows
}

/// The number of a source, in DescribeConfigs and CreateTopics.
pub(super) fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::DynamicBroker => 2,
        ConfigSource::DynamicDefaultBroker => 3,
        ConfigSource::StaticBroker => 4,
        ConfigSource::Default => 5,
        ConfigSource::Group => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(resource_type: i8, name: &str) -> Named {
        Named { resource_type, name: name.to_owned() }
    }

    #[test]
    fn resources_are_told_apart_by_type_and_name() {
        let check = |resource_type, name, expected| {
            assert_eq!(named(resource_type, name).resource(), Ok(expected));
        };
        check(TOPIC, "a", ConfigResource::Topic("a".to_owned()));
        check(BROKER, "", ConfigResource::BrokerDefaults);
        check(BROKER, "1", ConfigResource::Broker(NodeId(1)));
        check(GROUP, "g", ConfigResource::Group("g".to_owned()));
    }

    #[test]
    fn what_has_no_settings_is_an_invalid_request() {
        let none = [(BROKER, "x"), (BROKER, "01"), (GROUP, ""), (BROKER_LOGGER, "1"), (0, "a")];
        for (resource_type, name) in none {
            let refused = named(resource_type, name).resource();
            assert!(matches!(refused, Err(CatalogError::InvalidRequest(_))), "{resource_type}");
        }
        assert!(named(TOPIC, "").alterable().is_err());
    }

    #[test]
    fn answers_keep_the_order_and_a_resource_has_one() {
        let (good, bad) = (named(TOPIC, "a"), named(0, "b"));
        let resource = ConfigResource::Topic("a".to_owned());
        let asked = vec![
            (bad.clone(), bad.resource()),
            (good.clone(), good.resource()),
            (good.clone(), good.resource()),
        ];
        let rows = altered(asked, Ok(vec![(resource, Ok(()))]));
        let codes: Vec<_> = rows.iter().map(|row| (&row.named, row.error_code)).collect();
        assert_eq!(codes, [(&bad, ErrorCode::InvalidRequest), (&good, ErrorCode::None)]);
        assert_eq!(rows.last().and_then(|row| row.error_message.clone()), None);
    }
}
