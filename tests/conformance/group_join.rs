//! JoinGroup (API 11): who is let in, with which id, and what a joined member is told.

use std::time::Duration;

use ottla::clock::Clock;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::heartbeat::HeartbeatRequest;
use ottla::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use ottla::protocol::messages::leave_group::LeaveGroupRequest;
use ottla::protocol::messages::sync_group::SyncGroupRequest;

use super::broker;
use super::client::Client;
use super::group::{self, Member, protocols, subscription};
use super::kit::{self, unique};

#[track_caller]
fn check_refused(response: &JoinGroupResponse, version: i16, expected: ErrorCode) {
    assert_eq!(response.error_code, expected, "version {version}");
    assert_eq!(response.generation_id, -1);
    let no_name = if version < 7 { Some(String::new()) } else { None };
    assert_eq!(response.protocol_name, no_name, "version {version}: \"\" before 7, then null");
    assert_eq!((response.leader.as_str(), response.members.len()), ("", 0));
    assert_eq!(response.throttle_time_ms, 0);
}

#[test]
fn a_new_member_is_sent_back_once_for_its_id() {
    for version in 4..=9 {
        let group = unique("group");
        let mut member = Member { join_version: version, ..Member::new(&group) };
        let response = member.join_once();
        check_refused(&response, version, ErrorCode::MemberIdRequired);
        let id = response.member_id;
        assert!(id.starts_with("conformance-") && id.len() == 12 + 36, "{id}");
        member.member_id.clone_from(&id);
        let response = member.join_once();
        assert_eq!(response.error_code, ErrorCode::None);
        assert_eq!((response.generation_id, &response.leader), (1, &id));
        assert_eq!(response.member_id, id);
        assert_eq!(response.protocol_name.as_deref(), Some("range"));
        let kind = if version < 7 { None } else { Some("consumer") };
        assert_eq!(response.protocol_type.as_deref(), kind);
        assert_eq!(response.members.len(), 1);
        assert_eq!(response.members[0].metadata, subscription(&["t"]));
        assert!(!response.skip_assignment);
    }
}

#[test]
fn old_versions_join_at_once() {
    for version in 0..=3 {
        let mut member = Member { join_version: version, ..Member::new(&unique("group")) };
        let response = member.join_once();
        assert_eq!(response.error_code, ErrorCode::None, "version {version}");
        assert_eq!(response.leader, response.member_id);
        assert!(!response.member_id.is_empty());
        let id = response.member_id;
        let response = member.sync(&[(&id, b"all")]);
        assert_eq!((response.error_code, &response.assignment[..]), {
            (ErrorCode::None, &b"all"[..])
        });
    }
}

#[test]
fn a_static_member_joins_at_once() {
    for version in 5..=9 {
        let mut member = Member::fixed(&unique("group"), "pod-1");
        member.join_version = version;
        let response = member.join_once();
        assert_eq!(response.error_code, ErrorCode::None, "version {version}");
        assert!(response.member_id.starts_with("pod-1-"), "{}", response.member_id);
        assert_eq!(response.members[0].group_instance_id.as_deref(), Some("pod-1"));
    }
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let group = unique("group");
    let with = |change: fn(&mut Member)| {
        let mut member = Member::new(&group);
        change(&mut member);
        member
    };
    let cases: [(&str, Member, ErrorCode); 9] = [
        ("no group id", with(|member| member.join.group_id.clear()), ErrorCode::InvalidGroupId),
        ("session too short", with(|member| member.join.session_timeout_ms = 5_999), {
            ErrorCode::InvalidSessionTimeout
        }),
        ("session too long", with(|member| member.join.session_timeout_ms = 1_800_001), {
            ErrorCode::InvalidSessionTimeout
        }),
        ("negative session", with(|member| member.join.session_timeout_ms = -1), {
            ErrorCode::InvalidSessionTimeout
        }),
        ("an id of nobody", with(|member| member.member_id = "nobody".to_owned()), {
            ErrorCode::UnknownMemberId
        }),
        ("no protocols", with(|member| member.join.protocols.clear()), {
            ErrorCode::InconsistentGroupProtocol
        }),
        ("no protocol type", with(|member| member.join.protocol_type.clear()), {
            ErrorCode::InconsistentGroupProtocol
        }),
        (
            "an id of nobody, static",
            with(|member| {
                member.member_id = "nobody".to_owned();
                member.instance_id = Some("pod".to_owned());
            }),
            ErrorCode::UnknownMemberId,
        ),
        (
            "no protocols and a short session",
            with(|member| {
                member.join.protocols.clear();
                member.join.session_timeout_ms = 1;
            }),
            ErrorCode::InvalidSessionTimeout,
        ),
    ];
    for (what, mut member, expected) in cases {
        eprintln!("case: {what}");
        for version in [5, 6, 7, 9] {
            member.join_version = version;
            let response = member.join_once();
            check_refused(&response, version, expected);
            assert_eq!(response.member_id, member.member_id, "{what}: the id comes back");
        }
    }
}

