//! What each request does, in the order of Kafka's checks: who the producer is, whether the last
//! transaction is still ending, and whether its state allows what is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::{
    AddPartitions, Completed, EndTransaction, InitProducerId, Membership, Producer,
    VerifyPartitions,
};
use super::error::TxnError;
use super::machine::{Coordinator, Out};
use super::state::TransactionState;
use super::transaction::{Decision, NO_EPOCH, NO_PRODUCER_ID, Transaction, mapping};
use crate::records::Outcome;
use crate::types::{Now, ProducerEpoch, ProducerId, TransactionVersion};

/// Fresh producer ids that are kept.
const SPARE_COUNT_MAX: usize = 16;
/// The longest id that the journal's format can hold, in bytes.
const ID_BYTES_MAX: usize = 32_767;

impl Coordinator {
    pub(super) fn supply(&mut self, producer_ids: impl IntoIterator<Item = ProducerId>) {
        let room = SPARE_COUNT_MAX.saturating_sub(self.spares.len());
        self.spares.extend(producer_ids.into_iter().take(room));
    }

    fn spare(&mut self) -> Result<ProducerId, TxnError> {
        self.spares.pop_front().ok_or(TxnError::ProducerIdNeeded)
    }

    /// The id that a producer says it holds.
    fn held(&self, producer: &Producer) -> Result<&Transaction, TxnError> {
        let id = producer.transactional_id.as_str();
        check_id(id)?;
        self.ids.get(id).ok_or_else(|| mapping(producer))
    }

    /// Lets an id change, and writes it.
    fn change(
        &mut self,
        id: &str,
        effects: &mut Out,
        step: impl FnOnce(&mut Transaction),
    ) -> Result<(), TxnError> {
        let transaction = self.ids.get_mut(id).ok_or_else(|| not_found(id))?;
        let before = transaction.calendar();
        step(transaction);
        effects.write(transaction.record());
        self.settle(id, before);
        Ok(())
    }

    pub(super) fn init(
        &mut self,
        now: Now,
        request: &InitProducerId,
        effects: &mut Out,
    ) -> Result<Producer, TxnError> {
        let id = request.transactional_id.as_str();
        self.check_init(request)?;
        let Some(transaction) = self.ids.get(id) else {
            return self.create(now, request, effects);
        };
        transaction.check_settled()?;
        transaction.check_claim(request)?;
        if transaction.state == TransactionState::Ongoing {
            let concurrent = transaction.concurrent();
            self.fence(now, id, effects)?;
            return Err(concurrent);
        }
        let mut renewed = transaction.clone();
        let rotated = if transaction.is_rotation(request) { Some(self.spare()?) } else { None };
        renewed.renew(request, rotated, now)?;
        let producer = renewed.producer();
        self.change(id, effects, |transaction| *transaction = renewed)?;
        Ok(producer)
    }

    fn check_init(&self, request: &InitProducerId) -> Result<(), TxnError> {
        check_id(&request.transactional_id)?;
        let (producer_id, producer_epoch) = (request.producer_id, request.producer_epoch);
        if (producer_id == NO_PRODUCER_ID) != (producer_epoch == NO_EPOCH) {
            return Err(TxnError::HalfProducer { producer_id, producer_epoch });
        }
        let (got, max) = (request.timeout_ms, self.config.timeout_ms_max);
        if got <= 0 || got > max {
            return Err(TxnError::InvalidTimeout { got, max });
        }
        Ok(())
    }

    /// Makes an id; what its producer says it was before is of no account.
    fn create(
        &mut self,
        now: Now,
        request: &InitProducerId,
        effects: &mut Out,
    ) -> Result<Producer, TxnError> {
        let id_bytes = request.transactional_id.len();
        if request.transactional_id.chars().any(char::is_control) {
            return Err(TxnError::ControlCharacters);
        }
        if id_bytes > ID_BYTES_MAX {
            return Err(TxnError::TransactionalIdTooLong { bytes: id_bytes, max: ID_BYTES_MAX });
        }
        if self.spares.is_empty() {
            return Err(TxnError::ProducerIdNeeded);
        }
        self.make_room(&request.transactional_id, effects)?;
        let id: Arc<str> = Arc::from(request.transactional_id.as_str());
        let transaction = Transaction::new(id, self.spare()?, request.timeout_ms, now);
        let producer = transaction.producer();
        effects.write(transaction.record());
        self.insert(transaction);
        Ok(producer)
    }

    pub(super) fn add(
        &mut self,
        now: Now,
        request: &AddPartitions,
        effects: &mut Out,
    ) -> Result<(), TxnError> {
        let transaction = self.held(&request.producer)?;
        transaction.check_settled()?; // Whoever asks: the producer may be about to change.
        transaction.check_holder(&request.producer)?;
        let missing_count = transaction.partitions.missing_count(&request.partitions);
        if missing_count == 0 && transaction.state == TransactionState::Ongoing {
            return Ok(());
        }
        let max = self.config.partition_count_max;
        if transaction.partitions.count().saturating_add(missing_count) > max {
            return Err(TxnError::TooManyPartitions { max });
        }
        self.change(&request.producer.transactional_id, effects, |transaction| {
            transaction.add(&request.partitions, request.version, now);
        })
    }

