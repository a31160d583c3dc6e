//! A broker on a disk in memory that fails on command, what it was asked to keep, and whether it did.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf, Bytes};
use ottla::broker::{Apply, Broker, BrokerOptions, OpenError, Tasks, TopicRef};
use ottla::catalog::NewTopic;
use ottla::clock::Clock;
use ottla::config::broker::BrokerConfig;
use ottla::groups::{
    Command, CommitOffsets, FetchGroup, FetchOffsets, PartitionCommit, Reply, TopicCommit,
};
use ottla::ids::Ids;
use ottla::log::fs::{FaultyFs, Fs};
use ottla::partition::{AppendError, Flusher, Isolation, Partition};
use ottla::records::{BatchBuilder, BatchHeader, NewRecord, ValidBatch};
use ottla::types::{
    LeaderEpoch, Monotonic, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId,
    TransactionVersion,
};

const DIR: &str = "/data";
/// Small, so that a few records fill one.
const SEGMENT_BYTES: i32 = 1024;
const GROUP: &str = "group";
/// Time passes in steps of so many ms.
const STEP_MS: u64 = 500;
/// The longest that anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest that anything takes of the broker's time, in ms: a machine that gives this process no
/// time gives the broker none, either.
const BROKER_PATIENCE_MS: u64 = 120_000;

/// A broker that runs.
pub(crate) struct Run {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Clock,
    flusher: Flusher,
    tasks: Arc<Tasks>,
    thread: JoinHandle<()>,
}

/// Starts one, as far as a client would be let in.
pub(crate) async fn start(fs: &FaultyFs) -> Result<Run, OpenError> {
    start_with(fs, |_| {}).await
}

/// As [`start`], with other settings.
pub(crate) async fn start_with(
    fs: &FaultyFs,
    change: impl FnOnce(&mut BrokerConfig),
) -> Result<Run, OpenError> {
    let mut config = BrokerConfig {
        num_partitions: 1,
        log_segment_bytes: SEGMENT_BYTES,
        ..BrokerConfig::default()
    };
    change(&mut config);
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let (flusher, thread) = Flusher::start(clock.clone(), 0).unwrap();
    let tasks = Arc::new(Tasks::default());
    let opened = Broker::open(BrokerOptions {
        config,
        statics: BTreeMap::new(),
        clock: clock.clone(),
        ids: Ids::random(),
        fs: Arc::new(fs.clone()),
        folder: PathBuf::from(DIR),
        flusher: flusher.clone(),
        tasks: Arc::clone(&tasks),
        other_nodes: Vec::new(),
    });
    match opened {
        Ok(broker) => {
            let run = Run { broker, clock, flusher, tasks, thread };
            match run.broker.recovered().await {
                Ok(()) => Ok(run),
                Err(error) => {
                    run.kill();
                    Err(error)
                }
            }
        }
        Err(error) => {
            flusher.close();
            thread.join().unwrap();
            Err(error)
        }
    }
}

impl Run {
    pub(crate) async fn create(&self, topic: &str) -> Result<(), String> {
        let made = self.broker.create_topics(vec![NewTopic::named(topic)], Apply::Yes).await;
        let (_, made) = made.map_err(|error| error.to_string())?.remove(0);
        made.map(|_| ()).map_err(|error| error.to_string())
    }

    pub(crate) fn partition(&self, topic: &str) -> Option<Arc<Partition>> {
        let topic = self.broker.registry.by_name(topic)?;
        topic.partition(PartitionIndex(0)).cloned()
    }

    /// Appends one record with acks=all; its offset.
    pub(crate) async fn append(&self, topic: &str, value: &str) -> Result<i64, AppendError> {
        let mut batch = BatchBuilder::new();
        let (timestamp, value) = (self.clock.now().wall, Some(value.as_bytes()));
        batch.push(&NewRecord { timestamp, key: None, value, headers: &[] });
        let partition = self.partition(topic).unwrap();
        let sent = batch.build().unwrap().to_bytes();
        let appended = partition.append(sent, self.clock.now())?;
        partition.visible(appended.end).await?;
        Ok(appended.base_offset.0)
    }

