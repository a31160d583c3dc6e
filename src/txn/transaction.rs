//! One transactional id: who holds it, and what its transaction may do next.
//!
//! | epoch | who has it |
//! |-------|------------|
//! | 0 to 32766 | a producer |
//! | 32767 | nobody: the markers that end the last transaction of an id whose epochs ran out |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::{EndTransaction, InitProducerId, PartitionList, Producer};
use super::error::TxnError;
use super::records::{TransactionMetadata, TransactionPartitions, TransactionRecord};
use super::state::TransactionState;
use crate::records::Outcome;
use crate::types::{
    Monotonic, Now, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TransactionVersion,
};

/// The last epoch of a producer.
const EPOCH_MAX: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// What -1 stands for.
pub(super) const NO_PRODUCER_ID: ProducerId = ProducerId(-1);
pub(super) const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// What an id remembers.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) id: Arc<str>,
    pub(super) producer_id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    /// The producer before the last change; another one only where the epochs had run out.
    previous_producer_id: ProducerId,
    /// Who takes over when the markers are written, where the epochs have run out.
    next_producer_id: Option<ProducerId>,
    /// The epoch before the last bump, if the one who knows it may ask again. Not in the records.
    last_epoch: Option<ProducerEpoch>,
    pub(super) timeout_ms: i32,
    pub(super) state: TransactionState,
    pub(super) partitions: Partitions,
    pub(super) started: Option<Timestamp>,
    pub(super) updated: Timestamp,
    pub(super) version: TransactionVersion,
    /// Until when an open transaction has time.
    pub(super) deadline: Option<Monotonic>,
}

/// The times by which an id is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Until when an open transaction has time.
    pub(super) deadline: Option<Monotonic>,
    /// The last change of an id that has no transaction open or ending.
    pub(super) idle_since: Option<Timestamp>,
}

/// What an EndTxn comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It ends, so.
    Prepare(Outcome),
    /// It has ended so before: an answer was lost.
    AlreadyDone,
}

impl Transaction {
    /// An id that was unknown, in the hands of a new producer.
    pub(super) fn new(id: Arc<str>, producer_id: ProducerId, timeout_ms: i32, now: Now) -> Self {
        Self {
            id,
            producer_id,
            epoch: ProducerEpoch(0),
            previous_producer_id: producer_id,
            next_producer_id: None,
            last_epoch: None,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: Partitions::default(),
            started: None,
            updated: now.wall,
            version: TransactionVersion::V0,
            deadline: None,
        }
    }

