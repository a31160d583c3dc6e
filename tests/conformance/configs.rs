//! DescribeConfigs (API 32), IncrementalAlterConfigs (44) and AlterConfigs (33): what is told of a
//! config, which changes are refused, and that a change is in force when it is answered.

use ottla::config::load;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::alter_configs;
use ottla::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResult,
};
use ottla::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest,
};

use super::batch::Batch;
use super::broker;
use super::client::Client;
use super::kit::{self, unique};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
    }
}

#[track_caller]
fn describe(
    client: &mut Client,
    version: i16,
    resource: DescribeConfigsResource,
) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: version >= 3,
    };
    let mut response = client.call(version, &request);
    assert_eq!(response.results.len(), 1);
    let result = response.results.remove(0);
    if result.error_code == ErrorCode::None {
        assert_eq!(result.error_message.as_deref(), Some(""), "empty, and not null");
    }
    result
}

#[track_caller]
fn config(client: &mut Client, topic: &str, key: &str) -> DescribeConfigsResourceResult {
    let result = describe(client, 4, resource(TOPIC, topic, Some(&[key])));
    assert_eq!(result.error_code, ErrorCode::None);
    assert_eq!(result.configs.len(), 1);
    result.configs[0].clone()
}

/// A config's value, and whether it was set for this topic.
#[track_caller]
fn value(client: &mut Client, topic: &str, key: &str) -> (String, bool) {
    let config = config(client, topic, key);
    (config.value.unwrap(), config.config_source == 1)
}

fn change(operation: i8, name: &str, value: Option<&str>) -> AlterableConfig {
    AlterableConfig {
        name: name.to_owned(),
        config_operation: operation,
        value: value.map(str::to_owned),
    }
}

fn alter_resource(
    client: &mut Client,
    kind: i8,
    name: &str,
    configs: Vec<AlterableConfig>,
) -> AlterConfigsResourceResponse {
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.to_owned(), configs };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let row = client.call(1, &request).responses[0].clone();
    assert_eq!((row.resource_type, row.resource_name.as_str()), (kind, name));
    row
}

fn alter(client: &mut Client, topic: &str, configs: Vec<AlterableConfig>) -> ErrorCode {
    let row = alter_resource(client, TOPIC, topic, configs);
    assert!(row.error_code.is_error() || row.error_message.is_none(), "{row:?}");
    row.error_code
}

/// Differs from Kafka: there a change is told and in force some ms after its answer.
fn settle(client: &mut Client, topic: &str, key: &str, expected: &str) {
    if broker::shared().is_kafka() {
        kit::until("the change is told", || value(client, topic, key).0 == expected);
    }
}

#[test]
fn null_and_no_keys_ask_for_all_configs_and_unknown_ones_are_left_out() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for version in 1..=4 {
        let all = describe(&mut client, version, resource(TOPIC, &topic, None));
        assert_eq!(all.error_code, ErrorCode::None);
        let empty = describe(&mut client, version, resource(TOPIC, &topic, Some(&[])));
        let names = |result: &DescribeConfigsResult| {
            let mut names: Vec<_> = result.configs.iter().map(|c| c.name.clone()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&all), names(&empty), "version {version}");
        for key in ["cleanup.policy", "compression.zstd.level", "segment.jitter.ms"] {
            assert!(names(&all).contains(&key.to_owned()), "{key}");
        }
        let keys: &[&str] = &["retention.ms", "no.such.config", "segment.bytes"];
        let some = describe(&mut client, version, resource(TOPIC, &topic, Some(keys)));
        assert_eq!(names(&some), ["retention.ms", "segment.bytes"]);
    }
}

