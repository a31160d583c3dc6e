//! The rows of what concerns groups: members, offsets, and what an administrator asks.

use kafka_protocol::messages as theirs;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla::protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::heartbeat::HeartbeatRequest;
use ottla::protocol::messages::join_group::JoinGroupRequest;
use ottla::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla::protocol::messages::list_groups::ListGroupsRequest;
use ottla::protocol::messages::offset_commit::OffsetCommitRequest;
use ottla::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla::protocol::messages::sync_group::SyncGroupRequest;
use uuid::Uuid;

use super::super::client::Client;
use super::super::group::{Member, commit_code, commit_request};
use super::super::kit::{self, unique};
use super::Table;

pub(super) fn ask(table: &mut Table) {
    ask_as_member(table);
    ask_to_leave(table);
    ask_for_offsets(table);
    ask_as_administrator(table);
}

/// The only member of a group that is Stable.
fn member() -> Member {
    let mut member = Member::new(&unique("group"));
    member.join_alone();
    member
}

fn ask_as_member(table: &mut Table) {
    table.row::<FindCoordinatorRequest, theirs::FindCoordinatorResponse>(
        |_, version| {
            let key = unique("group");
            let (key, keys) =
                if version < 4 { (key, Vec::new()) } else { (String::new(), vec![key]) };
            FindCoordinatorRequest { key, key_type: 0, coordinator_keys: keys }
        },
        |version, response| {
            let rows = response.coordinators.iter();
            let found = rows.map(|row| (row.error_code, row.port)).next();
            let (error_code, port) = found.unwrap_or((response.error_code, response.port));
            assert!(port > 0, "version {version}");
            error_code
        },
    );
    table.row::<JoinGroupRequest, theirs::JoinGroupResponse>(
        |_, _| Member::new(&unique("group")).join,
        |version, response| {
            assert!(!response.member_id.is_empty());
            if version < 4 {
                return response.error_code;
            }
            // KIP-394: a dynamic member's first join is refused, with the id to join with.
            assert_eq!(response.error_code, ErrorCode::MemberIdRequired);
            ErrorCode::None
        },
    );
    table.row::<SyncGroupRequest, theirs::SyncGroupResponse>(
        |_, _| {
            let mut member = Member::new(&unique("group"));
            member.joined();
            member.sync_request(&[(&member.member_id, b"all")])
        },
        |version, response| {
            assert_eq!(response.assignment.as_ref(), b"all", "version {version}");
            response.error_code
        },
    );
    table.row::<HeartbeatRequest, theirs::HeartbeatResponse>(
        |_, _| {
            let Member { group_id, generation_id, member_id, .. } = member();
            HeartbeatRequest { group_id, generation_id, member_id, group_instance_id: None }
        },
        |_, response| response.error_code,
    );
}

fn ask_to_leave(table: &mut Table) {
    table.row::<LeaveGroupRequest, theirs::LeaveGroupResponse>(
        |_, version| {
            let Member { group_id, member_id, .. } = member();
            if version < 3 {
                return LeaveGroupRequest { group_id, member_id, members: Vec::new() };
            }
            let member = MemberIdentity { member_id, ..Default::default() };
            LeaveGroupRequest { group_id, members: vec![member], ..Default::default() }
        },
        |version, response| {
            assert_eq!(response.members.len(), usize::from(version >= 3));
            let member = response.members.first().map(|member| member.error_code);
            member.filter(|code| code.is_error()).unwrap_or(response.error_code)
        },
    );
}

/// A group without members that has committed 42 in partition 0.
fn committed(client: &mut Client, topic: &str) -> String {
    let group = unique("group");
    let code = commit_code(client, 8, &commit_request(&group, topic, 42));
    assert_eq!(code, ErrorCode::None);
    group
}

fn ask_for_offsets(table: &mut Table) {
    let topic = kit::topic(&mut table.client, 1);
    let id = kit::topic_id(&mut table.client, &topic);
    table.row::<OffsetCommitRequest, theirs::OffsetCommitResponse>(
        |_, _| {
            let mut request = commit_request(&unique("group"), &topic, 42);
            request.topics[0].topic_id = id;
            request
        },
        |_, response| response.topics[0].partitions[0].error_code,
    );
    let group = committed(&mut table.client, &topic);
    table.row::<OffsetFetchRequest, theirs::OffsetFetchResponse>(
        |_, version| offset_fetch(version, &group, &topic, id),
        |version, response| {
            if version < 8 {
                let row = &response.topics[0].partitions[0];
                assert_eq!(row.committed_offset, 42, "version {version}");
                return row.error_code;
            }
            let row = &response.groups[0].topics[0].partitions[0];
            assert_eq!(row.committed_offset, 42, "version {version}");
            row.error_code
        },
    );
    table.row::<OffsetDeleteRequest, theirs::OffsetDeleteResponse>(
        |client, _| {
            let group_id = committed(client, &topic);
            let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
            let topics = vec![OffsetDeleteRequestTopic { name: topic.clone(), partitions }];
            OffsetDeleteRequest { group_id, topics }
        },
        |_, response| {
            assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::None);
            response.error_code
        },
    );
}

fn offset_fetch(version: i16, group: &str, topic: &str, topic_id: Uuid) -> OffsetFetchRequest {
    if version < 8 {
        let topic = OffsetFetchRequestTopic { name: topic.to_owned(), partition_indexes: vec![0] };
        return OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
    }
    let topic =
        OffsetFetchRequestTopics { name: topic.to_owned(), topic_id, partition_indexes: vec![0] };
    let group = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

fn ask_as_administrator(table: &mut Table) {
    let stable = member();
    table.row::<DescribeGroupsRequest, theirs::DescribeGroupsResponse>(
        |_, _| DescribeGroupsRequest {
            groups: vec![stable.group_id.clone()],
            ..Default::default()
        },
        |version, response| {
            let row = &response.groups[0];
            assert_eq!((&*row.group_state, row.members.len()), ("Stable", 1), "version {version}");
            row.error_code
        },
    );
    table.row::<ListGroupsRequest, theirs::ListGroupsResponse>(
        |_, _| ListGroupsRequest::default(),
        |version, response| {
            let mut rows = response.groups.iter();
            let row = rows.find(|row| row.group_id == stable.group_id).unwrap();
            assert_eq!(row.group_state, if version < 4 { "" } else { "Stable" });
            response.error_code
        },
    );
    table.row::<DeleteGroupsRequest, theirs::DeleteGroupsResponse>(
        |client, _| {
            let topic = kit::topic(client, 1);
            DeleteGroupsRequest { groups_names: vec![committed(client, &topic)] }
        },
        |_, response| response.results[0].error_code,
    );
}
