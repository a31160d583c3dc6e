//! Opening data folders as runs, crashes and people leave them: on a disk in memory, which the test
//! changes between two runs.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::data_folder::{Clean, DataFolderError, OpenError};
use super::{Apply, Broker, BrokerOptions, Closed, Tasks, TopicRef};
use crate::catalog::NewTopic;
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::groups::{Command, CommitOffsets, PartitionCommit, TopicCommit};
use crate::ids::Ids;
use crate::log::fs::{Crash, Fault, FaultKind, FaultyFs, Fs, Op, OpenMode};
use crate::partition::{Flusher, Partition};
use crate::records::{BatchBuilder, NewRecord};
use crate::types::{Generation, Offset, PartitionIndex, Timestamp, TopicId};

mod compacted_groups;
mod markers;
mod older_journal;
mod transactions;

const DIR: &str = "/data";

/// A broker on a disk that stays when it ends.
struct Run {
    broker: Arc<Broker>,
    flusher: Flusher,
    thread: JoinHandle<()>,
    clock: Clock,
}

fn start(fs: &FaultyFs) -> Result<Run, OpenError> {
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let (flusher, thread) = Flusher::start(clock.clone(), 0).unwrap();
    let opened = Broker::open(BrokerOptions {
        config: BrokerConfig { num_partitions: 1, ..BrokerConfig::default() },
        statics: BTreeMap::new(),
        clock: clock.clone(),
        ids: Ids::random(),
        fs: Arc::new(fs.clone()),
        folder: PathBuf::from(DIR),
        flusher: flusher.clone(),
        tasks: Arc::new(Tasks::default()),
        other_nodes: Vec::new(),
    });
    match opened {
        Ok(broker) => Ok(Run { broker, flusher, thread, clock }),
        Err(error) => {
            flusher.close();
            thread.join().unwrap();
            Err(error)
        }
    }
}

impl Run {
    async fn create(&self, topic: &str) {
        let made = self.broker.create_topics(vec![NewTopic::named(topic)], Apply::Yes).await;
        made.unwrap().remove(0).1.unwrap();
    }

    async fn delete(&self, topic: &str) {
        let gone = self.broker.delete_topics(vec![TopicRef::Name(topic.to_owned())]).await;
        gone.unwrap().remove(0).1.unwrap();
    }

    fn partition(&self, topic: &str) -> Arc<Partition> {
        let topic = self.broker.registry.by_name(topic).unwrap();
        Arc::clone(topic.partition(PartitionIndex(0)).unwrap())
    }

    /// Appends `count` records, durably; the log's end.
    async fn append(&self, topic: &str, count: i64) -> Offset {
        let partition = self.partition(topic);
        for _ in 0..count {
            let mut batch = BatchBuilder::new();
            let timestamp = self.clock.now().wall;
            let value = Some(b"value".as_slice());
            batch.push(&NewRecord { timestamp, key: None, value, headers: &[] });
            let appended = partition.append_own(batch.build().unwrap(), self.clock.now()).unwrap();
            partition.visible(appended.end).await.unwrap();
        }
        partition.watermarks().log_end
    }

    /// Commits offset 1 of a topic in a group without members; with the id of the topic as it is.
    async fn commit(&self, topic: &str) {
        let id = self.broker.registry.by_name(topic).unwrap().id;
        let partition = PartitionCommit {
            partition: PartitionIndex(0),
            offset: Offset(1),
            leader_epoch: None,
            metadata: String::new(),
        };
        let commit = CommitOffsets {
            group_id: "group".to_owned(),
            member_id: String::new(),
            group_instance_id: None,
            generation: Generation(-1),
            retention_ms: None,
            knows_group_id_not_found: false,
            topics: vec![TopicCommit {
                topic: topic.to_owned(),
                topic_id: id,
                partitions: vec![partition],
            }],
        };
        self.broker.groups().call(Command::CommitOffsets(commit)).await.unwrap();
    }

