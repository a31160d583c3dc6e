//! The tables against Apache Kafka's own, and the rules of single values.
//!
//! `testdata/topic-configs.txt` and `broker-configs.txt` are facts about Kafka 4.3.1: name, type,
//! default, importance, what is valid, and the broker synonyms or whether the key is dynamic.

use std::collections::BTreeMap;

use super::broker::BrokerConfig;
use super::group::GroupConfig;
use super::topic::TopicConfig;
use super::value::{CleanupPolicy, Durability, HttpPort};
use super::{Change, ConfigError, ConfigTable, KeyInfo};

const TOPIC_FACTS: &str = include_str!("testdata/topic-configs.txt");
const GROUP_FACTS: &str = include_str!("testdata/group-configs.txt");
const BROKER_FACTS: &str = include_str!("testdata/broker-configs.txt");

/// One line of Kafka's facts: words first, then what is valid.
struct Fact<'a> {
    name: &'a str,
    kind: &'a str,
    default: &'a str,
    importance: &'a str,
    rest: &'a str,
}

fn facts(text: &str) -> impl Iterator<Item = Fact<'_>> {
    text.lines().map(|line| {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap();
            rest = after.trim_start();
            word
        };
        let (name, kind, default) = (word(), word(), word());
        let (importance, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Fact { name, kind, default, importance, rest: rest.trim() }
    })
}

fn default_of<Table: ConfigTable>(name: &str) -> String {
    match Table::default().value_of(name).unwrap() {
        None => "null".to_owned(),
        Some(text) if text.is_empty() => "\"\"".to_owned(),
        Some(text) => text,
    }
}

fn importance(info: &KeyInfo) -> String {
    format!("{:?}", info.importance).to_uppercase()
}

#[test]
fn topic_table_is_that_of_kafka() {
    for fact in facts(TOPIC_FACTS) {
        let info = TopicConfig::info(fact.name).unwrap();
        let (valid, synonyms) = fact.rest.split_once("<-").unwrap_or((fact.rest, ""));
        assert_eq!(info.kind.to_string(), fact.kind, "{}", fact.name);
        assert_eq!(default_of::<TopicConfig>(fact.name), fact.default, "{}", fact.name);
        assert_eq!(importance(info), fact.importance, "{}", fact.name);
        let names: Vec<_> = info.synonyms.iter().map(|synonym| synonym.name).collect();
        assert_eq!(names.join(", "), synonyms.trim(), "{}", fact.name);
        if !fact.name.starts_with("remote.") {
            assert_eq!(info.valid.to_string(), valid.trim(), "{}", fact.name);
        }
    }
    let names: Vec<_> = TopicConfig::KEYS.iter().map(|key| key.info.name).collect();
    assert_eq!(names, facts(TOPIC_FACTS).map(|fact| fact.name).collect::<Vec<_>>());
}

#[test]
fn broker_table_differs_from_kafka_only_where_it_says_so() {
    for fact in facts(BROKER_FACTS) {
        let info = BrokerConfig::info(fact.name).unwrap();
        assert_eq!(importance(info), fact.importance, "{}", fact.name);
        let dynamic = fact.rest.ends_with("dynamic") && !fact.name.starts_with("listener");
        assert_eq!(info.change == Change::Dynamic, dynamic, "{}", fact.name);
        let ours = default_of::<BrokerConfig>(fact.name);
        assert_eq!(info.kafka_default.unwrap_or(&ours), fact.default, "{}", fact.name);
        assert_ne!(info.kafka_default, Some(ours.as_str()), "{}", fact.name);
    }
    let names: Vec<_> = BrokerConfig::KEYS.iter().map(|key| key.info.name).collect();
    assert!(names.is_sorted());
}

#[test]
fn group_table_is_that_of_kafka() {
    for (fact, key) in facts(GROUP_FACTS).zip(GroupConfig::KEYS) {
        assert_eq!(key.info.name, fact.name);
        assert_eq!(key.info.kind.to_string(), fact.kind, "{}", fact.name);
        assert_eq!(default_of::<GroupConfig>(fact.name), fact.default, "{}", fact.name);
        assert_eq!(key.info.valid.to_string(), fact.rest, "{}", fact.name);
    }
    assert_eq!(GroupConfig::KEYS.len(), facts(GROUP_FACTS).count());
}

