//! What the coordinator is asked and what it answers, free of wire versions: what a version of a
//! request means for the rules is a field here.

use bytes::Bytes;
use uuid::Uuid;

use super::error::GroupError;
use super::offsets::CommittedOffset;
use crate::records::EndMarker;
use crate::types::{
    Generation, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
};

/// One request to the coordinator. Each is answered by the [`Reply`] of the same name.
#[derive(Clone, Debug)]
pub enum Command {
    /// Answered when the rebalance ends.
    Join(JoinGroup),
    /// Answered when the leader's assignment is there.
    Sync(SyncGroup),
    /// Answered at once.
    Heartbeat(Heartbeat),
    /// Answered at once.
    Leave(LeaveGroup),
    /// Answered at once.
    CommitOffsets(CommitOffsets),
    /// Answered at once.
    CommitOffsetsInTransaction(CommitOffsetsInTransaction),
    /// Answered at once.
    EndTransaction(EndTransaction),
    /// Answered at once.
    FetchOffsets(FetchOffsets),
    /// These groups, each by itself.
    DeleteGroups(Vec<String>),
    /// Answered at once.
    DeleteOffsets(DeleteOffsets),
    /// These groups.
    Describe(Vec<String>),
    /// Answered at once.
    List(ListGroups),
    /// These topics are gone: so are the offsets that were committed for exactly that name and id,
    /// in all groups. The zero id stands for offsets that carry none.
    TopicsDeleted(Vec<(String, TopicId)>),
}

/// One answer of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// On an error the member echoes its own id; in [`GroupError::MemberIdRequired`] is the new one.
    Join(Result<Joined, GroupError>),
    /// The member's assignment.
    Sync(Result<Synced, GroupError>),
    /// Alive, or why not.
    Heartbeat(Result<(), GroupError>),
    /// One result for each member that was named, in that order.
    Leave(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// One result for each partition, in the order of the request.
    CommitOffsets(Result<Vec<PartitionResults>, GroupError>),
    /// One result for each partition, in the order of the request.
    CommitOffsetsInTransaction(Result<Vec<PartitionResults>, GroupError>),
    /// Done, or done before.
    EndTransaction(Result<(), GroupError>),
    /// One entry for each group that was named, in that order.
    FetchOffsets(Vec<FetchedGroup>),
    /// One result for each group that was named, in that order.
    DeleteGroups(Vec<Result<(), GroupError>>),
    /// One result for each partition, in the order of the request.
    DeleteOffsets(Result<Vec<PartitionResults>, GroupError>),
    /// One entry for each group that was named, in that order; `None` for a group that is not
    /// there.
    Describe(Vec<Option<DescribedGroup>>),
    /// Ordered by group id.
    List(Vec<ListedGroup>),
    /// Done.
    TopicsDeleted,
}

/// What a group is doing, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment, or can get it.
    Stable,
}

impl GroupState {
    /// As Kafka's tools show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A way to share out partitions that a member knows, with what it wants to say under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Such as `range`.
    pub name: String,
    /// For protocol type `consumer` a subscription; opaque to the coordinator.
    pub metadata: Bytes,
}

/// A member wants in, or back in.
#[derive(Clone, Debug)]
pub struct JoinGroup {
    /// The group.
    pub group_id: String,
    /// Empty for a new member.
    pub member_id: String,
    /// Of a static member (v5+).
    pub group_instance_id: Option<String>,
    /// From the request header; empty if it had none.
    pub client_id: String,
    /// As Kafka shows it: `/127.0.0.1`.
    pub client_host: String,
    /// Silence until eviction.
    pub session_timeout_ms: i32,
    /// Time to rejoin; 0 or less (v0 has no such field) stands for the session timeout.
    pub rebalance_timeout_ms: i32,
    /// Such as `consumer`.
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// v4+ (KIP-394): a new dynamic member is first told its id.
    pub requires_member_id: bool,
    /// v9+ (KIP-814): a restarted static leader may be told not to assign.
    pub supports_skip_assignment: bool,
    /// Randomness for a new member's id.
    pub fresh_id: Uuid,
}

/// A completed join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: String,
    /// The generation it is part of.
    pub generation: Generation,
    /// As the group has it.
    pub protocol_type: String,
    /// The protocol that was chosen.
    pub protocol_name: String,
    /// Who assigns.
    pub leader: String,
    /// All members, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
    /// The stored assignment still holds (KIP-814): the leader is not to make a new one.
    pub skip_assignment: bool,
}

/// One member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: String,
    /// Of a static member.
    pub group_instance_id: Option<String>,
    /// What it said under the chosen protocol.
    pub metadata: Bytes,
}

/// A member asks for its assignment; the leader brings everyone's.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// The group.
    pub group_id: String,
    /// The generation that the join answered.
    pub generation: Generation,
    /// The member.
    pub member_id: String,
    /// Of a static member (v3+).
    pub group_instance_id: Option<String>,
    /// v5+: what the member thinks the group's protocol is. `None` in versions without it.
    pub protocol: Option<SyncProtocol>,
    /// From the leader: member id and assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// The protocol that a SyncGroup v5+ names; null in either field is refused.
#[derive(Clone, Debug)]
pub struct SyncProtocol {
    /// Such as `consumer`.
    pub protocol_type: Option<String>,
    /// Such as `range`.
    pub protocol_name: Option<String>,
}

/// A member's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// As the group has it.
    pub protocol_type: String,
    /// The protocol that was chosen.
    pub protocol_name: String,
    /// What the leader assigned; empty if it left the member out.
    pub assignment: Bytes,
}

