//! Looking at groups and taking them away: FindCoordinator (API 10), ListGroups (16),
//! DescribeGroups (15), DeleteGroups (42) and OffsetDelete (47).

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla::protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};
use ottla::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};

use super::broker;
use super::client::Client;
use super::group::{self, Member, commit_code, commit_request, subscription};
use super::kit::{self, unique};

#[test]
fn a_coordinator_is_found_in_every_form() {
    let mut client = Client::connect();
    let metadata = client.call(8, &kit::metadata_request(&[]));
    let broker = &metadata.brokers[0];
    for version in 0..=3 {
        for key_type in [0, 1] {
            let key_type = if version == 0 { 0 } else { key_type };
            let request =
                FindCoordinatorRequest { key: unique("key"), key_type, ..Default::default() };
            let found = client.call(version, &request);
            assert_eq!(found.error_code, ErrorCode::None, "version {version} type {key_type}");
            assert_eq!((found.node_id, found.port), (broker.node_id, broker.port));
            assert_eq!(found.host, broker.host);
        }
    }
    for version in 4..=6 {
        let keys = vec![unique("key"), unique("key")];
        let request =
            FindCoordinatorRequest { coordinator_keys: keys.clone(), ..Default::default() };
        let response = client.call(version, &request);
        assert_eq!(response.coordinators.len(), 2);
        for (found, key) in response.coordinators.iter().zip(&keys) {
            assert_eq!((found.error_code, &found.key), (ErrorCode::None, key));
            assert_eq!((found.node_id, &found.host), (broker.node_id, &broker.host));
        }
    }
}

#[test]
fn coordinators_of_no_known_kind_are_refused() {
    let mut client = Client::connect();
    for key_type in [3, -1, 100] {
        let request =
            FindCoordinatorRequest { key: "k".to_owned(), key_type, ..Default::default() };
        let found = client.call(3, &request);
        assert_eq!(found.error_code, ErrorCode::InvalidRequest);
        let request = FindCoordinatorRequest {
            coordinator_keys: vec!["k".to_owned()],
            key_type,
            ..Default::default()
        };
        let found = client.call(4, &request);
        assert_eq!(found.coordinators[0].error_code, ErrorCode::InvalidRequest);
    }
}

#[test]
fn an_empty_group_has_a_coordinator_in_the_old_form() {
    let mut client = Client::connect();
    let found = client.call(2, &FindCoordinatorRequest::default());
    assert_eq!(found.error_code, ErrorCode::None);
}

fn list(client: &mut Client, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
    let response = client.call(5, &request);
    assert_eq!(response.error_code, ErrorCode::None);
    response.groups
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let (stable, simple) = (unique("stable"), unique("simple"));
    Member::new(&stable).join_alone();
    commit_code(&mut client, 8, &commit_request(&simple, &topic, 1));
    let find = |groups: &[ListedGroup], id: &str| {
        let group = groups.iter().find(|group| group.group_id == id);
        group.map(|group| (group.protocol_type.clone(), group.group_state.clone()))
    };
    let is_stable = Some(("consumer".to_owned(), "Stable".to_owned()));
    let is_simple = Some((String::new(), "Empty".to_owned()));
    let all = list(&mut client, &[], &[]);
    assert_eq!((find(&all, &stable), find(&all, &simple)), (is_stable.clone(), is_simple.clone()));
    assert!(all.iter().all(|group| !group.group_type.is_empty()));
    for (states, types, expect) in [
        (&["Stable"][..], &[][..], (true, false)),
        (&["stable"], &[], (true, false)),
        (&["Empty", "Stable"], &[], (true, true)),
        (&["Dead"], &[], (false, false)),
        (&["Nonsense"], &[], (false, false)),
        (&[], &["classic"], (true, true)),
        (&[], &["Classic"], (true, true)),
        (&[], &["consumer"], (false, false)),
        (&["Empty"], &["classic"], (false, true)),
    ] {
        let groups = list(&mut client, states, types);
        let got = (find(&groups, &stable).is_some(), find(&groups, &simple).is_some());
        assert_eq!(got, expect, "{states:?} {types:?}");
    }
    for version in 0..=4 {
        let groups = client.call(version, &ListGroupsRequest::default()).groups;
        let state = if version < 4 { "" } else { "Stable" };
        let expected = Some(("consumer".to_owned(), state.to_owned()));
        assert_eq!(find(&groups, &stable), expected, "version {version}");
    }
}