    /// Who holds the id.
    pub(super) fn producer(&self) -> Producer {
        Producer {
            transactional_id: self.id.to_string(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
        }
    }

    /// The producer that the client goes on with, also while the markers of the last transaction of
    /// an exhausted one are being written.
    pub(super) fn next_producer(&self) -> Producer {
        match self.next_producer_id {
            None => self.producer(),
            Some(producer_id) => {
                Producer { producer_id, producer_epoch: ProducerEpoch(0), ..self.producer() }
            }
        }
    }

    /// The times by which it is found.
    pub(super) fn calendar(&self) -> Calendar {
        let idle_since = match self.state {
            TransactionState::Empty | TransactionState::Complete(_) => Some(self.updated),
            TransactionState::Ongoing | TransactionState::Prepare(_) => None,
        };
        Calendar { deadline: self.deadline, idle_since }
    }

    /// Whether no epoch is left for a further producer.
    pub(super) fn is_exhausted(&self) -> bool {
        self.epoch >= EPOCH_MAX
    }

    /// How long ago the last transaction began; Kafka counts from -1 where none did.
    pub(super) fn age_ms(&self, now: Timestamp) -> i64 {
        now.0.saturating_sub(self.started.map_or(-1, |started| started.0))
    }

    /// Refuses whoever does not hold the id.
    pub(super) fn check_holder(&self, producer: &Producer) -> Result<(), TxnError> {
        if producer.producer_id != self.producer_id {
            return Err(mapping(producer));
        }
        if producer.producer_epoch != self.epoch {
            return Err(self.fenced(producer.producer_epoch));
        }
        Ok(())
    }

    /// Refuses while markers are being written.
    pub(super) fn check_settled(&self) -> Result<(), TxnError> {
        if self.state.is_prepared() { Err(self.concurrent()) } else { Ok(()) }
    }

    pub(super) fn concurrent(&self) -> TxnError {
        TxnError::ConcurrentTransactions(self.id.to_string())
    }

    fn fenced(&self, got: ProducerEpoch) -> TxnError {
        TxnError::ProducerFenced { producer_id: self.producer_id, got, current: self.epoch }
    }

    /// Refuses whoever cannot have held the id last (KIP-360). Of the current producer the epoch is
    /// looked at later, so that one with a wrong epoch still fences an open transaction, as in
    /// Kafka.
    pub(super) fn check_claim(&self, claim: &InitProducerId) -> Result<(), TxnError> {
        let ran_out =
            claim.producer_id == self.previous_producer_id && claim.producer_epoch >= EPOCH_MAX;
        let is_plausible = claim.is_new() || claim.producer_id == self.producer_id || ran_out;
        if is_plausible { Ok(()) } else { Err(self.fenced(claim.producer_epoch)) }
    }

    /// Whether [`Transaction::renew`] needs a new producer id.
    pub(super) fn is_rotation(&self, claim: &InitProducerId) -> bool {
        self.is_exhausted() && (claim.is_new() || claim.producer_epoch == self.epoch)
    }

    /// Gives a settled id to the producer that claims it: with a higher epoch, with `rotated` as its
    /// new id, or for a claim whose answer was lost as it was given then.
    pub(super) fn renew(
        &mut self,
        claim: &InitProducerId,
        rotated: Option<ProducerId>,
        now: Now,
    ) -> Result<(), TxnError> {
        let given = (!claim.is_new()).then_some(claim.producer_epoch);
        if let Some(producer_id) = rotated {
            self.previous_producer_id = self.producer_id;
            self.producer_id = producer_id;
            self.last_epoch = given;
            self.epoch = ProducerEpoch(0);
        } else if given.is_none_or(|epoch| epoch == self.epoch) {
            self.previous_producer_id = self.producer_id;
            self.last_epoch = given;
            self.epoch = after(self.epoch);
        } else if given != self.last_epoch {
            return Err(self.fenced(claim.producer_epoch));
        }
        // Else an answer was lost. Unlike Kafka: that may happen twice to one whose epochs ran out.
        self.state = TransactionState::Empty;
        self.timeout_ms = claim.timeout_ms;
        self.started = None;
        self.updated = now.wall;
        Ok(())
    }

    /// Takes partitions into the transaction, which begins if none is open.
    pub(super) fn add(
        &mut self,
        partitions: &PartitionList,
        version: TransactionVersion,
        now: Now,
    ) {
        if self.state != TransactionState::Ongoing {
            self.state = TransactionState::Ongoing;
            self.started = Some(now.wall);
            self.deadline =
                Some(now.monotonic.plus_ms(u64::try_from(self.timeout_ms).unwrap_or(0)));
        }
        self.previous_producer_id = self.producer_id;
        self.version = version;
        self.updated = now.wall;
        for (topic, partitions) in partitions {
            self.partitions.insert(topic, partitions.iter().copied());
        }
    }

    /// What an EndTxn comes to; changes nothing.
    pub(super) fn decide(&self, request: &EndTransaction) -> Result<Decision, TxnError> {
        let (producer, outcome) = (&request.producer, request.outcome);
        let bumps = request.version == TransactionVersion::V2;
        if bumps {
            self.check_settled()?; // Whoever asks: the producer may be about to change.
        }
        let is_rotated = bumps && self.is_rotated_from(producer);
        if producer.producer_id != self.producer_id && !is_rotated {
            return Err(mapping(producer));
        }
        let is_repeated = is_rotated || (bumps && after(producer.producer_epoch) == self.epoch);
        let is_current = !is_rotated && producer.producer_epoch == self.epoch;
        if !is_current && !is_repeated {
            return Err(self.fenced(producer.producer_epoch));
        }
        let invalid = Err(TxnError::InvalidState { state: self.state, asked: outcome });
        match self.state {
            TransactionState::Ongoing if is_current => Ok(Decision::Prepare(outcome)),
            TransactionState::Prepare(_) => Err(self.concurrent()),
            TransactionState::Complete(done) if done == outcome && (is_repeated || !bumps) => {
                Ok(Decision::AlreadyDone)
            }
            // KIP-890: an abort of nothing, by a client that does not know whether it began.
            TransactionState::Empty | TransactionState::Complete(_)
                if bumps && is_current && outcome == Outcome::Abort =>
            {
                Ok(Decision::Prepare(outcome))
            }
            TransactionState::Complete(_) => invalid,
            TransactionState::Empty if is_current => invalid,
            TransactionState::Empty | TransactionState::Ongoing => {
                Err(self.fenced(producer.producer_epoch))
            }
        }
    }

    /// Whether `producer` had used up its epochs and was replaced when its transaction ended.
    fn is_rotated_from(&self, producer: &Producer) -> bool {
        self.previous_producer_id != self.producer_id
            && producer.producer_id == self.previous_producer_id
            && producer.producer_epoch == EPOCH_MAX
            && self.epoch == ProducerEpoch(0)
    }

    /// Decides how the transaction ends. By the rules of KIP-890 the epoch rises; `rotated` is who
    /// takes over if it cannot rise again.
    pub(super) fn prepare(
        &mut self,
        outcome: Outcome,
        version: TransactionVersion,
        rotated: Option<ProducerId>,
        now: Now,
    ) {
        if version == TransactionVersion::V2 {
            self.last_epoch = Some(self.epoch);
            self.epoch = after(self.epoch);
        }
        if self.state != TransactionState::Ongoing {
            self.started = Some(now.wall);
        }
        self.previous_producer_id = self.producer_id;
        self.next_producer_id = rotated;
        self.version = version;
        self.state = TransactionState::Prepare(outcome);
        self.updated = now.wall;
        self.deadline = None;
    }

    /// The markers of an outcome are written.
    pub(super) fn complete(&mut self, outcome: Outcome, now: Now) {
        self.previous_producer_id = self.producer_id;
        if let Some(producer_id) = self.next_producer_id.take() {
            self.producer_id = producer_id;
            self.epoch = ProducerEpoch(0);
        }
        self.state = TransactionState::Complete(outcome);
        self.partitions = Partitions::default();
        self.updated = now.wall;
    }

    /// Panics if an invariant does not hold. Under test only.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let is_open = self.state == TransactionState::Ongoing;
        assert_eq!(self.deadline.is_some(), is_open, "an open transaction has a deadline");
        let may_have_partitions = is_open || self.state.is_prepared();
        assert!(may_have_partitions || self.partitions.count() == 0, "a settled id has none");
        assert!(self.next_producer_id.is_none() || self.state.is_prepared());
        assert!(self.epoch <= EPOCH_MAX || self.state.is_prepared(), "nobody holds the last epoch");
        assert_ne!(self.next_producer_id, Some(self.producer_id));
    }

