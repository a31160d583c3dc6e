//! A batch that has been checked: the only form in which batches travel through ottla.

use std::sync::Arc;

use bytes::Bytes;

use super::builder::seal;
use super::compression::{Codec, Compression, CompressionError, compress, decompress};
use super::cursor::Cursor;
use super::header::{
    BatchHeader, CRC_START, HEADER_LEN, HeaderError, LENGTH_OFFSET_END, MAGIC, PREFIX_LEN,
};
use super::record::{RecordError, Records};
use crate::codec::crc32c;
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// The smallest length field of the formats before v2, which still have to be told apart.
const OLD_LENGTH_MIN: usize = 14;
/// Where the magic byte stands in every format there has been.
const MAGIC_OFFSET: usize = 16;

/// Exactly one whole batch whose header, length and CRC agree.
///
/// Its bytes are shared, not copied; what the broker writes into it (base offset, leader epoch)
/// lies beside them until the batch is written out.
#[derive(Clone, Debug)]
pub struct ValidBatch {
    header: BatchHeader,
    prefix: [u8; PREFIX_LEN],
    bytes: Bytes,
}

/// Why bytes are not a batch that may be stored, in the order in which a broker looks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BatchError {
    /// Nothing, or fewer bytes than the length announces.
    #[error("{bytes} bytes hold no whole batch")]
    NoBatch {
        /// What there was.
        bytes: usize,
    },
    /// A second whole batch behind the first.
    #[error("more than one batch for one partition")]
    MoreThanOne,
    /// A format that Kafka 4 no longer takes.
    #[error("record format {magic} is no longer supported")]
    OldMagic {
        /// 0 or 1.
        magic: i8,
    },
    /// No format there has been.
    #[error("unknown record format {magic}")]
    UnknownMagic {
        /// As it came.
        magic: i8,
    },
    /// A producer counts from 0; the broker places the batch.
    #[error("base offset {0} of a produced batch is not 0")]
    BaseOffset(Offset),
    /// Over the caller's limit.
    #[error("batch of {size_bytes} bytes is over max.message.bytes {limit_bytes}")]
    TooLarge {
        /// The whole batch.
        size_bytes: u64,
        /// What the topic allows.
        limit_bytes: u64,
    },
    /// Not even a header would fit.
    #[error("batch length {0} is below 49")]
    Length(i32),
    /// The bytes are not those that were sent.
    #[error("CRC-32C is {computed:#010x}, not {stored:#010x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The record count and the last offset delta contradict each other.
    #[error("{record_count} records, but last offset delta {last_offset_delta}")]
    Count {
        /// From the header.
        record_count: i32,
        /// From the header.
        last_offset_delta: i32,
    },
    /// Only the broker writes markers.
    #[error("a client sent a control batch")]
    Control,
    /// A producer id needs a sequence and an epoch.
    #[error("producer id {producer_id} with epoch {producer_epoch} and sequence {base_sequence}")]
    Sequence {
        /// From the header.
        producer_id: i64,
        /// From the header.
        producer_epoch: i16,
        /// From the header.
        base_sequence: i32,
    },
    /// A transaction is one of a producer id.
    #[error("a transactional batch without a producer id")]
    TransactionalWithoutProducer,
    /// The codec numbers 5 to 7.
    #[error("unknown compression codec {0}")]
    Codec(i16),
    /// The records do not unpack.
    #[error(transparent)]
    Compression(Arc<CompressionError>),
    /// A record cannot be read, or there are not as many as announced.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The records' offsets do not count up from 0 by one.
    #[error("record {index} has offset delta {offset_delta}")]
    OffsetDelta {
        /// Counted from 0 within the batch.
        index: i32,
        /// What it says.
        offset_delta: i32,
    },
}

/// What walking the records of a batch showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSummary {
    /// The largest record timestamp.
    pub max_timestamp: Timestamp,
    /// Offset delta of the first record that has it.
    pub max_timestamp_delta: i32,
    /// The first record without a key, counted from 0.
    pub first_null_key: Option<i32>,
}

