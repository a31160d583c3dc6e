//! Reads a log's folder without changing a byte of it: for tools that look at the data of a broker
//! that does not run. It goes on behind damage, and says where all of it is.
//!
//! What opening the log would say can be told from the result: [`Inspection::torn`] is cut off at the
//! next start, every [`Inspection::holes`] and [`Inspection::faults`] is refused there or met later by
//! whoever reads. An index is derived: one that is doubtful is a note, one that is whole and wrong is
//! a fault.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::config::Checkpoint;
use super::epochs::{self, EpochCache};
use super::error::Damage;
use super::fs::{File, Fs, OpenMode};
use super::index::Index;
use super::layout::{
    COMPACTED, EPOCHS, index_file, parse_kafka_time_index_file, parse_segment_file, parse_swap_file,
};
use super::search::{Search, find_batch};
use super::segment::check_epoch;
use super::start_offset;
use crate::records::header::HEADER_LEN;
use crate::records::{BatchHeader, ValidBatch};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// Read at once.
const WINDOW_LEN: usize = 1024 * 1024;
/// The largest index that is looked at, in bytes.
const INDEX_LEN_MAX: u64 = 1 << 30;
/// Bytes that the records of one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A segment as its name and length have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The offset in its name.
    pub base: Offset,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Kafka wrote it: its compaction leaves gaps within segments and behind them.
    pub is_kafkas: bool,
}

/// A stretch of a segment that is no run of whole batches in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it begins, the offset that is expected there, and what is wrong.
    pub damage: Damage,
    /// Bytes up to the next whole batch of the file, or to its end; 0 where a segment is missing.
    pub length: u64,
    /// The base offset of the next whole batch; `None` where none follows.
    pub next: Option<Offset>,
    /// Whether more may follow that could not be told from what is none.
    pub is_unclear: bool,
    /// The leader epoch of the last whole batch in front, as far as it was looked for.
    pub leader_epoch: LeaderEpoch,
}

/// What a walk meets, in the order of the files.
#[derive(Debug)]
pub enum Found<'a> {
    /// A whole batch.
    Batch {
        /// Where it begins in its file.
        position: u64,
        /// The batch.
        batch: &'a ValidBatch,
    },
    /// Something else.
    Hole(&'a Hole),
}

/// A batch whose leader epoch, which no checksum covers, is not the one of its place. It is one of
/// [`Inspection::faults`] too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongEpoch {
    /// The segment.
    pub file: PathBuf,
    /// Where the batch begins.
    pub position: u64,
    /// The epoch it must be of.
    pub epoch: LeaderEpoch,
}

/// Everything there is to know of a log's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Oldest first.
    pub segments: Vec<SegmentFile>,
    /// Whole batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// The leader epoch of the last whole batch.
    pub leader_epoch: LeaderEpoch,
    /// The log start offset.
    pub start: Offset,
    /// The offset behind the last whole batch.
    pub end: Offset,
    /// In order.
    pub holes: Vec<Hole>,
    /// What a crash left of an unfinished write: the next start cuts it off.
    pub torn: Option<Hole>,
    /// Damage elsewhere: in other files, or of the log as a whole.
    pub faults: Vec<Damage>,
    /// Batches of another leader epoch than their place says, and nothing else wrong with them.
    pub wrong_epochs: Vec<WrongEpoch>,
    /// What is odd and does no harm.
    pub notes: Vec<String>,
    /// Whether a compaction was cut short; the next start finishes it.
    pub is_compacting: bool,
    /// Where epochs begin, if that is known.
    epochs: Option<EpochCache>,
}

impl Inspection {
    /// Everything that is wrong.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.holes.iter().map(|hole| &hole.damage).chain(&self.faults)
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }
}

/// The segments in a folder, oldest first.
///
/// # Errors
/// What the system says.
pub fn segment_files(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<SegmentFile>> {
    let entries = fs.list(dir)?;
    let kafkas: HashSet<Offset> =
        entries.iter().filter_map(|entry| parse_kafka_time_index_file(&entry.name)).collect();
    let mut segments = Vec::new();
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        let Some(base) = parse_segment_file(&entry.name) else { continue };
        let path = dir.join(&entry.name);
        let size_bytes = fs.file_len(&path)?;
        segments.push(SegmentFile { base, size_bytes, path, is_kafkas: kafkas.contains(&base) });
    }
    segments.sort_by_key(|segment| segment.base);
    Ok(segments)
}