    /// The topics that offsets are kept of, with their ids.
    fn committed(&self) -> Vec<(String, TopicId)> {
        self.broker.groups().look(|groups| {
            let kept = groups.committed();
            kept.map(|(_, topic, _, offset)| (topic.to_owned(), offset.topic_id)).collect()
        })
    }

    /// Ends as SIGTERM does.
    fn stop(self) {
        assert_eq!(self.broker.close(|| false).unwrap(), Closed::Clean);
        self.kill();
    }

    /// Ends as kill -9 does: nothing more is written.
    fn kill(self) {
        self.flusher.close();
        self.thread.join().unwrap();
    }

    /// Two minutes later, with what the broker does by the clock.
    fn pass_time(&self) {
        assert!(self.clock.advance(120_000));
        self.broker.remove_due_folders(self.clock.now().wall);
    }
}

fn put_file(fs: &dyn Fs, path: &str, text: &str) {
    let path = Path::new(path);
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open(path, OpenMode::CreateNew).unwrap();
    file.write_vectored_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
}

fn exists(fs: &FaultyFs, path: &str) -> bool {
    fs.exists(&Path::new(DIR).join(path))
}

/// Whether the data folder has one of a deleted partition of `topic`.
fn has_put_away(fs: &FaultyFs, topic: &str) -> bool {
    has_renamed(fs, topic, "-delete")
}

/// Whether the data folder has one that is kept of a partition of `topic`.
fn has_stray(fs: &FaultyFs, topic: &str) -> bool {
    has_renamed(fs, topic, "-stray")
}

fn has_renamed(fs: &FaultyFs, topic: &str, suffix: &str) -> bool {
    let entries = fs.list(Path::new(DIR)).unwrap().into_iter();
    let prefix = format!("{topic}-0.");
    let mut names = entries.map(|entry| entry.name);
    names.any(|name| name.starts_with(&prefix) && name.ends_with(suffix))
}

/// Ties the folder of a topic to another one, which is known nowhere.
fn tie_to_unknown(fs: &FaultyFs, folder: &str) {
    let tie = Path::new(DIR).join(folder).join("partition.metadata");
    let other = crate::log::layout::partition_metadata(Ids::random().topic_id());
    fs.atomic_write(&tie, other.as_bytes()).unwrap();
}

#[test]
fn folder_that_ottla_did_not_make_is_left_alone() {
    let fs = FaultyFs::new();
    start(&fs).unwrap().stop();
    put_file(&fs, "/data/backup-2024/photo.jpg", "of the family");
    put_file(&fs, "/data/old-1/partition.metadata", "nothing that ottla would write");

    let run = start(&fs).unwrap();
    run.pass_time();
    run.stop();
    start(&fs).unwrap().stop();
    assert!(exists(&fs, "backup-2024/photo.jpg"));
    assert!(exists(&fs, "old-1/partition.metadata"));
}

#[tokio::test]
async fn data_without_its_catalog_refuses_the_start() {
    for lost in [&["__cluster_metadata-0", "ottla-checkpoint"][..], &["__cluster_metadata-0"]] {
        let fs = FaultyFs::new();
        let run = start(&fs).unwrap();
        run.create("orders").await;
        run.append("orders", 3).await;
        run.stop();
        for name in lost {
            let path = Path::new(DIR).join(name);
            if fs.list(&path).is_ok() {
                fs.remove_dir_all(&path).unwrap();
            } else {
                fs.remove_file(&path).unwrap();
            }
        }
        for _ in 0..2 {
            let error = start(&fs).map(Run::kill).unwrap_err();
            assert!(matches!(error, OpenError::CatalogLost { count: 1, .. }), "{error}");
            assert!(error.to_string().contains("orders-0"), "{error}");
        }
        assert!(exists(&fs, "orders-0/00000000000000000000.log"));
        assert!(!exists(&fs, "__cluster_metadata-0"), "it would be in the way of a backup");
    }
}