impl ValidBatch {
    /// Takes the records field of a produce request: one whole batch, as a client may send it.
    /// Bytes behind it that are no second whole batch are cut off. The records inside are not
    /// looked at: see [`ValidBatch::check_records`].
    ///
    /// # Errors
    /// The first that holds, in the order of [`BatchError`].
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        Self::parse_within(bytes, u64::MAX)
    }

    /// [`ValidBatch::parse`] for a topic whose batches may have at most `limit_bytes`.
    ///
    /// # Errors
    /// The first that holds, in the order of [`BatchError`].
    pub fn parse_within(bytes: Bytes, limit_bytes: u64) -> Result<Self, BatchError> {
        let size = frame(&bytes)?;
        let base_offset = Cursor::new(&bytes).array().map_or(0, i64::from_be_bytes);
        if base_offset != 0 {
            return Err(BatchError::BaseOffset(Offset(base_offset)));
        }
        let size_bytes = u64::try_from(size).unwrap_or(u64::MAX);
        if size_bytes > limit_bytes {
            return Err(BatchError::TooLarge { size_bytes, limit_bytes });
        }
        let batch = Self::checked(bytes.slice(..size))?;
        batch.header.check_produced()?;
        Ok(batch)
    }

    /// Takes exactly one batch as it lies in a log: at any offset, a marker or a client's, perhaps
    /// thinned out by compaction.
    ///
    /// # Errors
    /// The first that holds, in the order of [`BatchError`].
    pub fn parse_stored(bytes: Bytes) -> Result<Self, BatchError> {
        let size = frame(&bytes)?;
        if size != bytes.len() {
            return Err(BatchError::MoreThanOne);
        }
        let batch = Self::checked(bytes)?;
        let BatchHeader { record_count, last_offset_delta, base_offset, .. } = batch.header;
        if base_offset < Offset(0) {
            return Err(BatchError::BaseOffset(base_offset));
        }
        if record_count < 0 || i64::from(last_offset_delta) + 1 < i64::from(record_count.max(1)) {
            return Err(BatchError::Count { record_count, last_offset_delta });
        }
        Ok(batch)
    }

    /// Whether unchecked bytes hold one whole batch of the present format, for rules that come before
    /// the batch itself is looked at.
    ///
    /// # Errors
    /// `NoBatch`, `Length`, `OldMagic`, `UnknownMagic`, `MoreThanOne`: whichever holds first.
    pub fn peek(bytes: &[u8]) -> Result<(), BatchError> {
        frame(bytes).map(drop)
    }

    /// The codec that unchecked bytes claim, for rules that come before the batch is looked at.
    pub fn peek_codec(bytes: &[u8]) -> Option<Codec> {
        BatchHeader::parse(bytes).ok()?.attributes.codec()
    }

    /// All fields, with the base offset and leader epoch last assigned.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.header.size_bytes()
    }

    /// Places the batch: sets its base offset and leader epoch, which the CRC does not cover.
    pub fn assign(&mut self, base: Offset, epoch: LeaderEpoch) {
        self.header.base_offset = base;
        self.header.leader_epoch = epoch;
        self.prefix = prefix(&self.header);
    }

    /// The batch as it is to be written, in two pieces.
    pub fn slices(&self) -> [&[u8]; 2] {
        [&self.prefix, self.bytes.get(PREFIX_LEN..).unwrap_or_default()]
    }

    /// The batch as one buffer: the shared one if nothing was assigned, else a copy.
    pub fn to_bytes(&self) -> Bytes {
        if self.bytes.starts_with(&self.prefix) {
            return self.bytes.clone();
        }
        Bytes::from(self.slices().concat())
    }

    /// The record area as it is stored.
    pub fn packed(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN.min(self.bytes.len())..)
    }

    /// The records, unpacked to at most `limit` bytes; uncompressed ones share the batch's buffer
    /// and have no limit.
    ///
    /// # Errors
    /// `Codec` and `Compression`.
    pub fn records(&self, limit: usize) -> Result<Records, BatchError> {
        let attributes = self.header.attributes;
        let area = match attributes.codec() {
            None => return Err(BatchError::Codec(attributes.0 & 7)),
            Some(Codec::None) => self.packed(),
            Some(codec) => decompress(codec, &self.packed(), limit)
                .map(Bytes::from)
                .map_err(|error| BatchError::Compression(Arc::new(error)))?,
        };
        Ok(Records::new(area, self.header))
    }

    /// Walks the records of a produced batch: all there, whole, and counted up from 0.
    ///
    /// # Errors
    /// `Codec`, `Compression`, `Record` and `OffsetDelta`. Unlike Kafka: deltas are also checked
    /// where the batch is not compressed, since two records at one offset serve nobody.
    pub fn check_records(&self, limit: usize) -> Result<RecordSummary, BatchError> {
        let records = self.records(limit)?;
        let mut summary = RecordSummary {
            max_timestamp: Timestamp(i64::MIN),
            max_timestamp_delta: 0,
            first_null_key: None,
        };
        for (index, record) in (0i32..).zip(&records) {
            let record = record?;
            if record.offset_delta != index {
                let offset_delta = record.offset_delta;
                return Err(BatchError::OffsetDelta { index, offset_delta });
            }
            if record.timestamp > summary.max_timestamp {
                summary.max_timestamp = record.timestamp;
                summary.max_timestamp_delta = index;
            }
            if record.key.is_none() && summary.first_null_key.is_none() {
                summary.first_null_key = Some(index);
            }
        }
        Ok(summary)
    }

    /// The batch with `now` as the time of all its records (LogAppendTime): a copy with a new CRC.
    #[must_use]
    pub fn with_append_time(&self, now: Timestamp) -> Self {
        self.with_times(true, now)
    }

    /// The batch with its records' own times (CreateTime) and the true `max_timestamp`: itself if
    /// it says so already, else a copy with a new CRC.
    #[must_use]
    pub fn with_create_time(&self, max_timestamp: Timestamp) -> Self {
        self.with_times(false, max_timestamp)
    }

    /// The batch with its records compressed in another way: a copy with a new CRC.
    ///
    /// # Errors
    /// `Codec` and `Compression`, also if unpacking takes more than `limit` bytes.
    pub fn recompressed(&self, to: Compression, limit: usize) -> Result<Self, BatchError> {
        let records = self.records(limit)?;
        let packed = compress(to, records.area())
            .map_err(|error| BatchError::Compression(Arc::new(error)))?;
        let mut header = self.header;
        header.attributes = header.attributes.with_codec(to.codec);
        let size_bytes = u64::try_from(packed.len()).unwrap_or(u64::MAX);
        let limit_bytes = u64::from(i32::MAX.unsigned_abs());
        seal(header, &packed).ok_or(BatchError::TooLarge { size_bytes, limit_bytes })
    }

    /// A batch of ours, whose bytes are right by making.
    pub(super) fn sealed(header: BatchHeader, bytes: Bytes) -> Self {
        Self { header, prefix: prefix(&header), bytes }
    }

    fn with_times(&self, append_time: bool, max_timestamp: Timestamp) -> Self {
        let mut header = self.header;
        header.attributes = header.attributes.with_append_time(append_time);
        header.max_timestamp = max_timestamp;
        if header == self.header {
            return self.clone();
        }
        seal(header, &self.packed()).expect("its length was valid and does not change")
    }

    fn checked(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes).map_err(|error| match error {
            // The frame is whole, so it is its length that is too small for a header.
            HeaderError::Cut(size) => BatchError::Length(length_of(size)),
            HeaderError::Magic(magic) => BatchError::UnknownMagic { magic },
            HeaderError::Length(length) => BatchError::Length(length),
        })?;
        let computed = crc32c::crc32c(bytes.get(CRC_START..).unwrap_or_default());
        if computed != header.crc {
            return Err(BatchError::Crc { stored: header.crc, computed });
        }
        Ok(Self { header, prefix: prefix(&header), bytes })
    }
}

