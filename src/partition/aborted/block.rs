//! Some hundred aborted transactions next to each other, packed: four to seven bytes each where most
//! producers abort what they have just begun.
//!
//! Layout: for each one, in the order of the markers, as varints of zigzag numbers: its marker from the
//! one before, its producer id from the one before, its first offset back from its marker, and where the
//! first transaction begins that was open behind it, from behind its marker.

use bytes::{Buf, BufMut};

use super::Aborted;
use crate::log::AbortedTransaction;
use crate::types::{Offset, ProducerId};

/// See the module. Never empty.
#[derive(Debug)]
pub(in crate::partition) struct Block {
    /// The first and the last marker.
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) count: usize,
    packed: Box<[u8]>,
}

impl Block {
    /// Packs them; `None` if there are none.
    pub(super) fn of(entries: &[Aborted]) -> Option<Self> {
        let (first, last) = (entries.first()?, entries.last()?);
        let mut packed = Vec::new();
        let (mut marker, mut producer_id) = (0, 0);
        for Aborted { transaction, stable } in entries {
            let at = transaction.last_offset.0;
            put(&mut packed, at.wrapping_sub(marker));
            put(&mut packed, transaction.producer_id.0.wrapping_sub(producer_id));
            put(&mut packed, at.wrapping_sub(transaction.first_offset.0));
            put(&mut packed, stable.0.wrapping_sub(at).wrapping_sub(1));
            (marker, producer_id) = (at, transaction.producer_id.0);
        }
        Some(Self {
            first: first.transaction.last_offset,
            last: last.transaction.last_offset,
            count: entries.len(),
            packed: packed.into(),
        })
    }

    /// The transactions in it.
    pub(super) fn entries(&self) -> impl Iterator<Item = Aborted> + '_ {
        Entries { packed: &self.packed, marker: 0, producer_id: 0 }
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + 2 * size_of::<usize>() + self.packed.len()
    }

    /// Appends it to a file.
    pub(in crate::partition) fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(u32::try_from(self.count).unwrap_or(u32::MAX));
        out.put_u32(u32::try_from(self.packed.len()).unwrap_or(u32::MAX));
        out.put_slice(&self.packed);
    }

    /// Takes one out of a file; `None` if it is not sound.
    pub(in crate::partition) fn read(body: &mut &[u8]) -> Option<Self> {
        let count = usize::try_from(body.try_get_u32().ok()?).ok()?;
        let length = usize::try_from(body.try_get_u32().ok()?).ok()?;
        let packed = body.get(..length)?;
        let mut entries = Entries { packed, marker: 0, producer_id: 0 };
        let first = entries.next()?;
        let (mut last, mut found) = (first, 1);
        for entry in entries.by_ref() {
            if entry.transaction.last_offset <= last.transaction.last_offset {
                return None;
            }
            (last, found) = (entry, found + 1);
        }
        if found != count || !entries.packed.is_empty() {
            return None;
        }
        body.advance(length);
        let (first, last) = (first.transaction.last_offset, last.transaction.last_offset);
        Some(Self { first, last, count, packed: packed.into() })
    }
}

struct Entries<'a> {
    packed: &'a [u8],
    marker: i64,
    producer_id: i64,
}

impl Iterator for Entries<'_> {
    type Item = Aborted;

    fn next(&mut self) -> Option<Aborted> {
        let mut rest = self.packed;
        self.marker = self.marker.wrapping_add(take(&mut rest)?);
        self.producer_id = self.producer_id.wrapping_add(take(&mut rest)?);
        let first = self.marker.wrapping_sub(take(&mut rest)?);
        let stable = self.marker.wrapping_add(1).wrapping_add(take(&mut rest)?);
        self.packed = rest;
        let transaction = AbortedTransaction {
            producer_id: ProducerId(self.producer_id),
            first_offset: Offset(first),
            last_offset: Offset(self.marker),
        };
        Some(Aborted { transaction, stable: Offset(stable) })
    }
}

/// Small numbers of either sign take one byte.
fn put(out: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.put_u8(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
        left >>= 7;
    }
    out.put_u8(u8::try_from(left).unwrap_or(0));
}

fn take(packed: &mut &[u8]) -> Option<i64> {
    let mut bits = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = packed.try_get_u8().ok()?;
        bits |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        for number in [0, 1, -1, 63, -64, 64, 300, i64::MAX, i64::MIN, i64::MIN + 1] {
            let mut packed = Vec::new();
            put(&mut packed, number);
            let mut rest = packed.as_slice();
            assert_eq!((take(&mut rest), rest), (Some(number), &[][..]), "{number}");
            assert_eq!(take(&mut &packed[..packed.len() - 1]), None, "{number}, cut short");
        }
        assert_eq!(take(&mut [0xff; 12].as_slice()), None, "too long");
    }
}
