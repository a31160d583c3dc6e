//! Takes out of a log's folder what opening it refuses, the way its owner chose. Nothing is destroyed:
//! what is taken out is kept beside.
//!
//! A [`Plan`] is made first and changes nothing: it says what would be lost. [`Plan::carry_out`] then
//! copies every byte that goes and syncs the copies before it changes the first file; a crash on the
//! way leaves a log that is still refused, or one that is done. Only the log's files and the start
//! offset count; everything derived is removed and made anew by the next start.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::fs::{Fs, OpenMode, TMP_SUFFIX};
use super::inspect::{Found, Hole, Inspection, SegmentFile, WrongEpoch, may_have_gaps, walk_file};
use super::layout::{
    COMPACTED, EPOCHS, PARTITION_METADATA, START_OFFSET, SWAP_SUFFIX, parse_kafka_time_index_file,
    parse_segment_file, segment_file,
};
use super::start_offset;
use crate::codec::crc32c;
use crate::records::BatchHeader;
use crate::records::header::{Attributes, LENGTH_MIN};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Copied at once.
const CHUNK_LEN: usize = 1024 * 1024;
/// Where a batch's leader epoch lies in it, and how many bytes it has.
const EPOCH_AT: u64 = 12;
const EPOCH_LEN: u64 = 4;
/// Where the bytes begin that a batch's CRC covers.
const CRC_OFFSET_END: usize = 21;

/// How a log is repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Everything from the batch with this offset on goes.
    CutAt(Offset),
    /// Just what is no batch goes; its offsets stay empty. Batches of a wrong leader epoch get the
    /// right one.
    SkipDamage,
    /// The segments with these base offsets go whole; their offsets stay empty, but those at the
    /// log's start and end.
    DropSegments(Vec<Offset>),
}

/// Something that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Out of which file.
    pub file: PathBuf,
    /// From which byte on.
    pub position: u64,
    /// How many bytes.
    pub length: u64,
    /// The first offset that goes.
    pub from: Offset,
    /// The offset behind the last that goes; `None` where nobody can tell.
    pub to: Option<Offset>,
    /// Records among it that could still be read.
    pub readable: u64,
}

/// What a repair does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What goes, in order.
    pub lost: Vec<Lost>,
    /// The log start offset afterwards.
    pub start: Offset,
    /// The log end offset afterwards.
    pub end: Offset,
    /// Damage that stays, so that the log is still refused.
    pub left: usize,
    /// Whether offsets may be missing in the log as it is.
    has_gaps: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The whole file goes.
    Remove(PathBuf),
    /// It ends here.
    Cut(PathBuf, u64),
    /// It is put together anew, or made.
    Rewrite(PathBuf, Vec<Piece>),
}

/// Something in a segment that is put right.
#[derive(Clone, Copy)]
enum Mend<'a> {
    Hole(&'a Hole),
    Epoch(&'a WrongEpoch),
}

impl Mend<'_> {
    /// Where the first byte lies that is not kept.
    fn position(&self) -> u64 {
        match self {
            Self::Hole(hole) => hole.damage.position,
            Self::Epoch(wrong) => wrong.position.saturating_add(EPOCH_AT),
        }
    }
}

/// What a segment is put together from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Bytes of it as they are: a position and a length.
    Kept(u64, u64),
    /// Others: a batch without records, in the place of offsets that are gone, or a leader epoch.
    New(Bytes),
}

