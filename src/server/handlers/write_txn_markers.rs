//! WriteTxnMarkers (API 27, v1-2): ends transactions in partitions, past the coordinator: what
//! kafka-transactions does about one that hangs (KIP-664).

use crate::broker::{Broker, MarkerError};
use crate::partition::Marker;
use crate::protocol::ErrorCode;
use crate::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use crate::records::{EndMarker, Outcome};
use crate::server::dispatch::Cx;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, TransactionVersion};

pub(super) async fn handle(cx: Cx, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    write(&cx.broker, request).await
}

/// Appends all the markers, then waits for all of them.
async fn write(broker: &Broker, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::new();
    for asked in &request.markers {
        let Some(marker) = marker(asked) else { continue };
        for topic in &asked.topics {
            let indexes = topic.partition_indexes.iter();
            markers.extend(indexes.map(|index| (marker, &*topic.name, PartitionIndex(*index))));
        }
    }
    let written = broker.write_markers_by_hand(&markers).await;
    let mut codes =
        written.into_iter().map(|result| result.err().map_or(ErrorCode::None, |it| code(&it)));
    let row = |asked: WritableTxnMarker| {
        let is_valid = marker(&asked).is_some();
        let mut next = |index| {
            let error_code = if is_valid { codes.next() } else { None };
            let error_code = error_code.unwrap_or(ErrorCode::InvalidRequest);
            WritableTxnMarkerPartitionResult { partition_index: index, error_code }
        };
        let topics = asked.topics.into_iter().map(|topic| WritableTxnMarkerTopicResult {
            name: topic.name,
            partitions: topic.partition_indexes.into_iter().map(&mut next).collect(),
        });
        WritableTxnMarkerResult { producer_id: asked.producer_id, topics: topics.collect() }
    };
    WriteTxnMarkersResponse { markers: request.markers.into_iter().map(row).collect() }
}

/// What is to be written; `None` for no producer. Unlike Kafka: one below -1 is refused too.
fn marker(asked: &WritableTxnMarker) -> Option<Marker> {
    let outcome = if asked.transaction_result { Outcome::Commit } else { Outcome::Abort };
    let marker = Marker {
        producer_id: ProducerId(asked.producer_id),
        producer_epoch: ProducerEpoch(asked.producer_epoch),
        end: EndMarker { outcome, coordinator_epoch: asked.coordinator_epoch },
        version: TransactionVersion::from_level(asked.transaction_version.into()),
    };
    (asked.producer_id >= 0 && asked.producer_epoch >= 0).then_some(marker)
}

fn code(error: &MarkerError) -> ErrorCode {
    match error {
        MarkerError::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        MarkerError::OwnJournal => ErrorCode::InvalidTopicException,
        MarkerError::Append(error) => error.into(),
        MarkerError::Group(error) => error.into(),
        MarkerError::NotAnswered(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::describe_producers::tests::broker;
    use super::*;
    use crate::broker::Apply;
    use crate::catalog::NewTopic;
    use crate::protocol::messages::write_txn_markers::WritableTxnMarkerTopic;
    use crate::types::Offset;

    fn asked(
        producer_id: i64,
        producer_epoch: i16,
        topics: &[(&str, &[i32])],
    ) -> WritableTxnMarker {
        let topic = |(name, indexes): &(&str, &[i32])| WritableTxnMarkerTopic {
            name: (*name).to_owned(),
            partition_indexes: indexes.to_vec(),
        };
        WritableTxnMarker {
            producer_id,
            producer_epoch,
            topics: topics.iter().map(topic).collect(),
            ..WritableTxnMarker::default()
        }
    }

    #[tokio::test]
    async fn each_partition_is_told_what_became_of_its_own_marker() {
        let broker = broker();
        broker.create_topics(vec![NewTopic::named("t")], Apply::Yes).await.unwrap();
        let markers = vec![
            asked(7, 0, &[("t", &[0, 99]), ("none", &[0])]),
            asked(-2, 0, &[("t", &[0, 1])]),
            asked(8, -1, &[("t", &[0])]),
            asked(8, 0, &[("__transaction_state", &[0]), ("t", &[1])]),
        ];
        let response = write(&broker, WriteTxnMarkersRequest { markers }).await;
        let codes = |row: &WritableTxnMarkerResult| {
            let rows = row.topics.iter().flat_map(|topic| &topic.partitions);
            rows.map(|row| row.error_code.code()).collect::<Vec<_>>()
        };
        let told: Vec<_> = response.markers.iter().map(codes).collect();
        assert_eq!(told, [vec![0, 3, 3], vec![42, 42], vec![42], vec![17, 0]]);
        for index in [0, 1] {
            let partition = broker.partition("t", PartitionIndex(index)).unwrap();
            assert_eq!(partition.watermarks().high_watermark, Offset(1));
        }
    }
}