    /// The id as the journal keeps it.
    pub(super) fn record(&self) -> TransactionRecord {
        let partitions = (self.state != TransactionState::Empty).then(|| self.partitions.record());
        TransactionRecord {
            transactional_id: self.id.to_string(),
            metadata: Some(TransactionMetadata {
                producer_id: self.producer_id.0,
                previous_producer_id: self.previous_producer_id.0,
                next_producer_id: self.next_producer_id.unwrap_or(NO_PRODUCER_ID).0,
                producer_epoch: self.epoch.0,
                next_producer_epoch: NO_EPOCH.0,
                timeout_ms: self.timeout_ms,
                state: self.state.code(),
                partitions,
                last_update_timestamp: self.updated.0,
                start_timestamp: self.started.map_or(-1, |started| started.0),
                client_transaction_version: self.version.level(),
            }),
        }
    }

    /// The id as it was kept; `None` for a state that is none. An open transaction has the time that
    /// is left by the wall clock, at most its whole timeout.
    pub(super) fn replayed(id: Arc<str>, kept: TransactionMetadata, now: Now) -> Option<Self> {
        let state = TransactionState::from_code(kept.state)?;
        let started = (kept.start_timestamp >= 0).then_some(Timestamp(kept.start_timestamp));
        let mut transaction = Self {
            id,
            producer_id: ProducerId(kept.producer_id),
            epoch: ProducerEpoch(kept.producer_epoch),
            previous_producer_id: ProducerId(kept.previous_producer_id),
            next_producer_id: (kept.next_producer_id >= 0)
                .then_some(ProducerId(kept.next_producer_id)),
            last_epoch: None,
            timeout_ms: kept.timeout_ms,
            state,
            partitions: Partitions::default(),
            started,
            updated: Timestamp(kept.last_update_timestamp),
            version: TransactionVersion::from_level(kept.client_transaction_version),
            deadline: None,
        };
        if state == TransactionState::Ongoing {
            let timeout_ms = i64::from(kept.timeout_ms).max(0);
            let left = timeout_ms.saturating_sub(transaction.age_ms(now.wall)).clamp(0, timeout_ms);
            transaction.deadline = Some(now.monotonic.plus_ms(u64::try_from(left).unwrap_or(0)));
        }
        for TransactionPartitions { topic, partition_ids } in kept.partitions.unwrap_or_default() {
            transaction.partitions.insert(&topic, partition_ids.into_iter().map(PartitionIndex));
        }
        Some(transaction)
    }
}

