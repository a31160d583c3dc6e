//! OffsetFetch (API 9, v1-10): a group's committed offsets: of one group up to v7, of several from v8
//! on (KIP-709). KIP-447 (v7): those that an open transaction may change, only if that is wanted.
//! KIP-516 (v10): topics by id.
//!
//! Nothing committed is offset -1 without an error, and so is what was committed for another topic of
//! the same name.

use uuid::Uuid;

use super::group_call;
use crate::broker::Broker;
use crate::groups::{Command, FetchGroup, FetchOffsets, FetchedGroup, FetchedPartition, Reply};
use crate::partition::Topic;
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::server::dispatch::Cx;
use crate::types::{PartitionIndex, TopicId};

/// The first version with several groups.
const GROUPS_SINCE: i16 = 8;
/// The first version that names topics by id.
const TOPIC_ID_SINCE: i16 = 10;

pub(super) async fn handle(cx: Cx, mut request: OffsetFetchRequest) -> OffsetFetchResponse {
    let several = cx.call.version >= GROUPS_SINCE;
    let by_id = cx.call.version >= TOPIC_ID_SINCE;
    if !several {
        request.groups = vec![only_group(&mut request)];
    }
    if by_id {
        name_topics(&cx.broker, &mut request.groups);
    }
    let groups = request.groups.iter().map(asked).collect();
    let command =
        Command::FetchOffsets(FetchOffsets { groups, require_stable: request.require_stable });
    let fetched = group_call(&cx, command, |reply| match reply {
        Reply::FetchOffsets(groups) => Some(groups),
        _ => None,
    });
    let groups: Vec<_> = match fetched.await {
        Ok(fetched) => {
            let both = request.groups.into_iter().zip(fetched);
            both.map(|(asked, fetched)| group_row(&cx.broker, asked, fetched, by_id)).collect()
        }
        Err(code) => request.groups.into_iter().map(|asked| failed(asked, code)).collect(),
    };
    if several {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let only = groups.into_iter().next().unwrap_or_default();
    OffsetFetchResponse {
        topics: only.topics.into_iter().map(single).collect(),
        error_code: only.error_code,
        ..OffsetFetchResponse::default()
    }
}

/// The one group of a request up to v7, in the form of later ones.
fn only_group(request: &mut OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.take().map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        });
        topics.collect()
    });
    OffsetFetchRequestGroup {
        group_id: std::mem::take(&mut request.group_id),
        topics,
        ..OffsetFetchRequestGroup::default()
    }
}

/// Gives topics that are named by id their name; none, "", to those that are not known.
fn name_topics(broker: &Broker, groups: &mut [OffsetFetchRequestGroup]) {
    for topic in groups.iter_mut().filter_map(|group| group.topics.as_mut()).flatten() {
        let known = broker.registry.by_id(TopicId(topic.topic_id));
        topic.name = known.map(|known| known.name.to_string()).unwrap_or_default();
    }
}

fn asked(group: &OffsetFetchRequestGroup) -> FetchGroup {
    let topic = |topic: &OffsetFetchRequestTopics| {
        let partitions = topic.partition_indexes.iter();
        (topic.name.clone(), partitions.map(|index| PartitionIndex(*index)).collect())
    };
    let topics = group.topics.as_ref().map(|topics| topics.iter().map(topic).collect());
    FetchGroup { group_id: group.group_id.clone(), topics }
}

fn failed(group: OffsetFetchRequestGroup, error_code: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup { group_id: group.group_id, error_code, topics: Vec::new() }
}

fn group_row(
    broker: &Broker,
    asked: OffsetFetchRequestGroup,
    fetched: FetchedGroup,
    by_id: bool,
) -> OffsetFetchResponseGroup {
    let ids = asked.topics.map(|topics| topics.into_iter().map(|topic| topic.topic_id));
    let topics = fetched.topics.into_iter();
    let topics = match ids.filter(|_| by_id) {
        Some(ids) => {
            let row = |(id, (_, rows)): (Uuid, (String, Vec<FetchedPartition>))| {
                let known = broker.registry.by_id(TopicId(id));
                let partitions = match &known {
                    Some(known) => partition_rows(Some(known), rows),
                    None => rows.iter().map(|row| none(row, ErrorCode::UnknownTopicId)).collect(),
                };
                OffsetFetchResponseTopics { name: String::new(), topic_id: id, partitions }
            };
            ids.zip(topics).map(row).collect()
        }
        None => {
            let row = |(name, rows): (String, Vec<FetchedPartition>)| {
                let known = broker.registry.by_name(&name);
                let topic_id = known.as_ref().map_or(Uuid::nil(), |known| known.id.0);
                let partitions = partition_rows(known.as_deref(), rows);
                OffsetFetchResponseTopics { name, topic_id, partitions }
            };
            // By id, a topic that is gone cannot be named.
            topics.map(row).filter(|row| !by_id || !row.topic_id.is_nil()).collect()
        }
    };
    OffsetFetchResponseGroup { group_id: fetched.group_id, topics, error_code: ErrorCode::None }
}

/// The rows of a topic that is there, or was.
fn partition_rows(
    known: Option<&Topic>,
    rows: Vec<FetchedPartition>,
) -> Vec<OffsetFetchResponsePartitions> {
    let is_of_another = |id: TopicId| id != TopicId::ZERO && known.is_some_and(|it| it.id != id);
    let row = |row: FetchedPartition| match row.committed {
        Some(ref kept) if !is_of_another(kept.topic_id) => OffsetFetchResponsePartitions {
            partition_index: row.partition.0,
            committed_offset: kept.offset.0,
            committed_leader_epoch: kept.leader_epoch.map_or(-1, |epoch| epoch.0),
            metadata: Some(kept.metadata.clone()),
            error_code: ErrorCode::None,
        },
        Some(_) | None if row.is_unstable => none(&row, ErrorCode::UnstableOffsetCommit),
        Some(_) | None => none(&row, ErrorCode::None),
    };
    rows.into_iter().map(row).collect()
}

/// The row of a partition without an offset to tell.
fn none(row: &FetchedPartition, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: row.partition.0,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}

/// A topic in the form that it has up to v7.
fn single(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|row| OffsetFetchResponsePartition {
        partition_index: row.partition_index,
        committed_offset: row.committed_offset,
        committed_leader_epoch: row.committed_leader_epoch,
        metadata: row.metadata,
        error_code: row.error_code,
    });
    OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() }
}
