//! SyncGroup (API 14), Heartbeat (12), LeaveGroup (13) and commits in each state of a classic
//! group, and static members (KIP-345) that come back under their name.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::heartbeat::HeartbeatRequest;
use ottla::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};

use super::client::Client;
use super::group::{self, Member, subscription};
use super::kit::{self, unique};

#[test]
fn an_unknown_group_knows_no_member() {
    let mut member = Member { member_id: "nobody".to_owned(), ..Member::new(&unique("group")) };
    member.generation_id = 1;
    assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
    assert_eq!(member.sync(&[]).error_code, ErrorCode::UnknownMemberId);
    let response = member.leave();
    assert_eq!(response.error_code, ErrorCode::None);
    assert_eq!(response.members[0].error_code, ErrorCode::UnknownMemberId);
    let topic = kit::topic(&mut member.client, 1);
    assert_eq!(member.commit(&topic, 1), ErrorCode::IllegalGeneration);
}

#[test]
fn a_stable_group_serves_its_members_in_their_generation() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    let topic = kit::topic(&mut leader.client, 1);
    for member in [&mut leader, &mut follower] {
        assert_eq!(member.heartbeat(), ErrorCode::None);
        assert_eq!(member.commit(&topic, 1), ErrorCode::None);
        for generation_id in [1, 3, 0] {
            let current = std::mem::replace(&mut member.generation_id, generation_id);
            assert_eq!(member.heartbeat(), ErrorCode::IllegalGeneration);
            assert_eq!(member.sync(&[]).error_code, ErrorCode::IllegalGeneration);
            assert_eq!(member.commit(&topic, 1), ErrorCode::IllegalGeneration);
            member.generation_id = current;
        }
    }
    // A second SyncGroup gets the assignment that is stored.
    assert_eq!(&follower.sync(&[]).assignment[..], b"two");
    assert_eq!(&leader.sync(&[]).assignment[..], b"one");
}

#[test]
fn old_versions_of_a_cycle_have_their_own_forms() {
    let group = unique("group");
    let mut member = Member { join_version: 0, ..Member::new(&group) };
    member.joined();
    let id = member.member_id.clone();
    let request = member.sync_request(&[(&id, b"all")]);
    assert_eq!(&member.client.call(0, &request).assignment[..], b"all");
    let heartbeat = HeartbeatRequest {
        group_id: group.clone(),
        generation_id: 1,
        member_id: id.clone(),
        group_instance_id: None,
    };
    assert_eq!(member.client.call(0, &heartbeat).error_code, ErrorCode::None);
    for version in 0..=2 {
        let request = LeaveGroupRequest {
            group_id: group.clone(),
            member_id: if version == 1 { id.clone() } else { "nobody".to_owned() },
            ..Default::default()
        };
        let expected = if version == 1 { ErrorCode::None } else { ErrorCode::UnknownMemberId };
        assert_eq!(member.client.call(version, &request).error_code, expected, "{version}");
    }
    assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn while_members_are_awaited_heartbeats_say_so_and_commits_still_count() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    let topic = kit::topic(&mut leader.client, 1);
    let mut third = Member::new(&leader.group_id);
    let sent = third.begin_join();
    for member in [&mut leader, &mut follower] {
        member.await_rebalance();
        assert_eq!(member.heartbeat(), ErrorCode::RebalanceInProgress, "until it rejoins");
        assert_eq!(member.sync(&[]).error_code, ErrorCode::RebalanceInProgress);
        assert_eq!(member.commit(&topic, 2), ErrorCode::None);
    }
    let waiting = leader.send_join();
    follower.joined();
    leader.finish_join(waiting);
    assert_eq!(third.finish_join(sent).generation_id, 3);
}

#[test]
fn before_the_assignment_heartbeats_are_well_and_commits_wait() {
    let mut member = Member::new(&unique("group"));
    let topic = kit::topic(&mut member.client, 1);
    member.joined();
    assert_eq!(member.heartbeat(), ErrorCode::None);
    assert_eq!(member.commit(&topic, 1), ErrorCode::RebalanceInProgress);
    let id = member.member_id.clone();
    member.sync(&[(&id, b"all")]);
    assert_eq!(member.commit(&topic, 1), ErrorCode::None);
}