#[test]
fn each_topic_config_has_its_type_default_and_documentation() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for (key, kind, default) in [
        ("cleanup.policy", 7, "delete"),
        ("compression.type", 2, "producer"),
        ("compression.gzip.level", 3, "-1"),
        ("compression.lz4.level", 3, "9"),
        ("compression.zstd.level", 3, "3"),
        ("delete.retention.ms", 5, "86400000"),
        ("file.delete.delay.ms", 5, "60000"),
        ("flush.messages", 5, "9223372036854775807"),
        ("flush.ms", 5, "9223372036854775807"),
        ("index.interval.bytes", 3, "4096"),
        ("max.compaction.lag.ms", 5, "9223372036854775807"),
        ("max.message.bytes", 3, "1048588"),
        ("message.timestamp.after.max.ms", 5, "3600000"),
        ("message.timestamp.before.max.ms", 5, "9223372036854775807"),
        ("message.timestamp.type", 2, "CreateTime"),
        ("min.cleanable.dirty.ratio", 6, "0.5"),
        ("min.compaction.lag.ms", 5, "0"),
        ("min.insync.replicas", 3, "1"),
        ("preallocate", 1, "false"),
        ("retention.bytes", 5, "-1"),
        ("retention.ms", 5, "604800000"),
        ("segment.bytes", 3, "1073741824"),
        ("segment.index.bytes", 3, "10485760"),
        ("segment.ms", 5, "604800000"),
        ("unclean.leader.election.enable", 1, "false"),
    ] {
        let config = config(&mut client, &topic, key);
        assert_eq!((config.config_type, config.value.as_deref()), (kind, Some(default)), "{key}");
        // Differs from Kafka: it keeps min.insync.replicas as a cluster-wide setting of its own.
        if key != "min.insync.replicas" || !broker::shared().is_kafka() {
            assert_eq!(config.config_source, 5, "{key}: a default");
        }
        assert!(!config.read_only && !config.is_sensitive, "{key}");
        assert!(config.documentation.is_some_and(|text| !text.is_empty()), "{key}");
    }
}

#[test]
fn synonyms_tell_where_a_value_comes_from() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("segment.bytes", "2000000")]);
    let synonyms = |config: DescribeConfigsResourceResult| {
        let rows = config.synonyms.into_iter();
        rows.map(|row| (row.name, row.value.unwrap(), row.source)).collect::<Vec<_>>()
    };
    let of = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    let got = synonyms(config(&mut client, &topic, "segment.bytes"));
    let expected = [of("segment.bytes", "2000000", 1), of("log.segment.bytes", "1073741824", 5)];
    assert_eq!(got, expected);
    let got = synonyms(config(&mut client, &topic, "index.interval.bytes"));
    assert_eq!(got, [of("log.index.interval.bytes", "4096", 5)]);
    let request = DescribeConfigsRequest {
        resources: vec![resource(TOPIC, &topic, None)],
        ..Default::default()
    };
    let result = client.call(4, &request).results.remove(0);
    assert!(result.configs.iter().all(|config| config.synonyms.is_empty()), "nobody asked");
    assert!(result.configs.iter().all(|config| config.documentation.is_none()), "nobody asked");
}

#[test]
fn resources_that_do_not_exist_are_refused() {
    let mut client = Client::connect();
    for (what, kind, name, expected) in [
        ("a topic", TOPIC, unique("absent"), ErrorCode::UnknownTopicOrPartition),
        ("a name", TOPIC, "a b".to_owned(), ErrorCode::InvalidTopicException),
        ("no name", TOPIC, String::new(), ErrorCode::InvalidTopicException),
        ("another broker", BROKER, "77".to_owned(), ErrorCode::InvalidRequest),
        ("no broker", BROKER, "one".to_owned(), ErrorCode::InvalidRequest),
        ("a kind", 99, "1".to_owned(), ErrorCode::InvalidRequest),
    ] {
        let result = describe(&mut client, 4, resource(kind, &name, None));
        assert_eq!(result.error_code, expected, "{what}: {result:?}");
        assert!(result.configs.is_empty() && result.error_message.is_some(), "{what}");
        assert_eq!((result.resource_type, result.resource_name), (kind, name));
    }
}

