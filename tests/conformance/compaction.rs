//! Compacted topics: of each key the newest record is left, at its offset, in batches that every
//! client reads. An Apache Kafka that is asked needs `log.cleaner.backoff.ms` far below its default.

use bytes::Bytes;
use ottla::config::ConfigTable;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla::records::ValidBatch;

use super::batch::{Batch, Record, Stored};
use super::broker::Broker;
use super::client::Client;
use super::kit;

/// Records an hour old at most are so far apart that each batch begins a segment.
const STEP_MS: i64 = 1_000;
/// Segments of one batch, compacted as soon as they are closed.
const EAGER: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];

/// The given broker, or one whose cleaner does not pause for long.
fn broker() -> Broker {
    if std::env::var("OTTLA_TEST_BOOTSTRAP").is_ok() {
        return Broker::start();
    }
    Broker::start_set(&[("log.cleaner.backoff.ms", "20")])
}

/// A topic that is written batch by batch, each in a segment of its own.
struct Topic {
    client: Client,
    name: String,
    time: i64,
}

impl Topic {
    fn new(broker: &Broker, more: &[(&str, &str)]) -> Self {
        let mut client = broker.connect();
        let mut configs = EAGER.to_vec();
        configs.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
        configs.extend(more);
        let name = kit::topic_with(&mut client, 1, &configs);
        Self { client, name, time: kit::now_ms() - 3_000_000 }
    }

    fn records(&mut self, records: &[(&str, Option<&str>)]) -> Batch {
        self.time += STEP_MS;
        let record = |(key, value): &(&str, Option<&str>)| Record {
            value: value.map(|value| value.as_bytes().to_vec()),
            ..Record::at(self.time, "").key(key)
        };
        Batch::records(records.iter().map(record).collect())
    }

    fn put(&mut self, records: &[(&str, Option<&str>)]) -> i64 {
        let batch = self.records(records);
        self.produce(batch)
    }

    fn produce(&mut self, batch: impl Into<Bytes>) -> i64 {
        kit::produced(&mut self.client, &self.name, 0, batch)
    }

    fn producer_id(&mut self) -> i64 {
        let mut id = -1;
        // Differs from Kafka: a fresh broker has none to give for a moment (15).
        kit::until("there is a producer id", || {
            let response = self.client.call(4, &InitProducerIdRequest::default());
            id = response.producer_id;
            response.error_code == ErrorCode::None
        });
        id
    }

    /// Closes the segment before, with a record of its own key.
    fn roll(&mut self) -> i64 {
        self.put(&[("active", Some("x"))])
    }

    /// All that is stored, whatever its segments.
    fn stored(&mut self) -> Vec<Stored> {
        let mut found: Vec<Stored> = Vec::new();
        let mut next = kit::list_offsets(&mut self.client, &self.name, 0, -2).offset;
        let end = kit::end_offset(&mut self.client, &self.name, 0);
        while next < end {
            let batches = kit::stored(&mut self.client, &self.name, 0, next);
            assert!(!batches.is_empty(), "nothing at {next} though the end is {end}");
            found.extend(batches);
            let last = found.last().unwrap();
            next = last.base_offset + i64::from(last.last_offset_delta) + 1;
        }
        found
    }

