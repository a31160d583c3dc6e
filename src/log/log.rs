//! The writer of one partition's log.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;

use super::compact::swap;
use super::config::{Checkpoint, LogConfig};
use super::epochs::EpochCache;
use super::error::LogError;
use super::fs::{Fs, is_no_room, is_out_of_files};
use super::layout::COMPACTED;
use super::read::LogReader;
use super::recovery::{self, Recovery};
use super::retention::DeletedFile;
use super::segment::{Segment, SegmentFactory};
use super::sidecar::Sidecar;
use super::start_offset;
use super::sync::Unsynced;
use crate::codec::crc32c;
use crate::records::{BatchHeader, ValidBatch};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// Offsets in a segment count from its base in 31 bits, as Kafka's indexes do.
const RELATIVE_OFFSET_MAX: i64 = i32::MAX as i64;

/// The single writer. Whoever owns it calls from one thread at a time; none of its calls waits for
/// a reader. See the module for what it keeps true.
#[derive(Debug)]
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) factory: SegmentFactory,
    pub(super) config: LogConfig,
    tail: Option<Tail>,
    /// Everything before is on disk.
    synced_end: Offset,
    /// Changes of names in the folder, and how many of them are durable.
    pub(super) names: u64,
    names_synced: u64,
    /// The folder with this folder's name, until that is durable.
    parent: Option<PathBuf>,
    pub(super) epochs_changed: bool,
    /// Oldest first.
    pub(super) deleted: Vec<DeletedFile>,
}

/// What writer and readers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Oldest first.
    pub(super) segments: ArcSwap<Vec<Arc<Segment>>>,
    pub(super) start: AtomicI64,
    pub(super) end: AtomicI64,
    pub(super) epochs: RwLock<EpochCache>,
    pub(super) poisoned: AtomicBool,
    /// Everything before has been compacted once.
    pub(super) compacted: AtomicI64,
    /// As it was when the log was opened.
    pub(super) factory: SegmentFactory,
}

/// The active segment, as the writer knows it without asking the index.
#[derive(Clone, Debug)]
struct Tail {
    segment: Arc<Segment>,
    size_bytes: u64,
    first_timestamp: Option<Timestamp>,
    created: Timestamp,
}

/// Batches that are in a segment's file, and that segment behind them.
type Written<'a> = (Tail, &'a [ValidBatch]);

/// What an append did beside appending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Base offset of the newest segment, if the append began one.
    pub rolled_to: Option<Offset>,
}

