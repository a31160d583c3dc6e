//! DeleteTopics (API 20, v0-6): producers and consumers meet an unknown topic once this answers.
//! KIP-516 (v6): by name or by id.

use uuid::Uuid;

use crate::catalog::{CatalogError, TopicRef};
use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::server::dispatch::Cx;
use crate::server::errors::told;
use crate::types::TopicId;

/// The first version that names topics by id too.
const TOPIC_ID_SINCE: i16 = 6;
/// The first version whose clients know TOPIC_DELETION_DISABLED.
const DELETION_DISABLED_SINCE: i16 = 3;

pub(super) async fn handle(cx: Cx, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let rows = match meant(cx.call.version, request) {
        Ok(topics) => delete(&cx, topics).await,
        Err(rows) => rows,
    };
    DeleteTopicsResponse { responses: rows, ..DeleteTopicsResponse::default() }
}

/// The topics that a request means. As in Kafka a single one that is named by both name and id, or
/// by neither, makes the whole request void: nothing is deleted on a misunderstanding.
fn meant(
    version: i16,
    request: DeleteTopicsRequest,
) -> Result<Vec<TopicRef>, Vec<DeletableTopicResult>> {
    if version < TOPIC_ID_SINCE {
        return Ok(request.topic_names.into_iter().map(TopicRef::Name).collect());
    }
    let is_clear = |topic: &DeleteTopicState| topic.name.is_some() == topic.topic_id.is_nil();
    if !request.topics.iter().all(is_clear) {
        let error = (
            ErrorCode::InvalidRequest,
            "name each topic either by its name or by its id".to_owned(),
        );
        let rows = request.topics.into_iter();
        return Err(rows.map(|topic| failed(topic.name, topic.topic_id, error.clone())).collect());
    }
    let topics = request.topics.into_iter().map(|topic| match topic.name {
        Some(name) => TopicRef::Name(name),
        None => TopicRef::Id(TopicId(topic.topic_id)),
    });
    Ok(topics.collect())
}

async fn delete(cx: &Cx, topics: Vec<TopicRef>) -> Vec<DeletableTopicResult> {
    let outcomes = match cx.broker.delete_topics(topics.clone()).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            return topics.into_iter().map(|topic| refused(topic, told(&error))).collect();
        }
    };
    let rows = outcomes.into_iter().map(|(topic, outcome)| match outcome {
        Ok((name, id)) => DeletableTopicResult {
            name: Some(name),
            topic_id: id.0,
            ..DeletableTopicResult::default()
        },
        Err(error) => {
            let (mut code, message) = told(&error);
            let is_disabled = matches!(error, CatalogError::TopicDeletionDisabled);
            if is_disabled && cx.call.version < DELETION_DISABLED_SINCE {
                code = ErrorCode::InvalidRequest;
            }
            refused(topic, (code, message))
        }
    });
    rows.collect()
}

fn refused(topic: TopicRef, error: (ErrorCode, String)) -> DeletableTopicResult {
    match topic {
        TopicRef::Name(name) => failed(Some(name), Uuid::nil(), error),
        TopicRef::Id(id) => failed(None, id.0, error),
    }
}

fn failed(
    name: Option<String>,
    topic_id: Uuid,
    (error_code, message): (ErrorCode, String),
) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code, error_message: Some(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: Option<&str>, topic_id: Uuid) -> DeleteTopicState {
        DeleteTopicState { name: name.map(str::to_owned), topic_id }
    }

    fn check(topics: Vec<DeleteTopicState>) -> Result<Vec<TopicRef>, Vec<ErrorCode>> {
        let request = DeleteTopicsRequest { topics, ..DeleteTopicsRequest::default() };
        meant(6, request).map_err(|rows| rows.into_iter().map(|row| row.error_code).collect())
    }

    #[test]
    fn topic_is_named_by_name_or_by_id() {
        let id = Uuid::from_u128(7);
        let topics = check(vec![state(Some("a"), Uuid::nil()), state(None, id)]);
        assert_eq!(topics, Ok(vec![TopicRef::Name("a".to_owned()), TopicRef::Id(TopicId(id))]));
    }

    #[test]
    fn both_name_and_id_or_neither_voids_the_request() {
        let refused = Err(vec![ErrorCode::InvalidRequest; 2]);
        let good = || state(Some("a"), Uuid::nil());
        assert_eq!(check(vec![good(), state(Some("b"), Uuid::from_u128(7))]), refused);
        assert_eq!(check(vec![good(), state(None, Uuid::nil())]), refused);
    }
}