#[test]
fn an_empty_group_id_is_refused_by_all_who_need_members() {
    let mut client = Client::connect();
    let join = JoinGroupRequest { session_timeout_ms: 30_000, ..Default::default() };
    assert_eq!(client.call(5, &join).error_code, ErrorCode::InvalidGroupId);
    let sync = SyncGroupRequest::default();
    assert_eq!(client.call(3, &sync).error_code, ErrorCode::InvalidGroupId);
    let heartbeat = HeartbeatRequest::default();
    assert_eq!(client.call(3, &heartbeat).error_code, ErrorCode::InvalidGroupId);
    let leave = LeaveGroupRequest::default();
    assert_eq!(client.call(3, &leave).error_code, ErrorCode::InvalidGroupId);
}

#[test]
fn a_wrong_id_is_refused_where_members_are() {
    let group = unique("group");
    let mut member = Member::new(&group);
    member.join_alone();
    let mut stranger = Member { member_id: "stranger".to_owned(), ..Member::new(&group) };
    check_refused(&stranger.join_once(), 9, ErrorCode::UnknownMemberId);
    assert_eq!(member.heartbeat(), ErrorCode::None, "and nobody is disturbed");
}

#[test]
fn a_member_must_share_type_and_a_protocol_with_the_group() {
    let group = unique("group");
    let mut member = Member::new(&group);
    member.join.protocols = protocols(&["range", "roundrobin"]);
    member.join_alone();
    let mut other = Member::new(&group);
    other.join.protocol_type = "connect".to_owned();
    check_refused(&other.join_once(), 9, ErrorCode::InconsistentGroupProtocol);
    let mut other = Member::new(&group);
    other.join.protocols = protocols(&["sticky"]);
    check_refused(&other.join_once(), 9, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(member.heartbeat(), ErrorCode::None);
    let mut other = Member::new(&group);
    other.join.protocols = protocols(&["sticky", "roundrobin"]);
    let sent = other.begin_join();
    member.await_rebalance();
    let response = member.joined();
    assert_eq!(response.protocol_name.as_deref(), Some("roundrobin"), "all can follow it");
    assert_eq!(other.finish_join(sent).protocol_name.as_deref(), Some("roundrobin"));
}

#[test]
fn the_protocol_that_most_prefer_is_chosen() {
    let group = unique("group");
    let mut first = Member::new(&group);
    first.join.protocols = protocols(&["a", "b"]);
    first.join_alone();
    let mut second = Member::new(&group);
    second.join.protocols = protocols(&["b", "a"]);
    let mut third = Member::new(&group);
    third.join.protocols = protocols(&["c", "b", "a"]);
    let (two, three) = (second.begin_join(), third.begin_join());
    first.await_rebalance();
    assert_eq!(first.joined().protocol_name.as_deref(), Some("b"));
    second.finish_join(two);
    third.finish_join(three);
}

#[test]
fn the_leader_alone_is_told_of_the_members() {
    for version in [0, 4, 5, 6, 7, 9] {
        let group = unique("group");
        let mut leader = Member { join_version: version, ..Member::new(&group) };
        let response = leader.joined();
        assert_eq!(response.generation_id, 1);
        let id = leader.member_id.clone();
        leader.sync(&[(&id, b"all")]);
        let mut follower = Member { join_version: version, ..Member::new(&group) };
        if version >= 4 {
            follower.member_id = follower.join_once().member_id;
        }
        let sent = follower.send_join();
        leader.await_rebalance();
        let told = leader.joined();
        let response = follower.finish_join(sent);
        assert_eq!(response.error_code, ErrorCode::None);
        assert_eq!((told.generation_id, response.generation_id), (2, 2));
        assert_eq!((&told.leader, &response.leader), (&leader.member_id, &leader.member_id));
        assert_eq!(response.members, []);
        let mut ids: Vec<_> = told.members.iter().map(|member| &member.member_id).collect();
        let mut expected = vec![&leader.member_id, &follower.member_id];
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected);
        let names = (told.protocol_name.as_deref(), response.protocol_name.as_deref());
        assert_eq!(names, (Some("range"), Some("range")), "version {version}");
    }
}

#[test]
fn a_follower_that_asks_again_is_told_again_and_a_leader_starts_a_rebalance() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    let response = follower.joined();
    assert_eq!(response.generation_id, 2, "nothing has changed");
    assert_eq!((response.leader, response.members.len()), (leader.member_id.clone(), 0));
    assert_eq!(leader.heartbeat(), ErrorCode::None);
    let sent = leader.send_join();
    follower.await_rebalance();
    assert_eq!(follower.joined().generation_id, 3);
    assert_eq!(leader.finish_join(sent).members.len(), 2);
}