fn describe(client: &mut Client, version: i16, group_id: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![group_id.to_owned()], ..Default::default() };
    client.call(version, &request).groups[0].clone()
}

#[test]
fn a_stable_group_is_described_whole() {
    let group = unique("group");
    let (leader, follower) = group::pair(&group);
    let mut client = Client::connect();
    for version in 0..=6 {
        let described = describe(&mut client, version, &group);
        assert_eq!(described.error_code, ErrorCode::None, "version {version}");
        assert_eq!(described.group_id, group);
        assert_eq!(described.group_state, "Stable");
        assert_eq!((&*described.protocol_type, &*described.protocol_data), ("consumer", "range"));
        assert_eq!(described.authorized_operations, i32::MIN, "nobody asked");
        assert_eq!(described.members.len(), 2);
        for (member, assignment) in [(&leader, &b"one"[..]), (&follower, b"two")] {
            let found = described.members.iter().find(|row| row.member_id == member.member_id);
            let found = found.unwrap();
            assert_eq!(found.client_id, "conformance");
            assert_eq!(found.client_host.trim_start_matches('/'), "127.0.0.1");
            assert_eq!(found.group_instance_id, None);
            assert_eq!(found.member_metadata, subscription(&["t"]));
            assert_eq!(&found.member_assignment[..], assignment);
        }
    }
}

#[test]
fn a_group_is_described_in_each_state() {
    let group = unique("group");
    let mut client = Client::connect();
    let mut member = Member::new(&group);
    member.joined();
    let described = describe(&mut client, 5, &group);
    assert_eq!(described.group_state, "CompletingRebalance");
    assert_eq!((&*described.protocol_data, described.members[0].member_assignment.len()), ("", 0));
    let id = member.member_id.clone();
    member.sync(&[(&id, b"all")]);
    let mut other = Member::new(&group);
    let sent = other.begin_join();
    member.await_rebalance();
    assert_eq!(describe(&mut client, 5, &group).group_state, "PreparingRebalance");
    member.joined();
    other.finish_join(sent);
    member.leave();
    other.leave();
    let described = describe(&mut client, 5, &group);
    assert_eq!((&*described.group_state, described.members.len()), ("Empty", 0));
    assert_eq!(described.protocol_type, "consumer", "the type is kept");
}

#[test]
fn an_unknown_group_is_dead_and_from_version_6_on_an_error() {
    let mut client = Client::connect();
    let group = unique("group");
    for version in 0..=6 {
        let described = describe(&mut client, version, &group);
        let expected = if version < 6 { ErrorCode::None } else { ErrorCode::GroupIdNotFound };
        assert_eq!((described.error_code, &*described.group_state), (expected, "Dead"));
        assert_eq!(described.error_message.is_some(), version >= 6);
        assert_eq!(described.group_id, group);
    }
}

