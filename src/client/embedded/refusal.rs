//! What each refusal of the broker is to whoever asked a [`super::Cluster`]. No wildcard: a new refusal
//! does not compile until somebody has decided whether trying again helps.

use std::fmt;

use super::super::cluster::{ClusterError, Span, TopicPartition};
use super::read;
use crate::broker::{
    FetchError, ProduceError, ShellError, TopicError, TransactionError, TransactionWriteError,
};
use crate::groups::GroupError;
use crate::partition::{AppendError, Partition, ProducerError, ReadError};
use crate::txn::TxnError;
use crate::types::Offset;

fn passing(what: &dyn fmt::Display, error: &dyn fmt::Display) -> ClusterError {
    ClusterError::Passing(format!("{what}: {error}"))
}

fn refused(what: &dyn fmt::Display, error: &dyn fmt::Display) -> ClusterError {
    ClusterError::Refused(format!("{what}: {error}"))
}

fn fenced(what: &dyn fmt::Display, error: &dyn fmt::Display) -> ClusterError {
    ClusterError::Fenced(format!("{what}: {error}"))
}

/// A machine answered something else than it was asked: a fault of ours.
pub(super) fn of_answer(what: &dyn fmt::Display) -> ClusterError {
    passing(what, &ShellError::WrongReply)
}

/// A machine gave no answer.
pub(super) fn of_shell(error: &ShellError, what: &dyn fmt::Display) -> ClusterError {
    match error {
        ShellError::Storage(_) | ShellError::Stopping | ShellError::WrongReply => {
            passing(what, error)
        }
    }
}

/// A partition could not be read; `partition` where it was found.
pub(super) fn of_fetch(
    error: &FetchError,
    at: &TopicPartition,
    partition: Option<(&Partition, Offset)>,
) -> ClusterError {
    match error {
        FetchError::UnknownTopicOrPartition | FetchError::UnknownTopicId => {
            ClusterError::Unknown(at.clone())
        }
        FetchError::NotLeader => passing(at, error),
        FetchError::FencedLeaderEpoch { .. } | FetchError::UnknownLeaderEpoch { .. } => {
            passing(at, error)
        }
        FetchError::Read(ReadError::OutOfRange { asked, start, end }) => {
            let span = Span { start: *start, end: *end, high_watermark: *end };
            let span = partition.map_or(span, |(partition, _)| read::span(partition));
            ClusterError::OutOfRange { at: at.clone(), offset: *asked, span }
        }
        FetchError::Read(ReadError::Storage(_)) => match partition {
            Some((partition, offset)) if partition.is_offline() => of_damage(at, offset, error),
            Some(_) | None => passing(at, error),
        },
    }
}

/// What lies in a partition cannot be read, and will not get better by itself.
pub(super) fn of_damage(
    at: &TopicPartition,
    offset: Offset,
    problem: &dyn fmt::Display,
) -> ClusterError {
    ClusterError::Refused(format!(
        "{at} cannot be read at offset {offset}: {problem}; `ottla log check` tells what is wrong with the files"
    ))
}

/// Topics are not as asked.
pub(super) fn of_topic(error: &TopicError, topic: &str) -> ClusterError {
    let what = format!("topic {topic}");
    match error {
        TopicError::Catalog(error) => refused(&what, error),
        TopicError::Storage(error) => of_append(error, &what),
        TopicError::Encode(_) => refused(&what, error),
    }
}

/// A batch was not stored.
pub(super) fn of_produce(error: &ProduceError, at: &TopicPartition) -> ClusterError {
    match error {
        ProduceError::UnknownTopicOrPartition | ProduceError::UnknownTopicId => {
            ClusterError::Unknown(at.clone())
        }
        ProduceError::NotLeader => passing(at, error),
        ProduceError::UnsupportedCodec
        | ProduceError::InternalTopic(_)
        | ProduceError::NoRecords => refused(at, error),
        ProduceError::Transaction(error) => of_transaction(error, at),
        ProduceError::Append(error) => of_append(error, at),
    }
}

