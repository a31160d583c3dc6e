//! The coordinator over all transactional ids: finds the one a command is for, writes what changed,
//! and keeps the deadlines of open transactions and the list of markers that are due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::command::{Command, DescribedTransaction, MarkersDue, Producer, Reply};
use super::config::TxnConfig;
use super::error::TxnError;
use super::listing::{describe, list};
use super::records::TransactionRecord;
use super::requests::{check_id, not_found};
use super::state::TransactionState;
use super::transaction::{Calendar, Transaction};
use crate::clock::SteadyTime;
use crate::machine::{Effects, Machine, Ticket};
use crate::types::{
    Monotonic, Now, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TransactionVersion,
};

/// How long an overdue transaction waits for a fresh producer id before it is looked at again.
const SPARE_WAIT_MS: u64 = 1_000;
/// Transactions that time out in one step, and markers that are told in one reply.
const BATCH_COUNT_MAX: usize = 1_000;

pub(super) type Out = Effects<TransactionRecord, Reply>;

/// All transactional ids of one coordinator. Pure: see [`Machine`].
#[derive(Debug)]
pub struct Coordinator {
    pub(super) config: TxnConfig,
    pub(super) ids: BTreeMap<Arc<str>, Transaction>,
    /// Bytes of their names.
    pub(super) id_bytes: usize,
    /// Of every open transaction.
    deadlines: BTreeSet<(Monotonic, Arc<str>)>,
    /// The ids without an open or ending transaction, with the time of their last change.
    pub(super) idle: BTreeSet<(Timestamp, Arc<str>)>,
    /// Those with markers due.
    pub(super) preparing: BTreeSet<Arc<str>>,
    /// Those among them that nobody was told of.
    pub(super) untold: BTreeSet<Arc<str>>,
    /// Those among the ones with a transaction open or ending that are to be forgotten with its end.
    pub(super) outdated: BTreeSet<Arc<str>>,
    waiter: Option<Ticket>,
    pub(super) spares: VecDeque<ProducerId>,
    pub(super) expiration_check: Monotonic,
    /// What the age of ids is judged by.
    expiration_time: SteadyTime,
}

impl Coordinator {
    /// A coordinator without ids; [`Machine::replay`] brings them back.
    pub fn new(config: TxnConfig, now: Now) -> Self {
        let expiration_check = now.monotonic.plus_ms(config.expiration_check_interval_ms);
        Self {
            config,
            ids: BTreeMap::new(),
            id_bytes: 0,
            deadlines: BTreeSet::new(),
            idle: BTreeSet::new(),
            preparing: BTreeSet::new(),
            untold: BTreeSet::new(),
            outdated: BTreeSet::new(),
            waiter: None,
            spares: VecDeque::new(),
            expiration_check,
            expiration_time: SteadyTime::new(now),
        }
    }

    /// How many ids are known.
    pub fn id_count(&self) -> usize {
        self.ids.len()
    }

    /// How many transactions are open.
    pub fn open_count(&self) -> usize {
        self.deadlines.len()
    }

    /// How many are ending: their markers are due or being written.
    pub fn ending_count(&self) -> usize {
        self.preparing.len()
    }

    /// How long the oldest open transaction has been open, in ms; `None` if none is.
    pub fn oldest_open_ms(&self, now: Timestamp) -> Option<u64> {
        let open = self.deadlines.iter().filter_map(|(_, id)| self.ids.get(id));
        let oldest = open.map(|transaction| transaction.age_ms(now)).max()?;
        Some(u64::try_from(oldest).unwrap_or(0))
    }

    /// Whether a fresh producer id should be supplied, so that none is lacking when an id is taken or
    /// its epochs run out.
    pub fn wants_producer_id(&self) -> bool {
        self.spares.is_empty()
    }

    /// Whether the markers of this id's last transaction are due or being written, so that a further
    /// request would be told to come again (51).
    pub fn is_ending(&self, transactional_id: &str) -> bool {
        self.preparing.contains(transactional_id)
    }

    /// Whether `producer` has an open transaction that this partition is part of: whether it may begin
    /// one in the partition. The answer holds as long as the coordinator does not take a command: so
    /// append while you look, and the end marker comes after (KIP-890).
    pub fn is_part_of(&self, producer: &Producer, topic: &str, partition: PartitionIndex) -> bool {
        self.ids.get(producer.transactional_id.as_str()).is_some_and(|transaction| {
            transaction.state == TransactionState::Ongoing
                && transaction.check_holder(producer).is_ok()
                && transaction.partitions.contains(topic, partition)
        })
    }

    /// Whether a transaction that this partition has open, of this producer and epoch, is one of the
    /// coordinator's: whether a marker will end it.
    pub fn will_end(
        &self,
        id: ProducerId,
        epoch: ProducerEpoch,
        topic: &str,
        partition: PartitionIndex,
    ) -> bool {
        self.ids.values().any(|transaction| {
            let Producer { producer_id, producer_epoch, .. } = transaction.producer();
            let is_that = match transaction.state {
                TransactionState::Ongoing => producer_epoch == epoch,
                // One of the marker's own epoch comes after it then, and has been forgotten.
                TransactionState::Prepare(_) if transaction.version == TransactionVersion::V2 => {
                    epoch < producer_epoch
                }
                TransactionState::Prepare(_) => epoch <= producer_epoch,
                TransactionState::Empty | TransactionState::Complete(_) => false,
            };
            is_that && producer_id == id && transaction.partitions.contains(topic, partition)
        })
    }

