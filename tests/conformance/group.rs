//! A member of a classic group, step by step: each request it can make, at the time a test wants it.

use bytes::Bytes;
use ottla::codec::Writer;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::heartbeat::HeartbeatRequest;
use ottla::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use ottla::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};

use super::client::{Client, Sent};
use super::kit;

/// The version that [`Member`] joins with, if a test sets no other.
const JOIN: i16 = 9;

/// One member, with a connection of its own.
#[derive(Debug)]
pub struct Member {
    pub client: Client,
    pub group_id: String,
    pub instance_id: Option<String>,
    pub member_id: String,
    pub generation_id: i32,
    /// What it joins with; ids are filled in.
    pub join: JoinGroupRequest,
    pub join_version: i16,
}

/// A subscription as consumers write it.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut writer = Writer::new();
    writer.i16(0);
    writer.length(Some(topics.len()), false).unwrap();
    for topic in topics {
        writer.nullable_string(Some(topic), false).unwrap();
    }
    writer.i32(-1); // No user data.
    writer.into_bytes()
}

/// Protocols by name, all with a subscription to one topic.
pub fn protocols(names: &[&str]) -> Vec<JoinGroupRequestProtocol> {
    let of = |name: &&str| JoinGroupRequestProtocol {
        name: (*name).to_owned(),
        metadata: subscription(&["t"]),
    };
    names.iter().map(of).collect()
}

impl Member {
    /// A member to be, with sessions of half a minute and the protocol `range`.
    pub fn new(group_id: &str) -> Self {
        let join = JoinGroupRequest {
            group_id: group_id.to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: protocols(&["range"]),
            ..Default::default()
        };
        Self {
            client: Client::connect(),
            group_id: group_id.to_owned(),
            instance_id: None,
            member_id: String::new(),
            generation_id: -1,
            join,
            join_version: JOIN,
        }
    }

    /// The same as a static member.
    pub fn fixed(group_id: &str, instance_id: &str) -> Self {
        Self { instance_id: Some(instance_id.to_owned()), ..Self::new(group_id) }
    }

    /// Joins with what it has, and does the round for a member id if it is asked to.
    #[track_caller]
    pub fn join(&mut self) -> JoinGroupResponse {
        let response = self.join_once();
        if response.error_code != ErrorCode::MemberIdRequired {
            return response;
        }
        self.member_id.clone_from(&response.member_id);
        self.join_once()
    }

    /// Joins, and must be let in.
    #[track_caller]
    pub fn joined(&mut self) -> JoinGroupResponse {
        let response = self.join();
        assert_eq!(response.error_code, ErrorCode::None, "{response:?}");
        response
    }

    /// Joins with what it has.
    #[track_caller]
    pub fn join_once(&mut self) -> JoinGroupResponse {
        let sent = self.send_join();
        self.finish_join(sent)
    }

    /// Gets a member id, and parks a join with it.
    #[track_caller]
    pub fn begin_join(&mut self) -> Sent<JoinGroupRequest> {
        if self.member_id.is_empty() && self.instance_id.is_none() {
            let response = self.join_once();
            assert_eq!(response.error_code, ErrorCode::MemberIdRequired);
            self.member_id = response.member_id;
        }
        self.send_join()
    }

    /// Sends a join with what it has.
    #[track_caller]
    pub fn send_join(&mut self) -> Sent<JoinGroupRequest> {
        let request = JoinGroupRequest {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            ..self.join.clone()
        };
        self.client.send(self.join_version, &request)
    }

    /// Reads the answer to a join, and takes over what it says.
    #[track_caller]
    pub fn finish_join(&mut self, sent: Sent<JoinGroupRequest>) -> JoinGroupResponse {
        let response = self.client.receive(sent);
        if response.error_code == ErrorCode::None {
            self.member_id.clone_from(&response.member_id);
            self.generation_id = response.generation_id;
        }
        response
    }