#[test]
fn a_broker_tells_its_own_configs() {
    let mut client = Client::connect();
    let node = client.call(4, &kit::metadata_request(&[])).brokers[0].node_id.to_string();
    let result = describe(&mut client, 4, resource(BROKER, &node, None));
    assert_eq!(result.error_code, ErrorCode::None);
    let find = |name: &str| result.configs.iter().find(|config| config.name == name).unwrap();
    // Differs from Kafka: num.partitions is 3, as the users of ottla expect it.
    let partitions = if broker::shared().is_kafka() { "1" } else { "3" };
    assert_eq!(find("num.partitions").value.as_deref(), Some(partitions));
    assert!(find("listeners").value.is_some());
    let defaults = describe(&mut client, 4, resource(BROKER, "", None));
    assert_eq!(defaults.error_code, ErrorCode::None);
    assert!(defaults.configs.iter().all(|config| config.config_source == 3), "dynamic ones only");
}

#[test]
fn a_setting_that_was_given_is_static_though_it_is_the_default() {
    let flags = [("log.segment.bytes", "1073741824"), ("log.roll.hours", "100"), ("node.id", "7")];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let loaded = load::load(&load::Input { flags, ..Default::default() }).unwrap();
    let broker = broker::Broker::start_with(|builder| builder.loaded(&loaded).ephemeral());
    let mut client = broker.connect();
    let all = describe(&mut client, 4, resource(BROKER, "7", None));
    let source = |key: &str| all.configs.iter().find(|row| row.name == key).unwrap().config_source;
    let (given, default) = (4, 5);
    for key in ["log.segment.bytes", "log.roll.hours", "node.id", "broker.id", "listeners"] {
        assert_eq!(source(key), given, "{key}");
    }
    for key in ["log.segment.delete.delay.ms", "num.partitions", "ottla.http.host"] {
        assert_eq!(source(key), default, "{key}");
    }
    let topic = kit::topic(&mut client, 1);
    let segment = config(&mut client, &topic, "segment.bytes");
    let rows: Vec<_> = segment.synonyms.iter().map(|row| (&*row.name, row.source)).collect();
    assert_eq!(rows, [("log.segment.bytes", given), ("log.segment.bytes", default)]);
    assert_eq!(config(&mut client, &topic, "segment.ms").config_source, given);
}

#[test]
fn configs_are_set_and_taken_back_one_by_one() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("segment.bytes", "2000000")]);
    let set = vec![change(SET, "retention.ms", Some("1000"))];
    assert_eq!(alter(&mut client, &topic, set), ErrorCode::None);
    settle(&mut client, &topic, "retention.ms", "1000");
    assert_eq!(value(&mut client, &topic, "retention.ms"), ("1000".to_owned(), true));
    assert_eq!(value(&mut client, &topic, "segment.bytes"), ("2000000".to_owned(), true));
    let taken_back = vec![change(DELETE, "retention.ms", None)];
    assert_eq!(alter(&mut client, &topic, taken_back), ErrorCode::None);
    settle(&mut client, &topic, "retention.ms", "604800000");
    assert_eq!(value(&mut client, &topic, "retention.ms"), ("604800000".to_owned(), false));
    assert_eq!(value(&mut client, &topic, "segment.bytes").0, "2000000", "untouched");
    let again = vec![change(DELETE, "retention.ms", None)];
    assert_eq!(alter(&mut client, &topic, again), ErrorCode::None, "it need not be set");
}

#[test]
fn lists_grow_and_shrink() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let key = "cleanup.policy";
    for (operation, item, expected) in [
        (APPEND, "compact", "delete,compact"), // Starts from the default, in this order.
        (APPEND, "compact", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "delete", "compact"),
        (APPEND, "delete", "compact,delete"),
    ] {
        let code = alter(&mut client, &topic, vec![change(operation, key, Some(item))]);
        assert_eq!(code, ErrorCode::None, "{operation} {item}");
        settle(&mut client, &topic, key, expected);
        assert_eq!(value(&mut client, &topic, key), (expected.to_owned(), true));
    }
}

