//! JoinGroup: the ways of a member into a group, or back (KIP-62, KIP-345, KIP-394, KIP-814).

use super::classic::{ClassicGroup, InitialDelay, Phase, Step, refuse};
use super::command::{JoinGroup, Joined, Reply};
use super::error::GroupError;
use super::members::{Member, Seniority, Waiting};
use crate::machine::Ticket;

/// Most characters of a client or instance id that a member id starts with, so that it still fits
/// into the strings of the protocol.
const MEMBER_ID_PREFIX_CHARS_MAX: usize = 1_024;

impl ClassicGroup {
    /// Takes a join. On `Ok` the ticket is parked or answered; an error is the caller's to answer.
    ///
    /// # Errors
    /// GroupMaxSizeReached, InconsistentGroupProtocol, MemberIdRequired, UnknownMemberId,
    /// FencedInstanceId.
    pub(super) fn join(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        request: &JoinGroup,
    ) -> Result<(), GroupError> {
        self.admit(step, request)?;
        self.check_protocols(request)?;
        if request.member_id.is_empty() {
            self.join_new(step, ticket, request)
        } else if self.pending.contains_key(&request.member_id) {
            self.join_pending(step, ticket, request)
        } else {
            self.rejoin(step, ticket, request)
        }
    }

    /// Whether there is room. A rebalance counts who has joined it, so that a group that has become
    /// too large loses whoever comes last.
    fn admit(&mut self, step: &mut Step<'_>, request: &JoinGroup) -> Result<(), GroupError> {
        let max = step.config.group_size_max;
        let instance = request.group_instance_id.as_ref();
        let known = self
            .members
            .get(&request.member_id)
            .or_else(|| self.members.get(self.members.of_instance(instance?)?));
        let full =
            GroupError::GroupMaxSizeReached { members: max, groups: step.config.group_count_max };
        match self.phase {
            Phase::Empty => Ok(()),
            Phase::Completing { .. } | Phase::Stable { .. } => {
                if known.is_some() || self.members.len() < max { Ok(()) } else { Err(full) }
            }
            Phase::Preparing { .. } => {
                let joined = known.is_some_and(|it| matches!(it.waiting, Waiting::Join(_)));
                if joined || self.members.joined_count() < max {
                    return Ok(());
                }
                self.pending.remove(&request.member_id);
                self.evict(step, &request.member_id);
                self.complete_join_if_ready(step);
                Err(full)
            }
        }
    }

    fn check_protocols(&self, request: &JoinGroup) -> Result<(), GroupError> {
        let offers = !request.protocol_type.is_empty() && !request.protocols.is_empty();
        let fits = self.members.is_empty()
            || (self.protocol_type.as_ref() == Some(&request.protocol_type)
                && self.members.share_any(&request.protocols));
        if offers && fits {
            return Ok(());
        }
        let protocol_type = request.protocol_type.clone();
        Err(GroupError::InconsistentGroupProtocol { protocol_type })
    }

    fn join_new(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        request: &JoinGroup,
    ) -> Result<(), GroupError> {
        let member_id = new_member_id(request);
        let Some(instance) = &request.group_instance_id else {
            if request.requires_member_id {
                return Err(self.expect_back(step, member_id, request));
            }
            self.add(step, ticket, member_id, request);
            return Ok(());
        };
        match self.members.of_instance(instance).cloned() {
            Some(old_id) => self.replace(step, ticket, [old_id, member_id], request),
            None => self.add(step, ticket, member_id, request),
        }
        Ok(())
    }

    /// KIP-394: a dynamic member's first join is refused, with the id to join with. So a client
    /// that never hears the answer leaves no member behind.
    fn expect_back(
        &mut self,
        step: &Step<'_>,
        member_id: String,
        request: &JoinGroup,
    ) -> GroupError {
        let max = step.config.group_size_max;
        if self.pending.len() >= max {
            // Unlike Kafka: bounded.
            let groups = step.config.group_count_max;
            return GroupError::GroupMaxSizeReached { members: max, groups };
        }
        let session_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
        let until = step.now.monotonic.plus_ms(session_ms);
        self.pending.insert(member_id.clone(), until);
        self.wake_by(until);
        GroupError::MemberIdRequired(member_id)
    }

    fn join_pending(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        request: &JoinGroup,
    ) -> Result<(), GroupError> {
        if let Some(instance) = &request.group_instance_id {
            // Only dynamic members are given an id beforehand.
            self.members.validate(&self.id, &request.member_id, Some(instance))?;
        }
        self.pending.remove(&request.member_id);
        self.add(step, ticket, request.member_id.clone(), request);
        Ok(())
    }

