//! OffsetCommit (API 8) and OffsetFetch (9): offsets of members, of simple consumers and of nobody,
//! in every version's form.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};

use super::client::Client;
use super::group::{Member, commit_code, commit_request};
use super::kit::{self, unique};

/// What a group has for a partition: offset, leader epoch, metadata, error.
type Committed = (i64, i32, String, ErrorCode);

fn nothing() -> Committed {
    (-1, -1, String::new(), ErrorCode::None)
}

/// Asks for some partitions of a topic, in the form of the version.
fn fetch(
    client: &mut Client,
    version: i16,
    group_id: &str,
    topic: &str,
    partitions: &[i32],
) -> Vec<Committed> {
    let mut request = OffsetFetchRequest::default();
    if version < 8 {
        request.group_id = group_id.to_owned();
        request.topics = Some(vec![OffsetFetchRequestTopic {
            name: topic.to_owned(),
            partition_indexes: partitions.to_vec(),
        }]);
        let response = client.call(version, &request);
        assert_eq!(response.error_code, ErrorCode::None);
        let rows = response.topics[0].partitions.iter();
        return rows
            .map(|row| {
                let metadata = row.metadata.clone().unwrap();
                (row.committed_offset, row.committed_leader_epoch, metadata, row.error_code)
            })
            .collect();
    }
    request.groups = vec![group_of(group_id, Some((topic, partitions)))];
    let response = client.call(version, &request);
    assert_eq!(response.groups[0].error_code, ErrorCode::None);
    let rows = response.groups[0].topics[0].partitions.iter();
    rows.map(|row| {
        let metadata = row.metadata.clone().unwrap();
        (row.committed_offset, row.committed_leader_epoch, metadata, row.error_code)
    })
    .collect()
}

fn group_of(group_id: &str, topic: Option<(&str, &[i32])>) -> OffsetFetchRequestGroup {
    let topics = topic.map(|(name, partitions)| {
        vec![OffsetFetchRequestTopics {
            name: name.to_owned(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        }]
    });
    OffsetFetchRequestGroup { group_id: group_id.to_owned(), topics, ..Default::default() }
}

fn with_metadata(mut request: OffsetCommitRequest, metadata: Option<&str>) -> OffsetCommitRequest {
    request.topics[0].partitions[0].committed_metadata = metadata.map(str::to_owned);
    request
}

#[test]
fn what_is_committed_in_any_version_is_found_in_any_version() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    for commit_version in 2..=9 {
        let group = unique("group");
        let mut request = with_metadata(commit_request(&group, &topic, 42), Some("note"));
        request.topics[0].partitions[0].committed_leader_epoch = 3;
        let code = commit_code(&mut client, commit_version, &request);
        assert_eq!(code, ErrorCode::None, "version {commit_version}");
        for version in 1..=9 {
            let stored = if commit_version < 6 { -1 } else { 3 };
            let epoch = if version < 5 { -1 } else { stored };
            let expected = [(42, epoch, "note".to_owned(), ErrorCode::None), nothing()];
            let got = fetch(&mut client, version, &group, &topic, &[0, 1]);
            assert_eq!(got, expected, "committed in {commit_version}, fetched in {version}");
        }
    }
}

#[test]
fn nothing_committed_is_minus_one_and_no_error() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    for version in 1..=9 {
        for (name, partitions) in [(topic.as_str(), &[0, 99][..]), ("no-such-topic", &[0])] {
            let got = fetch(&mut client, version, &group, name, partitions);
            assert_eq!(got, vec![nothing(); partitions.len()], "version {version}");
        }
    }
}

#[test]
fn null_topics_ask_for_all_that_a_group_has() {
    let mut client = Client::connect();
    let (one, two) = (kit::topic(&mut client, 1), kit::topic(&mut client, 1));
    let group = unique("group");
    for topic in [&one, &two] {
        commit_code(&mut client, 8, &commit_request(&group, topic, 5));
    }
    let mut expected = vec![one, two];
    expected.sort();
    for version in 2..=7 {
        let request =
            OffsetFetchRequest { group_id: group.clone(), topics: None, ..Default::default() };
        let response = client.call(version, &request);
        let mut names: Vec<_> = response.topics.iter().map(|topic| topic.name.clone()).collect();
        names.sort();
        assert_eq!(names, expected, "version {version}");
        let request = OffsetFetchRequest { group_id: unique("group"), ..request };
        let response = client.call(version, &request);
        assert_eq!((response.error_code, response.topics.len()), (ErrorCode::None, 0));
    }
    for version in 8..=9 {
        let groups = vec![group_of(&group, None), group_of(&unique("group"), None)];
        let response = client.call(version, &OffsetFetchRequest { groups, ..Default::default() });
        let counts: Vec<_> = response.groups.iter().map(|group| group.topics.len()).collect();
        assert_eq!(counts, [2, 0], "version {version}");
        assert_eq!(response.groups[0].group_id, group);
        assert!(response.groups.iter().all(|group| group.error_code == ErrorCode::None));
    }
}

#[test]
fn several_groups_are_asked_at_once() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let (one, two) = (unique("group"), unique("group"));
    commit_code(&mut client, 8, &commit_request(&one, &topic, 1));
    commit_code(&mut client, 8, &commit_request(&two, &topic, 2));
    let groups = vec![
        group_of(&two, Some((&topic, &[0]))),
        group_of(&one, Some((&topic, &[0]))),
        group_of("", Some((&topic, &[0]))),
    ];
    let response = client.call(8, &OffsetFetchRequest { groups, ..Default::default() });
    let found: Vec<_> = response
        .groups
        .iter()
        .map(|group| (group.group_id.as_str(), group.topics[0].partitions[0].committed_offset))
        .collect();
    assert_eq!(found, [(two.as_str(), 2), (one.as_str(), 1), ("", -1)]);
}