    /// Sends a SyncGroup; the leader's brings assignments.
    #[track_caller]
    pub fn send_sync(&mut self, assignments: &[(&str, &[u8])]) -> Sent<SyncGroupRequest> {
        let request = self.sync_request(assignments);
        self.client.send(5, &request)
    }

    /// A SyncGroup, not sent.
    pub fn sync_request(&self, assignments: &[(&str, &[u8])]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(member_id, bytes)| SyncGroupRequestAssignment {
            member_id: (*member_id).to_owned(),
            assignment: Bytes::copy_from_slice(bytes),
        });
        SyncGroupRequest {
            group_id: self.group_id.clone(),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            protocol_type: Some(self.join.protocol_type.clone()),
            protocol_name: Some(self.join.protocols[0].name.clone()),
            assignments: assignments.collect(),
        }
    }

    /// Syncs and waits for the assignment.
    #[track_caller]
    pub fn sync(&mut self, assignments: &[(&str, &[u8])]) -> SyncGroupResponse {
        let sent = self.send_sync(assignments);
        self.client.receive(sent)
    }

    /// Makes the group Stable, as the leader of a group of one.
    #[track_caller]
    pub fn join_alone(&mut self) {
        let response = self.joined();
        assert_eq!(response.leader, self.member_id);
        let id = self.member_id.clone();
        assert_eq!(self.sync(&[(&id, b"all")]).error_code, ErrorCode::None);
    }

    /// Says that it is alive.
    #[track_caller]
    pub fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: self.group_id.clone(),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
        };
        self.client.call(4, &request).error_code
    }

    /// Waits until the group wants it to rejoin.
    #[track_caller]
    pub fn await_rebalance(&mut self) {
        kit::until("a rebalance", || match self.heartbeat() {
            ErrorCode::RebalanceInProgress => true,
            other => {
                assert_eq!(other, ErrorCode::None);
                false
            }
        });
    }

    /// Leaves, by member id and instance id as it has them.
    #[track_caller]
    pub fn leave(&mut self) -> LeaveGroupResponse {
        let member = MemberIdentity {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: self.group_id.clone(),
            members: vec![member],
            ..Default::default()
        };
        self.client.call(5, &request)
    }

    /// Commits an offset as this member.
    #[track_caller]
    pub fn commit(&mut self, topic: &str, offset: i64) -> ErrorCode {
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance_id.clone(),
            ..commit_request(&self.group_id, topic, offset)
        };
        commit_code(&mut self.client, 8, &request)
    }
}

/// A commit of partition 0 by nobody in particular.
pub fn commit_request(group_id: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    OffsetCommitRequest { group_id: group_id.to_owned(), topics: vec![topic], ..Default::default() }
}

/// Sends a commit of one offset.
#[track_caller]
pub fn commit_code(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> ErrorCode {
    client.call(version, request).topics[0].partitions[0].error_code
}

/// Two members in a Stable group, the leader first; their assignments are `one` and `two`.
#[track_caller]
pub fn pair(group_id: &str) -> (Member, Member) {
    let (mut leader, mut follower) = (Member::new(group_id), Member::new(group_id));
    form(&mut leader, &mut follower);
    (leader, follower)
}

/// Makes a Stable group of two members that have not joined yet.
#[track_caller]
pub fn form(leader: &mut Member, follower: &mut Member) {
    leader.join_alone();
    let sent = follower.begin_join();
    leader.await_rebalance();
    let response = leader.joined();
    assert_eq!(response.members.len(), 2, "{response:?}");
    let response = follower.finish_join(sent);
    assert_eq!(response.error_code, ErrorCode::None);
    assert_eq!(response.leader, leader.member_id);
    let sent = follower.send_sync(&[]);
    let ids = (leader.member_id.clone(), follower.member_id.clone());
    let response = leader.sync(&[(&ids.0, b"one"), (&ids.1, b"two")]);
    assert_eq!((response.error_code, &response.assignment[..]), (ErrorCode::None, &b"one"[..]));
    let response = follower.client.receive(sent);
    assert_eq!((response.error_code, &response.assignment[..]), (ErrorCode::None, &b"two"[..]));
}
