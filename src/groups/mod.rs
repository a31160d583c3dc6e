//! Consumer groups: who is in a group, which partitions each member was given, and how far each
//! group has read.
//!
//! Everything here is a pure machine, the [`Coordinator`]: it takes commands and the time, and
//! returns records for `__consumer_offsets` and answers. It knows no socket, file, wire type or
//! error code. What is here is the classic protocol, where the members themselves share out the
//! partitions (KIP-62, KIP-345 static members, KIP-394 member id round), and committed offsets.
//!
//! Invariants, checked by the tests after every step:
//! - every ticket is answered exactly once, at the latest when its member leaves the group;
//! - a group exists while it has members, pending members, offsets, or a metadata record, and until
//!   the next retention check after its last offset was deleted;
//! - replaying the records gives the state as of the last completed rebalance of each group, and
//!   all offsets, those of open transactions (KIP-98, KIP-447) too. A rebalance under way is not durable: after a restart its members are told to
//!   join again by the generation check, as in Kafka.
//!
//! Deliberately not here: Kafka's state Dead (a group that goes is gone within the step that
//! removes it, so no caller can meet it), whether a producer may commit within the transaction it names
//! (its coordinator decides that, before the command comes here), and authorization.

#![deny(clippy::wildcard_enum_match_arm)]

mod command;
mod config;
mod error;
mod machine;

mod classic;
mod join;
mod members;
mod sync;

mod offsets;
mod pending;
mod records;
mod subscription;
mod transactions;

#[cfg(test)]
mod tests;

pub use command::{
    Command, CommitOffsets, CommitOffsetsInTransaction, DeleteOffsets, DescribedGroup,
    DescribedMember, EndTransaction, FetchGroup, FetchOffsets, FetchedGroup, FetchedPartition,
    GroupState, Heartbeat, JoinGroup, Joined, JoinedMember, LeaveGroup, Leaving, ListGroups,
    ListedGroup, PartitionCommit, PartitionResults, Protocol, Reply, SyncGroup, SyncProtocol,
    Synced, TopicCommit,
};
pub use config::GroupConfig;
pub use error::GroupError;
pub use machine::Coordinator;
pub use offsets::CommittedOffset;
pub use records::{GroupMetadata, GroupRecord, KeyValue, MemberMetadata, RecordError};
