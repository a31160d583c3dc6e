//! How many old segments' files are open: a broker that keeps ten thousand segments would run out of
//! descriptors, which are the process's, not the broker's. The ones used least lately are closed, and opened
//! again when they are needed.
//!
//! A file that is written to, or that is not on disk yet, is never closed here: the system tells of a write
//! that failed through a descriptor. Nor is one whose name is about to go.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard, Weak};

use super::fs::{File, open_files_max};

/// Files of old segments that are open at most, of all logs; where the process may have fewer than 4,096
/// files, a sixteenth of those.
const OLD_FILES_MAX: usize = 256;
const OLD_FILES_SHARE: u64 = 16;

/// A segment's file while it is open.
#[derive(Debug, Default)]
pub(super) struct Slot {
    file: RwLock<Option<Arc<dyn File>>>,
    /// Whether anyone asked for it since the list was last gone through.
    is_used: AtomicBool,
    /// Whether it may be closed; changed while `file` is held.
    is_old: AtomicBool,
    /// Whether it never may; likewise.
    is_kept: AtomicBool,
}

/// The old files that are open, in the order in which they may be closed.
#[derive(Debug)]
pub(super) struct OpenFiles {
    most: usize,
    open: Mutex<VecDeque<Weak<Slot>>>,
}

impl OpenFiles {
    fn of_at_most(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// Those of this process.
    pub(super) fn of_process() -> &'static Self {
        static ALL: OnceLock<OpenFiles> = OnceLock::new();
        ALL.get_or_init(|| {
            let share = open_files_max().map_or(u64::MAX, |files| files / OLD_FILES_SHARE);
            Self::of_at_most(usize::try_from(share).unwrap_or(usize::MAX).min(OLD_FILES_MAX))
        })
    }

    /// Takes an open one in, and closes others where that is one too many.
    fn add(&self, slot: &Arc<Slot>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(Arc::downgrade(slot));
        // Each gets a second chance once, so this ends.
        while open.len() > self.most {
            let Some(oldest) = open.pop_front() else { return };
            if let Some(slot) = oldest.upgrade()
                && !slot.close_unless_used()
            {
                open.push_back(oldest);
            }
        }
    }
}

impl Slot {
    /// One whose file is open.
    pub(super) fn of(file: Arc<dyn File>) -> Self {
        Self { file: RwLock::new(Some(file)), ..Self::default() }
    }

    /// The file, if it is open.
    pub(super) fn get(&self) -> Option<Arc<dyn File>> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner).clone();
        if file.is_some() {
            self.is_used.store(true, Ordering::Relaxed);
        }
        file
    }

    /// The file, which `open` opens if it is closed.
    pub(super) fn get_or_open(
        self: &Arc<Self>,
        all: &OpenFiles,
        open: impl FnOnce() -> io::Result<Arc<dyn File>>,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.get() {
            return Ok(file);
        }
        let mut slot = self.write();
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file = open()?;
        *slot = Some(Arc::clone(&file));
        drop(slot);
        if self.is_old.load(Ordering::Acquire) {
            all.add(self);
        }
        Ok(file)
    }

    /// From now on it may be closed: nothing is written to it any more, and all of it is on disk.
    pub(super) fn grow_old(self: &Arc<Self>, all: &OpenFiles) {
        let file = self.write();
        let stays =
            self.is_kept.load(Ordering::Acquire) || self.is_old.swap(true, Ordering::AcqRel);
        let is_news = file.is_some() && !stays;
        drop(file);
        if is_news {
            all.add(self);
        }
    }

    /// From now on it stays open once it is.
    pub(super) fn keep(&self) {
        let _file = self.write();
        self.is_kept.store(true, Ordering::Release);
        self.is_old.store(false, Ordering::Release);
    }

    /// Whether it is no matter of the list any more.
    pub(super) fn close_unless_used(&self) -> bool {
        let mut file = self.write();
        if self.is_old.load(Ordering::Acquire) {
            if self.is_used.swap(false, Ordering::Relaxed) {
                return false;
            }
            *file = None;
        }
        true
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Arc<dyn File>>> {
        self.file.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::fs::{Fs, MemoryFs, OpenMode};

    fn file() -> Arc<dyn File> {
        let fs = MemoryFs::new();
        fs.create_dir_all(Path::new("/data")).unwrap();
        fs.open(Path::new("/data/file"), OpenMode::CreateNew).unwrap()
    }

    fn open_of(slots: &[Arc<Slot>]) -> Vec<usize> {
        let is_open = |slot: &Arc<Slot>| slot.file.read().unwrap().is_some();
        (0..slots.len()).filter(|index| is_open(&slots[*index])).collect()
    }

    fn slots(count: usize) -> Vec<Arc<Slot>> {
        (0..count).map(|_| Arc::new(Slot::of(file()))).collect()
    }

    #[test]
    fn the_files_used_least_lately_are_closed_and_opened_again() {
        let all = OpenFiles::of_at_most(3);
        let slots = slots(6);
        slots.iter().for_each(|slot| slot.grow_old(&all));
        assert_eq!(open_of(&slots), [3, 4, 5]);
        slots[3].get().unwrap();
        slots[0].get_or_open(&all, || Ok(file())).unwrap();
        assert_eq!(open_of(&slots), [0, 3, 5], "3 was used since");
        assert!(slots[4].get().is_none());
    }

    #[test]
    fn what_is_written_or_kept_stays_open() {
        let all = OpenFiles::of_at_most(2);
        let slots = slots(6);
        slots[1..].iter().for_each(|slot| slot.grow_old(&all));
        slots[5].keep();
        slots[5].grow_old(&all);
        for _ in 0..9 {
            slots[2].get_or_open(&all, || Ok(file())).unwrap();
            slots[3].get_or_open(&all, || Ok(file())).unwrap();
            slots[4].get_or_open(&all, || Ok(file())).unwrap();
        }
        let open = open_of(&slots);
        assert!(open.contains(&0) && open.contains(&5) && open.len() <= 4, "{open:?}");
    }

    #[test]
    fn segments_that_are_gone_leave_the_list() {
        let all = OpenFiles::of_at_most(2);
        for slot in slots(50) {
            slot.grow_old(&all);
        }
        assert!(all.open.lock().unwrap().len() <= 2);
    }
}
