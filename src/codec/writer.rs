//! Writes Kafka's primitive types to a growing buffer.

use bytes::Bytes;
use uuid::Uuid;

use super::error::{EncodeError, EncodeProblem};

/// A buffer that a message is written to.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    /// Where bytes from elsewhere belong; none may be left out unless the writer was made for it.
    cuts: Option<Vec<Cut>>,
}

/// A place in the buffer, and the size of what belongs there.
#[derive(Debug)]
struct Cut {
    at: usize,
    size: u32,
}

/// One part of a message that was written in pieces; sent in order they are the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to send as they are.
    Bytes(Bytes),
    /// Bytes that lie elsewhere.
    External {
        /// Which one: they are counted from 0 in the order of the message.
        index: usize,
        /// Bytes announced in the message: so many must be sent, no more, no less.
        size: u32,
    },
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `size` bytes.
    pub fn with_capacity(size: usize) -> Self {
        Self { buffer: Vec::with_capacity(size), cuts: None }
    }

    /// An empty buffer for a message of which some bytes lie elsewhere.
    pub fn in_pieces() -> Self {
        Self { buffer: Vec::new(), cuts: Some(Vec::new()) }
    }

    /// Bytes written so far, without those that lie elsewhere.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// What has been written.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// Ends writing. Panics for a writer that was made for pieces and has some: use
    /// [`Writer::into_pieces`].
    pub fn into_bytes(self) -> Bytes {
        assert!(self.cuts.is_none_or(|cuts| cuts.is_empty()), "written in pieces");
        Bytes::from(self.buffer)
    }

    /// Ends writing: what was written, interleaved with what lies elsewhere.
    pub fn into_pieces(self) -> Vec<Piece> {
        let buffer = Bytes::from(self.buffer);
        let mut pieces = Vec::new();
        let mut start = 0;
        for (index, cut) in self.cuts.unwrap_or_default().into_iter().enumerate() {
            if start < cut.at {
                pieces.push(Piece::Bytes(buffer.slice(start..cut.at)));
            }
            pieces.push(Piece::External { index, size: cut.size });
            start = cut.at;
        }
        if start < buffer.len() {
            pieces.push(Piece::Bytes(buffer.slice(start..)));
        }
        pieces
    }

    /// Bytes of the whole message, with those that lie elsewhere.
    pub fn size(&self) -> u64 {
        let external = self.cuts.iter().flatten().map(|cut| u64::from(cut.size));
        let written = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        external.fold(written, u64::saturating_add)
    }

    /// Overwrites four bytes at `at`, which must have been written.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        let place = self.buffer.get_mut(at..at.saturating_add(4));
        place.expect("written before it is patched").copy_from_slice(&value.to_be_bytes());
    }

    /// A byte, 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// An unsigned byte.
    pub fn u8(&mut self, value: u8) {
        self.buffer.push(value);
    }

    /// A 16-bit number.
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// An unsigned 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// A 32-bit number.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// An unsigned 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    /// A 64-bit number.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// A double.
    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// An unsigned varint.
    pub fn uvarint(&mut self, value: u32) {
        self.uvarlong(u64::from(value));
    }

    /// An unsigned varint of 64 bits.
    pub fn uvarlong(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).expect("seven bits fit into a byte");
            value >>= 7;
            if value == 0 {
                return self.buffer.push(low);
            }
            self.buffer.push(low | 0x80);
        }
    }

    /// A zigzag varint of 32 bits.
    pub fn varint(&mut self, value: i32) {
        self.uvarint((value.wrapping_shl(1) ^ (value >> 31)).cast_unsigned());
    }

    /// A zigzag varint of 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.uvarlong((value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned());
    }

    /// A string or null; `flexible` says which form.
    ///
    /// # Errors
    /// `LongString` over 32,767 bytes, which Kafka refuses in every version.
    pub fn nullable_string(
        &mut self,
        value: Option<&str>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        let Some(text) = value else {
            if flexible {
                self.uvarint(0);
            } else {
                self.i16(-1);
            }
            return Ok(());
        };
        let size = i16::try_from(text.len()).map_err(|_| EncodeProblem::LongString(text.len()))?;
        if flexible {
            self.compact_length(text.len())?;
        } else {
            self.i16(size);
        }
        self.raw(text.as_bytes());
        Ok(())
    }

    /// Bytes or null.
    ///
    /// # Errors
    /// `Length` over 2^31-1.
    pub fn nullable_bytes(
        &mut self,
        value: Option<&[u8]>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.length(value.map(<[u8]>::len), flexible)?;
        self.raw(value.unwrap_or_default());
        Ok(())
    }

    /// The length of bytes or of an array; none is null.
    ///
    /// # Errors
    /// `Length` over 2^31-1.
    pub fn length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        match length {
            None if flexible => self.uvarint(0),
            None => self.i32(-1),
            Some(length) if flexible => self.compact_length(length)?,
            Some(length) => {
                let length = i32::try_from(length).map_err(|_| EncodeProblem::Length(length))?;
                self.i32(length);
            }
        }
        Ok(())
    }

    /// The length of bytes that lie elsewhere, and the place where they belong.
    ///
    /// # Errors
    /// `External` unless the writer was made by [`Writer::in_pieces`]; `Length` over 2^31-1.
    pub fn external(&mut self, size: u32, flexible: bool) -> Result<(), EncodeError> {
        if self.cuts.is_none() {
            return Err(EncodeProblem::External.into());
        }
        self.length(Some(usize::try_from(size).unwrap_or(usize::MAX)), flexible)?;
        let cut = Cut { at: self.buffer.len(), size };
        self.cuts.get_or_insert_default().push(cut);
        Ok(())
    }

    fn compact_length(&mut self, length: usize) -> Result<(), EncodeError> {
        let length = i32::try_from(length).map_err(|_| EncodeProblem::Length(length))?;
        self.uvarint(length.cast_unsigned().wrapping_add(1));
        Ok(())
    }
}
