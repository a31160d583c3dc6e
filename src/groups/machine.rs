//! The coordinator over all groups: finds or makes the group a command is for, and keeps everyone's
//! timers.
//!
//! Timers are lazy: each group stands in `wakes` with a moment not later than its first deadline.
//! When it comes, the group looks at its members and says when to look again; so a heartbeat costs
//! no change of `wakes`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::classic::{ClassicGroup, Step};
use super::command::{
    Command, CommitOffsets, DeleteOffsets, FetchGroup, FetchedGroup, FetchedPartition, Heartbeat,
    JoinGroup, LeaveGroup, ListGroups, ListedGroup, PartitionResults, Reply, SyncGroup,
};
use super::config::GroupConfig;
use super::error::GroupError;
use super::offsets::{CommittedOffset, tombstone};
use super::records::GroupRecord;
use super::transactions::OpenTransactions;
use crate::clock::SteadyTime;
use crate::machine::{Effects, Machine, Ticket};
use crate::records::Outcome;
use crate::types::{Generation, Monotonic, Now, PartitionIndex, ProducerId, TopicId};

/// The type of all groups here, as ListGroups names it.
const GROUP_TYPE: &str = "classic";

type Out = Effects<GroupRecord, Reply>;

/// All groups of one coordinator. Pure: see [`Machine`].
#[derive(Debug)]
pub struct Coordinator {
    config: GroupConfig,
    groups: BTreeMap<Arc<str>, Slot>,
    wakes: BTreeSet<(Monotonic, Arc<str>)>,
    pub(super) transactions: OpenTransactions,
    retention_check: Monotonic,
    /// What the age of offsets is judged by.
    retention_time: SteadyTime,
}

/// A group and where it stands in `wakes`.
#[derive(Debug)]
struct Slot {
    group: ClassicGroup,
    scheduled: Option<Monotonic>,
}

impl Coordinator {
    /// A coordinator without groups; [`Machine::replay`] brings them back.
    pub fn new(config: GroupConfig, now: Now) -> Self {
        let retention_check = now.monotonic.plus_ms(config.retention_check_interval_ms);
        Self {
            config,
            groups: BTreeMap::new(),
            wakes: BTreeSet::new(),
            transactions: OpenTransactions::default(),
            retention_check,
            retention_time: SteadyTime::new(now),
        }
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// All offsets that are kept: group, topic, partition and what is kept. For gauges, and to find
    /// at start the offsets of topics that are gone.
    pub fn committed(
        &self,
    ) -> impl Iterator<Item = (&str, &str, PartitionIndex, &CommittedOffset)> {
        self.groups.iter().flat_map(|(id, slot)| {
            slot.group.offsets.iter().map(move |(topic, partition, committed)| {
                (id.as_ref(), topic, partition, committed)
            })
        })
    }

    /// As [`Coordinator::committed`], of all offsets that wait for the end of a transaction.
    pub fn pending(&self) -> impl Iterator<Item = (&str, &str, PartitionIndex, &CommittedOffset)> {
        self.groups.iter().flat_map(|(id, slot)| {
            slot.group.offsets.pending().iter().map(move |(topic, partition, _, placed)| {
                (id.as_ref(), topic, partition, &placed.committed)
            })
        })
    }

    pub(super) fn has_group(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id)
    }