impl Log {
    /// Opens the log in `dir`, which is made if it is missing, and recovers it as far as
    /// `checkpoint` does not vouch for it.
    ///
    /// # Errors
    /// `Damaged` if anything but a torn tail is wrong: then nothing has been changed. `Io`.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        config: LogConfig,
        checkpoint: Checkpoint,
        now: Timestamp,
    ) -> Result<(Self, Recovery), LogError> {
        let interval = config.index_interval_bytes;
        let gaps = Arc::new((config.compact || fs.exists(&dir.join(COMPACTED))).into());
        let compacted = swap::read_mark(&*fs, &dir).0.into();
        let factory = SegmentFactory { fs, dir, index_interval_bytes: interval, gaps };
        let loaded = recovery::load(&factory, checkpoint, now)?;
        // Also of a folder that was there: whether its name is durable, only a clean stop tells.
        let parent = factory.dir.parent().filter(|_| !checkpoint.clean).map(Path::to_owned);
        let durable = if checkpoint.clean { loaded.end } else { checkpoint.durable_up_to };
        let mut log = Self {
            tail: None,
            factory: factory.clone(),
            config,
            synced_end: durable.min(loaded.end),
            names: u64::from(!checkpoint.clean),
            names_synced: 0,
            parent,
            epochs_changed: loaded.epochs_changed,
            deleted: Vec::new(),
            shared: Arc::new(Shared {
                segments: ArcSwap::from_pointee(loaded.segments),
                start: AtomicI64::new(loaded.start.0),
                end: AtomicI64::new(loaded.end.0),
                epochs: RwLock::new(loaded.epochs),
                poisoned: AtomicBool::new(false),
                compacted,
                factory,
            }),
        };
        log.open_tail()?;
        log.let_old_files_close(&log.shared.segments.load());
        Ok((log, loaded.recovery))
    }

    /// Appends batches that have been assigned the offsets from the log end on, with one write, or
    /// one a segment; a batch that is larger than a segment gets one of its own. They are visible to
    /// readers when it returns, and durable after a sync.
    ///
    /// # Errors
    /// `NotConsecutive` before anything is written. `NoRoom` once everything that was written has
    /// been taken back; `NoFile` likewise. `Poisoned`, and `Io`, which poisons: no reader will see any of the batches
    /// before the log is opened anew; then they may be there.
    pub fn append(&mut self, batches: &[ValidBatch], now: Timestamp) -> Result<Appended, LogError> {
        self.check_alive()?;
        self.check_batches(batches)?;
        let before = self.tail.clone();
        let mut begun = Vec::new();
        match self.write(batches, now, &mut begun) {
            Ok((tails, rolled_to)) => {
                self.publish(&tails, now);
                Ok(Appended { rolled_to })
            }
            Err(error) => Err(self.take_back(before, &begun, error)),
        }
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> Offset {
        self.shared.start()
    }

    /// The offset the next record gets.
    pub fn end_offset(&self) -> Offset {
        self.shared.end()
    }

    /// Everything before is on disk as far as is known.
    pub fn synced_end(&self) -> Offset {
        self.synced_end
    }

    /// Bytes of the active segment that were appended since [`Unsynced::hand_over`] gave any.
    pub fn unhanded_bytes(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.segment.unhanded_bytes(tail.size_bytes))
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.shared.segments.load().iter().map(|segment| segment.size_bytes()).sum()
    }

    /// A file beside the segments for something that can be made anew from them.
    pub fn sidecar(&self, name: &str) -> Sidecar {
        Sidecar { fs: Arc::clone(&self.factory.fs), path: self.factory.dir.join(name) }
    }

    /// The partition's folder.
    pub fn dir(&self) -> &Path {
        &self.factory.dir
    }

    /// Something that reads beside this writer.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Takes changed topic configs over, from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
        self.factory.index_interval_bytes = config.index_interval_bytes;
    }

    /// Lets no write through any more: for the one whose sync failed.
    pub fn poison(&self) {
        self.shared.poisoned.store(true, Ordering::Release);
    }

    /// Whether a write has failed.
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Acquire)
    }

    /// Where each leader epoch begins.
    pub fn epochs(&self) -> EpochCache {
        self.shared.epochs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the epoch that the log is led in: no batch in it can be of a later one.
    pub fn led_in(&mut self, epoch: LeaderEpoch) {
        let mut epochs = self.shared.epochs.write().unwrap_or_else(PoisonError::into_inner);
        self.epochs_changed |= epochs.cap(epoch);
    }

    /// What has to be synced to make all of the log durable. Cheap; the syncing itself needs no
    /// access to the log.
    ///
    /// # Errors
    /// `NoFile`, which changes nothing; `Io` if a segment could not be opened, which poisons.
    pub fn unsynced(&self) -> Result<Unsynced, LogError> {
        let end = self.end_offset();
        let segments = self.shared.segments.load();
        let clean = segments.partition_point(|segment| segment.base < self.synced_end);
        let first = if end > self.synced_end { clean.saturating_sub(1) } else { segments.len() };
        let files: Result<Vec<_>, _> =
            segments.iter().skip(first).map(|segment| segment.file()).collect();
        let files = files.map_err(|error| LogError::from(error).or_no_file());
        let files = files.inspect_err(|error| self.poison_unless_no_file(error))?;
        let sizes = segments.iter().skip(first).map(|s| (Arc::clone(s), s.size_bytes())).collect();
        let mut dirs = Vec::new();
        if self.names > self.names_synced {
            dirs.push(self.factory.dir.clone());
        }
        dirs.extend(self.parent.clone());
        Ok(Unsynced {
            files,
            dirs,
            end,
            segments: sizes,
            fs: Arc::clone(&self.factory.fs),
            dir: self.factory.dir.clone(),
            names: self.names,
            epochs: self.epochs_changed.then(|| self.epochs()),
            are_epochs_stored: Arc::default(),
        })
    }

    /// Takes note that all of `unsynced` has been synced.
    pub fn mark_synced(&mut self, unsynced: &Unsynced) {
        self.synced_end = self.synced_end.max(unsynced.end);
        let segments = unsynced.segments.iter().map(|(segment, _)| segment);
        self.let_old_files_close(&segments.cloned().collect::<Vec<_>>());
        self.names_synced = self.names_synced.max(unsynced.names);
        if !unsynced.dirs.is_empty() {
            self.parent = None;
        }
        if let Some(epochs) = &unsynced.epochs {
            let is_stored = unsynced.are_epochs_stored.load(Ordering::Acquire);
            self.epochs_changed = !is_stored || self.epochs() != *epochs;
        }
    }

    /// Raises the log start offset (DeleteRecords): what lies before can no longer be read, and its
    /// segments go with the next retention. At or below the present start it does nothing. Durable
    /// when it returns, also on a poisoned log, so that a full disk can be emptied.
    ///
    /// # Errors
    /// `StartBeyondEnd`; `NoRoom`; `Io`, which poisons.
    pub fn advance_start(&mut self, start: Offset) -> Result<(), LogError> {
        let end = self.end_offset();
        if start > end {
            return Err(LogError::StartBeyondEnd { asked: start, end });
        }
        if start <= self.start_offset() {
            return Ok(());
        }
        self.store_start(start)
    }

    /// Puts the start offset down, then in force.
    ///
    /// # Errors
    /// `NoRoom` if the old one still stands; `NoFile` if either does; any other error poisons.
    pub(super) fn store_start(&mut self, start: Offset) -> Result<(), LogError> {
        let (fs, dir) = (&*self.factory.fs, &self.factory.dir);
        let stored = start_offset::read(fs, dir).map_err(LogError::or_no_file);
        let stored = stored.inspect_err(|error| self.poison_unless_no_file(error))?;
        match start_offset::write(fs, dir, start) {
            Err(source) if is_no_room(&source) && self.is_start_stored(stored) => {
                return Err(LogError::NoRoom { path: dir.clone(), source });
            }
            // Whether it stands or not: what was asked to go may have gone.
            Err(source) if is_out_of_files(&source) => {
                return Err(LogError::NoFile { path: dir.clone(), source });
            }
            written => self.must(written, "write start of", dir)?,
        }
        self.shared.start.store(start.0, Ordering::Release);
        self.shared.epochs.write().unwrap_or_else(PoisonError::into_inner).cut_start(start);
        Ok(())
    }

    /// Syncs everything and leaves the indexes for the next start, which may then be a clean one
    /// with the offset returned as its `durable_up_to`.
    ///
    /// # Errors
    /// As for [`Log::seal`].
    pub fn close(mut self) -> Result<Offset, LogError> {
        let end = self.seal()?;
        self.save_index();
        Ok(end)
    }

    /// Takes note that the folder which holds the log's own was synced since the log was opened.
    pub fn parent_is_synced(&mut self) {
        self.parent = None;
    }

    /// Syncs everything; returns the log's end.
    ///
    /// # Errors
    /// `Poisoned`; `Io`. Then the next start is not a clean one.
    pub fn seal(&mut self) -> Result<Offset, LogError> {
        self.check_alive()?;
        let unsynced = self.unsynced()?;
        let dir = self.factory.dir.clone();
        self.must(unsynced.sync(), "sync", &dir)?;
        self.mark_synced(&unsynced);
        Ok(self.end_offset())
    }

    /// Leaves the index of the newest segment for the next start, which without it walks the headers.
    pub fn save_index(&self) {
        if let Some(tail) = &self.tail {
            let _ = tail.segment.save_index();
        }
    }

    /// Passes a result on, and poisons if it is an error.
    pub(super) fn must<T>(
        &self,
        result: std::io::Result<T>,
        action: &'static str,
        path: &Path,
    ) -> Result<T, LogError> {
        if result.is_err() {
            self.poison();
        }
        result.map_err(LogError::io(action, path))
    }

    fn poison_unless_no_file(&self, error: &LogError) {
        if !matches!(error, LogError::NoFile { .. }) {
            self.poison();
        }
    }

    /// Undoes a write that found no room, or no file to open, so that the log goes on where it was: nothing of it was
    /// published or vouched for by a sync. Any other failure poisons, and so does a failure here.
    fn take_back(&mut self, before: Option<Tail>, begun: &[Tail], error: LogError) -> LogError {
        let (path, source) = match error {
            LogError::Io { path, source, .. }
                if is_no_room(&source) || is_out_of_files(&source) =>
            {
                (path, source)
            }
            other => {
                self.poison();
                return other;
            }
        };
        let cut = || -> Result<(), LogError> {
            for Tail { segment, .. } in begun {
                let removed = self.factory.fs.remove_file(&segment.path);
                removed.map_err(LogError::io("remove", &segment.path))?;
            }
            let Some(tail) = &before else { return Ok(()) };
            // Nothing was written to a file that could not even be opened.
            let Some(file) = tail.segment.open_file() else { return Ok(()) };
            // Synced at once: no later sync covers this file if nothing more is appended to it, and
            // a clean stop vouches for its length.
            let cut = file.truncate(tail.size_bytes).and_then(|()| file.sync_data());
            cut.map_err(LogError::io("truncate", &tail.segment.path))
        };
        if let Err(failed) = cut() {
            self.poison();
            return failed;
        }
        self.tail = before;
        if is_no_room(&source) {
            LogError::NoRoom { path, source }
        } else {
            LogError::NoFile { path, source }
        }
    }

    /// Whether the start offset on disk is this one.
    fn is_start_stored(&self, start: Option<Offset>) -> bool {
        let found = start_offset::read(&*self.factory.fs, &self.factory.dir);
        found.is_ok_and(|found| found == start)
    }

    /// Of `segments`, which follow each other: those that are written to no more and on disk.
    fn let_old_files_close(&self, segments: &[Arc<Segment>]) {
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.base <= self.synced_end {
                segment.grow_old();
            }
        }
    }

    /// The next append begins a segment.
    pub(super) fn forget_tail(&mut self) {
        self.tail = None;
    }

    fn check_alive(&self) -> Result<(), LogError> {
        if self.is_poisoned() { Err(LogError::Poisoned) } else { Ok(()) }
    }

    fn check_batches(&self, batches: &[ValidBatch]) -> Result<(), LogError> {
        let mut expected = self.end_offset();
        for batch in batches {
            let got = batch.header().base_offset;
            if got != expected {
                return Err(LogError::NotConsecutive { expected, got });
            }
            expected = batch.header().next_offset();
        }
        Ok(())
    }

    /// Goes on with the last segment, if there is one.
    fn open_tail(&mut self) -> Result<(), LogError> {
        let segments = self.shared.segments.load_full();
        let Some(last) = segments.last() else { return Ok(()) };
        if last.is_kafkas && last.size_bytes() > 0 {
            return Ok(()); // What is appended here is to be told from what Kafka's compaction left.
        }
        let (size_bytes, first_timestamp, created) =
            last.index(|index| (index.size_bytes, index.first_timestamp, index.last_append))?;
        // It is about to be outdated; a start after a crash must not find it.
        last.remove_index().map_err(LogError::io("remove the index of", &last.path))?;
        self.tail = Some(Tail { segment: Arc::clone(last), size_bytes, first_timestamp, created });
        Ok(())
    }

    /// Writes the batches where they belong; nothing is visible yet. Segments whose file it made
    /// are in `begun`, also on `Err`.
    fn write<'a>(
        &mut self,
        batches: &'a [ValidBatch],
        now: Timestamp,
        begun: &mut Vec<Tail>,
    ) -> Result<(Vec<Written<'a>>, Option<Offset>), LogError> {
        let mut written = Vec::with_capacity(1);
        let mut rolled_to = None;
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let mut tail = match self.tail.clone() {
                Some(tail) if !self.must_roll(&tail, first.header(), now) => tail,
                _ => {
                    rolled_to = Some(first.header().base_offset);
                    let tail = self.begin_segment(first.header().base_offset, now)?;
                    begun.push(tail.clone());
                    tail
                }
            };
            let start = tail.size_bytes;
            let mut taken = 0;
            for batch in rest {
                if taken > 0 && self.must_roll(&tail, batch.header(), now) {
                    break;
                }
                tail.size_bytes = tail.size_bytes.saturating_add(batch.size_bytes());
                tail.first_timestamp.get_or_insert(batch.header().max_timestamp);
                taken += 1;
            }
            let (group, left) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            let slices: Vec<IoSlice<'_>> =
                group.iter().flat_map(|batch| batch.slices().map(IoSlice::new)).collect();
            tail.segment
                .file()?
                .write_vectored_at(&slices, start)
                .map_err(LogError::io("write", &tail.segment.path))?;
            written.push((tail.clone(), group));
            self.tail = Some(tail);
            rest = left;
        }
        Ok((written, rolled_to))
    }

    fn begin_segment(&mut self, base: Offset, now: Timestamp) -> Result<Tail, LogError> {
        let path = &self.factory.dir;
        let segment =
            self.factory.create(base, now).map_err(LogError::io("create a segment in", path))?;
        self.names += 1;
        let segment = Arc::new(segment);
        Ok(Tail { segment, size_bytes: 0, first_timestamp: None, created: now })
    }

    /// Kafka's rules for beginning a new segment before `batch`.
    fn must_roll(&self, tail: &Tail, batch: &BatchHeader, now: Timestamp) -> bool {
        if tail.size_bytes == 0 {
            return false;
        }
        // Age is told by the records' times where they have any, so that a topic that is filled
        // with old data rolls as it did when that data was new.
        let age = match tail.first_timestamp {
            Some(first) if first.0 >= 0 => batch.max_timestamp.0.saturating_sub(first.0),
            _ => now.0.saturating_sub(tail.created.0),
        };
        let base = tail.segment.base;
        let segment_ms = self.config.segment_ms.saturating_sub(self.jitter_ms(base));
        tail.size_bytes.saturating_add(batch.size_bytes()) > self.config.segment_bytes
            || age > segment_ms
            || batch.last_offset().0.saturating_sub(base.0) > RELATIVE_OFFSET_MAX
    }

    /// Different for each segment of each log, always the same for one.
    fn jitter_ms(&self, base: Offset) -> i64 {
        let limit = self.config.segment_jitter_ms;
        if limit <= 0 {
            return 0;
        }
        let name = self.factory.dir.as_os_str().as_encoded_bytes();
        i64::from(crc32c::crc32c_of([name, &base.0.to_be_bytes()])) % limit
    }

    /// Makes what was written visible, the log end last.
    fn publish(&mut self, written: &[Written<'_>], now: Timestamp) {
        let Some((_, newest)) = written.last() else { return };
        let Some(last) = newest.last() else { return };
        let known = self.shared.segments.load_full();
        let is_new = |tail: &Tail| known.last().is_none_or(|last| last.base < tail.segment.base);
        for (tail, group) in written {
            tail.segment.publish(group.iter().map(ValidBatch::header), now);
            self.note_epochs(group);
        }
        let new: Vec<_> =
            written.iter().map(|(tail, _)| tail).filter(|tail| is_new(tail)).collect();
        if !new.is_empty() {
            let mut segments = known.to_vec();
            segments.extend(new.iter().map(|tail| Arc::clone(&tail.segment)));
            for sealed in segments.iter().rev().skip(1).take(new.len()) {
                let _ = sealed.save_index(); // Derived.
            }
            self.shared.segments.store(Arc::new(segments));
        }
        self.shared.end.store(last.header().next_offset().0, Ordering::Release);
    }

    fn note_epochs(&mut self, batches: &[ValidBatch]) {
        let Some(newest) = batches.iter().map(|batch| batch.header().leader_epoch).max() else {
            return;
        };
        let epochs = self.shared.epochs.read().unwrap_or_else(PoisonError::into_inner);
        if epochs.latest() >= Some(newest) {
            return;
        }
        drop(epochs);
        let mut epochs = self.shared.epochs.write().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            self.epochs_changed |=
                epochs.note(batch.header().leader_epoch, batch.header().base_offset);
        }
    }
}

impl Shared {
    pub(super) fn start(&self) -> Offset {
        Offset(self.start.load(Ordering::Acquire))
    }

    pub(super) fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    pub(super) fn compacted_up_to(&self) -> Offset {
        Offset(self.compacted.load(Ordering::Acquire))
    }

    /// The leader epoch that a batch must be of, where that is known.
    pub(super) fn epoch_of(&self, batch: &BatchHeader) -> Option<LeaderEpoch> {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.epoch_at(batch.last_offset())
    }

    /// Whether compaction may have taken offsets out.
    pub(super) fn has_gaps(&self) -> bool {
        self.factory.has_gaps()
    }
}
