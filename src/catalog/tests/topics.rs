//! Names, CreateTopics, CreatePartitions, DeleteTopics (spec: semantics 7.2, 7.3).

use super::fixture::{Cluster, cluster, topic, with_configs};
use crate::catalog::{
    Catalog, CatalogError, ConfigSource, NewPartitions, NewTopic, Setup, TopicRef, check_name,
};
use crate::ids::Ids;
use crate::types::{LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId};

/// The name of the error's variant.
fn kind<T>(result: Result<T, CatalogError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(CatalogError::TopicExists(_)) => "exists",
        Err(CatalogError::UnknownTopic(_)) => "unknown topic",
        Err(CatalogError::UnknownTopicId(_)) => "unknown id",
        Err(CatalogError::InvalidName { .. }) => "name",
        Err(CatalogError::InvalidPartitions(_)) => "partitions",
        Err(CatalogError::InvalidReplicationFactor(_)) => "replication factor",
        Err(CatalogError::InvalidReplicaAssignment(_)) => "assignment",
        Err(CatalogError::InvalidConfig(_)) => "config",
        Err(CatalogError::InvalidRequest(_)) => "request",
        Err(CatalogError::PolicyViolation(_)) => "policy",
        Err(CatalogError::TopicDeletionDisabled) => "deletion disabled",
    }
}

fn assigned(assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments =
        assignments.iter().map(|(index, brokers)| (*index, brokers.to_vec())).collect();
    NewTopic { assignments, ..topic("t") }
}

#[test]
fn names_are_those_that_kafka_takes() {
    let longest = "x".repeat(249);
    for good in ["a", "...", "a.b-c_D9", "__consumer_offsets", longest.as_str()] {
        check_name(good).unwrap();
    }
    let too_long = "x".repeat(250);
    for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", too_long.as_str()] {
        assert_eq!(kind(check_name(bad)), "name", "{bad:?}");
    }
}

#[test]
fn create_topic_checks() {
    let sized =
        |partitions, replication_factor| NewTopic { partitions, replication_factor, ..topic("t") };
    let both = NewTopic { partitions: 1, ..assigned(&[(0, &[1])]) };
    let many = |partitions| NewTopic { partitions, ..topic("t") };
    for (new, expected) in [
        (topic("t"), "ok"),
        (topic("there.is"), "exists"),
        (topic("there_is"), "name"),
        (topic("a b"), "name"),
        (topic("__cluster_metadata"), "request"),
        (sized(0, 1), "partitions"),
        (sized(-2, 1), "partitions"),
        (sized(1, 0), "replication factor"),
        (sized(1, -2), "replication factor"),
        (sized(1, 3), "ok"),
        (many(10_000), "ok"),
        (many(10_001), "policy"),
        (many(i32::MAX), "policy"),
        (both, "request"),
        (assigned(&[(0, &[1]), (1, &[1])]), "ok"),
        (assigned(&[(1, &[1]), (0, &[1])]), "ok"),
        (assigned(&[(0, &[])]), "assignment"),
        (assigned(&[(1, &[1])]), "assignment"),
        (assigned(&[(0, &[1]), (2, &[1])]), "assignment"),
        (assigned(&[(0, &[1]), (0, &[1])]), "assignment"),
        (assigned(&[(0, &[1, 1])]), "assignment"),
        (assigned(&[(0, &[2])]), "assignment"),
        (with_configs("t", &[("retention.ms", "1"), ("retention.ms", "2")]), "ok"),
        (with_configs("t", &[("retention.ms", "null")]), "config"),
        (with_configs("t", &[("nope", "1")]), "config"),
        (with_configs("t", &[("segment.bytes", "14")]), "config"),
        (
            with_configs("t", &[("min.compaction.lag.ms", "2"), ("max.compaction.lag.ms", "1")]),
            "config",
        ),
    ] {
        let mut cluster = cluster(1, &[]);
        cluster.create(&topic("there.is")).unwrap();
        assert_eq!(kind(cluster.create(&new)), expected, "{new:?}");
    }
}

#[test]
fn a_replication_factor_above_the_nodes_is_clamped_or_refused() {
    let wanted = NewTopic { replication_factor: 3, ..topic("t") };
    let created = cluster(1, &[]).create(&wanted).unwrap();
    assert_eq!((created.replication_factor, created.clamped_from), (1, Some(3)));
    let created = cluster(3, &[]).create(&wanted).unwrap();
    assert_eq!((created.replication_factor, created.clamped_from), (3, None));
    let strict = ("ottla.replication.factor.policy", "strict");
    let error = cluster(1, &[strict]).create(&wanted).unwrap_err();
    assert_eq!(
        error.to_string(),
        "replication factor 3 with 1 broker(s): ask for 1 at most, or set \
         ottla.replication.factor.policy to clamp"
    );
    let default = ("default.replication.factor", "2");
    assert_eq!(kind(cluster(1, &[strict, default]).create(&topic("t"))), "replication factor");
}