    /// Lets a group take a step, if there is one of that id, and sees to its timer after it.
    pub(super) fn with_group<R>(
        &mut self,
        group_id: &str,
        now: Now,
        effects: &mut Out,
        step: impl FnOnce(&mut ClassicGroup, &mut Step<'_>) -> R,
    ) -> Option<R> {
        let slot = self.groups.get_mut(group_id)?;
        let result = step(&mut slot.group, &mut Step { now, config: &self.config, effects });
        self.settle(group_id);
        Some(result)
    }

    /// Takes up a group's new deadline, or lets the group go if nothing is left of it.
    fn settle(&mut self, group_id: &str) {
        let Some(slot) = self.groups.get_mut(group_id) else { return };
        let is_vacant = slot.group.is_vacant();
        let wake = slot.group.wake.filter(|_| !is_vacant);
        if wake != slot.scheduled {
            let id = &slot.group.id;
            if let Some(at) = slot.scheduled {
                self.wakes.remove(&(at, Arc::clone(id)));
            }
            if let Some(at) = wake {
                self.wakes.insert((at, Arc::clone(id)));
            }
            slot.scheduled = wake;
        }
        if is_vacant {
            self.groups.remove(group_id);
        }
    }

    pub(super) fn create(&mut self, group_id: &str) -> Result<(), GroupError> {
        check_printable(group_id)?;
        if self.groups.len() >= self.config.group_count_max {
            return Err(GroupError::GroupMaxSizeReached {
                members: self.config.group_size_max,
                groups: self.config.group_count_max,
            });
        }
        self.insert(group_id);
        Ok(())
    }

    fn insert(&mut self, group_id: &str) -> &mut ClassicGroup {
        let id: Arc<str> = Arc::from(group_id);
        let fresh = || Slot { group: ClassicGroup::new(Arc::clone(&id)), scheduled: None };
        &mut self.groups.entry(Arc::clone(&id)).or_insert_with(fresh).group
    }

    fn join(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &JoinGroup,
        effects: &mut Out,
    ) -> Result<(), GroupError> {
        let group_id = request.group_id.as_str();
        check_group_id(group_id)?;
        let (min, max) = (self.config.min_session_timeout_ms, self.config.max_session_timeout_ms);
        let got = request.session_timeout_ms;
        if got < min || got > max {
            return Err(GroupError::InvalidSessionTimeout { got, min, max });
        }
        check_printable(request.group_instance_id.as_deref().unwrap_or_default())?;
        if !self.groups.contains_key(group_id) {
            if !request.member_id.is_empty() {
                return Err(unknown(group_id, &request.member_id));
            }
            self.create(group_id)?;
        }
        self.with_group(group_id, now, effects, |group, step| group.join(step, ticket, request))
            .unwrap_or_else(|| Err(unknown(group_id, &request.member_id)))
    }

    fn sync(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &SyncGroup,
        effects: &mut Out,
    ) -> Result<(), GroupError> {
        if let Some(named) = &request.protocol
            && (named.protocol_type.is_none() || named.protocol_name.is_none())
        {
            let protocol_type = named.protocol_type.clone().unwrap_or_default();
            return Err(GroupError::InconsistentGroupProtocol { protocol_type });
        }
        let group_id = request.group_id.as_str();
        check_group_id(group_id)?;
        self.with_group(group_id, now, effects, |group, step| group.sync(step, ticket, request))
            .unwrap_or_else(|| Err(unknown(group_id, &request.member_id)))
    }

    fn heartbeat(
        &mut self,
        now: Now,
        request: &Heartbeat,
        effects: &mut Out,
    ) -> Result<(), GroupError> {
        let group_id = request.group_id.as_str();
        check_group_id(group_id)?;
        self.with_group(group_id, now, effects, |group, step| group.heartbeat(step, request))
            .unwrap_or_else(|| Err(unknown(group_id, &request.member_id)))
    }

    fn leave(
        &mut self,
        now: Now,
        request: &LeaveGroup,
        effects: &mut Out,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let group_id = request.group_id.as_str();
        check_group_id(group_id)?;
        let members = &request.members;
        let left =
            self.with_group(group_id, now, effects, |group, step| group.leave(step, members));
        let nobody = || members.iter().map(|who| Err(unknown(group_id, &who.member_id))).collect();
        Ok(left.unwrap_or_else(nobody))
    }

    fn commit(
        &mut self,
        now: Now,
        request: CommitOffsets,
        effects: &mut Out,
    ) -> Result<Vec<PartitionResults>, GroupError> {
        let group_id = request.group_id.clone();
        if !self.has_group(&group_id) {
            if request.generation.0 >= 0 {
                let illegal = GroupError::IllegalGeneration {
                    got: request.generation,
                    current: Generation(-1),
                };
                let told = request.knows_group_id_not_found;
                return Err(if told { GroupError::GroupIdNotFound(group_id) } else { illegal });
            }
            self.create(&group_id)?; // A group without members: offsets are all it has.
        }
        self.with_group(&group_id, now, effects, |group, step| group.commit(step, request))
            .unwrap_or(Err(GroupError::GroupIdNotFound(group_id)))
    }

    fn fetch(&self, asked: FetchGroup, require_stable: bool) -> FetchedGroup {
        let slot = self.groups.get(asked.group_id.as_str());
        let offsets = slot.map(|slot| &slot.group.offsets);
        let Some(topics) = asked.topics else {
            let topics = offsets.map(|offsets| offsets.all(require_stable)).unwrap_or_default();
            return FetchedGroup { group_id: asked.group_id, topics };
        };
        let row = |topic: &str, partition: PartitionIndex| match offsets {
            Some(offsets) => offsets.fetched(topic, partition, require_stable),
            None => FetchedPartition { partition, committed: None, is_unstable: false },
        };
        let topics = topics.into_iter().map(|(topic, partitions)| {
            let rows = partitions.into_iter().map(|partition| row(&topic, partition)).collect();
            (topic, rows)
        });
        FetchedGroup { group_id: asked.group_id, topics: topics.collect() }
    }

    fn delete_group(&mut self, group_id: &str, effects: &mut Out) -> Result<(), GroupError> {
        let Some(slot) = self.groups.get_mut(group_id) else {
            return Err(GroupError::GroupIdNotFound(group_id.to_owned()));
        };
        slot.group.delete(effects)?;
        self.settle(group_id);
        Ok(())
    }

    fn delete_offsets(
        &mut self,
        request: DeleteOffsets,
        effects: &mut Out,
    ) -> Result<Vec<PartitionResults>, GroupError> {
        let group_id = request.group_id;
        let Some(slot) = self.groups.get_mut(group_id.as_str()) else {
            return Err(GroupError::GroupIdNotFound(group_id));
        };
        let group = &mut slot.group;
        if !group.members.is_empty() && !group.is_of_consumers() {
            return Err(GroupError::NonEmptyGroup(group_id));
        }
        let mut results = Vec::new();
        for (topic, partitions) in request.topics {
            let is_in_use = group.is_subscribed_to(&topic);
            let mut forget = |partition: PartitionIndex| {
                if is_in_use {
                    return Err(GroupError::GroupSubscribedToTopic(topic.clone()));
                }
                if group.offsets.forget(&topic, partition) {
                    group.lingers = true;
                    effects.write(tombstone(&group_id, &topic, partition));
                }
                Ok(())
            };
            let partitions = partitions.into_iter().map(|it| (it, forget(it))).collect();
            results.push(PartitionResults { topic, partitions });
        }
        Ok(results)
    }

    fn list(&self, filter: &ListGroups) -> Vec<ListedGroup> {
        let fits = |names: &[String], name: &str| {
            names.is_empty() || names.iter().any(|it| it.eq_ignore_ascii_case(name))
        };
        if !fits(&filter.types, GROUP_TYPE) {
            return Vec::new();
        }
        let groups = self.groups.values().map(|slot| &slot.group);
        let listed = groups.map(|group| ListedGroup {
            group_id: group.id.to_string(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state(),
        });
        listed.filter(|group| fits(&filter.states, group.state.name())).collect()
    }

    /// What the end of a producer's transaction does to one group, if it is still there.
    pub(super) fn end_in_group(&mut self, group_id: &str, id: ProducerId, outcome: Outcome) {
        if let Some(slot) = self.groups.get_mut(group_id) {
            slot.group.end_transaction(id, outcome);
            self.settle(group_id);
        }
    }

    fn topics_deleted(&mut self, topics: &[(String, TopicId)], effects: &mut Out) {
        for (id, slot) in &mut self.groups {
            let tombstones = slot.group.offsets.remove_topics(id, topics);
            slot.group.lingers |= !tombstones.is_empty();
            effects.records.extend(tombstones);
        }
    }

    /// Forgets old offsets, and groups of which nothing is left.
    fn expire(&mut self, now: Now, effects: &mut Out) {
        let retention_ms = self.config.offsets_retention_ms;
        let now = Now { wall: self.retention_time.look(now), ..now };
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with_group(&id, now, effects, |group, step| group.expire(step, retention_ms));
        }
    }

    /// What a restart would bring back: for each group its metadata, if that is settled and
    /// recorded, and its offsets. Under test only.
    #[cfg(test)]
    pub(super) fn durable(&self) -> BTreeMap<String, super::tests::Durable> {
        let groups = self.groups.values().map(|slot| &slot.group);
        let kept = groups.filter(|group| group.recorded || !group.offsets.is_empty());
        kept.map(|group| (group.id.to_string(), super::tests::Durable::of(group))).collect()
    }

    /// Panics if an invariant does not hold. Under test only.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut wakes = BTreeSet::new();
        for (id, slot) in &self.groups {
            slot.group.check();
            assert!(!slot.group.is_vacant(), "nothing is left of group {id}");
            assert_eq!(slot.scheduled, slot.group.wake, "group {id} is scheduled");
            let mut pending = slot.group.offsets.pending().producers();
            assert!(pending.all(|it| self.transactions.is_noted(it, id)), "group {id} is noted");
            wakes.extend(slot.scheduled.map(|at| (at, Arc::clone(id))));
        }
        assert_eq!(wakes, self.wakes, "each group is scheduled once");
    }
}