    pub(super) fn verify(
        &self,
        request: VerifyPartitions,
    ) -> Result<Vec<(String, Vec<Membership>)>, TxnError> {
        let transaction = self.held(&request.producer)?;
        transaction.check_holder(&request.producer)?;
        transaction.check_settled()?;
        let verified = |(topic, partitions): (String, Vec<_>)| {
            let membership = |partition| Membership {
                partition,
                is_member: transaction.partitions.contains(&topic, partition),
            };
            let rows = partitions.into_iter().map(membership).collect();
            (topic, rows)
        };
        Ok(request.partitions.into_iter().map(verified).collect())
    }

    pub(super) fn end(
        &mut self,
        now: Now,
        request: &EndTransaction,
        effects: &mut Out,
    ) -> Result<Producer, TxnError> {
        let id = request.producer.transactional_id.as_str();
        match self.held(&request.producer)?.decide(request)? {
            Decision::AlreadyDone => {}
            Decision::Prepare(outcome) => {
                self.prepare(now, id, (outcome, request.version), effects)?;
            }
        }
        self.ids.get(id).map(Transaction::next_producer).ok_or_else(|| not_found(id))
    }

    fn prepare(
        &mut self,
        now: Now,
        id: &str,
        (outcome, version): (Outcome, TransactionVersion),
        effects: &mut Out,
    ) -> Result<(), TxnError> {
        let bumps = version == TransactionVersion::V2;
        let is_exhausted = self.ids.get(id).is_some_and(Transaction::is_exhausted);
        let rotated = if bumps && is_exhausted { Some(self.spare()?) } else { None };
        self.change(id, effects, |transaction| transaction.prepare(outcome, version, rotated, now))
    }

    /// Aborts an open transaction by the rules of KIP-890, whatever its client knows: the raised epoch
    /// keeps the client out.
    pub(super) fn fence(&mut self, now: Now, id: &str, effects: &mut Out) -> Result<(), TxnError> {
        self.prepare(now, id, (Outcome::Abort, TransactionVersion::V2), effects)
    }

    pub(super) fn abort(&mut self, now: Now, id: &str, effects: &mut Out) -> Result<(), TxnError> {
        check_id(id)?;
        let transaction = self.ids.get(id).ok_or_else(|| not_found(id))?;
        let state = transaction.state;
        match state {
            TransactionState::Ongoing => self.fence(now, id, effects),
            TransactionState::Prepare(_) => Err(transaction.concurrent()),
            TransactionState::Empty | TransactionState::Complete(_) => {
                Err(TxnError::InvalidState { state, asked: Outcome::Abort })
            }
        }
    }

    pub(super) fn markers_written(
        &mut self,
        now: Now,
        producer: &Producer,
        effects: &mut Out,
    ) -> Completed {
        let id = producer.transactional_id.as_str();
        let Some(transaction) = self.ids.get(id) else { return Completed::NotEnding };
        let TransactionState::Prepare(outcome) = transaction.state else {
            return Completed::NotEnding;
        };
        if transaction.check_holder(producer).is_err() {
            return Completed::NotEnding;
        }
        if self.outdated.contains(id) {
            self.forget(id, effects);
            return Completed::Now;
        }
        match self.change(id, effects, |transaction| transaction.complete(outcome, now)) {
            Ok(()) => Completed::Now,
            Err(_) => Completed::NotEnding,
        }
    }

    pub(super) fn epochs_seen(
        &mut self,
        now: Now,
        seen: &BTreeMap<ProducerId, ProducerEpoch>,
        effects: &mut Out,
    ) -> Vec<String> {
        let is_behind = |transaction: &&Transaction| {
            seen.get(&transaction.producer_id).is_some_and(|seen| transaction.epoch < *seen)
        };
        let behind = self.ids.values().filter(is_behind);
        let behind: Vec<_> = behind.map(|it| (Arc::clone(&it.id), it.state)).collect();
        for (id, state) in &behind {
            match state {
                TransactionState::Empty | TransactionState::Complete(_) => self.forget(id, effects),
                TransactionState::Prepare(_) => {
                    self.outdated.insert(Arc::clone(id));
                }
                TransactionState::Ongoing => {
                    self.outdated.insert(Arc::clone(id));
                    // Without a spare producer id it ends when its time is over.
                    drop(self.fence(now, id, effects));
                }
            }
        }
        behind.into_iter().map(|(id, _)| id.to_string()).collect()
    }

    pub(super) fn give_back(&mut self, ids: &[String]) {
        let due = ids.iter().filter_map(|id| self.preparing.get(id.as_str()));
        self.untold.extend(due.cloned());
    }
}

pub(super) fn check_id(id: &str) -> Result<(), TxnError> {
    if id.is_empty() { Err(TxnError::EmptyTransactionalId) } else { Ok(()) }
}

pub(super) fn not_found(id: &str) -> TxnError {
    TxnError::TransactionalIdNotFound(id.to_owned())
}