impl InitProducerId {
    /// Whether the producer does not say what it was before.
    pub(super) fn is_new(&self) -> bool {
        self.producer_id == NO_PRODUCER_ID
    }
}

fn after(epoch: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch(epoch.0.saturating_add(1))
}

pub(super) fn mapping(producer: &Producer) -> TxnError {
    TxnError::InvalidProducerIdMapping {
        transactional_id: producer.transactional_id.clone(),
        producer_id: producer.producer_id,
    }
}

/// The partitions of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Partitions {
    topics: BTreeMap<String, BTreeSet<PartitionIndex>>,
}

impl Partitions {
    fn insert(&mut self, topic: &str, partitions: impl Iterator<Item = PartitionIndex>) {
        match self.topics.get_mut(topic) {
            Some(known) => known.extend(partitions),
            None => {
                let new: BTreeSet<_> = partitions.collect();
                if !new.is_empty() {
                    self.topics.insert(topic.to_owned(), new);
                }
            }
        }
    }

    pub(super) fn contains(&self, topic: &str, partition: PartitionIndex) -> bool {
        self.topics.get(topic).is_some_and(|known| known.contains(&partition))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.topics.values().map(BTreeSet::len).sum()
    }

    /// How many of `partitions` are not among them, each counted once.
    pub(super) fn missing_count(&self, partitions: &PartitionList) -> usize {
        let all = partitions
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |it| (topic.as_str(), *it)));
        all.filter(|(topic, partition)| !self.contains(topic, *partition))
            .collect::<BTreeSet<_>>()
            .len()
    }

    pub(super) fn list(&self) -> PartitionList {
        let row = |(topic, partitions): (&String, &BTreeSet<_>)| {
            (topic.clone(), partitions.iter().copied().collect())
        };
        self.topics.iter().map(row).collect()
    }

    fn record(&self) -> Vec<TransactionPartitions> {
        let row =
            |(topic, partitions): (&String, &BTreeSet<PartitionIndex>)| TransactionPartitions {
                topic: topic.clone(),
                partition_ids: partitions.iter().map(|partition| partition.0).collect(),
            };
        self.topics.iter().map(row).collect()
    }
}
