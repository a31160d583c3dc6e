//! A disk that fails on command and forgets at a power cut what was not synced. For tests.
//!
//! Bytes are durable after `sync_data` of their file, names after `sync_dir` of their folder; both
//! are kept in the order they happened, so that a crash can leave any part of what was under way.
//! A failed sync loses its bytes for good and later ones say all is well, as Linux does.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, File, Fs, OpenMode};

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Every call that changes or syncs something.
    Any,
    /// `create_dir_all`.
    CreateDir,
    /// `open` of a new file.
    Create,
    /// `rename`.
    Rename,
    /// `remove_file` and `remove_dir_all`.
    Remove,
    /// `sync_dir`.
    SyncDir,
    /// `write_vectored_at`.
    Write,
    /// `sync_data`.
    SyncData,
    /// `truncate`.
    Truncate,
    /// `read_at`, which [`Op::Any`] does not count.
    Read,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It does nothing and says this.
    Error(io::ErrorKind),
    /// A write puts down its first half and fails; any other call fails only.
    Torn,
    /// The disk is full: a write puts down its first half; any other call does nothing.
    NoRoom,
    /// No more files may be open.
    NoFile,
}

/// A call that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which calls count.
    pub op: Op,
    /// How many of them go well before.
    pub after: u64,
    /// What happens then, once.
    pub kind: FaultKind,
}

/// What of the unsynced work a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    DropUnsynced,
    /// In each file, and of the names, what came first, up to a point drawn from the seed.
    KeepPrefix(u64),
    /// In each file any of the writes, drawn from the seed; of the names what came first.
    KeepAny(u64),
}

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub struct FaultyFs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameOp>,
    files: Vec<Content>,
    faults: Vec<Fault>,
    calls: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
enum NameOp {
    Put(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<DataOp>,
    sync_failed: bool,
}

#[derive(Clone, Debug)]
enum DataOp {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug)]
struct FaultyFile {
    fs: FaultyFs,
    index: usize,
}

