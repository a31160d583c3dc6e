//! Reading beside the writer: from offsets to ranges of files, and batch by batch.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::{Buf, Bytes};

use super::epochs::EpochEnd;
use super::error::{Damage, ReadError, SegmentError};
use super::fs::File;
use super::log::Shared;
use super::segment::{Segment, SegmentFactory};
use crate::records::{BatchHeader, ValidBatch};
use crate::types::{LeaderEpoch, Offset};

/// Of what was not written by this process, so much is checked and given at once, in bytes.
const VERIFIED_AT_ONCE: u64 = 1024 * 1024;
/// Bytes that [`BatchIter`] holds at once, unless a single batch is larger.
const CHUNK_LEN: u64 = 256 * 1024;

/// Reads a log. Clones are cheap and share it.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// Whole stored batches, one behind the other in a file.
#[derive(Clone, Debug)]
pub struct LogRange {
    /// The segment; it can be read on after retention has taken it away.
    pub file: Arc<dyn File>,
    /// Of the first byte.
    pub position: u64,
    /// Bytes; at least one batch.
    pub len: u64,
    /// Of the first batch; may lie before the offset asked for.
    pub base_offset: Offset,
    /// Behind the last batch: where to read on.
    pub next: Offset,
}

impl LogRange {
    /// Reads the bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(Bytes::from(bytes))
    }
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> Offset {
        self.shared.start()
    }

    /// The log end offset: what lies before can be read.
    pub fn end_offset(&self) -> Offset {
        self.shared.end()
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments.load().iter().map(|segment| segment.size_bytes()).sum()
    }

    /// Whether a write or sync has failed.
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Acquire)
    }

    /// Where leader epoch `asked` ends, under leadership `current`; see [`super::EpochCache::end`].
    pub fn epoch_end(&self, asked: LeaderEpoch, current: LeaderEpoch) -> Option<EpochEnd> {
        let epochs = self.shared.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.end(asked, current, self.end_offset())
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.shared.epochs.read().unwrap_or_else(PoisonError::into_inner).epoch_at(offset)
    }

    /// Finds whole batches of one segment, from the one with offset `from` (or the first behind it,
    /// where compaction has left a gap) to before `up_to`, at most `max_bytes` of them; with
    /// `at_least_one` the first is given even if it alone is larger. `None` if there is nothing.
    ///
    /// What this process did not write itself is read and checked when it is first given, up to a MiB
    /// of it (or one batch) at once.
    ///
    /// # Errors
    /// `OutOfRange`, `Damaged`, `Io`.
    pub fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: u64,
        at_least_one: bool,
    ) -> Result<Option<LogRange>, ReadError> {
        let found = self.find(from, up_to, max_bytes, at_least_one)?;
        Ok(found.map(|(range, _)| range))
    }

    /// The same, with the segment that it is in.
    fn find(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: u64,
        at_least_one: bool,
    ) -> Result<Option<(LogRange, Arc<Segment>)>, ReadError> {
        let end = self.end_offset();
        let start = self.start_offset();
        if from < start || end < from {
            return Err(ReadError::OutOfRange { asked: from, start, end });
        }
        let wanted = Wanted { from, up_to: up_to.min(end), max_bytes, at_least_one };
        let segments = self.segments_from(from);
        // Our compaction leaves gaps within segments only, Kafka's also between them.
        let mut is_gap_kafkas = !segments.is_empty();
        for segment in segments {
            if segment.base >= wanted.up_to {
                break;
            }
            match find(&self.shared, &segment, wanted) {
                Ok(Some(range)) => {
                    let in_front = segment.base <= from || is_gap_kafkas;
                    let within = range.base_offset <= segment.base || segment.has_gaps();
                    if range.base_offset > from && !(in_front && within) {
                        return Err(self.missing(from).into());
                    }
                    return Ok(Some((range, segment)).filter(|(range, _)| range.len > 0));
                }
                Ok(None) => is_gap_kafkas &= segment.is_kafkas,
                Err(SegmentError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    // Retention took it away meanwhile.
                    let start = self.start_offset();
                    if from < start {
                        return Err(ReadError::OutOfRange { asked: from, start, end });
                    }
                    return Err(segment.io(source).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if from < wanted.up_to && !self.shared.has_gaps() && !is_gap_kafkas {
            return Err(self.missing(from).into());
        }
        Ok(None)
    }

    /// Reads and checks batch by batch, from the one with offset `from` to the present end.
    pub fn batches(&self, from: Offset) -> BatchIter {
        let chunk = Bytes::new();
        BatchIter {
            reader: self.clone(),
            next: from,
            up_to: self.end_offset(),
            chunk,
            may_miss: false,
            failed: false,
        }
    }

    /// All segments, the active one last.
    pub(super) fn all_segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.shared.segments.load_full()
    }

    /// Everything before has been compacted once.
    pub(super) fn compacted_up_to(&self) -> Offset {
        self.shared.compacted_up_to()
    }

    /// What makes segments of this log.
    pub(super) fn factory(&self) -> &SegmentFactory {
        &self.shared.factory
    }

    /// The segments from the one that holds `offset` on.
    pub(super) fn segments_from(&self, offset: Offset) -> Vec<Arc<Segment>> {
        let segments = self.shared.segments.load();
        let behind = segments.partition_point(|segment| segment.base <= offset);
        segments.iter().skip(behind.saturating_sub(1)).cloned().collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    from: Offset,
    up_to: Offset,
    max_bytes: u64,
    at_least_one: bool,
}

/// The range in one segment; `None` if all of it lies before `from`; of no length if there is a
/// batch but it may not be given.
fn find(
    shared: &Shared,
    segment: &Segment,
    wanted: Wanted,
) -> Result<Option<LogRange>, SegmentError> {
    let (size, next, floor) =
        segment.index(|index| (index.size_bytes, index.next, index.floor(wanted.from)))?;
    if next <= wanted.from {
        return Ok(None);
    }
    let file = segment.file()?;
    let Some((position, first)) = first_batch(segment, &*file, floor, wanted.from)? else {
        return Ok(None);
    };
    let base_offset = first.base_offset;
    let limit = match wanted.max_bytes {
        max if max < first.size_bytes() && wanted.at_least_one => first.size_bytes(),
        max => max,
    };
    let last = position.saturating_add(limit);
    let (end, next) = if size <= last && next <= wanted.up_to {
        (size, next)
    } else {
        last_batch(segment, &*file, position, (last, wanted.up_to))?
            .unwrap_or((position, base_offset))
    };
    let bytes = position..end;
    if segment.is_verified(&bytes) {
        return Ok(Some(LogRange { file, position, len: end - position, base_offset, next }));
    }
    if bytes.end - bytes.start > VERIFIED_AT_ONCE.max(first.size_bytes()) {
        return find(shared, segment, Wanted { max_bytes: VERIFIED_AT_ONCE, ..wanted });
    }
    segment.verify(bytes, |header| shared.epoch_of(header))?;
    Ok(Some(LogRange { file, position, len: end - position, base_offset, next }))
}

/// The first batch that ends behind `from`.
fn first_batch(
    segment: &Segment,
    file: &dyn File,
    (floor, mut expected): (u64, Offset),
    from: Offset,
) -> Result<Option<(u64, BatchHeader)>, SegmentError> {
    let mut walk = segment.walk(file, floor);
    while let Some((position, header)) =
        walk.next().map_err(|error| segment.scan_error(error, expected))?
    {
        segment
            .check_follows(&header, expected)
            .map_err(|reason| segment.damage(position, expected, reason))?;
        expected = header.next_offset();
        if header.last_offset() >= from {
            return Ok(Some((position, header)));
        }
    }
    Ok(None)
}

/// Where the last batch ends that lies wholly before both limits, and the offset behind it.
fn last_batch(
    segment: &Segment,
    file: &dyn File,
    from: u64,
    (position_max, offset_max): (u64, Offset),
) -> Result<Option<(u64, Offset)>, SegmentError> {
    let (start, _) = segment.index(|index| index.last_start(position_max, offset_max))?;
    let start = start.max(from);
    let mut walk = segment.walk(file, start);
    let mut last = None;
    loop {
        let next = walk.next().map_err(|error| segment.scan_error(error, offset_max))?;
        let Some((position, header)) = next else { return Ok(last) };
        let end = position.saturating_add(header.size_bytes());
        if end > position_max || header.next_offset() > offset_max {
            // The batch the index led to may already be too much, but what lies before it is not.
            let before = (position == start && start > from).then_some((start, header.base_offset));
            return Ok(last.or(before));
        }
        last = Some((end, header.next_offset()));
    }
}

/// See [`LogReader::batches`]. Ends after an error.
#[derive(Clone, Debug)]
pub struct BatchIter {
    reader: LogReader,
    next: Offset,
    up_to: Offset,
    chunk: Bytes,
    /// Whether offsets may be missing in front of the next batch.
    may_miss: bool,
    failed: bool,
}

impl Iterator for BatchIter {
    type Item = Result<ValidBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.read().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}

impl BatchIter {
    fn read(&mut self) -> Result<Option<ValidBatch>, ReadError> {
        if !self.chunk.has_remaining() && !self.fill()? {
            return Ok(None);
        }
        let damage = |reason| self.damage(reason);
        let header = BatchHeader::parse(&self.chunk).map_err(|error| damage(error.to_string()))?;
        let size = usize::try_from(header.size_bytes())
            .ok()
            .filter(|size| *size <= self.chunk.len())
            .ok_or_else(|| damage("batch is cut".to_owned()))?;
        let batch = ValidBatch::parse_stored(self.chunk.slice(..size))
            .map_err(|error| damage(error.to_string()))?;
        if header.base_offset > self.next && !self.may_miss {
            return Err(self.reader.missing(self.next).into());
        }
        self.chunk.advance(size);
        self.next = header.next_offset();
        Ok(Some(batch))
    }

    fn fill(&mut self) -> Result<bool, ReadError> {
        let found = self.reader.find(self.next, self.up_to, CHUNK_LEN, true)?;
        let Some((range, segment)) = found else { return Ok(false) };
        // What is missing in front of the first one has been found to be in order.
        self.next = self.next.max(range.base_offset);
        self.may_miss = segment.has_gaps();
        self.chunk = range
            .read()
            .map_err(|source| ReadError::Io { path: self.reader.path_of(self.next), source })?;
        Ok(true)
    }

    fn damage(&self, reason: String) -> ReadError {
        let file = self.reader.path_of(self.next);
        Damage { file, position: 0, offset: self.next, reason }.into()
    }
}

impl LogReader {
    fn missing(&self, offset: Offset) -> Damage {
        let reason = "there is no batch with that offset".to_owned();
        Damage { file: self.path_of(offset), position: 0, offset, reason }
    }

    fn path_of(&self, offset: Offset) -> std::path::PathBuf {
        self.segments_from(offset).first().map(|segment| segment.path.clone()).unwrap_or_default()
    }
}
