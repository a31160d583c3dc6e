//! Why the coordinator refuses: one variant for each Kafka error code that a transactional request
//! can be answered with.

use thiserror::Error;

use super::state::TransactionState;
use crate::records::Outcome;
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId};

/// A refusal. Each variant stands for one Kafka error code, named in its docs; the server maps them,
/// the texts are for logs and error message fields.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TxnError {
    /// Never for a client: a fresh producer id is needed and there is none. Nothing has changed;
    /// the caller supplies one and asks again.
    #[error("a fresh producer id is needed")]
    ProducerIdNeeded,
    /// 15 COORDINATOR_NOT_AVAILABLE. Never from the coordinator itself: for its shell, when the
    /// journal cannot be written.
    #[error("the transaction coordinator is not available")]
    CoordinatorNotAvailable,
    /// 42 INVALID_REQUEST.
    #[error("the transactional id is empty")]
    EmptyTransactionalId,
    /// 42 INVALID_REQUEST. Unlike Kafka: others see the id on terminals, in logs and tables.
    #[error("transactional ids have no control characters")]
    ControlCharacters,
    /// 42 INVALID_REQUEST: more than the format of the journal can hold; none that comes over the wire.
    #[error("a transactional id of {bytes} bytes, at most {max} can be stored")]
    TransactionalIdTooLong {
        /// Its bytes.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// 42 INVALID_REQUEST.
    #[error(
        "producer id {producer_id} and epoch {producer_epoch} are given together or not at all"
    )]
    HalfProducer {
        /// What came; -1 is none.
        producer_id: ProducerId,
        /// What came; -1 is none.
        producer_epoch: ProducerEpoch,
    },
    /// 44 POLICY_VIOLATION: the coordinator has all the ids it may have, and each of them has a
    /// transaction open or ending. Not one that is retried: clients would wait for ever without a word.
    #[error("no room: at most {max} transactional ids")]
    TooManyTransactionalIds {
        /// `ottla.max.transactional.ids`.
        max: usize,
    },
    /// 44 POLICY_VIOLATION, too: the client has to abort.
    #[error("no room: at most {max} partitions in a transaction")]
    TooManyPartitions {
        /// The most partitions of one transaction.
        max: usize,
    },
    /// 48 INVALID_TXN_STATE.
    #[error("the transaction is in state {}: it cannot be {}", state.name(), match asked {
        Outcome::Commit => "committed",
        Outcome::Abort => "aborted",
    })]
    InvalidState {
        /// Where it is.
        state: TransactionState,
        /// What was asked.
        asked: Outcome,
    },
    /// 49 INVALID_PRODUCER_ID_MAPPING: an id that is not known, or held by another producer id.
    #[error("producer id {producer_id} does not hold transactional id {transactional_id:?}")]
    InvalidProducerIdMapping {
        /// The id.
        transactional_id: String,
        /// What came.
        producer_id: ProducerId,
    },
    /// 50 INVALID_TRANSACTION_TIMEOUT.
    #[error("transaction timeout {got} ms is not within 1 and transaction.max.timeout.ms {max}")]
    InvalidTimeout {
        /// What came.
        got: i32,
        /// `transaction.max.timeout.ms`.
        max: i32,
    },
    /// 51 CONCURRENT_TRANSACTIONS: the last transaction is still ending; the client retries.
    #[error("the last transaction of {0:?} is still ending")]
    ConcurrentTransactions(String),
    /// 90 PRODUCER_FENCED: a newer producer has taken the id. 47 INVALID_PRODUCER_EPOCH for
    /// InitProducerId below 4, AddPartitionsToTxn, AddOffsetsToTxn and EndTxn below 2, and for
    /// Produce and TxnOffsetCommit.
    #[error("epoch {got} of producer {producer_id}, the current one is {current}")]
    ProducerFenced {
        /// Whose.
        producer_id: ProducerId,
        /// What came.
        got: ProducerEpoch,
        /// What the id is at.
        current: ProducerEpoch,
    },
    /// 105 TRANSACTIONAL_ID_NOT_FOUND.
    #[error("no transactional id {0:?}")]
    TransactionalIdNotFound(String),
    /// 120 TRANSACTION_ABORTABLE; 48 INVALID_TXN_STATE to Produce below 11 and TxnOffsetCommit
    /// below 4.
    #[error("partition {partition} of topic {topic:?} is not part of the transaction")]
    NotInTransaction {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
    },
    /// 128 INVALID_REGULAR_EXPRESSION.
    #[error("transactional id pattern: {0}")]
    InvalidPattern(String),
}