#[test]
fn changes_that_cannot_be_are_refused_and_leave_all_as_it_was() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("retention.ms", "5000")]);
    let good = change(SET, "segment.bytes", Some("2000000"));
    for (what, bad, expected) in [
        ("unknown", change(SET, "no.such.config", Some("1")), ErrorCode::InvalidConfig),
        ("no number", change(SET, "retention.ms", Some("week")), ErrorCode::InvalidConfig),
        ("too low", change(SET, "retention.ms", Some("-2")), ErrorCode::InvalidConfig),
        ("null", change(SET, "retention.ms", None), ErrorCode::InvalidRequest),
        ("null to append", change(APPEND, "cleanup.policy", None), ErrorCode::InvalidRequest),
        ("no list", change(APPEND, "retention.ms", Some("1")), ErrorCode::InvalidConfig),
        ("no list", change(SUBTRACT, "retention.ms", Some("1")), ErrorCode::InvalidConfig),
        ("a bad item", change(APPEND, "cleanup.policy", Some("shred")), ErrorCode::InvalidConfig),
        ("twice", change(SET, "segment.bytes", Some("3000000")), ErrorCode::InvalidRequest),
    ] {
        let row = alter_resource(&mut client, TOPIC, &topic, vec![good.clone(), bad]);
        assert_eq!(row.error_code, expected, "{what}: {row:?}");
        assert!(row.error_message.is_some(), "{what}");
        assert_eq!(value(&mut client, &topic, "retention.ms").0, "5000");
        assert_eq!(value(&mut client, &topic, "segment.bytes").0, "1073741824", "{what}");
    }
    let row = alter_resource(&mut client, TOPIC, &topic, vec![change(SET, "no.such", Some("1"))]);
    assert!(row.error_message.unwrap().contains("no.such"), "named");
    if !broker::shared().is_kafka() {
        // Differs from Kafka: an operation that does not exist unseats its controller.
        let code = alter(&mut client, &topic, vec![change(9, "retention.ms", Some("1"))]);
        assert_eq!(code, ErrorCode::InvalidRequest);
    }
}

#[test]
fn resources_of_one_change_stand_alone_and_none_comes_twice() {
    let mut client = Client::connect();
    let (one, two) = (kit::topic(&mut client, 1), kit::topic(&mut client, 1));
    let of = |name: &str, value: &str| AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.to_owned(),
        configs: vec![change(SET, "retention.ms", Some(value))],
    };
    let absent = unique("absent");
    let resources = vec![of(&one, "1"), of(&two, "bad"), of(&absent, "1")];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let response = client.call(1, &request);
    let code = |name: &str| {
        response.responses.iter().find(|row| row.resource_name == name).unwrap().error_code
    };
    assert_eq!(code(&one), ErrorCode::None);
    assert_eq!(code(&two), ErrorCode::InvalidConfig);
    assert_eq!(code(&absent), ErrorCode::UnknownTopicOrPartition);
    let resources = vec![of(&two, "1"), of(&two, "2")];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let response = client.call(0, &request);
    assert!(response.responses.iter().all(|row| row.error_code == ErrorCode::InvalidRequest));
    assert!(!value(&mut client, &two, "retention.ms").1);
}

#[test]
fn validation_alone_changes_nothing() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for (new_value, expected) in [("1", ErrorCode::None), ("bad", ErrorCode::InvalidConfig)] {
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.clone(),
            configs: vec![change(SET, "retention.ms", Some(new_value))],
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: true };
        assert_eq!(client.call(1, &request).responses[0].error_code, expected);
        let response = client.call(2, &replacing(&topic, &[("retention.ms", new_value)], true));
        assert_eq!(response.responses[0].error_code, expected);
    }
    assert!(!value(&mut client, &topic, "retention.ms").1);
}

