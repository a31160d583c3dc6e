//! Settings that bound or switch off what a broker does: each in force on a broker of the test's
//! own. A broker that the environment names is not asked.

use std::time::Duration;

use ottla::clock::Clock;
use ottla::config::ConfigTable;
use ottla::config::listener::Exposure;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::describe_cluster::DescribeClusterRequest;
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest,
};
use ottla::protocol::messages::join_group::JoinGroupRequest;
use ottla::protocol::messages::metadata::MetadataRequest;

use super::batch::Batch;
use super::broker::Broker;
use super::client::Client;
use super::group::protocols;
use super::kit::{self, FETCH, unique};

fn is_alive(client: &mut Client) -> bool {
    client.call(4, &kit::metadata_request(&[])).brokers.len() == 1
}

#[test]
fn a_frame_over_the_limit_ends_the_connection() {
    let broker = Broker::start_set(&[("socket.request.max.bytes", "5000")]);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&[&"x".repeat(4_500)]));
    client.send_raw(&5_001_i32.to_be_bytes());
    client.expect_closed();
    assert!(is_alive(&mut broker.connect()));
}

#[test]
fn connections_over_the_limit_are_ended_at_once() {
    let broker = Broker::start_set(&[("max.connections", "3")]);
    let mut clients: Vec<_> = (0..3).map(|_| broker.connect()).collect();
    assert!(clients.iter_mut().all(is_alive));
    broker.connect().expect_closed();
    drop(clients.pop());
    let mut late = broker.connect();
    kit::until("a place is free", || {
        late = broker.connect();
        late.try_send_raw(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]); // ApiVersions 0
        kit::until("a verdict", || late.is_answered() || late.is_closed());
        late.is_answered()
    });
    assert!(clients.iter_mut().all(is_alive), "the others never noticed");
}

/// Sets a config of all brokers while they run.
fn set(client: &mut Client, key: &str, value: &str) -> AlterConfigsResourceResponse {
    let config = AlterableConfig {
        name: key.to_owned(),
        config_operation: 0,
        value: Some(value.to_owned()),
    };
    let broker = AlterConfigsResource {
        resource_type: 4,
        resource_name: String::new(),
        configs: vec![config],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![broker], validate_only: false };
    client.call(1, &request).responses[0].clone()
}

#[test]
fn limits_of_connections_that_change_count_for_the_next_connection() {
    let broker = Broker::start_set(&[]);
    let mut first = broker.connect();
    for (key, low, high) in [
        ("max.connections", "1", "10"),
        ("max.connections.per.ip.overrides", "127.0.0.1:1", ""),
        ("max.connections.per.ip.overrides", "127.0.0.1:0,127.0.0.1:1", "127.0.0.2:0"),
    ] {
        let code = set(&mut first, key, low).error_code;
        assert_eq!(code, ErrorCode::None, "{key}={low}");
        broker.connect().expect_closed();
        assert!(is_alive(&mut first), "who is in stays");
        let code = set(&mut first, key, high).error_code;
        assert_eq!(code, ErrorCode::None, "{key}={high}");
        kit::until("the refused one is gone", || broker.connection_count() == 1);
        assert!(is_alive(&mut broker.connect()), "{key}={high}");
        kit::until("it is gone", || broker.connection_count() == 1);
    }
}

#[test]
fn limits_of_connections_that_were_changed_count_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Broker::start_with(|_| ottla::Ottla::builder().data_dir(folder.path()));
    let broker = start();
    assert_eq!(set(&mut broker.connect(), "max.connections", "1").error_code, ErrorCode::None);
    broker.stop();
    let broker = start();
    let mut first = broker.connect();
    assert!(is_alive(&mut first));
    broker.connect().expect_closed();
}

#[test]
fn broker_configs_that_a_running_broker_cannot_take_are_refused() {
    let broker = Broker::start_set(&[]);
    let mut client = broker.connect();
    for (key, value, expected) in [
        ("num.partitions", "4", ErrorCode::InvalidRequest), // Read-only, as in Kafka.
        ("num.io.threads", "4", ErrorCode::InvalidRequest), // Nothing would come of it.
        ("max.connections", "-1", ErrorCode::InvalidRequest),
        ("max.connections.per.ip.overrides", "localhost", ErrorCode::InvalidRequest),
        ("max.connections.per.ip.overrides", "localhost:5", ErrorCode::InvalidRequest),
        ("max.conections", "4", ErrorCode::InvalidConfig),
    ] {
        let row = set(&mut client, key, value);
        assert_eq!(row.error_code, expected, "{key}={value}");
        assert!(row.error_message.is_some_and(|text| text.contains(key)), "{key}={value}");
    }
}

