//! The broker in this process as a [`Cluster`]: no sockets and no messages of the protocol, but the
//! same rules, the same groups and the same transactions as for clients from outside, who see what
//! runs here as members and producers like any other.
//!
//! What is read shares the memory of the batch it came in: who keeps a key or value for long copies it.

mod batches;
mod membership;
mod producer;
mod read;
mod refusal;
#[cfg(test)]
mod tests;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::{
    Answer, Cluster, ClusterError, JoinAs, Membership, Placed, ReadFrom, Received, Span, ToSend,
    TopicPartition, TopicSpec, TransactionalProducer,
};
use super::crash_points::CrashPoints;
use crate::broker::{Broker, FetchError, OffsetSpec};
use crate::clock::Clock;
use crate::groups::{Command, FetchGroup, FetchOffsets, FetchedGroup, Reply};
use crate::partition::{Isolation, Partition, Wake};
use crate::types::{Offset, PartitionIndex, Timestamp};

/// The longest that an offset is waited for which a transaction is about to change, in ms.
const UNSTABLE_MS_MAX: u64 = 30_000;

/// A cluster that is the broker in this process. Clones are the same.
#[derive(Clone, Debug)]
pub struct Embedded(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    broker: Arc<Broker>,
    points: CrashPoints,
    /// Goes round, so that whoever comes first is another one each time.
    turn: AtomicU32,
}

impl Embedded {
    /// The cluster that this broker, which is ready, is.
    pub fn new(broker: Arc<Broker>) -> Self {
        Self::with_crash_points(broker, CrashPoints::default())
    }

    /// The same, where a test may let its user die.
    pub fn with_crash_points(broker: Arc<Broker>, points: CrashPoints) -> Self {
        Self(Arc::new(Shared { broker, points, turn: AtomicU32::new(0) }))
    }
}

impl Shared {
    fn next_turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn partition(&self, at: &TopicPartition) -> Result<Arc<Partition>, ClusterError> {
        let found = self.broker.partition(&at.topic, at.partition);
        found.map_err(|error| refusal::of_fetch(&error, at, None))
    }

    async fn spans(&self, partitions: Vec<TopicPartition>) -> Result<Vec<Span>, ClusterError> {
        let span = |at| self.partition(at).map(|partition| read::span(&partition));
        partitions.iter().map(span).collect()
    }

    async fn offset_at(&self, at: TopicPartition, time: Timestamp) -> Result<Offset, ClusterError> {
        let partition = self.partition(&at)?;
        let isolation = Isolation::ReadCommitted;
        // The end first: a record that comes in between is found, or lies behind it.
        let end = read::span(&partition).end;
        let found = self.broker.list_offset(&partition, OffsetSpec::At(time), isolation, None);
        let found = found.map_err(|error: FetchError| refusal::of_fetch(&error, &at, None))?;
        Ok(found.map_or(end, |found| found.offset))
    }

