//! What a worker holds while it has its partitions, and the loop over it: read, handle, commit. When anything of it
//! may be wrong (a rebalance, a commit of which nobody knows whether it took place) the session is dropped, and
//! the next reads everything again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use super::batch::Batch;
use super::intents::Intents;
use super::parking::{Lane, Parking, Seq};
use super::plan::Plan;
use super::records::{Parked, Timed};
use super::round::{Id, Round};
use super::runs::Runs;
use super::status::Status;
use super::store::{Facts, Store};
use super::timers::Timers;
use super::topics::Layout;
use super::worker::Shared;
use super::{load, seen::Seen};
use crate::client::cluster::{
    Answer, Cluster, ClusterError, MemberStanding, Membership, ReadFrom, Received, TopicPartition,
    Transaction, TransactionalProducer,
};
use crate::services::rate::Rate;
use crate::services::unit::Input;
use crate::types::{Monotonic, Now, Offset, PartitionIndex, Timestamp};

/// How often the group hears of us.
const HEARTBEAT_MS: u64 = 3_000;
/// How long a read waits for the first record.
const READ_WAIT_MS: u64 = 500;
/// Bytes of records that are read and not settled.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Bytes of one read.
const READ_BYTES_MAX: usize = 4 << 20;
/// Records that are read and not settled: no more is read above it.
const IN_FLIGHT_MAX: usize = 1_000;
/// Records that wait in a group: above it nothing is read until some are done.
const PARKED_MAX: usize = 10_000;

/// A record on its way through a handler.
pub(super) struct Item {
    pub(super) subscription: usize,
    pub(super) lane: Lane,
    pub(super) origin: super::origin::Origin,
    pub(super) event_id: Arc<str>,
    pub(super) traceparent: Option<Arc<str>>,
    pub(super) correlation_id: Arc<str>,
    pub(super) saga_id: Option<Arc<str>>,
    /// What its handler gets, until it begins; or why nothing can be given.
    pub(super) input: Option<Result<Input, crate::services::ServiceError>>,
    pub(super) parked: Parked,
    /// Where its offset waits for it, if it does.
    pub(super) log: Option<(TopicPartition, Offset)>,
    /// Its place among those that wait, if it has one.
    pub(super) seat: Option<(Lane, Seq)>,
    pub(super) size: usize,
}

/// How a session ends without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The services stop.
    Stopped,
    /// The group shares its partitions out anew.
    Rebalance,
}

/// A worker with its partitions.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    member: Box<dyn Membership>,
    producer: Box<dyn TransactionalProducer>,
    pub(super) round: Round,
    pub(super) parking: Parking<Parked>,
    pub(super) timers: Timers<Timed>,
    pub(super) seen: Seen,
    pub(super) store: Arc<Store>,
    pub(super) intents: Arc<Intents>,
    pub(super) items: HashMap<Id, Item>,
    pub(super) runs: Runs,
    pub(super) batch: Batch,
    /// Up to there an earlier process may have read.
    pub(super) horizon: BTreeMap<TopicPartition, Offset>,
    pub(super) in_flight_bytes: usize,
    /// Until then nothing new is begun, as a breaker or a rate says.
    pub(super) gated_until: Option<Timestamp>,
    pub(super) rate: Option<Rate>,
    ends: BTreeMap<TopicPartition, Offset>,
    heartbeat_at: Monotonic,
}

