//! Opens a log folder: trusts a clean stop, and after any other tells a torn tail from damage.
//!
//! 1. A compaction that was cut short is finished or undone. Leftovers of deletions and half-written
//!    files are removed.
//! 2. After a clean stop the last segment must end at the checkpoint; nothing is scanned.
//! 3. Otherwise everything from the segment with the durable mark on is walked: headers before the
//!    mark, whole batches with their CRC behind it. What is behind it is read from the disk: after a sync
//!    that failed the page cache still shows what is lost, and the next sync would vouch for it.
//! 4. Bytes that are no batch, at or behind the mark, with no whole batch anywhere behind them, are
//!    what a crash left of an unfinished write: they are cut off and counted. Anything else that
//!    does not fit is damage: an error, and not a byte is changed.

use std::collections::HashSet;
use std::sync::Arc;

use super::compact::swap;
use super::config::Checkpoint;
use super::epochs::{self, EpochCache};
use super::error::{Damage, LogError, SegmentError};
use super::fs::TMP_SUFFIX;
use super::index::Index;
use super::layout::{
    CLEANED_SUFFIX, DELETED_SUFFIX, EPOCHS, parse_index_file, parse_kafka_index_file,
    parse_kafka_time_index_file, parse_segment_file,
};
use super::scan::ScanError;
use super::search::{Search, find_batch};
use super::segment::{Segment, SegmentFactory};
use super::start_offset;
use crate::records::BatchHeader;
use crate::types::{Offset, Timestamp};

/// What opening a log found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of unfinished writes that were cut off.
    pub truncated_bytes: u64,
    /// The log end offset after such a cut.
    pub truncated_from: Option<Offset>,
    /// Bytes that were walked to find the end.
    pub scanned_bytes: u64,
}

/// A folder made ready to write.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) epochs: EpochCache,
    pub(crate) recovery: Recovery,
    /// The file of epochs does not say what `epochs` does.
    pub(crate) epochs_changed: bool,
}

pub(crate) fn load(
    factory: &SegmentFactory,
    checkpoint: Checkpoint,
    now: Timestamp,
) -> Result<Loaded, LogError> {
    if !factory.fs.exists(&factory.dir) {
        factory.fs.create_dir_all(&factory.dir).map_err(LogError::io("create", &factory.dir))?;
    }
    swap::recover(factory)?;
    let mut segments = list_segments(factory, now)?;
    let start = start(factory, &segments, checkpoint)?;
    let mut scan = Scan { checkpoint, start, ..Scan::new(factory) };
    let mut end =
        if checkpoint.clean { scan.trust(&segments)? } else { scan.recover(&mut segments)? };
    if end < start {
        // What lay before the start offset is all there was: nothing of it may come back.
        for segment in segments.drain(..) {
            remove_segment(factory, &segment)?;
        }
        end = start;
    }
    let stored = scan.stored_epochs();
    let mut epochs = scan.epochs(&segments, stored.as_ref())?;
    epochs.cut_end(end);
    epochs.cut_start(start);
    let epochs_changed = stored.is_none_or(|stored| stored != epochs);
    Ok(Loaded { segments, start, end, epochs, epochs_changed, recovery: scan.recovery })
}

fn list_segments(factory: &SegmentFactory, now: Timestamp) -> Result<Vec<Arc<Segment>>, LogError> {
    let entries = factory.fs.list(&factory.dir).map_err(LogError::io("list", &factory.dir))?;
    let kafkas: HashSet<Offset> =
        entries.iter().filter_map(|entry| parse_kafka_time_index_file(&entry.name)).collect();
    let mut segments = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let path = factory.dir.join(&entry.name);
        if let Some(base) = parse_segment_file(&entry.name) {
            let size_bytes = factory.fs.file_len(&path).map_err(LogError::io("stat", &path))?;
            let segment = factory.existing(base, size_bytes, now);
            let is_kafkas = kafkas.contains(&base);
            segments.push(Arc::new(if is_kafkas { segment.of_kafka() } else { segment }));
        } else if [DELETED_SUFFIX, TMP_SUFFIX, CLEANED_SUFFIX]
            .iter()
            .any(|end| entry.name.ends_with(end))
        {
            factory.fs.remove_file(&path).map_err(LogError::io("remove", &path))?;
        }
    }
    segments.sort_by_key(|segment| segment.base);
    for entry in &entries {
        // As Kafka does at a start.
        let orphan = parse_index_file(&entry.name)
            .or_else(|| parse_kafka_index_file(&entry.name))
            .is_some_and(|base| segments.binary_search_by_key(&base, |s| s.base).is_err());
        if orphan {
            let path = factory.dir.join(&entry.name);
            factory.fs.remove_file(&path).map_err(LogError::io("remove", &path))?;
        }
    }
    Ok(segments)
}