#[test]
fn a_changed_subscription_starts_a_rebalance() {
    let (mut leader, mut follower) = group::pair(&unique("group"));
    follower.join.protocols[0].metadata = subscription(&["t", "another"]);
    let sent = follower.send_join();
    leader.await_rebalance();
    let response = leader.joined();
    assert_eq!(response.generation_id, 3);
    let told = response.members.iter().find(|member| member.member_id == follower.member_id);
    assert_eq!(told.unwrap().metadata, subscription(&["t", "another"]));
    assert_eq!(follower.finish_join(sent).generation_id, 3);
}

#[test]
fn before_the_assignment_a_member_may_ask_again() {
    let mut member = Member::new(&unique("group"));
    let first = member.joined();
    let second = member.joined();
    assert_eq!((second.generation_id, &second.members), (1, &first.members));
    member.join.protocols[0].metadata = subscription(&["another"]);
    assert_eq!(member.joined().generation_id, 2, "other protocols are another matter");
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let group = unique("group");
    let mut slow = Member::new(&group);
    slow.join.rebalance_timeout_ms = 1_000;
    slow.join_alone();
    let mut quick = Member::new(&group);
    quick.join.rebalance_timeout_ms = 1_000;
    let sent = quick.begin_join();
    let response = quick.finish_join(sent);
    assert_eq!((response.error_code, response.generation_id), (ErrorCode::None, 2));
    assert_eq!((response.members.len(), &response.leader), (1, &quick.member_id));
    assert_eq!(slow.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_does_not_sync_in_time_is_left_behind() {
    let group = unique("group");
    let (mut leader, mut follower) = (Member::new(&group), Member::new(&group));
    leader.join.rebalance_timeout_ms = 1_500;
    follower.join.rebalance_timeout_ms = 1_500;
    group::form(&mut leader, &mut follower);
    let sent = leader.send_join();
    follower.await_rebalance();
    follower.joined();
    leader.finish_join(sent);
    // The follower waits for an assignment that the leader never brings.
    let response = follower.sync(&[]);
    assert_eq!(response.error_code, ErrorCode::RebalanceInProgress);
    let response = follower.joined();
    assert_eq!(response.leader, follower.member_id);
    assert_eq!(leader.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_timeout_of_0_leaves_time_for_the_assignment() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: it evicts at once, and kafkajs tries until it is quick enough.
    }
    let mut member = Member::new(&unique("group"));
    member.join.rebalance_timeout_ms = 0; // kafkajs asks for this.
    member.join_alone();
    assert_eq!(member.heartbeat(), ErrorCode::None);
}

#[test]
fn a_member_whose_connection_is_gone_stays_one() {
    let group = unique("group");
    let (mut leader, mut follower) = group::pair(&group);
    follower.client = Client::connect(); // The old connection closes.
    assert_eq!(follower.heartbeat(), ErrorCode::None);
    assert_eq!(leader.heartbeat(), ErrorCode::None);
}

#[test]
fn a_silent_member_is_gone_after_its_session() {
    let group = unique("group");
    let (mut leader, mut silent) = (Member::new(&group), Member::new(&group));
    silent.join.session_timeout_ms = 6_000; // The shortest there is.
    group::form(&mut leader, &mut silent);
    // The leader's join waits for the other until its session has run out.
    let response = leader.joined();
    assert_eq!((response.generation_id, response.members.len()), (3, 1));
    assert_eq!(silent.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn names_with_control_characters_are_refused_or_escaped() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: it takes them, and shows them as they are.
    }
    let topic = kit::topic(&mut Client::connect(), 1);
    for (group, instance) in
        [("a\nb", None), ("\u{1b}[2J", None), ("\u{85}", None), ("g", Some("p\u{7f}"))]
    {
        let mut member = Member::new(&format!("{group}-{}", unique("group")));
        member.instance_id = instance.map(str::to_owned);
        assert_eq!(member.join_once().error_code, ErrorCode::InvalidGroupId, "{group:?}");
        if instance.is_none() {
            assert_eq!(member.commit(&topic, 1), ErrorCode::InvalidGroupId, "{group:?}");
        }
    }
    let mut member = Member::new(&unique("group"));
    member.client.client_id = Some("a\n\u{1b}b".to_owned());
    let joined = member.joined();
    assert!(joined.member_id.starts_with("a\\n\\u{1b}b-"), "{}", joined.member_id);
}

#[test]
fn a_group_of_one_is_joined_within_milliseconds() {
    let mut times: Vec<_> = (0..15)
        .map(|_| {
            let mut member = Member::new(&unique("group"));
            let clock = Clock::system();
            member.joined();
            clock.elapsed()
        })
        .collect();
    times.sort();
    // Kafka waits for more members, group.initial.rebalance.delay.ms.
    if !broker::shared().is_kafka() {
        assert!(times[times.len() / 2] < Duration::from_millis(10), "{times:?}");
    }
}
