//! One group of the classic protocol: its phases, and the ways from one to the next.
//!
//! ```text
//! Empty --join--> PreparingRebalance --all joined, or time up--> CompletingRebalance
//!   ^                   |    ^                                        |    |
//!   +--nobody is left---+    +--join, leave, eviction, time up--------+    | leader's assignment
//!                            +--join, leave, eviction----- Stable <--------+
//! ```
//!
//! The other ways in are in `join.rs` and `sync.rs`. A group notes in `wake` when it has to be looked at
//! again; that may be too early (a heartbeat moves a deadline back without a word), never too late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::{DescribedGroup, DescribedMember, GroupState, Joined, Reply};
use super::config::GroupConfig;
use super::error::GroupError;
use super::members::{Member, Members, Seniority, Waiting};
use super::offsets::{Offsets, RetentionStart};
use super::records::{GroupMetadata, GroupRecord, MemberMetadata};
use super::subscription;
use crate::machine::Effects;
use crate::types::{Generation, Monotonic, Now, Timestamp};

/// The protocol type whose metadata the coordinator can read.
const CONSUMER: &str = "consumer";

/// What every step is given.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) config: &'a GroupConfig,
    pub(super) effects: &'a mut Effects<GroupRecord, Reply>,
}

/// Where a group stands, with the timer of that phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No members.
    Empty,
    /// Members are joining, until then at the latest.
    Preparing { until: Monotonic, initial: Option<InitialDelay> },
    /// All know the generation; the leader owes the assignment, all owe a sync until then.
    Completing { sync_until: Monotonic },
    /// Assigned; `None` once all members have synced.
    Stable { sync_until: Option<Monotonic> },
}

/// The wait of a group's first members for more (`group.initial.rebalance.delay.ms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitialDelay {
    /// Someone joined since the wait was last extended.
    pub(super) extends: bool,
    /// How much longer it may get.
    pub(super) left_ms: u64,
}

/// One group.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: Arc<str>,
    /// Set by the first member, kept when the group is empty.
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) generation: Generation,
    pub(super) phase: Phase,
    /// When the phase was entered; not known for a group that never had members.
    pub(super) changed: Option<Timestamp>,
    pub(super) members: Members,
    /// Ids given out that have not joined yet (KIP-394), and until when they may.
    pub(super) pending: BTreeMap<String, Monotonic>,
    /// The topics that members read, if all could be understood.
    pub(super) subscribed: Option<BTreeSet<String>>,
    pub(super) offsets: Offsets,
    /// The journal holds a metadata record.
    pub(super) recorded: bool,
    /// Its last offset was deleted: the group is still there until the next retention check.
    pub(super) lingers: bool,
    pub(super) wake: Option<Monotonic>,
}