    /// `offset:key=value` of all records but those of [`Topic::roll`].
    fn told(&mut self) -> String {
        let words: Vec<_> = self.stored().iter().flat_map(rows).collect();
        words.into_iter().filter(|row| !row.contains("active")).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn until(&mut self, expected: &str) {
        let mut told = String::new();
        let clock = ottla::clock::Clock::system();
        while clock.elapsed() < super::client::ANSWER_MAX {
            told = self.told();
            if told == expected {
                return;
            }
            std::thread::yield_now();
        }
        panic!("never {expected:?}, but {told:?}");
    }

    fn alter(&mut self, name: &str, value: &str) {
        alter(&mut self.client, (2, &self.name), (name, value));
    }
}

/// Sets a config of a topic (2) or broker (4).
fn alter(client: &mut Client, (kind, resource): (i8, &str), (name, value): (&str, &str)) {
    let config = AlterableConfig {
        name: name.to_owned(),
        config_operation: 0,
        value: Some(value.to_owned()),
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: resource.to_owned(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = client.call(1, &request);
    assert_eq!(response.responses[0].error_code, ErrorCode::None, "{response:?}");
}

fn rows(batch: &Stored) -> Vec<String> {
    let batch = ValidBatch::parse_stored(batch.bytes.clone()).unwrap();
    let records = batch.records(1 << 20).unwrap();
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or("-".to_owned(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
    };
    let row = |record: ottla::records::Record<'_>| {
        format!("{}:{}={}", record.offset, text(record.key), text(record.value))
    };
    records.iter().map(|record| row(record.unwrap())).collect()
}

#[test]
fn the_newest_record_of_each_key_is_left_at_its_offset() {
    let broker = broker();
    for codec in [0, 1, 2, 3, 4] {
        let mut topic = Topic::new(&broker, &[]);
        for value in ["1", "2"] {
            for keys in [["a", "b"], ["c", "a"]] {
                let records = keys.map(|key| (key, Some(value)));
                let batch = topic.records(&records).codec(codec);
                topic.produce(batch);
            }
        }
        topic.roll();
        topic.until("5:b=2 6:c=2 7:a=2");
        let frames: Vec<_> = topic
            .stored()
            .iter()
            .map(|it| (it.base_offset, it.last_offset_delta, it.record_count, it.attributes))
            .collect();
        assert_eq!(frames, [(4, 1, 1, codec), (6, 1, 2, codec), (8, 0, 1, 0)]);
        let (client, name) = (&mut topic.client, topic.name.as_str());
        assert_eq!(kit::list_offsets(client, name, 0, -2).offset, 0, "the start does not move");
        for offset in 0..9 {
            let data = kit::fetch(client, name, 0, offset);
            assert_eq!((data.error_code, data.log_start_offset), (ErrorCode::None, 0));
            let next = Stored::all(&kit::record_bytes(&data))[0].base_offset;
            assert_eq!(next, [4, 6, 8][usize::from(offset > 5) + usize::from(offset > 7)]);
        }
        let first = topic.time - 4 * STEP_MS;
        let at = |topic: &mut Topic, time| {
            let found = kit::list_offsets(&mut topic.client, &topic.name, 0, time);
            (found.offset, found.timestamp - first)
        };
        assert_eq!(at(&mut topic, first), (5, 2 * STEP_MS), "the first that is not older");
        assert_eq!(at(&mut topic, first + 2 * STEP_MS + 1), (6, 3 * STEP_MS));
        assert_eq!(at(&mut topic, -3), (8, 4 * STEP_MS));
    }
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let broker = broker();
    let mut topic = Topic::new(&broker, &[("delete.retention.ms", "0")]);
    topic.put(&[("a", Some("1")), ("b", Some("1"))]);
    topic.put(&[("a", None)]);
    let before = kit::now_ms();
    topic.roll();
    topic.until("1:b=1 2:a=-");
    let met = topic.stored().into_iter().find(|batch| batch.base_offset == 2).unwrap();
    assert_eq!(met.attributes, 0x40, "it has a delete horizon");
    assert!((before..=kit::now_ms()).contains(&met.base_timestamp), "{met:?}");
    topic.roll();
    topic.until("1:b=1");
    let mut later = Topic::new(&broker, &[]);
    later.put(&[("a", Some("1"))]);
    later.put(&[("a", None)]);
    later.roll();
    later.until("1:a=-");
    let met = later.stored().remove(0);
    let day = 86_400_000;
    assert!((before + day..=kit::now_ms() + day).contains(&met.base_timestamp), "{met:?}");
    later.put(&[("c", Some("1"))]);
    later.put(&[("c", Some("2"))]);
    later.roll();
    later.until("1:a=- 4:c=2");
    let same = later.stored().remove(0);
    assert_eq!(same.base_timestamp, met.base_timestamp, "a horizon does not move");
}

#[test]
fn a_producer_goes_on_behind_what_is_compacted() {
    let broker = broker();
    let mut topic = Topic::new(&broker, &[]);
    let id = topic.producer_id();
    for (sequence, value) in [(0, "1"), (1, "2")] {
        let batch = topic.records(&[("a", Some(value))]).producer(id, 0, sequence);
        topic.produce(batch);
    }
    topic.put(&[("a", Some("3"))]);
    topic.roll();
    topic.until("2:a=3");
    let frame = topic.stored().remove(0);
    assert_eq!((frame.base_offset, frame.record_count), (1, 0), "its last batch leaves a frame");
    assert_eq!((frame.producer_id, frame.base_sequence), (id, 1));
    let again = topic.records(&[("a", Some("2"))]).producer(id, 0, 1);
    assert_eq!(topic.produce(again), 1, "sent twice");
    let gap = topic.records(&[("a", Some("5"))]).producer(id, 0, 3);
    let row = kit::produce(&mut topic.client, &topic.name, 0, gap);
    assert_eq!(row.error_code, ErrorCode::OutOfOrderSequenceNumber);
    let next = topic.records(&[("a", Some("4"))]).producer(id, 0, 2);
    assert_eq!(topic.produce(next), 4);
}

#[test]
fn the_policy_changes_at_run_time() {
    let broker = broker();
    let mut topic = Topic::new(&broker, &[("cleanup.policy", "delete"), ("retention.ms", "-1")]);
    topic.produce(Batch::records(vec![Record::at(topic.time, "no key")]));
    for value in ["1", "2", "3"] {
        topic.put(&[("a", Some(value))]);
    }
    topic.roll();
    assert_eq!(topic.told(), "0:-=no key 1:a=1 2:a=2 3:a=3");
    topic.alter("cleanup.policy", "compact,delete");
    topic.until("3:a=3");
    let keyless = Batch::records(vec![Record::at(topic.time, "no key")]);
    let row = kit::produce(&mut topic.client, &topic.name, 0, keyless);
    assert_eq!((row.error_code, row.record_errors.len()), (ErrorCode::InvalidRecord, 1));
    // With `delete` in the policy records can also be deleted; with `compact` alone they cannot.
    let delete = |topic: &mut Topic| {
        let partition = DeleteRecordsPartition { partition_index: 0, offset: 1 };
        let name = topic.name.clone();
        let topics = vec![DeleteRecordsTopic { name, partitions: vec![partition] }];
        let response = topic.client.call(2, &DeleteRecordsRequest { topics, timeout_ms: 30_000 });
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(delete(&mut topic), ErrorCode::None);
    topic.alter("cleanup.policy", "compact");
    if topic.client.is_kafka() {
        // Differs from Kafka: there a change is in force some ms after its answer.
        return kit::until("the change is in force", || {
            delete(&mut topic) == ErrorCode::PolicyViolation
        });
    }
    assert_eq!(delete(&mut topic), ErrorCode::PolicyViolation);
    topic.alter("cleanup.policy", "delete");
    topic.put(&[("a", Some("4"))]);
    topic.put(&[("a", Some("5"))]);
    topic.roll();
    topic.until("3:a=3 5:a=4 6:a=5");
}

#[test]
fn young_records_are_safe() {
    let broker = broker();
    let mut topic = Topic::new(&broker, &[("min.compaction.lag.ms", "2700000")]);
    topic.put(&[("a", Some("1"))]);
    topic.put(&[("a", Some("2"))]);
    topic.time += 1_500_000; // From about 50 minutes ago to 25.
    topic.put(&[("a", Some("3"))]);
    topic.put(&[("a", Some("4"))]);
    topic.roll();
    topic.until("1:a=2 2:a=3 3:a=4");
}

#[test]
fn a_damaged_partition_is_left_alone_and_the_others_have_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let broker = on_disk(folder.path(), "86400000");
    let [mut broken, mut sound] = [(); 2].map(|()| Topic::new(&broker, &[]));
    for topic in [&mut broken, &mut sound] {
        for value in ["1", "2", "3"] {
            topic.put(&[("a", Some(value))]);
        }
        topic.roll();
    }
    let segment = folder.path().join(format!("{}-0/00000000000000000001.log", broken.name));
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    // A new pause begins at once, though the old one would have lasted a day.
    alter(&mut sound.client, (4, "1"), ("log.cleaner.backoff.ms", "20"));
    sound.until("2:a=3");
    kit::until("the damage is noticed", || broker.broker().cleaner().damaged_count() == 1);
    // What is sound of it is served, and it takes more.
    let data = kit::fetch(&mut broken.client, &broken.name, 0, 2);
    assert_eq!(rows(&Stored::all(&kit::record_bytes(&data))[0]), ["2:a=3"]);
    assert_eq!(broken.roll(), 4);
}

#[test]
fn a_broker_stops_at_once_though_its_cleaner_has_to_wait() {
    let slow = [("log.cleaner.io.max.bytes.per.second", "1"), ("log.cleaner.backoff.ms", "20")];
    let broker = Broker::start_set(&slow);
    let mut topic = Topic::new(&broker, &[]);
    for value in ["1", "2", "3"] {
        topic.put(&[("a", Some(value))]);
    }
    topic.roll();
    let read = || broker.broker().cleaner().read_bytes.load(std::sync::atomic::Ordering::Relaxed);
    kit::until("it has read more than it may", || read() > 60);
    assert_eq!(topic.told(), "0:a=1 1:a=2 2:a=3");
    let clock = ottla::clock::Clock::system();
    drop(topic);
    broker.stop();
    assert!(clock.elapsed() < std::time::Duration::from_secs(20));
}

/// A broker on a folder.
fn on_disk(folder: &std::path::Path, backoff_ms: &str) -> Broker {
    Broker::start_with(|builder| {
        builder.data_dir(folder).with_config(|config| {
            config.set("ottla.durability", "fsync").unwrap();
            config.set("log.cleaner.backoff.ms", backoff_ms).unwrap();
        })
    })
}

#[test]
fn a_table_is_the_same_behind_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = on_disk(folder.path(), "20");
    let mut topic = Topic::new(&first, &[]);
    let id = topic.producer_id();
    for (sequence, value) in [(0, "1"), (1, "2")] {
        let batch = topic.records(&[("a", Some(value)), ("b", None)]).producer(id, 0, sequence * 2);
        topic.produce(batch);
    }
    topic.put(&[("a", Some("3")), ("c", Some("1")), ("b", None)]);
    topic.roll();
    let told = "4:a=3 5:c=1 6:b=-";
    topic.until(told);
    let frames = topic.stored();
    first.stop();
    let second = on_disk(folder.path(), "86400000");
    topic.client = second.connect();
    assert_eq!(topic.stored(), frames);
    assert_eq!(topic.told(), told);
    let next = topic.records(&[("a", Some("4"))]).producer(id, 0, 4);
    assert_eq!(topic.produce(next), 8, "the producer's sequence is known");
}

/// The size of the group coordinator's journal, as its folder has it.
fn journal_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder.join("__consumer_offsets-0")).unwrap();
    let logs =
        entries.map(Result::unwrap).filter(|it| it.path().extension() == Some("log".as_ref()));
    logs.filter_map(|it| it.metadata().ok()).map(|it| it.len()).sum() // Some go meanwhile.
}