#[test]
fn ipv4_clients_of_a_listener_on_all_addresses_are_known_by_their_ipv4_address() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return; // A machine without IPv6 has no such listener.
    }
    let broker = Broker::start_with(|builder| {
        builder.exposure(Exposure::InsecureNoAuth).with_config(|config| {
            config.set("listeners", "PLAINTEXT://[::]:0").unwrap();
            config.set("max.connections.per.ip", "1").unwrap();
        })
    });
    let (_, port) = broker.address().rsplit_once(':').unwrap();
    let address = format!("127.0.0.1:{port}");
    // Loopback: limits by address do not concern it.
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect_to(&address)).collect();
    assert!(clients.iter_mut().all(is_alive));
    let told = clients[0].call(8, &kit::metadata_request(&[])).brokers[0].clone();
    assert_eq!(format!("{}:{}", told.host, told.port), address);
}

#[test]
fn localhost_is_both_loopback_addresses() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return; // A machine without IPv6.
    }
    let broker = Broker::start_set(&[("max.connections", "2")]);
    let (_, port) = broker.address().rsplit_once(':').unwrap();
    let mut clients = ["127.0.0.1", "::1"].map(|host| {
        let mut client = Client::connect_to(&match host {
            "::1" => format!("[::1]:{port}"),
            host => format!("{host}:{port}"),
        });
        let told = client.call(8, &kit::metadata_request(&[])).brokers[0].clone();
        assert_eq!((&*told.host, told.port.to_string()), (host, port.to_owned()));
        client
    });
    broker.connect().expect_closed(); // They count together.
    assert!(clients.iter_mut().all(is_alive));
}

fn join_request(group: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: protocols(&["range"]),
        ..Default::default()
    }
}

#[test]
fn a_full_group_takes_nobody_more() {
    let broker = Broker::start_set(&[("group.max.size", "1")]);
    let group = unique("group");
    let (mut one, mut two) = (broker.connect(), broker.connect());
    assert_eq!(one.call(3, &join_request(&group)).error_code, ErrorCode::None);
    assert_eq!(two.call(3, &join_request(&group)).error_code, ErrorCode::GroupMaxSizeReached);
    assert_eq!(two.call(3, &join_request(&unique("group"))).error_code, ErrorCode::None);
}

#[test]
fn no_more_groups_are_made_than_allowed_and_those_that_are_there_go_on() {
    let broker = Broker::start_set(&[("ottla.max.groups", "1")]);
    let (mut one, mut two) = (broker.connect(), broker.connect());
    let member_id = one.call(3, &join_request("first")).member_id;
    assert_eq!(two.call(3, &join_request("second")).error_code, ErrorCode::GroupMaxSizeReached);
    let again = one.call(3, &JoinGroupRequest { member_id, ..join_request("first") });
    assert_eq!(again.error_code, ErrorCode::None);
}

#[test]
fn no_more_partitions_are_made_than_allowed() {
    // Two are the broker's own.
    let broker = Broker::start_set(&[("ottla.max.partitions", "5")]);
    let mut client = broker.connect();
    let create = |name: &str, count| {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: count,
            replication_factor: 1,
            ..Default::default()
        };
        CreateTopicsRequest { topics: vec![topic], ..Default::default() }
    };
    let mut code = |name, count| client.call(7, &create(name, count)).topics[0].error_code;
    assert_eq!(code("four", 4), ErrorCode::PolicyViolation);
    assert_eq!(code("three", 3), ErrorCode::None);
    assert_eq!(code("one", 1), ErrorCode::PolicyViolation);
}

#[test]
fn a_new_producer_is_let_in_where_the_table_is_full() {
    let broker = Broker::start_set(&[("ottla.max.producers", "2")]);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    for (offset, producer_id) in (0..).zip(10..15) {
        let batch = Batch::of(&["v"]).producer(producer_id, 0, 0);
        assert_eq!(kit::produced(&mut client, &topic, 0, batch), offset);
    }
    let known = Batch::of(&["v"]).producer(14, 0, 0).bytes();
    assert_eq!(kit::produced(&mut client, &topic, 0, known), 4, "the newest is remembered");
}