impl ClassicGroup {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            protocol_type: None,
            protocol: None,
            generation: Generation(0),
            phase: Phase::Empty,
            changed: None,
            members: Members::default(),
            pending: BTreeMap::new(),
            subscribed: None,
            offsets: Offsets::default(),
            recorded: false,
            lingers: false,
            wake: None,
        }
    }

    pub(super) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    /// Whether nothing would be lost with the group.
    pub(super) fn is_vacant(&self) -> bool {
        self.is_deserted() && !self.recorded && !self.lingers
    }

    /// Whether nobody would miss the group.
    pub(super) fn is_deserted(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty() && self.offsets.is_empty()
    }

    fn enter(&mut self, step: &Step<'_>, phase: Phase) {
        self.phase = phase;
        self.changed = Some(step.now.wall);
        self.wake = min(self.wake, self.phase_ends());
    }

    /// Starts a rebalance. Parked syncs are told so; parked joins are part of it.
    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        for (_, member) in self.members.iter_mut() {
            member.owes_sync = false;
            if let Waiting::Sync(ticket) = member.waiting {
                member.waiting = Waiting::No;
                member.touch(step.now);
                self.wake = min(self.wake, member.expires);
                step.effects.reply(ticket, Reply::Sync(Err(GroupError::RebalanceInProgress)));
            }
        }
        let delay_ms = step.config.initial_rebalance_delay_ms;
        let timeout_ms = self.members.rebalance_timeout_ms();
        if self.phase == Phase::Empty && delay_ms > 0 {
            let left_ms = timeout_ms.saturating_sub(delay_ms);
            let initial = Some(InitialDelay { extends: false, left_ms });
            let until = step.now.monotonic.plus_ms(delay_ms);
            self.enter(step, Phase::Preparing { until, initial });
            return;
        }
        let is_first = self.phase == Phase::Empty;
        let until = step.now.monotonic.plus_ms(timeout_ms);
        self.enter(step, Phase::Preparing { until, initial: None });
        if is_first {
            self.complete_join(step); // Without a delay nobody is waited for, as in Kafka.
        } else {
            self.complete_join_if_ready(step);
        }
    }

    /// Ends the rebalance if all members have joined and no pending member is expected, or nobody is
    /// left to wait. The first rebalance of a group ends by its delay alone.
    pub(super) fn complete_join_if_ready(&mut self, step: &mut Step<'_>) {
        let all = self.members.joined_count() == self.members.len() && self.pending.is_empty();
        let ready = all || self.members.is_empty();
        if ready && matches!(self.phase, Phase::Preparing { initial: None, .. }) {
            self.complete_join(step);
        }
    }

    /// Ends the rebalance: whoever did not join is out, unless static; the others get a generation.
    pub(super) fn complete_join(&mut self, step: &mut Step<'_>) {
        debug_assert_eq!(self.state(), GroupState::PreparingRebalance);
        let is_late = |(id, member): (&String, &Member)| {
            let joined = matches!(member.waiting, Waiting::Join(_));
            (!joined && member.group_instance_id.is_none()).then(|| id.clone())
        };
        for id in self.members.iter().filter_map(is_late).collect::<Vec<_>>() {
            self.evict(step, &id);
        }
        if self.members.is_empty() {
            self.become_empty(step);
        } else if self.members.elect() {
            self.next_generation(step);
        } else {
            // Only static members, none of them back: wait until one is, or their sessions end.
            let until = step.now.monotonic.plus_ms(self.members.rebalance_timeout_ms().max(1));
            self.enter(step, Phase::Preparing { until, initial: None });
        }
    }

    fn become_empty(&mut self, step: &mut Step<'_>) {
        self.generation = next(self.generation);
        self.protocol = None;
        self.subscribed = None;
        self.enter(step, Phase::Empty);
        self.record(step);
    }

    fn next_generation(&mut self, step: &mut Step<'_>) {
        self.generation = next(self.generation);
        self.protocol = self.members.select_protocol();
        self.subscribed = self.read_subscriptions();
        let sync_until = step.now.monotonic.plus_ms(self.members.rebalance_timeout_ms().max(1));
        self.enter(step, Phase::Completing { sync_until });
        let ids: Vec<String> = self.members.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.seniority = Seniority::Settled;
            member.owes_sync = true;
            member.assignment.clear();
            if let Waiting::Join(ticket) = member.waiting {
                member.waiting = Waiting::No;
                step.effects.reply(ticket, Reply::Join(Ok(joined)));
            }
            self.touch(step, &id);
        }
    }

    /// The answer to a member of the current generation: for the leader with all members.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let protocol_name = self.protocol.clone().unwrap_or_default();
        let leads = self.members.is_leader(member_id);
        let members = if leads { self.members.for_leader(&protocol_name) } else { Vec::new() };
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name,
            leader: self.members.leader().unwrap_or_default().to_owned(),
            members,
            skip_assignment: false,
        }
    }

    /// Starts a member's session again.
    pub(super) fn touch(&mut self, step: &Step<'_>, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(step.now);
            self.wake = min(self.wake, member.expires);
        }
    }

    /// Leaves `ticket` waiting at a member. What waited there before is a request that the client
    /// gave up on: it is answered so that it does not wait for ever.
    pub(super) fn park(&mut self, step: &mut Step<'_>, member_id: &str, waiting: Waiting) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.waiting, waiting);
        refuse(step, before, &GroupError::RebalanceInProgress);
        if member.seniority == Seniority::Settled {
            member.expires = None;
        }
    }

    /// Removes a member and answers what it waits for. The phase is the caller's to change.
    pub(super) fn evict(&mut self, step: &mut Step<'_>, member_id: &str) {
        if let Some(member) = self.members.remove(member_id) {
            refuse(step, member.waiting, &self.unknown_member(member_id));
        }
    }

    /// Goes on after members left or were evicted.
    pub(super) fn after_removal(&mut self, step: &mut Step<'_>) {
        match self.phase {
            Phase::Stable { .. } | Phase::Completing { .. } => self.prepare_rebalance(step),
            Phase::Preparing { .. } => self.complete_join_if_ready(step),
            Phase::Empty => {}
        }
    }

    pub(super) fn unknown_member(&self, member_id: &str) -> GroupError {
        GroupError::UnknownMemberId {
            group_id: self.id.to_string(),
            member_id: member_id.to_owned(),
        }
    }

    /// Lets what is due by now happen, and notes when to look again.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        let now = step.now.monotonic;
        let pending_before = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        let is_silent = |(id, member): (&String, &Member)| {
            member.expires.is_some_and(|at| at <= now).then(|| id.clone())
        };
        let silent: Vec<String> = self.members.iter().filter_map(is_silent).collect();
        for id in &silent {
            self.evict(step, id);
        }
        if !silent.is_empty() {
            self.after_removal(step);
        } else if self.pending.len() < pending_before {
            self.complete_join_if_ready(step);
        }
        if self.phase_ends().is_some_and(|at| at <= now) {
            self.end_phase(step);
        }
        self.wake = self.next_deadline();
    }

    fn end_phase(&mut self, step: &mut Step<'_>) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing { initial: Some(initial), .. }
                if initial.extends && initial.left_ms > 0 =>
            {
                let delay_ms = step.config.initial_rebalance_delay_ms.min(initial.left_ms);
                let left_ms = initial.left_ms.saturating_sub(delay_ms);
                let initial = Some(InitialDelay { extends: false, left_ms });
                let until = step.now.monotonic.plus_ms(delay_ms);
                self.phase = Phase::Preparing { until, initial };
            }
            Phase::Preparing { .. } => self.complete_join(step),
            Phase::Completing { .. } | Phase::Stable { .. } => {
                let owes = |(id, member): (&String, &Member)| member.owes_sync.then(|| id.clone());
                for id in self.members.iter().filter_map(owes).collect::<Vec<_>>() {
                    self.evict(step, &id);
                }
                self.prepare_rebalance(step);
            }
        }
    }

    fn phase_ends(&self) -> Option<Monotonic> {
        match self.phase {
            Phase::Empty => None,
            Phase::Preparing { until, .. } => Some(until),
            Phase::Completing { sync_until } => Some(sync_until),
            Phase::Stable { sync_until } => sync_until,
        }
    }

    /// The first of all deadlines.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let sessions = self.members.iter().filter_map(|(_, member)| member.expires).min();
        let pending = self.pending.values().min().copied();
        min(min(sessions, pending), self.phase_ends())
    }

    /// From when on offsets age. KIP-211.
    pub(super) fn retention_start(&self) -> RetentionStart {
        match (&self.protocol_type, self.phase) {
            (None, _) => RetentionStart::Commit,
            (Some(_), Phase::Empty) => {
                self.changed.map_or(RetentionStart::Commit, RetentionStart::NotBefore)
            }
            (Some(_), Phase::Stable { .. }) if self.subscribed.is_some() => RetentionStart::Commit,
            (
                Some(_),
                Phase::Stable { .. } | Phase::Preparing { .. } | Phase::Completing { .. },
            ) => RetentionStart::Held,
        }
    }

    /// Whether a member reads `topic`, as far as is known; for consumers in doubt yes.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        if self.members.is_empty() {
            return false;
        }
        let in_doubt = self.is_of_consumers();
        self.subscribed.as_ref().map_or(in_doubt, |topics| topics.contains(topic))
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The topics of all members together, if each can be read.
    pub(super) fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        let protocol = self.protocol.as_deref().filter(|_| self.is_of_consumers())?;
        let mut all = BTreeSet::new();
        for (_, member) in self.members.iter() {
            all.append(&mut subscription::topics(&member.metadata(protocol))?);
        }
        Some(all)
    }

    /// Forgets the offsets that are old enough, and the group if nothing is left of it.
    pub(super) fn expire(&mut self, step: &mut Step<'_>, retention_ms: i64) {
        let (start, now) = (self.retention_start(), step.now.wall);
        let mut offsets = std::mem::take(&mut self.offsets);
        step.effects.records.extend(offsets.expire(&self.id, |topic, committed| {
            start.has_run_out(committed, retention_ms, now) && !self.is_subscribed_to(topic)
        }));
        self.offsets = offsets;
        self.lingers = false;
        if self.is_deserted() {
            self.forget(step.effects);
        }
    }

    /// Removes all there is of a group without members.
    ///
    /// # Errors
    /// NonEmptyGroup; nothing is changed.
    pub(super) fn delete(
        &mut self,
        effects: &mut Effects<GroupRecord, Reply>,
    ) -> Result<(), GroupError> {
        if self.phase != Phase::Empty {
            return Err(GroupError::NonEmptyGroup(self.id.to_string()));
        }
        self.lingers = false;
        self.pending.clear();
        effects.records.extend(self.offsets.clear(&self.id));
        self.forget(effects);
        Ok(())
    }

    fn forget(&mut self, effects: &mut Effects<GroupRecord, Reply>) {
        if std::mem::take(&mut self.recorded) {
            let group_id = self.id.to_string();
            effects.write(GroupRecord::Group { group_id, metadata: None });
        }
    }

    /// Writes the group as it is now.
    pub(super) fn record(&mut self, step: &mut Step<'_>) {
        self.recorded = true;
        step.effects.write(GroupRecord::Group {
            group_id: self.id.to_string(),
            metadata: Some(self.metadata()),
        });
    }

    pub(super) fn metadata(&self) -> GroupMetadata {
        let protocol = self.protocol.clone().unwrap_or_default();
        let member = |(id, member): (&String, &Member)| MemberMetadata {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: i32::try_from(member.rebalance_timeout_ms).unwrap_or(i32::MAX),
            session_timeout: i32::try_from(member.session_timeout_ms).unwrap_or(i32::MAX),
            subscription: member.metadata(&protocol),
            assignment: member.assignment.clone(),
        };
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation.0,
            protocol: self.protocol.clone(),
            leader: self.members.leader().map(str::to_owned),
            current_state_timestamp: self.changed.map_or(-1, |changed| changed.0),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Becomes what the journal says; `None` is a group without members or past. Offsets stay.
    pub(super) fn replay(&mut self, now: Now, record: Option<GroupMetadata>) {
        let (id, offsets) = (Arc::clone(&self.id), std::mem::take(&mut self.offsets));
        *self = Self { offsets, recorded: record.is_some(), ..Self::new(id) };
        let Some(record) = record else { return };
        self.protocol_type = Some(record.protocol_type).filter(|it| !it.is_empty());
        self.generation = Generation(record.generation);
        let changed = record.current_state_timestamp;
        self.changed = (changed >= 0).then_some(Timestamp(changed));
        for member in &record.members {
            let known =
                member.group_instance_id.as_ref().and_then(|it| self.members.of_instance(it));
            if known.is_some() || self.members.get(&member.member_id).is_some() {
                continue; // No record of ours or Kafka's names anyone twice.
            }
            let protocol = record.protocol.as_deref().unwrap_or_default();
            self.members.add(member.member_id.clone(), Member::replayed(member, protocol, now));
        }
        if !self.members.is_empty() {
            self.protocol = Some(record.protocol.unwrap_or_default());
            self.members.lead(record.leader.as_deref().unwrap_or_default());
            self.phase = Phase::Stable { sync_until: None };
            self.subscribed = self.read_subscriptions();
        }
        self.wake = self.next_deadline();
    }

    pub(super) fn describe(&self) -> DescribedGroup {
        let shown = self.protocol.as_deref().filter(|_| matches!(self.phase, Phase::Stable { .. }));
        let member = |(id, member): (&String, &Member)| DescribedMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: shown.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: shown.map(|_| member.assignment.clone()).unwrap_or_default(),
        };
        DescribedGroup {
            group_id: self.id.to_string(),
            state: self.state(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: shown.unwrap_or_default().to_owned(),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Panics if an invariant does not hold. Under test only.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let id = &self.id;
        self.members.check();
        self.offsets.check();
        assert!(self.pending.keys().all(|it| self.members.get(it).is_none()), "{id}: joined once");
        let first = self.next_deadline();
        assert!(first.is_none() || self.wake.is_some_and(|at| Some(at) <= first), "{id}: wakes");
        let is_empty = self.phase == Phase::Empty;
        assert!(!is_empty || self.members.is_empty(), "{id}: empty means so");
        let settled = matches!(self.phase, Phase::Completing { .. } | Phase::Stable { .. });
        assert!(!settled || !self.members.is_empty(), "{id}: {:?} has members", self.phase);
        assert!(!settled || self.protocol.is_some(), "{id}: {:?} has a protocol", self.phase);
        for (member_id, member) in self.members.iter() {
            let fits = match member.waiting {
                Waiting::No => member.seniority == Seniority::Settled,
                Waiting::Join(_) => matches!(self.phase, Phase::Preparing { .. }),
                Waiting::Sync(_) => matches!(self.phase, Phase::Completing { .. }),
            };
            assert!(fits, "{id}: {member_id} is {member:?} in {:?}", self.phase);
            let timed = member.waiting == Waiting::No || member.seniority == Seniority::New;
            assert_eq!(timed, member.expires.is_some(), "{id}: {member_id} is {member:?}");
            let may_owe = settled && !matches!(member.waiting, Waiting::Sync(_));
            assert!(may_owe || !member.owes_sync, "{id}: {member_id} owes no sync");
            let knows = |name| member.protocols.iter().any(|known| known.name == name);
            let shared = self.protocol.clone().is_some_and(knows);
            assert!(!settled || shared, "{id}: {member_id} knows the protocol");
        }
        let owing = self.members.iter().any(|(_, member)| member.owes_sync);
        assert!(
            owing || !matches!(self.phase, Phase::Stable { sync_until: Some(_) }),
            "{id}: synced"
        );
    }
}

/// Answers whatever waits with an error.
pub(super) fn refuse(step: &mut Step<'_>, waiting: Waiting, error: &GroupError) {
    match waiting {
        Waiting::No => {}
        Waiting::Join(ticket) => step.effects.reply(ticket, Reply::Join(Err(error.clone()))),
        Waiting::Sync(ticket) => step.effects.reply(ticket, Reply::Sync(Err(error.clone()))),
    }
}

/// The next generation; it starts over rather than end.
fn next(generation: Generation) -> Generation {
    Generation(generation.0.checked_add(1).unwrap_or(0).max(0))
}

fn min(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    a.into_iter().chain(b).min()
}
