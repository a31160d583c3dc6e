//! A cluster in memory: topics, transactions and consumer groups with the promises of
//! [`Cluster`], no disk, no network, and failures by order. Compaction does not take place.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::groups::Group;
use crate::client::cluster::{
    Answer, Cluster, ClusterError, GroupIdentity, JoinAs, MemberStanding, Membership, Placed,
    ReadFrom, Received, Span, Stored, ToSend, TopicPartition, TopicSpec, Transaction,
    TransactionalProducer,
};
use crate::client::partition_of;
use crate::clock::Clock;
use crate::types::{Offset, PartitionIndex, Timestamp};

/// Partitions of a topic of which nobody says how many.
const PARTITIONS_DEFAULT: i32 = 3;

/// How a commit is made to fail.
#[derive(Clone, Debug)]
pub enum CommitFault {
    /// Nothing takes place.
    Lost(ClusterError),
    /// All of it takes place, and the answer is lost.
    Done(ClusterError),
}

/// The cluster; a clone is the same one.
#[derive(Clone)]
pub struct MemoryCluster(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
    grown: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<Arc<str>, Vec<Vec<Stored>>>,
    groups: BTreeMap<String, Group>,
    epochs: BTreeMap<String, u64>,
    faults: VecDeque<CommitFault>,
    commits: u64,
    keyless: usize,
}

impl fmt::Debug for MemoryCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCluster").finish_non_exhaustive()
    }
}

impl MemoryCluster {
    /// An empty cluster at this clock.
    pub fn new(clock: Clock) -> Self {
        let grown = watch::Sender::new(0);
        Self(Arc::new(Shared { clock, state: Mutex::default(), grown }))
    }

    /// Makes a topic with so many partitions.
    pub fn make_topic(&self, name: &str, partitions: i32) {
        self.0.lock().make(name, Some(partitions));
    }

    /// All records of a topic, partition after partition.
    pub fn records(&self, topic: &str) -> Vec<Stored> {
        self.0.lock().topics.get(topic).map(|all| all.concat()).unwrap_or_default()
    }

    /// What a group has committed in a partition.
    pub fn committed_at(&self, group: &str, at: &TopicPartition) -> Option<Offset> {
        self.0.lock().groups.get(group)?.committed.get(at).copied()
    }

    /// How many transactions have been committed.
    pub fn commits(&self) -> u64 {
        self.0.lock().commits
    }

    /// Makes the next commit fail; called twice, the two next.
    pub fn fail_commit(&self, fault: CommitFault) {
        self.0.lock().faults.push_back(fault);
    }

    /// Lets a member's session be over, as when its process is gone.
    pub fn expire(&self, group: &str, instance_id: &str) {
        if let Some(group) = self.0.lock().groups.get_mut(group) {
            group.leave(instance_id);
        }
        self.0.tell();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.grown.send_modify(|n| *n += 1);
    }
}

impl State {
    fn make(&mut self, name: &str, partitions: Option<i32>) {
        let log = self.topics.entry(name.into()).or_default();
        let wanted = match partitions {
            None if log.is_empty() => PARTITIONS_DEFAULT,
            None => return,
            Some(count) => count,
        };
        let wanted = usize::try_from(wanted).unwrap_or(0);
        if log.len() < wanted {
            log.resize_with(wanted, Vec::new);
        }
    }

    fn log(&self, at: &TopicPartition) -> Result<&Vec<Stored>, ClusterError> {
        let unknown = || ClusterError::Unknown(at.clone());
        let number = usize::try_from(at.partition.0).map_err(|_| unknown())?;
        self.topics.get(&at.topic).and_then(|all| all.get(number)).ok_or_else(unknown)
    }

    /// Where records will lie; an error leaves all as it was.
    fn place(&mut self, records: &[ToSend]) -> Result<Vec<PartitionIndex>, ClusterError> {
        let mut places = Vec::new();
        for record in records {
            let count = self.topics.get(&record.topic).map_or(0, Vec::len);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let chosen = match (&record.partition, &record.key) {
                (Some(partition), _) => *partition,
                (None, Some(key)) => {
                    PartitionIndex(i32::try_from(partition_of(key, count)).unwrap_or(0))
                }
                (None, None) => {
                    self.keyless += 1;
                    let turn = u32::try_from(self.keyless).unwrap_or(0) % count.max(1);
                    PartitionIndex(i32::try_from(turn).unwrap_or(0))
                }
            };
            let at = TopicPartition { topic: Arc::clone(&record.topic), partition: chosen };
            self.log(&at)?;
            places.push(chosen);
        }
        Ok(places)
    }

