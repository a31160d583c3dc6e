//! Why a change of the catalog was refused.

use crate::config::ConfigError;
use crate::types::TopicId;

/// One variant for each thing that a caller can do about it. The text goes to the user: it says what
/// is wrong and, where that is not plain, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// There is such a topic.
    #[error("topic {0:?} already exists")]
    TopicExists(String),
    /// There is no topic of this name.
    #[error("there is no topic {0:?}")]
    UnknownTopic(String),
    /// There is no topic with this id.
    #[error("there is no topic with id {0}")]
    UnknownTopicId(TopicId),
    /// A topic cannot be called so.
    #[error("{name:?} is no topic name: {reason}")]
    InvalidName {
        /// As given, cut to the longest that is allowed.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A number of partitions that cannot be.
    #[error("{0}")]
    InvalidPartitions(String),
    /// A number of replicas that cannot be.
    #[error("{0}")]
    InvalidReplicationFactor(String),
    /// Replicas were placed by hand, and not so that it works.
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    /// A setting is unknown, or its value is not valid.
    #[error(transparent)]
    InvalidConfig(#[from] ConfigError),
    /// The request contradicts itself, or asks for what can never be.
    #[error("{0}")]
    InvalidRequest(String),
    /// A limit of this broker stands against it.
    #[error("{0}")]
    PolicyViolation(String),
    /// Topics cannot be deleted here.
    #[error("topics cannot be deleted: delete.topic.enable is false")]
    TopicDeletionDisabled,
}
