//! Why the coordinator refuses: one variant for each Kafka error code that a group can answer.

use thiserror::Error;

use crate::types::{Generation, PartitionIndex, ProducerEpoch, ProducerId};

/// A refusal. Each variant stands for exactly one Kafka error code, named in its docs; the server
/// maps them, the texts are for logs and error message fields.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// 15 COORDINATOR_NOT_AVAILABLE. Never from the coordinator itself: for its shell, when the
    /// journal cannot be written. The client finds the coordinator again and retries.
    #[error("the group coordinator is not available")]
    CoordinatorNotAvailable,
    /// 22 ILLEGAL_GENERATION: the member missed a rebalance and has to join again.
    #[error("generation {got}, the group is at {current}")]
    IllegalGeneration {
        /// What the member said.
        got: Generation,
        /// What the group is at; -1 where there is no such group.
        current: Generation,
    },
    /// 23 INCONSISTENT_GROUP_PROTOCOL: the members have no protocol in common.
    #[error("protocol type {protocol_type:?} or its protocols do not fit the group's members")]
    InconsistentGroupProtocol {
        /// The protocol type that was offered.
        protocol_type: String,
    },
    /// 24 INVALID_GROUP_ID.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// 24 INVALID_GROUP_ID, too.
    #[error("group and instance ids have no control characters")]
    ControlCharacters,
    /// 25 UNKNOWN_MEMBER_ID: the member has to join as a new one.
    #[error("no member {member_id:?} in group {group_id:?}")]
    UnknownMemberId {
        /// The group that was asked.
        group_id: String,
        /// The member id, or the instance id where that is unknown.
        member_id: String,
    },
    /// 26 INVALID_SESSION_TIMEOUT.
    #[error("session timeout {got} ms is not within {min} and {max} ms")]
    InvalidSessionTimeout {
        /// What the member asked for.
        got: i32,
        /// `group.min.session.timeout.ms`.
        min: i32,
        /// `group.max.session.timeout.ms`.
        max: i32,
    },
    /// 27 REBALANCE_IN_PROGRESS: the member has to join again, under its id.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// 3 UNKNOWN_TOPIC_OR_PARTITION. Never from the coordinator, which knows no topics: for the
    /// caller, who checks that, to stand among the results.
    #[error("no partition {partition} of topic {topic:?}")]
    UnknownTopicOrPartition {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
    },
    /// 12 OFFSET_METADATA_TOO_LARGE.
    #[error("offset metadata of {got} bytes is over offset.metadata.max.bytes {max}")]
    OffsetMetadataTooLarge {
        /// What came.
        got: usize,
        /// `offset.metadata.max.bytes`.
        max: usize,
    },
    /// 47 INVALID_PRODUCER_EPOCH: a transaction of a newer epoch is open here.
    #[error("epoch {got} of producer {producer_id} is older than {current}: it was fenced")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// What came.
        got: ProducerEpoch,
        /// That of its open transaction.
        current: ProducerEpoch,
    },
    /// 68 NON_EMPTY_GROUP: only a group without members can be deleted.
    #[error("group {0:?} has members")]
    NonEmptyGroup(String),
    /// 69 GROUP_ID_NOT_FOUND.
    #[error("no group {0:?}")]
    GroupIdNotFound(String),
    /// 79 MEMBER_ID_REQUIRED (KIP-394): not a failure; the client joins again with this id.
    #[error("join again with member id {0:?}")]
    MemberIdRequired(String),
    /// 81 GROUP_MAX_SIZE_REACHED: the group has all the members, or the coordinator all the groups,
    /// that it may have. A fatal error to clients, on purpose: under one that is retried, they
    /// would wait for ever without a word.
    #[error("no room: at most {members} members in a group and {groups} groups")]
    GroupMaxSizeReached {
        /// `group.max.size`.
        members: usize,
        /// The most groups of this coordinator.
        groups: usize,
    },
    /// 82 FENCED_INSTANCE_ID (KIP-345): another process took over this instance id.
    #[error("instance id {group_instance_id:?} belongs to another member now")]
    FencedInstanceId {
        /// The instance id in question.
        group_instance_id: String,
    },
    /// 86 GROUP_SUBSCRIBED_TO_TOPIC: the offsets are in use.
    #[error("a member is subscribed to topic {0:?}")]
    GroupSubscribedToTopic(String),
}
