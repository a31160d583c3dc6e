//! A copy of a data folder whose broker may run: consistent as of some moment while it was made.
//!
//! The broker takes no part in it. The order makes the copy consistent:
//! 1. the coordinators' journals: what is committed in the groups' lies in logs that are copied later,
//!    and so have it;
//! 2. the log of every topic that the catalog names;
//! 3. the catalog, last: it knows every producer id in the logs. Topics that it knows by then and that
//!    were not copied are copied, and those that it does not know any more are left out, until nothing
//!    changes; offsets of topics that are gone are forgotten by the copy's first start.
//!
//! A transaction that began or ended meanwhile could be in one partition's copy and not in another's: so
//! all of it is done again, until the coordinator of transactions has decided nothing in between.
//!
//! Each log is checked batch by batch as it is copied. Everything is on disk, under a clean
//! checkpoint, before the copy gets its name.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::data_folder::{Clean, DataFolderError};
use super::offline::{Access, METADATA_FOLDER, OfflineError, OfflineFolder, read_catalog};
use super::open::{METADATA_ID, TRANSACTIONS_TOPIC, is_journal};
use super::snapshot;
use crate::log::copy::{Copied, CopyError, copy_log, copy_small};
use crate::log::fs::{DataLock, Fs, LockError};
use crate::log::{Damage, layout};
use crate::types::{Offset, PartitionIndex, TopicId};

/// How often a log is tried that changes meanwhile.
const TRIES: usize = 20;
/// How often the catalog is looked at again.
const ROUNDS: usize = 20;
/// How often everything is copied until no transaction begins or ends meanwhile.
const QUIET_ROUNDS: usize = 5;
/// Wait before another try.
const RETRY: Duration = Duration::from_millis(20);
/// What a copy's name ends in while it is made.
const UNFINISHED_SUFFIX: &str = ".ottla-tmp";

/// Why there is no copy. Nothing is at its place.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder to copy.
    #[error(transparent)]
    Source(#[from] OfflineError),
    /// Something is where the copy should be.
    #[error("{} is there and not empty: choose another folder", .0.display())]
    NotEmpty(PathBuf),
    /// The copy would be a part of itself.
    #[error("{} lies in the data folder: choose one outside", .0.display())]
    Inside(PathBuf),
    /// Somebody makes a copy there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A log that is damaged, or changes all the time.
    #[error("{partition}: {error}")]
    Log {
        /// Its folder.
        partition: String,
        /// Why it cannot be copied.
        error: CopyError,
    },
    /// Transactions began or ended all the time.
    #[error("transactions go on while the copy is made: stop the transactional producers for it")]
    Transactions,
    /// A partition that the catalog knows has no folder.
    #[error("{0} has no folder, or another topic's: see `ottla log check`")]
    Missing(String),
    /// The checkpoint of the copy.
    #[error(transparent)]
    Checkpoint(#[from] DataFolderError),
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
}

/// What a copy has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Partitions, those of the broker's own topics included.
    pub partitions: usize,
    /// Bytes of batches.
    pub bytes: u64,
}

/// A copy under way.
struct Backup<'a> {
    from: OfflineFolder,
    to: PathBuf,
    copied: BTreeMap<String, (TopicId, Copied)>,
    progress: &'a mut dyn FnMut(u64, &str),
    done: u64,
}

/// Copies the data folder `from` to `to`, which must not exist or be empty. The broker on it may run.
/// `progress` is told how many bytes have been copied, and the partition under way.
///
/// # Errors
/// See [`BackupError`].
pub fn backup(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, &str),
) -> Result<Summary, BackupError> {
    let from = OfflineFolder::open(from, Access::Shared)?;
    check_target(&from, to)?;
    let mut name = to.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    let unfinished = PathBuf::from(name);
    let lock = DataLock::take(&unfinished)?;
    let mut backup = Backup { from, to: unfinished, copied: BTreeMap::new(), progress, done: 0 };
    backup.clear()?;
    backup.run()?;
    let (fs, unfinished) = (backup.from.fs(), &backup.to);
    fs.rename(unfinished, to).map_err(fault("rename", unfinished))?;
    let above = to.parent().unwrap_or(Path::new(""));
    fs.sync_dir(above).map_err(fault("sync", above))?;
    drop(lock);
    let bytes = backup.copied.values().map(|(_, copied)| copied.bytes).sum();
    Ok(Summary { partitions: backup.copied.len(), bytes })
}

