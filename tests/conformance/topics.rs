//! CreateTopics (API 19), CreatePartitions (37) and DeleteTopics (20): what is refused and with
//! which error, what is filled in, and that a topic works when its creation is answered.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla::protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult,
    CreateTopicsRequest,
};
use ottla::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest,
};
use ottla::protocol::messages::fetch::FetchRequest;
use uuid::Uuid;

use super::batch::Batch;
use super::broker;
use super::client::Client;
use super::kit::{self, unique};

fn new_topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    let name = name.to_owned();
    CreatableTopic { name, num_partitions, replication_factor, ..Default::default() }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignments.iter().map(|(partition_index, broker_ids)| {
        let broker_ids = broker_ids.to_vec();
        CreatableReplicaAssignment { partition_index: *partition_index, broker_ids }
    });
    CreatableTopic { assignments: assignments.collect(), ..new_topic(name, -1, -1) }
}

fn configured(configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    });
    CreatableTopic { configs: configs.collect(), ..new_topic(&unique("topic"), 1, 1) }
}

fn create(client: &mut Client, version: i16, topic: CreatableTopic) -> CreatableTopicResult {
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    client.call(version, &request).topics[0].clone()
}

fn exists(client: &mut Client, name: &str) -> bool {
    kit::describe(client, name).error_code == ErrorCode::None
}

/// Each is refused with its error and a message, both when it would be made and when only asked.
fn check_refused(table: Vec<(&str, CreatableTopic, ErrorCode)>) {
    let mut client = Client::connect();
    for (what, topic, expected) in table {
        for validate_only in [true, false] {
            let request = CreateTopicsRequest {
                topics: vec![topic.clone()],
                validate_only,
                ..Default::default()
            };
            let result = client.call(7, &request).topics[0].clone();
            assert_eq!(result.error_code, expected, "{what}: {result:?}");
            assert!(result.error_message.is_some(), "{what}");
            assert_eq!(result.name, topic.name, "{what}");
            assert!(result.topic_id.is_nil(), "{what}");
        }
    }
}

#[test]
fn a_created_topic_works_when_the_answer_is_there() {
    let mut client = Client::connect();
    for version in [2, 3, 4, 5, 6, 7] {
        let name = unique("topic");
        let result = create(&mut client, version, new_topic(&name, 4, 1));
        assert_eq!(result.error_code, ErrorCode::None, "version {version}");
        assert_eq!((&result.name, &result.error_message), (&name, &None));
        kit::settle(&mut client, &name, 4);
        let topic = kit::describe(&mut client, &name);
        assert_eq!(topic.partitions.len(), 4);
        assert_eq!(kit::end_offset(&mut client, &name, 3), 0);
        assert_eq!(kit::produced(&mut client, &name, 3, Batch::of(&["first"])), 0);
        if version >= 5 {
            assert_eq!((result.num_partitions, result.replication_factor), (4, 1));
            let configs = result.configs.unwrap();
            let names: Vec<_> = configs.iter().map(|config| config.name.as_str()).collect();
            assert!(names.is_sorted() && names.contains(&"retention.ms"), "{names:?}");
            assert!(configs.iter().all(|config| !config.is_sensitive && !config.read_only));
        }
        if version >= 7 {
            assert_eq!(result.topic_id, topic.topic_id);
        }
    }
}

#[test]
fn the_oldest_forms_of_old_clients_are_taken() {
    if broker::shared().is_kafka() {
        return; // Differs from Kafka: 4.x dropped CreateTopics 0-1 and DeleteTopics 0 (KIP-896).
    }
    let mut client = Client::connect();
    for version in [0, 1] {
        let name = unique("old");
        let result = create(&mut client, version, new_topic(&name, 2, 1));
        assert_eq!(result.error_code, ErrorCode::None);
        let request = DeleteTopicsRequest { topic_names: vec![name.clone()], ..Default::default() };
        assert_eq!(client.call(0, &request).responses[0].error_code, ErrorCode::None);
        assert!(!exists(&mut client, &name));
    }
}

#[test]
fn minus_one_asks_for_the_defaults() {
    let mut client = Client::connect();
    let name = unique("defaults");
    let result = create(&mut client, 7, new_topic(&name, -1, -1));
    assert_eq!(result.error_code, ErrorCode::None, "{result:?}");
    // Differs from Kafka: num.partitions is 3, as the users of ottla expect it.
    let expected = if broker::shared().is_kafka() { 1 } else { 3 };
    assert_eq!((result.num_partitions, result.replication_factor), (expected, 1));
}

