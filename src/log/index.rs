//! The sparse index of one segment: where batches lie, and how late anything before them is.
//!
//! In memory it grows with the segment. On disk it is a sidecar of ours, written when a segment is
//! closed, so that a start need not read whole logs. It is derived: a sidecar that is missing, fails
//! its checksum or does not fit its segment's length is thrown away and made anew from the headers.
//!
//! Sidecar (big-endian): magic `OIX1`, base offset i64, segment bytes u64, next offset i64,
//! first batch's timestamp i64, largest timestamp i64 and the position of its batch u64, last append
//! i64, entry count u32, entries (relative offset u32, position u32, largest timestamp before i64),
//! CRC-32C u32 of all before.

use crate::codec::crc32c;
use crate::records::BatchHeader;
use crate::types::{Offset, Timestamp};

const MAGIC: [u8; 4] = *b"OIX1";
const FIXED_LEN: usize = 4 + 7 * 8 + 4;
const ENTRY_LEN: usize = 16;
const CRC_LEN: usize = 4;

/// What is known of a segment's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    base: Offset,
    entries: Vec<Entry>,
    indexed_up_to: u64,
    /// Bytes of whole batches.
    pub(crate) size_bytes: u64,
    /// The offset behind the last batch; the base if there is none.
    pub(crate) next: Offset,
    /// Of the first batch; what a segment's age is counted from.
    pub(crate) first_timestamp: Option<Timestamp>,
    /// The first batch with the largest timestamp.
    pub(crate) max: Option<Max>,
    /// When the last batch was appended, as far as known: the age of a segment without timestamps.
    pub(crate) last_append: Timestamp,
}

/// A timestamp and the batch it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Max {
    pub(crate) timestamp: Timestamp,
    pub(crate) position: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative_offset: u32,
    position: u32,
    max_before: Timestamp,
}

impl Index {
    pub(crate) fn new(base: Offset, now: Timestamp) -> Self {
        Self {
            base,
            entries: Vec::new(),
            indexed_up_to: 0,
            size_bytes: 0,
            next: base,
            first_timestamp: None,
            max: None,
            last_append: now,
        }
    }

    /// Takes note of the batch that now follows the last one.
    pub(crate) fn push(&mut self, batch: &BatchHeader, interval_bytes: u32) {
        let position = self.size_bytes;
        if position - self.indexed_up_to > u64::from(interval_bytes) {
            self.push_entry(batch.base_offset, position);
        }
        let has_records = batch.record_count > 0; // Compaction leaves frames without.
        if has_records {
            self.first_timestamp.get_or_insert(batch.max_timestamp);
        }
        if has_records && self.max.is_none_or(|max| batch.max_timestamp > max.timestamp) {
            self.max = Some(Max { timestamp: batch.max_timestamp, position });
        }
        self.size_bytes = position.saturating_add(batch.size_bytes());
        self.next = batch.next_offset();
    }

    fn push_entry(&mut self, offset: Offset, position: u64) {
        let relative_offset = u32::try_from(offset.0.saturating_sub(self.base.0));
        let (Ok(relative_offset), Ok(at)) = (relative_offset, u32::try_from(position)) else {
            return; // Beyond what an entry can say: a longer walk finds the batch too.
        };
        let max_before = self.max.map_or(Timestamp(i64::MIN), |max| max.timestamp);
        self.entries.push(Entry { relative_offset, position: at, max_before });
        self.indexed_up_to = position;
    }

    /// Position and offset of a batch from which a walk meets the one with `offset`, or the first
    /// behind it.
    pub(crate) fn floor(&self, offset: Offset) -> (u64, Offset) {
        let relative = offset.0.saturating_sub(self.base.0);
        self.before(|entry| i64::from(entry.relative_offset) <= relative)
    }

    /// Position and offset of a batch before which every timestamp is below `timestamp`.
    pub(crate) fn floor_timestamp(&self, timestamp: Timestamp) -> (u64, Offset) {
        self.before(|entry| entry.max_before < timestamp)
    }