#[test]
fn a_member_the_leader_forgot_gets_an_empty_assignment() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    let sent = leader.send_join();
    follower.await_rebalance();
    follower.joined();
    leader.finish_join(sent);
    let id = leader.member_id.clone();
    // What a follower sends is no assignment.
    let sent = follower.send_sync(&[(&id, b"usurped")]);
    assert_eq!(&leader.sync(&[(&id, b"mine"), ("nobody", b"?")]).assignment[..], b"mine");
    let response = follower.client.receive(sent);
    assert_eq!((response.error_code, response.assignment.len()), (ErrorCode::None, 0));
}

#[test]
fn a_sync_must_name_the_groups_protocol() {
    let mut member = Member::new(&unique("group"));
    member.join_alone();
    let good = member.sync_request(&[]);
    for (what, kind, name, expected) in [
        ("both right", Some("consumer"), Some("range"), ErrorCode::None),
        ("other type", Some("connect"), Some("range"), ErrorCode::InconsistentGroupProtocol),
        ("other name", Some("consumer"), Some("sticky"), ErrorCode::InconsistentGroupProtocol),
        ("no type", None, Some("range"), ErrorCode::InconsistentGroupProtocol),
        ("no name", Some("consumer"), None, ErrorCode::InconsistentGroupProtocol),
    ] {
        let mut request = good.clone();
        request.protocol_type = kind.map(str::to_owned);
        request.protocol_name = name.map(str::to_owned);
        let response = member.client.call(5, &request);
        assert_eq!(response.error_code, expected, "{what}");
        if !expected.is_error() {
            assert_eq!(response.protocol_type.as_deref(), Some("consumer"));
            assert_eq!(response.protocol_name.as_deref(), Some("range"));
        }
    }
    // Before version 5 nobody asks.
    for version in 0..=4 {
        assert_eq!(member.client.call(version, &good).error_code, ErrorCode::None);
    }
}

#[test]
fn one_leaves_and_the_other_goes_on_in_a_new_generation() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    let response = follower.leave();
    assert_eq!((response.error_code, response.members[0].error_code), {
        (ErrorCode::None, ErrorCode::None)
    });
    assert_eq!(response.members[0].member_id, follower.member_id);
    assert_eq!(follower.heartbeat(), ErrorCode::UnknownMemberId);
    assert_eq!(follower.leave().members[0].error_code, ErrorCode::UnknownMemberId);
    assert_eq!(leader.heartbeat(), ErrorCode::RebalanceInProgress);
    let response = leader.joined();
    assert_eq!((response.generation_id, response.members.len()), (3, 1));
    let id = leader.member_id.clone();
    leader.sync(&[(&id, b"all")]);
    assert_eq!(leader.heartbeat(), ErrorCode::None);
}

#[test]
fn a_leader_that_leaves_is_followed_by_another() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    leader.leave();
    follower.await_rebalance();
    let response = follower.joined();
    assert_eq!((&response.leader, response.members.len()), (&follower.member_id, 1));
}

#[test]
fn an_emptied_group_goes_on_counting() {
    let mut member = Member::new(&unique("group"));
    member.join_alone();
    member.leave();
    let topic = kit::topic(&mut member.client, 1);
    assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
    assert_eq!(member.sync(&[]).error_code, ErrorCode::UnknownMemberId);
    assert_eq!(member.join_once().error_code, ErrorCode::UnknownMemberId, "the id is gone");
    assert_eq!(member.commit(&topic, 1), ErrorCode::UnknownMemberId);
    member.member_id.clear();
    assert_eq!(member.joined().generation_id, 3, "2 was the empty one");
}

