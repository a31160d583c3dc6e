//! Each refusal of the broker as the error code that Kafka's clients know for it. No wildcard: a new
//! refusal does not compile until it has its code.

use crate::broker::{
    DeleteRecordsError, FetchError, ProduceError, ShellError, TopicError, TransactionError,
};
use crate::catalog::CatalogError;
use crate::groups::GroupError;
use crate::partition::{AppendError, ProducerError, ReadError};
use crate::protocol::ErrorCode;
use crate::records::BatchError;
use crate::txn::TxnError;

/// A refusal as a response's row tells it: the code, and the text for the user.
pub(super) fn told<Error>(error: &Error) -> (ErrorCode, String)
where
    Error: std::fmt::Display,
    for<'a> ErrorCode: From<&'a Error>,
{
    (error.into(), error.to_string())
}

impl From<&AppendError> for ErrorCode {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::Batch(error) => error.into(),
            AppendError::TooLarge { .. } | AppendError::Build(_) => Self::MessageTooLarge,
            AppendError::LargerThanSegment { .. } => Self::RecordListTooLarge,
            AppendError::InvalidTimestamp(_) => Self::InvalidTimestamp,
            AppendError::InvalidRecord(_) => Self::InvalidRecord,
            AppendError::Producer(error) => error.into(),
            AppendError::TransactionNotBegun { .. } => Self::InvalidTxnState,
            AppendError::Storage(_) | AppendError::DiskFull | AppendError::TooManyFiles(_) => {
                Self::KafkaStorageError
            }
        }
    }
}

impl From<&BatchError> for ErrorCode {
    fn from(error: &BatchError) -> Self {
        match error {
            BatchError::UnknownMagic { .. } | BatchError::Length(_) | BatchError::Crc { .. } => {
                Self::CorruptMessage
            }
            BatchError::TooLarge { .. } => Self::MessageTooLarge,
            BatchError::NoBatch { .. }
            | BatchError::MoreThanOne
            | BatchError::OldMagic { .. }
            | BatchError::BaseOffset(_)
            | BatchError::Count { .. }
            | BatchError::Control
            | BatchError::Sequence { .. }
            | BatchError::TransactionalWithoutProducer
            | BatchError::Codec(_)
            | BatchError::Compression(_)
            | BatchError::Record(_)
            | BatchError::OffsetDelta { .. } => Self::InvalidRecord,
        }
    }
}

impl From<&ProducerError> for ErrorCode {
    fn from(error: &ProducerError) -> Self {
        match error {
            ProducerError::InvalidEpoch { .. } | ProducerError::EpochNotBumped { .. } => {
                Self::InvalidProducerEpoch
            }
            ProducerError::OutOfOrderSequence { .. } => Self::OutOfOrderSequenceNumber,
            ProducerError::TransactionOpen { .. } => Self::InvalidTxnState,
            ProducerError::CoordinatorFenced { .. } => Self::TransactionCoordinatorFenced,
        }
    }
}

impl From<&ProduceError> for ErrorCode {
    fn from(error: &ProduceError) -> Self {
        match error {
            ProduceError::UnknownTopicOrPartition => Self::UnknownTopicOrPartition,
            ProduceError::UnknownTopicId => Self::UnknownTopicId,
            ProduceError::UnsupportedCodec => Self::UnsupportedCompressionType,
            ProduceError::NotLeader => Self::NotLeaderOrFollower,
            ProduceError::InternalTopic(_) => Self::InvalidTopicException,
            ProduceError::NoRecords => Self::InvalidRecord,
            ProduceError::Transaction(error) => (&**error).into(),
            ProduceError::Append(error) => error.into(),
        }
    }
}

impl From<&FetchError> for ErrorCode {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::UnknownTopicOrPartition => Self::UnknownTopicOrPartition,
            FetchError::UnknownTopicId => Self::UnknownTopicId,
            FetchError::NotLeader => Self::NotLeaderOrFollower,
            FetchError::FencedLeaderEpoch { .. } => Self::FencedLeaderEpoch,
            FetchError::UnknownLeaderEpoch { .. } => Self::UnknownLeaderEpoch,
            FetchError::Read(ReadError::OutOfRange { .. }) => Self::OffsetOutOfRange,
            FetchError::Read(ReadError::Storage(_)) => Self::KafkaStorageError,
        }
    }
}

impl From<&TopicError> for ErrorCode {
    fn from(error: &TopicError) -> Self {
        match error {
            TopicError::Catalog(error) => error.into(),
            TopicError::Storage(_) => Self::KafkaStorageError,
            TopicError::Encode(_) => Self::UnknownServerError,
        }
    }
}

