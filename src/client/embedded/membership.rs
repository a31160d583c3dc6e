//! A static member of a classic consumer group (KIP-345), in one group with members from outside: it
//! offers the protocols that most clients know, and shares out for all if it leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::assignor::{self, Rule, Subscriber};
use super::super::cluster::{
    Answer, ClusterError, GroupIdentity, JoinAs, MemberStanding, Membership, TopicPartition,
};
use super::{Shared, refusal};
use crate::groups::{
    Command, GroupError, Heartbeat, JoinGroup, Joined, LeaveGroup, Leaving, Protocol, Reply,
    SyncGroup, SyncProtocol,
};
use crate::types::Generation;

/// As groups show us.
const CLIENT_ID: &str = "ottla";
const CLIENT_HOST: &str = "/127.0.0.1";
const PROTOCOL_TYPE: &str = "consumer";
/// How long the group waits for us when it shares out anew, in ms.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
/// A group that shares out anew so often is not going to settle.
const ROUNDS_MAX: u32 = 100;

/// Our membership.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    join: JoinAs,
    /// Empty until the group has given one.
    member_id: String,
    generation: Generation,
    assigned: Vec<TopicPartition>,
}

/// What one round came to.
enum Round {
    Settled,
    Again,
}

impl Member {
    pub(super) async fn join(shared: Arc<Shared>, join: JoinAs) -> Result<Self, ClusterError> {
        shared.points.reach("before join").await;
        let (member_id, generation) = (String::new(), Generation(-1));
        let mut member = Self { shared, join, member_id, generation, assigned: Vec::new() };
        member.settle().await?;
        member.shared.points.reach("after join").await;
        Ok(member)
    }

    fn what(&self) -> String {
        format!("group {}", self.join.group)
    }

    /// Joins until we have our partitions.
    async fn settle(&mut self) -> Result<(), ClusterError> {
        self.assigned.clear();
        for _ in 0..ROUNDS_MAX {
            if let Round::Settled = self.round().await? {
                return Ok(());
            }
        }
        Err(ClusterError::Rebalancing(self.join.group.clone()))
    }

    async fn round(&mut self) -> Result<Round, ClusterError> {
        let command = self.join_command()?;
        let joined = self.ask(command, |reply| match reply {
            Reply::Join(result) => Some(result),
            _ => None,
        });
        let joined = match joined.await? {
            Ok(joined) => joined,
            Err(error) => return self.again(error),
        };
        self.member_id.clone_from(&joined.member_id);
        self.generation = joined.generation;
        let leads = joined.leader == joined.member_id && !joined.members.is_empty();
        let shares = if leads { self.share_out(&joined)? } else { BTreeMap::new() };
        let sync = self.sync_command(&joined, &shares)?;
        let synced = self.ask(sync, |reply| match reply {
            Reply::Sync(result) => Some(result),
            _ => None,
        });
        let synced = match synced.await? {
            Ok(synced) => synced,
            Err(error) => return self.again(error),
        };
        let assigned = assignor::assigned(synced.assignment);
        let assigned = assigned.map_err(|error| self.unreadable("assignment", &error))?;
        let named = assigned.into_iter().map(|it| TopicPartition::new(it.topic, it.partition.0));
        self.assigned = named.collect();
        self.assigned.sort();
        // A leader that came back keeps what was assigned (KIP-814), unless it would share out
        // otherwise now: for new topics or partitions. By joining again it says so.
        let ours = shares.get(&self.member_id);
        let is_stale = joined.skip_assignment && ours.is_some_and(|ours| *ours != self.assigned);
        Ok(if is_stale { Round::Again } else { Round::Settled })
    }

    async fn ask<T>(
        &self,
        command: Command,
        pick: impl FnOnce(Reply) -> Option<Result<T, GroupError>>,
    ) -> Result<Result<T, GroupError>, ClusterError> {
        let reply = self.shared.broker.groups().call(command).await;
        let reply = reply.map_err(|error| refusal::of_shell(&error, &self.what()))?;
        pick(reply).ok_or_else(|| refusal::of_answer(&self.what()))
    }

    /// Whether to go on joining after this refusal.
    fn again(&mut self, error: GroupError) -> Result<Round, ClusterError> {
        match self.standing(error)? {
            MemberStanding::Settled | MemberStanding::Rebalancing => Ok(Round::Again),
        }
    }

    /// What a refusal makes of our membership.
    fn standing(&mut self, error: GroupError) -> Result<MemberStanding, ClusterError> {
        match error {
            GroupError::RebalanceInProgress | GroupError::IllegalGeneration { .. } => {}
            GroupError::UnknownMemberId { .. } => {
                self.member_id.clear();
                self.generation = Generation(-1);
            }
            GroupError::MemberIdRequired(member_id) => self.member_id = member_id,
            error => return Err(refusal::of_group(&error, &self.what())),
        }
        Ok(MemberStanding::Rebalancing)
    }