/// A log took nothing.
pub(super) fn of_append(error: &AppendError, what: &dyn fmt::Display) -> ClusterError {
    match error {
        AppendError::Producer(
            ProducerError::InvalidEpoch { .. } | ProducerError::EpochNotBumped { .. },
        ) => fenced(what, error),
        AppendError::InvalidTimestamp(records) | AppendError::InvalidRecord(records) => {
            let first = records.first().map_or("", |record| record.message.as_str());
            refused(what, &format!("{error}: {first}"))
        }
        AppendError::Batch(_)
        | AppendError::TooLarge { .. }
        | AppendError::LargerThanSegment { .. }
        | AppendError::Build(_) => refused(what, error),
        // Another order of events than we know of: the id is to be taken anew.
        AppendError::Producer(
            ProducerError::OutOfOrderSequence { .. }
            | ProducerError::TransactionOpen { .. }
            | ProducerError::CoordinatorFenced { .. },
        )
        | AppendError::TransactionNotBegun { .. }
        | AppendError::Storage(_)
        | AppendError::TooManyFiles(_)
        | AppendError::DiskFull => passing(what, error),
    }
}

/// Something is not part of a transaction, or did not end it; `group` is that of its offsets.
pub(super) fn of_write(
    error: &TransactionWriteError,
    what: &dyn fmt::Display,
    group: &str,
) -> ClusterError {
    match error {
        TransactionWriteError::Transaction(TransactionError::Group(error)) => {
            of_group(error, &group)
        }
        TransactionWriteError::Transaction(error) => of_transaction(error, what),
        TransactionWriteError::Partition { topic, partition, error } => {
            of_produce(error, &TopicPartition::new(topic.as_str(), partition.0))
        }
        TransactionWriteError::NotDurable { error, .. } => of_append(error, what),
        TransactionWriteError::MustAbort => passing(what, error),
    }
}

/// The coordinator of transactions refused.
pub(super) fn of_transaction(error: &TransactionError, what: &dyn fmt::Display) -> ClusterError {
    match error {
        TransactionError::Refused(error) => of_coordinator(error, what),
        TransactionError::NotAnswered(error) => of_shell(error, what),
        TransactionError::NoProducerId(error) => passing(what, error),
        TransactionError::Group(error) => of_group(error, what),
    }
}

fn of_coordinator(error: &TxnError, what: &dyn fmt::Display) -> ClusterError {
    match error {
        TxnError::ProducerFenced { .. }
        | TxnError::InvalidProducerIdMapping { .. }
        | TxnError::TransactionalIdNotFound(_) => fenced(what, error),
        TxnError::ProducerIdNeeded
        | TxnError::CoordinatorNotAvailable
        | TxnError::ConcurrentTransactions(_)
        | TxnError::InvalidState { .. }
        | TxnError::NotInTransaction { .. } => passing(what, error),
        TxnError::EmptyTransactionalId
        | TxnError::ControlCharacters
        | TxnError::TransactionalIdTooLong { .. }
        | TxnError::HalfProducer { .. }
        | TxnError::TooManyTransactionalIds { .. }
        | TxnError::TooManyPartitions { .. }
        | TxnError::InvalidTimeout { .. }
        | TxnError::InvalidPattern(_) => refused(what, error),
    }
}

/// The coordinator of groups refused.
pub(super) fn of_group(error: &GroupError, what: &dyn fmt::Display) -> ClusterError {
    match error {
        GroupError::RebalanceInProgress
        | GroupError::IllegalGeneration { .. }
        | GroupError::UnknownMemberId { .. }
        | GroupError::MemberIdRequired(_) => ClusterError::Rebalancing(what.to_string()),
        GroupError::FencedInstanceId { .. } | GroupError::InvalidProducerEpoch { .. } => {
            fenced(what, error)
        }
        GroupError::UnknownTopicOrPartition { topic, partition } => {
            ClusterError::Unknown(TopicPartition::new(topic.as_str(), partition.0))
        }
        GroupError::CoordinatorNotAvailable => passing(what, error),
        GroupError::InconsistentGroupProtocol { .. }
        | GroupError::InvalidGroupId
        | GroupError::ControlCharacters
        | GroupError::InvalidSessionTimeout { .. }
        | GroupError::OffsetMetadataTooLarge { .. }
        | GroupError::NonEmptyGroup(_)
        | GroupError::GroupIdNotFound(_)
        | GroupError::GroupMaxSizeReached { .. }
        | GroupError::GroupSubscribedToTopic(_) => refused(what, error),
    }
}