#[test]
fn a_new_topic_has_the_brokers_partitions_and_shows_all_its_settings() {
    let mut cluster = cluster(1, &[("log.retention.hours", "1")]);
    let configs = [("cleanup.policy", " compact "), ("retention.ms", "+5")];
    let created = cluster.create(&with_configs("t", &configs)).unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    assert_eq!(created.configs.len(), 33);
    assert!(created.configs.is_sorted_by_key(|row| row.name));
    let rows = cluster.catalog.describe_configs(&super::fixture::topic_resource("t"), None);
    assert_eq!(rows.unwrap(), created.configs);
    let found = cluster.catalog.topic(created.id).unwrap();
    assert_eq!(found.overrides["retention.ms"], "5");
    assert_eq!(found.overrides["cleanup.policy"], "compact");
    assert_eq!(found.config.retention_ms, 5);
    assert!(found.config.cleanup_policy.compacts());
    let partition = found.partition(PartitionIndex(2)).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch), (NodeId(1), LeaderEpoch(0)));
    assert_eq!(found.partition(PartitionIndex(3)), None);
    assert_eq!(found.partition(PartitionIndex(-1)), None);
    let other = cluster.create(&topic("other")).unwrap();
    let retention = other.configs.iter().find(|row| row.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("3600000"));
    assert_eq!(retention.source, ConfigSource::StaticBroker);
}

#[test]
fn leaders_of_new_partitions_go_round_the_nodes() {
    let mut cluster = cluster(3, &[]);
    let new = NewTopic { partitions: 6, replication_factor: 2, ..topic("t") };
    let created = cluster.create(&new).unwrap();
    let partitions = &cluster.catalog.topic(created.id).unwrap().partitions;
    for node in cluster.catalog.nodes() {
        assert_eq!(partitions.iter().filter(|it| it.leader == *node).count(), 2);
        assert_eq!(partitions.iter().filter(|it| it.replicas.contains(node)).count(), 4);
    }
    for partition in partitions {
        assert_eq!(partition.replicas[0], partition.leader);
        assert_ne!(partition.replicas[0], partition.replicas[1]);
        assert_eq!(partition.in_sync, partition.replicas);
    }
}

