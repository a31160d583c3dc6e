//! Which batch or marker of a producer may be appended (KIP-98, KIP-360, KIP-890).

use super::Producers;
use crate::records::{BatchHeader, EndMarker};
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp, TransactionVersion};

/// Why a batch of an idempotent producer, or a marker, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Kafka's INVALID_PRODUCER_EPOCH.
    #[error("epoch {got} of producer {producer_id} is older than {current}: it was fenced")]
    InvalidEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// What the batch carries.
        got: ProducerEpoch,
        /// What this partition has seen.
        current: ProducerEpoch,
    },
    /// Kafka's INVALID_PRODUCER_EPOCH, of a marker that has to bump the epoch and does not: this
    /// transaction was ended already.
    #[error("marker of epoch {got} of producer {producer_id}, which has {current} already")]
    EpochNotBumped {
        /// The producer.
        producer_id: ProducerId,
        /// What the marker carries.
        got: ProducerEpoch,
        /// What this partition has seen.
        current: ProducerEpoch,
    },
    /// Kafka's OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("sequence {got} of producer {producer_id}, expected {expected}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence.
        got: i32,
        /// What would have followed.
        expected: i32,
    },
    /// Kafka's INVALID_TXN_STATE.
    #[error("a batch outside the transaction that producer {producer_id} has open from {first}")]
    TransactionOpen {
        /// The producer.
        producer_id: ProducerId,
        /// Where its transaction begins.
        first: Offset,
    },
    /// Kafka's TRANSACTION_COORDINATOR_FENCED.
    #[error("coordinator epoch {got} of a marker, {current} was seen")]
    CoordinatorFenced {
        /// What the marker carries.
        got: i32,
        /// What this partition has seen.
        current: i32,
    },
}

/// What the check of a batch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Append it.
    New,
    /// It is stored already, here: answer success with these.
    Duplicate {
        /// The first offset of the stored batch.
        base_offset: Offset,
        /// Its newest timestamp.
        timestamp: Timestamp,
    },
}

/// What ends a producer's transaction in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whose.
    pub producer_id: ProducerId,
    /// The epoch that the producer has from here on.
    pub producer_epoch: ProducerEpoch,
    /// How it ends, and who says so.
    pub end: EndMarker,
    /// Whether the epoch must be a new one.
    pub version: TransactionVersion,
}

impl Producers {
    /// Decides about a batch; changes nothing. Batches without a producer id are always new. That a
    /// transactional batch belongs to a transaction is the caller's matter; `version` is that of the
    /// transaction that it may begin.
    pub fn check(
        &self,
        batch: &BatchHeader,
        version: TransactionVersion,
    ) -> Result<Checked, ProducerError> {
        let (producer_id, first) = (batch.producer_id, batch.base_sequence);
        if producer_id.0 < 0 {
            return Ok(Checked::New);
        }
        let out_of_order =
            |expected| ProducerError::OutOfOrderSequence { producer_id, got: first, expected };
        let is_transactional = batch.attributes.is_transactional();
        let Some(entry) = self.entries.get(&producer_id) else {
            // Unknown (new, expired, pushed out or deleted with its records): any sequence may begin,
            // but where each transaction has its own epoch it is known what it must begin with.
            let from_0 = is_transactional && version == TransactionVersion::V2;
            return if from_0 && first != 0 { Err(out_of_order(0)) } else { Ok(Checked::New) };
        };
        let is_same = |sequences: (i32, i32)| sequences == (first, batch.last_sequence());
        if batch.producer_epoch == entry.epoch
            && let Some(kept) =
                entry.batches.iter().find(|kept| is_same((kept.first_sequence, kept.last_sequence)))
        {
            return Ok(Checked::Duplicate {
                base_offset: kept.base_offset,
                timestamp: kept.timestamp,
            });
        }
        if batch.producer_epoch < entry.epoch {
            return Err(ProducerError::InvalidEpoch {
                producer_id,
                got: batch.producer_epoch,
                current: entry.epoch,
            });
        }
        let is_same_epoch = batch.producer_epoch == entry.epoch;
        let expected = match entry.batches.back() {
            Some(newest) if is_same_epoch => after(newest.last_sequence),
            Some(_) | None => 0,
        };
        // Unlike Kafka: whose records were deleted, all but the marker, goes on where it was.
        let may_be_any = entry.is_cut && is_same_epoch && version == TransactionVersion::V0;
        if first != expected && !may_be_any {
            return Err(out_of_order(expected));
        }
        match entry.transaction {
            // One of another epoch is none that this batch could go on with.
            Some(first) if !is_transactional || !is_same_epoch => {
                Err(ProducerError::TransactionOpen { producer_id, first })
            }
            Some(_) | None => Ok(Checked::New),
        }
    }

    /// Whether a batch of that producer and epoch goes on with a transaction that is open here.
    pub fn has_transaction(&self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool {
        let entry = self.entries.get(&producer_id);
        entry.is_some_and(|entry| entry.epoch == epoch && entry.transaction.is_some())
    }

    /// Whether a batch is of an epoch that was fenced here: told before the coordinator is asked, as in
    /// Kafka.
    pub fn check_epoch(&self, batch: &BatchHeader) -> Result<(), ProducerError> {
        let (producer_id, got) = (batch.producer_id, batch.producer_epoch);
        match self.entries.get(&producer_id).map(|entry| entry.epoch) {
            Some(current) if got < current => {
                Err(ProducerError::InvalidEpoch { producer_id, got, current })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Decides about a marker; changes nothing. Whether a transaction is open does not matter: it may
    /// have been added to one without a record.
    pub fn check_marker(&self, marker: &Marker) -> Result<(), ProducerError> {
        let Some(entry) = self.entries.get(&marker.producer_id) else { return Ok(()) };
        let (producer_id, got, current) = (marker.producer_id, marker.producer_epoch, entry.epoch);
        if got < current {
            return Err(ProducerError::InvalidEpoch { producer_id, got, current });
        }
        // KIP-890: a marker of the epoch that is in use would end a transaction that it is not of. With
        // none open it is one that is sent again.
        if got == current && marker.version == TransactionVersion::V2 && entry.transaction.is_some()
        {
            return Err(ProducerError::EpochNotBumped { producer_id, got, current });
        }
        match entry.coordinator_epoch {
            Some(current) if marker.end.coordinator_epoch < current => {
                let got = marker.end.coordinator_epoch;
                Err(ProducerError::CoordinatorFenced { got, current })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The sequence behind `sequence`; 0 after the largest.
fn after(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}
