//! The members of one classic group: who they are, who leads, and what they have in common.
//!
//! Invariants: the leader is a member, and there is one as long as there is a member; an instance
//! id belongs to one member.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::command::{JoinGroup, JoinedMember, Protocol};
use super::error::GroupError;
use super::records::MemberMetadata;
use crate::machine::Ticket;
use crate::types::{Monotonic, Now};

/// What a member's last request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: the member is to send heartbeats.
    No,
    /// The end of the rebalance.
    Join(Ticket),
    /// The leader's assignment.
    Sync(Ticket),
}

/// Whether a member has ever been told its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seniority {
    /// Its first join is parked; it has a longer timer instead of a session.
    New,
    /// It was part of a completed rebalance.
    Settled,
}

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group_instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: u32,
    pub(super) rebalance_timeout_ms: u32,
    /// In the member's order of preference.
    pub(super) protocols: Vec<Protocol>,
    /// Its share under the current generation; empty during a rebalance.
    pub(super) assignment: Bytes,
    pub(super) seniority: Seniority,
    pub(super) waiting: Waiting,
    /// When silence becomes eviction. `None` while a settled member's request is parked: it cannot
    /// send heartbeats meanwhile.
    pub(super) expires: Option<Monotonic>,
    /// It was told of the generation and has not asked for its assignment yet.
    pub(super) owes_sync: bool,
}

impl Member {
    /// A member as it joins. Its bytes are copied, so that it does not hold on to the request.
    pub(super) fn new(request: &JoinGroup) -> Self {
        let session_timeout_ms = u32::try_from(request.session_timeout_ms).unwrap_or(0);
        Self {
            group_instance_id: request.group_instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout(
                request.rebalance_timeout_ms,
                session_timeout_ms,
            ),
            protocols: request.protocols.iter().map(own).collect(),
            assignment: Bytes::new(),
            seniority: Seniority::New,
            waiting: Waiting::No,
            expires: None,
            owes_sync: false,
        }
    }

    /// A member as the journal has it; its session starts `now`.
    pub(super) fn replayed(record: &MemberMetadata, protocol: &str, now: Now) -> Self {
        let session_timeout_ms = u32::try_from(record.session_timeout).unwrap_or(0);
        let mut member = Self {
            group_instance_id: record.group_instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout(record.rebalance_timeout, session_timeout_ms),
            protocols: vec![own(&Protocol {
                name: protocol.to_owned(),
                metadata: record.subscription.clone(),
            })],
            assignment: Bytes::copy_from_slice(&record.assignment),
            seniority: Seniority::Settled,
            waiting: Waiting::No,
            expires: None,
            owes_sync: false,
        };
        member.touch(now);
        member
    }

    /// Takes over what a rejoining member says now.
    pub(super) fn update(&mut self, request: &JoinGroup) {
        self.client_id.clone_from(&request.client_id);
        self.client_host.clone_from(&request.client_host);
        self.session_timeout_ms = u32::try_from(request.session_timeout_ms).unwrap_or(0);
        self.rebalance_timeout_ms =
            rebalance_timeout(request.rebalance_timeout_ms, self.session_timeout_ms);
        self.protocols = request.protocols.iter().map(own).collect();
    }

    /// Starts the session again, unless a request of the member is parked.
    pub(super) fn touch(&mut self, now: Now) {
        if self.waiting == Waiting::No {
            self.expires = Some(now.monotonic.plus_ms(u64::from(self.session_timeout_ms.max(1))));
        }
    }

    /// What the member says under `protocol`; empty if it does not know it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|known| known.name == protocol);
        found.map_or_else(Bytes::new, |known| known.metadata.clone())
    }

    fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|known| known.name == protocol)
    }
}

/// The time to rejoin. Unlike Kafka: 0 or less means the session timeout, as in JoinGroup v0.
/// Taken at its word it would evict everyone before the next request can come.
fn rebalance_timeout(asked_ms: i32, session_timeout_ms: u32) -> u32 {
    u32::try_from(asked_ms).ok().filter(|asked| *asked > 0).unwrap_or(session_timeout_ms)
}

fn own(protocol: &Protocol) -> Protocol {
    Protocol { name: protocol.name.clone(), metadata: Bytes::copy_from_slice(&protocol.metadata) }
}

