//! Makes a batch out of records: for the journals, the client in this process and the command line.

use bytes::Bytes;

use super::batch::ValidBatch;
use super::compression::{Codec, Compression, CompressionError, compress};
use super::header::{Attributes, BatchHeader, CRC_START, HEADER_LEN, LENGTH_OFFSET_END};
use super::record::{NewRecord, put_record};
use crate::codec::crc32c;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Collects records; the first one's timestamp is the base of the others.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    area: Vec<u8>,
    count: i32,
    compression: Compression,
    attributes: Attributes,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A batch has at least one record.
    #[error("a batch without a record")]
    Empty,
    /// More bytes or records than the format can count.
    #[error("a batch of {size_bytes} bytes is beyond the format")]
    TooLarge {
        /// Bytes of its records.
        size_bytes: usize,
    },
    /// The encoder refused.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An uncompressed batch without a producer id.
    pub fn new() -> Self {
        Self {
            area: Vec::new(),
            count: 0,
            compression: Codec::None.into(),
            attributes: Attributes::default(),
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            base_timestamp: Timestamp(-1),
            max_timestamp: Timestamp(-1),
        }
    }

    /// Compresses the records.
    #[must_use]
    pub fn compression(mut self, compression: impl Into<Compression>) -> Self {
        self.compression = compression.into();
        self
    }

    /// Marks the batch as one of an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Marks the records as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes = self.attributes.with_transactional(true);
        self
    }

    /// Marks the one record as a marker.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes = self.attributes.with_control(true);
        self
    }

    /// Adds a record.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let delta = record.timestamp.0.wrapping_sub(self.base_timestamp.0);
        put_record(&mut self.area, delta, self.count, record);
        self.count = self.count.saturating_add(1);
    }

    /// Records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch so far, before compression.
    pub fn size_bytes(&self) -> usize {
        HEADER_LEN + self.area.len()
    }

    /// The batch, at base offset 0 until it is placed.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<ValidBatch, BuildError> {
        if self.count == 0 {
            return Err(BuildError::Empty);
        }
        let packed = match self.compression.codec {
            Codec::None => self.area,
            _ => compress(self.compression, &self.area)?,
        };
        let header = BatchHeader {
            base_offset: Offset(0),
            length: 0,
            leader_epoch: LeaderEpoch(-1),
            crc: 0,
            attributes: self.attributes.with_codec(self.compression.codec),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        seal(header, &packed).ok_or(BuildError::TooLarge { size_bytes: packed.len() })
    }
}

/// A batch of `header` and `area`, with length and CRC made right; `None` if it is too long.
pub(super) fn seal(mut header: BatchHeader, area: &[u8]) -> Option<ValidBatch> {
    let size = HEADER_LEN.checked_add(area.len())?;
    header.length = i32::try_from(size - LENGTH_OFFSET_END).ok()?;
    let encoded = header.encode();
    let crc = crc32c::crc32c_of([encoded.get(CRC_START..)?, area]);
    header.crc = crc;
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(area);
    Some(ValidBatch::sealed(header, Bytes::from(bytes)))
}
