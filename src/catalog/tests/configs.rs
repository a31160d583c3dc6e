//! Settings: altered, replaced, described (spec: semantics 7.4).

use super::fixture::{change, cluster, topic, topic_resource, with_configs};
use crate::catalog::ConfigOperation::{Append, Delete, Set, Subtract};
use crate::catalog::{CatalogError, ConfigResource, ConfigSource};
use crate::config::ConfigTable;
use crate::types::NodeId;

fn is_config<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> bool {
    matches!(result, Err(CatalogError::InvalidConfig(_)))
}

fn is_request<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> bool {
    matches!(result, Err(CatalogError::InvalidRequest(_)))
}

fn group(name: &str) -> ConfigResource {
    ConfigResource::Group(name.to_owned())
}

#[test]
fn single_settings_are_set_deleted_added_to_and_taken_from() {
    let mut cluster = cluster(1, &[]);
    cluster.create(&topic("t")).unwrap();
    let t = topic_resource("t");
    for (operation, value, expected) in [
        (Append, "compact", "delete,compact"),
        (Append, "delete,compact", "delete,compact"),
        (Subtract, "delete", "compact"),
        (Subtract, "delete", "compact"),
        (Subtract, "compact", ""),
        (Set, "delete", "delete"),
        (Delete, "null", "delete"),
        (Delete, "ignored", "delete"),
    ] {
        cluster.alter(&t, &[change("cleanup.policy", operation, value)]).unwrap();
        assert_eq!(cluster.value(&t, "cleanup.policy"), expected, "{operation:?} {value}");
    }
    assert_eq!(cluster.row(&t, "cleanup.policy").source, ConfigSource::Default);
}

#[test]
fn bad_changes_are_refused_and_change_nothing() {
    let mut cluster = cluster(1, &[]);
    cluster.create(&topic("t")).unwrap();
    let t = topic_resource("t");
    let good = change("retention.ms", Set, "1");
    for (bad, is_expected) in [
        (change("nope", Set, "1"), is_config as fn(Result<(), CatalogError>) -> bool),
        (change("segment.bytes", Set, "x"), is_config),
        (change("segment.bytes", Append, "1"), is_config),
        (change("nope", Append, "1"), is_config),
        (change("cleanup.policy", Append, "foo"), is_config),
        (change("min.compaction.lag.ms", Set, "9223372036854775807"), |result| result.is_ok()),
        (change("segment.bytes", Set, "null"), is_request),
        (change("cleanup.policy", Append, "null"), is_request),
        (good.clone(), is_request),
    ] {
        let result = cluster.alter(&t, &[good.clone(), bad.clone()]);
        let is_ok = result.is_ok();
        assert!(is_expected(result), "{bad:?}");
        let expected = if is_ok { "1" } else { "604800000" };
        assert_eq!(cluster.value(&t, "retention.ms"), expected, "{bad:?}");
        cluster.alter(&t, &[change("retention.ms", Delete, "null")]).unwrap();
    }
    let unknown = cluster.set(&topic_resource("u"), "retention.ms", "1");
    assert_eq!(unknown, Err(CatalogError::UnknownTopic("u".to_owned())));
}

#[test]
fn a_resource_that_stands_twice_is_refused_and_others_are_not() {
    let mut cluster = cluster(1, &[]);
    cluster.create(&topic("t")).unwrap();
    cluster.create(&topic("u")).unwrap();
    let set = || vec![change("retention.ms", Set, "1")];
    let (t, u) = (topic_resource("t"), topic_resource("u"));
    let decided = cluster.catalog.alter_configs(&[
        (t.clone(), set()),
        (u.clone(), set()),
        (t.clone(), set()),
    ]);
    assert_eq!(decided.len(), 2);
    assert!(is_request(decided[0].1.clone()));
    assert_eq!(decided[1].1.as_ref().unwrap().len(), 1);
}

