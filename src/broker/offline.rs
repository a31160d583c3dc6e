//! The data folder of a broker that does not run, for the tools that look at it and repair it.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::data_folder::{Clean, DataFolder, DataFolderError};
use super::folders::{holds_records, tied_to};
use super::open::METADATA_ID;
use super::snapshot;
use crate::catalog::{Catalog, CatalogRecord, Setup};
use crate::config::broker::BrokerConfig;
use crate::log::fs::{DataLock, Fs, LockError, RealFs};
use crate::log::inspect::{Found, segment_files, walk_file};
use crate::log::{Checkpoint, Damage, layout};
use crate::records::ValidBatch;
use crate::types::{NodeId, Offset, PartitionIndex, TopicId};

/// The folder that holds the catalog.
pub(super) const METADATA_FOLDER: &str = "__cluster_metadata-0";
/// Largest `partition.metadata` read, in bytes.
const METADATA_BYTES_MAX: u64 = 1024;
/// Bytes that the records of one batch of the catalog may unpack to.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is to be done with a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody else may have it meanwhile.
    Alone,
    /// Only reading, beside a broker that may run.
    Shared,
}

/// Why a data folder cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// It is none of ours, or of a later version.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// A broker runs on it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What becomes of a folder whose partition the catalog does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayFate {
    /// ottla did not make it, or cannot tell.
    LeftAlone,
    /// Its topic was deleted, or nothing is lost with it.
    Removed,
    /// It gets another name and stays.
    Kept,
}

/// A data folder, held for as long as this lives.
#[derive(Debug)]
pub struct OfflineFolder {
    folder: DataFolder,
    _lock: Option<DataLock>,
}

impl OfflineFolder {
    /// Opens a folder that must be there.
    ///
    /// # Errors
    /// See [`OfflineError`]; a file system that is mounted to be read only needs no lock.
    pub fn open(path: &Path, access: Access) -> Result<Self, OfflineError> {
        let folder = DataFolder::look(Arc::new(RealFs), path.to_owned())?;
        let lock = match access {
            Access::Shared => None,
            Access::Alone => match DataLock::take_existing(path) {
                Err(LockError::Io { source, .. })
                    if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
                {
                    None
                }
                taken => Some(taken?),
            },
        };
        Ok(Self { folder, _lock: lock })
    }

    /// Its files.
    pub fn fs(&self) -> &dyn Fs {
        &*self.folder.fs
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The folder of a partition.
    pub fn dir(&self, partition: &str) -> PathBuf {
        self.folder.path.join(partition)
    }

    /// The names of all partitions' folders, by topic and number.
    ///
    /// # Errors
    /// What the system says.
    pub fn partitions(&self) -> io::Result<Vec<String>> {
        let entries = self.folder.fs.list(&self.folder.path)?;
        let mut found: Vec<_> = entries
            .iter()
            .filter(|entry| entry.is_dir)
            .filter_map(|entry| layout::parse_partition_folder(&entry.name))
            .map(|(topic, index)| (topic.to_owned(), index))
            .collect();
        found.sort();
        Ok(found.iter().map(|(topic, index)| layout::partition_folder(topic, *index)).collect())
    }

    /// The names of the folders that a start has kept because the catalog did not know their topics.
    ///
    /// # Errors
    /// What the system says.
    pub fn kept_strays(&self) -> io::Result<Vec<String>> {
        let entries = self.folder.fs.list(&self.folder.path)?;
        let strays =
            entries.into_iter().filter(|it| it.is_dir && layout::is_stray_folder(&it.name));
        Ok(strays.map(|entry| entry.name).collect())
    }

    /// What the next start does with the folder of a partition that the catalog does not have.
    ///
    /// # Errors
    /// What the system says.
    pub fn fate_of_stray(&self, partition: &str) -> io::Result<StrayFate> {
        let dir = self.dir(partition);
        let Ok(Some(id)) = tied_to(self.fs(), &dir) else { return Ok(StrayFate::LeftAlone) };
        let may_go = self.catalog()?.was_removed(id) || !holds_records(self.fs(), &dir)?;
        Ok(if may_go { StrayFate::Removed } else { StrayFate::Kept })
    }

    /// What the last run knew of a partition, if its folder is still the same topic's.
    pub fn checkpoint(&self, partition: &str) -> Checkpoint {
        self.folder.checkpoint(partition, self.topic_id(partition))
    }

    /// The topic that a partition's folder belongs to.
    pub(super) fn topic_id(&self, partition: &str) -> TopicId {
        if partition == METADATA_FOLDER {
            return METADATA_ID;
        }
        let file = self.dir(partition).join(layout::PARTITION_METADATA);
        let bytes = self.fs().read(&file, METADATA_BYTES_MAX).unwrap_or_default();
        let id = std::str::from_utf8(&bytes).ok().and_then(layout::parse_partition_metadata);
        id.unwrap_or(TopicId::ZERO)
    }

    /// Puts down that a partition's log was changed and is all on disk, with these offsets.
    ///
    /// # Errors
    /// The file system's.
    pub fn set_ends(
        &mut self,
        partition: &str,
        start: Offset,
        end: Offset,
    ) -> Result<(), DataFolderError> {
        let id = self.topic_id(partition);
        let known = self.folder.checkpoints_mut();
        let clean = known.values().any(|(_, checkpoint)| checkpoint.clean);
        let changed = Checkpoint { log_start: start, durable_up_to: end, clean };
        known.insert(partition.to_owned(), (id, changed));
        let all: BTreeMap<_, _> = known.iter().map(|(name, one)| (name.clone(), *one)).collect();
        let clean = if clean { Clean::Yes } else { Clean::No };
        let all =
            all.into_iter().map(|(name, (id, one))| (name, id, one.log_start, one.durable_up_to));
        self.folder.write_checkpoints(clean, all)
    }

    /// Puts down what is known of all logs.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn write_checkpoints(
        &self,
        clean: Clean,
        logs: impl Iterator<Item = (String, TopicId, Offset, Offset)>,
    ) -> Result<(), DataFolderError> {
        self.folder.write_checkpoints(clean, logs)
    }