#[test]
fn every_synonym_is_a_broker_key_and_every_default_comes_through() {
    for key in TopicConfig::KEYS {
        for synonym in key.info.synonyms {
            assert!(BrokerConfig::info(synonym.name).is_some(), "{}", synonym.name);
        }
    }
    let inherited = TopicConfig::inherited(&BrokerConfig::default()).unwrap();
    assert_eq!(inherited, TopicConfig::default());
    BrokerConfig::default().check().unwrap();
}

#[test]
fn broker_keys_give_topics_their_defaults_the_finer_unit_first() {
    let inherited = |settings: &[(&str, &str)]| {
        let mut broker = BrokerConfig::default();
        for (name, value) in settings {
            broker.set(name, value).unwrap();
        }
        TopicConfig::inherited(&broker).unwrap()
    };
    let hours = ("log.retention.hours", "2");
    let minutes = ("log.retention.minutes", "3");
    let ms = ("log.retention.ms", "5");
    assert_eq!(inherited(&[hours]).retention_ms, 7_200_000);
    assert_eq!(inherited(&[hours, minutes]).retention_ms, 180_000);
    assert_eq!(inherited(&[hours, minutes, ms]).retention_ms, 5);
    assert_eq!(inherited(&[("log.retention.hours", "-1")]).retention_ms, -1);
    assert_eq!(inherited(&[("log.roll.hours", "1")]).segment_ms, 3_600_000);
    assert_eq!(inherited(&[("log.roll.jitter.hours", "1")]).segment_jitter_ms, 3_600_000);
    assert_eq!(inherited(&[("log.flush.scheduler.interval.ms", "9")]).flush_ms, 9);
    assert_eq!(inherited(&[("message.max.bytes", "7")]).max_message_bytes, 7);
}

/// Sets one topic key over the defaults; what it then reads as, or the error's text.
fn topic(name: &str, value: &str) -> Result<String, String> {
    let overrides = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let config = TopicConfig::resolve(&TopicConfig::default(), &overrides)
        .map_err(|error| error.to_string())?;
    Ok(config.value_of(name).unwrap().unwrap())
}

#[test]
fn values_at_the_edges_of_their_ranges() {
    let taken = [
        ("compression.gzip.level", "-1 1 9", "0 10 x"),
        ("compression.lz4.level", "1 17", "0 18"),
        ("compression.zstd.level", "-131072 22", "-131073 23"),
        ("compression.type", "zstd producer uncompressed", "none ZSTD"),
        ("flush.messages", "1", "0"),
        ("local.retention.ms", "-2", "-3"),
        ("max.compaction.lag.ms", "1", "0"),
        ("message.timestamp.type", "CreateTime LogAppendTime", "createtime"),
        ("min.cleanable.dirty.ratio", "0.0 1.0 0.25", "1.1 -0.1 NaN inf"),
        ("min.insync.replicas", "1 3", "0 2147483648"),
        ("preallocate", "true false", "yes"),
        ("remote.storage.enable", "false", "true"),
        ("retention.bytes", "-1 0 -7", "1.5"),
        ("retention.ms", "-1 0", "-2 9223372036854775808"),
        ("segment.bytes", "1048576", "1048575"),
        ("segment.index.bytes", "4", "3"),
        ("leader.replication.throttled.replicas", "* 0:1,1:2", "[foo] 0 0:1:2"),
    ];
    for (name, good, bad) in taken {
        for value in good.split(' ') {
            assert_eq!(topic(name, value).as_deref(), Ok(value), "{name}");
        }
        for value in bad.split(' ') {
            topic(name, value).unwrap_err();
        }
    }
}