fn delete(client: &mut Client, groups: &[&str]) -> Vec<(String, ErrorCode)> {
    let request = DeleteGroupsRequest {
        groups_names: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let response = client.call(2, &request);
    response.results.into_iter().map(|row| (row.group_id, row.error_code)).collect()
}

#[test]
fn only_groups_without_members_can_be_deleted() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let (full, simple, absent) = (unique("full"), unique("simple"), unique("absent"));
    let mut member = Member::new(&full);
    member.join_alone();
    commit_code(&mut client, 8, &commit_request(&simple, &topic, 1));
    let mut rows = delete(&mut client, &[&full, &simple, &absent]);
    rows.sort_by_key(|(group, _)| group.clone());
    let expected = [
        (absent, ErrorCode::GroupIdNotFound),
        (full.clone(), ErrorCode::NonEmptyGroup),
        (simple.clone(), ErrorCode::None),
    ];
    assert_eq!(rows, expected);
    assert_eq!(committed(&mut client, &simple, &topic), -1);
    assert_eq!(describe(&mut client, 5, &simple).group_state, "Dead");
    member.leave();
    assert_eq!(delete(&mut client, &[&full])[0].1, ErrorCode::None);
}

fn committed(client: &mut Client, group_id: &str, topic: &str) -> i64 {
    let topic = OffsetFetchRequestTopic { name: topic.to_owned(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: group_id.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    client.call(5, &request).topics[0].partitions[0].committed_offset
}

fn delete_offset(client: &mut Client, group_id: &str, topic: &str) -> (ErrorCode, ErrorCode) {
    let partition = OffsetDeleteRequestPartition { partition_index: 0 };
    let topic = OffsetDeleteRequestTopic { name: topic.to_owned(), partitions: vec![partition] };
    let request = OffsetDeleteRequest { group_id: group_id.to_owned(), topics: vec![topic] };
    let response = client.call(0, &request);
    let row = response.topics.first().map(|topic| topic.partitions[0].error_code);
    (response.error_code, row.unwrap_or(ErrorCode::None))
}

#[test]
fn offsets_can_be_deleted_where_nobody_reads() {
    let mut member = Member::new(&unique("group"));
    let (read, other) = (kit::topic(&mut member.client, 1), kit::topic(&mut member.client, 1));
    member.join.protocols[0].metadata = subscription(&[&read]);
    member.join_alone();
    member.commit(&read, 1);
    member.commit(&other, 1);
    let group = member.group_id.clone();
    let client = &mut member.client;
    let (none, absent) = (ErrorCode::None, unique("absent"));
    assert_eq!(delete_offset(client, &absent, &read).0, ErrorCode::GroupIdNotFound);
    let rows = delete_offset(client, &group, &read);
    assert_eq!(rows, (none, ErrorCode::GroupSubscribedToTopic));
    assert_eq!(delete_offset(client, &group, &other), (none, none));
    let rows = delete_offset(client, &group, &absent);
    assert_eq!(rows, (none, ErrorCode::UnknownTopicOrPartition));
    assert_eq!((committed(client, &group, &read), committed(client, &group, &other)), (1, -1));
    member.leave();
    assert_eq!(delete_offset(&mut member.client, &group, &read), (none, none));
}

#[test]
fn offsets_of_members_that_are_no_consumers_stay() {
    let mut member = Member::new(&unique("group"));
    let topic = kit::topic(&mut member.client, 1);
    member.join.protocol_type = "connect".to_owned();
    member.join_alone();
    member.commit(&topic, 1);
    let group = member.group_id.clone();
    assert_eq!(delete_offset(&mut member.client, &group, &topic).0, ErrorCode::NonEmptyGroup);
    assert_eq!(committed(&mut member.client, &group, &topic), 1);
}

#[test]
fn subscriptions_that_cannot_be_read_never_fail_a_join() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: some of these break its coordinator for good.
    }
    for metadata in [&b""[..], b"\x00", b"\x00\x00\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"junk"] {
        let mut member = Member::new(&unique("group"));
        let topic = kit::topic(&mut member.client, 1);
        member.join.protocols[0].metadata = bytes::Bytes::from_static(metadata);
        member.join_alone();
        assert_eq!(member.commit(&topic, 1), ErrorCode::None);
        let group = member.group_id.clone();
        let described = describe(&mut member.client, 5, &group);
        assert_eq!(&described.members[0].member_metadata[..], metadata);
    }
}
