//! Puts a compacted segment in the place of those it was made of, so that a crash at any moment
//! leaves either the old ones or the new one.
//!
//! | step | what is there |
//! |---|---|
//! | survivors written and synced | sources, `BASE.log.cleaned` |
//! | renamed, folder synced: from here on it counts | sources, `BASE.log.swap` |
//! | sources put away, the first one first | some sources, `BASE.log.swap` |
//! | renamed | `BASE.log` |
//!
//! A start removes a `.cleaned` file and finishes a swap: all segments from its base to its end go.
//! Both names, and what has to be done about them, are Kafka's. If the `.swap` file is damaged and
//! the first source is still there, so are all the others, and it is the file that goes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cleaned;
use crate::codec::crc32c;
use crate::log::error::{Damage, LogError, SegmentError};
use crate::log::fs::{Fs, OpenMode, TMP_SUFFIX};
use crate::log::layout::{
    COMPACTED, SWAP_SUFFIX, index_file, parse_segment_file, parse_swap_file, segment_file,
    swap_file,
};
use crate::log::log::Log;
use crate::log::segment::{Segment, SegmentFactory};
use crate::types::{Offset, Timestamp};

const MARK_MAGIC: [u8; 4] = *b"OCP1";

/// What came of a swap.
#[derive(Debug)]
pub enum Swap {
    /// The new segment stands. Bytes that its sources had and it has not.
    Done {
        /// See above.
        freed_bytes: u64,
    },
    /// The sources are no longer what the log consists of: retention was faster.
    Outdated,
    /// The file system refused before anything counted; the log is as it was.
    Refused(LogError),
}

impl Log {
    /// Puts `cleaned` in the place of its sources. Readers that are at one of them read on in it.
    /// The files of the sources go after `file.delete.delay.ms`.
    ///
    /// # Errors
    /// `Poisoned`; `Io`, which poisons: then the next start finishes or undoes it.
    pub fn swap(&mut self, cleaned: Cleaned, now: Timestamp) -> Result<Swap, LogError> {
        let segments = self.shared.segments.load_full();
        let place = place_of(&segments, &cleaned.sources);
        let (Some(place), false) = (place, self.is_poisoned()) else {
            drop(self.factory.fs.remove_file(&cleaned.path));
            return if self.is_poisoned() { Err(LogError::Poisoned) } else { Ok(Swap::Outdated) };
        };
        let swap = self.factory.dir.join(swap_file(cleaned.segment.base));
        let renamed = open_for_good(&cleaned.sources).and_then(|()| self.be_marked());
        let renamed = renamed.and_then(|()| {
            let fs = &self.factory.fs;
            fs.rename(&cleaned.path, &swap).map_err(LogError::io("rename", &cleaned.path))
        });
        if let Err(error) = renamed {
            drop(self.factory.fs.remove_file(&cleaned.path));
            return Ok(Swap::Refused(error));
        }
        let dir = self.factory.dir.clone();
        self.must(self.factory.fs.sync_dir(&dir), "sync", &dir)?;
        // From here on the new segment counts, whatever happens.
        self.factory.gaps.store(true, Ordering::Release);
        for source in &cleaned.sources {
            self.must(source.remove_index(), "remove the index of", &source.path)?;
            self.put_away(source, now)?;
        }
        if cleaned.sources.len() > 1 {
            // The new name must not outlive a source that a power cut brings back.
            self.must(self.factory.fs.sync_dir(&dir), "sync", &dir)?;
        }
        let path = &cleaned.segment.path;
        self.must(self.factory.fs.rename(&swap, path), "rename", &swap)?;
        self.names += 1;
        let before = segments.iter().take(place);
        let behind = segments.iter().skip(place + cleaned.sources.len());
        let changed = before.chain([&cleaned.segment]).chain(behind).cloned().collect();
        self.shared.segments.store(Arc::new(changed));
        drop(cleaned.segment.save_index()); // Derived.
        cleaned.segment.grow_old();
        let had: u64 = cleaned.sources.iter().map(|source| source.size_bytes()).sum();
        Ok(Swap::Done { freed_bytes: had.saturating_sub(cleaned.segment.size_bytes()) })
    }

    /// Keeps that everything before `end` has been compacted; durable with the next sync. If it is
    /// lost, the next run reads more.
    ///
    /// # Errors
    /// `Io`; nothing has changed then, and nothing is poisoned.
    pub fn mark_compacted(&mut self, end: Offset) -> Result<(), LogError> {
        self.keep_mark(end)?;
        self.shared.compacted.store(end.0, Ordering::Release);
        self.names += 1;
        Ok(())
    }

    /// Everything before has been compacted once.
    pub fn compacted_up_to(&self) -> Offset {
        self.shared.compacted_up_to()
    }

    /// Makes the mark be there.
    fn be_marked(&self) -> Result<(), LogError> {
        let is_there = self.factory.fs.exists(&self.factory.dir.join(COMPACTED));
        if is_there { Ok(()) } else { self.keep_mark(self.compacted_up_to()) }
    }