    /// The last indexed batch that begins at or before `position` and at or before `up_to`.
    pub(crate) fn last_start(&self, position: u64, up_to: Offset) -> (u64, Offset) {
        let relative = up_to.0.saturating_sub(self.base.0);
        self.before(|entry| {
            u64::from(entry.position) <= position && i64::from(entry.relative_offset) <= relative
        })
    }

    fn before(&self, holds: impl Fn(&Entry) -> bool) -> (u64, Offset) {
        let behind = self.entries.partition_point(holds);
        let last = behind.checked_sub(1).and_then(|last| self.entries.get(last));
        last.map_or((0, self.base), |entry| {
            (u64::from(entry.position), self.base.plus(i64::from(entry.relative_offset)))
        })
    }

    /// Whether all that this index says is so in one that has every batch of the segment.
    pub(crate) fn agrees(&self, every: &Self) -> bool {
        let known = |entry: &Entry| {
            let at = every.entries.binary_search_by_key(&entry.position, |entry| entry.position);
            at.is_ok_and(|at| every.entries.get(at) == Some(entry))
        };
        self.size_bytes == every.size_bytes
            && self.next == every.next
            && self.first_timestamp == every.first_timestamp
            && self.max == every.max
            && self.entries.iter().all(known)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.entries.len() * ENTRY_LEN + CRC_LEN);
        let max = self.max.unwrap_or(Max { timestamp: Timestamp(i64::MIN), position: u64::MAX });
        let first = self.first_timestamp.unwrap_or(Timestamp(i64::MIN));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.base.0.to_be_bytes());
        out.extend_from_slice(&self.size_bytes.to_be_bytes());
        out.extend_from_slice(&self.next.0.to_be_bytes());
        out.extend_from_slice(&first.0.to_be_bytes());
        out.extend_from_slice(&max.timestamp.0.to_be_bytes());
        out.extend_from_slice(&max.position.to_be_bytes());
        out.extend_from_slice(&self.last_append.0.to_be_bytes());
        out.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&entry.relative_offset.to_be_bytes());
            out.extend_from_slice(&entry.position.to_be_bytes());
            out.extend_from_slice(&entry.max_before.0.to_be_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
        out
    }

    /// The index in a sidecar; `None` if anything about it is doubtful.
    pub(crate) fn decode(bytes: &[u8], base: Offset, size_bytes: u64) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<CRC_LEN>()?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let (fixed, entries) = body.split_at_checked(FIXED_LEN)?;
        let (magic, fixed) = fixed.split_first_chunk::<4>()?;
        let (numbers, count) = fixed.split_last_chunk::<4>()?;
        let mut numbers = numbers.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok());
        let mut next = || numbers.next().map(i64::from_be_bytes);
        let (found_base, found_size, end) = (next()?, next()?.cast_unsigned(), next()?);
        let (first, max, max_position) = (next()?, next()?, next()?.cast_unsigned());
        let last_append = Timestamp(next()?);
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        let fits = *magic == MAGIC
            && found_base == base.0
            && found_size == size_bytes
            && entries.len() == count.checked_mul(ENTRY_LEN)?;
        if !fits {
            return None;
        }
        let entries: Vec<Entry> =
            entries.chunks_exact(ENTRY_LEN).filter_map(Entry::decode).collect();
        let max = Max { timestamp: Timestamp(max), position: max_position };
        Some(Self {
            base,
            indexed_up_to: entries.last().map_or(0, |entry| u64::from(entry.position)),
            entries,
            size_bytes,
            next: Offset(end),
            first_timestamp: (size_bytes > 0).then_some(Timestamp(first)),
            max: (max.position < size_bytes).then_some(max),
            last_append,
        })
    }
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (relative_offset, rest) = bytes.split_first_chunk::<4>()?;
        let (position, rest) = rest.split_first_chunk::<4>()?;
        let (max_before, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            relative_offset: u32::from_be_bytes(*relative_offset),
            position: u32::from_be_bytes(*position),
            max_before: Timestamp(i64::from_be_bytes(*max_before)),
        })
    }
}
