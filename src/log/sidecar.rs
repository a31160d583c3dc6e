//! A small derived file beside the segments.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::LogError;
use super::fs::{Fs, OpenMode, TMP_SUFFIX};

/// See the module. Its content must carry its own checksum: nothing is synced, so that after a power
/// cut it may be missing, old or torn.
#[derive(Clone, Debug)]
pub struct Sidecar {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) path: PathBuf,
}

impl Sidecar {
    /// The content; `None` if there is none that can be read, or more than `limit` bytes.
    pub fn read(&self, limit: u64) -> Option<Vec<u8>> {
        self.fs.read(&self.path, limit).ok()
    }

    /// Replaces the content.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(TMP_SUFFIX);
        let tmp = PathBuf::from(name);
        if self.fs.exists(&tmp) {
            self.fs.remove_file(&tmp)?;
        }
        let file = self.fs.open(&tmp, OpenMode::CreateNew)?;
        file.write_vectored_at(&[io::IoSlice::new(bytes)], 0)?;
        self.fs.rename(&tmp, &self.path)
    }

    /// Takes it away, so that nobody reads it again.
    ///
    /// # Errors
    /// What the system says, unless it is not there.
    pub fn remove(&self) -> io::Result<()> {
        match self.fs.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// As [`Sidecar::remove`], and no power cut brings it back.
    ///
    /// # Errors
    /// `Io`; nothing is poisoned by it.
    pub fn remove_for_good(&self) -> Result<(), LogError> {
        self.remove().map_err(LogError::io("remove", &self.path))?;
        let Some(dir) = self.path.parent() else { return Ok(()) };
        self.fs.sync_dir(dir).map_err(LogError::io("sync", dir))
    }
}