    /// Leaves a record of a transaction behind that no coordinator knows.
    pub(crate) async fn leave_open(&self, topic: &str) {
        let mut batch =
            BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0).transactional();
        let timestamp = self.clock.now().wall;
        batch.push(&NewRecord { timestamp, key: None, value: Some(b"open"), headers: &[] });
        let partition = self.partition(topic).unwrap();
        let sent = batch.build().unwrap().to_bytes();
        let version = TransactionVersion::V2;
        let appended = partition.append_beginning(sent, version, self.clock.now()).unwrap();
        partition.visible(appended.end).await.unwrap();
    }

    pub(crate) async fn commit(&self, topic: &str, offset: i64) -> Result<(), String> {
        let partition = PartitionCommit {
            partition: PartitionIndex(0),
            offset: Offset(offset),
            leader_epoch: None,
            metadata: String::new(),
        };
        let topics = vec![TopicCommit {
            topic: topic.to_owned(),
            topic_id: TopicId::ZERO,
            partitions: vec![partition],
        }];
        let commit = CommitOffsets {
            group_id: GROUP.to_owned(),
            member_id: String::new(),
            group_instance_id: None,
            generation: ottla::types::Generation(-1),
            retention_ms: None,
            knows_group_id_not_found: true,
            topics,
        };
        let reply = self.broker.groups().call(Command::CommitOffsets(commit)).await;
        match reply.map_err(|error| error.to_string())? {
            Reply::CommitOffsets(Ok(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// The group's offset in a topic; -1 for none.
    pub(crate) async fn committed(&self, topic: &str) -> Result<i64, String> {
        let topics = Some(vec![(topic.to_owned(), vec![PartitionIndex(0)])]);
        let groups = vec![FetchGroup { group_id: GROUP.to_owned(), topics }];
        let reply = self
            .broker
            .groups()
            .call(Command::FetchOffsets(FetchOffsets { groups, require_stable: false }))
            .await;
        let Reply::FetchOffsets(groups) = reply.map_err(|error| error.to_string())? else {
            return Err("another reply".to_owned());
        };
        let kept = &groups[0].topics[0].1[0].committed;
        Ok(kept.as_ref().map_or(-1, |kept| kept.offset.0))
    }

    /// Everything that a consumer gets: it checks each batch as clients do.
    pub(crate) fn read(&self, topic: &str) -> Result<Vec<(i64, String)>, String> {
        let partition = self.partition(topic).ok_or("no such topic")?;
        let marks = partition.watermarks();
        let (mut next, mut found) = (marks.log_start, Vec::new());
        while next < marks.high_watermark {
            let read = partition.read(next, 600, true, Isolation::ReadCommitted);
            let range = read.map_err(|error| error.to_string())?.range.ok_or("nothing to read")?;
            let bytes = range.read().map_err(|error| error.to_string())?;
            let before = next;
            take(bytes, &mut next, &mut found)?;
            if next == before {
                return Err(format!("no progress at {next}"));
            }
        }
        Ok(found)
    }

    /// Whether the process would have ended by itself.
    pub(crate) fn has_failed(&self) -> bool {
        let mut failed = pin!(self.broker.journal_failed());
        failed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Ends as SIGTERM does; whether that was clean.
    pub(crate) fn stop(self) -> bool {
        let closed = self.broker.close(|| false).is_ok();
        self.kill();
        closed
    }

    /// Lets what is done by the clock be done, second by second for so many.
    pub(crate) async fn pass_time(&self, seconds: u64) {
        self.broker.start_tasks();
        for _ in 0..seconds {
            settle().await;
            self.clock.advance(1_000);
        }
        self.tasks.stop();
        self.tasks.join(std::future::pending()).await;
    }

    /// Does something while time passes whenever nothing else happens: what waits for the clock goes
    /// on, too. The tasks have to run.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = settle() => { self.clock.advance(STEP_MS); }
            }
        }
    }

    /// Lets time pass, with the tasks running, until `is_done`; says if it never is. How much that
    /// takes depends on threads that do not know of this time.
    pub(crate) async fn wait_until(&self, is_done: impl Fn() -> bool) -> bool {
        let patience = self.patience();
        while !is_done() {
            if patience.is_over(self) {
                return false;
            }
            settle().await;
            self.clock.advance(STEP_MS);
        }
        true
    }

    /// From now on.
    pub(crate) fn patience(&self) -> Patience {
        let until = self.clock.now().monotonic.plus_ms(BROKER_PATIENCE_MS);
        Patience { clock: Clock::system(), until }
    }

    /// Ends what [`Broker::start_tasks`] began; the caller ends the rest.
    pub(crate) async fn end_tasks(&self) {
        self.tasks.stop();
        self.in_time(self.tasks.join(std::future::pending())).await;
    }

    /// Ends as kill -9 does: nothing more is written.
    pub(crate) fn kill(self) {
        self.flusher.close();
        self.thread.join().unwrap();
    }
}

/// How long to wait for what has to come: by the clock of the machine, and by the broker's.
pub(crate) struct Patience {
    clock: Clock,
    until: Monotonic,
}

impl Patience {
    pub(crate) fn is_over(&self, run: &Run) -> bool {
        self.clock.elapsed() > PATIENCE && run.clock.now().monotonic > self.until
    }
}

/// The tasks go on until all of them wait, and so does their work on other threads.
async fn settle() {
    for _ in 0..50 {
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
}

fn take(mut bytes: Bytes, next: &mut Offset, found: &mut Vec<(i64, String)>) -> Result<(), String> {
    while bytes.has_remaining() {
        let header = BatchHeader::parse(&bytes).map_err(|error| error.to_string())?;
        let size = usize::try_from(header.size_bytes()).unwrap();
        if size > bytes.len() {
            return Ok(());
        }
        assert_eq!(header.leader_epoch, LeaderEpoch(0), "a batch at {}", header.base_offset);
        let batch = ValidBatch::parse_stored(bytes.split_to(size)).map_err(|e| e.to_string())?;
        for record in &batch.records(1 << 20).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            let value = record.value.map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            if record.offset >= *next {
                found.push((record.offset.0, value));
            }
        }
        *next = (*next).max(header.next_offset());
    }
    Ok(())
}

/// What a broker has acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) topics: BTreeSet<String>,
    pub(crate) records: BTreeMap<String, Vec<(i64, String)>>,
    pub(crate) committed: i64,
}

