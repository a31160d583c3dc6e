//! Copies a log while somebody may write it, compact it, or take its oldest segments away.
//!
//! What arrives is a log by itself: whole batches, each checked, in order, from some segment on up to
//! what was written when its last file was read; a batch under way is left out. Where the folder
//! changes under the copy's hands it says so, and can be tried again.

use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::error::Damage;
use super::fs::{File, Fs, OpenMode};
use super::inspect::{Found, SegmentFile, may_have_gaps, segment_files, walk_file};
use super::layout::{COMPACTED, EPOCHS, START_OFFSET, kafka_time_index_file, parse_swap_file};
use super::start_offset;
use crate::types::Offset;

/// Written at once.
const BUFFER_LEN: usize = 1024 * 1024;
/// The largest of the small files, in bytes.
const SMALL_LEN_MAX: u64 = 64 * 1024;

/// What arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The log start offset.
    pub start: Offset,
    /// The log end offset.
    pub end: Offset,
    /// Bytes of batches.
    pub bytes: u64,
}

/// Why nothing that is whole arrived. What there is in the target must be removed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Segments went or were replaced meanwhile, or the folder itself went.
    #[error("the log was changed while it was copied")]
    Changed,
    /// There is something between batches, or instead of one.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The file system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Copies the log in `from` into the folder `to`, which is made. On disk on return, but for the name
/// of `to` itself. Everything before `durable` must be there. `progress` is told the bytes of each
/// batch.
///
/// # Errors
/// See [`CopyError`].
pub fn copy_log(
    fs: &dyn Fs,
    from: &Path,
    to: &Path,
    durable: Offset,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, CopyError> {
    fs.create_dir_all(to)?;
    // The whole folder may go at any moment: its topic was deleted.
    copy_into(fs, from, to, durable, progress).map_err(moved_away)
}

fn copy_into(
    fs: &dyn Fs,
    from: &Path,
    to: &Path,
    durable: Offset,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, CopyError> {
    // A mark that is too old costs the cleaner some work; none would make gaps look like damage.
    let has_mark = copy_small(fs, from, to, COMPACTED)?;
    let gaps = may_have_gaps(fs, from);
    if has_swap(fs, from)? {
        return Err(CopyError::Changed);
    }
    let segments = segment_files(fs, from)?;
    let mut copied = Copied::default();
    copied.start = segments.first().map_or(Offset(0), |first| first.base);
    copied.end = copied.start;
    let mut is_gap_kafkas = false;
    for (number, segment) in segments.iter().enumerate() {
        if segment.base < copied.end || (segment.base > copied.end && !is_gap_kafkas) {
            return Err(CopyError::Changed);
        }
        is_gap_kafkas = segment.is_kafkas;
        copied.end = segment.base;
        if segment.is_kafkas {
            // Its name alone says what has to be known.
            fs.open(&to.join(kafka_time_index_file(segment.base)), OpenMode::CreateNew)?;
        }
        let gaps = gaps || segment.is_kafkas;
        let name = segment.path.file_name().unwrap_or_default();
        let mut target = Target::create(fs, &to.join(name))?;
        let is_last = number + 1 == segments.len();
        let ended = copy_segment(fs, &segment.path, &mut target, (gaps, is_last), progress);
        copied.end = ended?.unwrap_or(copied.end);
        copied.bytes += target.finish()?;
    }
    // A segment that was being swapped may have had no name when they were listed.
    let is_new = |segment: &SegmentFile| {
        segment.base < copied.end && !segments.iter().any(|known| known.base == segment.base)
    };
    if has_swap(fs, from)? || segment_files(fs, from)?.iter().any(is_new) {
        return Err(CopyError::Changed);
    }
    // The start offset is put down before segments go: read last, it fits those that were copied.
    copy_small(fs, from, to, START_OFFSET)?;
    if !has_mark {
        copy_small(fs, from, to, COMPACTED)?;
    }
    copy_small(fs, from, to, EPOCHS)?; // Of batches that were not copied nothing will be known.
    let start = start_offset::read(fs, to).map_err(|error| io::Error::other(error.to_string()))?;
    copied.start = copied.start.max(start.unwrap_or_default());
    copied.end = copied.end.max(copied.start);
    if copied.end < durable {
        // What is no batch at the end was left out as a write under way: it was none.
        let reason = format!("ends here, but was durable up to {durable}");
        let (file, offset) = (from.to_owned(), copied.end);
        return Err(Damage { file, position: 0, offset, reason }.into());
    }
    fs.sync_dir(to)?;
    Ok(copied)
}

/// Whether compaction is putting a segment in the place of others.
fn has_swap(fs: &dyn Fs, dir: &Path) -> io::Result<bool> {
    Ok(fs.list(dir)?.iter().any(|entry| parse_swap_file(&entry.name).is_some()))
}

/// A file that was there a moment ago.
fn moved_away(error: CopyError) -> CopyError {
    match error {
        CopyError::Io(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) =>
        {
            CopyError::Changed
        }
        other => other,
    }
}

/// Copies the batches of one file; the offset behind the last one, if there is one.
fn copy_segment(
    fs: &dyn Fs,
    path: &Path,
    target: &mut Target,
    (gaps, is_last): (bool, bool),
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Offset>, CopyError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut expected = super::layout::parse_segment_file(name).unwrap_or_default();
    let mut end = None;
    let mut outcome = Ok(());
    walk_file(fs, path, &mut expected, gaps, &mut |found| {
        match found {
            Found::Batch { batch, .. } => {
                end = Some(batch.header().next_offset());
                progress(batch.size_bytes());
                outcome = batch.slices().iter().try_for_each(|slice| target.put(slice));
            }
            // The last one may be under way.
            Found::Hole(hole) if is_last && hole.next.is_none() => {}
            Found::Hole(hole) => outcome = Err(hole.damage.clone().into()),
        }
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome.map(|()| end)
}

/// A file being written.
struct Target {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
}

impl Target {
    fn create(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        let file = fs.open(path, OpenMode::CreateNew)?;
        Ok(Self { file, buffer: Vec::with_capacity(BUFFER_LEN), written: 0 })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_LEN {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_vectored_at(&[IoSlice::new(&self.buffer)], self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and syncs; the bytes in the file.
    fn finish(mut self) -> io::Result<u64> {
        self.write()?;
        self.file.sync_data()?;
        Ok(self.written)
    }
}

/// Copies a small file whole; whether it was there.
///
/// # Errors
/// What the system says.
pub fn copy_small(fs: &dyn Fs, from: &Path, to: &Path, name: &str) -> io::Result<bool> {
    match fs.read(&from.join(name), SMALL_LEN_MAX) {
        Ok(bytes) => fs.atomic_write(&to.join(name), &bytes).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
