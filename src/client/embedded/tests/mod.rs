//! The embedded cluster over a whole broker on a disk in memory, which syncs, fails and loses power.

mod commits;
mod crashes;
mod groups;
mod reads;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::JoinHandle;

use bytes::Bytes;

use super::*;
use crate::broker::{BrokerOptions, Tasks};
use crate::config::broker::BrokerConfig;
use crate::ids::Ids;
use crate::log::fs::FaultyFs;
use crate::partition::Flusher;
use crate::types::{Generation, Timestamp};

use super::super::produce::partition_of;

const TIMEOUT_MS: i32 = 60_000;

/// A running broker, and the cluster that it is.
struct Run {
    cluster: Embedded,
    points: CrashPoints,
    broker: Arc<Broker>,
    fs: FaultyFs,
    flusher: Flusher,
    thread: JoinHandle<()>,
}

impl Run {
    /// On a disk of its own, with topics `in` and `out` of 3 partitions.
    async fn new() -> Self {
        let run = Self::on(FaultyFs::new(), Clock::system()).await;
        run.cluster.ensure_topics(vec![topic("in", 3), topic("out", 3)]).await.unwrap();
        run
    }

    async fn on(fs: FaultyFs, clock: Clock) -> Self {
        let (flusher, thread) = Flusher::start(clock.clone(), 0).unwrap();
        let tasks = Arc::new(Tasks::default());
        let broker = Broker::open(BrokerOptions {
            config: BrokerConfig::default(),
            statics: BTreeMap::new(),
            clock,
            ids: Ids::random(),
            fs: Arc::new(fs.clone()),
            folder: PathBuf::from("/data"),
            flusher: flusher.clone(),
            tasks,
            other_nodes: Vec::new(),
        })
        .unwrap();
        broker.recovered().await.unwrap();
        broker.start_tasks();
        broker.forget_lost_topics().await.unwrap();
        let points = CrashPoints::counting();
        let cluster = Embedded::with_crash_points(Arc::clone(&broker), points.clone());
        Self { cluster, points, broker, fs, flusher, thread }
    }

    /// Ends without writing anything more.
    async fn kill(self) -> FaultyFs {
        self.broker.tasks.stop();
        self.broker.tasks.join(std::future::pending()).await;
        self.flusher.close();
        self.thread.join().unwrap();
        self.fs
    }

    async fn producer(&self) -> Box<dyn TransactionalProducer> {
        self.cluster.producer("id".to_owned(), TIMEOUT_MS).await.unwrap()
    }

    async fn member(&self, instance: &str) -> Box<dyn Membership> {
        self.cluster.join(join_as(instance)).await.unwrap()
    }

    /// All that is committed in a topic of 3 partitions: the values in each.
    async fn values(&self, topic: &str) -> [Vec<String>; 3] {
        let mut values = [const { Vec::new() }; 3];
        for (partition, values) in (0..).zip(&mut values) {
            *values = self.values_of(&TopicPartition::new(topic, partition)).await;
        }
        values
    }

    async fn values_of(&self, at: &TopicPartition) -> Vec<String> {
        while 0 < self.broker.transaction_counts().ending {
            tokio::task::yield_now().await; // The markers follow a commit by themselves.
        }
        let mut values = Vec::new();
        let mut offset = Offset(0);
        loop {
            let span = self.cluster.spans(vec![at.clone()]).await.unwrap().remove(0);
            if span.end <= offset {
                return values;
            }
            let from = ReadFrom { at: at.clone(), offset };
            let received = self.cluster.read(vec![from], 1_000, 0).await.unwrap().remove(0);
            assert!(offset < received.next, "{at}: {offset} of {span}");
            values.extend(received.records.iter().map(value));
            offset = received.next;
        }
    }

    async fn committed(&self, partition: i32) -> Option<Offset> {
        let at = vec![TopicPartition::new("in", partition)];
        self.cluster.committed("group".to_owned(), at).await.unwrap().remove(0)
    }
}

fn topic(name: &str, partitions: i32) -> TopicSpec {
    let name = name.to_owned();
    TopicSpec { name, partitions: Some(partitions), configs: BTreeMap::new() }
}

fn join_as(instance: &str) -> JoinAs {
    JoinAs {
        group: "group".to_owned(),
        topics: vec!["in".to_owned()],
        instance_id: instance.to_owned(),
        session_timeout_ms: 45_000,
    }
}

fn record(topic: &str, partition: i32, value: &str) -> ToSend {
    ToSend {
        topic: topic.into(),
        partition: Some(PartitionIndex(partition)),
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![("header".to_owned(), Some(Bytes::from_static(b"it")))],
        timestamp: None,
    }
}

fn value(record: &super::super::cluster::Stored) -> String {
    String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap()
}

fn instant() -> Timestamp {
    Timestamp(1_700_000_000_000)
}
