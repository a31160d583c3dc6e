//! Walks the batch headers of a segment without reading the records between them.

use std::io;

use crate::log::fs::File;
use crate::records::BatchHeader;
use crate::records::header::HEADER_LEN;

/// Read at once: the distance between two index entries, and a header more.
const CHUNK_LEN: usize = 4096 + HEADER_LEN;

/// See the module.
#[derive(Debug)]
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

/// What a walk stops at.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The file could not be read.
    Io(io::Error),
    /// No batch that lies within the file begins here.
    Bad { position: u64, reason: String },
}

impl<'a> HeaderScan<'a> {
    /// Walks from `position`, where a batch must begin, up to `end`.
    pub(crate) fn new(file: &'a dyn File, position: u64, end: u64) -> Self {
        Self { file, position, end, chunk: Vec::new(), chunk_start: 0 }
    }

    /// Position and header of the next batch; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, ScanError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let bad = |reason: String| ScanError::Bad { position, reason };
        let header = BatchHeader::parse(self.bytes_at(position).map_err(ScanError::Io)?)
            .map_err(|error| bad(error.to_string()))?;
        let next = position.saturating_add(header.size_bytes());
        if next > self.end {
            return Err(bad(format!("batch of {} bytes is cut", header.size_bytes())));
        }
        self.position = next;
        Ok(Some((position, header)))
    }

    /// The header's bytes at `position`, fewer at the end of the file.
    fn bytes_at(&mut self, position: u64) -> io::Result<&[u8]> {
        let within =
            |start: u64| position.checked_sub(start).and_then(|at| usize::try_from(at).ok());
        let held = within(self.chunk_start)
            .is_some_and(|at| at.saturating_add(HEADER_LEN) <= self.chunk.len());
        if !held {
            let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            self.chunk.resize(CHUNK_LEN.min(left), 0);
            self.file.read_exact_at(&mut self.chunk, position)?;
            self.chunk_start = position;
        }
        let at = within(self.chunk_start).unwrap_or(0);
        let bytes = self.chunk.get(at..).unwrap_or_default();
        Ok(bytes.get(..HEADER_LEN).unwrap_or(bytes))
    }
}
