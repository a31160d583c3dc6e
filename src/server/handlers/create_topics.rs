//! CreateTopics (API 19, v0-7): makes topics, each for itself. KIP-464 (v4: -1 for the broker's
//! defaults), KIP-525 (v5: the settings in the answer), KIP-516 (v7: topic ids).
//!
//! A topic is finished, leader and log, before this answers; the request's timeout is never reached.

use super::config_resources::source_code;
use crate::broker::Apply;
use crate::catalog::{ConfigRow, CreatedTopic, NewTopic};
use crate::protocol::ErrorCode;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use crate::server::dispatch::Cx;
use crate::server::errors::told;

pub(super) async fn handle(cx: Cx, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics = request.topics.into_iter().map(new_topic).collect();
    let rows = match cx.broker.create_topics(topics, Apply::when(!request.validate_only)).await {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|(name, outcome)| match outcome {
                Ok(created) => made(name, created),
                Err(error) => failed(name, told(&error)),
            })
            .collect(),
        Err(error) => names.into_iter().map(|name| failed(name, told(&error))).collect(),
    };
    CreateTopicsResponse { topics: rows, ..CreateTopicsResponse::default() }
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.into_iter();
    let configs = topic.configs.into_iter();
    NewTopic {
        name: topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.map(|it| (it.partition_index, it.broker_ids)).collect(),
        configs: configs.map(|config| (config.name, config.value)).collect(),
    }
}

fn made(name: String, created: CreatedTopic) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        topic_id: created.id.0,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(created.configs.into_iter().map(config).collect()),
        ..CreatableTopicResult::default()
    }
}

fn config(row: ConfigRow) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: row.name.to_owned(),
        value: row.value,
        read_only: row.is_read_only,
        config_source: source_code(row.source),
        is_sensitive: row.is_sensitive,
    }
}

fn failed(name: String, (error_code, message): (ErrorCode, String)) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code,
        error_message: Some(message),
        ..CreatableTopicResult::default()
    }
}