    fn append(
        &mut self,
        records: Vec<ToSend>,
        now: Timestamp,
    ) -> Result<Vec<Placed>, ClusterError> {
        let places = self.place(&records)?;
        let mut placed = Vec::new();
        for (record, partition) in records.into_iter().zip(places) {
            let number = usize::try_from(partition.0).unwrap_or(0);
            let log = self.topics.get_mut(&record.topic).and_then(|all| all.get_mut(number));
            let Some(log) = log else { continue };
            let at = TopicPartition { topic: record.topic, partition };
            let offset = Offset(i64::try_from(log.len()).unwrap_or(i64::MAX));
            placed.push(Placed { at: at.clone(), offset });
            log.push(Stored {
                at,
                offset,
                timestamp: record.timestamp.unwrap_or(now),
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
        }
        Ok(placed)
    }

    fn received(&self, from: &ReadFrom, budget: &mut usize) -> Result<Received, ClusterError> {
        let log = self.log(&from.at)?;
        let first = usize::try_from(from.offset.0).unwrap_or(0);
        let mut records = Vec::new();
        for record in log.iter().skip(first) {
            if *budget == 0 {
                break;
            }
            let size = record.value.as_ref().map_or(0, bytes::Bytes::len) + 64;
            *budget = budget.saturating_sub(size);
            records.push(record.clone());
        }
        let count = i64::try_from(records.len()).unwrap_or(0);
        Ok(Received {
            at: from.at.clone(),
            records,
            next: from.offset.plus(count),
            end: Offset(i64::try_from(log.len()).unwrap_or(i64::MAX)),
        })
    }
}

impl Cluster for MemoryCluster {
    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn ensure_topics(&self, topics: Vec<TopicSpec>) -> Answer<'_, ()> {
        let mut state = self.0.lock();
        for topic in &topics {
            state.make(&topic.name, topic.partitions);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn partition_count(&self, topic: Arc<str>) -> Answer<'_, Option<i32>> {
        let count = self.0.lock().topics.get(&topic).map(Vec::len);
        let count = count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        Box::pin(std::future::ready(Ok(count)))
    }

    fn spans(&self, partitions: Vec<TopicPartition>) -> Answer<'_, Vec<Span>> {
        let state = self.0.lock();
        let span = |at: &TopicPartition| {
            let end = Offset(i64::try_from(state.log(at)?.len()).unwrap_or(i64::MAX));
            Ok(Span { start: Offset(0), end, high_watermark: end })
        };
        Box::pin(std::future::ready(partitions.iter().map(span).collect()))
    }

    fn offset_at(&self, at: TopicPartition, time: Timestamp) -> Answer<'_, Offset> {
        let state = self.0.lock();
        let found = state.log(&at).map(|log| {
            let found = log.iter().position(|record| record.timestamp >= time);
            Offset(i64::try_from(found.unwrap_or(log.len())).unwrap_or(i64::MAX))
        });
        Box::pin(std::future::ready(found))
    }

    fn read(
        &self,
        from: Vec<ReadFrom>,
        max_bytes: usize,
        max_wait_ms: u64,
    ) -> Answer<'_, Vec<Received>> {
        Box::pin(async move {
            let mut grown = self.0.grown.subscribe();
            let deadline = self.0.clock.now().monotonic.plus_ms(max_wait_ms);
            loop {
                grown.borrow_and_update();
                let mut received = Vec::new();
                {
                    let state = self.0.lock();
                    let mut budget = max_bytes;
                    for place in &from {
                        let got = state.received(place, &mut budget)?;
                        if !got.records.is_empty() {
                            received.push(got);
                        }
                    }
                }
                if !received.is_empty() || max_wait_ms == 0 {
                    return Ok(received);
                }
                tokio::select! {
                    _ = grown.changed() => {}
                    () = self.0.clock.sleep_until(deadline) => return Ok(received),
                }
            }
        })
    }

    fn send(&self, records: Vec<ToSend>) -> Answer<'_, Vec<Placed>> {
        let placed = self.0.lock().append(records, self.0.clock.now().wall);
        self.0.tell();
        Box::pin(std::future::ready(placed))
    }

    fn join(&self, join: JoinAs) -> Answer<'_, Box<dyn Membership>> {
        let member = Member::join(Arc::clone(&self.0), join);
        Box::pin(std::future::ready(Ok(Box::new(member) as Box<dyn Membership>)))
    }

    fn committed(
        &self,
        group: String,
        partitions: Vec<TopicPartition>,
    ) -> Answer<'_, Vec<Option<Offset>>> {
        let state = self.0.lock();
        let committed = state.groups.get(&group).map(|group| &group.committed);
        let found = partitions.iter().map(|at| committed.and_then(|all| all.get(at).copied()));
        Box::pin(std::future::ready(Ok(found.collect())))
    }

    fn producer(
        &self,
        transactional_id: String,
        _timeout_ms: i32,
    ) -> Answer<'_, Box<dyn TransactionalProducer>> {
        let epoch = {
            let mut state = self.0.lock();
            let epoch = state.epochs.entry(transactional_id.clone()).or_default();
            *epoch += 1;
            *epoch
        };
        let producer = Producer { shared: Arc::clone(&self.0), transactional_id, epoch };
        Box::pin(std::future::ready(Ok(Box::new(producer) as Box<dyn TransactionalProducer>)))
    }
}

