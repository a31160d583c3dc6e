//! The timers of many groups: heartbeats are cheap, and no group is looked at without need.

use bytes::Bytes;

use super::script::fresh_id;
use crate::groups::{
    Command, Coordinator, GroupConfig, GroupError, Heartbeat, JoinGroup, Protocol, Reply, SyncGroup,
};
use crate::machine::{Effects, Machine, Ticket};
use crate::types::{Generation, Monotonic, Now, Timestamp};

const SESSION_MS: u64 = 10_000;

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(i64::try_from(ms).unwrap()), monotonic: Monotonic(ms) }
}

fn ask(coordinator: &mut Coordinator, now: Now, command: Command) -> Reply {
    let mut effects = Effects::default();
    coordinator.handle(now, Ticket(0), command, &mut effects);
    effects.replies.pop().expect("answered at once").1
}

fn join(number: u32) -> JoinGroup {
    JoinGroup {
        group_id: format!("g{number}"),
        member_id: String::new(),
        group_instance_id: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: i32::try_from(SESSION_MS).unwrap(),
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::new() }],
        requires_member_id: false,
        supports_skip_assignment: false,
        fresh_id: fresh_id(number),
    }
}

/// Makes a stable group of one member, and gives its heartbeat.
fn stable(coordinator: &mut Coordinator, number: u32) -> Heartbeat {
    let Reply::Join(Ok(joined)) = ask(coordinator, at(0), Command::Join(join(number))) else {
        panic!("joined")
    };
    let member_id = joined.member_id;
    let synced = ask(
        coordinator,
        at(0),
        Command::Sync(SyncGroup {
            group_id: format!("g{number}"),
            generation: joined.generation,
            member_id: member_id.clone(),
            group_instance_id: None,
            protocol: None,
            assignments: Vec::new(),
        }),
    );
    assert!(matches!(synced, Reply::Sync(Ok(_))), "{synced:?}");
    Heartbeat {
        group_id: format!("g{number}"),
        generation: Generation(1),
        member_id,
        group_instance_id: None,
    }
}

#[test]
fn ten_thousand_groups_live_by_heartbeats_and_end_without() {
    let mut coordinator = Coordinator::new(GroupConfig::default(), at(0));
    let mut heartbeats: Vec<Heartbeat> =
        (0..10_000).map(|number| stable(&mut coordinator, number)).collect();
    let full = ask(&mut coordinator, at(0), Command::Join(join(10_000)));
    assert!(matches!(full, Reply::Join(Err(GroupError::GroupMaxSizeReached { .. }))), "{full:?}");

    let silent = heartbeats.split_off(9_999);
    let first = coordinator.next_deadline();
    for heartbeat in &heartbeats {
        let reply = ask(&mut coordinator, at(4_000), Command::Heartbeat(heartbeat.clone()));
        assert_eq!(reply, Reply::Heartbeat(Ok(())));
    }
    assert_eq!(coordinator.next_deadline(), first, "a heartbeat leaves the timers alone");

    let mut effects = Effects::default();
    coordinator.tick(at(SESSION_MS), &mut effects);
    assert_eq!(effects.records.len(), 1, "only the silent group has become empty");
    let gone = ask(&mut coordinator, at(SESSION_MS), Command::Heartbeat(silent[0].clone()));
    assert!(matches!(gone, Reply::Heartbeat(Err(GroupError::UnknownMemberId { .. }))), "{gone:?}");
    assert_eq!(coordinator.next_deadline(), Some(Monotonic(4_000 + SESSION_MS)));
    coordinator.check();
}
