//! What members ask between two rebalances: SyncGroup, Heartbeat, LeaveGroup and OffsetCommit,
//! each by the group's state.

use std::collections::HashMap;

use bytes::Bytes;

use super::classic::{ClassicGroup, Phase, Step};
use super::command::{
    CommitOffsets, Heartbeat, Leaving, PartitionCommit, PartitionResults, Reply, SyncGroup, Synced,
    TopicCommit,
};
use super::error::GroupError;
use super::members::Waiting;
use super::offsets::{CommittedOffset, is_from_member};
use super::records::GroupRecord;
use crate::machine::Ticket;
use crate::types::{Generation, Monotonic, TopicId};

impl ClassicGroup {
    /// Takes a sync. On `Ok` the ticket is parked or answered; an error is the caller's to answer.
    ///
    /// # Errors
    /// UnknownMemberId, FencedInstanceId, IllegalGeneration, InconsistentGroupProtocol,
    /// RebalanceInProgress.
    pub(super) fn sync(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        request: &SyncGroup,
    ) -> Result<(), GroupError> {
        let member_id = &request.member_id;
        self.members.validate(&self.id, member_id, request.group_instance_id.as_deref())?;
        self.check_generation(request.generation)?;
        self.check_protocol(request)?;
        match self.phase {
            Phase::Empty => return Err(self.unknown_member(member_id)),
            Phase::Preparing { .. } => return Err(GroupError::RebalanceInProgress),
            Phase::Completing { .. } => {
                self.park(step, member_id, Waiting::Sync(ticket));
                self.settle_sync(member_id);
                if self.members.is_leader(member_id) {
                    self.assign(step, &request.assignments);
                }
            }
            Phase::Stable { .. } => {
                self.settle_sync(member_id);
                self.touch(step, member_id);
                step.effects.reply(ticket, Reply::Sync(Ok(self.synced(member_id))));
            }
        }
        Ok(())
    }

    /// SyncGroup v5 names the protocol, which has to be the group's.
    fn check_protocol(&self, request: &SyncGroup) -> Result<(), GroupError> {
        let Some(named) = &request.protocol else { return Ok(()) };
        if named.protocol_type == self.protocol_type && named.protocol_name == self.protocol {
            return Ok(());
        }
        let protocol_type = named.protocol_type.clone().unwrap_or_default();
        Err(GroupError::InconsistentGroupProtocol { protocol_type })
    }

    /// The leader has spoken: each member gets its share, one it left out an empty one.
    fn assign(&mut self, step: &mut Step<'_>, assignments: &[(String, Bytes)]) {
        let mut shares: HashMap<&str, &Bytes> =
            assignments.iter().map(|(id, share)| (id.as_str(), share)).collect();
        for (id, member) in self.members.iter_mut() {
            let share = shares.remove(id.as_str());
            member.assignment = share.map_or_else(Bytes::new, |it| Bytes::copy_from_slice(it));
        }
        self.stabilize(step);
        self.record(step);
        let ids: Vec<String> = self.members.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            let synced = self.synced(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Waiting::Sync(ticket) = member.waiting {
                member.waiting = Waiting::No;
                step.effects.reply(ticket, Reply::Sync(Ok(synced)));
                self.touch(step, &id);
            }
        }
    }

    fn stabilize(&mut self, step: &Step<'_>) {
        if let Phase::Completing { sync_until } = self.phase {
            self.phase = Phase::Stable { sync_until: Some(sync_until) };
            self.changed = Some(step.now.wall);
            self.note_syncs();
        }
    }

