//! The log start offset in a file of its own, so that what DeleteRecords or retention took away
//! stays away, and so that an emptied log goes on counting where it ended.
//!
//! Layout (big-endian): magic `OST1`, offset i64, CRC-32C u32 of both.

use std::io;
use std::path::Path;

use super::error::{Damage, LogError};
use super::fs::Fs;
use super::layout::START_OFFSET;
use crate::codec::crc32c;
use crate::types::Offset;

const MAGIC: [u8; 4] = *b"OST1";

/// Puts the start offset on disk.
///
/// Unlike Kafka, which writes it at intervals: it is durable when this returns.
pub(crate) fn write(fs: &dyn Fs, dir: &Path, start: Offset) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&start.0.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    fs.atomic_write(&dir.join(START_OFFSET), &bytes)
}

/// Reads it back; `None` if it was never written.
pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Offset>, LogError> {
    let path = dir.join(START_OFFSET);
    if !fs.exists(&path) {
        return Ok(None);
    }
    let bytes = fs.read(&path, 64).map_err(LogError::io("read", &path))?;
    let offset = decode(&bytes).ok_or_else(|| Damage {
        file: path,
        position: 0,
        offset: Offset(0),
        reason: "not a start offset with its checksum".to_owned(),
    })?;
    Ok(Some(offset))
}

fn decode(bytes: &[u8]) -> Option<Offset> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let offset = body.strip_prefix(&MAGIC)?;
    let is_whole = u32::from_be_bytes(*crc) == crc32c::crc32c(body);
    is_whole.then_some(Offset(i64::from_be_bytes(offset.try_into().ok()?)))
}