    /// Adds a member and starts a rebalance, or lets it take part in the one under way.
    fn add(&mut self, step: &mut Step<'_>, ticket: Ticket, member_id: String, request: &JoinGroup) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        let mut member = Member::new(request);
        member.waiting = Waiting::Join(ticket);
        // No heartbeat can come before the join is answered, and a client that went away is not
        // seen meanwhile: the session timer waits, a longer one runs.
        let expires = step.now.monotonic.plus_ms(step.config.new_member_join_timeout_ms);
        member.expires = Some(expires);
        self.wake_by(expires);
        self.members.add(member_id, member);
        if let Phase::Preparing { until, initial: Some(initial) } = self.phase {
            let initial = Some(InitialDelay { extends: true, ..initial });
            self.phase = Phase::Preparing { until, initial };
        }
        self.rebalance(step);
    }

    fn rebalance(&mut self, step: &mut Step<'_>) {
        match self.phase {
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => {
                self.prepare_rebalance(step);
            }
            Phase::Preparing { .. } => self.complete_join_if_ready(step),
        }
    }

    fn rejoin(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        request: &JoinGroup,
    ) -> Result<(), GroupError> {
        let member_id = &request.member_id;
        self.members.validate(&self.id, member_id, request.group_instance_id.as_deref())?;
        let says_the_same =
            self.members.get(member_id).is_some_and(|it| it.protocols == request.protocols);
        match self.phase {
            Phase::Empty => return Err(self.unknown_member(member_id)),
            // It may have missed the answer, or know nothing new: it is told again.
            Phase::Completing { .. } if says_the_same => self.tell_again(step, ticket, member_id),
            Phase::Stable { .. } if says_the_same && !self.members.is_leader(member_id) => {
                self.tell_again(step, ticket, member_id);
            }
            // The leader of a stable group forces a rebalance so, say for new partitions.
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                self.update(step, ticket, member_id, request);
                self.rebalance(step);
            }
        }
        Ok(())
    }

    fn tell_again(&mut self, step: &mut Step<'_>, ticket: Ticket, member_id: &str) {
        self.touch(step, member_id);
        step.effects.reply(ticket, Reply::Join(Ok(self.joined(member_id))));
    }

    fn update(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        member_id: &str,
        request: &JoinGroup,
    ) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.update(request);
        }
        self.park(step, member_id, Waiting::Join(ticket));
    }

    /// KIP-345: an instance that was restarted takes the place of its old member id. A stable group
    /// stays so, if the choice of the protocol does.
    fn replace(
        &mut self,
        step: &mut Step<'_>,
        ticket: Ticket,
        [old_id, new_id]: [String; 2],
        request: &JoinGroup,
    ) {
        let old_leader = self.members.leader().unwrap_or_default().to_owned();
        let Some(old) = self.members.remove(&old_id) else { return };
        if let Some(instance) = &old.group_instance_id {
            let fenced = GroupError::FencedInstanceId { group_instance_id: instance.clone() };
            refuse(step, old.waiting, &fenced);
        }
        let mut member = Member::new(request);
        member.assignment = old.assignment;
        member.seniority = Seniority::Settled;
        self.members.add(new_id.clone(), member);
        if old_leader == old_id {
            self.members.lead(&new_id);
        }
        let keeps = matches!(self.phase, Phase::Stable { .. })
            && self.members.select_protocol() == self.protocol;
        if !keeps {
            self.park(step, &new_id, Waiting::Join(ticket));
            return self.rebalance(step);
        }
        self.touch(step, &new_id);
        self.subscribed = self.read_subscriptions();
        self.note_syncs();
        self.record(step);
        let joined = if request.supports_skip_assignment {
            Joined { skip_assignment: self.members.is_leader(&new_id), ..self.joined(&new_id) }
        } else {
            // Before v9 the old id is shown as the leader's, so that the client does not assign.
            Joined { leader: old_leader, members: Vec::new(), ..self.joined(&new_id) }
        };
        step.effects.reply(ticket, Reply::Join(Ok(joined)));
    }
}

/// `clientId-UUID`, or `instanceId-UUID` for a static member: people read these.
fn new_member_id(request: &JoinGroup) -> String {
    let name = request.group_instance_id.as_ref().unwrap_or(&request.client_id);
    let name: String = name.chars().take(MEMBER_ID_PREFIX_CHARS_MAX).collect();
    format!("{name}-{}", request.fresh_id)
}