#[test]
fn replacing_takes_away_what_is_not_given() {
    let mut cluster = cluster(1, &[]);
    cluster.create(&with_configs("t", &[("retention.ms", "1"), ("segment.ms", "2")])).unwrap();
    let t = topic_resource("t");
    let given = |pairs: &[(&str, &str)]| with_configs("", pairs).configs;
    for bad in [
        &[("nope", "1")][..],
        &[("segment.ms", "0")],
        &[("segment.ms", "null")],
        &[("segment.ms", "3"), ("segment.ms", "3")],
    ] {
        let (_, result) =
            cluster.catalog.replace_configs(&[(t.clone(), given(bad))]).pop().unwrap();
        result.unwrap_err();
    }
    let request = (t.clone(), given(&[("segment.ms", "3"), ("preallocate", "true")]));
    let (_, records) = cluster.catalog.replace_configs(&[request]).pop().unwrap();
    cluster.apply(&records.unwrap());
    assert_eq!(cluster.value(&t, "retention.ms"), "604800000");
    assert_eq!(cluster.value(&t, "segment.ms"), "3");
    assert_eq!(cluster.value(&t, "preallocate"), "true");
}

#[test]
fn a_setting_that_is_there_already_writes_no_record() {
    let mut cluster = cluster(1, &[]);
    cluster.create(&with_configs("t", &[("retention.ms", "1")])).unwrap();
    let before = cluster.journal.len();
    cluster.set(&topic_resource("t"), "retention.ms", " 1 ").unwrap();
    assert_eq!(cluster.journal.len(), before);
}

/// As Apache Kafka 4.3.1 lists them for these settings.
#[test]
fn a_broker_key_has_what_is_weaker_among_its_synonyms_and_nothing_stronger() {
    let mut cluster = cluster(1, &[("log.retention.hours", "168"), ("num.partitions", "3")]);
    let one = ConfigResource::Broker(NodeId(1));
    cluster.set(&ConfigResource::BrokerDefaults, "log.retention.ms", "5").unwrap();
    let synonyms = |key: &str| {
        let rows = cluster.row(&one, key).synonyms.into_iter();
        rows.map(|row| format!("{:?} {}={}", row.source, row.name, row.value.unwrap())).collect()
    };
    let check = |key: &str, expected: &[&str]| {
        let found: Vec<String> = synonyms(key);
        assert_eq!(found, expected, "{key}");
    };
    let hours = ["StaticBroker log.retention.hours=168", "Default log.retention.hours=168"];
    check("log.retention.ms", &["DynamicDefaultBroker log.retention.ms=5", hours[0], hours[1]]);
    check("log.retention.minutes", &[]);
    check("log.retention.hours", &hours);
    check("num.partitions", &["StaticBroker num.partitions=3", "Default num.partitions=3"]);
    check("log.segment.bytes", &["Default log.segment.bytes=1073741824"]);
}

#[test]
fn brokers_take_what_is_dynamic_and_topics_inherit_it() {
    let mut cluster = cluster(1, &[("log.retention.hours", "2")]);
    cluster.create(&topic("t")).unwrap();
    cluster.create(&with_configs("own", &[("retention.ms", "9")])).unwrap();
    let (t, all, one) =
        (topic_resource("t"), ConfigResource::BrokerDefaults, ConfigResource::Broker(NodeId(1)));
    let retention = |cluster: &super::fixture::Cluster| {
        let row = cluster.row(&t, "retention.ms");
        (
            row.value.unwrap(),
            row.source,
            cluster.catalog.topic_named("t").unwrap().config.retention_ms,
        )
    };
    assert_eq!(retention(&cluster), ("7200000".to_owned(), ConfigSource::StaticBroker, 7_200_000));
    cluster.set(&all, "log.retention.ms", "5").unwrap();
    assert_eq!(retention(&cluster), ("5".to_owned(), ConfigSource::DynamicDefaultBroker, 5));
    cluster.set(&one, "log.retention.ms", "6").unwrap();
    assert_eq!(retention(&cluster), ("6".to_owned(), ConfigSource::DynamicBroker, 6));
    assert_eq!(cluster.value(&topic_resource("own"), "retention.ms"), "9");
    cluster.alter(&one, &[change("log.retention.ms", Delete, "null")]).unwrap();
    assert_eq!(retention(&cluster), ("5".to_owned(), ConfigSource::DynamicDefaultBroker, 5));
    let shown = cluster.catalog.describe_configs(&all, None).unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].source, ConfigSource::DynamicDefaultBroker);
    let known = crate::config::broker::BrokerConfig::KEYS.len();
    assert_eq!(cluster.catalog.describe_configs(&one, None).unwrap().len(), known);
    assert!(is_request(cluster.set(&one, "num.partitions", "4")));
    assert!(is_request(cluster.set(&all, "log.retention.hours", "4")));
    assert!(is_request(cluster.set(&one, "message.max.bytes", "-5")));
    assert!(is_request(cluster.set(&one, "log.retention.ms", "0")));
    assert!(is_config(cluster.set(&one, "foo.bar", "5")));
    for absent in ["foo.bar", "num.partitions"] {
        cluster.alter(&one, &[change(absent, Delete, "null")]).unwrap(); // As Kafka does.
    }
    let other = ConfigResource::Broker(NodeId(2));
    assert!(is_request(cluster.set(&other, "message.max.bytes", "5")));
    assert!(is_request(cluster.catalog.describe_configs(&other, None)));
}

