//! What has to reach the disk: handed to the thread that syncs, which needs no lock of the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::epochs::EpochCache;
use super::fs::{File, Fs, is_no_room};
use super::layout::{EPOCHS, LEADER_EPOCHS};
use super::segment::{Segment, SyncedRange};
use super::sidecar::Sidecar;
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
    pub(crate) epochs: Option<EpochCache>,
    /// Whether the sync has put `epochs` on disk.
    pub(crate) are_epochs_stored: Arc<AtomicBool>,
}

impl Unsynced {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty() && self.epochs.is_none()
    }

    /// Syncs all of it; then [`super::Log::mark_synced`] may be called.
    ///
    /// # Errors
    /// The first one. Then [`super::Log::poison`] must be called and nothing be tried again, unless
    /// [`super::fs::is_out_of_files`]: the folder could not be opened, and no sync has failed.
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
        self.epochs.as_ref().map_or(Ok(()), |epochs| self.store_epochs(epochs))
    }

    /// A disk without room for them is no failure: they can be learnt from the batches, as long as no
    /// older ones are found.
    fn store_epochs(&self, epochs: &EpochCache) -> io::Result<()> {
        let path = self.dir.join(EPOCHS);
        match self.fs.atomic_write(&path, &epochs.encode()) {
            Err(error) if is_no_room(&error) => {
                if self.fs.exists(&path) {
                    self.fs.remove_file(&path)?;
                    self.fs.sync_dir(&self.dir)?;
                }
                return Ok(());
            }
            written => written?,
        }
        self.are_epochs_stored.store(true, Ordering::Release);
        let for_kafka = Sidecar { fs: Arc::clone(&self.fs), path: self.dir.join(LEADER_EPOCHS) };
        drop(for_kafka.write(epochs.encode_for_kafka().as_bytes())); // Nobody here reads it.
        Ok(())
    }
}
