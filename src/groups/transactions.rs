//! Offsets within transactions (KIP-98, KIP-447): what a producer commits for a group is pending until
//! its transaction ends, which then goes for all groups at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::classic::{ClassicGroup, Phase, Step};
use super::command::{CommitOffsetsInTransaction, EndTransaction, PartitionResults};
use super::error::GroupError;
use super::machine::Coordinator;
use super::offsets::CommittedOffset;
use super::records::GroupRecord;
use super::sync::each_commit;
use crate::machine::Effects;
use crate::records::Outcome;
use crate::types::{Generation, Now, ProducerEpoch, ProducerId};

/// The open transactions that have, or had, pending offsets: exactly those whose batches in the
/// journal no marker has followed yet.
#[derive(Debug, Default)]
pub(super) struct OpenTransactions(BTreeMap<ProducerId, OpenTransaction>);

#[derive(Debug)]
struct OpenTransaction {
    producer_epoch: ProducerEpoch,
    /// Where its offsets are; a group may have dropped them, or be gone.
    groups: BTreeSet<Arc<str>>,
}

impl OpenTransactions {
    /// A producer has offsets pending in a group.
    pub(super) fn note(&mut self, id: ProducerId, epoch: ProducerEpoch, group_id: &str) {
        let fresh = || OpenTransaction { producer_epoch: epoch, groups: BTreeSet::new() };
        let open = self.0.entry(id).or_insert_with(fresh);
        open.producer_epoch = open.producer_epoch.max(epoch);
        if !open.groups.contains(group_id) {
            open.groups.insert(Arc::from(group_id));
        }
    }

    /// Whether it was noted. Under test only.
    #[cfg(test)]
    pub(super) fn is_noted(&self, id: ProducerId, group_id: &str) -> bool {
        self.0.get(&id).is_some_and(|open| open.groups.contains(group_id))
    }

    /// # Errors
    /// InvalidProducerEpoch where a newer epoch of the producer has a transaction here.
    fn check(&self, producer_id: ProducerId, got: ProducerEpoch) -> Result<(), GroupError> {
        match self.0.get(&producer_id).map(|open| open.producer_epoch) {
            Some(current) if got < current => {
                Err(GroupError::InvalidProducerEpoch { producer_id, got, current })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Coordinator {
    /// Keeps offsets for a transaction. An error refuses them all; else there is a result for each
    /// partition.
    ///
    /// # Errors
    /// InvalidGroupId, InvalidProducerEpoch, GroupMaxSizeReached; UnknownMemberId, FencedInstanceId,
    /// IllegalGeneration if a member is named (KIP-447).
    pub(super) fn commit_in_transaction(
        &mut self,
        now: Now,
        request: CommitOffsetsInTransaction,
        effects: &mut Effects<GroupRecord, super::Reply>,
    ) -> Result<Vec<PartitionResults>, GroupError> {
        let (id, epoch) = (request.producer_id, request.producer_epoch);
        let group_id = request.group_id.clone();
        super::machine::check_group_id(&group_id)?;
        self.transactions.check(id, epoch)?;
        if !self.has_group(&group_id) {
            if request.generation.0 >= 0 {
                let (got, current) = (request.generation, Generation(-1));
                return Err(GroupError::IllegalGeneration { got, current });
            }
            self.create(&group_id)?;
        }
        let results = self.with_group(&group_id, now, effects, |group, step| {
            group.commit_in_transaction(step, request)
        });
        let results =
            results.unwrap_or_else(|| Err(GroupError::GroupIdNotFound(group_id.clone())))?;
        if results.iter().any(|topic| topic.partitions.iter().any(|(_, result)| result.is_ok())) {
            self.transactions.note(id, epoch, &group_id);
        }
        Ok(results)
    }

    /// Ends a producer's transaction in all groups. Unlike Kafka: where nothing of it is pending, no
    /// marker is written.
    ///
    /// # Errors
    /// InvalidProducerEpoch if the open transaction is of a newer epoch.
    pub(super) fn end_transaction(
        &mut self,
        request: EndTransaction,
        effects: &mut Effects<GroupRecord, super::Reply>,
    ) -> Result<(), GroupError> {
        let EndTransaction { producer_id, producer_epoch, marker } = request;
        self.transactions.check(producer_id, producer_epoch)?;
        if self.apply_end(producer_id, marker.outcome) {
            effects.write(GroupRecord::EndTransaction { producer_id, producer_epoch, marker });
        }
        Ok(())
    }

    /// What a marker does; false if it found no transaction open.
    pub(super) fn apply_end(&mut self, producer_id: ProducerId, outcome: Outcome) -> bool {
        let Some(open) = self.transactions.0.remove(&producer_id) else { return false };
        for id in open.groups {
            self.end_in_group(&id, producer_id, outcome);
        }
        true
    }
}

impl ClassicGroup {
    /// Keeps offsets until the transaction ends; the group may be rebalancing, and its timers do not
    /// care.
    fn commit_in_transaction(
        &mut self,
        step: &mut Step<'_>,
        request: CommitOffsetsInTransaction,
    ) -> Result<Vec<PartitionResults>, GroupError> {
        self.check_member(&request)?;
        let (producer_id, producer_epoch) = (request.producer_id, request.producer_epoch);
        let now = step.now.wall;
        Ok(each_commit(step, request.topics, |step, topic, topic_id, row| {
            let partition = row.partition;
            let committed = CommittedOffset::new(row, topic_id, None, now);
            self.offsets.pend(producer_id, topic, partition, committed.clone());
            step.effects.write(GroupRecord::PendingOffset {
                producer_id,
                producer_epoch,
                group_id: self.id.to_string(),
                topic: topic.to_owned(),
                partition,
                committed,
            });
        }))
    }

    /// KIP-447: a producer that names the member whose offsets it commits is held to that; one that
    /// names none (all do before v3) is not.
    fn check_member(&self, request: &CommitOffsetsInTransaction) -> Result<(), GroupError> {
        let instance = request.group_instance_id.as_deref();
        let names_one =
            request.generation.0 >= 0 || !request.member_id.is_empty() || instance.is_some();
        if !names_one || (self.phase == Phase::Empty && request.generation.0 < 0) {
            return Ok(());
        }
        self.members.validate(&self.id, &request.member_id, instance)?;
        self.check_generation(request.generation)
    }

    /// A producer's transaction has ended.
    pub(super) fn end_transaction(&mut self, producer_id: ProducerId, outcome: Outcome) {
        self.offsets.end_transaction(producer_id, outcome);
        // As after a deletion of its last offset.
        self.lingers |= self.offsets.is_empty();
    }
}
