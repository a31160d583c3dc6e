//! Reads the batches of one segment in order, each checked, in large pieces.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::{CompactError, Flow, Io, Pace};
use crate::log::error::SegmentError;
use crate::log::fs::File;
use crate::log::segment::Segment;
use crate::records::header::HEADER_LEN;
use crate::records::{BatchHeader, ValidBatch};
use crate::types::Offset;

/// Bytes read at once, unless a single batch is larger.
const CHUNK_LEN: u64 = 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Source<'a> {
    segment: &'a Segment,
    file: Arc<dyn File>,
    /// Of the next batch.
    position: u64,
    end: u64,
    expected: Offset,
    /// From `position` on.
    chunk: Bytes,
}

impl<'a> Source<'a> {
    /// From the start of a segment that nobody writes to any more.
    pub(super) fn new(segment: &'a Segment) -> Result<Self, SegmentError> {
        Ok(Self {
            segment,
            file: segment.file()?,
            position: 0,
            end: segment.size_bytes(),
            expected: segment.base,
            chunk: Bytes::new(),
        })
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self, pace: &mut Pace<'_>) -> Result<Option<ValidBatch>, CompactError> {
        if self.position >= self.end {
            return Ok(None);
        }
        self.hold(HEADER_LEN as u64, pace)?;
        let header = BatchHeader::parse(&self.chunk).map_err(|error| self.bad(&error))?;
        let size = header.size_bytes();
        if size > self.end - self.position {
            return Err(self.bad(&format_args!("batch of {size} bytes is cut")));
        }
        self.segment.check_follows(&header, self.expected).map_err(|reason| self.bad(&reason))?;
        self.hold(size, pace)?;
        let length = usize::try_from(size).map_err(|error| self.bad(&error))?;
        let batch = ValidBatch::parse_stored(self.chunk.slice(..length))
            .map_err(|error| self.bad(&error))?;
        self.chunk.advance(length);
        self.position += size;
        self.expected = header.next_offset();
        Ok(Some(batch))
    }

    /// Whether `next` may begin where this segment ends, all of which has been given.
    ///
    /// # Errors
    /// `Read`: between the two something is missing.
    pub(super) fn check_next(&self, next: Offset) -> Result<(), CompactError> {
        if self.expected == next || (self.segment.is_kafkas && self.expected < next) {
            return Ok(());
        }
        Err(self.bad(&format_args!("the next segment begins at {next}")))
    }

    /// Whether the batch given last was the last one.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Makes the chunk hold at least `count` bytes, or all that are left.
    fn hold(&mut self, count: u64, pace: &mut Pace<'_>) -> Result<(), CompactError> {
        if self.chunk.len() as u64 >= count {
            return Ok(());
        }
        let left = self.end - self.position;
        let length = usize::try_from(count.max(CHUNK_LEN).min(left)).unwrap_or(usize::MAX);
        // Past the page cache: nobody reads it again soon, and what others read must stay there.
        let mut bytes = Vec::new();
        let read = self.file.read_uncached(&mut bytes, self.position, length);
        let place = read.map_err(|error| CompactError::Read(self.segment.io(error).into()))?;
        self.chunk = Bytes::from(bytes).slice(place);
        match pace(Io::Read, length as u64) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(CompactError::Stopped),
        }
    }

    fn bad(&self, reason: &dyn std::fmt::Display) -> CompactError {
        let damage = self.segment.damage(self.position, self.expected, reason.to_string());
        CompactError::Read(damage.into())
    }
}
