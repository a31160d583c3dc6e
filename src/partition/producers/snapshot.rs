//! The file that spares a start the walk over the whole log: what every producer had written last
//! when the log ended at a certain offset. The rest is learnt from the log from there on, so the file
//! may be as old as it likes; without it, or with one that is not sound, all of the log is walked.
//!
//! Layout (big-endian): magic `OPS1`, end offset i64, producers u32; for each id i64, epoch i16, last
//! timestamp i64, batches u8, and for each of those first and last sequence i32, base offset i64,
//! timestamp i64; CRC-32C u32 of all that.

use std::collections::VecDeque;

use bytes::{Buf, BufMut};

use super::{Entry, KEPT_BATCHES, Kept, Producers};
use crate::codec::crc32c;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

const MAGIC: &[u8; 4] = b"OPS1";
/// Bytes of one batch.
const BATCH_BYTES: usize = 24;

impl Producers {
    /// What is known of a log that ends at `end`.
    pub(in crate::partition) fn encode(&self, end: Offset) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.entries.len() * (19 + 2 * BATCH_BYTES));
        out.put_slice(MAGIC);
        out.put_i64(end.0);
        out.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for (id, entry) in &self.entries {
            out.put_i64(id.0);
            out.put_i16(entry.epoch.0);
            out.put_i64(entry.last_timestamp.0);
            out.put_u8(u8::try_from(entry.batches.len()).unwrap_or(u8::MAX));
            for kept in &entry.batches {
                out.put_i32(kept.first_sequence);
                out.put_i32(kept.last_sequence);
                out.put_i64(kept.base_offset.0);
                out.put_i64(kept.timestamp.0);
            }
        }
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out
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
        if body.has_remaining() {
            return None;
        }
        // The one that wrote longest ago first: should there be too many, it is the one to go.
        entries.sort_by_key(|(_, entry)| entry.batches.back().map(|kept| kept.base_offset));
        for (id, entry) in entries {
            self.put(id, entry);
        }
        Some(end)
    }
}

fn entry(body: &mut &[u8]) -> Option<(ProducerId, Entry)> {
    let id = ProducerId(body.try_get_i64().ok()?);
    let epoch = ProducerEpoch(body.try_get_i16().ok()?);
    let last_timestamp = Timestamp(body.try_get_i64().ok()?);
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
    let batches = batches.collect::<VecDeque<_>>();
    Some((id, Entry { epoch, batches, last_timestamp }))
}
