//! The disk.

use std::fs;
use std::io::{self, IoSlice};
use std::num::NonZero;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use super::{Entry, File, Fs, OpenMode};

/// Slices that one system call takes (IOV_MAX of Linux).
const SLICES_MAX: usize = 1024;
/// What direct reads begin, end and are stored at multiples of, in bytes: no disk wants more.
const DIRECT_ALIGN: usize = 4096;

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

#[expect(clippy::disallowed_methods, reason = "this is the one door to files")]
impl Fs for RealFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Read => &mut options,
        };
        Ok(Arc::new(Descriptor(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let path = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::File::open(path)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

/// A file that the kernel knows, on a disk or in memory.
#[derive(Debug)]
pub(super) struct Descriptor(pub(super) fs::File);

impl File for Descriptor {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        write_all(slices, |slices, at| {
            rustix::io::pwritev(&self.0, slices, position.saturating_add(at)).map_err(Into::into)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn read_uncached(
        &self,
        buffer: &mut Vec<u8>,
        position: u64,
        length: usize,
    ) -> io::Result<Range<usize>> {
        let Ok(direct) = self.direct() else { return self.read_cached(buffer, position, length) };
        let skipped = small(position % DIRECT_ALIGN as u64);
        let span = (skipped + length).next_multiple_of(DIRECT_ALIGN);
        if buffer.len() < span + DIRECT_ALIGN {
            buffer.resize(span + DIRECT_ALIGN, 0);
        }
        let aligned = buffer.as_ptr().align_offset(DIRECT_ALIGN);
        let target = buffer.get_mut(aligned..aligned + span).unwrap_or_default();
        let from = position - skipped as u64;
        let mut filled = 0;
        while filled < skipped + length {
            let rest = target.get_mut(filled..).unwrap_or_default();
            match direct.read_at(rest, from + filled as u64) {
                // A read that ends between two multiples has met the end of the file.
                Ok(count)
                    if count == 0
                        || (count % DIRECT_ALIGN != 0 && filled + count < skipped + length) =>
                {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A file system that opens so and then wants more than we align to.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return self.read_cached(buffer, position, length);
                }
                Err(error) => return Err(error),
            }
        }
        let start = aligned + skipped;
        Ok(start..start + length)
    }

    fn uncache(&self, position: u64, length: u64) {
        if let Some(length) = NonZero::new(length) {
            // A file system that cannot do it keeps the pages, as it would without us.
            let _ = fadvise(&self.0, position, Some(length), Advice::DontNeed);
        }
    }
}

impl Descriptor {
    /// The same file, read past the page cache; by its descriptor, since its name may have changed.
    fn direct(&self) -> io::Result<fs::File> {
        let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
    }
}

/// A count below [`DIRECT_ALIGN`] as a size in memory.
fn small(count: u64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// Calls `write` (with what is left, and how much went before) until all is written.
fn write_all(
    slices: &[IoSlice<'_>],
    write: impl Fn(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut owned: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    let mut left = owned.as_mut_slice();
    let mut written = 0u64;
    IoSlice::advance_slices(&mut left, 0); // Drops empty slices at the front.
    while !left.is_empty() {
        let count = match write(left.get(..SLICES_MAX).unwrap_or(left), written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        written = written.saturating_add(u64::try_from(count).unwrap_or(0));
        IoSlice::advance_slices(&mut left, count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_read_past_the_page_cache_gives_the_same_bytes_wherever_it_begins_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = RealFs.open(&folder.path().join("file"), OpenMode::CreateNew).unwrap();
        let bytes: Vec<u8> = (0..20_011_u32).map(|i| (i % 251) as u8).collect();
        file.write_vectored_at(&[IoSlice::new(&bytes)], 0).unwrap();
        let mut buffer = Vec::new();
        for (start, length) in [(0, 1), (0, 4096), (1, 4096), (4095, 2), (8192, 5000), (5, 20_006)]
        {
            let range = file.read_uncached(&mut buffer, start as u64, length).unwrap();
            assert_eq!(
                buffer.get(range),
                bytes.get(start..start + length),
                "{length} from {start}"
            );
        }
        let beyond = file.read_uncached(&mut buffer, 20_000, 12).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn short_writes_are_gone_on_with() {
        let out = RefCell::new(Vec::<u8>::new());
        let pieces: Vec<Vec<u8>> = (0..3000u32).map(|i| vec![b'a'; (i % 5) as usize]).collect();
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        write_all(&slices, |slices, at| {
            assert_eq!(at, out.borrow().len() as u64);
            assert!(slices.len() <= SLICES_MAX);
            let mut all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            all.truncate(7);
            out.borrow_mut().extend(&all);
            Ok(all.len())
        })
        .unwrap();
        assert_eq!(out.into_inner(), pieces.concat());
    }
}
