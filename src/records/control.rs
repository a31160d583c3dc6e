//! Control records: the markers that end a transaction in a partition (KIP-98).
//!
//! Key: i16 version (0), i16 type (0 abort, 1 commit; KRaft has more, which are passed over).
//! Value: i16 version (0), i32 coordinator epoch.

use super::batch::ValidBatch;
use super::builder::{BatchBuilder, BuildError};
use super::cursor::Cursor;
use super::record::{NewRecord, Record};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its records count.
    Commit,
    /// Its records are skipped by read_committed.
    Abort,
}

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// A transaction of the batch's producer ended here.
    End(EndMarker),
    /// A type that means something to others only.
    Other(i16),
}

/// The marker behind a transaction's last record in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    /// How it ended.
    pub outcome: Outcome,
    /// Counts the leaderships of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl ControlRecord {
    /// Reads the one record of a control batch; `None` if its key or value is no such thing.
    /// Versions above 0 only add fields behind those known.
    pub fn decode(record: &Record<'_>) -> Option<Self> {
        let mut key = Cursor::new(record.key?);
        let _version = key.array::<2>()?;
        let outcome = match i16::from_be_bytes(key.array()?) {
            0 => Outcome::Abort,
            1 => Outcome::Commit,
            other => return Some(Self::Other(other)),
        };
        let mut value = Cursor::new(record.value?);
        let _version = value.array::<2>()?;
        let coordinator_epoch = i32::from_be_bytes(value.array()?);
        Some(Self::End(EndMarker { outcome, coordinator_epoch }))
    }
}

impl EndMarker {
    /// The control batch that carries this marker.
    ///
    /// # Errors
    /// Those of [`BatchBuilder::build`]; none for a batch of this size.
    pub fn batch(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: Timestamp,
    ) -> Result<ValidBatch, BuildError> {
        let kind: i16 = match self.outcome {
            Outcome::Abort => 0,
            Outcome::Commit => 1,
        };
        let [high, low] = kind.to_be_bytes();
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        let mut builder =
            BatchBuilder::new().producer(producer_id, producer_epoch, -1).transactional().control();
        builder.push(&NewRecord {
            timestamp,
            key: Some(&[0, 0, high, low]),
            value: Some(&[0, 0, a, b, c, d]),
            headers: &[],
        });
        builder.build()
    }
}