#[test]
fn a_replication_factor_above_the_node_count_is_clamped() {
    let mut client = Client::connect();
    let name = unique("replicated");
    let result = create(&mut client, 7, new_topic(&name, 1, 3));
    if broker::shared().is_kafka() {
        // Differs from Kafka: one node is what there is, and 3 is what tools ask for.
        assert_eq!(result.error_code, ErrorCode::InvalidReplicationFactor);
        return;
    }
    assert_eq!(result.error_code, ErrorCode::None, "{result:?}");
    assert_eq!(kit::describe(&mut client, &name).partitions[0].replica_nodes.len(), 1);
}

#[test]
fn illegal_names_are_refused() {
    let long = "x".repeat(250);
    let name = |name: &str| new_topic(name, 1, 1);
    check_refused(vec![
        ("empty", name(""), ErrorCode::InvalidTopicException),
        ("one dot", name("."), ErrorCode::InvalidTopicException),
        ("two dots", name(".."), ErrorCode::InvalidTopicException),
        ("space", name("a b"), ErrorCode::InvalidTopicException),
        ("letter", name("straße"), ErrorCode::InvalidTopicException),
        ("slash", name("../../etc"), ErrorCode::InvalidTopicException),
        ("250 letters", name(&long), ErrorCode::InvalidTopicException),
        ("the metadata log", name("__cluster_metadata"), ErrorCode::InvalidRequest),
    ]);
    let mut client = Client::connect();
    let longest = format!("{}{}", unique("long"), "x".repeat(249))[..249].to_owned();
    let result = create(&mut client, 7, new_topic(&longest, 1, 1));
    assert_eq!(result.error_code, ErrorCode::None, "249 letters are allowed");
}

#[test]
fn names_that_metrics_could_not_tell_apart_are_refused() {
    let mut client = Client::connect();
    let dotted = unique("a.b");
    kit::create_topic(&mut client, &dotted, 1, &[]);
    let result = create(&mut client, 7, new_topic(&dotted.replace('.', "_"), 1, 1));
    assert_eq!(result.error_code, ErrorCode::InvalidTopicException);
    let result = create(&mut client, 7, new_topic(&dotted, 1, 1));
    assert_eq!(result.error_code, ErrorCode::TopicAlreadyExists);
}

#[test]
fn impossible_partitions_and_replicas_are_refused() {
    let name = unique("never");
    let new = |partitions, replicas| new_topic(&name, partitions, replicas);
    let both = CreatableTopic { num_partitions: 1, ..assigned(&name, &[(0, &[1])]) };
    let both_factor = CreatableTopic { replication_factor: 1, ..assigned(&name, &[(0, &[1])]) };
    check_refused(vec![
        ("no partitions", new(0, 1), ErrorCode::InvalidPartitions),
        ("-2 partitions", new(-2, 1), ErrorCode::InvalidPartitions),
        ("no replicas", new(1, 0), ErrorCode::InvalidReplicationFactor),
        ("-2 replicas", new(1, -2), ErrorCode::InvalidReplicationFactor),
        ("too many partitions", new(10_001, 1), ErrorCode::PolicyViolation),
        ("assignments and a count", both, ErrorCode::InvalidRequest),
        ("assignments and a factor", both_factor, ErrorCode::InvalidRequest),
        ("no broker", assigned(&name, &[(0, &[])]), ErrorCode::InvalidReplicaAssignment),
        ("partition 1 alone", assigned(&name, &[(1, &[1])]), ErrorCode::InvalidReplicaAssignment),
        (
            "a partition twice",
            assigned(&name, &[(0, &[1]), (0, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
        ),
        ("a broker twice", assigned(&name, &[(0, &[1, 1])]), ErrorCode::InvalidReplicaAssignment),
        ("an unknown broker", assigned(&name, &[(0, &[77])]), ErrorCode::InvalidReplicaAssignment),
        (
            "unequal lengths",
            assigned(&name, &[(0, &[1]), (1, &[])]),
            ErrorCode::InvalidReplicaAssignment,
        ),
    ]);
    assert!(!exists(&mut Client::connect(), &name));
}

#[test]
fn replicas_given_by_hand_are_taken() {
    let mut client = Client::connect();
    let node = client.call(4, &kit::metadata_request(&[])).brokers[0].node_id;
    let name = unique("assigned");
    let result = create(&mut client, 7, assigned(&name, &[(0, &[node]), (1, &[node])]));
    assert_eq!(result.error_code, ErrorCode::None, "{result:?}");
    assert_eq!((result.num_partitions, result.replication_factor), (2, 1));
}

#[test]
fn impossible_configs_are_refused_by_name() {
    let table = [
        ("unknown", &[("no.such.config", Some("1"))][..]),
        ("gone in Kafka 4", &[("message.format.version", Some("2.8"))]),
        ("null", &[("retention.ms", None)]),
        ("no number", &[("retention.ms", Some("a week"))]),
        ("below the least", &[("retention.ms", Some("-2"))]),
        ("no such policy", &[("cleanup.policy", Some("shred"))]),
        ("no such codec", &[("compression.type", Some("brotli"))]),
        ("no such type", &[("message.timestamp.type", Some("Never"))]),
        ("segments too small", &[("segment.bytes", Some("1024"))]),
        ("no boolean", &[("preallocate", Some("yes"))]),
        ("a ratio over 1", &[("min.cleanable.dirty.ratio", Some("1.5"))]),
        (
            "lags the wrong way round",
            &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))],
        ),
    ];
    let table = table
        .into_iter()
        .map(|(what, configs)| (what, configured(configs), ErrorCode::InvalidConfig));
    check_refused(table.collect());
    let result = create(&mut Client::connect(), 7, configured(&[("no.such.config", Some("1"))]));
    assert!(result.error_message.unwrap().contains("no.such.config"));
}

