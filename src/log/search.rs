//! Finds the next whole batch behind bytes that are none.

use std::io;

use bytes::Bytes;

use super::fs::File;
use crate::records::header::{HEADER_LEN, MAGIC};
use crate::records::{BatchHeader, ValidBatch};
use crate::types::Offset;

/// Read at once.
const CHUNK_LEN: usize = 256 * 1024;

/// What a search came to.
#[derive(Debug)]
pub(crate) enum Search {
    /// The first whole batch begins here.
    Found { position: u64, base: Offset },
    /// There is none.
    Nothing,
    /// Too many bytes look like batches and are none: it was given up.
    Unclear,
}

/// Looks for a whole batch, CRC and all, at or behind `expected`, at every byte of the file from
/// `from` to `size`.
pub(crate) fn find_batch(
    file: &dyn File,
    from: u64,
    size: u64,
    expected: Offset,
) -> io::Result<Search> {
    let mut budget = size.saturating_mul(16); // Against bytes made to look like many batches.
    let mut start = from;
    while start.saturating_add(HEADER_LEN as u64) <= size {
        let left = usize::try_from(size - start).unwrap_or(usize::MAX);
        let mut chunk = vec![0; CHUNK_LEN.min(left)];
        file.read_exact_at(&mut chunk, start)?;
        for (at, window) in chunk.windows(HEADER_LEN).enumerate() {
            let position = start + at as u64;
            let Some(header) = plausible(window, expected, size - position) else { continue };
            if budget < header.size_bytes() {
                return Ok(Search::Unclear);
            }
            budget -= header.size_bytes();
            if is_whole(file, position, &header)? {
                return Ok(Search::Found { position, base: header.base_offset });
            }
        }
        start += (chunk.len() - HEADER_LEN + 1) as u64;
    }
    Ok(Search::Nothing)
}

fn plausible(window: &[u8], expected: Offset, left: u64) -> Option<BatchHeader> {
    if window.get(16) != Some(&MAGIC) {
        return None;
    }
    let header = BatchHeader::parse(window).ok()?;
    let fits = header.size_bytes() <= left
        && header.base_offset >= expected
        && header.last_offset_delta >= 0
        && header.record_count >= 0;
    fits.then_some(header)
}

fn is_whole(file: &dyn File, position: u64, header: &BatchHeader) -> io::Result<bool> {
    let mut bytes = vec![0; usize::try_from(header.size_bytes()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, position)?;
    Ok(ValidBatch::parse_stored(Bytes::from(bytes)).is_ok())
}