    /// The catalog, as far as its log can be read.
    ///
    /// # Errors
    /// What the system says.
    pub fn catalog(&self) -> io::Result<Catalog> {
        read_catalog(self.fs(), &self.dir(METADATA_FOLDER))
    }

    /// The partitions' folders that the catalog asks for, and whether the last run knew of anything
    /// in them.
    ///
    /// # Errors
    /// What the system says.
    pub fn expected_partitions(&self) -> io::Result<BTreeMap<String, bool>> {
        let catalog = self.catalog()?;
        let mut expected = BTreeMap::new();
        for topic in catalog.topics() {
            for (index, _) in (0..).zip(&topic.partitions) {
                let name = layout::partition_folder(&topic.name, PartitionIndex(index));
                let was_written = self.folder.checkpoint(&name, topic.id).durable_up_to > Offset(0);
                expected.insert(name, was_written);
            }
        }
        Ok(expected)
    }
}

/// What is wrong with the snapshots of a catalog.
///
/// # Errors
/// What the system says.
pub fn snapshot_damage(folder: &OfflineFolder) -> io::Result<Vec<Damage>> {
    let mut damage = Vec::new();
    let dir = folder.dir(METADATA_FOLDER);
    for (end, path) in snapshot::list(folder.fs(), &dir)? {
        damage.extend(snapshot::read(folder.fs(), &path, end)?.err());
    }
    Ok(damage)
}

/// The catalog in a folder, as far as its snapshot and its log can be read; an empty one where there is none.
pub(super) fn read_catalog(fs: &dyn Fs, dir: &Path) -> io::Result<Catalog> {
    let mut catalog = Catalog::new(Setup {
        cluster_id: String::new(),
        nodes: vec![NodeId(0)],
        broker: BrokerConfig::default(),
        statics: BTreeMap::new(),
        open_files_max: None,
    });
    if !fs.exists(dir) {
        return Ok(catalog);
    }
    let mut from = Offset(0);
    for (end, path) in snapshot::list(fs, dir)? {
        if let Ok(snapshot) = snapshot::read(fs, &path, end)? {
            from = snapshot.end;
            for value in snapshot.values {
                if let Ok(read) = CatalogRecord::decode(value) {
                    catalog.replay(&read.record);
                }
            }
            break;
        }
    }
    for segment in segment_files(fs, dir)? {
        let mut expected = segment.base;
        walk_file(fs, &segment.path, &mut expected, true, &mut |found| {
            if let Found::Batch { batch, .. } = found
                && from <= batch.header().base_offset
            {
                replay(&mut catalog, batch);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(catalog)
}

/// Replays what can be read of a batch.
fn replay(catalog: &mut Catalog, batch: &ValidBatch) {
    let Ok(records) = batch.records(BATCH_BYTES_MAX) else { return };
    if batch.header().attributes.is_control() {
        return;
    }
    for record in records.iter().flatten() {
        let value = records.own(&record).value.unwrap_or_default();
        if let Ok(read) = CatalogRecord::decode(value) {
            catalog.replay(&read.record);
        }
    }
}