    fn join_command(&self) -> Result<Command, ClusterError> {
        let topics: BTreeSet<_> = self.join.topics.iter().cloned().collect();
        let metadata = assignor::subscription(&topics);
        let metadata = metadata.map_err(|error| self.unwritable("subscription", &error))?;
        let protocol =
            |rule: &Rule| Protocol { name: rule.name().to_owned(), metadata: metadata.clone() };
        Ok(Command::Join(JoinGroup {
            group_id: self.join.group.clone(),
            member_id: self.member_id.clone(),
            group_instance_id: Some(self.join.instance_id.clone()),
            client_id: CLIENT_ID.to_owned(),
            client_host: CLIENT_HOST.to_owned(),
            session_timeout_ms: self.join.session_timeout_ms,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: Rule::ALL.iter().map(protocol).collect(),
            requires_member_id: true,
            supports_skip_assignment: true,
            fresh_id: self.shared.broker.ids.uuid(),
        }))
    }

    fn sync_command(
        &self,
        joined: &Joined,
        shares: &BTreeMap<String, Vec<TopicPartition>>,
    ) -> Result<Command, ClusterError> {
        let mut assignments = Vec::new();
        if !joined.skip_assignment {
            for (member_id, partitions) in shares {
                let rows = partitions.iter().map(|at| (&*at.topic, at.partition.0));
                let bytes = assignor::assignment(rows);
                let bytes = bytes.map_err(|error| self.unwritable("assignment", &error))?;
                assignments.push((member_id.clone(), bytes));
            }
        }
        Ok(Command::Sync(SyncGroup {
            group_id: self.join.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: Some(self.join.instance_id.clone()),
            protocol: Some(SyncProtocol {
                protocol_type: Some(joined.protocol_type.clone()),
                protocol_name: Some(joined.protocol_name.clone()),
            }),
            assignments,
        }))
    }

    /// Everybody's partitions, in order.
    fn share_out(
        &self,
        joined: &Joined,
    ) -> Result<BTreeMap<String, Vec<TopicPartition>>, ClusterError> {
        let name = &joined.protocol_name;
        let rule = Rule::named(name).ok_or_else(|| {
            ClusterError::Refused(format!("{}: unknown protocol {name}", self.what()))
        })?;
        let members = joined.members.iter().map(|member| {
            let instance_id = member.group_instance_id.as_ref();
            Subscriber::read(&member.member_id, instance_id, member.metadata.clone())
        });
        let members = members.collect::<Result<Vec<_>, _>>();
        let members = members.map_err(|error| self.unreadable("subscription", &error))?;
        let mut counts = BTreeMap::new();
        for topic in members.iter().flat_map(|member| &member.topics) {
            if let Some(found) = self.shared.broker.registry.by_name(topic) {
                let count = u32::try_from(found.partitions.len()).unwrap_or(u32::MAX);
                counts.insert(topic.clone(), count);
            }
        }
        let shares = rule.share_out(&members, &counts).into_iter();
        let named = |(member_id, partitions): (String, Vec<_>)| {
            let named = partitions.into_iter().map(|it: super::super::wire::NamedPartition| {
                TopicPartition::new(it.topic, it.partition.0)
            });
            let mut named: Vec<_> = named.collect();
            named.sort();
            (member_id, named)
        };
        Ok(shares.map(named).collect())
    }

    fn unreadable(&self, what: &str, error: &dyn std::fmt::Display) -> ClusterError {
        ClusterError::Refused(format!("{} in {}: {error}", what, self.what()))
    }

    fn unwritable(&self, what: &str, error: &dyn std::fmt::Display) -> ClusterError {
        ClusterError::Refused(format!("{} for {}: {error}", what, self.what()))
    }

    async fn beat(&mut self) -> Result<MemberStanding, ClusterError> {
        let heartbeat = Command::Heartbeat(Heartbeat {
            group_id: self.join.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: Some(self.join.instance_id.clone()),
        });
        let beaten = self.ask(heartbeat, |reply| match reply {
            Reply::Heartbeat(result) => Some(result),
            _ => None,
        });
        match beaten.await? {
            Ok(()) => Ok(MemberStanding::Settled),
            Err(error) => self.standing(error),
        }
    }

    async fn go(&mut self) -> Result<(), ClusterError> {
        self.assigned.clear();
        let leaving = Leaving {
            member_id: std::mem::take(&mut self.member_id),
            group_instance_id: Some(self.join.instance_id.clone()),
        };
        let leave = LeaveGroup { group_id: self.join.group.clone(), members: vec![leaving] };
        let left = self.ask(Command::Leave(leave), |reply| match reply {
            Reply::Leave(result) => Some(result),
            _ => None,
        });
        let left = left.await?.and_then(|members| members.into_iter().collect());
        match left {
            // Whoever is out already has left.
            Ok::<Vec<()>, _>(_) | Err(GroupError::UnknownMemberId { .. }) => Ok(()),
            Err(error) => Err(refusal::of_group(&error, &self.what())),
        }
    }
}

impl Membership for Member {
    fn assigned(&self) -> &[TopicPartition] {
        &self.assigned
    }

    fn identity(&self) -> GroupIdentity {
        GroupIdentity {
            group: self.join.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            instance_id: self.join.instance_id.clone(),
        }
    }

    fn heartbeat(&mut self) -> Answer<'_, MemberStanding> {
        Box::pin(self.beat())
    }

    fn rejoin(&mut self) -> Answer<'_, ()> {
        Box::pin(self.settle())
    }

    fn leave(&mut self) -> Answer<'_, ()> {
        Box::pin(self.go())
    }
}