struct Producer {
    shared: Arc<Shared>,
    transactional_id: String,
    epoch: u64,
}

impl Producer {
    fn try_commit(&self, transaction: Transaction) -> Result<Vec<Placed>, ClusterError> {
        let mut state = self.shared.lock();
        if state.epochs.get(&self.transactional_id) != Some(&self.epoch) {
            return Err(ClusterError::Fenced(self.transactional_id.clone()));
        }
        let fault = state.faults.pop_front();
        if let Some(CommitFault::Lost(error)) = fault {
            return Err(error);
        }
        if let Some(who) = &transaction.group {
            state.groups.entry(who.group.clone()).or_default().check(who)?;
        }
        let placed = state.append(transaction.records, self.shared.clock.now().wall)?;
        if let Some(who) = &transaction.group {
            let group = state.groups.entry(who.group.clone()).or_default();
            group.committed.extend(transaction.offsets);
        }
        state.commits += 1;
        match fault {
            Some(CommitFault::Done(error)) => Err(error),
            _ => Ok(placed),
        }
    }
}

impl TransactionalProducer for Producer {
    fn commit(&mut self, transaction: Transaction) -> Answer<'_, Vec<Placed>> {
        let outcome = self.try_commit(transaction);
        self.shared.tell();
        Box::pin(std::future::ready(outcome))
    }
}

struct Member {
    shared: Arc<Shared>,
    join: JoinAs,
    identity: GroupIdentity,
    assigned: Vec<TopicPartition>,
}

impl Member {
    fn join(shared: Arc<Shared>, join: JoinAs) -> Self {
        let (identity, assigned) = {
            let mut state = shared.lock();
            let identity = state.groups.entry(join.group.clone()).or_default().join(&join);
            let counts = |topic: &str| state.topics.get(topic).map_or(0, Vec::len);
            let group = state.groups.get(&join.group);
            let assigned = group.map(|group| group.assigned(&join.instance_id, counts));
            (identity, assigned.unwrap_or_default())
        };
        shared.tell();
        Self { shared, join, identity, assigned }
    }

    fn check(&self) -> Result<(), ClusterError> {
        let state = self.shared.lock();
        let gone = || ClusterError::Fenced(self.join.group.clone());
        state.groups.get(&self.join.group).ok_or_else(gone)?.check(&self.identity)
    }
}

impl Membership for Member {
    fn assigned(&self) -> &[TopicPartition] {
        &self.assigned
    }

    fn identity(&self) -> GroupIdentity {
        self.identity.clone()
    }

    fn heartbeat(&mut self) -> Answer<'_, MemberStanding> {
        let standing = match self.check() {
            Ok(()) => Ok(MemberStanding::Settled),
            Err(ClusterError::Rebalancing(_)) => Ok(MemberStanding::Rebalancing),
            Err(error) => Err(error),
        };
        Box::pin(std::future::ready(standing))
    }

    fn rejoin(&mut self) -> Answer<'_, ()> {
        let outcome = match self.check() {
            Err(ClusterError::Fenced(why)) => Err(ClusterError::Fenced(why)),
            _ => {
                *self = Self::join(Arc::clone(&self.shared), self.join.clone());
                Ok(())
            }
        };
        Box::pin(std::future::ready(outcome))
    }

    fn leave(&mut self) -> Answer<'_, ()> {
        if self.check().is_ok() {
            let mut state = self.shared.lock();
            if let Some(group) = state.groups.get_mut(&self.join.group) {
                group.leave(&self.join.instance_id);
            }
        }
        self.shared.tell();
        Box::pin(std::future::ready(Ok(())))
    }
}