    /// All markers that are due, told or not.
    pub fn markers_due(&self) -> impl Iterator<Item = MarkersDue> {
        self.preparing.iter().filter_map(|id| self.due(id))
    }

    fn due(&self, id: &str) -> Option<MarkersDue> {
        let transaction = self.ids.get(id)?;
        let TransactionState::Prepare(outcome) = transaction.state else { return None };
        Some(MarkersDue {
            producer: transaction.producer(),
            coordinator_epoch: self.config.coordinator_epoch,
            outcome,
            version: transaction.version,
            partitions: transaction.partitions.list(),
        })
    }

    /// Takes up the state of an id: its deadline, since when it is idle, and whether it has markers
    /// due.
    pub(super) fn settle(&mut self, id: &str, before: Calendar) {
        let Some(transaction) = self.ids.get(id) else { return };
        let (id, now) = (&transaction.id, transaction.calendar());
        if before.deadline != now.deadline {
            if let Some(at) = before.deadline {
                self.deadlines.remove(&(at, Arc::clone(id)));
            }
            if let Some(at) = now.deadline {
                self.deadlines.insert((at, Arc::clone(id)));
            }
        }
        if before.idle_since != now.idle_since {
            if let Some(since) = before.idle_since {
                self.idle.remove(&(since, Arc::clone(id)));
            }
            if let Some(since) = now.idle_since {
                self.idle.insert((since, Arc::clone(id)));
            }
        }
        if !transaction.state.is_prepared() {
            self.preparing.remove(id);
            self.untold.remove(id);
        } else if self.preparing.insert(Arc::clone(id)) {
            self.untold.insert(Arc::clone(id));
        }
    }

    fn remove(&mut self, id: &str) {
        let Some(transaction) = self.ids.remove(id) else { return };
        self.id_bytes = self.id_bytes.saturating_sub(id.len());
        let Calendar { deadline, idle_since } = transaction.calendar();
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, Arc::clone(&transaction.id)));
        }
        if let Some(since) = idle_since {
            self.idle.remove(&(since, Arc::clone(&transaction.id)));
        }
        self.preparing.remove(id);
        self.untold.remove(id);
        self.outdated.remove(id);
    }

    /// Tells the one who waits of the markers that are due.
    fn tell(&mut self, effects: &mut Out) {
        if self.untold.is_empty() {
            return;
        }
        let Some(ticket) = self.waiter.take() else { return };
        let told: Vec<_> = self.untold.iter().take(BATCH_COUNT_MAX).cloned().collect();
        for id in &told {
            self.untold.remove(id);
        }
        let due = told.iter().filter_map(|id| self.due(id)).collect();
        effects.reply(ticket, Reply::AwaitMarkers(due));
    }

    fn describe(&self, id: &str) -> Result<DescribedTransaction, TxnError> {
        check_id(id)?;
        self.ids.get(id).map(describe).ok_or_else(|| not_found(id))
    }

    /// Aborts what is open for too long, and fences its producer.
    fn time_out(&mut self, now: Now, effects: &mut Out) {
        let is_due = |(at, _): &&(Monotonic, Arc<str>)| *at <= now.monotonic;
        let due = self.deadlines.iter().take_while(is_due).take(BATCH_COUNT_MAX);
        let due: Vec<_> = due.map(|(_, id)| Arc::clone(id)).collect();
        for id in due {
            if self.fence(now, &id, effects).is_err() {
                self.postpone(&id, now.monotonic.plus_ms(SPARE_WAIT_MS));
            }
        }
    }

    fn postpone(&mut self, id: &str, until: Monotonic) {
        let Some(transaction) = self.ids.get_mut(id) else { return };
        let before = transaction.calendar();
        transaction.deadline = Some(until);
        self.settle(id, before);
    }

    /// Forgets ids that nobody has used for long.
    fn expire(&mut self, now: Now, effects: &mut Out) {
        let believed = self.expiration_time.look(now);
        let max = self.config.id_expiration_ms;
        let is_old = |(since, _): &&(Timestamp, Arc<str>)| since.plus_ms(max) <= believed;
        let old = self.idle.iter().take_while(is_old);
        let old: Vec<_> = old.map(|(_, id)| Arc::clone(id)).collect();
        for id in old {
            self.forget(&id, effects);
        }
    }

    /// Takes up an id that was not there.
    pub(super) fn insert(&mut self, transaction: Transaction) {
        let id = Arc::clone(&transaction.id);
        self.id_bytes = self.id_bytes.saturating_add(id.len());
        self.ids.insert(Arc::clone(&id), transaction);
        self.settle(&id, Calendar::default());
    }

    /// Makes room for one more id, by number and by bytes. Unlike Kafka: where there is none, those ids go that have been idle
    /// longest, as if their time had come.
    ///
    /// # Errors
    /// `TooManyTransactionalIds` if all the others have a transaction open or ending.
    pub(super) fn make_room(&mut self, wanted: &str, effects: &mut Out) -> Result<(), TxnError> {
        let (max, bytes_max) = (self.config.id_count_max, self.config.id_bytes_max);
        if self.ids.len() - self.idle.len() >= max {
            return Err(TxnError::TooManyTransactionalIds { max });
        }
        while self.ids.len() >= max || self.id_bytes.saturating_add(wanted.len()) > bytes_max {
            let Some((_, longest)) = self.idle.first() else {
                return Err(TxnError::TooManyTransactionalIds { max: self.ids.len() });
            };
            let id = Arc::clone(longest);
            self.forget(&id, effects);
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, id: &str, effects: &mut Out) {
        self.remove(id);
        effects.write(TransactionRecord { transactional_id: id.to_owned(), metadata: None });
    }

    /// What a restart would bring back. Under test only.
    #[cfg(test)]
    pub(super) fn durable(&self) -> BTreeMap<String, TransactionRecord> {
        self.ids.iter().map(|(id, transaction)| (id.to_string(), transaction.record())).collect()
    }

    /// Panics if an invariant does not hold. Under test only.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let (mut deadlines, mut idle) = (BTreeSet::new(), BTreeSet::new());
        let mut preparing = BTreeSet::new();
        for (id, transaction) in &self.ids {
            assert_eq!(id, &transaction.id);
            transaction.check();
            let Calendar { deadline, idle_since } = transaction.calendar();
            deadlines.extend(deadline.map(|at| (at, Arc::clone(id))));
            idle.extend(idle_since.map(|since| (since, Arc::clone(id))));
            preparing.extend(transaction.state.is_prepared().then(|| Arc::clone(id)));
        }
        assert_eq!(deadlines, self.deadlines, "each open transaction has its deadline");
        assert_eq!(idle, self.idle, "each id without a transaction can be forgotten");
        assert_eq!(preparing, self.preparing, "each ending transaction has markers due");
        assert!(self.untold.is_subset(&self.preparing), "only markers that are due are told");
        assert!(self.outdated.iter().all(|id| self.ids.contains_key(id)), "none that is gone");
        assert!(self.waiter.is_none() || self.untold.is_empty(), "who waits is told");
        assert!(self.ids.len() <= self.config.id_count_max, "no more ids than there may be");
        assert_eq!(self.id_bytes, self.ids.keys().map(|id| id.len()).sum::<usize>());
    }
}