impl Session {
    /// Takes the group's partitions and reads what lies in them of this group's own.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        layout: &Layout,
        member: Box<dyn Membership>,
        producer: Box<dyn TransactionalProducer>,
    ) -> Result<Self, ClusterError> {
        let cluster = Arc::clone(&shared.cluster);
        let assigned = member.assigned().to_vec();
        let mut partitions: Vec<PartitionIndex> = assigned.iter().map(|at| at.partition).collect();
        partitions.sort();
        partitions.dedup();
        let store = Arc::new(Store::new(Facts {
            cluster: Arc::clone(&cluster),
            group: Arc::clone(&shared.plan.group),
            owners: Arc::clone(&shared.owners),
            partitions,
            partition_count: layout.partition_count,
            is_even: layout.is_even,
        }));
        let loaded = load::load(&*cluster, &shared.plan, &assigned).await?;
        let mut session = Self {
            member,
            producer,
            round: Round::default(),
            parking: loaded.parking,
            timers: loaded.timers,
            seen: loaded.seen,
            intents: Arc::new(Intents::new(&shared, loaded.intents)),
            store,
            items: HashMap::new(),
            runs: Runs::default(),
            batch: Batch::default(),
            horizon: loaded.horizon,
            in_flight_bytes: 0,
            gated_until: None,
            rate: shared.plan.rate.map(|rate| Rate::new(rate, cluster.clock().now().wall)),
            ends: BTreeMap::new(),
            heartbeat_at: cluster.clock().now().monotonic,
            shared,
        };
        for (at, offset, committed) in loaded.positions {
            session.round.begin(at, offset, committed);
        }
        session.show(cluster.clock().now());
        Ok(session)
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.shared.plan
    }

    pub(super) fn status(&self) -> &Status {
        &self.shared.status
    }

    /// Works until the services stop or the group shares out anew.
    pub(super) async fn work(
        &mut self,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End, ClusterError> {
        let cluster = Arc::clone(&self.shared.cluster);
        let mut reading: Option<Answer<'_, Vec<Received>>> = None;
        loop {
            let now = cluster.clock().now();
            if self.heartbeat_at <= now.monotonic {
                self.heartbeat_at = now.monotonic.plus_ms(HEARTBEAT_MS);
                if self.member.heartbeat().await? == MemberStanding::Rebalancing {
                    return Ok(End::Rebalance);
                }
            }
            self.begin_what_may(now);
            if self.has_to_commit(now) {
                self.commit().await?;
                continue;
            }
            if !self.wants_more() {
                reading = None;
            } else if reading.is_none() {
                reading = Some(self.read(&*cluster));
            }
            self.show(now);
            let wake = self.wake(now);
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(End::Stopped),
                ran = self.runs.next() => {
                    let now = cluster.clock().now();
                    self.finish(ran, now);
                    while let Some(ran) = self.runs.try_next() {
                        self.finish(ran, now);
                    }
                }
                received = answered(&mut reading) => {
                    reading = None;
                    self.receive(received, cluster.clock().now())?;
                }
                () = cluster.clock().sleep_until(wake) => {}
            }
        }
    }

    /// Commits what is done and says goodbye.
    pub(super) async fn leave(mut self) -> Result<(), ClusterError> {
        if !self.batch.is_empty() {
            self.commit().await?;
        }
        self.member.leave().await
    }

    /// Joins anew; the session is over, its membership goes on.
    pub(super) async fn into_rejoined(self) -> Result<Box<dyn Membership>, ClusterError> {
        let mut member = self.member;
        member.rejoin().await?;
        Ok(member)
    }

    fn begin_what_may(&mut self, now: Now) {
        while let Some(id) = self.runs.end_overdue(now.monotonic) {
            self.time_out(id, now);
        }
        self.fire_timers(now);
        self.retry_due(now);
        self.start_ready(now);
    }

    fn has_to_commit(&self, now: Now) -> bool {
        if self.batch.must_close() {
            return true;
        }
        let has_news = !self.batch.is_empty() || !self.round.moved().is_empty();
        let rests = self.runs.count() == 0;
        has_news && (rests || self.batch.is_old(now.monotonic, self.round.gap().is_some()))
    }

    async fn commit(&mut self) -> Result<(), ClusterError> {
        while let Some(lane) = self.round.gap() {
            self.park_lane(&lane, self.shared.cluster.clock().now());
        }
        let offsets = self.round.moved();
        let transaction = Transaction {
            records: self.batch.take(),
            group: Some(self.member.identity()),
            offsets: offsets.clone(),
        };
        self.producer.commit(transaction).await?;
        self.store.apply();
        self.round.committed(&offsets);
        self.status().metrics.commits.add(1);
        let positions: BTreeMap<_, _> =
            self.round.positions().map(|(at, offset)| (at.clone(), offset)).collect();
        self.status().show(|standing| {
            standing.positions = positions;
            standing.steps += 1;
        });
        Ok(())
    }

    fn wants_more(&self) -> bool {
        self.gated_until.is_none()
            && self.items.len() < IN_FLIGHT_MAX
            && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX
            && self.parking.count() + self.items.len() < PARKED_MAX
    }

    fn read<'a>(&self, cluster: &'a dyn Cluster) -> Answer<'a, Vec<Received>> {
        let from = self.round.ends();
        let from = from.map(|(at, offset)| ReadFrom { at: at.clone(), offset }).collect::<Vec<_>>();
        let room = READ_BYTES_MAX.min(IN_FLIGHT_BYTES_MAX - self.in_flight_bytes);
        cluster.read(from, room.max(1), READ_WAIT_MS)
    }

    /// # Errors
    /// The read's; where records are gone before they were read, goes on behind them instead.
    fn receive(
        &mut self,
        received: Result<Vec<Received>, ClusterError>,
        now: Now,
    ) -> Result<(), ClusterError> {
        match received {
            Ok(received) => {
                for part in received {
                    self.ends.insert(part.at.clone(), part.end);
                    self.take(part, now);
                }
                Ok(())
            }
            Err(ClusterError::OutOfRange { at, offset, span }) => {
                tracing::warn!(
                    group_id = %self.plan().group, partition = %at, %offset, log_start_offset = %span.start,
                    "records are gone that were not read: going on with the first there is"
                );
                self.round.begin(at, span.start, None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Shows what is going on to those outside.
    fn show(&self, now: Now) {
        let metrics = &self.status().metrics;
        metrics.in_flight.set_count(self.items.len());
        metrics.parked_keys.set_count(self.parking.lanes());
        metrics.parked_records.set_count(self.parking.count());
        metrics.timers_set.set_count(self.timers.count());
        let ends = self.round.ends();
        let lag = ends.filter_map(|(at, next)| Some(self.ends.get(at)?.0.saturating_sub(next.0)));
        metrics.lag.set(lag.map(|lag| lag.max(0)).sum());
        let next_due = self.next_due();
        let is_paused = !self.wants_more();
        let rests =
            self.runs.count() == 0 && self.batch.is_empty() && self.round.moved().is_empty();
        let is_idle = rests
            && (self.round.is_empty() || self.gated_until.is_some())
            && next_due.is_none_or(|due| due > now.wall);
        self.status().show(|standing| {
            standing.is_idle = is_idle;
            standing.is_paused = is_paused;
            standing.next_due = next_due;
            standing.steps += u64::from(!is_idle);
            if standing.store.is_none() {
                standing.store = Some(Arc::clone(&self.store));
                standing.plan = Some(Arc::clone(&self.shared.plan));
                let positions = self.round.positions();
                standing.positions = positions.map(|(at, next)| (at.clone(), next)).collect();
            }
        });
    }

    fn next_due(&self) -> Option<Timestamp> {
        [self.timers.next_due(), self.parking.next_due(), self.gated_until]
            .into_iter()
            .flatten()
            .min()
    }

    fn wake(&self, now: Now) -> Monotonic {
        let due = self.next_due().map(|due| {
            let left = due.0.saturating_sub(now.wall.0);
            now.monotonic.plus_ms(u64::try_from(left).unwrap_or(0))
        });
        let closes = self.batch.closes_at(self.round.gap().is_some());
        [due, closes, self.runs.deadline()].into_iter().flatten().fold(self.heartbeat_at, Ord::min)
    }
}

/// The read's answer; pends where nothing is read.
async fn answered(
    reading: &mut Option<Answer<'_, Vec<Received>>>,
) -> Result<Vec<Received>, ClusterError> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}