#[test]
fn topics_are_not_made_where_that_is_switched_off() {
    let broker = Broker::start_set(&[("auto.create.topics.enable", "false")]);
    let request =
        MetadataRequest { allow_auto_topic_creation: true, ..kit::metadata_request(&["wanted"]) };
    let topic = broker.connect().call(4, &request).topics[0].clone();
    assert_eq!(topic.error_code, ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn topics_are_not_deleted_where_that_is_switched_off() {
    let broker = Broker::start_set(&[("delete.topic.enable", "false")]);
    let mut client = broker.connect();
    let name = kit::topic(&mut client, 1);
    for version in 1..=5 {
        let request = DeleteTopicsRequest { topic_names: vec![name.clone()], ..Default::default() };
        let code = client.call(version, &request).responses[0].error_code;
        let expected =
            if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
        assert_eq!(code, expected, "version {version}");
    }
    assert_eq!(kit::describe(&mut client, &name).error_code, ErrorCode::None);
}

#[test]
fn under_the_strict_policy_more_replicas_than_nodes_are_refused() {
    let broker = Broker::start_set(&[("ottla.replication.factor.policy", "strict")]);
    for validate_only in [true, false] {
        let topic = CreatableTopic {
            name: "replicated".to_owned(),
            num_partitions: 1,
            replication_factor: 3,
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], validate_only, ..Default::default() };
        let code = broker.connect().call(7, &request).topics[0].error_code;
        assert_eq!(code, ErrorCode::InvalidReplicationFactor);
    }
}

#[test]
fn defaults_of_the_broker_are_those_of_its_topics() {
    let settings = [("num.partitions", "7"), ("message.max.bytes", "1000")];
    let broker = Broker::start_set(&settings);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, -1);
    assert_eq!(kit::describe(&mut client, &topic).partitions.len(), 7);
    let row = kit::produce(&mut client, &topic, 0, Batch::of(&[&"x".repeat(1_000)]));
    assert_eq!(row.error_code, ErrorCode::MessageTooLarge);
}

#[test]
fn each_listener_advertises_its_own_address() {
    let settings = [
        ("listener.security.protocol.map", "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT"),
        ("listeners", "INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:0"),
        ("advertised.listeners", "OUTSIDE://kafka.example.org:19092"),
    ];
    let broker = Broker::start_set(&settings);
    let listeners = broker.listeners();
    for (name, address) in &listeners {
        let expected = match name.as_str() {
            "OUTSIDE" => "kafka.example.org:19092",
            _ => address,
        };
        let mut client = Client::connect_to(address);
        let told = client.call(8, &kit::metadata_request(&[])).brokers[0].clone();
        assert_eq!(format!("{}:{}", told.host, told.port), *expected);
        let told = client.call(1, &DescribeClusterRequest::default()).brokers[0].clone();
        assert_eq!(format!("{}:{}", told.host, told.port), *expected);
        let find = FindCoordinatorRequest { key: unique("group"), ..Default::default() };
        let told = client.call(2, &find);
        assert_eq!(format!("{}:{}", told.host, told.port), *expected);
    }
    assert_eq!(listeners.len(), 2);
}

#[test]
fn a_broker_that_stops_answers_what_waits_and_waits_for_nothing_else() {
    let broker = Broker::start_set(&[]);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    // Frames that will never be whole, as many as might take all memory there is for frames.
    let begun = [&100_000_000_i32.to_be_bytes()[..], &[0; 9]].concat();
    let mut received = broker.received_bytes();
    let unfinished: Vec<_> = (0..40)
        .map(|_| {
            let mut client = broker.connect();
            client.send_raw(&begun);
            received += u64::try_from(begun.len()).unwrap();
            client
        })
        .collect();
    kit::until("all are begun", || broker.received_bytes() == received);
    let mut waiting = broker.connect();
    let request = FetchRequest { max_wait_ms: 60_000, ..kit::fetch_request(&topic, 0, 0) };
    let sent = waiting.send(FETCH, &request);
    kit::produced(&mut client, &topic, 0, Batch::of(&["small frames have room"]));
    kit::only_partition(&waiting.receive(sent));
    assert!(is_alive(&mut client));
    received = broker.received_bytes();
    let request = FetchRequest { max_wait_ms: 60_000, ..kit::fetch_request(&topic, 0, 1) };
    let sent = waiting.send(FETCH, &request);
    // Only what it has read does it answer.
    kit::until("the fetch is taken", || broker.received_bytes() > received);
    let clock = Clock::system();
    broker.stop();
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
    kit::only_partition(&waiting.receive(sent));
    waiting.expect_closed();
    drop(unfinished);
}

#[test]
fn clients_that_come_and_go_are_all_served() {
    let broker = Broker::start_set(&[]);
    for _ in 0..500 {
        assert!(is_alive(&mut broker.connect()));
    }
}