/// Commits `offset` for each of a hundred partitions, with much to say about it.
fn commit(client: &mut Client, topic: &str, offset: i64) {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        committed_metadata: Some("x".repeat(4_000)),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "group".to_owned(),
        topics: vec![topic],
        ..Default::default()
    };
    let response = client.call(8, &request);
    let rows = &response.topics[0].partitions;
    assert!(rows.iter().all(|row| row.error_code == ErrorCode::None));
}

fn committed(client: &mut Client, topic: &str) -> Vec<i64> {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.to_owned(),
        partition_indexes: (0..100).collect(),
        ..Default::default()
    }];
    let group = OffsetFetchRequestGroup {
        group_id: "group".to_owned(),
        topics: Some(topics),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let response = client.call(8, &request);
    response.groups[0].topics[0].partitions.iter().map(|row| row.committed_offset).collect()
}

#[test]
fn the_coordinators_journal_is_compacted_and_still_knows_every_offset() {
    let folder = tempfile::tempdir().unwrap();
    let start = |backoff_ms: &str| {
        Broker::start_with(|builder| {
            builder.data_dir(folder.path()).with_config(|config| {
                config.set("ottla.durability", "os").unwrap();
                config.set("offsets.topic.segment.bytes", "1048576").unwrap();
                config.set("log.cleaner.backoff.ms", backoff_ms).unwrap();
            })
        })
    };
    let first = start("20");
    let mut client = first.connect();
    let topic = kit::topic(&mut client, 100);
    for offset in 1..=20 {
        commit(&mut client, &topic, offset);
    }
    // Twenty rounds are eight MB; what is left are the newest, and the active segment.
    kit::until("the journal is short", || journal_bytes(folder.path()) < 2_500_000);
    commit(&mut client, &topic, 21);
    assert_eq!(committed(&mut client, &topic), [21; 100]);
    first.stop();
    let second = start("86400000");
    let mut client = second.connect();
    assert_eq!(committed(&mut client, &topic), [21; 100]);
    commit(&mut client, &topic, 22);
    assert_eq!(committed(&mut client, &topic), [22; 100]);
}
