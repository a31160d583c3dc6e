//! The one door to files: everything the log stores goes through these two traits, so that the same
//! code runs on a disk, in memory, and on a disk that fails on command.
//!
//! A name is durable only once its folder has been synced, and bytes only once their file has been:
//! no call syncs by itself but [`Fs::atomic_write`].

mod faulty;
mod lock;
mod memory;
mod real;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use faulty::{Crash, Fault, FaultKind, FaultyFs, Op};
pub use lock::{DataLock, LockError};
pub use memory::MemoryFs;
pub use real::RealFs;

/// What a half-written file of [`Fs::atomic_write`] ends in; such leftovers may be removed.
pub const TMP_SUFFIX: &str = ".ottla-tmp";

/// Whether `error` says that the disk, or the user's share of it, has no room: what may pass, unlike
/// any other failure of a write.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether `error` says that the process, or the machine, has as many files open as it may: nothing has
/// been tried then.
pub fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// How many files this process may have open; `None` if there is no limit.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises that limit as far as the system lets anyone; what it is then.
///
/// # Errors
/// What the system says; the limit is as it was.
pub fn raise_open_files_max() -> io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(open_files_max())
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To read and write; it must not exist yet.
    CreateNew,
    /// To read and write; it must exist.
    ReadWrite,
    /// To read; it must exist.
    Read,
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last part of the path. Names that are not UTF-8 are not listed: none is ours.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// A tree of files. All calls block; none holds a lock over a disk operation of another file.
pub trait Fs: Send + Sync + Debug {
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// What the system says; none if the folder exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Opens a file.
    ///
    /// # Errors
    /// What the system says, `NotFound` and `AlreadyExists` among it.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// What is in a folder, sorted by name.
    ///
    /// # Errors
    /// What the system says; `NotFound` if there is no such folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Gives a file or folder another name; a file of that name is replaced.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file's name away; those who have it open keep it.
    ///
    /// # Errors
    /// What the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all in it.
    ///
    /// # Errors
    /// What the system says.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the system says; after an error nothing is known, and it must not be tried again.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether there is a file or folder of that name.
    fn exists(&self, path: &Path) -> bool;

    /// Bytes in the file of that name.
    ///
    /// # Errors
    /// What the system says.
    fn file_len(&self, path: &Path) -> io::Result<u64>;

    /// Bytes that may still be written to the file system `path` is on.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Bytes that the file system `path` is on has in all.
    ///
    /// # Errors
    /// What the system says.
    fn total_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Reads a small file whole.
    ///
    /// # Errors
    /// What the system says; `FileTooLarge` above `limit` bytes.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Puts a small file in place whole: after a crash the old or the new content is there, never a
    /// mixture. Durable when it returns.
    ///
    /// # Errors
    /// What the system says; the old content then still stands, or the new one does.
    fn atomic_write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let tmp = dir.join(format!("{name}{TMP_SUFFIX}"));
        if self.exists(&tmp) {
            self.remove_file(&tmp)?;
        }
        let file = self.open(&tmp, OpenMode::CreateNew)?;
        file.write_vectored_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_data()?;
        self.rename(&tmp, path)?;
        self.sync_dir(dir)
    }
}

/// An open file, read and written at given places, by any number of threads.
pub trait File: Send + Sync + Debug {
    /// Reads at most `buffer` from `position` on; 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all slices one behind the other from `position` on.
    ///
    /// # Errors
    /// What the system says; then any part of it may have been written.
    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Makes the content durable.
    ///
    /// # Errors
    /// What the system says. The content is then unknown, and a second call may lie: never call it
    /// again on this file.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file off, or extends it with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The descriptor, for sendfile; `None` where there is none.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Reads `length` bytes from `position` on without keeping them in the page cache, where the file
    /// system can: for ranges that nobody will read again soon. They stand in `buffer` where the
    /// range returned says.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if the file is too short.
    fn read_uncached(
        &self,
        buffer: &mut Vec<u8>,
        position: u64,
        length: usize,
    ) -> io::Result<Range<usize>> {
        self.read_cached(buffer, position, length)
    }

    /// As [`File::read_uncached`], through the page cache.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if the file is too short.
    fn read_cached(
        &self,
        buffer: &mut Vec<u8>,
        position: u64,
        length: usize,
    ) -> io::Result<Range<usize>> {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        self.read_exact_at(buffer.get_mut(..length).unwrap_or_default(), position)?;
        Ok(0..length)
    }

    /// Says that a range need not stay in the page cache, whose dirty pages stay all the same: what is read
    /// of it next is what the disk has or will get. A hint.
    fn uncache(&self, _position: u64, _length: u64) {}

    /// Fills `buffer` from `position` on.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if the file is too short.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read_at(buffer, position)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
            position = position.saturating_add(u64::try_from(count).unwrap_or(0));
        }
        Ok(())
    }
}
