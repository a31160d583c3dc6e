//! A member of a classic consumer group: joins, shares the partitions out if it leads, stays alive,
//! commits and leaves.

use std::collections::{BTreeMap, BTreeSet};

use super::assignor::{self, Rule, Subscriber};
use super::error::ClientError;
use super::groups::Committer;
use super::wire::{Client, NamedPartition};
use crate::codec::EncodeError;
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use crate::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::protocol::{ErrorCode, Request};
use crate::types::Offset;

/// Silence after which the group goes on without us, in ms.
const SESSION_TIMEOUT_MS: i32 = 45_000;
/// How long the group waits for us when it shares out anew, in ms.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;
/// How long joining may take: what others are waited for, and some more.
const JOIN_TIMEOUT_MS: u64 = 75_000;
/// How often to say that we are there, in ms.
pub const HEARTBEAT_INTERVAL_MS: u64 = 3_000;
/// A group that shares out anew so often is not going to settle.
const ROUNDS_MAX: u32 = 100;

/// Our membership.
#[derive(Debug)]
pub struct Member {
    group: String,
    topics: BTreeSet<String>,
    by: Committer,
    assigned: Vec<NamedPartition>,
}

/// What a heartbeat or commit showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All is as before.
    Settled,
    /// The group shares out anew: join again.
    Rebalancing,
}

impl Member {
    /// Joins the group, waits for its other members, and gets partitions.
    ///
    /// # Errors
    /// `Refusal` where the group cannot be joined, or those of [`super::Connection::call`].
    pub async fn join(
        client: &mut Client,
        group: &str,
        topics: &[String],
    ) -> Result<Self, ClientError> {
        let topics = topics.iter().cloned().collect();
        let by = Committer::outside();
        let mut member = Self { group: group.to_owned(), topics, by, assigned: Vec::new() };
        member.rejoin(client).await?;
        Ok(member)
    }

    /// The partitions that are ours.
    pub fn assigned(&self) -> &[NamedPartition] {
        &self.assigned
    }

    /// Joins again after [`Standing::Rebalancing`].
    ///
    /// # Errors
    /// As for [`Member::join`].
    pub async fn rejoin(&mut self, client: &mut Client) -> Result<(), ClientError> {
        self.assigned.clear();
        for _ in 0..ROUNDS_MAX {
            let joined = self.join_once(client).await?;
            match joined.error_code {
                ErrorCode::None => {}
                // KIP-394: a first join is refused, with the member id to join with.
                ErrorCode::MemberIdRequired => {
                    self.by.member_id = joined.member_id;
                    continue;
                }
                ErrorCode::UnknownMemberId => {
                    self.by = Committer::outside();
                    continue;
                }
                code => {
                    self.wait_or_fail(client, code).await?;
                    continue;
                }
            }
            self.by.member_id.clone_from(&joined.member_id);
            self.by.generation = joined.generation_id;
            if self.sync(client, joined).await? == Standing::Settled {
                return Ok(());
            }
        }
        self.failed(ErrorCode::RebalanceInProgress)
    }