#[test]
fn several_members_leave_in_one_request_each_with_its_answer() {
    let group = unique("group");
    let mut fixed = Member::fixed(&group, "pod-1");
    fixed.join_alone();
    let leaving = |member_id: &str, instance_id: Option<&str>| MemberIdentity {
        member_id: member_id.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        reason: None,
    };
    let members = vec![
        leaving("nobody", None),
        leaving("", Some("pod-9")),
        leaving("nobody", Some("pod-1")),
        leaving("", Some("pod-1")),
    ];
    for version in 3..=4 {
        let request = LeaveGroupRequest {
            group_id: group.clone(),
            members: if version == 3 { members[..3].to_vec() } else { members.clone() },
            ..Default::default()
        };
        let response = Client::connect().call(version, &request);
        assert_eq!(response.error_code, ErrorCode::None);
        let codes: Vec<_> = response.members.iter().map(|member| member.error_code).collect();
        let expected = [
            ErrorCode::UnknownMemberId,
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedInstanceId,
            ErrorCode::None, // An administrator removes by instance id alone.
        ];
        assert_eq!(codes, expected[..codes.len()]);
    }
    assert_eq!(fixed.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_pending_id_can_leave() {
    let mut member = Member::new(&unique("group"));
    member.member_id = member.join_once().member_id;
    assert_eq!(member.leave().members[0].error_code, ErrorCode::None);
    assert_eq!(member.join_once().error_code, ErrorCode::UnknownMemberId);
}

/// A Stable group of a leader `pod-1` and a follower `pod-2`.
fn fixed_pair(join_version: i16) -> (Member, Member) {
    let group = unique("group");
    let mut leader = Member { join_version, ..Member::fixed(&group, "pod-1") };
    let mut follower = Member { join_version, ..Member::fixed(&group, "pod-2") };
    group::form(&mut leader, &mut follower);
    (leader, follower)
}

/// The same pod, started anew.
fn restarted(member: &Member) -> Member {
    Member {
        join_version: member.join_version,
        ..Member::fixed(&member.group_id, member.instance_id.as_ref().unwrap())
    }
}

#[test]
fn a_static_follower_that_restarts_disturbs_nobody() {
    let (mut leader, mut old) = fixed_pair(9);
    let mut new = restarted(&old);
    let response = new.joined();
    assert_eq!((response.generation_id, response.members.len()), (2, 0));
    assert_eq!(response.leader, leader.member_id);
    assert_ne!(new.member_id, old.member_id);
    assert_eq!(&new.sync(&[]).assignment[..], b"two", "what the old one had");
    assert_eq!(leader.heartbeat(), ErrorCode::None);
    let topic = kit::topic(&mut leader.client, 1);
    assert_eq!(old.heartbeat(), ErrorCode::FencedInstanceId);
    assert_eq!(old.sync(&[]).error_code, ErrorCode::FencedInstanceId);
    assert_eq!(old.commit(&topic, 1), ErrorCode::FencedInstanceId);
    assert_eq!(old.join_once().error_code, ErrorCode::FencedInstanceId);
    assert_eq!(old.leave().members[0].error_code, ErrorCode::FencedInstanceId);
    assert_eq!(new.heartbeat(), ErrorCode::None);
}

#[test]
fn a_static_leader_that_restarts_does_not_assign_anew() {
    let (old, mut follower) = fixed_pair(9);
    let mut new = restarted(&old);
    let response = new.joined();
    assert_eq!(response.generation_id, 2);
    assert_eq!(response.leader, new.member_id);
    assert!(response.skip_assignment);
    assert_eq!(response.members.len(), 2);
    assert_eq!(&new.sync(&[]).assignment[..], b"one");
    assert_eq!(follower.heartbeat(), ErrorCode::None);

    let (old, mut follower) = fixed_pair(8);
    let mut new = restarted(&old);
    let response = new.joined();
    assert_eq!((response.generation_id, &response.leader), (2, &old.member_id));
    assert_eq!(response.members, [], "so that an old client does not assign");
    assert_eq!(follower.heartbeat(), ErrorCode::None);
}

#[test]
fn a_static_member_with_another_subscription_starts_a_rebalance() {
    let (mut leader, old) = fixed_pair(9);
    let mut new = restarted(&old);
    new.join.protocols[0].name = "range".to_owned();
    new.join.protocols[0].metadata = subscription(&["t", "another"]);
    let response = new.joined();
    // KIP-345 compares the choice of protocol, not the subscription.
    assert_eq!(response.generation_id, 2);
    assert_eq!(leader.heartbeat(), ErrorCode::None);
}

#[test]
fn instance_ids_of_others_are_not_for_use() {
    let (leader, mut follower) = fixed_pair(9);
    follower.instance_id.clone_from(&leader.instance_id);
    assert_eq!(follower.heartbeat(), ErrorCode::FencedInstanceId);
    assert_eq!(follower.sync(&[]).error_code, ErrorCode::FencedInstanceId);
    assert_eq!(follower.join_once().error_code, ErrorCode::FencedInstanceId);
    follower.instance_id = Some("pod-9".to_owned());
    assert_eq!(follower.heartbeat(), ErrorCode::UnknownMemberId);
}
