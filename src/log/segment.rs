//! One file of batches and what is known of it. File and index are opened when first needed, so
//! that ten thousand quiet partitions cost neither descriptors nor reads at start.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::error::{Damage, SegmentError};
use super::fs::{File, Fs, OpenMode};
use super::index::Index;
use super::layout::{index_file, kafka_time_index_file, segment_file};
use super::open_files::{OpenFiles, Slot};
use super::scan::{HeaderScan, ScanError};
use super::verified::Verified;
use crate::records::{BatchHeader, ValidBatch};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// The largest sidecar: an entry for each 61 bytes of the largest segment would not reach it.
const SIDECAR_LEN_MAX: u64 = 1 << 30;

/// What a page cache keeps or drops at a time, or a multiple of it.
const PAGE_BYTES: u64 = 64 * 1024;

/// See the module. Shared by the writer and all readers.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    pub(crate) path: PathBuf,
    fs: Arc<dyn Fs>,
    file: Arc<Slot>,
    size_bytes: AtomicU64,
    /// `None` until someone needs it.
    index: RwLock<Option<Index>>,
    index_interval_bytes: u32,
    gaps: Arc<AtomicBool>,
    /// Kafka wrote it: where its compaction takes the last batches of a segment, nothing stays in
    /// their place, so that offsets may be missing within it and behind it.
    pub(crate) is_kafkas: bool,
    /// When this process first saw it.
    seen: Timestamp,
    /// How far the page-cache window knows it.
    handed: Mutex<Handed>,
    verified: Mutex<Verified>,
}

/// Where what was handed to the page-cache window ends.
#[derive(Clone, Copy, Debug)]
struct Handed {
    position: u64,
    offset: Offset,
}

/// A range of a segment that is on disk and may leave the page cache.
#[derive(Clone, Debug)]
pub struct SyncedRange {
    /// The segment.
    pub file: Arc<dyn File>,
    /// Its bytes.
    pub bytes: Range<u64>,
    /// The records in it, roughly.
    pub offsets: Range<Offset>,
}

/// What all segments of a log have in common.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFactory {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) index_interval_bytes: u32,
    /// Whether compaction may have taken offsets out; once true it stays so.
    pub(crate) gaps: Arc<AtomicBool>,
}

impl SegmentFactory {
    /// A segment whose file exists with `size_bytes`.
    pub(crate) fn existing(&self, base: Offset, size_bytes: u64, now: Timestamp) -> Segment {
        Segment {
            base,
            path: self.dir.join(segment_file(base)),
            fs: Arc::clone(&self.fs),
            file: Arc::default(),
            size_bytes: AtomicU64::new(size_bytes),
            index: RwLock::new(None),
            index_interval_bytes: self.index_interval_bytes,
            gaps: Arc::clone(&self.gaps),
            is_kafkas: false,
            seen: now,
            handed: Mutex::new(Handed { position: size_bytes, offset: base }),
            verified: Mutex::new(Verified::nothing_of(size_bytes)),
        }
    }

    /// The same, of a file that has another name than a segment should have.
    pub(crate) fn named(&self, path: PathBuf, base: Offset, size_bytes: u64) -> Segment {
        Segment { path, ..self.existing(base, size_bytes, Timestamp(i64::MIN)) }
    }

    /// A segment that compaction has written to `file`, which has yet to get its name.
    pub(crate) fn cleaned(
        &self,
        base: Offset,
        file: Arc<dyn File>,
        index: Index,
        now: Timestamp,
    ) -> Segment {
        let segment = self.existing(base, index.size_bytes, now);
        segment.set_index(index);
        Segment { file: Arc::new(Slot::of(file)), ..segment }
    }

    /// Says of a folder's segment that Kafka wrote it, in memory and in the folder.
    ///
    /// An empty index of Kafka's does no harm to it: it makes one anew where it finds none of the
    /// others.
    pub(crate) fn mark_as_kafkas(&self, base: Offset) -> io::Result<()> {
        let path = self.dir.join(kafka_time_index_file(base));
        if self.fs.exists(&path) {
            Ok(())
        } else {
            self.fs.open(&path, OpenMode::CreateNew).map(drop)
        }
    }

    /// Makes the file of a new segment; its name is not durable yet.
    pub(crate) fn create(&self, base: Offset, now: Timestamp) -> io::Result<Segment> {
        let segment = self.existing(base, 0, now);
        let file = self.fs.open(&segment.path, OpenMode::CreateNew)?;
        segment.set_index(Index::new(base, now));
        Ok(Segment { file: Arc::new(Slot::of(file)), ..segment })
    }

