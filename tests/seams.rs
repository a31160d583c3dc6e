//! The two seams that later work stands on: time is the broker's clock, which a test can move, and
//! a partition has a leading node, which need not be the one that is asked.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(dead_code, unreachable_pub, reason = "the modules serve other tests, too")]

use ottla::clock::Clock;
use ottla::config::ConfigTable;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::protocol::messages::heartbeat::HeartbeatRequest;
use ottla::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla::protocol::messages::sync_group::SyncGroupRequest;
use ottla::types::{NodeId, Timestamp};

#[path = "conformance/batch.rs"]
mod batch;
#[path = "conformance/broker.rs"]
mod broker;
#[path = "conformance/client.rs"]
mod client;
#[path = "conformance/kit.rs"]
mod kit;

use batch::{Batch, Record};
use broker::Broker;
use client::Client;

/// When the tests begin: a day in November 2023.
const START_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// A broker whose clock stands until it is moved.
fn stopped_clock() -> (Broker, Clock) {
    let clock = Clock::manual(Timestamp(START_MS));
    let broker = Broker::start_with(|builder| builder.clock(clock.clone()));
    (broker, clock)
}

fn start_offset(broker: &Broker, topic: &str) -> i64 {
    // A connection of its own: the moved clock ends idle ones.
    kit::list_offsets(&mut broker.connect(), topic, 0, -2).offset
}

#[test]
fn eight_days_later_retention_has_deleted_and_a_session_has_expired() {
    let (broker, clock) = stopped_clock();
    let mut client = broker.connect();
    let week = kit::topic(&mut client, 1);
    let ever = kit::topic_with(&mut client, 1, &[("retention.ms", "-1")]);
    for topic in [&week, &ever] {
        let records = vec![Record::at(START_MS, "old"), Record::at(START_MS + 5, "old")];
        kit::produced(&mut client, topic, 0, Batch::records(records));
    }
    let member_id = join(&mut client);

    assert!(clock.advance(6 * DAY_MS));
    // Empty, and with no offsets to keep it soon gone.
    kit::until("the session has expired", || group_state(&broker) != "Stable");
    let heartbeat = HeartbeatRequest {
        group_id: "group".to_owned(),
        generation_id: 1,
        member_id,
        group_instance_id: None,
    };
    let code = broker.connect().call(3, &heartbeat).error_code;
    assert_eq!(code, ErrorCode::UnknownMemberId);
    assert_eq!(start_offset(&broker, &week), 0, "six days are not seven");

    assert!(clock.advance(2 * DAY_MS));
    kit::until("the old records are deleted", || {
        // The next look may have been put off by a look at the same time as the move.
        clock.advance(5 * MINUTE_MS);
        start_offset(&broker, &week) == 2
    });
    let data = kit::fetch(&mut broker.connect(), &week, 0, 1);
    assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!(start_offset(&broker, &ever), 0, "what has no limit stays");
    let new = Batch::records(vec![Record::at(clock.now().wall.0, "new")]);
    assert_eq!(kit::produced(&mut broker.connect(), &week, 0, new), 2);
}

#[test]
fn a_clock_that_jumps_deletes_nothing_at_one_look() {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    let (broker, clock) = stopped_clock();
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    let at = |ms| Batch::records(vec![Record::at(ms, "kept")]);
    kit::produced(&mut client, &topic, 0, at(START_MS));
    let member_id = join(&mut client);
    for jump_ms in [YEAR_MS, -YEAR_MS, -15 * 24 * 3_600_000, 15 * 24 * 3_600_000, YEAR_MS] {
        assert!(clock.jump_wall(jump_ms));
        broker.enforce_retention();
        assert_eq!(start_offset(&broker, &topic), 0, "after a jump of {jump_ms} ms");
        // Sessions, waits and idle connections go by the other clock.
        let heartbeat = HeartbeatRequest {
            group_id: "group".to_owned(),
            generation_id: 1,
            member_id: member_id.clone(),
            group_instance_id: None,
        };
        assert_eq!(client.call(3, &heartbeat).error_code, ErrorCode::None);
    }
    assert_eq!(kit::produced(&mut client, &topic, 0, at(clock.now().wall.0)), 1);
    // A clock that stays where it jumped to is right.
    clock.advance(1_000);
    broker.enforce_retention();
    assert_eq!(start_offset(&broker, &topic), 1, "a year old by now");
    clock.jump_wall(YEAR_MS);
    broker.enforce_retention();
    assert_eq!(start_offset(&broker, &topic), 1);
    broker.enforce_retention();
    assert_eq!(start_offset(&broker, &topic), 2);
}