#[test]
fn the_configs_of_a_topic_are_told_with_their_source() {
    let mut client = Client::connect();
    let topic = configured(&[("retention.ms", Some("1000")), ("cleanup.policy", Some("compact"))]);
    let result = create(&mut client, 5, topic);
    let configs = result.configs.unwrap();
    let find = |name: &str| {
        let config = configs.iter().find(|config| config.name == name).unwrap();
        (config.value.as_deref().unwrap(), config.config_source)
    };
    assert_eq!(find("retention.ms"), ("1000", 1));
    assert_eq!(find("cleanup.policy"), ("compact", 1));
    assert_eq!(find("segment.bytes"), ("1073741824", 5));
}

#[test]
fn validation_alone_makes_nothing_and_answers_as_if() {
    let mut client = Client::connect();
    let name = unique("maybe");
    let request = CreateTopicsRequest {
        topics: vec![new_topic(&name, 2, 1)],
        validate_only: true,
        ..Default::default()
    };
    let result = client.call(7, &request).topics[0].clone();
    assert_eq!(result.error_code, ErrorCode::None);
    assert_eq!((result.num_partitions, result.replication_factor), (2, 1));
    assert!(result.configs.is_some_and(|configs| !configs.is_empty()));
    assert!(!exists(&mut client, &name));
}

#[test]
fn topics_of_one_request_stand_alone() {
    let mut client = Client::connect();
    let (good, twice) = (unique("good"), unique("twice"));
    let topics = vec![
        new_topic(&twice, 1, 1),
        new_topic(&good, 1, 1),
        new_topic("a b", 1, 1),
        new_topic(&twice, 2, 1),
    ];
    let response = client.call(7, &CreateTopicsRequest { topics, ..Default::default() });
    let mut rows: Vec<_> =
        response.topics.iter().map(|row| (row.name.as_str(), row.error_code)).collect();
    rows.sort_by_key(|(name, _)| (*name).to_owned());
    let expected = [
        ("a b", ErrorCode::InvalidTopicException),
        (&good, ErrorCode::None),
        (&twice, ErrorCode::InvalidRequest),
    ];
    assert_eq!(rows, expected, "a name given twice has one row");
    assert!(!exists(&mut client, &twice));
}

#[test]
fn partitions_can_be_added_and_never_taken() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let node = client.call(4, &kit::metadata_request(&[])).brokers[0].node_id;
    let of = |brokers: &[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
    let absent = unique("absent");
    let table = [
        ("to fewer", &topic, 1, None, ErrorCode::InvalidPartitions),
        ("to as many", &topic, 2, None, ErrorCode::InvalidPartitions),
        ("to none", &topic, 0, None, ErrorCode::InvalidPartitions),
        ("of an unknown topic", &absent, 3, None, ErrorCode::UnknownTopicOrPartition),
        ("assignments too few", &topic, 4, Some(vec![of(&[node])]), {
            ErrorCode::InvalidReplicaAssignment
        }),
        ("an unknown broker", &topic, 3, Some(vec![of(&[77])]), {
            ErrorCode::InvalidReplicaAssignment
        }),
        ("a broker twice", &topic, 3, Some(vec![of(&[node, node])]), {
            ErrorCode::InvalidReplicaAssignment
        }),
        ("to more", &topic, 3, None, ErrorCode::None),
        ("to more by hand", &topic, 4, Some(vec![of(&[node])]), ErrorCode::None),
    ];
    for (what, name, count, assignments, expected) in table {
        let added = CreatePartitionsTopic { name: name.clone(), count, assignments };
        for validate_only in [true, false] {
            let request = CreatePartitionsRequest {
                topics: vec![added.clone()],
                timeout_ms: 30_000,
                validate_only,
            };
            let result = client.call(3, &request).results[0].clone();
            assert_eq!(result.error_code, expected, "{what}: {result:?}");
            assert!(expected.is_error() || result.error_message.is_none(), "{what}");
        }
    }
    kit::settle(&mut client, &topic, 4);
    assert_eq!(kit::describe(&mut client, &topic).partitions.len(), 4);
    assert_eq!(kit::produced(&mut client, &topic, 3, Batch::of(&["first"])), 0);
}