impl Told {
    /// Fails unless all of it is there; how much more there may be is up to the disk.
    pub(crate) async fn check(&self, fs: &FaultyFs, context: &str) {
        let run = match start(fs).await {
            Ok(run) => run,
            Err(error) => panic!("{context}: {error}"),
        };
        for topic in &self.topics {
            let partition = run.partition(topic);
            let partition = partition.unwrap_or_else(|| panic!("{context}: no topic {topic}"));
            assert!(!partition.is_offline(), "{context}: {}", partition.offline_reason());
            let marks = partition.watermarks();
            assert_eq!(marks.high_watermark, marks.log_end, "{context}: {topic} is not visible");
            let found = run.read(topic).unwrap_or_else(|error| panic!("{context}: {error}"));
            let offsets: Vec<i64> = found.iter().map(|(offset, _)| *offset).collect();
            let expected: Vec<i64> = (marks.log_start.0..marks.log_end.0).collect();
            assert_eq!(offsets, expected, "{context}: {topic}");
            for record in self.records.get(topic).into_iter().flatten() {
                let deleted = record.0 < marks.log_start.0;
                assert!(deleted || found.contains(record), "{context}: {topic} lost {record:?}");
            }
        }
        let committed = run.committed("a").await.unwrap();
        assert!(committed >= self.committed, "{context}: {committed} < {}", self.committed);
        run.kill();
    }
}

/// All files on the disk.
pub(crate) fn files(fs: &FaultyFs) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(DIR)];
    while let Some(folder) = folders.pop() {
        for entry in fs.list(&folder).unwrap() {
            let path = folder.join(&entry.name);
            if entry.is_dir { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Deletes the first records of a topic.
pub(crate) fn delete_records(run: &Run, topic: &str, before: i64) -> Result<Offset, String> {
    let partition = run.partition(topic).unwrap();
    run.broker.delete_records(&partition, Some(Offset(before))).map_err(|error| error.to_string())
}

/// Removes a topic, which has to be there.
pub(crate) async fn delete_topic(run: &Run, topic: &str) -> Result<(), String> {
    let gone = run.broker.delete_topics(vec![TopicRef::Name(topic.to_owned())]).await;
    let (_, gone) = gone.map_err(|error| error.to_string())?.remove(0);
    gone.map(|_| ()).map_err(|error| error.to_string())
}

/// The end of a path that a message may name.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
