//! Metadata (API 3, v0-13): the broker, and the topics asked for. KIP-516 (v10: topic ids),
//! KIP-430 (v8: authorized operations, left at their default: there is no authorizer).
//!
//! A topic that is made on demand is finished, leader and all, before this answers: no client meets
//! a retriable error for a topic that it has just caused.

use crate::broker::{TopicError, TopicView};
use crate::protocol::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::server::dispatch::Cx;
use crate::types::TopicId;

/// The first version that looks topics up by id.
const TOPIC_ID_SINCE: i16 = 12;
/// Topic ids are in the request from here on, but not yet looked up.
const TOPIC_ID_FIELD_SINCE: i16 = 10;
/// The first version in which the client says whether topics may be made.
const AUTO_CREATE_SINCE: i16 = 4;

pub(super) async fn handle(cx: Cx, request: MetadataRequest) -> MetadataResponse {
    let context = &cx.call.context;
    let brokers = context.endpoints.iter().map(|(node, endpoint)| MetadataResponseBroker {
        node_id: node.0,
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack: cx.broker.config.broker_rack.clone(),
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(cx.broker.cluster_id.clone()),
        controller_id: cx.broker.node_id.0,
        topics: topics(&cx, request).await,
        ..MetadataResponse::default()
    }
}

async fn topics(cx: &Cx, request: MetadataRequest) -> Vec<MetadataResponseTopic> {
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && cx.call.version == 0,
    };
    if all {
        return cx.broker.topic_views().iter().map(row).collect();
    }
    let may_create = cx.call.version < AUTO_CREATE_SINCE || request.allow_auto_topic_creation;
    let asked = request.topics.unwrap_or_default();
    let by_id = asked.iter().any(|topic| !topic.topic_id.is_nil());
    let mut rows = Vec::with_capacity(asked.len());
    for topic in asked {
        rows.push(if by_id && cx.call.version >= TOPIC_ID_FIELD_SINCE {
            by_topic_id(cx, topic)
        } else {
            by_name(cx, topic, may_create).await
        });
    }
    rows
}

fn by_topic_id(cx: &Cx, topic: MetadataRequestTopic) -> MetadataResponseTopic {
    if cx.call.version < TOPIC_ID_SINCE {
        let name = topic.name.or(Some(String::new()));
        return failed(name, ErrorCode::InvalidRequest);
    }
    match cx.broker.topic_view_by_id(TopicId(topic.topic_id)) {
        Some(view) => row(&view),
        None => MetadataResponseTopic {
            topic_id: topic.topic_id,
            ..failed(None, ErrorCode::UnknownTopicId)
        },
    }
}

async fn by_name(cx: &Cx, topic: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let Some(name) = topic.name else {
        let name = (cx.call.version < TOPIC_ID_SINCE).then(String::new);
        return failed(name, ErrorCode::InvalidRequest);
    };
    match cx.broker.topic_view_or_create(&name, create).await {
        Ok(view) => row(&view),
        Err(error) => failed(Some(name), metadata_code(&error)),
    }
}

/// The code for a topic that could not be shown or made on demand.
fn metadata_code(error: &TopicError) -> ErrorCode {
    error.into()
}

fn failed(name: Option<String>, error_code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, name, ..MetadataResponseTopic::default() }
}

fn row(view: &TopicView) -> MetadataResponseTopic {
    let partitions = view.partitions.iter().map(|partition| MetadataResponsePartition {
        error_code: ErrorCode::None,
        partition_index: partition.index.0,
        leader_id: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: partition.replicas.iter().map(|node| node.0).collect(),
        isr_nodes: partition.replicas.iter().map(|node| node.0).collect(),
        offline_replicas: Vec::new(),
    });
    MetadataResponseTopic {
        error_code: ErrorCode::None,
        name: Some(view.name.clone()),
        topic_id: view.id.0,
        is_internal: view.is_internal,
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}