/// Why nothing can be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is damage in front of the cut.
    #[error("offset {asked} lies behind the damage at offset {first}: cut there or before")]
    BehindDamage {
        /// The offset to cut at.
        asked: Offset,
        /// Where the first damage is.
        first: Offset,
    },
    /// A start has to come first.
    #[error("a compaction was cut short: start ottla once, which finishes it, and try again")]
    Compacting,
    /// Nothing is there to cut.
    #[error("offset {asked} is not in the log, which has {start} to {end}")]
    OutOfRange {
        /// The offset to cut at.
        asked: Offset,
        /// The log start offset.
        start: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// No such segment.
    #[error("there is no segment that begins at offset {0}")]
    NoSegment(Offset),
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl Plan {
    /// What `choice` would do to a log that was inspected.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(
        fs: &dyn Fs,
        dir: &Path,
        log: &Inspection,
        choice: &Choice,
    ) -> Result<Self, PlanError> {
        if log.is_compacting {
            return Err(PlanError::Compacting);
        }
        let mut plan = Self { start: log.start, end: log.end, ..Self::default() };
        plan.has_gaps = may_have_gaps(fs, dir);
        match choice {
            Choice::CutAt(offset) => plan.cut_at(fs, log, *offset)?,
            Choice::SkipDamage => plan.skip_damage(dir, log),
            Choice::DropSegments(bases) => plan.drop_segments(fs, log, bases)?,
        }
        Ok(plan)
    }

    fn cut_at(&mut self, fs: &dyn Fs, log: &Inspection, asked: Offset) -> Result<(), PlanError> {
        let mut holes = log.holes.iter().chain(&log.torn);
        if let Some(first) = holes.next().map(|hole| hole.damage.offset)
            && first < asked
        {
            return Err(PlanError::BehindDamage { asked, first });
        }
        let behind = log.segments.partition_point(|segment| segment.base <= asked);
        let number = behind.saturating_sub(1);
        let Some(segment) = log.segments.get(number).filter(|segment| segment.base <= asked) else {
            return Err(PlanError::OutOfRange { asked, start: log.start, end: log.end });
        };
        let (position, end) = position_of(fs, segment, asked, self.has_gaps)?;
        let is_at_end = position >= segment.size_bytes && behind >= log.segments.len();
        if is_at_end && log.damage().next().is_none() && log.torn.is_none() {
            return Err(PlanError::OutOfRange { asked, start: log.start, end: log.end });
        }
        for segment in log.segments.iter().skip(behind).rev() {
            self.lost.insert(0, whole(fs, log, segment, self.has_gaps)?);
            self.steps.push(Step::Remove(segment.path.clone()));
        }
        if position < segment.size_bytes {
            let readable = readable(fs, segment, end, self.has_gaps)?;
            let (from, to) = (end, end_of(log, segment));
            let (file, length) = (segment.path.clone(), segment.size_bytes - position);
            self.lost.insert(0, Lost { file, position, length, from, to, readable });
        }
        // Also where no byte goes: what was said of the log's end is taken back.
        self.steps.push(Step::Cut(segment.path.clone(), position));
        self.end = end;
        self.start = self.start.min(end);
        Ok(())
    }

    fn skip_damage(&mut self, dir: &Path, log: &Inspection) {
        let mut files: BTreeMap<PathBuf, Vec<Mend<'_>>> = BTreeMap::new();
        for hole in log.holes.iter().chain(&log.torn) {
            let Hole { damage, length, next, .. } = hole;
            let (file, position, from) = (damage.file.clone(), damage.position, damage.offset);
            self.lost.push(Lost { file, position, length: *length, from, to: *next, readable: 0 });
            let is_missing = *length == 0;
            let file = match is_missing {
                true => dir.join(segment_file(damage.offset)),
                false => damage.file.clone(),
            };
            files.entry(file).or_default().push(Mend::Hole(hole));
        }
        for wrong in &log.wrong_epochs {
            files.entry(wrong.file.clone()).or_default().push(Mend::Epoch(wrong));
        }
        for (path, mut mends) in files {
            mends.sort_by_key(Mend::position);
            let known = log.segments.iter().find(|segment| segment.path == path);
            let size_bytes = known.map_or(0, |segment| segment.size_bytes);
            // All of it repeats what the segment before has.
            let is_overlap = |mend: &Mend<'_>| {
                let Mend::Hole(Hole { damage, length, .. }) = mend else { return false };
                let is_whole = damage.position == 0 && *length == size_bytes;
                is_whole && known.is_some_and(|segment| segment.base < damage.offset)
            };
            if known.is_some() && mends.iter().any(is_overlap) {
                self.steps.push(Step::Remove(path));
                continue;
            }
            let mut pieces = Vec::new();
            let mut position = 0;
            for mend in mends {
                let at = if known.is_some() { mend.position() } else { 0 };
                pieces.push(Piece::Kept(position, at.saturating_sub(position)));
                position = match mend {
                    Mend::Hole(hole) => {
                        let Hole { damage, next, leader_epoch, length, .. } = hole;
                        pieces.extend(empty_batches(damage.offset, *next, *leader_epoch));
                        at.saturating_add(*length)
                    }
                    Mend::Epoch(wrong) => {
                        let epoch = wrong.epoch.0.to_be_bytes();
                        pieces.push(Piece::New(Bytes::copy_from_slice(&epoch)));
                        at.saturating_add(EPOCH_LEN)
                    }
                };
            }
            pieces.push(Piece::Kept(position, size_bytes.saturating_sub(position)));
            self.steps.push(Step::Rewrite(path, pieces));
        }
    }

    fn drop_segments(
        &mut self,
        fs: &dyn Fs,
        log: &Inspection,
        bases: &[Offset],
    ) -> Result<(), PlanError> {
        let is_dropped = |segment: &SegmentFile| bases.contains(&segment.base);
        for base in bases {
            if !log.segments.iter().any(|segment| segment.base == *base) {
                return Err(PlanError::NoSegment(*base));
            }
        }
        let first_kept = log.segments.iter().position(|segment| !is_dropped(segment));
        let last_kept = log.segments.iter().rposition(|segment| !is_dropped(segment));
        for (number, segment) in log.segments.iter().enumerate().filter(|(_, s)| is_dropped(s)) {
            self.lost.push(whole(fs, log, segment, self.has_gaps)?);
            let is_between = first_kept < Some(number) && Some(number) < last_kept;
            let is_only_one = first_kept.is_none() && number == 0;
            let path = segment.path.clone();
            self.steps.push(if is_between {
                let next = log.segments.get(number + 1).map(|next| next.base);
                Step::Rewrite(path, empty_batches(segment.base, next, log.leader_epoch))
            } else if is_only_one {
                // An empty segment keeps the offset at which the log goes on.
                Step::Cut(path, 0)
            } else {
                Step::Remove(path)
            });
        }
        let base = |number: usize| log.segments.get(number).map(|segment| segment.base);
        match (first_kept, last_kept) {
            (Some(first), Some(last)) => {
                self.start = self.start.max(base(first).unwrap_or(self.start));
                self.end = base(last + 1).unwrap_or(log.end).min(log.end);
            }
            _ => {
                (self.start, self.end) = (base(0).unwrap_or(log.start), base(0).unwrap_or(log.end))
            }
        }
        let is_left = |hole: &&Hole| {
            let in_dropped =
                |segment: &SegmentFile| is_dropped(segment) && segment.path == hole.damage.file;
            !log.segments.iter().any(in_dropped)
        };
        self.left = log.holes.iter().filter(is_left).count();
        Ok(())
    }

    /// Does it. Copies of all that goes are in the folder `keep`, which is made with the one above it,
    /// and on disk before anything is changed.
    ///
    /// # Errors
    /// What the system says. The log is still refused then, and the repair can be tried again.
    pub fn carry_out(&self, fs: &dyn Fs, dir: &Path, keep: &Path) -> io::Result<()> {
        fs.create_dir_all(keep)?;
        for (number, lost) in self.lost.iter().enumerate().filter(|(_, lost)| lost.length > 0) {
            let name = lost.file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let name = format!("{number:03}-{name}-{}-{}", lost.position, lost.length);
            let kept = [Piece::Kept(lost.position, lost.length)];
            put_together(fs, &lost.file, &kept, &keep.join(name))?;
        }
        // Its own name, and that of the folder above, which may be new as well.
        keep.ancestors().take(3).try_for_each(|above| fs.sync_dir(above))?;
        remove_derived(fs, dir)?;
        fs.sync_dir(dir)?;
        start_offset::write(fs, dir, self.start)?;
        for step in &self.steps {
            carry_out(fs, step)?;
        }
        fs.sync_dir(dir)
    }
}

