//! One run over a log: first the keys of the new part, then segment by segment what stays.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use super::offset_map::OffsetMap;
use super::source::Source;
use super::transactions::Transactions;
use super::{CompactError, Flow, Io, Pace, Pages, Plan};
use crate::log::error::{LogError, ReadError};
use crate::log::fs::{File, OpenMode};
use crate::log::index::Index;
use crate::log::layout::{CLEANED_SUFFIX, segment_file};
use crate::log::read::LogReader;
use crate::log::segment::{Segment, SegmentFactory};
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchError, BatchHeader, Record, ValidBatch};
use crate::types::Offset;

/// Bytes gathered before they are written.
const WRITE_LEN: usize = 1024 * 1024;
/// Bytes written before they are synced, so that syncs of others do not wait for a whole segment.
const SYNC_LEN: u64 = 32 * 1024 * 1024;
/// Fewer bytes than this are left in the page cache: a small table is read often, and whole.
const KEPT_LEN: u64 = 4 * 1024 * 1024;
/// Offsets in a segment count from its base in 31 bits.
const RELATIVE_OFFSET_MAX: i64 = i32::MAX as i64;

/// A run that knows the newest offset of each key.
#[derive(Debug)]
pub struct Compaction {
    plan: Plan,
    map: OffsetMap,
    /// The map knows all records before; what lies behind stays as it is.
    end: Offset,
    groups: VecDeque<Vec<Arc<Segment>>>,
    transactions: Transactions,
    factory: SegmentFactory,
}

/// A segment of survivors, on disk under a name of its own.
#[derive(Debug)]
pub struct Cleaned {
    /// Those it was made of, oldest first.
    pub(crate) sources: Vec<Arc<Segment>>,
    /// As it will be once it has its name.
    pub(crate) segment: Arc<Segment>,
    /// The name it has till then.
    pub(crate) path: PathBuf,
    pub(crate) markers_gone: Vec<Offset>,
}

impl Cleaned {
    /// Where the markers stood in the sources that are not in it: nothing is left of their
    /// transactions.
    pub fn markers_gone(&self) -> &[Offset] {
        &self.markers_gone
    }
}

impl LogReader {
    /// Learns the newest offset of each key in the part of `plan`, as far as memory goes.
    ///
    /// # Errors
    /// `Stopped`, `Read`.
    pub fn compact(&self, plan: Plan, pace: &mut Pace<'_>) -> Result<Compaction, CompactError> {
        let segments = self.all_segments();
        let mut run = Compaction {
            map: OffsetMap::new(plan.memory_bytes),
            end: plan.cleanable.from,
            groups: VecDeque::new(),
            transactions: Transactions::new(plan.aborted.clone()),
            factory: SegmentFactory {
                index_interval_bytes: plan.index_interval_bytes,
                ..self.factory().clone()
            },
            plan,
        };
        run.learn(&segments, pace)?;
        let count = segments.partition_point(|segment| segment.base < run.end);
        if let (true, Some(next)) = (run.plan.cleanable.from < run.end, segments.get(count)) {
            let compacted = segments.get(..count).unwrap_or_default();
            run.groups = groups(compacted, run.plan.segment_bytes, next.base);
        }
        Ok(run)
    }
}

impl Compaction {
    /// How far the log is compacted once all of it has been swapped in.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The next segment of survivors that differs from what is there; `None` once there is no more.
    ///
    /// # Errors
    /// `Stopped`, `Read`, `Write`; the unfinished file is removed then.
    pub fn next(&mut self, pace: &mut Pace<'_>) -> Result<Option<Cleaned>, CompactError> {
        while let Some(sources) = self.groups.pop_front() {
            let mut target = Target::create(&self.factory, &sources, self.plan.pages)?;
            let written = self.rewrite(&sources, &mut target, pace);
            if written.is_ok() && target.written == 0 {
                // Empty ones that Kafka left: a swap of nothing could not be finished by a start.
                target.discard(&self.factory);
                continue;
            }
            let differs = written.as_ref().is_ok_and(|changed| *changed || sources.len() > 1);
            if differs {
                return target.finish(sources, &self.factory, self.plan.now).map(Some);
            }
            target.discard(&self.factory);
            written?;
        }
        Ok(None)
    }

    /// Walks the new part until its end or until memory is full.
    fn learn(
        &mut self,
        segments: &[Arc<Segment>],
        pace: &mut Pace<'_>,
    ) -> Result<(), CompactError> {
        let (from, end) = (self.plan.cleanable.from, self.plan.cleanable.end);
        let mut transactions = self.transactions.clone();
        let followed = segments.iter().zip(segments.iter().skip(1).map(|next| next.base));
        let dirty = followed.filter(|(_, next)| from < *next && *next <= end);
        for (segment, next) in dirty {
            let mut source = Source::new(segment).map_err(ReadError::from)?;
            while let Some(batch) = source.next(pace)? {
                let header = *batch.header();
                if header.last_offset() < from {
                    continue;
                }
                let is_void = transactions.is_void(&batch).map_err(unreadable(&header))?;
                let counts = !is_void && !header.attributes.is_control();
                if counts && !self.take(&batch).map_err(unreadable(&header))? {
                    return Ok(());
                }
                self.end = header.next_offset();
            }
            source.check_next(next)?;
            self.end = self.end.max(next);
        }
        Ok(())
    }

