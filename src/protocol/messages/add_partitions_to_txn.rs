//! AddPartitionsToTxn (API 24): makes partitions part of a producer's transaction (KIP-98).
//!
//! KIP-890 (v4): several transactions at once, and a question that adds nothing; from then on brokers
//! alone send it. (v5): error 120.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// What to add: to one transaction up to version 3, then to `transactions`.
    pub struct AddPartitionsToTxnRequest: versions 0-5, flexible 3+ {
        transactions: Vec<AddPartitionsToTxnTransaction>,     4+;
        v3_and_below_transactional_id: String,                0-3;
        v3_and_below_producer_id: i64,                        0-3;
        v3_and_below_producer_epoch: i16,                     0-3;
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,    0-3;
    }

    /// One transaction, from version 4 on.
    pub struct AddPartitionsToTxnTransaction {
        transactional_id: String,             4+;
        producer_id: i64,                     4+;
        producer_epoch: i16,                  4+;
        /// Only tell whether the partitions are part of it.
        verify_only: bool,                    4+;
        topics: Vec<AddPartitionsToTxnTopic>, 4+;
    }

    /// One topic.
    pub struct AddPartitionsToTxnTopic {
        name: String,                  0+;
        partitions: Vec<i32>,          0+;
    }
}

message! {
    /// What became of each partition: of one transaction up to version 3, then by transaction.
    pub struct AddPartitionsToTxnResponse: versions 0-5, flexible 3+ {
        throttle_time_ms: i32,                                            0+;
        error_code: ErrorCode,                                            4+ ignorable;
        results_by_transaction: Vec<AddPartitionsToTxnResult>,            4+;
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, 0-3;
    }

    /// One transaction of the answer, from version 4 on.
    pub struct AddPartitionsToTxnResult {
        transactional_id: String,                          4+;
        topic_results: Vec<AddPartitionsToTxnTopicResult>, 4+;
    }

    /// One topic of the answer.
    pub struct AddPartitionsToTxnTopicResult {
        name: String,                                               0+;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, 0+;
    }

    /// What became of one partition.
    pub struct AddPartitionsToTxnPartitionResult {
        partition_index: i32,            0+;
        partition_error_code: ErrorCode, 0+;
    }
}