    fn settle_sync(&mut self, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.owes_sync = false;
        }
        self.note_syncs();
    }

    /// Stops the sync timer of a stable group that nobody owes a sync any more.
    pub(super) fn note_syncs(&mut self) {
        let all = self.members.iter().all(|(_, member)| !member.owes_sync);
        if let Phase::Stable { sync_until } = &mut self.phase
            && all
        {
            *sync_until = None;
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        let assignment = self.members.get(member_id).map(|member| member.assignment.clone());
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: self.protocol.clone().unwrap_or_default(),
            assignment: assignment.unwrap_or_default(),
        }
    }

    /// # Errors
    /// UnknownMemberId, FencedInstanceId, IllegalGeneration; RebalanceInProgress until the member
    /// rejoins, though the heartbeat counts.
    pub(super) fn heartbeat(
        &mut self,
        step: &Step<'_>,
        request: &Heartbeat,
    ) -> Result<(), GroupError> {
        let member_id = &request.member_id;
        self.members.validate(&self.id, member_id, request.group_instance_id.as_deref())?;
        self.check_generation(request.generation)?;
        self.touch(step, member_id);
        match self.phase {
            Phase::Empty => Err(self.unknown_member(member_id)),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// Lets members go, each with its own result.
    pub(super) fn leave(
        &mut self,
        step: &mut Step<'_>,
        leaving: &[Leaving],
    ) -> Vec<Result<(), GroupError>> {
        let (members_before, pending_before) = (self.members.len(), self.pending.len());
        let results = leaving.iter().map(|who| self.leave_one(step, who)).collect();
        if self.members.len() < members_before {
            self.after_removal(step);
            // Unlike Kafka: a pending id that leaves a stable group is no reason to rebalance.
        } else if self.pending.len() < pending_before {
            self.complete_join_if_ready(step);
        }
        results
    }

    fn leave_one(&mut self, step: &mut Step<'_>, who: &Leaving) -> Result<(), GroupError> {
        let instance = who.group_instance_id.as_deref();
        if who.member_id.is_empty() {
            // An administrator removes an instance.
            let member_id = instance.and_then(|it| self.members.of_instance(it)).cloned();
            let member_id =
                member_id.ok_or_else(|| self.unknown_member(instance.unwrap_or_default()))?;
            self.evict(step, &member_id);
            return Ok(());
        }
        if self.pending.remove(&who.member_id).is_some() {
            return Ok(());
        }
        self.members.validate(&self.id, &who.member_id, instance)?;
        self.evict(step, &who.member_id);
        Ok(())
    }

    /// Keeps offsets. An error refuses them all; else there is a result for each partition.
    ///
    /// # Errors
    /// UnknownMemberId, FencedInstanceId, IllegalGeneration, RebalanceInProgress.
    pub(super) fn commit(
        &mut self,
        step: &mut Step<'_>,
        request: CommitOffsets,
    ) -> Result<Vec<PartitionResults>, GroupError> {
        self.check_commit(&request)?;
        if matches!(self.phase, Phase::Stable { .. } | Phase::Preparing { .. }) {
            self.touch(step, &request.member_id);
        }
        let (retention_ms, now) = (request.retention_ms, step.now.wall);
        Ok(each_commit(step, request.topics, |step, topic, topic_id, row| {
            let partition = row.partition;
            let committed = CommittedOffset::new(row, topic_id, retention_ms, now);
            self.offsets.set(topic, partition, Some(committed.clone()));
            step.effects.write(GroupRecord::Offset {
                group_id: self.id.to_string(),
                topic: topic.to_owned(),
                partition,
                committed: Some(committed),
            });
        }))
    }

    fn check_commit(&self, request: &CommitOffsets) -> Result<(), GroupError> {
        // A negative generation skips every check as long as nobody is in the group.
        if self.phase == Phase::Empty && request.generation.0 < 0 {
            return Ok(());
        }
        if !is_from_member(request) {
            return Err(self.unknown_member(&request.member_id));
        }
        let instance = request.group_instance_id.as_deref();
        self.members.validate(&self.id, &request.member_id, instance)?;
        self.check_generation(request.generation)?;
        match self.phase {
            Phase::Completing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Empty | Phase::Preparing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    pub(super) fn check_generation(&self, got: Generation) -> Result<(), GroupError> {
        if got == self.generation {
            return Ok(());
        }
        Err(GroupError::IllegalGeneration { got, current: self.generation })
    }

    /// Sees to it that the group is looked at by `at`.
    pub(super) fn wake_by(&mut self, at: Monotonic) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Keeps, by `keep`, those offsets whose note is not too long; a result for each.
pub(super) fn each_commit(
    step: &mut Step<'_>,
    topics: Vec<TopicCommit>,
    mut keep: impl FnMut(&mut Step<'_>, &str, TopicId, PartitionCommit),
) -> Vec<PartitionResults> {
    let max = step.config.offset_metadata_max_bytes;
    let mut results = Vec::with_capacity(topics.len());
    for TopicCommit { topic, topic_id, partitions } in topics {
        let one = |row: PartitionCommit| {
            let (partition, got) = (row.partition, row.metadata.len());
            if got > max {
                return (partition, Err(GroupError::OffsetMetadataTooLarge { got, max }));
            }
            keep(step, &topic, topic_id, row);
            (partition, Ok(()))
        };
        let partitions = partitions.into_iter().map(one).collect();
        results.push(PartitionResults { topic, partitions });
    }
    results
}
