//! The partitions' folders: each is tied to its topic's id by its `partition.metadata`, and nothing
//! that is not tied is ever renamed or removed.
//!
//! The folder of a deleted partition gets another name at once and goes later, so that a topic of
//! the same name can be made meanwhile. One with records whose topic the catalog neither knows nor knows
//! to be deleted gets another name too, and stays: the catalog may have lost it. A folder in the data folder that ottla did not make has no
//! such file and is left alone, whatever its name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::data_folder::{DataFolder, OpenError};
use super::open::{METADATA_TOPIC, is_journal};
use super::{Broker, snapshot};
use crate::catalog::{self, Catalog};
use crate::log::fs::Fs;
use crate::log::layout;
use crate::types::{PartitionIndex, Timestamp, TopicId};

/// Largest `partition.metadata` read, in bytes.
const TIE_BYTES_MAX: u64 = 1024;

/// When a partition is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// With the broker: what its folder holds is what the last run left.
    Start,
    /// For a change of the catalog: the partition is new, so its folder must be.
    Change,
}

/// Why a partition has no folder.
#[derive(Debug, thiserror::Error)]
pub(super) enum TieError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody else's files are where the partition's should be.
    #[error("{} is in the way: it holds files, but no partition.metadata ties it to a topic", .0.display())]
    Foreign(PathBuf),
    /// A folder that should have got another name still has this one.
    #[error("{} is still another topic's folder: see the line above", .0.display())]
    Taken(PathBuf),
}

/// Refuses a data folder whose partitions hold records while its catalog holds none: to go on would
/// be to take all of them for deleted.
pub(super) fn check_catalog_is_there(folder: &DataFolder) -> Result<(), OpenError> {
    let fault = |source| {
        let fault = DataFolder::fault("look through", &folder.path);
        OpenError::from(fault(source))
    };
    let fs = &*folder.fs;
    let journal = layout::partition_folder(METADATA_TOPIC, PartitionIndex(0));
    if holds_records(fs, &folder.path.join(&journal)).map_err(fault)? {
        return Ok(());
    }
    let mut orphans = Vec::new();
    for entry in fs.list(&folder.path).map_err(fault)? {
        let dir = folder.path.join(&entry.name);
        let is_partition = entry.is_dir && layout::parse_partition_folder(&entry.name).is_some();
        if is_partition && tied_to(fs, &dir).is_ok_and(|id| id.is_some()) {
            let holds = holds_records(fs, &dir).map_err(fault)?;
            orphans.extend(holds.then_some(entry.name));
        }
    }
    match orphans.first() {
        None => Ok(()),
        Some(first) => Err(OpenError::CatalogLost {
            path: folder.path.clone(),
            journal,
            first: first.clone(),
            count: orphans.len(),
        }),
    }
}