#[test]
fn a_topic_named_twice_for_more_partitions_is_refused() {
    let mut client = Client::connect();
    let name = kit::topic(&mut client, 1);
    let grow = |count| CreatePartitionsTopic { name: name.clone(), count, assignments: None };
    let request = CreatePartitionsRequest {
        topics: vec![grow(2), grow(3)],
        timeout_ms: 30_000,
        validate_only: false,
    };
    let response = client.call(1, &request);
    assert!(response.results.iter().all(|row| row.error_code == ErrorCode::InvalidRequest));
    assert_eq!(kit::describe(&mut client, &name).partitions.len(), 1);
}

fn delete(client: &mut Client, topics: Vec<DeleteTopicState>) -> Vec<DeletableTopicResult> {
    let request = DeleteTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
    client.call(6, &request).responses
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut client = Client::connect();
    for version in 1..=5 {
        let name = kit::topic(&mut client, 1);
        let names = vec![name.clone(), unique("absent")];
        let request =
            DeleteTopicsRequest { topic_names: names, timeout_ms: 30_000, ..Default::default() };
        let response = client.call(version, &request);
        for row in &response.responses {
            let expected = if row.name.as_ref() == Some(&name) {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            assert_eq!(row.error_code, expected, "version {version}");
        }
    }
    let name = kit::topic(&mut client, 1);
    let id = kit::topic_id(&mut client, &name);
    let rows = delete(&mut client, vec![DeleteTopicState { name: None, topic_id: id }]);
    assert_eq!(rows[0].error_code, ErrorCode::None);
    assert_eq!((&rows[0].name, rows[0].topic_id), (&Some(name.clone()), id));
    kit::until("it is gone", || !exists(&mut client, &name));
}

#[test]
fn deletions_that_name_no_topic_or_two_are_refused() {
    let mut client = Client::connect();
    let name = kit::topic(&mut client, 1);
    let id = kit::topic_id(&mut client, &name);
    let state =
        |name: Option<&String>, topic_id| vec![DeleteTopicState { name: name.cloned(), topic_id }];
    for (what, states, expected) in [
        ("name and id", state(Some(&name), id), ErrorCode::InvalidRequest),
        ("neither", state(None, Uuid::nil()), ErrorCode::InvalidRequest),
        ("an unknown id", state(None, Uuid::new_v4()), ErrorCode::UnknownTopicId),
        ("an unknown name", state(Some(&unique("absent")), Uuid::nil()), {
            ErrorCode::UnknownTopicOrPartition
        }),
        (
            "a name twice",
            [state(Some(&name), Uuid::nil()), state(Some(&name), Uuid::nil())].concat(),
            ErrorCode::InvalidRequest,
        ),
        (
            "a topic by name and by id",
            [state(Some(&name), Uuid::nil()), state(None, id)].concat(),
            ErrorCode::InvalidRequest,
        ),
    ] {
        let rows = delete(&mut client, states);
        assert!(rows.iter().all(|row| row.error_code == expected), "{what}: {rows:?}");
    }
    assert!(exists(&mut client, &name));
}

#[test]
fn a_topic_made_anew_has_a_new_id_and_starts_at_0() {
    let mut client = Client::connect();
    let name = kit::topic(&mut client, 1);
    kit::produced(&mut client, &name, 0, Batch::of(&["old", "older"]));
    let old_id = kit::topic_id(&mut client, &name);
    let by_name = vec![DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::nil() }];
    assert_eq!(delete(&mut client, by_name)[0].error_code, ErrorCode::None);
    if broker::shared().is_kafka() {
        // Differs from Kafka: there a deletion shows some ms after its answer.
        kit::until("it is gone", || !exists(&mut client, &name));
    }
    let lost = kit::produce(&mut client, &name, 0, Batch::of(&["lost"]));
    assert_eq!(lost.error_code, ErrorCode::UnknownTopicOrPartition);
    kit::create_topic(&mut client, &name, 1, &[]);
    let new_id = kit::topic_id(&mut client, &name);
    assert_ne!(new_id, old_id);
    assert_eq!(kit::end_offset(&mut client, &name, 0), 0);
    for version in 13..=18 {
        let mut request: FetchRequest = kit::fetch_request("", 0, 0);
        request.topics[0].topic_id = old_id;
        let data = kit::only_partition(&client.call(version, &request));
        assert_eq!(data.error_code, ErrorCode::UnknownTopicId);
    }
    assert_eq!(kit::produced(&mut client, &name, 0, Batch::of(&["new"])), 0);
}
