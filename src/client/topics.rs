//! Topics and their configs: made, told, changed, deleted.

use super::error::ClientError;
use super::wire::Client;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use crate::protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

/// How long a broker may take over changes of topics, in ms.
const TIMEOUT_MS: i32 = 20_000;
/// The number of topics among the kinds of resources.
const RESOURCE_TOPIC: i8 = 2;
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;

/// A topic to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// `None`: the broker's default.
    pub partitions: Option<i32>,
    /// `None`: the broker's default.
    pub replication_factor: Option<i16>,
    /// Configs that differ from the broker's.
    pub configs: Vec<(String, String)>,
}

/// A topic that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// `None` where the broker is too old to say.
    pub partitions: Option<i32>,
    /// `None` where the broker is too old to say.
    pub replication_factor: Option<i16>,
}

/// Whether to do something, or only to say whether it could be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    Apply,
    /// Say whether it could be done.
    ValidateOnly,
}

impl Client {
    /// Makes topics; each succeeds or fails by itself.
    ///
    /// # Errors
    /// Those of [`super::Connection::call`]; of single topics inside.
    pub async fn create_topics(
        &mut self,
        topics: &[NewTopic],
        mode: Mode,
    ) -> Result<Vec<Result<CreatedTopic, ClientError>>, ClientError> {
        let request = |_| CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: TIMEOUT_MS,
            validate_only: mode == Mode::ValidateOnly,
        };
        let answer = self.call_controller(request).await?;
        let results = answer.topics.into_iter().map(|topic| {
            let subject = || format!("topic {}", topic.name);
            ClientError::check(subject, topic.error_code, topic.error_message)?;
            Ok(CreatedTopic {
                partitions: Some(topic.num_partitions).filter(|count| *count >= 0),
                replication_factor: Some(topic.replication_factor).filter(|count| *count >= 0),
                name: topic.name,
            })
        });
        Ok(results.collect())
    }

    /// Deletes topics by name, with all they hold.
    ///
    /// # Errors
    /// Those of [`super::Connection::call`]; of single topics inside.
    pub async fn delete_topics(
        &mut self,
        names: &[String],
    ) -> Result<Vec<(String, Result<(), ClientError>)>, ClientError> {
        let answer = self.call_controller(|version| delete_request(version, names)).await?;
        let results = answer.responses.into_iter().map(|topic| {
            let name = topic.name.unwrap_or_default();
            let subject = || format!("topic {name}");
            let result = ClientError::check(subject, topic.error_code, topic.error_message);
            (name, result)
        });
        Ok(results.collect())
    }

    /// Raises the partition count of a topic to `count`.
    ///
    /// # Errors
    /// `Refusal`, with 37 where `count` is not above the present one.
    pub async fn create_partitions(&mut self, name: &str, count: i32) -> Result<(), ClientError> {
        let topic = CreatePartitionsTopic { name: name.to_owned(), count, assignments: None };
        let request = |_| CreatePartitionsRequest {
            topics: vec![topic.clone()],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        for result in self.call_controller(request).await?.results {
            let subject = || format!("topic {}", result.name);
            ClientError::check(subject, result.error_code, result.error_message)?;
        }
        Ok(())
    }

    /// All configs of a topic.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn topic_configs(
        &mut self,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let resource = DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.to_owned(),
            configuration_keys: None,
        };
        let request = |_| DescribeConfigsRequest {
            resources: vec![resource.clone()],
            ..DescribeConfigsRequest::default()
        };
        let mut configs = Vec::new();
        for result in self.any().await?.call(request).await?.results {
            let subject = || format!("topic {name}");
            ClientError::check(subject, result.error_code, result.error_message)?;
            configs.extend(result.configs);
        }
        configs.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(configs)
    }

    /// Sets configs of a topic; those with no value return to their defaults.
    ///
    /// # Errors
    /// `Refusal`, with 40 for a config that is not known or a value that is not valid.
    pub async fn alter_topic_configs(
        &mut self,
        name: &str,
        changes: &[(String, Option<String>)],
        mode: Mode,
    ) -> Result<(), ClientError> {
        let configs = changes.iter().map(|(name, value)| AlterableConfig {
            name: name.clone(),
            config_operation: if value.is_some() { OPERATION_SET } else { OPERATION_DELETE },
            value: value.clone(),
        });
        let resource = AlterConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.to_owned(),
            configs: configs.collect(),
        };
        let request = |_| IncrementalAlterConfigsRequest {
            resources: vec![resource.clone()],
            validate_only: mode == Mode::ValidateOnly,
        };
        for result in self.call_controller(request).await?.responses {
            let subject = || format!("topic {name}");
            ClientError::check(subject, result.error_code, result.error_message)?;
        }
        Ok(())
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    };
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: Vec::new(),
        configs: topic.configs.iter().map(config).collect(),
    }
}

fn delete_request(version: i16, names: &[String]) -> DeleteTopicsRequest {
    let mut request = DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..Default::default() };
    if version >= 6 {
        let by_name =
            |name: &String| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
        request.topics = names.iter().map(by_name).collect();
    } else {
        request.topic_names = names.to_vec();
    }
    request
}