    /// Puts all records of a batch into the map; false, and none of them, if they may not fit.
    fn take(&mut self, batch: &ValidBatch) -> Result<bool, BatchError> {
        let from = self.plan.cleanable.from;
        let records = batch.records(DECOMPRESSED_LIMIT)?;
        let mut cost = 0_usize;
        for record in &records {
            cost = cost.saturating_add(record?.key.map_or(0, OffsetMap::cost));
        }
        if !self.map.has_room(cost) {
            return Ok(false);
        }
        for record in &records {
            let record = record?;
            if let Some(key) = record.key.filter(|_| from <= record.offset) {
                self.map.put(key, record.offset);
            }
        }
        Ok(true)
    }

    /// Writes what stays of `sources`; whether anything of them does not.
    fn rewrite(
        &mut self,
        sources: &[Arc<Segment>],
        target: &mut Target,
        pace: &mut Pace<'_>,
    ) -> Result<bool, CompactError> {
        let mut changed = false;
        for (index, segment) in sources.iter().enumerate() {
            let is_last_segment = index + 1 == sources.len();
            let mut source = Source::new(segment).map_err(ReadError::from)?;
            while let Some(batch) = source.next(pace)? {
                let header = *batch.header();
                let ends = is_last_segment && source.is_at_end();
                let frame = if ends { Frame::Keep } else { self.frame(&header) };
                let stays = self.stays(&batch, frame).map_err(unreadable(&header))?;
                changed |= !matches!(stays, Stays::Whole);
                if header.attributes.is_control() && stays.has_no_records() {
                    target.markers_gone.push(header.base_offset);
                }
                match stays {
                    Stays::Whole => target.push(&batch, pace)?,
                    Stays::Changed(thin) => target.push(&thin, pace)?,
                    Stays::Gone => {}
                }
            }
            if let Some(next) = sources.get(index + 1) {
                source.check_next(next.base)?;
            }
        }
        target.flush(pace)?;
        Ok(changed)
    }

    /// Whether a batch of that header must not vanish, though its records may: it holds the last
    /// sequence of a producer, or the marker that told its epoch.
    fn frame(&self, header: &BatchHeader) -> Frame {
        let tail = self.plan.producers.get(&header.producer_id);
        let is_tail = tail.is_some_and(|tail| tail.from <= header.last_offset());
        if is_tail { Frame::Keep } else { Frame::Drop }
    }

    /// What stays of one batch.
    fn stays(&mut self, batch: &ValidBatch, frame: Frame) -> Result<Stays, BatchError> {
        let header = batch.header();
        let is_void = self.transactions.is_void(batch)?;
        if header.base_offset >= self.end {
            return Ok(Stays::Whole);
        }
        let is_control = header.attributes.is_control();
        if is_void && (!is_control || self.is_over(header)) {
            return Ok(emptied(batch, frame));
        }
        if is_control && !is_void {
            return Ok(Stays::Whole);
        }
        let records = batch.records(DECOMPRESSED_LIMIT)?;
        let mut kept = Vec::new();
        for record in &records {
            let record = record?;
            if is_control || self.keeps(header, &record) {
                kept.push(record);
            }
        }
        if kept.is_empty() {
            return Ok(emptied(batch, frame));
        }
        let may_go = is_control || kept.iter().any(|record| record.value.is_none());
        let horizon = (may_go && header.delete_horizon().is_none())
            .then(|| self.plan.now.plus_ms(self.plan.delete_retention_ms));
        let is_whole = i32::try_from(kept.len()) == Ok(header.record_count);
        if is_whole && horizon.is_none() {
            return Ok(Stays::Whole);
        }
        Ok(Stays::Changed(batch.with_records(&kept, horizon)?))
    }

    /// Whether a record stays.
    fn keeps(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        if record.offset >= self.end {
            return true;
        }
        let Some(key) = record.key else { return false };
        self.map.is_newest(key, record.offset) && (record.value.is_some() || !self.is_over(header))
    }

    /// Whether the time of the batch's tombstones, or of its marker, is over.
    fn is_over(&self, header: &BatchHeader) -> bool {
        header.delete_horizon().is_some_and(|horizon| horizon <= self.plan.now)
    }
}

/// Whether a batch without records leaves its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Keep,
    Drop,
}

/// What stays of a batch.
enum Stays {
    Whole,
    Changed(ValidBatch),
    Gone,
}

impl Stays {
    fn has_no_records(&self) -> bool {
        match self {
            Self::Whole => false,
            Self::Changed(thin) => thin.header().record_count == 0,
            Self::Gone => true,
        }
    }
}

fn emptied(batch: &ValidBatch, frame: Frame) -> Stays {
    match frame {
        Frame::Keep if batch.header().record_count == 0 => Stays::Whole,
        Frame::Keep => Stays::Changed(batch.without_records()),
        Frame::Drop => Stays::Gone,
    }
}