/// The log start offset, by all who know of it.
fn start(
    factory: &SegmentFactory,
    segments: &[Arc<Segment>],
    checkpoint: Checkpoint,
) -> Result<Offset, LogError> {
    let written = start_offset::read(&*factory.fs, &factory.dir)?;
    let known = written.unwrap_or_default().max(checkpoint.log_start);
    let Some(first) = segments.first() else { return Ok(known) };
    // Ours does not move without being written down; Kafka's begins where its first segment does.
    if (written.is_some() || !first.is_kafkas) && known < first.base {
        let reason = format!("segments from offset {known} on are missing");
        return Err(Damage { file: first.path.clone(), position: 0, offset: known, reason }.into());
    }
    Ok(known.max(first.base))
}

fn remove_segment(factory: &SegmentFactory, segment: &Segment) -> Result<(), LogError> {
    segment.remove_index().map_err(LogError::io("remove the index of", &segment.path))?;
    factory.fs.remove_file(&segment.path).map_err(LogError::io("remove", &segment.path))
}

struct Scan<'a> {
    factory: &'a SegmentFactory,
    checkpoint: Checkpoint,
    start: Offset,
    recovery: Recovery,
    /// Epochs of the batches walked, and where the walk began.
    walked: EpochCache,
    walked_from: Offset,
}

/// Where a walk met something that is no batch.
struct Stop {
    segment: usize,
    position: u64,
    expected: Offset,
    reason: String,
}

impl<'a> Scan<'a> {
    fn new(factory: &'a SegmentFactory) -> Self {
        Self {
            factory,
            checkpoint: Checkpoint::default(),
            start: Offset(0),
            recovery: Recovery::default(),
            walked: EpochCache::default(),
            walked_from: Offset(i64::MAX),
        }
    }

    /// The end after a clean stop.
    fn trust(&mut self, segments: &[Arc<Segment>]) -> Result<Offset, LogError> {
        let end = match segments.last() {
            Some(last) => last.index(|index| index.next)?,
            None => self.start,
        };
        let stopped_at = self.checkpoint.durable_up_to;
        if end.max(self.start) == stopped_at.max(self.start) {
            return Ok(end);
        }
        Err(self.damage(segments, end, format!("ends here, but was stopped at {stopped_at}")))
    }

    /// The end after a crash.
    fn recover(&mut self, segments: &mut Vec<Arc<Segment>>) -> Result<Offset, LogError> {
        let durable = self.checkpoint.durable_up_to;
        let behind = segments.partition_point(|segment| segment.base <= durable);
        let first = behind.saturating_sub(1);
        let mut expected = segments.get(first).map_or(self.start, |segment| segment.base);
        self.walked_from = expected;
        let mut stop = None;
        for (number, segment) in segments.iter().enumerate().skip(first) {
            let before = number.checked_sub(1).and_then(|before| segments.get(before));
            let is_gap_kafkas = expected < segment.base && before.is_some_and(|it| it.is_kafkas);
            expected = if is_gap_kafkas { segment.base } else { expected };
            let stopped = self.walk(segment, &mut expected)?;
            if let Some((position, reason)) = stopped {
                stop = Some(Stop { segment: number, position, expected, reason });
                break;
            }
        }
        if let Some(stop) = stop {
            self.cut(segments, &stop)?;
        }
        if expected < durable && self.start < durable {
            let reason = format!("ends here, but was durable up to {durable}");
            return Err(self.damage(segments, expected, reason));
        }
        Ok(expected)
    }

    /// Walks one segment; moves `expected` behind its last good batch, says where and why it
    /// stopped before the end.
    fn walk(
        &mut self,
        segment: &Segment,
        expected: &mut Offset,
    ) -> Result<Option<(u64, String)>, LogError> {
        // Our compaction leaves gaps within segments, never between them.
        if segment.base != *expected {
            return Ok(Some((0, format!("does not begin at {expected}"))));
        }
        let mut index = Index::new(segment.base, segment.seen());
        let file = segment.file()?;
        let mut walk = segment.walk(&*file, 0);
        let mut stopped = None;
        let mut is_uncached = false;
        loop {
            let (position, header) = match walk.next() {
                Ok(None) => break,
                Ok(Some(found)) => found,
                Err(ScanError::Bad { position, reason }) => {
                    stopped = Some((position, reason));
                    break;
                }
                Err(error @ ScanError::Io(_)) => {
                    return Err(segment.scan_error(error, index.next).into());
                }
            };
            if !is_uncached && self.checkpoint.durable_up_to < header.next_offset() {
                segment.uncache_from(&*file, position);
                is_uncached = true;
            }
            if let Err(reason) = self.check(segment, position, &header, index.next) {
                stopped = Some((position, reason?));
                break;
            }
            self.walked.note_stored(header.leader_epoch, header.base_offset);
            index.push(&header, self.factory.index_interval_bytes);
        }
        self.recovery.scanned_bytes = self.recovery.scanned_bytes.saturating_add(index.size_bytes);
        *expected = index.next;
        if stopped.is_none() {
            segment.set_index(index);
        }
        Ok(stopped)
    }