fn carry_out(fs: &dyn Fs, step: &Step) -> io::Result<()> {
    match step {
        Step::Remove(path) => fs.remove_file(path),
        Step::Cut(path, length) => {
            let file = fs.open(path, OpenMode::ReadWrite)?;
            file.truncate(*length)?;
            file.sync_data()
        }
        Step::Rewrite(path, pieces) => {
            let mut tmp = path.clone().into_os_string();
            tmp.push(TMP_SUFFIX);
            let tmp = PathBuf::from(tmp);
            if fs.exists(&tmp) {
                fs.remove_file(&tmp)?;
            }
            put_together(fs, path, pieces, &tmp)?;
            fs.rename(&tmp, path)
        }
    }
}

/// Makes a file of pieces of another one, which is on disk on return; its name is not.
fn put_together(fs: &dyn Fs, from: &Path, pieces: &[Piece], to: &Path) -> io::Result<()> {
    let target = fs.open(to, OpenMode::CreateNew)?;
    let mut written = 0;
    let mut put = |bytes: &[u8]| -> io::Result<()> {
        target.write_vectored_at(&[IoSlice::new(bytes)], written)?;
        written += bytes.len() as u64;
        Ok(())
    };
    for piece in pieces {
        match piece {
            Piece::New(bytes) => put(bytes)?,
            Piece::Kept(_, 0) => {}
            Piece::Kept(position, length) => {
                let source = fs.open(from, OpenMode::Read)?;
                let mut done = 0;
                while done < *length {
                    let left = usize::try_from(length - done).unwrap_or(CHUNK_LEN).min(CHUNK_LEN);
                    let mut chunk = vec![0; left];
                    source.read_exact_at(&mut chunk, position + done)?;
                    put(&chunk)?;
                    done += left as u64;
                }
            }
        }
    }
    target.sync_data()
}