#[test]
fn a_later_commit_counts_whether_higher_or_lower_or_negative() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    for offset in [10, 3, 500, 0, -1, -2] {
        let code = commit_code(&mut client, 5, &commit_request(&group, &topic, offset));
        assert_eq!(code, ErrorCode::None);
        assert_eq!(fetch(&mut client, 4, &group, &topic, &[0])[0].0, offset);
    }
}

#[test]
fn metadata_may_be_null_and_is_bounded() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    let request = commit_request(&group, &topic, 1);
    let (fits, over) = ("x".repeat(4_096), "x".repeat(4_097));
    for (metadata, expected) in [
        (None, ErrorCode::None),
        (Some(""), ErrorCode::None),
        (Some(&*fits), ErrorCode::None),
        (Some(&over), ErrorCode::OffsetMetadataTooLarge),
    ] {
        let request = with_metadata(request.clone(), metadata);
        assert_eq!(commit_code(&mut client, 8, &request), expected);
        if !expected.is_error() {
            let stored = fetch(&mut client, 8, &group, &topic, &[0])[0].2.clone();
            assert_eq!(stored, metadata.unwrap_or_default());
        }
    }
    assert_eq!(fetch(&mut client, 8, &group, &topic, &[0])[0].2, fits);
}

#[test]
fn partitions_that_do_not_exist_fail_alone() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    let mut request = commit_request(&group, &topic, 1);
    request.topics[0].partitions.push(OffsetCommitRequestPartition {
        partition_index: 7,
        committed_offset: 1,
        ..Default::default()
    });
    request.topics.extend(commit_request(&group, &unique("absent"), 1).topics);
    let response = client.call(8, &request);
    let code = |name: &str, index: i32| {
        let mut rows = response.topics.iter().filter(|row| row.name == name);
        let rows = rows.find_map(|row| row.partitions.iter().find(|p| p.partition_index == index));
        rows.unwrap().error_code
    };
    assert_eq!(code(&topic, 0), ErrorCode::None);
    assert_eq!(code(&topic, 7), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&request.topics[1].name, 0), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(fetch(&mut client, 8, &group, &topic, &[0, 7])[0].0, 1);
}

#[test]
fn a_group_without_members_takes_offsets_of_nobody() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    assert_eq!(commit_code(&mut client, 8, &commit_request(&group, &topic, 1)), ErrorCode::None);
    assert_eq!(commit_code(&mut client, 2, &commit_request("", &topic, 1)), ErrorCode::None);
    // Once members were there and are gone, too.
    let mut member = Member::new(&group);
    member.join_alone();
    let as_nobody = commit_request(&group, &topic, 2);
    assert_eq!(commit_code(&mut client, 8, &as_nobody), ErrorCode::UnknownMemberId);
    member.leave();
    assert_eq!(commit_code(&mut client, 8, &as_nobody), ErrorCode::None);
    let mut named = as_nobody;
    named.member_id = "whoever".to_owned();
    assert_eq!(commit_code(&mut client, 8, &named), ErrorCode::None, "nothing is checked");
}

#[test]
fn a_generation_needs_its_group() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    let of_member = |generation| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: "nobody".to_owned(),
        ..commit_request(&group, &topic, 1)
    };
    for version in 2..=9 {
        let expected =
            if version < 9 { ErrorCode::IllegalGeneration } else { ErrorCode::GroupIdNotFound };
        assert_eq!(commit_code(&mut client, version, &of_member(3)), expected, "{version}");
    }
    assert_eq!(commit_code(&mut client, 8, &commit_request(&group, &topic, 1)), ErrorCode::None);
    let code = commit_code(&mut client, 8, &of_member(3));
    assert_eq!(code, ErrorCode::UnknownMemberId, "the group is there, the member is not");
}

#[test]
fn a_member_without_generation_is_checked_all_the_same() {
    let mut member = Member::new(&unique("group"));
    let topic = kit::topic(&mut member.client, 1);
    member.join_alone();
    member.generation_id = -1;
    assert_eq!(member.commit(&topic, 1), ErrorCode::IllegalGeneration);
    member.member_id = "stranger".to_owned();
    assert_eq!(member.commit(&topic, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn offsets_of_a_topic_go_with_it() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    commit_code(&mut client, 8, &commit_request(&group, &topic, 5));
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.clone()],
        timeout_ms: 30_000,
        ..Default::default()
    };
    assert_eq!(client.call(5, &request).responses[0].error_code, ErrorCode::None);
    kit::until("the offset is gone", || {
        fetch(&mut client, 8, &group, &topic, &[0])[0] == nothing()
    });
}

#[test]
fn a_stable_offset_may_be_required() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let group = unique("group");
    commit_code(&mut client, 8, &commit_request(&group, &topic, 5));
    let request = OffsetFetchRequest {
        groups: vec![group_of(&group, Some((&topic, &[0])))],
        require_stable: true,
        ..Default::default()
    };
    let response = client.call(9, &request);
    assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 5);
}

#[test]
fn a_classic_member_may_name_itself_when_it_fetches() {
    let mut member = Member::new(&unique("group"));
    let topic = kit::topic(&mut member.client, 1);
    member.join_alone();
    member.commit(&topic, 7);
    let group = OffsetFetchRequestGroup {
        member_id: Some(member.member_id.clone()),
        member_epoch: member.generation_id,
        ..group_of(&member.group_id, Some((&topic, &[0])))
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let response = member.client.call(9, &request); // As franz-go does.
    assert_eq!(response.groups[0].error_code, ErrorCode::None);
    assert_eq!(response.groups[0].topics[0].partitions[0].committed_offset, 7);
}