#[test]
fn a_clock_that_jumps_takes_no_tombstone_away() {
    let clock = Clock::manual(Timestamp(START_MS));
    let broker = Broker::start_with(|builder| {
        builder.clock(clock.clone()).with_config(|config| {
            config.set("log.cleaner.backoff.ms", "20").unwrap();
            config.set("log.retention.check.interval.ms", "1000000000000").unwrap();
        })
    });
    let configs =
        [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0")];
    let topic = kit::topic_with(&mut broker.connect(), 1, &configs);
    let mut time = START_MS;
    let mut put = |key: &str, value: Option<&str>| {
        time += 1_000; // Each in a segment of its own.
        let value = value.map(|value| value.as_bytes().to_vec());
        let record = Record { value, ..Record::at(time, "").key(key) };
        kit::produced(&mut broker.connect(), &topic, 0, Batch::records(vec![record]));
    };
    // The first offset that is left from one on.
    let first = |from| kit::stored(&mut broker.connect(), &topic, 0, from)[0].base_offset;
    let compacted = |gone: i64| {
        kit::until("the log is compacted", || {
            clock.advance(20);
            first(gone) != gone
        });
        first(0)
    };
    put("a", Some("1"));
    put("a", None);
    put("active", Some("1"));
    assert_eq!(compacted(0), 1, "the tombstone");
    assert!(clock.jump_wall(365 * 24 * 3_600_000));
    put("b", Some("1"));
    put("b", Some("2"));
    put("active", Some("2"));
    assert_eq!(compacted(3), 1, "the tombstone has its day");
    // Retention sees the clock a second time where it jumped to: then it is right.
    broker.enforce_retention();
    put("c", Some("1"));
    put("c", Some("2"));
    put("active", Some("3"));
    assert_eq!(compacted(6), 4);
}

/// Joins `group` as its only member, with a session of half a minute.
fn join(client: &mut Client) -> String {
    let protocol =
        JoinGroupRequestProtocol { name: "range".to_owned(), metadata: bytes::Bytes::new() };
    let request = JoinGroupRequest {
        group_id: "group".to_owned(),
        session_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let joined = client.call(3, &request);
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::None, 1));
    let sync = SyncGroupRequest {
        group_id: "group".to_owned(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    assert_eq!(client.call(3, &sync).error_code, ErrorCode::None);
    joined.member_id
}

fn group_state(broker: &Broker) -> String {
    let request = DescribeGroupsRequest { groups: vec!["group".to_owned()], ..Default::default() };
    broker.connect().call(4, &request).groups[0].group_state.clone()
}

#[test]
fn an_idle_connection_ends_and_one_that_waits_for_records_does_not() {
    let clock = Clock::manual(Timestamp(START_MS));
    let broker = Broker::start_with(|builder| {
        builder.clock(clock.clone()).with_config(|config| config.connections_max_idle_ms = 1_000)
    });
    let (mut idle, mut waiting) = (broker.connect(), broker.connect());
    let topic = kit::topic(&mut idle, 1);
    let request = FetchRequest { max_wait_ms: 250_000, ..kit::fetch_request(&topic, 0, 0) };
    let (frame, sent) = waiting.frame(12, &request);
    let received = broker.received_bytes() + frame.len() as u64;
    waiting.send_raw(&frame);
    kit::until("the fetch has come in", || broker.received_bytes() >= received);
    kit::until("the idle connection is ended", || {
        clock.advance(1_000);
        broker.connect().call(4, &kit::metadata_request(&[])); // Time to notice it in.
        idle.is_closed()
    });
    assert!(!waiting.is_closed());
    let record = Batch::records(vec![Record::at(START_MS, "at last")]);
    kit::produced(&mut broker.connect(), &topic, 0, record);
    assert!(!kit::only_partition(&waiting.receive(sent)).records.is_empty());
}

#[test]
fn a_wait_for_records_ends_by_the_brokers_clock() {
    let (broker, clock) = stopped_clock();
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    let request = FetchRequest { max_wait_ms: 60_000, ..kit::fetch_request(&topic, 0, 0) };
    let sent = client.send(12, &request);
    kit::until("the fetch is answered", || {
        clock.advance(MINUTE_MS);
        client.is_answered()
    });
    assert!(kit::only_partition(&client.receive(sent)).records.is_empty());
}

#[test]
fn a_partition_that_another_node_leads_is_refused_with_6() {
    let broker = Broker::start_with(|builder| builder.other_nodes(vec![NodeId(2)]));
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 2);
    let metadata = client.call(12, &kit::metadata_request(&[&topic]));
    let nodes: Vec<_> = metadata.brokers.iter().map(|broker| broker.node_id).collect();
    assert_eq!(nodes, [1, 2]);
    let led_by = |node| {
        let partitions = &metadata.topics[0].partitions;
        partitions.iter().find(|it| it.leader_id == node).unwrap().partition_index
    };
    let (own, other) = (led_by(1), led_by(2));
    let refused = ErrorCode::NotLeaderOrFollower;
    let row = kit::produce(&mut client, &topic, other, Batch::of(&["lost"]));
    assert_eq!((row.error_code, row.base_offset), (refused, -1));
    assert_eq!(kit::fetch(&mut client, &topic, other, 0).error_code, refused);
    assert_eq!(kit::list_offsets(&mut client, &topic, other, -1).error_code, refused);
    assert_eq!(kit::produced(&mut client, &topic, own, Batch::of(&["its own"])), 0);
}