#[test]
fn text_around_a_value_and_the_case_of_booleans_do_not_matter() {
    assert_eq!(topic("retention.ms", " +7 ").unwrap(), "7");
    assert_eq!(topic("preallocate", "TRUE").unwrap(), "true");
    assert_eq!(topic("cleanup.policy", " compact , delete ").unwrap(), "compact,delete");
    assert_eq!(topic("cleanup.policy", "delete,compact").unwrap(), "delete,compact");
    assert_eq!(topic("cleanup.policy", "compact,compact").unwrap(), "compact");
    assert_eq!(topic("cleanup.policy", "").unwrap(), "");
}

#[test]
fn errors_name_the_key_the_value_and_what_is_valid() {
    let cases = [
        (
            "segment.bytes",
            "14",
            "value \"14\" of segment.bytes is not valid: it must be an INT in [1048576,...]",
        ),
        (
            "cleanup.policy",
            "foo",
            "value \"foo\" of cleanup.policy is not valid: it must be a list of distinct words out of [compact, delete]",
        ),
        ("preallocate", "1", "value \"1\" of preallocate is not valid: it must be a BOOLEAN"),
        ("retention.mss", "1", "unknown config \"retention.mss\", did you mean \"retention.ms\"?"),
        ("nope", "1", "unknown config \"nope\""),
        (
            "remote.storage.enable",
            "true",
            "value \"true\" of remote.storage.enable is not valid: it must be false (ottla has no tiered storage)",
        ),
        (
            "message.timestamp.difference.max.ms",
            "1",
            "unknown config \"message.timestamp.difference.max.ms\", did you mean \"message.timestamp.after.max.ms\"?",
        ),
    ];
    for (name, value, text) in cases {
        assert_eq!(topic(name, value).unwrap_err(), text);
    }
}

#[test]
fn compaction_lags_that_contradict_each_other_are_refused() {
    let overrides = ["min.compaction.lag.ms", "max.compaction.lag.ms"]
        .into_iter()
        .zip(["100", "50"])
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let error = TopicConfig::resolve(&TopicConfig::default(), &overrides).unwrap_err();
    assert_eq!(
        error,
        ConfigError::Conflict(
            "min.compaction.lag.ms 100 is above max.compaction.lag.ms 50".to_owned()
        )
    );
}

#[test]
fn own_types_read_back_as_they_were_written() {
    let mut broker = BrokerConfig::default();
    for (name, value) in [
        ("ottla.durability", "interval:200"),
        ("ottla.durability", "os"),
        ("ottla.durability", "ephemeral"),
        ("ottla.http.port", "off"),
        ("ottla.http.port", "0"),
        ("ottla.replication.factor.policy", "strict"),
        ("listeners", "PLAINTEXT://127.0.0.1:9092,INSIDE://[::1]:0"),
        ("listener.security.protocol.map", "INSIDE:PLAINTEXT,OUTSIDE:SASL_SSL"),
    ] {
        broker.set(name, value).unwrap();
        assert_eq!(broker.value_of(name).unwrap().as_deref(), Some(value));
    }
    assert_eq!(broker.ottla_durability, Durability::Ephemeral);
    assert_eq!(broker.ottla_http_port, HttpPort::On(0));
    for bad in ["interval:0", "interval:", "interval:x", "Fsync", ""] {
        broker.set("ottla.durability", bad).unwrap_err();
    }
    assert!(CleanupPolicy::DeleteCompact.compacts());
    assert!(!CleanupPolicy::Keep.deletes());
}

#[test]
fn broker_settings_that_contradict_each_other_are_refused() {
    for (name, value) in [
        ("group.min.session.timeout.ms", "1800001"),
        ("log.retention.ms", "0"),
        ("log.dirs", "/a,/b"),
        ("log.cleaner.min.compaction.lag.ms", "9223372036854775807"),
    ] {
        let mut broker = BrokerConfig::default();
        broker.set(name, value).unwrap();
        if name.starts_with("log.cleaner") {
            broker.set("log.cleaner.max.compaction.lag.ms", "1").unwrap();
        }
        assert!(matches!(broker.check(), Err(ConfigError::Conflict(_))), "{name}");
    }
}
