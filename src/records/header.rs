//! The 61 bytes at the head of every record batch.

use super::compression::Codec;
use super::cursor::Cursor;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;
/// Bytes that the length field does not count: the base offset and the field itself.
pub const LENGTH_OFFSET_END: usize = 12;
/// The smallest length field a batch can have: a header without records.
pub const LENGTH_MIN: i32 = 49;
/// The only record format there is.
pub const MAGIC: u8 = 2;
/// Where the bytes under the CRC begin.
pub(crate) const CRC_START: usize = 21;
/// Bytes a broker writes anew: base offset, length, leader epoch.
pub(crate) const PREFIX_LEN: usize = 16;

/// The header of a batch, field by field. A header says nothing of the records behind it: only
/// [`super::ValidBatch`] has been checked against its CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also when compaction has removed that record.
    pub base_offset: Offset,
    /// Bytes of the batch after this field.
    pub length: i32,
    /// The leadership under which the batch was stored.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record, counted from the base; compaction does not change it.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from; the delete horizon if that flag is set.
    pub base_timestamp: Timestamp,
    /// The largest record timestamp, or the append time of all records under LogAppendTime.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// The producer's number of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the batch; fewer than the offsets it spans after compaction.
    pub record_count: i32,
}

/// Why bytes are not the header of a batch that could be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Too few bytes for a header.
    #[error("{0} bytes are fewer than a batch header has")]
    Cut(usize),
    /// Another record format.
    #[error("magic {0} is not 2")]
    Magic(i8),
    /// A length that not even the header fits in.
    #[error("batch length {0} is below 49")]
    Length(i32),
}

impl BatchHeader {
    /// Reads a header from the front of `bytes`.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = Self::fields(bytes).ok_or(HeaderError::Cut(bytes.len()))?;
        let (header, magic) = header;
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic.cast_signed()));
        }
        if header.length < LENGTH_MIN {
            return Err(HeaderError::Length(header.length));
        }
        Ok(header)
    }

    /// The whole batch in bytes, header included.
    pub fn size_bytes(&self) -> u64 {
        u64::try_from(self.length).unwrap_or(0) + LENGTH_OFFSET_END as u64
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// The producer's number of the last record: counted on from the first, 0 after the largest;
    /// -1 if the batch has no sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let wrapped = last.rem_euclid(i64::from(i32::MAX) + 1);
        i32::try_from(wrapped).unwrap_or(0)
    }

    /// The header as bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&self.base_offset.0.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.0.to_be_bytes());
        out.push(MAGIC);
        out.extend_from_slice(&self.crc.to_be_bytes());
        out.extend_from_slice(&self.attributes.0.to_be_bytes());
        out.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.producer_id.0.to_be_bytes());
        out.extend_from_slice(&self.producer_epoch.0.to_be_bytes());
        out.extend_from_slice(&self.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.record_count.to_be_bytes());
        out.try_into().expect("the fields above are 61 bytes")
    }

    fn fields(bytes: &[u8]) -> Option<(Self, u8)> {
        let mut cursor = Cursor::new(bytes.get(..HEADER_LEN)?);
        let base_offset = Offset(i64::from_be_bytes(cursor.array()?));
        let length = i32::from_be_bytes(cursor.array()?);
        let leader_epoch = LeaderEpoch(i32::from_be_bytes(cursor.array()?));
        let magic = cursor.u8()?;
        let header = Self {
            base_offset,
            length,
            leader_epoch,
            crc: u32::from_be_bytes(cursor.array()?),
            attributes: Attributes(i16::from_be_bytes(cursor.array()?)),
            last_offset_delta: i32::from_be_bytes(cursor.array()?),
            base_timestamp: Timestamp(i64::from_be_bytes(cursor.array()?)),
            max_timestamp: Timestamp(i64::from_be_bytes(cursor.array()?)),
            producer_id: ProducerId(i64::from_be_bytes(cursor.array()?)),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(cursor.array()?)),
            base_sequence: i32::from_be_bytes(cursor.array()?),
            record_count: i32::from_be_bytes(cursor.array()?),
        };
        Some((header, magic))
    }
}

/// The flags of a batch; bits without a meaning yet are kept as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// How the records are compressed; `None` for the numbers 5 to 7, which nothing can read.
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id(self.0 & Self::CODEC)
    }

    /// LogAppendTime: the batch's max timestamp is that of every record.
    pub fn is_append_time(self) -> bool {
        self.0 & Self::APPEND_TIME != 0
    }

    /// The records belong to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// The one record is a marker, not data.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Compaction has put the delete horizon where the base timestamp was.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub(crate) fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    pub(crate) fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !Self::CODEC) | codec.id())
    }

    pub(crate) fn with_append_time(self, on: bool) -> Self {
        self.with(Self::APPEND_TIME, on)
    }

    pub(crate) fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    pub(crate) fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}