impl Default for FaultyFs {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyFs {
    /// An empty disk with the folder `/`. What is made in it is durable once `/` has been synced.
    pub fn new() -> Self {
        let names = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(State { names, durable_names, ..State::default() })))
    }

    /// Lets a coming call fail.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Takes all faults back that have not happened yet.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many faults have not happened yet.
    pub fn pending_faults(&self) -> usize {
        self.state().faults.len()
    }

    /// The disk as it is, synced or not, for another process; this one goes on.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state();
        let bytes = |content: &Content| Content {
            bytes: content.bytes.clone(),
            durable: content.bytes.clone(),
            ..Content::default()
        };
        let (names, files) = (state.names.clone(), state.files.iter().map(bytes).collect());
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(State { names, durable_names, files, ..State::default() })))
    }

    /// Calls so far that [`Op::Any`] counts.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The disk as the next start finds it. This one goes on as if nothing had happened.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> Self {
        let state = self.state();
        let mut random = match crash {
            Crash::DropUnsynced => Random(0),
            Crash::KeepPrefix(seed) | Crash::KeepAny(seed) => Random(seed),
        };
        let mut names = state.durable_names.clone();
        if crash != Crash::DropUnsynced {
            let kept = random.below(state.pending_names.len() + 1);
            state.pending_names.iter().take(kept).for_each(|op| op.apply(&mut names));
        }
        let known = names.clone();
        names.retain(|path, _| path.ancestors().all(|above| known.contains_key(above)));
        let files: Vec<Content> =
            state.files.iter().map(|content| content.crash(crash, &mut random)).collect();
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(State { names, durable_names, files, ..State::default() })))
    }

    /// Changes a stored byte behind everyone's back. False if there is no such byte.
    pub fn flip(&self, path: &Path, position: usize, mask: u8) -> bool {
        let mut state = self.state();
        let Some(Node::File(index)) = state.names.get(path).copied() else { return false };
        let Some(content) = state.files.get_mut(index) else { return false };
        for bytes in [&mut content.bytes, &mut content.durable] {
            if let Some(byte) = bytes.get_mut(position) {
                *byte ^= mask;
            }
        }
        position < content.bytes.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call; `Err` if it is one that has to fail.
    fn call(&mut self, op: Op) -> Result<(), FaultKind> {
        self.calls += u64::from(op != Op::Read);
        let mut fired = None;
        self.faults.retain_mut(|fault| {
            let counts = fault.op == op || (fault.op == Op::Any && op != Op::Read);
            if !counts {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            fired = Some(fault.kind);
            false
        });
        fired.map_or(Ok(()), Err)
    }

    fn change_name(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.pending_names.push(op);
    }

    fn content(&mut self, index: usize) -> io::Result<&mut Content> {
        self.files.get_mut(index).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl NameOp {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Put(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
            Self::Rename(from, to) => {
                let moved: Vec<PathBuf> =
                    names.keys().filter(|name| name.starts_with(from)).cloned().collect();
                for old in moved {
                    let rest = old.strip_prefix(from).unwrap_or(Path::new(""));
                    let new = if rest == Path::new("") { to.clone() } else { to.join(rest) };
                    if let Some(node) = names.remove(&old) {
                        names.insert(new, node);
                    }
                }
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let within = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            Self::Put(path, _) | Self::Remove(path) => within(path),
            Self::Rename(from, to) => within(from) || within(to),
        }
    }
}

impl Content {
    fn change(&mut self, op: DataOp) {
        op.apply(&mut self.bytes);
        self.pending.push(op);
    }

    /// What the disk has once all that is dirty is written, as long as the file is.
    fn on_disk(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.pending.iter().for_each(|op| op.apply(&mut bytes));
        bytes.resize(self.bytes.len(), 0);
        bytes
    }

    fn crash(&self, crash: Crash, random: &mut Random) -> Self {
        let mut bytes = self.durable.clone();
        match crash {
            Crash::DropUnsynced => {}
            Crash::KeepPrefix(_) => {
                let kept = random.below(self.pending.len() + 1);
                self.pending.iter().take(kept).for_each(|op| op.apply(&mut bytes));
                if let Some(op) = self.pending.get(kept) {
                    op.torn(random).apply(&mut bytes);
                }
            }
            Crash::KeepAny(_) => {
                for op in &self.pending {
                    match random.below(3) {
                        0 => {}
                        1 => op.torn(random).apply(&mut bytes),
                        _ => op.apply(&mut bytes),
                    }
                }
            }
        }
        Self { durable: bytes.clone(), bytes, ..Self::default() }
    }
}

impl DataOp {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => bytes.resize(*len, 0),
            Self::Write(position, data) => {
                let end = position + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(target) = bytes.get_mut(*position..end) {
                    target.copy_from_slice(data);
                }
            }
        }
    }

    fn torn(&self, random: &mut Random) -> Self {
        match self {
            Self::Truncate(len) => Self::Truncate(*len),
            Self::Write(position, data) => {
                let kept = random.below(data.len() + 1);
                Self::Write(*position, data.iter().take(kept).copied().collect())
            }
        }
    }
}

fn error(kind: FaultKind) -> io::Error {
    match kind {
        FaultKind::Error(kind) => kind.into(),
        FaultKind::Torn => io::Error::other("torn"),
        FaultKind::NoRoom => io::ErrorKind::StorageFull.into(),
        FaultKind::NoFile => rustix::io::Errno::MFILE.into(),
    }
}

impl Fs for FaultyFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::CreateDir).map_err(error)?;
        let missing: Vec<PathBuf> = dir
            .ancestors()
            .filter(|path| !state.names.contains_key(*path))
            .map(Path::to_owned)
            .collect();
        for path in missing.into_iter().rev() {
            state.change_name(NameOp::Put(path, Node::Dir));
        }
        Ok(())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let index = match (state.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(index)), _) => index,
            (None, OpenMode::ReadWrite | OpenMode::Read) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (None, OpenMode::CreateNew) => {
                state.call(Op::Create).map_err(error)?;
                if !path.parent().is_some_and(|dir| state.names.contains_key(dir)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let index = state.files.len();
                state.files.push(Content::default());
                state.change_name(NameOp::Put(path.to_owned(), Node::File(index)));
                index
            }
        };
        Ok(Arc::new(FaultyFile { fs: self.clone(), index }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        if !state.names.contains_key(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entries = inside.filter_map(|(path, node)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Entry { name, is_dir: *node == Node::Dir })
        });
        Ok(entries.collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::Rename).map_err(error)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::Remove).map_err(error)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameOp::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.remove_file(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::SyncDir).map_err(error)?;
        let pending = std::mem::take(&mut state.pending_names);
        let (now, later): (Vec<_>, Vec<_>) = pending.into_iter().partition(|op| op.is_in(dir));
        now.iter().for_each(|op| op.apply(&mut state.durable_names));
        state.pending_names = later;
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.state().names.contains_key(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.open(path, OpenMode::Read)?.len()
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn total_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.fs.state();
        state.call(Op::Read).map_err(error)?;
        let content = state.content(self.index)?;
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let from = content.bytes.get(start..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(count)
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        let fault = state.call(Op::Write);
        let start = usize::try_from(position).map_err(io::Error::other)?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter()).copied().collect();
        let content = state.content(self.index)?;
        match fault {
            Ok(()) => content.change(DataOp::Write(start, bytes)),
            Err(kind) => {
                if matches!(kind, FaultKind::Torn | FaultKind::NoRoom) {
                    bytes.truncate(bytes.len() / 2);
                    content.change(DataOp::Write(start, bytes));
                }
                return Err(error(kind));
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.fs.state();
        let fault = state.call(Op::SyncData);
        let content = state.content(self.index)?;
        content.pending.clear();
        if let Err(kind) = fault {
            content.sync_failed = true;
            return Err(error(kind));
        }
        if !content.sync_failed {
            content.durable = content.bytes.clone();
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.state();
        state.call(Op::Truncate).map_err(error)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.content(self.index)?.change(DataOp::Truncate(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.fs.state();
        u64::try_from(state.content(self.index)?.bytes.len()).map_err(io::Error::other)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What a failed sync has lost stands in the page cache only.
    fn uncache(&self, position: u64, length: u64) {
        let mut state = self.fs.state();
        let Ok(content) = state.content(self.index) else { return };
        let on_disk = content.on_disk();
        let range = usize::try_from(position).unwrap_or(usize::MAX)
            ..usize::try_from(position.saturating_add(length)).unwrap_or(usize::MAX);
        for (at, byte) in content.bytes.iter_mut().enumerate() {
            if range.contains(&at) {
                *byte = on_disk.get(at).copied().unwrap_or(0);
            }
        }
        if content.bytes == on_disk {
            content.sync_failed = false;
        }
    }
}

/// splitmix64.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(mixed % end).unwrap_or(0)
    }
}
