//! The file that spares a start the walk over the whole log: what every producer had written last, and
//! which transactions were open or aborted, when the log ended at a certain offset. The rest is learnt
//! from the log from there on, so the file may be as old as it likes; without it, or with one that is
//! not sound, all of the log is walked.
//!
//! Layout (big-endian), all offsets, ids and timestamps i64:
//!
//! | part | fields |
//! |---|---|
//! | head | magic `OPS3`, end offset, producers u32 |
//! | for each producer | id, epoch i16, coordinator epoch i32 (-1: none), last timestamp, last offset, first offset of the open transaction (-1: none), cut u8, batches u8 |
//! | for each of its batches | first and last sequence i32, base offset, timestamp |
//! | aborted transactions | blocks u32 |
//! | for each block | transactions u32, bytes u32, and those: see [`super::super::aborted`] |
//! | tail | CRC-32C u32 of all that |

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BufMut};

use super::super::aborted::Block;
use super::{Entry, KEPT_BATCHES, Kept, Producers};
use crate::codec::crc32c;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// `OPS1` knew nothing of transactions, `OPS2` had aborted ones of 32 bytes.
const MAGIC: &[u8; 4] = b"OPS3";
/// Bytes of one producer without its batches.
const PRODUCER_BYTES: usize = 40;
/// Bytes of one batch.
const BATCH_BYTES: usize = 24;

/// What is known of a log that ends at some offset, taken down so that it can be written later.
#[derive(Clone, Debug)]
pub(in crate::partition) struct Snapshot {
    producers: Vec<u8>,
    aborted: Vec<Arc<Block>>,
}

impl Snapshot {
    /// The file that says it.
    pub(in crate::partition) fn into_file(self) -> Vec<u8> {
        let mut out = self.producers;
        out.put_u32(u32::try_from(self.aborted.len()).unwrap_or(u32::MAX));
        self.aborted.iter().for_each(|block| block.write(&mut out));
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out
    }
}

impl Producers {
    /// What is known of a log that ends at `end`. Aborted transactions, of which there may be any number,
    /// are not copied.
    pub(in crate::partition) fn snapshot(&self, end: Offset) -> Snapshot {
        let producers_bytes = self.entries.len() * (PRODUCER_BYTES + 2 * BATCH_BYTES);
        let mut out = Vec::with_capacity(32 + producers_bytes);
        out.put_slice(MAGIC);
        out.put_i64(end.0);
        out.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for (id, entry) in &self.entries {
            out.put_i64(id.0);
            put_entry(&mut out, entry);
        }
        Snapshot { producers: out, aborted: self.aborted().blocks() }
    }

    /// Takes over what a file says; the log end that it stands for. `None`, and nothing learnt, if it
    /// is not sound.
    pub(in crate::partition) fn restore(&mut self, bytes: &[u8]) -> Option<Offset> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let mut body = body.strip_prefix(MAGIC)?;
        let end = Offset(body.try_get_i64().ok()?);
        let count = body.try_get_u32().ok()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(entry(&mut body)?);
        }
        let count = body.try_get_u32().ok()?;
        let mut aborted: Vec<Block> = Vec::new();
        for _ in 0..count {
            aborted.push(Block::read(&mut body)?);
        }
        if body.has_remaining() {
            return None;
        }
        // The one that wrote longest ago first: should there be too many, it is the one to go.
        entries.sort_by_key(|(_, entry)| entry.last_offset);
        for (id, entry) in entries {
            self.put(id, entry);
        }
        self.aborted().replace(aborted);
        Some(end)
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_i16(entry.epoch.0);
    out.put_i32(entry.coordinator_epoch.unwrap_or(-1));
    out.put_i64(entry.last_timestamp.0);
    out.put_i64(entry.last_offset.0);
    out.put_i64(entry.transaction.map_or(-1, |first| first.0));
    out.put_u8(u8::from(entry.is_cut));
    out.put_u8(u8::try_from(entry.batches.len()).unwrap_or(u8::MAX));
    for kept in &entry.batches {
        out.put_i32(kept.first_sequence);
        out.put_i32(kept.last_sequence);
        out.put_i64(kept.base_offset.0);
        out.put_i64(kept.timestamp.0);
    }
}

fn entry(body: &mut &[u8]) -> Option<(ProducerId, Entry)> {
    let id = ProducerId(body.try_get_i64().ok()?);
    let epoch = ProducerEpoch(body.try_get_i16().ok()?);
    let coordinator_epoch = body.try_get_i32().ok()?;
    let last_timestamp = Timestamp(body.try_get_i64().ok()?);
    let last_offset = Offset(body.try_get_i64().ok()?);
    let first = body.try_get_i64().ok()?;
    let is_cut = body.try_get_u8().ok()? != 0;
    let count = usize::from(body.try_get_u8().ok()?);
    if count > KEPT_BATCHES || body.remaining() < count * BATCH_BYTES {
        return None;
    }
    let batches = (0..count).map(|_| Kept {
        first_sequence: body.get_i32(),
        last_sequence: body.get_i32(),
        base_offset: Offset(body.get_i64()),
        timestamp: Timestamp(body.get_i64()),
    });
    let entry = Entry {
        epoch,
        coordinator_epoch: (0 <= coordinator_epoch).then_some(coordinator_epoch),
        batches: batches.collect::<VecDeque<_>>(),
        last_timestamp,
        last_offset,
        transaction: (0 <= first).then_some(Offset(first)),
        is_cut,
    };
    Some((id, entry))
}