#[test]
fn folder_of_something_else_is_refused_as_data_folder() {
    let fs = FaultyFs::new();
    put_file(&fs, "/data/thesis.tex", "all of it");
    let error = start(&fs).map(Run::kill).unwrap_err();
    assert!(
        matches!(&error, OpenError::DataFolder(DataFolderError::Foreign { entry, .. }) if entry == "thesis.tex"),
        "{error}"
    );
    let names: Vec<_> = fs.list(Path::new(DIR)).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["thesis.tex"], "nothing was made");
}

#[test]
fn folder_with_nothing_of_anybody_becomes_a_data_folder() {
    let fs = FaultyFs::new();
    put_file(&fs, "/data/.lock", "1");
    put_file(&fs, "/data/meta.properties.ottla-tmp", "vers");
    fs.create_dir_all(Path::new("/data/lost+found")).unwrap();
    start(&fs).unwrap().stop();
}

#[tokio::test]
async fn topic_made_again_after_a_restart_takes_records() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.append("t", 10).await;
    run.stop();

    let run = start(&fs).unwrap();
    run.delete("t").await;
    run.create("t").await;
    assert!(!run.partition("t").is_offline());
    assert_eq!(run.append("t", 1).await, Offset(1));
    run.stop();

    let run = start(&fs).unwrap();
    assert_eq!(run.append("t", 1).await, Offset(2));
    run.stop();
}

#[tokio::test]
async fn topic_made_again_before_a_kill_takes_records() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.append("t", 10).await;
    // The checkpoint of the old topic is the last that is written.
    run.broker.write_checkpoint(Clean::No).unwrap();
    run.delete("t").await;
    run.create("t").await;
    run.append("t", 1).await;
    run.kill();

    let run = start(&fs).unwrap();
    assert!(!run.partition("t").is_offline(), "{}", run.partition("t").offline_reason());
    assert_eq!(run.append("t", 1).await, Offset(2));
    run.stop();
}

#[tokio::test]
async fn stop_that_is_late_leaves_the_rest_to_the_next_start() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    for topic in ["a", "b", "c"] {
        run.create(topic).await;
        run.append(topic, 10).await;
    }
    let looks = AtomicUsize::new(0);
    let late = || looks.fetch_add(1, Ordering::Relaxed) >= 2;
    assert!(matches!(run.broker.close(late).unwrap(), Closed::Late(1..)));
    run.kill();

    let run = start(&fs).unwrap();
    for topic in ["a", "b", "c"] {
        assert_eq!(run.append(topic, 1).await, Offset(11));
    }
    run.stop();
}

#[tokio::test]
async fn lost_tail_of_a_topic_still_shows_as_damage() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.append("t", 10).await;
    run.stop();
    let log = Path::new(DIR).join("t-0/00000000000000000000.log");
    let file = fs.open(&log, OpenMode::ReadWrite).unwrap();
    file.truncate(file.len().unwrap() / 2).unwrap();

    let run = start(&fs).unwrap();
    assert!(run.partition("t").is_offline());
    run.kill();
}

#[tokio::test]
async fn folder_that_cannot_be_put_away_is_not_taken_over() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.append("t", 10).await;
    let refused = FaultKind::Error(io::ErrorKind::PermissionDenied);
    fs.inject(Fault { op: Op::Rename, after: 0, kind: refused });
    run.delete("t").await;
    assert!(!has_put_away(&fs, "t"));
    fs.inject(Fault { op: Op::Rename, after: 0, kind: refused });
    run.create("t").await;
    assert!(run.partition("t").is_offline());
    assert_eq!(run.partition("t").watermarks().log_end, Offset(0), "no records of the old topic");

    fs.heal();
    run.delete("t").await;
    run.create("t").await;
    assert_eq!(run.append("t", 1).await, Offset(1));
    assert!(has_put_away(&fs, "t"));
    run.pass_time();
    assert!(!has_put_away(&fs, "t"));
    run.stop();
}