fn unreadable(header: &BatchHeader) -> impl Fn(BatchError) -> CompactError + use<> {
    let offset = header.base_offset;
    move |source| CompactError::Read(ReadError::Unreadable { offset, source })
}

/// Neighbours that together are no larger than a segment may be; a larger one stands alone. `end` is
/// where the segment behind them begins.
fn groups(
    segments: &[Arc<Segment>],
    segment_bytes: u64,
    end: Offset,
) -> VecDeque<Vec<Arc<Segment>>> {
    let mut groups: VecDeque<Vec<Arc<Segment>>> = VecDeque::new();
    let mut size_bytes = 0_u64;
    for (index, segment) in segments.iter().enumerate() {
        let next = segments.get(index + 1).map_or(end, |next| next.base);
        let with = size_bytes.saturating_add(segment.size_bytes());
        match groups.back_mut() {
            Some(group)
                if with <= segment_bytes
                    && group.first().is_some_and(|first| {
                        next.0.saturating_sub(first.base.0) <= RELATIVE_OFFSET_MAX
                    }) =>
            {
                group.push(Arc::clone(segment));
                size_bytes = with;
            }
            _ => {
                groups.push_back(vec![Arc::clone(segment)]);
                size_bytes = segment.size_bytes();
            }
        }
    }
    groups
}

/// A `.cleaned` file as it grows.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    file: Arc<dyn File>,
    base: Offset,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    index: Index,
    index_interval_bytes: u32,
    pages: Pages,
    markers_gone: Vec<Offset>,
}

impl Target {
    fn create(
        factory: &SegmentFactory,
        sources: &[Arc<Segment>],
        pages: Pages,
    ) -> Result<Self, CompactError> {
        let base = sources.first().map_or(Offset(0), |first| first.base);
        let mut last_append = crate::types::Timestamp(i64::MIN);
        for source in sources {
            // Loaded while the file still has its name: readers may go on with it behind the swap.
            let appended = source.index(|index| index.last_append).map_err(ReadError::from)?;
            last_append = last_append.max(appended);
        }
        let path = factory.dir.join(format!("{}{CLEANED_SUFFIX}", segment_file(base)));
        let fail = |error| LogError::io("create", &path)(error);
        if factory.fs.exists(&path) {
            factory.fs.remove_file(&path).map_err(fail)?;
        }
        let file = factory.fs.open(&path, OpenMode::CreateNew).map_err(fail)?;
        Ok(Self {
            file,
            base,
            buffer: Vec::new(),
            written: 0,
            synced: 0,
            index: Index::new(base, last_append),
            pages,
            index_interval_bytes: factory.index_interval_bytes,
            markers_gone: Vec::new(),
            path,
        })
    }

    fn push(&mut self, batch: &ValidBatch, pace: &mut Pace<'_>) -> Result<(), CompactError> {
        self.index.push(batch.header(), self.index_interval_bytes);
        batch.slices().iter().for_each(|slice| self.buffer.extend_from_slice(slice));
        if self.buffer.len() >= WRITE_LEN { self.flush(pace) } else { Ok(()) }
    }

    fn flush(&mut self, pace: &mut Pace<'_>) -> Result<(), CompactError> {
        self.file
            .write_vectored_at(&[IoSlice::new(&self.buffer)], self.written)
            .map_err(LogError::io("write", &self.path))?;
        let count = self.buffer.len() as u64;
        self.buffer.clear();
        self.written += count;
        if self.written - self.synced >= SYNC_LEN {
            self.file.sync_data().map_err(LogError::io("sync", &self.path))?;
            self.drop_pages();
            self.synced = self.written;
        }
        match pace(Io::Written, count) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(CompactError::Stopped),
        }
    }

    /// Lets what was just synced leave the page cache.
    fn drop_pages(&self) {
        if self.pages == Pages::Dropped && self.written >= KEPT_LEN {
            self.file.uncache(self.synced, self.written.saturating_sub(self.synced));
        }
    }

    /// Makes it durable. A sync that failed is not tried again: the file goes.
    fn finish(
        self,
        sources: Vec<Arc<Segment>>,
        factory: &SegmentFactory,
        now: crate::types::Timestamp,
    ) -> Result<Cleaned, CompactError> {
        if let Err(error) = self.file.sync_data() {
            let error = LogError::io("sync", &self.path)(error);
            self.discard(factory);
            return Err(error.into());
        }
        self.drop_pages();
        let segment = factory.cleaned(self.base, self.file, self.index, now);
        let is_kafkas = sources.iter().any(|source| source.is_kafkas);
        let segment = if is_kafkas { segment.of_kafka() } else { segment };
        let Self { path, markers_gone, .. } = self;
        Ok(Cleaned { sources, segment: Arc::new(segment), path, markers_gone })
    }

    /// Removes it. If that fails the next run, or the next start, removes it.
    fn discard(self, factory: &SegmentFactory) {
        drop(factory.fs.remove_file(&self.path));
    }
}