    /// Says that we are alive.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn heartbeat(&mut self, client: &mut Client) -> Result<Standing, ClientError> {
        let request = |_| HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.by.generation,
            member_id: self.by.member_id.clone(),
            group_instance_id: None,
        };
        let answer = client.call_coordinator(&self.group, request).await?;
        self.standing(answer.error_code)
    }

    /// Commits offsets of partitions that are ours.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn commit(
        &mut self,
        client: &mut Client,
        offsets: &BTreeMap<NamedPartition, Offset>,
    ) -> Result<Standing, ClientError> {
        match client.commit(&self.group, &self.by, offsets).await {
            Ok(()) => Ok(Standing::Settled),
            Err(ClientError::Refusal { code, .. }) => self.standing(code),
            Err(error) => Err(error),
        }
    }

    /// Leaves the group, so that it need not wait for our silence.
    ///
    /// # Errors
    /// Those of [`super::Connection::call`].
    pub async fn leave(self, client: &mut Client) -> Result<(), ClientError> {
        let Self { group, by, .. } = self;
        let request = |version| {
            let group_id = group.clone();
            let member_id = by.member_id.clone();
            if version < 3 {
                return LeaveGroupRequest { group_id, member_id, ..Default::default() };
            }
            let members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
            LeaveGroupRequest { group_id, members, ..LeaveGroupRequest::default() }
        };
        client.call_coordinator(&group, request).await.map(drop)
    }

    async fn join_once(&self, client: &mut Client) -> Result<JoinGroupResponse, ClientError> {
        let metadata = encoded::<JoinGroupRequest, _>(assignor::subscription(&self.topics))?;
        let protocol = JoinGroupRequestProtocol { name: Rule::Range.name().to_owned(), metadata };
        let request = |_| JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.by.member_id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol.clone()],
            ..JoinGroupRequest::default()
        };
        let node = client.coordinator(&self.group).await?;
        client.node(node).await?.call_within(JOIN_TIMEOUT_MS, request).await
    }

    /// Fetches our partitions; as the leader, tells everybody's first.
    async fn sync(
        &mut self,
        client: &mut Client,
        joined: JoinGroupResponse,
    ) -> Result<Standing, ClientError> {
        let assignments = if joined.leader == joined.member_id && !joined.skip_assignment {
            self.share_out(client, &joined).await?
        } else {
            Vec::new()
        };
        let request = |_| SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.by.generation,
            member_id: self.by.member_id.clone(),
            group_instance_id: None,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some(Rule::Range.name().to_owned()),
            assignments: assignments.clone(),
        };
        let node = client.coordinator(&self.group).await?;
        let answer = client.node(node).await?.call_within(JOIN_TIMEOUT_MS, request).await?;
        let standing = self.standing(answer.error_code)?;
        if standing == Standing::Settled {
            let assigned = assignor::assigned(answer.assignment);
            self.assigned = assigned.map_err(|error| self.unreadable("assignment", &error))?;
        }
        Ok(standing)
    }

    /// Everybody's partitions, by the `range` rule.
    async fn share_out(
        &self,
        client: &mut Client,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let members = joined.members.iter().map(|member| {
            let instance_id = member.group_instance_id.as_ref();
            Subscriber::read(&member.member_id, instance_id, member.metadata.clone())
        });
        let members = members.collect::<Result<Vec<_>, _>>();
        let members = members.map_err(|error| self.unreadable("subscription", &error))?;
        let topics: BTreeSet<&str> =
            members.iter().flat_map(|member| &member.topics).map(String::as_str).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        let mut counts = BTreeMap::new();
        for topic in client.cluster(Some(&topics)).await?.topics {
            let count = u32::try_from(topic.partitions.len()).unwrap_or(0);
            counts.extend(topic.name.map(|name| (name, count)));
        }
        let shares = Rule::Range.share_out(&members, &counts).into_iter();
        let encode = |(member_id, partitions): (String, Vec<_>)| {
            let rows =
                partitions.iter().map(|it: &NamedPartition| (it.topic.as_str(), it.partition.0));
            let assignment = encoded::<SyncGroupRequest, _>(assignor::assignment(rows))?;
            Ok(SyncGroupRequestAssignment { member_id, assignment })
        };
        shares.map(encode).collect()
    }

    fn standing(&mut self, code: ErrorCode) -> Result<Standing, ClientError> {
        match code {
            ErrorCode::None => Ok(Standing::Settled),
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress => Ok(Standing::Rebalancing),
            ErrorCode::UnknownMemberId => {
                self.by = Committer::outside();
                Ok(Standing::Rebalancing)
            }
            code => self.failed(code),
        }
    }

    /// Waits a little over an error that passes by itself.
    async fn wait_or_fail(&self, client: &mut Client, code: ErrorCode) -> Result<(), ClientError> {
        const RETRY_MS: u64 = 100;
        let passes = super::error::is_passing(code) || code == ErrorCode::RebalanceInProgress;
        if !passes {
            return self.failed(code);
        }
        client.clock().clone().sleep_ms(RETRY_MS).await;
        Ok(())
    }

    fn failed<T>(&self, code: ErrorCode) -> Result<T, ClientError> {
        Err(ClientError::Refusal { subject: format!("group {}", self.group), code, message: None })
    }

    fn unreadable(&self, what: &str, error: &crate::codec::DecodeError) -> ClientError {
        ClientError::Records {
            subject: format!("{what} in group {}", self.group),
            problem: error.to_string(),
        }
    }
}

/// What was to be written into a request of kind `R`.
fn encoded<R: Request, T>(result: Result<T, EncodeError>) -> Result<T, ClientError> {
    let what = R::KEY.name();
    result.map_err(|source| ClientError::Encode { what, version: 0, source })
}