    /// Whether compaction may have taken offsets out.
    pub(crate) fn has_gaps(&self) -> bool {
        self.gaps.load(Ordering::Acquire)
    }
}

impl Segment {
    /// The same, written by Kafka.
    pub(crate) fn of_kafka(self) -> Self {
        Self { is_kafkas: true, ..self }
    }

    /// Whether offsets may be missing between its batches.
    pub(crate) fn has_gaps(&self) -> bool {
        self.is_kafkas || self.gaps.load(Ordering::Acquire)
    }

    /// The open file.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>, SegmentError> {
        let open = || self.fs.open(&self.path, OpenMode::ReadWrite);
        self.file.get_or_open(OpenFiles::of_process(), open).map_err(|error| self.io(error))
    }

    /// The file, if it is open.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn File>> {
        self.file.get()
    }

    /// Lets the file be closed while nobody needs it: all of it is on disk, and stays as it is.
    pub(crate) fn grow_old(&self) {
        self.file.grow_old(OpenFiles::of_process());
    }

    /// Does what is done once enough other files were needed since.
    #[cfg(test)]
    pub(crate) fn close_if_old(&self) {
        self.file.close_unless_used();
        self.file.close_unless_used();
    }

    /// Keeps the file open if it is, for it is about to lose its name.
    pub(crate) fn keep_open(&self) {
        self.file.keep();
    }

    /// Bytes that readers may read.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// Asks the index, which is loaded or made anew first if it has to be.
    pub(crate) fn index<R>(&self, ask: impl FnOnce(&Index) -> R) -> Result<R, SegmentError> {
        if let Some(index) = &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(ask(index));
        }
        let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*slot {
            return Ok(ask(index));
        }
        let index = match self.load_index() {
            Some(index) => index,
            None => self.scan_index()?,
        };
        Ok(ask(slot.insert(index)))
    }

    /// Makes appended batches visible in the index; the caller moves the log end afterwards.
    pub(crate) fn publish<'a>(
        &self,
        batches: impl Iterator<Item = &'a BatchHeader>,
        now: Timestamp,
    ) {
        let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let index = slot.get_or_insert_with(|| Index::new(self.base, now));
        batches.for_each(|batch| index.push(batch, self.index_interval_bytes));
        index.last_append = now;
        self.size_bytes.store(index.size_bytes, Ordering::Release);
    }

    /// Bytes appended by this process that the page-cache window has not taken over.
    pub(crate) fn unhanded_bytes(&self, size_bytes: u64) -> u64 {
        size_bytes.saturating_sub(self.handed().position)
    }

    /// Hands over what was synced up to `size_bytes`, once that is at least `least` bytes.
    pub(crate) fn hand_over(
        &self,
        size_bytes: u64,
        end: Offset,
        least: u64,
    ) -> Option<SyncedRange> {
        let file = self.file.get()?;
        let mut handed = self.handed();
        let Handed { position, offset } = *handed;
        if size_bytes.saturating_sub(position) < least.max(1) {
            return None;
        }
        *handed = Handed { position: size_bytes, offset: end };
        Some(SyncedRange { file, bytes: position..size_bytes, offsets: offset..end })
    }

    /// Whether these bytes were appended by this process, or have been checked by it.
    pub(crate) fn is_verified(&self, bytes: &Range<u64>) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).covers(bytes)
    }

    /// Reads and checks the batches in `bytes`; `epoch_of` is asked what leader epoch one must be of.
    ///
    /// # Errors
    /// `Damaged` with the first that is not sound.
    pub(crate) fn verify(
        &self,
        bytes: Range<u64>,
        epoch_of: impl Fn(&BatchHeader) -> Option<LeaderEpoch>,
    ) -> Result<(), SegmentError> {
        let file = self.file()?;
        let mut walk = HeaderScan::new(&*file, bytes.start, bytes.end);
        let mut expected = self.base;
        while let Some((position, header)) =
            walk.next().map_err(|error| self.scan_error(error, expected))?
        {
            // The first one follows by the index that led here.
            if position > bytes.start {
                self.check_follows(&header, expected)
                    .map_err(|reason| self.damage(position, expected, reason))?;
            }
            if !self.is_kafkas
                && let Some(epoch) = epoch_of(&header)
            {
                check_epoch(&header, epoch)
                    .map_err(|reason| self.damage(position, header.base_offset, reason))?;
            }
            self.batch(position, &header)?;
            expected = header.next_offset();
        }
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
        Ok(())
    }

    fn handed(&self) -> MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When this process first saw it.
    pub(crate) fn seen(&self) -> Timestamp {
        self.seen
    }

    /// Takes note that the file was cut off behind a batch.
    pub(crate) fn shorten(&self, size_bytes: u64) -> Result<(), SegmentError> {
        self.size_bytes.store(size_bytes, Ordering::Release);
        let index = self.scan_index()?;
        self.set_index(index);
        Ok(())
    }

    pub(crate) fn set_index(&self, index: Index) {
        self.size_bytes.store(index.size_bytes, Ordering::Release);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index);
    }

    /// Writes the sidecar. It is derived and checked when read, so it is not synced.
    pub(crate) fn save_index(&self) -> io::Result<()> {
        let guard = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = &*guard else { return Ok(()) };
        self.remove_index()?;
        let file = self.fs.open(&self.index_path(), OpenMode::CreateNew)?;
        file.write_vectored_at(&[io::IoSlice::new(&index.encode())], 0)
    }

    /// Removes the sidecar if there is one.
    pub(crate) fn remove_index(&self) -> io::Result<()> {
        let path = self.index_path();
        if self.fs.exists(&path) { self.fs.remove_file(&path) } else { Ok(()) }
    }

    /// Walks the headers from `position` on.
    pub(crate) fn walk<'a>(&self, file: &'a dyn File, position: u64) -> HeaderScan<'a> {
        HeaderScan::new(file, position, self.size_bytes())
    }

    /// Lets what is read from `position` on come from the disk, but for what is still to be written there.
    pub(crate) fn uncache_from(&self, file: &dyn File, position: u64) {
        let start = position - position % PAGE_BYTES;
        file.uncache(start, self.size_bytes().saturating_sub(start));
    }

    /// Reads the batch at `position` and checks it.
    pub(crate) fn batch(
        &self,
        position: u64,
        header: &BatchHeader,
    ) -> Result<ValidBatch, SegmentError> {
        let length = usize::try_from(header.size_bytes())
            .map_err(|error| self.damage(position, header.base_offset, error.to_string()))?;
        let mut bytes = vec![0; length];
        self.file()?.read_exact_at(&mut bytes, position).map_err(|error| self.io(error))?;
        ValidBatch::parse_stored(Bytes::from(bytes))
            .map_err(|error| self.damage(position, header.base_offset, error.to_string()))
    }

    /// Whether a stored batch may come where `expected` is the next offset. The base offset is not
    /// under the CRC: that it goes on from the batch before is all there is to check it by.
    pub(crate) fn check_follows(
        &self,
        header: &BatchHeader,
        expected: Offset,
    ) -> Result<(), String> {
        let base = header.base_offset;
        if base < expected || (base > expected && !self.has_gaps()) {
            return Err(format!("batch at offset {base} does not follow"));
        }
        if header.last_offset_delta < 0 || header.record_count < 0 {
            return Err(format!("batch at offset {base} counts below 0"));
        }
        Ok(())
    }

    pub(crate) fn scan_error(&self, error: ScanError, expected: Offset) -> SegmentError {
        match error {
            ScanError::Io(error) => self.io(error),
            ScanError::Bad { position, reason } => self.damage(position, expected, reason),
        }
    }

    pub(crate) fn io(&self, source: io::Error) -> SegmentError {
        SegmentError::Io { path: self.path.clone(), source }
    }

    pub(crate) fn damage(&self, position: u64, offset: Offset, reason: String) -> SegmentError {
        SegmentError::Damaged(Damage { file: self.path.clone(), position, offset, reason })
    }

    fn index_path(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(index_file(self.base))
    }

    /// The sidecar, if it can be trusted.
    fn load_index(&self) -> Option<Index> {
        let bytes = self.fs.read(&self.index_path(), SIDECAR_LEN_MAX).ok()?;
        Index::decode(&bytes, self.base, self.size_bytes())
    }

    fn scan_index(&self) -> Result<Index, SegmentError> {
        let mut index = Index::new(self.base, self.seen);
        let file = self.file()?;
        let mut walk = self.walk(&*file, 0);
        while let Some((position, header)) =
            walk.next().map_err(|error| self.scan_error(error, index.next))?
        {
            self.check_follows(&header, index.next)
                .map_err(|reason| self.damage(position, index.next, reason))?;
            index.push(&header, self.index_interval_bytes);
        }
        Ok(index)
    }
}

/// Whether a batch is of the leader epoch that its place says, which no checksum does. A frame without
/// records, which a repair may have made, gives it to nobody.
pub(crate) fn check_epoch(header: &BatchHeader, expected: LeaderEpoch) -> Result<(), String> {
    let found = header.leader_epoch;
    if found == expected || header.record_count == 0 {
        return Ok(());
    }
    Err(format!("batch is of leader epoch {found} where the log was led in {expected}"))
}