#[test]
fn every_setting_behind_a_value_is_shown_the_strongest_first() {
    let mut cluster = cluster(1, &[("log.retention.hours", "2")]);
    cluster.create(&with_configs("t", &[("retention.ms", "9")])).unwrap();
    cluster.set(&ConfigResource::BrokerDefaults, "log.retention.ms", "5").unwrap();
    cluster.set(&ConfigResource::Broker(NodeId(1)), "log.retention.ms", "6").unwrap();
    let shown: Vec<_> = cluster
        .row(&topic_resource("t"), "retention.ms")
        .synonyms
        .into_iter()
        .map(|synonym| format!("{:?} {}={}", synonym.source, synonym.name, synonym.value.unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            "Topic retention.ms=9",
            "DynamicBroker log.retention.ms=6",
            "DynamicDefaultBroker log.retention.ms=5",
            "StaticBroker log.retention.hours=2",
            "Default log.retention.hours=168",
        ]
    );
    let row = cluster.row(&ConfigResource::Broker(NodeId(1)), "log.retention.hours");
    assert!(row.is_read_only);
    assert_eq!(row.source, ConfigSource::StaticBroker);
    assert_eq!(row.synonyms.len(), 2);
    let row = cluster.row(&ConfigResource::Broker(NodeId(1)), "broker.rack");
    assert_eq!((row.value, row.source, row.synonyms.len()), (None, ConfigSource::Default, 0));
}

#[test]
fn describing_finds_only_what_there_is() {
    let mut cluster = cluster(1, &[]);
    cluster.create(&topic("t")).unwrap();
    let keys = ["nope".to_owned(), "segment.ms".to_owned()];
    let rows = cluster.catalog.describe_configs(&topic_resource("t"), Some(&keys)).unwrap();
    assert_eq!(rows.len(), 1);
    let rows = cluster.catalog.describe_configs(&topic_resource("t"), Some(&[])).unwrap();
    assert_eq!(rows.len(), 33);
    let unknown = cluster.catalog.describe_configs(&topic_resource("u"), None);
    assert_eq!(unknown, Err(CatalogError::UnknownTopic("u".to_owned())));
    let bad = cluster.catalog.describe_configs(&topic_resource("a b"), None);
    assert!(matches!(bad, Err(CatalogError::InvalidName { .. })));
}

#[test]
fn groups_have_settings_whether_they_exist_or_not() {
    let mut cluster = cluster(1, &[]);
    let g = group("g");
    cluster.set(&g, "consumer.session.timeout.ms", "50000").unwrap();
    let row = cluster.row(&g, "consumer.session.timeout.ms");
    assert_eq!((row.value.as_deref(), row.source), (Some("50000"), ConfigSource::Group));
    assert_eq!(cluster.value(&group("other"), "consumer.session.timeout.ms"), "45000");
    assert!(is_config(cluster.set(&g, "nope", "1")));
    assert!(is_config(cluster.set(&g, "share.isolation.level", "dirty")));
    assert!(is_request(cluster.set(&group(""), "consumer.session.timeout.ms", "50000")));
    cluster.set(&g, "share.auto.offset.reset", "by_duration:PT1H").unwrap();
    assert!(is_config(cluster.set(&g, "share.auto.offset.reset", "by_duration:")));
    for name in ["consumer.session.timeout.ms", "share.auto.offset.reset"] {
        cluster.alter(&g, &[change(name, Delete, "null")]).unwrap();
    }
    assert_eq!(cluster.catalog.group_overrides("g"), None);
}