    async fn committed(
        &self,
        group: String,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Option<Offset>>, ClusterError> {
        let journal = TopicPartition::new(crate::broker::OFFSETS_TOPIC, 0);
        let journal = self.partition(&journal)?;
        let wake = Wake::new();
        let _registration = journal.waiters().register(&wake);
        let clock = &self.broker.clock;
        let deadline = clock.now().monotonic.plus_ms(UNSTABLE_MS_MAX);
        let mut stopping = self.broker.tasks.stopping();
        loop {
            let fetched = self.fetch_offsets(&group, &partitions).await?;
            let Some(unstable) = unstable(&fetched) else { return Ok(in_order(fetched)) };
            let passing = |what: &str| {
                let text = format!("the offset of {unstable} in group {group}: {what}");
                Err(ClusterError::Passing(text))
            };
            tokio::select! {
                () = wake.woken() => {}
                () = clock.sleep_until(deadline) => {
                    return passing("a transaction that is open may change it: end it, or wait for its timeout");
                }
                _ = stopping.changed() => return passing("the broker stops"),
            }
        }
    }

    /// One row for each partition, in their order.
    async fn fetch_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<FetchedGroup, ClusterError> {
        let topics = partitions.iter().map(|at| (at.topic.to_string(), vec![at.partition]));
        let wanted = FetchGroup { group_id: group.to_owned(), topics: Some(topics.collect()) };
        let command =
            Command::FetchOffsets(FetchOffsets { groups: vec![wanted], require_stable: true });
        let reply = self.broker.groups().call(command).await;
        match reply.map_err(|error| refusal::of_shell(&error, &format!("group {group}")))? {
            Reply::FetchOffsets(groups) => groups
                .into_iter()
                .next()
                .ok_or_else(|| refusal::of_answer(&format!("group {group}"))),
            _ => Err(refusal::of_answer(&format!("group {group}"))),
        }
    }
}

/// A partition of a group whose offset is about to change.
fn unstable(group: &FetchedGroup) -> Option<TopicPartition> {
    group.topics.iter().find_map(|(topic, partitions)| {
        let row = partitions.iter().find(|row| row.is_unstable)?;
        Some(TopicPartition::new(topic.as_str(), row.partition.0))
    })
}

fn in_order(group: FetchedGroup) -> Vec<Option<Offset>> {
    let rows = group.topics.into_iter().flat_map(|(_, partitions)| partitions);
    // Some clients commit negative offsets as marks: that is none to go on from.
    let offset = |offset: Offset| Some(offset).filter(|offset| 0 <= offset.0);
    rows.map(|row| row.committed.and_then(|it| offset(it.offset))).collect()
}

impl Cluster for Embedded {
    fn clock(&self) -> &Clock {
        &self.0.broker.clock
    }

    fn name(&self) -> String {
        format!("the broker in this process (cluster {})", self.0.broker.cluster_id)
    }

    fn ensure_topics(&self, topics: Vec<TopicSpec>) -> Answer<'_, ()> {
        Box::pin(topics::ensure(&self.0.broker, topics))
    }

    fn partition_count(&self, topic: Arc<str>) -> Answer<'_, Option<i32>> {
        let found = self.0.broker.registry.by_name(&topic);
        let count = found.map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
        Box::pin(async move { Ok(count) })
    }

    fn spans(&self, partitions: Vec<TopicPartition>) -> Answer<'_, Vec<Span>> {
        Box::pin(self.0.spans(partitions))
    }

    fn offset_at(&self, at: TopicPartition, time: Timestamp) -> Answer<'_, Offset> {
        Box::pin(self.0.offset_at(at, time))
    }

    fn read(
        &self,
        from: Vec<ReadFrom>,
        max_bytes: usize,
        max_wait_ms: u64,
    ) -> Answer<'_, Vec<Received>> {
        Box::pin(read::read(&self.0, from, max_bytes, max_wait_ms))
    }

    fn send(&self, records: Vec<ToSend>) -> Answer<'_, Vec<Placed>> {
        Box::pin(producer::send(&self.0, records))
    }

    fn join(&self, join: JoinAs) -> Answer<'_, Box<dyn Membership>> {
        Box::pin(async move {
            let member = membership::Member::join(Arc::clone(&self.0), join).await?;
            Ok(Box::new(member) as Box<dyn Membership>)
        })
    }

    fn committed(
        &self,
        group: String,
        partitions: Vec<TopicPartition>,
    ) -> Answer<'_, Vec<Option<Offset>>> {
        Box::pin(self.0.committed(group, partitions))
    }

    fn producer(
        &self,
        transactional_id: String,
        timeout_ms: i32,
    ) -> Answer<'_, Box<dyn TransactionalProducer>> {
        Box::pin(async move {
            let shared = Arc::clone(&self.0);
            let holder = producer::Holder::take(shared, transactional_id, timeout_ms).await?;
            Ok(Box::new(holder) as Box<dyn TransactionalProducer>)
        })
    }
}

/// The partition's number as an index of partitions that exist.
fn index_of(partition: usize) -> PartitionIndex {
    PartitionIndex(i32::try_from(partition).unwrap_or(i32::MAX))
}