impl Machine for Coordinator {
    type Command = Command;
    type Reply = Reply;
    type Record = TransactionRecord;

    fn handle(&mut self, now: Now, ticket: Ticket, command: Command, effects: &mut Out) {
        let reply = match command {
            Command::InitProducerId(request) => {
                Reply::InitProducerId(self.init(now, &request, effects))
            }
            Command::AddPartitions(request) => {
                Reply::AddPartitions(self.add(now, &request, effects))
            }
            Command::VerifyPartitions(request) => Reply::VerifyPartitions(self.verify(request)),
            Command::EndTransaction(request) => {
                Reply::EndTransaction(self.end(now, &request, effects))
            }
            Command::AbortTransaction(id) => Reply::AbortTransaction(self.abort(now, &id, effects)),
            Command::AwaitMarkers => {
                if let Some(before) = self.waiter.replace(ticket) {
                    effects.reply(before, Reply::AwaitMarkers(Vec::new()));
                }
                return self.tell(effects);
            }
            Command::GiveBackMarkers(ids) => {
                self.give_back(&ids);
                Reply::GiveBackMarkers
            }
            Command::MarkersWritten(producer) => {
                Reply::MarkersWritten(self.markers_written(now, &producer, effects))
            }
            Command::SupplyProducerIds(producer_ids) => {
                self.supply(producer_ids);
                Reply::SupplyProducerIds
            }
            Command::EpochsSeen(seen) => Reply::EpochsSeen(self.epochs_seen(now, &seen, effects)),
            Command::Describe(ids) => {
                Reply::Describe(ids.iter().map(|id| self.describe(id)).collect())
            }
            Command::List(filter) => Reply::List(list(self.ids.values(), &filter, now.wall)),
        };
        effects.reply(ticket, reply);
        self.tell(effects);
    }

    fn tick(&mut self, now: Now, effects: &mut Out) {
        self.time_out(now, effects);
        if self.expiration_check <= now.monotonic {
            self.expiration_check =
                now.monotonic.plus_ms(self.config.expiration_check_interval_ms.max(1));
            self.expire(now, effects);
        }
        self.tell(effects);
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        Some(first.map_or(self.expiration_check, |at| at.min(self.expiration_check)))
    }

    fn replay(&mut self, now: Now, record: TransactionRecord) {
        let id: Arc<str> = Arc::from(record.transactional_id);
        let kept =
            record.metadata.and_then(|kept| Transaction::replayed(Arc::clone(&id), kept, now));
        self.remove(&id);
        if let Some(transaction) = kept {
            self.insert(transaction);
        }
    }
}