#[test]
fn topics_of_one_request_stand_or_fall_alone_but_know_each_other() {
    let cluster = cluster(1, &[("ottla.max.partitions", "7")]);
    let request = ["a", "twice", "b.c", "b_c", "twice", "d", "bad name"].map(topic);
    let decided: Vec<_> = cluster
        .catalog
        .create_topics(&request, &cluster.ids)
        .into_iter()
        .map(|(name, result)| (name, kind(result)))
        .collect();
    let expected = [
        ("a", "ok"),
        ("twice", "request"),
        ("b.c", "ok"),
        ("b_c", "name"),
        ("d", "policy"),
        ("bad name", "name"),
    ];
    assert_eq!(decided, expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(cluster.catalog.topics().count(), 0);
}

#[test]
fn create_partitions_checks() {
    let assigned = |brokers: &[&[i32]]| Some(brokers.iter().map(|it| it.to_vec()).collect());
    for (name, count, assignments, expected) in [
        ("t", 4, None, "ok"),
        ("nope", 4, None, "unknown topic"),
        ("t", 3, None, "partitions"),
        ("t", 2, None, "partitions"),
        ("t", -1, None, "partitions"),
        ("t", i32::MAX, None, "policy"),
        ("t", 5, assigned(&[&[1], &[1]]), "ok"),
        ("t", 5, assigned(&[&[1]]), "assignment"),
        ("t", 4, assigned(&[&[2]]), "assignment"),
        ("t", 4, assigned(&[&[1, 1]]), "assignment"),
        ("t", 4, assigned(&[&[]]), "assignment"),
    ] {
        let mut cluster = cluster(1, &[]);
        cluster.create(&topic("t")).unwrap();
        let asked = format!("{name} {count} {assignments:?}");
        assert_eq!(kind(cluster.grow(name, count, assignments)), expected, "{asked}");
    }
}

#[test]
fn partitions_are_added_behind_the_old_ones() {
    let mut cluster = cluster(1, &[]);
    let created = cluster.create(&topic("t")).unwrap();
    let before = cluster.catalog.topic(created.id).unwrap().partitions.clone();
    cluster.grow("t", 5, None).unwrap();
    let after = &cluster.catalog.topic(created.id).unwrap().partitions;
    assert_eq!(after[..3], before);
    assert_eq!((after.len(), cluster.catalog.partition_count()), (5, 5));
    let twice = NewPartitions { name: "t".to_owned(), count: 9, assignments: None };
    let mut decided = cluster.catalog.create_partitions(&[twice.clone(), twice]);
    assert_eq!(decided.len(), 1);
    assert_eq!(kind(decided.pop().unwrap().1), "request");
}

#[test]
fn deleted_topics_are_gone_by_name_and_id_and_come_back_as_others() {
    let mut cluster = cluster(1, &[]);
    let first = cluster.create(&topic("a.b")).unwrap().id;
    let by_name = || TopicRef::Name("a.b".to_owned());
    cluster.delete(by_name()).unwrap();
    assert_eq!(kind(cluster.delete(by_name())), "unknown topic");
    assert_eq!(kind(cluster.delete(TopicRef::Id(first))), "unknown id");
    assert_eq!(cluster.catalog.partition_count(), 0);
    let second = cluster.create(&topic("a_b")).unwrap().id;
    assert_ne!(first, second);
    let both = [TopicRef::Name("a_b".to_owned()), TopicRef::Id(second)];
    for (_, result) in cluster.catalog.delete_topics(&both) {
        assert_eq!(kind(result), "request");
    }
    let unknown = [TopicRef::Id(TopicId::ZERO), by_name(), by_name()];
    let decided = cluster.catalog.delete_topics(&unknown);
    assert_eq!(decided.len(), 2);
    cluster.delete(TopicRef::Id(second)).unwrap();
    assert_eq!(cluster.catalog.topics().count(), 0);
}

#[test]
fn topics_stay_where_deletion_is_off() {
    let mut cluster = cluster(1, &[("delete.topic.enable", "false")]);
    cluster.create(&topic("t")).unwrap();
    assert_eq!(kind(cluster.delete(TopicRef::Name("t".to_owned()))), "deletion disabled");
    assert!(cluster.catalog.topic_named("t").is_some());
}

#[test]
fn the_offsets_topic_is_made_as_kafka_makes_it() {
    let settings = [
        ("offsets.topic.replication.factor", "3"),
        ("ottla.replication.factor.policy", "strict"),
        ("offsets.topic.num.partitions", "50"), // As Kafka has it; nothing would use the others.
    ];
    let mut cluster = cluster(1, &settings);
    let new = cluster.catalog.topic_on_demand("__consumer_offsets");
    let created = cluster.create(&new).unwrap();
    let topic = cluster.catalog.topic(created.id).unwrap();
    assert!(topic.is_internal());
    let deleted = cluster.catalog.delete_topics(&[TopicRef::Id(created.id)]).remove(0).1;
    assert!(
        matches!(deleted, Err(CatalogError::InvalidRequest(_))),
        "it holds all groups' offsets"
    );
    assert_eq!((created.partitions, created.replication_factor), (1, 1));
    assert_eq!(topic.config.segment_bytes, 104_857_600);
    assert!(topic.config.cleanup_policy.compacts());
    assert_eq!(cluster.catalog.topic_on_demand("t"), NewTopic::named("t"));
}

#[test]
fn producer_ids_are_given_away_in_blocks_and_never_twice() {
    let Cluster { mut catalog, .. } = cluster(1, &[]);
    let mut next = 0;
    for _ in 0..3 {
        let (record, mut block) = catalog.allocate_producer_ids(NodeId(1));
        catalog.replay(&record);
        while let Some(id) = block.take() {
            assert_eq!(id, ProducerId(next));
            next += 1;
        }
    }
    assert_eq!((next, catalog.next_producer_id()), (3_000, 3_000));
}

#[test]
fn no_more_partitions_than_files_may_be_open() {
    let setup = Setup { open_files_max: Some(100), ..super::fixture::setup(1, &[]) };
    let mut catalog = Catalog::new(setup);
    let wanted = |partitions| [NewTopic { partitions, ..NewTopic::named("t") }];
    let refused = catalog.create_topics(&wanted(76), &Ids::seeded(1)).remove(0).1.unwrap_err();
    assert!(refused.to_string().contains("75 that can be served with 100 open files"), "{refused}");
    let made = catalog.create_topics(&wanted(75), &Ids::seeded(1)).remove(0).1.unwrap();
    made.records.iter().for_each(|record| drop(catalog.replay(record)));
    assert_eq!(catalog.partition_count(), 75);
}
