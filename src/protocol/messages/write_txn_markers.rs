//! WriteTxnMarkers (API 27): writes the markers that end transactions in partitions (KIP-98). Brokers
//! send it, and admin tools to end a hanging transaction (KIP-664).
//!
//! KIP-1228 (v2): by which version of the protocol the transaction ended.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The markers to write.
    pub struct WriteTxnMarkersRequest: versions 1-2, flexible 1+ {
        markers: Vec<WritableTxnMarker>, 0+;
    }

    /// The markers of one transaction.
    pub struct WritableTxnMarker {
        producer_id: i64,                    0+;
        producer_epoch: i16,                 0+;
        /// True for commit, false for abort.
        transaction_result: bool,            0+;
        topics: Vec<WritableTxnMarkerTopic>, 0+;
        coordinator_epoch: i32,              0+;
        transaction_version: i8,             2+ ignorable;
    }

    /// One topic.
    pub struct WritableTxnMarkerTopic {
        name: String,                  0+;
        partition_indexes: Vec<i32>,   0+;
    }
}

message! {
    /// What became of each marker.
    pub struct WriteTxnMarkersResponse: versions 1-2, flexible 1+ {
        markers: Vec<WritableTxnMarkerResult>, 0+;
    }

    /// The markers of one transaction.
    pub struct WritableTxnMarkerResult {
        producer_id: i64,                          0+;
        topics: Vec<WritableTxnMarkerTopicResult>, 0+;
    }

    /// One topic of the answer.
    pub struct WritableTxnMarkerTopicResult {
        name: String,                                      0+;
        partitions: Vec<WritableTxnMarkerPartitionResult>, 0+;
    }

    /// What became of one partition's marker.
    pub struct WritableTxnMarkerPartitionResult {
        partition_index: i32,          0+;
        error_code: ErrorCode,         0+;
    }
}