impl Machine for Coordinator {
    type Command = Command;
    type Reply = Reply;
    type Record = GroupRecord;

    fn handle(&mut self, now: Now, ticket: Ticket, command: Command, effects: &mut Out) {
        let reply = match command {
            Command::Join(request) => match self.join(now, ticket, &request, effects) {
                Ok(()) => return, // Parked, or answered already.
                Err(error) => Reply::Join(Err(error)),
            },
            Command::Sync(request) => match self.sync(now, ticket, &request, effects) {
                Ok(()) => return,
                Err(error) => Reply::Sync(Err(error)),
            },
            Command::Heartbeat(request) => Reply::Heartbeat(self.heartbeat(now, &request, effects)),
            Command::Leave(request) => Reply::Leave(self.leave(now, &request, effects)),
            Command::CommitOffsets(request) => {
                Reply::CommitOffsets(self.commit(now, request, effects))
            }
            Command::CommitOffsetsInTransaction(request) => {
                Reply::CommitOffsetsInTransaction(self.commit_in_transaction(now, request, effects))
            }
            Command::EndTransaction(request) => {
                Reply::EndTransaction(self.end_transaction(request, effects))
            }
            Command::FetchOffsets(request) => {
                let require_stable = request.require_stable;
                let groups = request.groups.into_iter().map(|it| self.fetch(it, require_stable));
                Reply::FetchOffsets(groups.collect())
            }
            Command::DeleteGroups(ids) => {
                Reply::DeleteGroups(ids.iter().map(|id| self.delete_group(id, effects)).collect())
            }
            Command::DeleteOffsets(request) => {
                Reply::DeleteOffsets(self.delete_offsets(request, effects))
            }
            Command::Describe(ids) => {
                let describe =
                    |id: &String| self.groups.get(id.as_str()).map(|it| it.group.describe());
                Reply::Describe(ids.iter().map(describe).collect())
            }
            Command::List(filter) => Reply::List(self.list(&filter)),
            Command::TopicsDeleted(topics) => {
                self.topics_deleted(&topics, effects);
                Reply::TopicsDeleted
            }
        };
        effects.reply(ticket, reply);
    }

