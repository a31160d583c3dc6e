//! What can go wrong with a log, by what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::fs::is_out_of_files;
use crate::records::BatchError;
use crate::types::Offset;

/// Stored bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: damaged at byte {position}, offset {offset}: {reason}", file.display())]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the first batch lies that is not good.
    pub position: u64,
    /// The offset that is expected there.
    pub offset: Offset,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a log could not be opened, written or shortened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Something failed before, and the log has to be opened anew.
    #[error("the log failed before and takes no more writes")]
    Poisoned,
    /// The file system refused. The log is poisoned now.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk has no room. Nothing has been changed, and the log takes writes once it has.
    #[error("no room for {}: {source}", path.display())]
    NoRoom {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// As many files are open as may be. Nothing has been changed, and the log takes writes once some
    /// are closed.
    #[error("cannot open {}: {source}; raise the limit of open files (ulimit -n)", path.display())]
    NoFile {
        /// What was to be opened.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Records are missing or broken that were there before. Nothing has been changed.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A batch that does not begin where the log ends. Nothing has been written.
    #[error("batch at offset {got} does not follow the log end offset {expected}")]
    NotConsecutive {
        /// The log end offset, or the end of the batch before.
        expected: Offset,
        /// The batch's base offset.
        got: Offset,
    },
    /// A start offset beyond the log end. Nothing has been changed.
    #[error("start offset {asked} is beyond the log end offset {end}")]
    StartBeyondEnd {
        /// The new start.
        asked: Offset,
        /// The log end offset.
        end: Offset,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// The same, as `NoFile` if it says that no file could be opened.
    pub(crate) fn or_no_file(self) -> Self {
        match self {
            Self::Io { path, source, .. } if is_out_of_files(&source) => {
                Self::NoFile { path, source }
            }
            other => other,
        }
    }
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Before the log start offset or behind the log end offset.
    #[error("offset {asked} is outside {start}..={end}")]
    OutOfRange {
        /// What was asked for.
        asked: Offset,
        /// The log start offset.
        start: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// What is stored there is broken.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The batch is as it was written, but its records cannot be read.
    #[error("batch at offset {offset}: {source}")]
    Unreadable {
        /// Its base offset.
        offset: Offset,
        /// What is wrong with it.
        source: BatchError,
    },
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a segment could not be looked into.
#[derive(Debug)]
pub(crate) enum SegmentError {
    Damaged(Damage),
    Io { path: PathBuf, source: io::Error },
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Damaged(damage) => Self::Damaged(damage),
            SegmentError::Io { path, source } => Self::Io { path, source },
        }
    }
}

impl From<SegmentError> for LogError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Damaged(damage) => Self::Damaged(damage),
            SegmentError::Io { path, source } => Self::Io { action: "read", path, source },
        }
    }
}