/// Whether offsets may be missing within the segments of a folder's log without anything being
/// wrong. Those that Kafka wrote say so themselves.
pub fn may_have_gaps(fs: &dyn Fs, dir: &Path) -> bool {
    fs.exists(&dir.join(COMPACTED))
}

/// Reads every batch of a log and hands each to `each`, with the file it is in.
///
/// # Errors
/// What the system says, with the file's name in it.
pub fn inspect(
    fs: &dyn Fs,
    dir: &Path,
    checkpoint: Checkpoint,
    each: &mut dyn FnMut(&SegmentFile, Found<'_>),
) -> io::Result<Inspection> {
    let gaps = may_have_gaps(fs, dir);
    let mut found = Inspection { segments: segment_files(fs, dir)?, ..Inspection::default() };
    found.finish_swaps(fs, dir)?;
    found.read_epochs(fs, dir);
    let mut expected = found.segments.first().map_or(checkpoint.log_start, |first| first.base);
    let mut is_gap_kafkas = false;
    for segment in found.segments.clone() {
        if is_gap_kafkas && found.holes.last().is_none_or(|hole| hole.next.is_some()) {
            expected = expected.max(segment.base);
        }
        is_gap_kafkas = segment.is_kafkas;
        let index = match found.join(&segment, &mut expected) {
            Joined::Follows => found.walk(fs, &segment, &mut expected, gaps, each),
            Joined::Overlaps => continue,
        };
        let index = index.map_err(|error| named(&segment.path, &error))?;
        found.compare_index(fs, dir, &segment, &index);
    }
    found.end = expected;
    found.judge(fs, dir, checkpoint);
    Ok(found)
}

/// Walks one file, which need not lie in a log's folder, until `each` breaks off; `expected` is the
/// offset that it begins with and ends behind its last batch.
///
/// # Errors
/// What the system says.
pub fn walk_file(
    fs: &dyn Fs,
    path: &Path,
    expected: &mut Offset,
    gaps: bool,
    each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let file = fs.open(path, OpenMode::Read)?;
    let mut walk = Walk::new(&*file, path)?;
    while let Some(step) = walk.next(expected, gaps)? {
        let flow = match &step {
            Step::Batch { position, batch } => each(Found::Batch { position: *position, batch }),
            Step::Hole(hole) => each(Found::Hole(hole)),
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

enum Joined {
    Follows,
    Overlaps,
}

impl Inspection {
    /// Where a compaction was cut short, its result stands in for what it was to replace, as the next
    /// start will have it.
    fn finish_swaps(&mut self, fs: &dyn Fs, dir: &Path) -> io::Result<()> {
        for entry in fs.list(dir)? {
            let Some(base) = parse_swap_file(&entry.name) else { continue };
            self.is_compacting = true;
            let path = dir.join(&entry.name);
            self.notes.push(format!("{}: the next start finishes it", path.display()));
            let (mut end, mut is_whole) = (base, true);
            walk_file(fs, &path, &mut end, true, &mut |found| {
                is_whole &= matches!(found, Found::Batch { .. });
                ControlFlow::Continue(())
            })?;
            if is_whole && end > base {
                let stays = |segment: &SegmentFile| segment.base < base || end <= segment.base;
                let is_kafkas = !may_have_gaps(fs, dir)
                    || self.segments.iter().any(|segment| !stays(segment) && segment.is_kafkas);
                self.segments.retain(stays);
                let size_bytes = fs.file_len(&path)?;
                self.segments.push(SegmentFile { base, path, size_bytes, is_kafkas });
            }
        }
        self.segments.sort_by_key(|segment| segment.base);
        Ok(())
    }

    /// Whether a segment goes on where the one before ended; `expected` is where it begins then.
    /// Our compaction leaves gaps within segments, never between them.
    fn join(&mut self, segment: &SegmentFile, expected: &mut Offset) -> Joined {
        let at = |reason: String| Damage {
            file: segment.path.clone(),
            position: 0,
            offset: *expected,
            reason,
        };
        let leader_epoch = self.leader_epoch;
        if segment.base < *expected {
            let damage = at(format!("begins at {}, before {expected}", segment.base));
            let length = segment.size_bytes;
            self.holes.push(Hole { damage, length, next: None, is_unclear: true, leader_epoch });
            return Joined::Overlaps;
        }
        // A hole up to the end of the file before explains what is missing in front of this one.
        let explained = self.holes.last_mut().filter(|hole| hole.next.is_none());
        match explained {
            Some(hole) => hole.next = Some(segment.base).filter(|_| segment.size_bytes > 0),
            None if segment.base > *expected => {
                let damage = at(format!("segments from offset {expected} on are missing"));
                let next = Some(segment.base);
                self.holes.push(Hole { damage, length: 0, next, is_unclear: false, leader_epoch });
            }
            None => {}
        }
        *expected = segment.base;
        Joined::Follows
    }

    fn walk(
        &mut self,
        fs: &dyn Fs,
        segment: &SegmentFile,
        expected: &mut Offset,
        gaps: bool,
        each: &mut dyn FnMut(&SegmentFile, Found<'_>),
    ) -> io::Result<Index> {
        let file = fs.open(&segment.path, OpenMode::Read)?;
        let mut walk = Walk::new(&*file, &segment.path)?;
        let mut index = Index::new(segment.base, Timestamp(0));
        while let Some(step) = walk.next(expected, gaps || segment.is_kafkas)? {
            match step {
                Step::Batch { position, batch } => {
                    index.push(batch.header(), 0);
                    self.count(segment, position, &batch);
                    self.compare_epoch(segment, position, batch.header());
                    each(segment, Found::Batch { position, batch: &batch });
                }
                Step::Hole(mut hole) => {
                    hole.leader_epoch = self.leader_epoch;
                    each(segment, Found::Hole(&hole));
                    self.holes.push(hole);
                }
            }
        }
        Ok(index)
    }

    fn count(&mut self, segment: &SegmentFile, position: u64, batch: &ValidBatch) {
        self.batches += 1;
        self.leader_epoch = batch.header().leader_epoch;
        self.records += u64::try_from(batch.header().record_count).unwrap_or(0);
        if let Err(error) = batch.check_records(UNPACKED_BYTES_MAX)
            && !batch.header().attributes.is_control()
        {
            let offset = batch.header().base_offset;
            let reason = format!("the batch is as written, but its records are not: {error}");
            self.faults.push(Damage { file: segment.path.clone(), position, offset, reason });
        }
    }

    fn read_epochs(&mut self, fs: &dyn Fs, dir: &Path) {
        let path = dir.join(EPOCHS);
        let Ok(bytes) = fs.read(&path, epochs::FILE_LEN_MAX) else { return };
        self.epochs = EpochCache::decode(&bytes);
        if self.epochs.is_none() {
            self.notes.push(format!("{}: not whole, made anew at the next start", path.display()));
        }
    }

    fn compare_epoch(&mut self, segment: &SegmentFile, position: u64, header: &BatchHeader) {
        let Some(epochs) = self.epochs.as_ref().filter(|_| !segment.is_kafkas) else { return };
        let Some(epoch) = epochs.epoch_at(header.last_offset()) else { return };
        if let Err(reason) = check_epoch(header, epoch) {
            let (file, offset) = (segment.path.clone(), header.base_offset);
            self.wrong_epochs.push(WrongEpoch { file: file.clone(), position, epoch });
            self.faults.push(Damage { file, position, offset, reason });
        }
    }

    /// Compares a segment's index with what the segment holds.
    fn compare_index(&mut self, fs: &dyn Fs, dir: &Path, segment: &SegmentFile, walked: &Index) {
        let path = dir.join(index_file(segment.base));
        if !fs.exists(&path) {
            return;
        }
        let bytes = fs.read(&path, INDEX_LEN_MAX).unwrap_or_default();
        match Index::decode(&bytes, segment.base, segment.size_bytes) {
            None => {
                self.notes.push(format!("{}: not whole, made anew when needed", path.display()))
            }
            Some(index) if index.agrees(walked) => {}
            Some(_) => {
                let reason = "the index is whole and says other than its segment".to_owned();
                let (position, offset) = (0, segment.base);
                self.faults.push(Damage { file: path, position, offset, reason });
            }
        }
    }

    /// What the log as a whole says, and whether the last hole is a torn tail.
    fn judge(&mut self, fs: &dyn Fs, dir: &Path, checkpoint: Checkpoint) {
        let durable = checkpoint.durable_up_to;
        let first = self.segments.first().cloned();
        let mut written = None;
        match start_offset::read(fs, dir) {
            Ok(start) => written = start,
            Err(super::LogError::Damaged(damage)) => self.faults.push(damage),
            Err(error) => self.notes.push(error.to_string()),
        }
        self.start = written.unwrap_or_default().max(checkpoint.log_start);
        if let Some(first) = first {
            if (written.is_some() || !first.is_kafkas) && self.start < first.base {
                let reason = format!("segments from offset {} on are missing", self.start);
                let (file, offset) = (first.path, self.start);
                self.faults.push(Damage { file, position: 0, offset, reason });
            }
            self.start = self.start.max(first.base);
        }
        let is_tail = |hole: &Hole| hole.next.is_none() && hole.length > 0;
        let is_torn = self.holes.last().is_some_and(|hole| {
            let offset = hole.damage.offset;
            is_tail(hole)
                && !hole.is_unclear
                && !checkpoint.clean
                && (offset >= durable || durable <= self.start)
        });
        if is_torn {
            self.torn = self.holes.pop();
        }
        self.end = self.end.max(self.start);
        let ends_early = self.end < durable && self.start < durable;
        let ends_late = checkpoint.clean && self.end != durable.max(self.start);
        if (ends_early || ends_late) && !self.holes.last().is_some_and(is_tail) {
            let word = if checkpoint.clean { "stopped at" } else { "durable up to" };
            let reason = format!("ends here, but was {word} {durable}");
            let (file, position) = match self.segments.last() {
                Some(last) => (last.path.clone(), last.size_bytes),
                None => (dir.to_owned(), 0),
            };
            self.faults.push(Damage { file, position, offset: self.end, reason });
        }
    }
}

enum Step {
    Batch { position: u64, batch: ValidBatch },
    Hole(Hole),
}

/// A walk over the batches of one file.
struct Walk<'a> {
    file: &'a dyn File,
    path: &'a Path,
    position: u64,
    size: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Walk<'a> {
    fn new(file: &'a dyn File, path: &'a Path) -> io::Result<Self> {
        let size = file.len()?;
        Ok(Self { file, path, position: 0, size, window: Vec::new(), window_start: 0 })
    }

    fn next(&mut self, expected: &mut Offset, gaps: bool) -> io::Result<Option<Step>> {
        let position = self.position;
        if position >= self.size {
            return Ok(None);
        }
        match self.batch(position, *expected, gaps)? {
            Ok(batch) => {
                self.position = position.saturating_add(batch.size_bytes());
                *expected = batch.header().next_offset();
                Ok(Some(Step::Batch { position, batch }))
            }
            Err(reason) => {
                let search = find_batch(self.file, position + 1, self.size, *expected)?;
                let (behind, next, is_unclear) = match search {
                    Search::Found { position, base } => (position, Some(base), false),
                    Search::Nothing => (self.size, None, false),
                    Search::Unclear => (self.size, None, true),
                };
                self.position = behind;
                let (file, offset) = (self.path.to_owned(), *expected);
                let damage = Damage { file, position, offset, reason };
                *expected = next.unwrap_or(*expected);
                Ok(Some(Step::Hole(Hole {
                    damage,
                    length: behind - position,
                    next,
                    is_unclear,
                    leader_epoch: LeaderEpoch(0),
                })))
            }
        }
    }

    /// The batch at `position`, or why there is none that may come here.
    fn batch(
        &mut self,
        position: u64,
        expected: Offset,
        gaps: bool,
    ) -> io::Result<Result<ValidBatch, String>> {
        let left = self.size - position;
        let head = usize::try_from(left).unwrap_or(HEADER_LEN).min(HEADER_LEN);
        let header = match BatchHeader::parse(self.bytes(position, head)?) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let base = header.base_offset;
        if header.size_bytes() > left {
            return Ok(Err(format!("batch of {} bytes is cut", header.size_bytes())));
        }
        if base < expected || (base > expected && !gaps) {
            return Ok(Err(format!("batch at offset {base} does not follow")));
        }
        if header.last_offset_delta < 0 || header.record_count < 0 {
            return Ok(Err(format!("batch at offset {base} counts below 0")));
        }
        let length = usize::try_from(header.size_bytes()).map_err(io::Error::other)?;
        let bytes = bytes::Bytes::copy_from_slice(self.bytes(position, length)?);
        Ok(ValidBatch::parse_stored(bytes).map_err(|error| error.to_string()))
    }

    /// `length` bytes at `position`, which must be there.
    fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let at = |start: u64| usize::try_from(position.checked_sub(start)?).ok();
        let held =
            at(self.window_start).is_some_and(|at| at.saturating_add(length) <= self.window.len());
        if !held {
            let left = usize::try_from(self.size - position).unwrap_or(usize::MAX);
            self.window.resize(WINDOW_LEN.max(length).min(left), 0);
            self.file.read_exact_at(&mut self.window, position)?;
            self.window_start = position;
        }
        let start = at(self.window_start).unwrap_or(0);
        Ok(self.window.get(start..start.saturating_add(length)).unwrap_or_default())
    }
}
