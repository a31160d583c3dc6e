//! DescribeProducers (API 61, v0): what partitions know of their producers, and which transactions are
//! open there (KIP-664).

use std::collections::HashSet;

use crate::broker::{Broker, FetchError};
use crate::catalog::check_name;
use crate::partition;
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use crate::server::dispatch::Cx;
use crate::server::errors::told;
use crate::types::PartitionIndex;

/// Producers told of in one answer, but those of one partition in any case; the partitions beyond are
/// refused, to be asked again. Unlike Kafka, which has no such limit.
const ROW_COUNT_MAX: usize = 20_000;

pub(super) fn handle(cx: &Cx, request: DescribeProducersRequest) -> DescribeProducersResponse {
    describe(&cx.broker, request)
}

/// Tells of each partition once.
fn describe(broker: &Broker, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let (mut seen, mut row_count) = (HashSet::new(), 0);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let indexes = topic.partition_indexes.iter();
        let mut partitions = Vec::new();
        for index in indexes.filter(|index| seen.insert((topic.name.as_str(), **index))) {
            let told = if row_count < ROW_COUNT_MAX {
                producers(broker, &topic.name, PartitionIndex(*index))
            } else {
                Err((
                    ErrorCode::PolicyViolation,
                    format!("no room: over {ROW_COUNT_MAX} producers"),
                ))
            };
            row_count += told.as_ref().map_or(1, |producers| producers.len().max(1));
            partitions.push(partition_row(*index, told));
        }
        topics.push(TopicResponse { name: topic.name.clone(), partitions });
    }
    DescribeProducersResponse { topics, ..DescribeProducersResponse::default() }
}

fn partition_row(
    partition_index: i32,
    told: Result<Vec<partition::ProducerState>, (ErrorCode, String)>,
) -> PartitionResponse {
    match told {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.iter().map(row).collect(),
            ..PartitionResponse::default()
        },
        Err((error_code, message)) => PartitionResponse {
            partition_index,
            error_code,
            error_message: Some(message),
            ..PartitionResponse::default()
        },
    }
}

fn producers(
    broker: &Broker,
    topic: &str,
    index: PartitionIndex,
) -> Result<Vec<partition::ProducerState>, (ErrorCode, String)> {
    check_name(topic).map_err(|error| told(&error))?;
    let partition = broker.partition(topic, index).map_err(|error| told(&error))?;
    partition.reader().map_err(|error| told(&FetchError::from(error)))?;
    Ok(partition.producers())
}

fn row(state: &partition::ProducerState) -> ProducerState {
    ProducerState {
        producer_id: state.producer_id.0,
        producer_epoch: state.producer_epoch.0.into(),
        last_sequence: state.last_sequence.unwrap_or(-1),
        last_timestamp: state.last_timestamp.0,
        coordinator_epoch: state.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: state.transaction_start.map_or(-1, |first| first.0),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::broker::{Apply, BrokerOptions, Tasks};
    use crate::catalog::NewTopic;
    use crate::clock::Clock;
    use crate::config::broker::BrokerConfig;
    use crate::config::value::Durability;
    use crate::ids::Ids;
    use crate::log::fs::MemoryFs;
    use crate::partition::{Flusher, Marker};
    use crate::protocol::messages::describe_producers::TopicRequest;
    use crate::records::{BatchBuilder, EndMarker, NewRecord, Outcome};
    use crate::types::{ProducerEpoch, ProducerId, Timestamp, TransactionVersion};

    /// A broker in memory.
    pub(in super::super) fn broker() -> Arc<Broker> {
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let (flusher, _thread) = Flusher::start(clock.clone(), 0).unwrap();
        let config =
            BrokerConfig { ottla_durability: Durability::Ephemeral, ..BrokerConfig::default() };
        let options = BrokerOptions {
            config,
            statics: BTreeMap::new(),
            clock,
            ids: Ids::random(),
            fs: Arc::new(MemoryFs::new()),
            folder: PathBuf::from("data"),
            flusher,
            tasks: Arc::new(Tasks::default()),
            other_nodes: Vec::new(),
        };
        Broker::open(options).unwrap()
    }

    fn ask(broker: &Broker, name: &str, index: i32) -> PartitionResponse {
        let topic = TopicRequest { name: name.to_owned(), partition_indexes: vec![index] };
        let request = DescribeProducersRequest { topics: vec![topic] };
        let mut response = describe(broker, request);
        assert_eq!(response.topics[0].name, name);
        response.topics.remove(0).partitions.remove(0)
    }

    #[tokio::test]
    async fn each_producer_is_told_with_its_open_transaction() {
        let broker = broker();
        broker.create_topics(vec![NewTopic::named("t")], Apply::Yes).await.unwrap();
        let partition = broker.partition("t", PartitionIndex(0)).unwrap();
        let now = broker.clock.now();
        let (producer_id, producer_epoch) = (ProducerId(7), ProducerEpoch(3));
        let mut batch = BatchBuilder::new().producer(producer_id, producer_epoch, 0);
        for _ in 0..2 {
            let (key, value) = (None, Some(b"v".as_slice()));
            batch.push(&NewRecord { timestamp: now.wall, key, value, headers: &[] });
        }
        let sent = batch.transactional().build().unwrap().to_bytes();
        partition.append_beginning(sent, TransactionVersion::V2, now).unwrap();
        let open = ProducerState {
            producer_id: 7,
            producer_epoch: 3,
            last_sequence: 1,
            last_timestamp: now.wall.0,
            coordinator_epoch: -1,
            current_txn_start_offset: 0,
        };
        assert_eq!(ask(&broker, "t", 0).active_producers, std::slice::from_ref(&open));
        let end = EndMarker { outcome: Outcome::Commit, coordinator_epoch: 0 };
        let version = TransactionVersion::V2;
        let marker = Marker { producer_id, producer_epoch: ProducerEpoch(4), end, version };
        partition.append_marker(&marker, now).unwrap();
        let ended = ProducerState {
            producer_epoch: 4,
            last_sequence: -1,
            coordinator_epoch: 0,
            current_txn_start_offset: -1,
            ..open
        };
        assert_eq!(ask(&broker, "t", 0).active_producers, [ended]);
    }

    #[tokio::test]
    async fn each_partition_is_told_once() {
        let broker = broker();
        broker.create_topics(vec![NewTopic::named("t")], Apply::Yes).await.unwrap();
        let topic = |indexes: &[i32]| TopicRequest {
            name: "t".to_owned(),
            partition_indexes: indexes.to_vec(),
        };
        let topics = vec![topic(&[0, 1, 0, 0]), topic(&[1, 2])];
        let response = describe(&broker, DescribeProducersRequest { topics });
        let told = response.topics.iter().map(|topic| {
            topic.partitions.iter().map(|row| row.partition_index).collect::<Vec<_>>()
        });
        assert_eq!(told.collect::<Vec<_>>(), [vec![0, 1], vec![2]]);
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_by_its_code() {
        let broker = broker();
        broker.create_topics(vec![NewTopic::named("t")], Apply::Yes).await.unwrap();
        let code = |name, index| ask(&broker, name, index).error_code;
        assert_eq!(code("t", 0), ErrorCode::None);
        assert_eq!(code("t", 99), ErrorCode::UnknownTopicOrPartition);
        assert_eq!(code("none", 0), ErrorCode::UnknownTopicOrPartition);
        assert_eq!(code("not a name", 0), ErrorCode::InvalidTopicException);
    }
}