impl From<&CatalogError> for ErrorCode {
    fn from(error: &CatalogError) -> Self {
        match error {
            CatalogError::TopicExists(_) => Self::TopicAlreadyExists,
            CatalogError::UnknownTopic(_) => Self::UnknownTopicOrPartition,
            CatalogError::UnknownTopicId(_) => Self::UnknownTopicId,
            CatalogError::InvalidName { .. } => Self::InvalidTopicException,
            CatalogError::InvalidPartitions(_) => Self::InvalidPartitions,
            CatalogError::InvalidReplicationFactor(_) => Self::InvalidReplicationFactor,
            CatalogError::InvalidReplicaAssignment(_) => Self::InvalidReplicaAssignment,
            CatalogError::InvalidConfig(_) => Self::InvalidConfig,
            CatalogError::InvalidRequest(_) => Self::InvalidRequest,
            CatalogError::PolicyViolation(_) => Self::PolicyViolation,
            CatalogError::TopicDeletionDisabled => Self::TopicDeletionDisabled,
        }
    }
}

impl From<&DeleteRecordsError> for ErrorCode {
    fn from(error: &DeleteRecordsError) -> Self {
        match error {
            DeleteRecordsError::Partition(error) => error.into(),
            DeleteRecordsError::InternalTopic(_) => Self::InvalidTopicException,
            DeleteRecordsError::NotDeletable(_) => Self::PolicyViolation,
            DeleteRecordsError::OutOfRange { .. } => Self::OffsetOutOfRange,
            DeleteRecordsError::Storage(_) => Self::KafkaStorageError,
        }
    }
}

impl From<&GroupError> for ErrorCode {
    fn from(error: &GroupError) -> Self {
        match error {
            GroupError::CoordinatorNotAvailable => Self::CoordinatorNotAvailable,
            GroupError::IllegalGeneration { .. } => Self::IllegalGeneration,
            GroupError::InconsistentGroupProtocol { .. } => Self::InconsistentGroupProtocol,
            GroupError::InvalidGroupId | GroupError::ControlCharacters => Self::InvalidGroupId,
            GroupError::UnknownMemberId { .. } => Self::UnknownMemberId,
            GroupError::InvalidSessionTimeout { .. } => Self::InvalidSessionTimeout,
            GroupError::RebalanceInProgress => Self::RebalanceInProgress,
            GroupError::OffsetMetadataTooLarge { .. } => Self::OffsetMetadataTooLarge,
            GroupError::InvalidProducerEpoch { .. } => Self::InvalidProducerEpoch,
            GroupError::NonEmptyGroup(_) => Self::NonEmptyGroup,
            GroupError::GroupIdNotFound(_) => Self::GroupIdNotFound,
            GroupError::MemberIdRequired(_) => Self::MemberIdRequired,
            GroupError::GroupMaxSizeReached { .. } => Self::GroupMaxSizeReached,
            GroupError::FencedInstanceId { .. } => Self::FencedInstanceId,
            GroupError::UnknownTopicOrPartition { .. } => Self::UnknownTopicOrPartition,
            GroupError::GroupSubscribedToTopic(_) => Self::GroupSubscribedToTopic,
        }
    }
}

impl From<&ShellError> for ErrorCode {
    /// Both make a client find its coordinator again and retry.
    fn from(error: &ShellError) -> Self {
        match error {
            ShellError::Storage(_) | ShellError::Stopping => Self::CoordinatorNotAvailable,
            ShellError::WrongReply => Self::UnknownServerError,
        }
    }
}

impl From<&TxnError> for ErrorCode {
    fn from(error: &TxnError) -> Self {
        match error {
            TxnError::ProducerIdNeeded | TxnError::CoordinatorNotAvailable => {
                Self::CoordinatorNotAvailable
            }
            TxnError::EmptyTransactionalId
            | TxnError::ControlCharacters
            | TxnError::TransactionalIdTooLong { .. }
            | TxnError::HalfProducer { .. } => Self::InvalidRequest,
            TxnError::TooManyTransactionalIds { .. } | TxnError::TooManyPartitions { .. } => {
                Self::PolicyViolation
            }
            TxnError::InvalidState { .. } => Self::InvalidTxnState,
            TxnError::InvalidProducerIdMapping { .. } => Self::InvalidProducerIdMapping,
            TxnError::InvalidTimeout { .. } => Self::InvalidTransactionTimeout,
            TxnError::ConcurrentTransactions(_) => Self::ConcurrentTransactions,
            TxnError::ProducerFenced { .. } => Self::ProducerFenced,
            TxnError::TransactionalIdNotFound(_) => Self::TransactionalIdNotFound,
            TxnError::NotInTransaction { .. } => Self::TransactionAbortable,
            TxnError::InvalidPattern(_) => Self::InvalidRegularExpression,
        }
    }
}

impl From<&TransactionError> for ErrorCode {
    fn from(error: &TransactionError) -> Self {
        match error {
            TransactionError::Refused(error) => error.into(),
            TransactionError::NotAnswered(error) => error.into(),
            TransactionError::NoProducerId(error) => error.into(),
            TransactionError::Group(error) => error.into(),
        }
    }
}

/// The code of a refusal for a client that may be too `old` to know PRODUCER_FENCED (KIP-588).
pub(super) fn transaction_code(error: &TransactionError, old: bool) -> ErrorCode {
    match error.into() {
        ErrorCode::ProducerFenced if old => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}
