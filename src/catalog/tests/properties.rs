//! Random operations, after each of which: the journal replayed, and the snapshot replayed, both make
//! the catalog that is live. A failure prints its seed.

use super::fixture::{Cluster, change, cluster, setup, topic, topic_resource};
use crate::catalog::{Catalog, ConfigOperation, ConfigResource, NewTopic, TopicRef};
use crate::codec::testing::Random;
use crate::types::NodeId;

const NAMES: &[&str] = &["a", "b", "a.b", "a_b", "c-d", "__consumer_offsets", "bad name"];
const SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("cleanup.policy", "delete"),
    ("max.compaction.lag.ms", "5"),
    ("min.compaction.lag.ms", "7"),
    ("retention.ms", "100"),
    ("segment.bytes", "14"),
    ("nope", "1"),
];
const BROKER_SETTINGS: &[(&str, &str)] = &[
    ("log.retention.ms", "77"),
    ("log.cleanup.policy", "compact"),
    ("log.cleaner.max.compaction.lag.ms", "6"),
    ("log.cleaner.min.compaction.lag.ms", "9"),
    ("num.partitions", "4"),
    ("message.max.bytes", "5000"),
];

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len())]
}

/// One operation, refused or not.
fn step(cluster: &mut Cluster, random: &mut Random) {
    let name = pick(random, NAMES);
    let operation = pick(
        random,
        &[
            ConfigOperation::Set,
            ConfigOperation::Set,
            ConfigOperation::Delete,
            ConfigOperation::Append,
            ConfigOperation::Subtract,
        ],
    );
    let (key, value) = pick(random, SETTINGS);
    let (broker_key, broker_value) = pick(random, BROKER_SETTINGS);
    match random.below(8) {
        0 | 1 => {
            let partitions = pick(random, &[-1, 0, 1, 5]);
            let _ = cluster.create(&NewTopic { partitions, replication_factor: 2, ..topic(name) });
        }
        2 => drop(cluster.delete(TopicRef::Name(name.to_owned()))),
        3 => drop(cluster.grow(name, 6, None)),
        4 => drop(cluster.alter(&topic_resource(name), &[change(key, operation, value)])),
        5 => {
            let resource = if random.one_in(2) {
                ConfigResource::BrokerDefaults
            } else {
                ConfigResource::Broker(NodeId(1))
            };
            let _ = cluster.alter(&resource, &[change(broker_key, operation, broker_value)]);
        }
        6 => {
            let group = ConfigResource::Group(name.to_owned());
            let _ =
                cluster.alter(&group, &[change("consumer.session.timeout.ms", operation, "50000")]);
        }
        _ => {
            let (record, _) = cluster.catalog.allocate_producer_ids(NodeId(1));
            cluster.apply(&[record]);
        }
    }
}

#[test]
fn state_is_nothing_but_replayed_records() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut cluster = cluster(2, &[]);
        for _ in 0..80 {
            let version = cluster.catalog.version();
            step(&mut cluster, &mut random);
            assert!(cluster.catalog.version() >= version, "seed {seed}");
        }
        let mut replayed = Catalog::new(setup(2, &[]));
        for record in &cluster.journal {
            replayed.replay(record);
        }
        assert!(replayed == cluster.catalog, "seed {seed}");
        assert_eq!(replayed.version(), cluster.catalog.version(), "seed {seed}");
        assert_eq!(replayed.skipped_count(), 0, "seed {seed}");
        let mut rebuilt = Catalog::new(setup(2, &[]));
        for record in cluster.catalog.to_records() {
            rebuilt.replay(&record);
        }
        assert!(rebuilt == cluster.catalog, "seed {seed}");
        let partitions: usize = rebuilt.topics().map(|topic| topic.partitions.len()).sum();
        assert_eq!(partitions, rebuilt.partition_count(), "seed {seed}");
    }
}