fn replacing(
    topic: &str,
    configs: &[(&str, &str)],
    validate_only: bool,
) -> alter_configs::AlterConfigsRequest {
    let configs = configs.iter().map(|(name, value)| alter_configs::AlterableConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    });
    let resource = alter_configs::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        configs: configs.collect(),
    };
    alter_configs::AlterConfigsRequest { resources: vec![resource], validate_only }
}

#[test]
fn the_old_way_replaces_all_that_was_set() {
    let mut client = Client::connect();
    let configs = [("retention.ms", "5000"), ("segment.bytes", "2000000")];
    let topic = kit::topic_with(&mut client, 1, &configs);
    for (version, retention) in [(0, "6000"), (1, "7000"), (2, "8000")] {
        let response =
            client.call(version, &replacing(&topic, &[("retention.ms", retention)], false));
        let row = &response.responses[0];
        assert_eq!((row.error_code, &row.error_message), (ErrorCode::None, &None));
        settle(&mut client, &topic, "retention.ms", retention);
        assert_eq!(value(&mut client, &topic, "retention.ms"), (retention.to_owned(), true));
        assert!(!value(&mut client, &topic, "segment.bytes").1);
    }
    let bad = replacing(&topic, &[("no.such.config", "1")], false);
    assert_eq!(client.call(2, &bad).responses[0].error_code, ErrorCode::InvalidConfig);
    assert_eq!(value(&mut client, &topic, "retention.ms").0, "8000");
    client.call(2, &replacing(&topic, &[], false));
    settle(&mut client, &topic, "retention.ms", "604800000");
    assert!(!value(&mut client, &topic, "retention.ms").1, "none is left");
}

#[test]
fn groups_have_configs_before_they_exist() {
    let mut client = Client::connect();
    let group = unique("group");
    let key = "consumer.session.timeout.ms";
    let set = vec![change(SET, key, Some("50000"))];
    assert_eq!(alter_resource(&mut client, GROUP, &group, set).error_code, ErrorCode::None);
    kit::until("the change is told", || {
        let result = describe(&mut client, 4, resource(GROUP, &group, Some(&[key])));
        assert_eq!(result.error_code, ErrorCode::None);
        result.configs.iter().any(|config| config.value.as_deref() == Some("50000"))
    });
    let bad = vec![change(SET, "no.such.config", Some("1"))];
    let row = alter_resource(&mut client, GROUP, &group, bad);
    assert_eq!(row.error_code, ErrorCode::InvalidConfig);
}

#[test]
fn a_change_is_in_force_for_the_next_produce() {
    let mut client = Client::connect();
    let topic = kit::topic_with(&mut client, 1, &[("max.message.bytes", "500")]);
    let large = Batch::of(&[&"x".repeat(2_000)]).bytes();
    let code = kit::produce(&mut client, &topic, 0, large.clone()).error_code;
    assert_eq!(code, ErrorCode::MessageTooLarge);
    alter(&mut client, &topic, vec![change(SET, "max.message.bytes", Some("5000"))]);
    settle(&mut client, &topic, "max.message.bytes", "5000");
    kit::produced(&mut client, &topic, 0, large.clone());
    alter(&mut client, &topic, vec![change(SET, "cleanup.policy", Some("compact"))]);
    settle(&mut client, &topic, "cleanup.policy", "compact");
    let code = kit::produce(&mut client, &topic, 0, large.clone()).error_code;
    assert_eq!(code, ErrorCode::InvalidRecord, "it has no key");
    let changes = vec![
        change(DELETE, "cleanup.policy", None),
        change(SET, "message.timestamp.type", Some("LogAppendTime")),
    ];
    alter(&mut client, &topic, changes);
    settle(&mut client, &topic, "message.timestamp.type", "LogAppendTime");
    let row = kit::produce(&mut client, &topic, 0, large);
    assert!(row.log_append_time_ms > 0, "{row:?}");
}