/// Batches without records that stand for the offsets from `from` up to `next`: no reader sees them,
/// and the log goes on without a gap, so that a missing segment is still told from a repaired one.
fn empty_batches(from: Offset, next: Option<Offset>, leader_epoch: LeaderEpoch) -> Vec<Piece> {
    let end = next.unwrap_or(from);
    let mut pieces = Vec::new();
    let mut base_offset = from;
    while base_offset < end {
        let last_delta = end.0.saturating_sub(base_offset.0).saturating_sub(1);
        let last_offset_delta = i32::try_from(last_delta).unwrap_or(i32::MAX - 1);
        let header = BatchHeader {
            base_offset,
            length: LENGTH_MIN,
            leader_epoch,
            crc: 0,
            attributes: Attributes(0),
            last_offset_delta,
            base_timestamp: Timestamp(-1),
            max_timestamp: Timestamp(-1),
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            record_count: 0,
        };
        let covered = header.encode().get(CRC_OFFSET_END..).map_or(0, crc32c::crc32c);
        let header = BatchHeader { crc: covered, ..header };
        pieces.push(Piece::New(Bytes::copy_from_slice(&header.encode())));
        base_offset = header.next_offset();
    }
    pieces
}

/// Removes what the next start makes anew, so that nothing is believed that was said of the log
/// before.
fn remove_derived(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for entry in fs.list(dir)?.into_iter().filter(|entry| !entry.is_dir) {
        let is_kept = [PARTITION_METADATA, START_OFFSET, COMPACTED, EPOCHS]
            .contains(&entry.name.as_str())
            || entry.name.ends_with(".checkpoint")
            || parse_segment_file(&entry.name).is_some()
            || parse_kafka_time_index_file(&entry.name).is_some()
            || entry.name.ends_with(SWAP_SUFFIX);
        if !is_kept {
            fs.remove_file(&dir.join(&entry.name))?;
        }
    }
    Ok(())
}

/// Where the first batch with `asked` or something behind it begins, and its base offset.
fn position_of(
    fs: &dyn Fs,
    segment: &SegmentFile,
    asked: Offset,
    gaps: bool,
) -> Result<(u64, Offset), PlanError> {
    let mut found = None;
    let mut end = segment.base;
    walk(fs, segment, gaps, &mut |step| match step {
        Found::Batch { position, batch } => {
            let header = batch.header();
            if found.is_none() && header.next_offset() > asked {
                found = Some((position, header.base_offset));
            }
            end = header.next_offset();
        }
        Found::Hole(Hole { damage, .. }) => {
            found.get_or_insert((damage.position, damage.offset));
        }
    })?;
    Ok(found.unwrap_or((segment.size_bytes, end)))
}

/// Records in whole batches of a segment from an offset on.
fn readable(
    fs: &dyn Fs,
    segment: &SegmentFile,
    from: Offset,
    gaps: bool,
) -> Result<u64, PlanError> {
    let mut records = 0;
    walk(fs, segment, gaps, &mut |step| {
        if let Found::Batch { batch, .. } = step
            && batch.header().base_offset >= from
        {
            records += u64::try_from(batch.header().record_count).unwrap_or(0);
        }
    })?;
    Ok(records)
}

fn walk(
    fs: &dyn Fs,
    segment: &SegmentFile,
    gaps: bool,
    each: &mut dyn FnMut(Found<'_>),
) -> Result<(), PlanError> {
    let mut expected = segment.base;
    let gaps = gaps || segment.is_kafkas;
    let walked = walk_file(fs, &segment.path, &mut expected, gaps, &mut |found| {
        each(found);
        ControlFlow::Continue(())
    });
    walked.map_err(|source| PlanError::Io { path: segment.path.clone(), source })
}

/// All of a segment.
fn whole(
    fs: &dyn Fs,
    log: &Inspection,
    segment: &SegmentFile,
    gaps: bool,
) -> Result<Lost, PlanError> {
    Ok(Lost {
        file: segment.path.clone(),
        position: 0,
        length: segment.size_bytes,
        from: segment.base,
        to: end_of(log, segment),
        readable: readable(fs, segment, segment.base, gaps)?,
    })
}

/// The offset behind a segment, as far as it can be told.
fn end_of(log: &Inspection, segment: &SegmentFile) -> Option<Offset> {
    let next = log.segments.iter().find(|other| other.base > segment.base);
    let is_open = log
        .holes
        .iter()
        .chain(&log.torn)
        .any(|hole| hole.damage.file == segment.path && hole.next.is_none());
    next.map(|next| next.base).or((!is_open).then_some(log.end))
}