/// A member is alive.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group_id: String,
    /// The generation the member is in.
    pub generation: Generation,
    /// The member.
    pub member_id: String,
    /// Of a static member (v3+).
    pub group_instance_id: Option<String>,
}

/// Members leave, or are made to.
#[derive(Clone, Debug)]
pub struct LeaveGroup {
    /// The group.
    pub group_id: String,
    /// One in v0-2.
    pub members: Vec<Leaving>,
}

/// Who leaves: a member by its id, or an instance by its instance id and an empty member id.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// The member, or empty.
    pub member_id: String,
    /// Of a static member.
    pub group_instance_id: Option<String>,
}

/// Offsets to keep for a group. That the topics exist is the caller's to check.
#[derive(Clone, Debug)]
pub struct CommitOffsets {
    /// The group; may be empty.
    pub group_id: String,
    /// Empty for a consumer without group membership.
    pub member_id: String,
    /// Of a static member (v7+).
    pub group_instance_id: Option<String>,
    /// Negative for a consumer without group membership.
    pub generation: Generation,
    /// v2-4, where not negative: keep the offsets this long instead of `offsets.retention.minutes`.
    pub retention_ms: Option<i64>,
    /// v9+: a member of an unknown group is told that (69); before, that its generation is over.
    pub knows_group_id_not_found: bool,
    /// What to keep.
    pub topics: Vec<TopicCommit>,
}

/// Offsets to keep for a group if a producer's transaction commits (KIP-98). That this partition of
/// the journal is part of the transaction is the caller's to check, and that the topics exist.
#[derive(Clone, Debug)]
pub struct CommitOffsetsInTransaction {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// In this epoch of it.
    pub producer_epoch: ProducerEpoch,
    /// The group.
    pub group_id: String,
    /// Of the consumer whose offsets they are (v3+, KIP-447); else empty.
    pub member_id: String,
    /// Of a static member (v3+).
    pub group_instance_id: Option<String>,
    /// Of that member (v3+); else negative.
    pub generation: Generation,
    /// What to keep.
    pub topics: Vec<TopicCommit>,
}

/// A producer's transaction has ended: what it committed counts for all its groups, or is dropped. One
/// that left nothing pending is no error, so that it can be told twice.
#[derive(Clone, Copy, Debug)]
pub struct EndTransaction {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The producer's epoch from here on; not less than its transaction's.
    pub producer_epoch: ProducerEpoch,
    /// How it ended.
    pub marker: EndMarker,
}

/// Offsets of one topic.
#[derive(Clone, Debug)]
pub struct TopicCommit {
    /// The topic's name, under which Kafka's records keep offsets.
    pub topic: String,
    /// Its id, stored along; zero if unknown.
    pub topic_id: TopicId,
    /// What to keep.
    pub partitions: Vec<PartitionCommit>,
}

/// One offset to keep.
#[derive(Clone, Debug)]
pub struct PartitionCommit {
    /// The partition.
    pub partition: PartitionIndex,
    /// The next record to read. Negative ones are kept as they are: clients use them as marks.
    pub offset: Offset,
    /// Of the last record read, if the client knows it (v6+).
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own note; null is "".
    pub metadata: String,
}

/// How it went for the partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionResults {
    /// The topic's name.
    pub topic: String,
    /// One for each partition, in the order of the request.
    pub partitions: Vec<(PartitionIndex, Result<(), GroupError>)>,
}

/// Which offsets to read.
#[derive(Clone, Debug)]
pub struct FetchOffsets {
    /// Any number of groups; before v8 one.
    pub groups: Vec<FetchGroup>,
    /// v7+ (KIP-447): offsets that an open transaction may change are not told.
    pub require_stable: bool,
}

/// Which offsets of one group to read.
#[derive(Clone, Debug)]
pub struct FetchGroup {
    /// The group; need not exist.
    pub group_id: String,
    /// Topic names and partitions; `None` for all there are (v2+).
    pub topics: Option<Vec<(String, Vec<PartitionIndex>)>>,
}

/// The offsets of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedGroup {
    /// The group.
    pub group_id: String,
    /// Topic names and partitions, in the order of the request; by name if all were asked for.
    pub topics: Vec<(String, Vec<FetchedPartition>)>,
}

/// The offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// `None` if nothing is kept: on the wire offset -1 without an error.
    pub committed: Option<CommittedOffset>,
    /// 88 UNSTABLE_OFFSET_COMMIT: an open transaction may change it, and none was asked for that may.
    pub is_unstable: bool,
}

/// Which offsets to forget.
#[derive(Clone, Debug)]
pub struct DeleteOffsets {
    /// The group.
    pub group_id: String,
    /// Topic names and partitions.
    pub topics: Vec<(String, Vec<PartitionIndex>)>,
}

/// Which groups to name; empty lists do not filter, unknown names match nothing.
#[derive(Clone, Debug, Default)]
pub struct ListGroups {
    /// State names, in any case (v4+).
    pub states: Vec<String>,
    /// Group types, in any case (v5+).
    pub types: Vec<String>,
}

/// One group of a list. All are of the type `classic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group_id: String,
    /// Empty for a group that never had members.
    pub protocol_type: String,
    /// What it is doing.
    pub state: GroupState,
}

/// All about one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// The group.
    pub group_id: String,
    /// What it is doing.
    pub state: GroupState,
    /// Empty for a group that never had members.
    pub protocol_type: String,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: String,
    /// Ordered by member id.
    pub members: Vec<DescribedMember>,
}

/// All about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: String,
    /// Of a static member.
    pub group_instance_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it said under the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its share; empty unless the group is stable.
    pub assignment: Bytes,
}