fn fault<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io { action, path: path.to_owned(), source }
}

fn check_target(from: &OfflineFolder, to: &Path) -> Result<(), BackupError> {
    let fs = from.fs();
    if fs.exists(to) {
        match fs.list(to) {
            Ok(entries) if entries.is_empty() => {}
            Ok(_) => return Err(BackupError::NotEmpty(to.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(BackupError::NotEmpty(to.to_owned()));
            }
            Err(error) => return Err(fault("look into", to)(error)),
        }
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(fault("name", path));
    if absolute(to)?.starts_with(absolute(from.path())?) {
        return Err(BackupError::Inside(to.to_owned()));
    }
    Ok(())
}

impl Backup<'_> {
    fn run(&mut self) -> Result<(), BackupError> {
        let fs = self.from.fs();
        if !copy_small(fs, self.from.path(), &self.to, "meta.properties")
            .map_err(fault("copy meta.properties to", &self.to))?
        {
            return Err(BackupError::Missing("meta.properties".to_owned()));
        }
        self.copy_between_transactions()?;
        let checkpoints = self
            .copied
            .iter()
            .map(|(name, (id, copied))| (name.clone(), *id, copied.start, copied.end));
        let folder = OfflineFolder::open(&self.to, Access::Shared)?;
        folder.write_checkpoints(Clean::Yes, checkpoints)?;
        self.from.fs().sync_dir(&self.to).map_err(fault("sync", &self.to))
    }

    /// Copies everything, again where the coordinator of transactions has decided something meanwhile:
    /// one that has ended between the copies of two partitions would be torn.
    fn copy_between_transactions(&mut self) -> Result<(), BackupError> {
        let transactions = layout::partition_folder(TRANSACTIONS_TOPIC, PartitionIndex(0));
        for _ in 0..QUIET_ROUNDS {
            let journals = self.from.partitions().map_err(fault("look into", self.from.path()))?;
            let holds_journal = |name: &&String| {
                layout::parse_partition_folder(name).is_some_and(|(topic, _)| is_journal(topic))
            };
            for name in journals.iter().filter(holds_journal) {
                let id = self.from.topic_id(name);
                self.copy(name, id)?;
            }
            let decided = self.copied.get(&transactions).map(|(_, copied)| copied.end);
            self.copy_topics_and_catalog()?;
            let Some((id, _)) = self.copied.get(&transactions).copied() else { return Ok(()) };
            self.copy(&transactions, id)?;
            if self.copied.get(&transactions).map(|(_, copied)| copied.end) == decided {
                return Ok(());
            }
            for name in self.copied.keys().cloned().collect::<Vec<_>>() {
                self.forget(&name)?;
            }
        }
        Err(BackupError::Transactions)
    }

    /// Copies the catalog, and every topic it knows, until it knows nothing else.
    fn copy_topics_and_catalog(&mut self) -> Result<(), BackupError> {
        let mut missing = None;
        for _ in 0..ROUNDS {
            self.copy(METADATA_FOLDER, METADATA_ID)?;
            let known = self.known()?;
            let is_gone = |name: &String, id: &TopicId| {
                name != METADATA_FOLDER && known.get(name).is_none_or(|known| known != id)
            };
            let gone: Vec<String> = self
                .copied
                .iter()
                .filter(|(name, (id, _))| is_gone(name, id))
                .map(|(name, _)| name.clone())
                .collect();
            for name in gone {
                self.forget(&name)?;
            }
            let new: Vec<_> =
                known.into_iter().filter(|(name, _)| !self.copied.contains_key(name)).collect();
            if new.is_empty() {
                return Ok(());
            }
            for (name, id) in new {
                // Deleted since, or just being made: the next look at the catalog tells.
                if self.from.topic_id(&name) == id {
                    match self.copy(&name, id) {
                        Err(BackupError::Log { error: CopyError::Changed, .. }) => {}
                        copied => copied?,
                    }
                } else {
                    std::thread::sleep(RETRY);
                    missing = Some(name);
                }
            }
        }
        Err(BackupError::Missing(missing.unwrap_or_else(|| METADATA_FOLDER.to_owned())))
    }

    /// The partitions that the copied catalog knows, with their topics' ids.
    fn known(&self) -> Result<BTreeMap<String, TopicId>, BackupError> {
        let dir = self.to.join(METADATA_FOLDER);
        let catalog = read_catalog(self.from.fs(), &dir).map_err(fault("read", &dir))?;
        let mut known = BTreeMap::new();
        for topic in catalog.topics() {
            for (index, _) in (0..).zip(&topic.partitions) {
                known
                    .insert(layout::partition_folder(&topic.name, PartitionIndex(index)), topic.id);
            }
        }
        Ok(known)
    }

    /// Copies a partition anew.
    fn copy(&mut self, name: &str, id: TopicId) -> Result<(), BackupError> {
        let (from, to) = (self.from.dir(name), self.to.join(name));
        let durable = self.from.checkpoint(name).durable_up_to;
        let mut damage: Option<Damage> = None;
        for _ in 0..TRIES {
            self.forget(name)?;
            let before = self.done;
            let (done, progress) = (&mut self.done, &mut self.progress);
            let copied = copy_log(self.from.fs(), &from, &to, durable, &mut |bytes| {
                *done += bytes;
                progress(*done, name);
            });
            let copied = match copied {
                Ok(copied) if name == METADATA_FOLDER => {
                    let snapshot = copy_snapshot(self.from.fs(), &from, &to, &copied);
                    snapshot.map(|()| copied).map_err(|error| match error {
                        // A newer one has taken its place.
                        CopyError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                            CopyError::Changed
                        }
                        other => other,
                    })
                }
                copied => copied,
            };
            let refused = |error| BackupError::Log { partition: name.to_owned(), error };
            match copied {
                Ok(copied) => {
                    let tie = layout::PARTITION_METADATA;
                    copy_small(self.from.fs(), &from, &to, tie).map_err(fault("copy to", &to))?;
                    self.copied.insert(name.to_owned(), (id, copied));
                    return Ok(());
                }
                Err(CopyError::Changed) => {}
                // Only damage that is there a second time is any.
                Err(CopyError::Damaged(found)) if damage.as_ref() != Some(&found) => {
                    damage = Some(found);
                }
                Err(error) => return Err(refused(error)),
            }
            self.done = before;
            std::thread::sleep(RETRY);
        }
        Err(BackupError::Log { partition: name.to_owned(), error: CopyError::Changed })
    }

    /// Takes a partition out of the copy.
    fn forget(&mut self, name: &str) -> Result<(), BackupError> {
        let (fs, dir) = (self.from.fs(), self.to.join(name));
        self.copied.remove(name);
        if fs.exists(&dir) {
            fs.remove_dir_all(&dir).map_err(fault("remove", &dir))?;
        }
        Ok(())
    }

    /// Removes what an earlier try left.
    fn clear(&mut self) -> Result<(), BackupError> {
        let fs: &dyn Fs = self.from.fs();
        for entry in fs.list(&self.to).map_err(fault("look into", &self.to))? {
            let path = self.to.join(&entry.name);
            let removed = match entry.is_dir {
                true => fs.remove_dir_all(&path),
                false if entry.name == DataLock::FILE => Ok(()),
                false => fs.remove_file(&path),
            };
            removed.map_err(fault("remove", &path))?;
        }
        Ok(())
    }
}

/// Copies the snapshot that a copied catalog's log goes on from, if it needs one.
fn copy_snapshot(fs: &dyn Fs, from: &Path, to: &Path, log: &Copied) -> Result<(), CopyError> {
    for (offset, path) in snapshot::list(fs, from)? {
        // One that is newer than the copied log, or older than where it begins, is of no use to it.
        if log.end < offset || offset < log.start {
            continue;
        }
        if let Err(damage) = snapshot::read(fs, &path, offset)? {
            return Err(damage.into());
        }
        let bytes = fs.read(&path, u64::MAX)?;
        let name = path.file_name().unwrap_or_default();
        return Ok(fs.atomic_write(&to.join(name), &bytes)?);
    }
    if log.start > Offset(0) { Err(CopyError::Changed) } else { Ok(()) }
}