/// The topic that a folder is tied to; `None` for one that ottla did not make. `InvalidData` if its
/// `partition.metadata` cannot be understood.
pub(super) fn tied_to(fs: &dyn Fs, dir: &Path) -> io::Result<Option<TopicId>> {
    match fs.read(&dir.join(layout::PARTITION_METADATA), TIE_BYTES_MAX) {
        Ok(bytes) => {
            let id = std::str::from_utf8(&bytes).ok().and_then(layout::parse_partition_metadata);
            id.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a folder has a segment or a snapshot with something in it; one that does not exist has none.
pub(super) fn holds_records(fs: &dyn Fs, dir: &Path) -> io::Result<bool> {
    if !fs.exists(dir) {
        return Ok(false);
    }
    for entry in fs.list(dir)? {
        let can_hold = layout::parse_segment_file(&entry.name).is_some()
            || snapshot::parse_name(&entry.name).is_some();
        if can_hold && fs.file_len(&dir.join(&entry.name))? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Broker {
    /// Makes the partition's folder and ties it to the topic's id; durable on return. One that is
    /// tied to another id must have been taken out of the way, see [`Self::make_way`]. A
    /// coordinator's journal is tied anew.
    pub(super) fn tie_folder(
        &self,
        topic: &catalog::Topic,
        index: PartitionIndex,
        opening: Opening,
    ) -> Result<(), TieError> {
        let fs = &*self.folder.fs;
        let dir = self.folder.path.join(layout::partition_folder(&topic.name, index));
        let is_journal = is_journal(&topic.name) && index == PartitionIndex(0);
        let fault = |action, path: &Path| {
            let path = path.to_owned();
            move |source| TieError::Io { action, path, source }
        };
        match tied_to(fs, &dir).map_err(fault("read partition.metadata in", &dir))? {
            Some(id) if id == topic.id => return Ok(()),
            Some(_) if is_journal => {}
            Some(_) => return Err(TieError::Taken(dir)),
            None if is_journal || opening == Opening::Start => {}
            None => {
                let is_empty = !fs.exists(&dir) || fs.list(&dir).is_ok_and(|all| all.is_empty());
                if !is_empty {
                    return Err(TieError::Foreign(dir));
                }
            }
        }
        let text = layout::partition_metadata(topic.id);
        let file = dir.join(layout::PARTITION_METADATA);
        fs.create_dir_all(&dir).map_err(fault("make", &dir))?;
        fs.atomic_write(&file, text.as_bytes()).map_err(fault("write", &file))
    }

    /// Gives a folder that has the partition's name but is another topic's another name. What cannot
    /// be done is told, and met again by [`Self::tie_folder`].
    pub(super) fn make_way(
        &self,
        catalog: &Catalog,
        topic: &catalog::Topic,
        index: PartitionIndex,
    ) {
        let dir = self.folder.path.join(layout::partition_folder(&topic.name, index));
        let is_journal = is_journal(&topic.name) && index == PartitionIndex(0);
        match tied_to(&*self.folder.fs, &dir) {
            Ok(Some(other)) if other != topic.id && !is_journal => {
                let delay_ms = topic.config.file_delete_delay_ms;
                self.take_out(&topic.name, index, (other, catalog.was_removed(other)), delay_ms);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Renames the folder of a partition of the topic `id` for deletion in `delay_ms`. A folder of
    /// another topic, or that ottla did not make, stays as it is.
    ///
    /// # Errors
    /// What the system says; then the folder has its old name.
    pub(super) fn put_away(
        &self,
        topic: &str,
        index: PartitionIndex,
        id: TopicId,
        delay_ms: i64,
    ) -> io::Result<()> {
        let fs = &*self.folder.fs;
        let from = self.folder.path.join(layout::partition_folder(topic, index));
        if !fs.exists(&from) {
            return Ok(());
        }
        if !tied_to(fs, &from).is_ok_and(|tied| tied == Some(id)) {
            tracing::warn!(folder = %from.display(), "folder is not of the deleted topic: it stays");
            return Ok(());
        }
        let to = self.folder.path.join(layout::deleted_folder(topic, index, self.ids.uuid()));
        fs.rename(&from, &to)?;
        let due = self.clock.now().wall.plus_ms(delay_ms);
        let mut folders = self.deleted_folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.push((due, to));
        Ok(())
    }

    /// Folders of partitions that the catalog does not have get another name, and those that were put
    /// away before go.
    pub(super) fn put_strays_away(&self) {
        let Ok(entries) = self.folder.fs.list(&self.folder.path) else { return };
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let path = self.folder.path.join(&entry.name);
            if layout::is_deleted_folder(&entry.name) {
                if let Err(error) = self.folder.fs.remove_dir_all(&path) {
                    tracing::warn!(folder = entry.name, %error, "deleted folder not removed");
                }
                continue;
            }
            let Some((topic, index)) = layout::parse_partition_folder(&entry.name) else {
                continue;
            };
            let open = self.registry.by_name(topic);
            let is_open = open.is_some_and(|open| open.partition(index).is_some());
            if is_open || topic == METADATA_TOPIC || is_journal(topic) {
                continue;
            }
            self.put_stray_away(topic, index, &path);
        }
    }

    fn put_stray_away(&self, topic: &str, index: PartitionIndex, path: &Path) {
        let id = match tied_to(&*self.folder.fs, path) {
            Ok(Some(id)) => id,
            Ok(None) => {
                tracing::warn!(folder = %path.display(), "folder of nobody's partition: it stays");
                return;
            }
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "folder not understood: it stays");
                return;
            }
        };
        let (delay_ms, was_removed) = self.look_at_catalog(|catalog| {
            (catalog.topic_defaults().file_delete_delay_ms, catalog.was_removed(id))
        });
        self.take_out(topic, index, (id, was_removed), delay_ms);
    }

    /// Gives a folder another name: for deletion if its topic was removed or nothing is lost with
    /// it, and for ever if not.
    fn take_out(
        &self,
        topic: &str,
        index: PartitionIndex,
        (id, was_removed): (TopicId, bool),
        delay_ms: i64,
    ) {
        let path = self.folder.path.join(layout::partition_folder(topic, index));
        let folder = path.display();
        let may_go = match was_removed {
            true => Ok(true),
            false => holds_records(&*self.folder.fs, &path).map(|holds| !holds),
        };
        match may_go {
            Ok(true) => match self.put_away(topic, index, id, delay_ms) {
                Ok(()) => tracing::warn!(topic, partition = %index, delay_ms,
                    "folder of a topic that does not exist any more: put away, and removed after the delay"),
                Err(error) => tracing::error!(%folder, %error, "folder of a deleted topic stays"),
            },
            Ok(false) => {
                let kept = layout::stray_folder(topic, index, self.ids.uuid());
                match self.folder.fs.rename(&path, &self.folder.path.join(&kept)) {
                    Ok(()) => tracing::warn!(%folder, kept,
                        "folder has records of a topic that the catalog does not know: kept under \
                         another name, which ottla never removes; see docs/durability.md for what to do"),
                    Err(error) => tracing::error!(%folder, %error, "stray folder keeps its name"),
                }
            }
            Err(error) => tracing::error!(%folder, %error, "stray folder cannot be looked into"),
        }
    }

    /// Removes the folders of deleted partitions whose time has come.
    pub(super) fn remove_due_folders(&self, now: Timestamp) {
        let mut due: Vec<PathBuf> = Vec::new();
        let mut folders = self.deleted_folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.retain(|(at, path)| {
            let stays = *at > now;
            if !stays {
                due.push(path.clone());
            }
            stays
        });
        drop(folders);
        for path in due {
            if let Err(error) = self.folder.fs.remove_dir_all(&path) {
                tracing::warn!(folder = %path.display(), %error, "deleted folder not removed");
            }
        }
    }
}