/// All members of one group, by member id.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<String, Member>,
    by_instance: BTreeMap<String, String>,
    leader: Option<String>,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.by_id.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Member)> {
        self.by_id.iter_mut()
    }

    pub(super) fn get(&self, member_id: &str) -> Option<&Member> {
        self.by_id.get(member_id)
    }

    pub(super) fn get_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.by_id.get_mut(member_id)
    }

    /// The member id of an instance.
    pub(super) fn of_instance(&self, group_instance_id: &str) -> Option<&String> {
        self.by_instance.get(group_instance_id)
    }

    pub(super) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Makes a member the leader, if it is one.
    pub(super) fn lead(&mut self, member_id: &str) {
        if self.by_id.contains_key(member_id) {
            self.leader = Some(member_id.to_owned());
        }
    }

    /// Adds a member; the first one leads.
    pub(super) fn add(&mut self, member_id: String, member: Member) {
        if let Some(instance) = &member.group_instance_id {
            let before = self.by_instance.insert(instance.clone(), member_id.clone());
            debug_assert!(before.is_none(), "an instance id belongs to one member");
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        let before = self.by_id.insert(member_id, member);
        debug_assert!(before.is_none(), "a new member has a new id");
    }

    /// Removes a member; if it led, another one does.
    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let member = self.by_id.remove(member_id)?;
        if let Some(instance) = &member.group_instance_id {
            self.by_instance.remove(instance);
        }
        if self.is_leader(member_id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// Sees to it that the leader is one of the members whose join is parked. False if there is
    /// none.
    pub(super) fn elect(&mut self) -> bool {
        let has_joined = |member: &Member| matches!(member.waiting, Waiting::Join(_));
        if self.leader().and_then(|id| self.get(id)).is_some_and(has_joined) {
            return true;
        }
        let joined = self.by_id.iter().find(|(_, member)| has_joined(member));
        let Some(leader) = joined.map(|(id, _)| id.clone()) else { return false };
        self.leader = Some(leader);
        true
    }

    /// Checks that `member_id` is a member and, if it says so, the one of its instance id.
    ///
    /// # Errors
    /// UnknownMemberId; FencedInstanceId if the instance id is another member's.
    pub(super) fn validate(
        &self,
        group_id: &str,
        member_id: &str,
        group_instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        let unknown = |id: &str| GroupError::UnknownMemberId {
            group_id: group_id.to_owned(),
            member_id: id.to_owned(),
        };
        if let Some(instance) = group_instance_id {
            let owner = self.by_instance.get(instance).ok_or_else(|| unknown(instance))?;
            if owner != member_id {
                return Err(GroupError::FencedInstanceId {
                    group_instance_id: instance.to_owned(),
                });
            }
        }
        if !self.by_id.contains_key(member_id) {
            return Err(unknown(member_id));
        }
        Ok(())
    }

    /// How many members wait for the rebalance to end.
    pub(super) fn joined_count(&self) -> usize {
        self.by_id.values().filter(|member| matches!(member.waiting, Waiting::Join(_))).count()
    }

    /// The longest rebalance timeout of all members.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        self.by_id.values().map(|member| u64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Whether one of `protocols` is known to all members.
    pub(super) fn share_any(&self, protocols: &[Protocol]) -> bool {
        protocols.iter().any(|offered| self.by_id.values().all(|known| known.knows(&offered.name)))
    }

    /// The protocol of the next generation: each member votes for the first in its own list that
    /// all know, most votes win. Between equals the leader's order decides.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let leader = self.leader().and_then(|id| self.get(id))?;
        let candidates: Vec<&str> = leader
            .protocols
            .iter()
            .map(|protocol| protocol.name.as_str())
            .filter(|name| self.by_id.values().all(|member| member.knows(name)))
            .collect();
        let mut votes = vec![0_u32; candidates.len()];
        for member in self.by_id.values() {
            let names = member.protocols.iter().map(|protocol| protocol.name.as_str());
            let mut choices = names.filter_map(|name| candidates.iter().position(|it| *it == name));
            if let Some(vote) = choices.next().and_then(|choice| votes.get_mut(choice)) {
                *vote += 1;
            }
        }
        // Of equals max_by_key takes the last one: so the leader's list is read backwards.
        let best = votes.into_iter().zip(candidates).rev().max_by_key(|(count, _)| *count);
        best.map(|(_, name)| name.to_owned())
    }

    /// What the leader is told of all members.
    pub(super) fn for_leader(&self, protocol: &str) -> Vec<JoinedMember> {
        let tell = |(id, member): (&String, &Member)| JoinedMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.by_id.iter().map(tell).collect()
    }

    /// Panics if an invariant does not hold.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.leader.is_none(), self.by_id.is_empty(), "members have a leader");
        assert!(self.leader.iter().all(|id| self.by_id.contains_key(id)), "the leader is a member");
        let instances = self.by_id.iter().filter_map(|(id, member)| {
            member.group_instance_id.as_ref().map(|instance| (instance.clone(), id.clone()))
        });
        assert_eq!(
            instances.collect::<BTreeMap<_, _>>(),
            self.by_instance,
            "instances are members"
        );
    }
}