    /// Writes the mark, which also says that offsets may be missing. Its name is durable with the
    /// folder's next sync; its content need not be.
    fn keep_mark(&self, end: Offset) -> Result<(), LogError> {
        let path = self.factory.dir.join(COMPACTED);
        let mut bytes = MARK_MAGIC.to_vec();
        bytes.extend_from_slice(&end.0.to_be_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        place(&*self.factory.fs, &path, &bytes).map_err(LogError::io("write", &path))
    }
}

/// Opens files whose readers must not find another one under their name.
fn open_for_good(sources: &[Arc<Segment>]) -> Result<(), LogError> {
    for source in sources {
        source.keep_open();
        source.file()?;
    }
    Ok(())
}

/// Where in `segments` the sources stand, all of them and none of them active.
fn place_of(segments: &[Arc<Segment>], sources: &[Arc<Segment>]) -> Option<usize> {
    let first = sources.first()?;
    let place = segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
    let stand = segments.get(place..place.checked_add(sources.len())?)?;
    let same = stand.iter().zip(sources).all(|(stands, source)| Arc::ptr_eq(stands, source));
    (same && place + sources.len() < segments.len()).then_some(place)
}

/// Puts a small file in place.
fn place(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(TMP_SUFFIX);
    let tmp = Path::new(&name);
    if fs.exists(tmp) {
        fs.remove_file(tmp)?;
    }
    let file = fs.open(tmp, OpenMode::CreateNew)?;
    file.write_vectored_at(&[IoSlice::new(bytes)], 0)?;
    fs.rename(tmp, path)
}

/// How far the log in `dir` has been compacted; 0 if that cannot be told.
pub(crate) fn read_mark(fs: &dyn Fs, dir: &Path) -> Offset {
    fs.read(&dir.join(COMPACTED), 64).ok().and_then(|bytes| decode_mark(&bytes)).unwrap_or_default()
}

fn decode_mark(bytes: &[u8]) -> Option<Offset> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let offset = body.strip_prefix(&MARK_MAGIC)?;
    let is_whole = u32::from_be_bytes(*crc) == crc32c::crc32c(body);
    is_whole.then_some(Offset(i64::from_be_bytes(offset.try_into().ok()?)))
}

/// Finishes or undoes what a crash cut short. To be called before anything else in the folder is
/// looked at; all of it can be done again.
pub(crate) fn recover(factory: &SegmentFactory) -> Result<(), LogError> {
    let (fs, dir) = (&factory.fs, &factory.dir);
    let entries = fs.list(dir).map_err(LogError::io("list", dir))?;
    let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    let mut found = false;
    for name in names.iter().filter(|name| name.ends_with(SWAP_SUFFIX)) {
        found = true;
        let path = dir.join(name);
        let Some(base) = parse_swap_file(name) else {
            // An index that Kafka swaps beside its log: ours are made anew.
            fs.remove_file(&path).map_err(LogError::io("remove", &path))?;
            continue;
        };
        match checked_end(factory, base) {
            Ok(end) => finish(factory, &names, base..end)?,
            Err(SegmentError::Damaged(damage)) => {
                let reason = format!("left by a compaction that was cut short: {}", damage.reason);
                if !fs.exists(&dir.join(segment_file(base))) {
                    return Err(Damage { file: path, reason, ..damage }.into());
                }
                fs.remove_file(&path).map_err(LogError::io("remove", &path))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if found {
        fs.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}

/// Reads all of a `.swap` file; the offset behind its last batch.
fn checked_end(factory: &SegmentFactory, base: Offset) -> Result<Offset, SegmentError> {
    let path = factory.dir.join(swap_file(base));
    let stat = factory.fs.file_len(&path);
    let size = stat.map_err(|source| SegmentError::Io { path: path.clone(), source })?;
    let segment = factory.named(path, base, size);
    let file = segment.file()?;
    let mut walk = segment.walk(&*file, 0);
    let mut expected = base;
    while let Some((position, header)) =
        walk.next().map_err(|error| segment.scan_error(error, expected))?
    {
        let follows = expected <= header.base_offset
            && 0 <= header.last_offset_delta
            && 0 <= header.record_count;
        if !follows {
            let reason = format!("batch at offset {} does not follow", header.base_offset);
            return Err(segment.damage(position, expected, reason));
        }
        segment.batch(position, &header)?;
        expected = header.next_offset();
    }
    if size == 0 {
        return Err(segment.damage(0, base, "it is empty".to_owned()));
    }
    Ok(expected)
}

/// Removes the sources that are left, the first one first, then gives the new segment its name.
fn finish(
    factory: &SegmentFactory,
    names: &[String],
    range: std::ops::Range<Offset>,
) -> Result<(), LogError> {
    let (fs, dir) = (&factory.fs, &factory.dir);
    // Names come sorted, and digits sort as numbers.
    for base in names.iter().filter_map(|name| parse_segment_file(name)) {
        if range.contains(&base) {
            for path in [dir.join(index_file(base)), dir.join(segment_file(base))] {
                if fs.exists(&path) {
                    fs.remove_file(&path).map_err(LogError::io("remove", &path))?;
                }
            }
        }
    }
    if !fs.exists(&dir.join(COMPACTED)) {
        // Only Kafka compacts without that mark.
        let marked = factory.mark_as_kafkas(range.start);
        marked.map_err(LogError::io("mark a segment in", dir))?;
    }
    fs.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    let swap = dir.join(swap_file(range.start));
    let path = dir.join(segment_file(range.start));
    fs.rename(&swap, &path).map_err(LogError::io("rename", &swap))
}