impl BatchHeader {
    /// What a client may say in a header.
    fn check_produced(&self) -> Result<(), BatchError> {
        let Self { record_count, last_offset_delta, base_sequence, .. } = *self;
        if record_count <= 0 || record_count - 1 != last_offset_delta {
            return Err(BatchError::Count { record_count, last_offset_delta });
        }
        if self.attributes.is_control() {
            return Err(BatchError::Control);
        }
        let (producer_id, producer_epoch) = (self.producer_id.0, self.producer_epoch.0);
        // Unlike Kafka: an epoch below 0 beside a producer id, and a transactional batch without
        // one, are refused too. Kafka stores both, and then no rule applies to them.
        if producer_id >= 0 && (base_sequence < 0 || producer_epoch < 0) {
            return Err(BatchError::Sequence { producer_id, producer_epoch, base_sequence });
        }
        if producer_id < 0 && self.attributes.is_transactional() {
            return Err(BatchError::TransactionalWithoutProducer);
        }
        Ok(())
    }
}

fn prefix(header: &BatchHeader) -> [u8; PREFIX_LEN] {
    let mut prefix = [0; PREFIX_LEN];
    prefix[..8].copy_from_slice(&header.base_offset.0.to_be_bytes());
    prefix[8..12].copy_from_slice(&header.length.to_be_bytes());
    prefix[12..].copy_from_slice(&header.leader_epoch.0.to_be_bytes());
    prefix
}

/// The length field of a batch of `size` bytes.
fn length_of(size: usize) -> i32 {
    i32::try_from(size.saturating_sub(LENGTH_OFFSET_END)).unwrap_or(i32::MAX)
}

/// Size of the one batch at the front of `bytes`, of which everything up to the magic is checked.
fn frame(bytes: &[u8]) -> Result<usize, BatchError> {
    let none = BatchError::NoBatch { bytes: bytes.len() };
    let magic = bytes.get(MAGIC_OFFSET).ok_or(none.clone())?;
    let length = length_field(bytes).ok_or(none.clone())?;
    let size = match usize::try_from(length) {
        Ok(length) if length >= OLD_LENGTH_MIN => length.saturating_add(LENGTH_OFFSET_END),
        _ => return Err(BatchError::Length(length)),
    };
    match magic.cast_signed() {
        2 => {}
        magic @ (0 | 1) => return Err(BatchError::OldMagic { magic }),
        magic => return Err(BatchError::UnknownMagic { magic }),
    }
    let rest = bytes.get(size..).ok_or(none)?;
    if holds_batch(rest) {
        return Err(BatchError::MoreThanOne);
    }
    Ok(size)
}

/// Whether a whole batch of any format stands at the front of `bytes`.
fn holds_batch(bytes: &[u8]) -> bool {
    let Some(magic) = bytes.get(MAGIC_OFFSET) else { return false };
    let length = length_field(bytes).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    *magic <= MAGIC
        && length >= OLD_LENGTH_MIN
        && length.saturating_add(LENGTH_OFFSET_END) <= bytes.len()
}

fn length_field(bytes: &[u8]) -> Option<i32> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(8)?;
    cursor.array().map(i32::from_be_bytes)
}