    fn tick(&mut self, now: Now, effects: &mut Out) {
        let is_due = |(at, _): &&(Monotonic, Arc<str>)| *at <= now.monotonic;
        let due: Vec<_> =
            self.wakes.iter().take_while(is_due).map(|(_, id)| Arc::clone(id)).collect();
        for id in due {
            self.with_group(&id, now, effects, ClassicGroup::tick);
        }
        if self.retention_check <= now.monotonic {
            self.retention_check =
                now.monotonic.plus_ms(self.config.retention_check_interval_ms.max(1));
            self.expire(now, effects);
        }
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        let first = self.wakes.first().map(|(at, _)| *at);
        Some(first.map_or(self.retention_check, |at| at.min(self.retention_check)))
    }

    fn replay(&mut self, now: Now, record: GroupRecord) {
        let group_id = match record {
            GroupRecord::Offset { group_id, topic, partition, committed } => {
                self.insert(&group_id).offsets.set(&topic, partition, committed);
                group_id
            }
            GroupRecord::Group { group_id, metadata } => {
                self.insert(&group_id).replay(now, metadata);
                group_id
            }
            GroupRecord::PendingOffset {
                producer_id,
                producer_epoch,
                group_id,
                topic,
                partition,
                committed,
            } => {
                let group = self.insert(&group_id);
                group.offsets.pend(producer_id, &topic, partition, committed);
                self.transactions.note(producer_id, producer_epoch, &group_id);
                group_id
            }
            GroupRecord::EndTransaction { producer_id, marker, .. } => {
                self.apply_end(producer_id, marker.outcome);
                return;
            }
        };
        self.settle(&group_id);
    }
}

pub(super) fn check_group_id(group_id: &str) -> Result<(), GroupError> {
    if group_id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}

/// Unlike Kafka: names that others see on terminals, in logs and tables have no control characters.
fn check_printable(name: &str) -> Result<(), GroupError> {
    if name.chars().any(char::is_control) { Err(GroupError::ControlCharacters) } else { Ok(()) }
}

fn unknown(group_id: &str, member_id: &str) -> GroupError {
    GroupError::UnknownMemberId { group_id: group_id.to_owned(), member_id: member_id.to_owned() }
}
