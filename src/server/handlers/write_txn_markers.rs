//! WriteTxnMarkers (API 27, v1-2): ends transactions in partitions, past the coordinator: what
//! kafka-transactions does about one that hangs (KIP-664).

use crate::broker::MarkerError;
use crate::partition::{Marker, TransactionVersion};
use crate::protocol::ErrorCode;
use crate::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use crate::records::{EndMarker, Outcome};
use crate::server::dispatch::Cx;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId};

/// The level of transaction.version whose markers raise the epoch.
const EPOCH_RISES_AT: i8 = 2;

pub(super) async fn handle(cx: Cx, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for asked in request.markers {
        markers.push(write(&cx, asked).await);
    }
    WriteTxnMarkersResponse { markers }
}

async fn write(cx: &Cx, asked: WritableTxnMarker) -> WritableTxnMarkerResult {
    let outcome = if asked.transaction_result { Outcome::Commit } else { Outcome::Abort };
    let version = if asked.transaction_version >= EPOCH_RISES_AT {
        TransactionVersion::V2
    } else {
        TransactionVersion::V1
    };
    let marker = Marker {
        producer_id: ProducerId(asked.producer_id),
        producer_epoch: ProducerEpoch(asked.producer_epoch),
        end: EndMarker { outcome, coordinator_epoch: asked.coordinator_epoch },
        version,
    };
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let written = cx.broker.write_marker(&marker, &topic.name, PartitionIndex(index)).await;
            let error_code = written.err().map_or(ErrorCode::None, |error| code(&error));
            partitions
                .push(WritableTxnMarkerPartitionResult { partition_index: index, error_code });
        }
        topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
    }
    WritableTxnMarkerResult { producer_id: asked.producer_id, topics }
}

fn code(error: &MarkerError) -> ErrorCode {
    match error {
        MarkerError::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        MarkerError::Append(error) => error.into(),
        MarkerError::Group(error) => error.into(),
        MarkerError::NotAnswered(error) => error.into(),
    }
}
