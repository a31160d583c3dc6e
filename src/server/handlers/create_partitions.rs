//! CreatePartitions (API 37, v0-3): gives topics more partitions, which are there, leader and log,
//! when this answers (KIP-195).

use crate::broker::Apply;
use crate::catalog::NewPartitions;
use crate::protocol::ErrorCode;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use crate::server::dispatch::Cx;
use crate::server::errors::told;

pub(super) async fn handle(cx: Cx, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics = request.topics.into_iter().map(new_partitions).collect();
    let apply = Apply::when(!request.validate_only);
    let rows = match cx.broker.create_partitions(topics, apply).await {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|(name, outcome)| row(name, outcome.err().as_ref().map(told)))
            .collect(),
        Err(error) => names.into_iter().map(|name| row(name, Some(told(&error)))).collect(),
    };
    CreatePartitionsResponse { results: rows, ..CreatePartitionsResponse::default() }
}

fn new_partitions(topic: CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic.assignments;
    NewPartitions {
        name: topic.name,
        count: topic.count,
        assignments: assignments.map(|all| all.into_iter().map(|one| one.broker_ids).collect()),
    }
}

fn row(name: String, error: Option<(ErrorCode, String)>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = error.unzip();
    CreatePartitionsTopicResult {
        name,
        error_code: error_code.unwrap_or(ErrorCode::None),
        error_message,
    }
}
