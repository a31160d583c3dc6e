//! Files that live in memory: names in a map, contents in memfds, so that a fetch still goes from a
//! descriptor to a socket. Syncing does nothing; all is gone when the last handle is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::MemfdFlags;

use super::real::Descriptor;
use super::{Entry, File, Fs, OpenMode};

/// A tree of files in memory; clones see the same tree.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs(Arc<Mutex<BTreeMap<PathBuf, Node>>>);

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File(Arc<dyn File>),
}

impl MemoryFs {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fs for MemoryFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        for path in dir.ancestors() {
            if let Node::File(_) = nodes.entry(path.to_owned()).or_insert(Node::Dir) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut nodes = self.nodes();
        match (nodes.get(path), mode) {
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::Dir), _) => Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(file)), _) => Ok(Arc::clone(file)),
            (None, OpenMode::ReadWrite | OpenMode::Read) => Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateNew) => {
                if !matches!(path.parent().and_then(|dir| nodes.get(dir)), Some(Node::Dir)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let memfd = rustix::fs::memfd_create("ottla", MemfdFlags::CLOEXEC)?;
                let file: Arc<dyn File> = Arc::new(Descriptor(fs::File::from(memfd)));
                nodes.insert(path.to_owned(), Node::File(Arc::clone(&file)));
                Ok(file)
            }
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let nodes = self.nodes();
        if !matches!(nodes.get(dir), Some(Node::Dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside =
            nodes.range(dir.to_owned()..).skip(1).take_while(|(path, _)| path.starts_with(dir));
        let entries =
            inside.filter(|(path, _)| path.parent() == Some(dir)).filter_map(|(path, node)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(Entry { name, is_dir: matches!(node, Node::Dir) })
            });
        Ok(entries.collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        if !nodes.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let moved: Vec<PathBuf> =
            nodes.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for old in moved {
            let new = match old.strip_prefix(from) {
                Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
                _ => to.to_owned(),
            };
            if let Some(node) = nodes.remove(&old) {
                nodes.insert(new, node);
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        match nodes.get(path) {
            Some(Node::File(_)) => {
                nodes.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
            }
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut nodes = self.nodes();
        if !matches!(nodes.get(dir), Some(Node::Dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        nodes.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.nodes().contains_key(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.open(path, OpenMode::Read)?.len()
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        memory_bytes("MemAvailable:")
    }

    fn total_bytes(&self, _path: &Path) -> io::Result<u64> {
        memory_bytes("MemTotal:")
    }
}

/// One figure of the kernel's account of memory, in bytes.
fn memory_bytes(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(kib.ok_or(io::ErrorKind::Unsupported)?.saturating_mul(1024))
}
