//! What has to reach the disk: handed to the thread that syncs, which needs no lock of the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::fs::{File, Fs};
use super::layout::LEADER_EPOCHS;
use super::segment::{Segment, SyncedRange};
use crate::types::Offset;

/// Everything that must be synced so that the log is durable up to `end`.
#[derive(Clone, Debug)]
pub struct Unsynced {
    /// Segments with unsynced bytes, oldest first.
    pub files: Vec<Arc<dyn File>>,
    /// Folders with new names in them.
    pub dirs: Vec<PathBuf>,
    /// What is durable once all the rest has been synced.
    pub end: Offset,
    /// The segments of `files`, and how long each was.
    pub(crate) segments: Vec<(Arc<Segment>, u64)>,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) names: u64,
    pub(crate) epochs: Option<String>,
}

impl Unsynced {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty() && self.epochs.is_none()
    }

    /// Syncs all of it; then [`super::Log::mark_synced`] may be called.
    ///
    /// # Errors
    /// The first one. Then [`super::Log::poison`] must be called and nothing be tried again.
    pub fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync_data())?;
        self.sync_names()
    }

    /// Ranges of at least `least` bytes that [`Unsynced::sync`] has put on disk and that were not
    /// given before: what may leave the page cache.
    pub fn hand_over(&self, least: u64) -> impl Iterator<Item = SyncedRange> {
        self.segments
            .iter()
            .filter_map(move |(segment, size)| segment.hand_over(*size, self.end, least))
    }

    /// The part of [`Unsynced::sync`] that is not `files`, for callers who sync many files at once.
    ///
    /// # Errors
    /// As for [`Unsynced::sync`].
    pub fn sync_names(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| self.fs.sync_dir(dir))?;
        match &self.epochs {
            Some(text) => self.fs.atomic_write(&self.dir.join(LEADER_EPOCHS), text.as_bytes()),
            None => Ok(()),
        }
    }
}
