//! Reads Kafka's primitive types from a frame, and never past its end.

use bytes::Bytes;
use uuid::Uuid;

use super::error::{DecodeError, DecodeProblem};

/// Elements of one message may take this many bytes of memory for each byte of the message, ...
const MEMORY_PER_BYTE: usize = 8;
/// ... and this many more, so that no small message is ever refused.
const MEMORY_FREE: usize = 1 << 20;
/// The longest string of any version; Kafka refuses longer ones in the compact form too.
const STRING_SIZE_MAX: u32 = i16::MAX as u32;
/// A tagged field is at least its tag and its size.
const TAGGED_FIELD_SIZE_MIN: usize = 2;

/// A place in a frame. After an error the place is anywhere: give the frame up.
#[derive(Debug, Clone)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    /// Nothing is read at or after this place: the frame's end, or that of a tagged field.
    end: usize,
    memory_left: usize,
}

impl Reader {
    /// Reads `frame` from its start.
    pub fn new(frame: Bytes) -> Self {
        let memory_left = frame.len().saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_FREE);
        Self { position: 0, end: frame.len(), memory_left, frame }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// A byte; every value but 0 is true, as Kafka has it.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()? != [0])
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// An unsigned byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// A 16-bit number.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// An unsigned 16-bit number.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// An unsigned 32-bit number.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 64-bit number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A double.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_be_bytes)
    }

    /// 16 bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    /// An unsigned varint of at most 32 bits in at most 5 bytes.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let value = self.varint_bits(u32::BITS)?;
        u32::try_from(value).map_err(|_| DecodeProblem::LongVarint.into())
    }

    /// An unsigned varint of at most 64 bits in at most 10 bytes.
    pub fn uvarlong(&mut self) -> Result<u64, DecodeError> {
        self.varint_bits(u64::BITS)
    }

    /// A zigzag varint of 32 bits.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.uvarint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    /// A zigzag varint of 64 bits.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.uvarlong()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    /// The next `size` bytes, as a slice of the frame.
    pub fn slice(&mut self, size: usize) -> Result<Bytes, DecodeError> {
        let start = self.position;
        self.take(size)?;
        Ok(self.frame.slice(start..self.position))
    }

    /// Passes over `size` bytes.
    pub fn skip(&mut self, size: usize) -> Result<(), DecodeError> {
        self.take(size).map(drop)
    }

    /// A string or null; `flexible` says which form.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let size = if flexible { self.compact_length()? } else { self.length_i16()? };
        let Some(size) = size else { return Ok(None) };
        if size > STRING_SIZE_MAX {
            return Err(DecodeProblem::LongString(size).into());
        }
        let bytes = self.take(usize_of(size))?;
        let text = str::from_utf8(bytes).map_err(|_| DecodeProblem::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }

    /// Bytes or null, as a slice of the frame.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let size = if flexible { self.compact_length()? } else { self.length_i32()? };
        size.map(|size| self.slice(usize_of(size))).transpose()
    }

    /// The number of elements of an array, or null. Refuses a number that the bytes left cannot hold
    /// when each element has `element_size_min` bytes or more; still no size to allocate by.
    pub fn count(
        &mut self,
        flexible: bool,
        element_size_min: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let count = if flexible { self.compact_length()? } else { self.length_i32()? };
        let Some(count) = count else { return Ok(None) };
        self.check_count(u64::from(count), element_size_min)?;
        Ok(Some(usize_of(count)))
    }

    /// Refuses a count of elements that cannot stand in the bytes left.
    pub fn check_count(&self, count: u64, element_size_min: usize) -> Result<(), DecodeError> {
        let left = self.remaining();
        let most = left.checked_div(element_size_min).unwrap_or(left);
        if u64::try_from(most).is_ok_and(|most| count > most) {
            return Err(DecodeProblem::Count { count, left }.into());
        }
        Ok(())
    }

    /// Accounts for `size` bytes of memory that an element is about to take.
    pub fn charge(&mut self, size: usize) -> Result<(), DecodeError> {
        match self.memory_left.checked_sub(size) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => Err(DecodeProblem::Memory(self.frame.len()).into()),
        }
    }

    /// The tagged fields that end every struct of a flexible version. `known` reads the value of a
    /// tag and says true, or says false to have it passed over.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        self.check_count(u64::from(count), TAGGED_FIELD_SIZE_MIN)?;
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = usize_of(self.uvarint()?);
            self.check_left(size)?;
            let end = self.position.saturating_add(size);
            let outer_end = std::mem::replace(&mut self.end, end);
            let read = known(tag, self)?;
            let left = self.remaining();
            if read && left > 0 {
                return Err(DecodeProblem::TagSize { tag, left }.into());
            }
            self.position = end;
            self.end = outer_end;
        }
        Ok(())
    }

    fn take(&mut self, size: usize) -> Result<&[u8], DecodeError> {
        self.check_left(size)?;
        let start = self.position;
        self.position = start.saturating_add(size);
        self.frame
            .get(start..self.position)
            .ok_or_else(|| DecodeProblem::Truncated { wanted: u64_of(size), left: 0 }.into())
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], DecodeError> {
        let bytes = self.take(SIZE)?;
        bytes
            .try_into()
            .map_err(|_| DecodeProblem::Truncated { wanted: u64_of(SIZE), left: 0 }.into())
    }

    fn check_left(&self, size: usize) -> Result<(), DecodeError> {
        let left = self.remaining();
        if size > left {
            return Err(DecodeProblem::Truncated { wanted: u64_of(size), left }.into());
        }
        Ok(())
    }

    fn varint_bits(&mut self, bits: u32) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..bits).step_by(7) {
            let byte = self.u8()?;
            // The last byte has fewer bits to give, and no successor.
            let room = bits.saturating_sub(shift);
            if room < 7 && byte.checked_shr(room).unwrap_or(0) != 0 {
                return Err(DecodeProblem::LongVarint.into());
            }
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeProblem::LongVarint.into())
    }

    fn length_i16(&mut self) -> Result<Option<u32>, DecodeError> {
        non_negative(i32::from(self.i16()?))
    }

    fn length_i32(&mut self) -> Result<Option<u32>, DecodeError> {
        let length = self.i32()?;
        non_negative(length)
    }

    /// Compact lengths are one more than they say, so that 0 is null.
    fn compact_length(&mut self) -> Result<Option<u32>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1))
    }
}

fn non_negative(length: i32) -> Result<Option<u32>, DecodeError> {
    match length {
        -1 => Ok(None),
        _ => match u32::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(DecodeProblem::NegativeLength(length).into()),
        },
    }
}

fn usize_of(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn u64_of(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
