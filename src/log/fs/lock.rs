//! One process a data folder: a lock on a file in it, which also names who has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Longest content read of it, in bytes.
const PID_BYTES_MAX: u64 = 32;

/// The lock on a data folder; given back when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// Why a data folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A running process has it.
    #[error(
        "the data folder {} belongs to the running process {pid}: end that one, or choose another \
         with --data-dir",
        path.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The process, as it wrote itself down.
        pid: String,
    },
    /// The file system refused.
    #[error("cannot lock the data folder {}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl LockError {
    /// Whether another process has the folder.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. })
    }
}

impl DataLock {
    /// The file that is locked.
    pub const FILE: &str = ".lock";

    /// Locks the folder, which is made if it is missing.
    ///
    /// # Errors
    /// `Taken`, with the pid of the process that has it; `Io`.
    #[expect(clippy::disallowed_methods, reason = "this is the one door to files")]
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let fault = |source| LockError::Io { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(fault)?;
        Self::take_existing(path)
    }

    /// Locks a folder that must be there.
    ///
    /// # Errors
    /// As for [`DataLock::take`].
    pub fn take_existing(path: &Path) -> Result<Self, LockError> {
        let fault = |source| LockError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path.join(Self::FILE)).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                Read::by_ref(&mut file)
                    .take(PID_BYTES_MAX)
                    .read_to_string(&mut pid)
                    .map_err(fault)?;
                let pid = pid.trim().to_owned();
                return Err(LockError::Taken { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        file.set_len(0).map_err(fault)?;
        file.rewind().map_err(fault)?;
        writeln!(file, "{}", std::process::id()).map_err(fault)?;
        Ok(Self { _file: file })
    }
}