    /// Whether a batch is good; the inner error is one of reading.
    fn check(
        &self,
        segment: &Segment,
        position: u64,
        header: &BatchHeader,
        expected: Offset,
    ) -> Result<(), Result<String, LogError>> {
        segment.check_follows(header, expected).map_err(Ok)?;
        if header.next_offset() <= self.checkpoint.durable_up_to {
            return Ok(());
        }
        match segment.batch(position, header) {
            Ok(_) => Ok(()),
            Err(SegmentError::Damaged(damage)) => Err(Ok(damage.reason)),
            Err(error) => Err(Err(error.into())),
        }
    }

    /// Cuts a torn tail off; damage is an error.
    fn cut(&mut self, segments: &mut Vec<Arc<Segment>>, stop: &Stop) -> Result<(), LogError> {
        let Some(torn) = segments.get(stop.segment).cloned() else { return Ok(()) };
        let damage = |reason| LogError::from(torn.damage(stop.position, stop.expected, reason));
        if stop.expected < self.checkpoint.durable_up_to
            && self.start < self.checkpoint.durable_up_to
        {
            return Err(damage(format!("{}; it was durable", stop.reason)));
        }
        for (number, segment) in segments.iter().enumerate().skip(stop.segment) {
            let from = if number == stop.segment { stop.position } else { 0 };
            if holds_batch(segment, from, stop.expected)? {
                return Err(damage(format!("{}; but whole batches follow", stop.reason)));
            }
        }
        let bytes: u64 = segments.iter().skip(stop.segment).map(|s| s.size_bytes()).sum();
        self.recovery.truncated_bytes = bytes - stop.position;
        self.recovery.truncated_from = Some(stop.expected);
        let kept = stop.segment + usize::from(stop.position > 0 || stop.segment == 0);
        for segment in segments.drain(kept..) {
            remove_segment(self.factory, &segment)?;
        }
        if kept > stop.segment {
            self.truncate(&torn, stop.position)?;
        }
        let dir = &self.factory.dir;
        self.factory.fs.sync_dir(dir).map_err(LogError::io("sync", dir))
    }

    fn truncate(&self, segment: &Segment, len: u64) -> Result<(), LogError> {
        let path = &segment.path;
        let file = segment.file()?;
        segment.remove_index().map_err(LogError::io("remove the index of", path))?;
        file.truncate(len).map_err(LogError::io("truncate", path))?;
        file.sync_data().map_err(LogError::io("sync", path))?;
        segment.shorten(len)?;
        Ok(())
    }

    /// The file of epochs; `None` if it cannot be read: it is derived.
    fn stored_epochs(&self) -> Option<EpochCache> {
        let path = self.factory.dir.join(EPOCHS);
        let bytes = self.factory.fs.read(&path, epochs::FILE_LEN_MAX).ok()?;
        EpochCache::decode(&bytes)
    }

    /// Where epochs begin: by the file as far as nothing was walked, else by the headers.
    fn epochs(
        &self,
        segments: &[Arc<Segment>],
        stored: Option<&EpochCache>,
    ) -> Result<EpochCache, LogError> {
        let mut epochs = match stored {
            Some(stored) => stored.clone(),
            None => epochs_of(segments, self.walked_from)?,
        };
        epochs.cut_end(self.walked_from);
        for (epoch, base) in self.walked.entries() {
            epochs.note(*epoch, *base);
        }
        Ok(epochs)
    }

    fn damage(&self, segments: &[Arc<Segment>], offset: Offset, reason: String) -> LogError {
        let (file, position) = match segments.last() {
            Some(last) => (last.path.clone(), last.size_bytes()),
            None => (self.factory.dir.clone(), 0),
        };
        Damage { file, position, offset, reason }.into()
    }
}

/// Epochs by the headers of all segments before `end`.
fn epochs_of(segments: &[Arc<Segment>], end: Offset) -> Result<EpochCache, LogError> {
    let mut epochs = EpochCache::default();
    for segment in segments.iter().take_while(|segment| segment.base < end) {
        let file = segment.file()?;
        let mut walk = segment.walk(&*file, 0);
        while let Some((_, header)) =
            walk.next().map_err(|error| segment.scan_error(error, segment.base))?
        {
            epochs.note_stored(header.leader_epoch, header.base_offset);
        }
    }
    Ok(epochs)
}

/// Whether a whole batch at or behind `expected` begins anywhere from byte `from` on. Where that
/// cannot be told nothing may be cut.
fn holds_batch(segment: &Segment, from: u64, expected: Offset) -> Result<bool, LogError> {
    let file = segment.file()?;
    let found = find_batch(&*file, from, segment.size_bytes(), expected);
    match found.map_err(|error| segment.io(error))? {
        Search::Found { .. } | Search::Unclear => Ok(true),
        Search::Nothing => Ok(false),
    }
}