#[tokio::test]
async fn records_of_a_topic_that_the_catalog_does_not_know_are_kept_for_ever() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.append("t", 10).await;
    run.stop();
    put_file(&fs, "/data/lost-0/00000000000000000000.log", "records");
    put_file(&fs, "/data/empty-0/00000000000000000000.log", "");
    ["lost-0", "empty-0", "t-0"].into_iter().for_each(|folder| tie_to_unknown(&fs, folder));
    for _ in 0..2 {
        let run = start(&fs).unwrap();
        // One whose name is free again, and one whose name a topic has that is known.
        for topic in ["lost", "t"] {
            assert!(has_stray(&fs, topic) && !has_put_away(&fs, topic), "{topic}");
        }
        assert!(!exists(&fs, "lost-0") && !has_stray(&fs, "empty"));
        assert!(run.partition("t").is_offline(), "its records are elsewhere");
        run.pass_time();
        run.kill();
    }
    assert!(has_stray(&fs, "lost") && has_stray(&fs, "t"));
}

#[tokio::test]
async fn folder_of_a_topic_whose_deletion_was_cut_short_goes() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.append("t", 10).await;
    let refused = FaultKind::Error(io::ErrorKind::PermissionDenied);
    fs.inject(Fault { op: Op::Rename, after: 0, kind: refused });
    run.delete("t").await;
    run.kill();
    assert!(exists(&fs, "t-0"));
    let run = start(&fs).unwrap();
    assert!(has_put_away(&fs, "t") && !has_stray(&fs, "t"));
    run.pass_time();
    assert!(!has_put_away(&fs, "t"));
    run.stop();
}

#[tokio::test]
async fn topic_named_like_a_foreign_folder_stands_offline_and_its_deletion_spares_the_folder() {
    let fs = FaultyFs::new();
    start(&fs).unwrap().stop();
    put_file(&fs, "/data/photos-0/one.jpg", "of the family");
    let run = start(&fs).unwrap();
    run.create("photos").await;
    assert!(run.partition("photos").is_offline());
    run.delete("photos").await;
    run.pass_time();
    run.kill();
    assert!(exists(&fs, "photos-0/one.jpg"));
}

#[test]
fn wrong_bit_in_the_identity_of_a_data_folder_is_told() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    let cluster_id = run.broker.cluster_id.clone();
    run.stop();
    let meta = Path::new(DIR).join("meta.properties");
    let text = String::from_utf8(fs.read(&meta, 4096).unwrap()).unwrap();
    for at in 0..text.len() {
        assert!(fs.flip(&meta, at, 1));
        match start(&fs) {
            Ok(run) => {
                assert_eq!(run.broker.cluster_id, cluster_id, "byte {at}");
                run.kill();
            }
            Err(error) => assert!(error.to_string().contains("meta.properties"), "{error}"),
        }
        assert!(fs.flip(&meta, at, 1));
    }
    // Changed by hand, as the error says.
    let changed: String = text
        .lines()
        .filter(|line| !line.starts_with("ottla.crc32c"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs.atomic_write(&meta, changed.replace(&cluster_id, "mine").as_bytes()).unwrap();
    let run = start(&fs).unwrap();
    assert_eq!(run.broker.cluster_id, "mine");
    run.stop();
}

#[tokio::test]
async fn groups_journal_is_tied_anew_and_never_put_away() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.stop();
    let tie = Path::new(DIR).join("__consumer_offsets-0/partition.metadata");
    let other = crate::log::layout::partition_metadata(Ids::random().topic_id());
    fs.atomic_write(&tie, other.as_bytes()).unwrap();
    let run = start(&fs).unwrap();
    assert!(!has_put_away(&fs, "__consumer_offsets"));
    assert!(!run.partition("__consumer_offsets").is_offline());
    run.stop();
    assert_ne!(fs.read(&tie, 1024).unwrap(), other.as_bytes());
}

