//! What the records of the broker's own topics say, as JSON.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::catalog::CatalogRecord;
use crate::groups::{GroupRecord, RecordError};
use crate::txn::{TransactionRecord, TransactionState};

/// The meaning of a record; `None` for topics whose records mean nothing to the broker.
///
/// # Errors
/// A record of a topic of ours that is none.
pub(super) fn decode(
    topic: &str,
    key: Option<Bytes>,
    value: Option<Bytes>,
) -> Option<Result<Value, String>> {
    match topic {
        "__consumer_offsets" => Some(group(key.unwrap_or_default(), value)),
        "__transaction_state" => Some(transaction(key.unwrap_or_default(), value)),
        "__cluster_metadata" => {
            let read = CatalogRecord::decode(value.unwrap_or_default());
            Some(read.map(|read| catalog(&read.record)).map_err(|error| error.to_string()))
        }
        _ => None,
    }
}

fn transaction(key: Bytes, value: Option<Bytes>) -> Result<Value, String> {
    let TransactionRecord { transactional_id, metadata } =
        TransactionRecord::decode(key, value).map_err(|error| error.to_string())?;
    let kept = metadata.as_ref();
    let partitions = kept.map(|kept| {
        let topics = kept.partitions.iter().flatten();
        topics.map(|topic| (topic.topic.clone(), json!(topic.partition_ids))).collect::<Map<_, _>>()
    });
    Ok(json!({
        "record": "transaction",
        "transactional_id": transactional_id,
        "producer_id": kept.map(|kept| kept.producer_id),
        "producer_epoch": kept.map(|kept| kept.producer_epoch),
        "timeout_ms": kept.map(|kept| kept.timeout_ms),
        "state": kept.and_then(|kept| TransactionState::from_code(kept.state)).map(TransactionState::name),
        "partitions": partitions,
        "updated_at": kept.map(|kept| kept.last_update_timestamp),
        "started_at": kept.map(|kept| kept.start_timestamp),
    }))
}

fn group(key: Bytes, value: Option<Bytes>) -> Result<Value, String> {
    match GroupRecord::decode(key, value) {
        Ok(GroupRecord::Offset { group_id, topic, partition, committed }) => {
            let kept = committed.as_ref();
            Ok(json!({
                "record": "offset",
                "group": group_id,
                "topic": topic,
                "partition": partition.0,
                "offset": kept.map(|kept| kept.offset.0),
                "leader_epoch": kept.and_then(|kept| kept.leader_epoch).map(|epoch| epoch.0),
                "metadata": kept.map(|kept| kept.metadata.clone()),
                "topic_id": kept.map(|kept| kept.topic_id.to_string()),
                "committed_at": kept.map(|kept| kept.committed_at.0),
                "expires": kept.and_then(|kept| kept.expires).map(|expires| expires.0),
            }))
        }
        Ok(GroupRecord::Group { group_id, metadata }) => {
            let members = metadata.as_ref().map(|group| {
                let member = |member: &crate::groups::MemberMetadata| {
                    json!({
                        "member_id": member.member_id,
                        "group_instance_id": member.group_instance_id,
                        "client_id": member.client_id,
                        "client_host": member.client_host,
                        "session_timeout_ms": member.session_timeout,
                        "rebalance_timeout_ms": member.rebalance_timeout,
                    })
                };
                group.members.iter().map(member).collect::<Vec<_>>()
            });
            Ok(json!({
                "record": "group",
                "group": group_id,
                "generation": metadata.as_ref().map(|group| group.generation),
                "protocol_type": metadata.as_ref().map(|group| group.protocol_type.clone()),
                "protocol": metadata.as_ref().and_then(|group| group.protocol.clone()),
                "leader": metadata.as_ref().and_then(|group| group.leader.clone()),
                "members": members,
            }))
        }
        // A batch says whether it is of a transaction, not its records.
        Ok(GroupRecord::PendingOffset { .. } | GroupRecord::EndTransaction { .. }) => {
            Ok(json!({ "record": "other" }))
        }
        // Of another kind of group: Kafka's to read.
        Err(RecordError::KeyType(kind)) => Ok(json!({ "record": "other", "key_type": kind })),
        Err(error) => Err(error.to_string()),
    }
}

fn catalog(record: &CatalogRecord) -> Value {
    let id = |id: uuid::Uuid| crate::types::TopicId(id).to_string();
    match record {
        CatalogRecord::Topic(topic) => json!({
            "record": "topic", "name": topic.name, "topic_id": id(topic.topic_id),
        }),
        CatalogRecord::Partition(partition) => json!({
            "record": "partition",
            "topic_id": id(partition.topic_id),
            "partition": partition.partition_id,
            "replicas": partition.replicas,
            "leader": partition.leader,
            "leader_epoch": partition.leader_epoch,
        }),
        CatalogRecord::PartitionChange(change) => json!({
            "record": "partition change",
            "topic_id": id(change.topic_id),
            "partition": change.partition_id,
            "replicas": change.replicas,
            "leader": change.leader,
        }),
        CatalogRecord::Config(config) => json!({
            "record": "config",
            "resource_type": config.resource_type,
            "resource": config.resource_name,
            "name": config.name,
            "value": config.value,
        }),
        CatalogRecord::RemoveTopic(topic) => json!({
            "record": "remove topic", "topic_id": id(topic.topic_id),
        }),
        CatalogRecord::FeatureLevel(feature) => json!({
            "record": "feature", "name": feature.name, "level": feature.feature_level,
        }),
        CatalogRecord::ProducerIds(ids) => json!({
            "record": "producer ids", "next_producer_id": ids.next_producer_id,
        }),
        CatalogRecord::Other { kind, version, body } => json!({
            "record": "other", "type": kind, "version": version, "bytes": body.len(),
        }),
    }
}