#[tokio::test]
async fn deletion_goes_on_when_its_client_hangs_up() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.commit("t").await;
    let topics = vec![TopicRef::Name("t".to_owned())];
    let hung_up = tokio::time::timeout(Duration::ZERO, run.broker.delete_topics(topics)).await;
    drop(hung_up);
    let clock = Clock::system();
    while !run.committed().is_empty() {
        assert!(clock.elapsed() < Duration::from_secs(10), "the offsets stay");
        tokio::task::yield_now().await;
    }
    run.stop();
}

#[tokio::test]
async fn late_deletion_spares_offsets_of_the_topic_that_was_made_again() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    run.commit("t").await;
    let old = run.committed();
    // What the deletion has still to do when the next topic of that name has its first commit.
    let deleted = run.broker.change_now(|catalog| {
        let decided = catalog.delete_topics(&[TopicRef::Name("t".to_owned())]);
        (decided.into_iter().filter_map(|(_, record)| record.ok()).collect(), ())
    });
    let (_, _, removed) = deleted.unwrap();
    assert_eq!(removed, old);
    run.create("t").await;
    run.commit("t").await;
    run.broker.groups().call(Command::TopicsDeleted(removed)).await.unwrap();
    let id = run.broker.registry.by_name("t").unwrap().id;
    assert_eq!(run.committed(), [("t".to_owned(), id)]);
    run.stop();
}

#[tokio::test]
async fn folder_of_a_deleted_topic_goes_after_the_topics_own_delay() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    let mut topic = NewTopic::named("t");
    topic.configs = [("file.delete.delay.ms".to_owned(), Some("1000".to_owned()))].into();
    let made = run.broker.create_topics(vec![topic], Apply::Yes).await;
    made.unwrap().remove(0).1.unwrap();
    run.delete("t").await;
    assert!(has_put_away(&fs, "t"));
    assert!(run.clock.advance(1_000));
    run.broker.remove_due_folders(run.clock.now().wall);
    assert!(!has_put_away(&fs, "t"));
    run.stop();
}

/// A power cut takes back the deletion of the topic "t", or leaves it, but takes no records alone.
fn check_deletion(fs: &FaultyFs, end: Offset) {
    let mut stands = 0;
    for seed in 0..32 {
        let run = start(&fs.crash(Crash::KeepPrefix(seed))).unwrap();
        if let Some(topic) = run.broker.registry.by_name("t") {
            let partition = topic.partition(PartitionIndex(0)).unwrap();
            assert_eq!(partition.watermarks().log_end, end, "seed {seed}");
            stands += 1;
        }
        run.kill();
    }
    assert!(stands > 0, "no power cut was early enough");
}

#[tokio::test]
async fn a_deletion_that_did_not_reach_the_disk_takes_no_records() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    let end = run.append("t", 10).await;
    let failed = FaultKind::Error(io::ErrorKind::Other);
    fs.inject(Fault { op: Op::SyncData, after: 0, kind: failed });
    let refused = run.broker.delete_topics(vec![TopicRef::Name("t".to_owned())]).await;
    assert!(refused.is_err() && fs.pending_faults() == 0);
    run.kill();
    check_deletion(&fs, end);
}

/// What the killed run decided is in the page cache only.
#[tokio::test]
async fn a_start_puts_nothing_away_for_a_deletion_that_is_not_on_disk() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    let end = run.append("t", 10).await;
    run.flusher.close();
    run.thread.join().unwrap();
    let removal = run.broker.look_at_catalog(|catalog| {
        catalog.delete_topics(&[TopicRef::Name("t".to_owned())]).remove(0).1.unwrap()
    });
    let removal = super::topics::journal_record(&removal).unwrap();
    run.broker.catalog_journal.append(&[removal], run.clock.now()).unwrap();

    let failed = FaultKind::Error(io::ErrorKind::Other);
    fs.inject(Fault { op: Op::SyncData, after: 0, kind: failed });
    assert!(start(&fs).map(Run::kill).is_err());
    check_deletion(&fs, end);
}
