//! The data folder: who has it, what format it is in, and what the last run knew of its logs.
//!
//! | file | what |
//! |---|---|
//! | `.lock` | held while a process has the folder; names its pid |
//! | `meta.properties` | cluster id, node id, format version, a CRC-32C of the lines before it; Kafka's name and form |
//! | `ottla-checkpoint` | per partition its topic's id, the log start and how far it was synced; a CRC-32C at the end |
//!
//! The checkpoint may lag: it only saves work at start. A line counts for the topic of its id, not for
//! a later one of the same name. After a clean stop it says so, and is put
//! down as unclean again before anything is written.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::crc32c;
use crate::ids::Ids;
use crate::log::fs::{Fs, TMP_SUFFIX};
use crate::log::{Checkpoint, LogError};
use crate::types::{NodeId, Offset, TopicId};

/// The format of data folders that this version writes.
const FORMAT: u32 = 1;
const META: &str = "meta.properties";
const META_CRC: &str = "ottla.crc32c";
const CHECKPOINT: &str = "ottla-checkpoint";
/// Largest meta.properties read, in bytes.
const META_BYTES_MAX: u64 = 64 * 1024;
/// Largest checkpoint read, in bytes.
const CHECKPOINT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
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
    /// Nothing of ours is there.
    #[error("{} is no data folder of ottla: it has no {META}", path.display())]
    NotThere {
        /// The folder.
        path: PathBuf,
    },
    /// Written by a newer ottla.
    #[error(
        "{} is in format {found}, this version reads up to {FORMAT}: use the newer ottla that wrote it",
        path.display()
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// `meta.properties` makes no sense.
    #[error("{} is not a meta.properties of ottla: {reason}", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder holds something else.
    #[error(
        "{} is no data folder of ottla: it has no {META}, but {entry} is in it. Choose an empty folder \
         with --data-dir; if this was a data folder, put its {META} back",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the things in it.
        entry: String,
    },
    /// The folder belongs to another node.
    #[error("{} belongs to node {found}, not {asked}: set node.id={found} or use another folder", path.display())]
    OtherNode {
        /// The folder.
        path: PathBuf,
        /// Its node.
        found: NodeId,
        /// The node that starts.
        asked: NodeId,
    },
}

/// An open data folder.
#[derive(Debug)]
pub(super) struct DataFolder {
    /// Its files.
    pub fs: Arc<dyn Fs>,
    /// Where it is.
    pub path: PathBuf,
    /// The identity of the cluster, made once.
    pub cluster_id: String,
    checkpoints: HashMap<String, (TopicId, Checkpoint)>,
}

impl DataFolder {
    /// Opens or makes the folder.
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        node_id: NodeId,
        ids: &Ids,
    ) -> Result<Self, DataFolderError> {
        fs.create_dir_all(&path).map_err(fault("make", &path))?;
        let meta = path.join(META);
        let cluster_id = if fs.exists(&meta) {
            let bytes = fs.read(&meta, META_BYTES_MAX).map_err(fault("read", &meta))?;
            read_meta(&path, &meta, &bytes, Some(node_id))?
        } else {
            refuse_foreign(&*fs, &path)?;
            let cluster_id = TopicId(ids.uuid()).to_string();
            sync_above(&*fs, &path)?;
            fs.atomic_write(&meta, meta_text(&cluster_id, node_id).as_bytes())
                .map_err(fault("write", &meta))?;
            cluster_id
        };
        let checkpoints = stored_checkpoints(&*fs, &path)?;
        Ok(Self { fs, path, cluster_id, checkpoints })
    }

    /// What the last run knew of the log in `folder`, if it was that topic's.
    pub(super) fn checkpoint(&self, folder: &str, topic_id: TopicId) -> Checkpoint {
        match self.checkpoints.get(folder) {
            Some((id, checkpoint)) if *id == topic_id => *checkpoint,
            Some(_) | None => Checkpoint::default(),
        }
    }

    /// Opens a folder that is there, of whichever node, and writes nothing.
    pub(super) fn look(fs: Arc<dyn Fs>, path: PathBuf) -> Result<Self, DataFolderError> {
        let meta = path.join(META);
        if !fs.exists(&meta) {
            return Err(DataFolderError::NotThere { path });
        }
        let bytes = fs.read(&meta, META_BYTES_MAX).map_err(fault("read", &meta))?;
        let cluster_id = read_meta(&path, &meta, &bytes, None)?;
        let checkpoints = stored_checkpoints(&*fs, &path)?;
        Ok(Self { fs, path, cluster_id, checkpoints })
    }

    /// Puts down that logs may go on from here, with what the last run knew of them; durable on return.
    pub(super) fn mark_running(&self) -> Result<(), DataFolderError> {
        if !self.checkpoints.values().any(|(_, checkpoint)| checkpoint.clean) {
            return Ok(());
        }
        let known = self.checkpoints.iter();
        let known = known.map(|(folder, (topic_id, checkpoint))| {
            (folder.clone(), *topic_id, checkpoint.log_start, checkpoint.durable_up_to)
        });
        self.write_checkpoints(Clean::No, known)
    }

    /// What the last run knew of all logs, by folder.
    pub(super) fn checkpoints_mut(&mut self) -> &mut HashMap<String, (TopicId, Checkpoint)> {
        &mut self.checkpoints
    }

    /// Puts down how far each log is synced; durable on return.
    pub(super) fn write_checkpoints(
        &self,
        clean: Clean,
        logs: impl Iterator<Item = (String, TopicId, Offset, Offset)>,
    ) -> Result<(), DataFolderError> {
        let mut text = format!("ottla-checkpoint 2 {}\n", clean.word());
        for (folder, topic_id, start, durable) in logs {
            text.push_str(&format!("{folder} {topic_id} {start} {durable}\n"));
        }
        let crc = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("crc32c {crc:08x}\n"));
        let file = self.path.join(CHECKPOINT);
        self.fs.atomic_write(&file, text.as_bytes()).map_err(fault("write", &file))
    }

    /// Names what was tried, for an error of the file system.
    pub(super) fn fault<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> DataFolderError + 'a {
        fault(action, path)
    }
}

/// Whether logs were closed before their checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clean {
    /// Everything up to the durable offset is all there is.
    Yes,
    /// More may follow.
    No,
}

impl Clean {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "clean",
            Self::No => "running",
        }
    }
}

fn fault<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> DataFolderError + 'a {
    move |source| DataFolderError::Io { action, path: path.to_owned(), source }
}

/// Takes an empty folder only, so that nobody's files get mixed up with ours. What a file system or
/// an interrupted first start leaves does not count, nor do hidden files.
fn refuse_foreign(fs: &dyn Fs, path: &Path) -> Result<(), DataFolderError> {
    let entries = fs.list(path).map_err(fault("look through", path))?;
    let counts =
        |name: &str| !name.starts_with('.') && name != "lost+found" && !name.ends_with(TMP_SUFFIX);
    match entries.into_iter().find(|entry| counts(&entry.name)) {
        None => Ok(()),
        Some(entry) => Err(DataFolderError::Foreign { path: path.to_owned(), entry: entry.name }),
    }
}

fn stored_checkpoints(
    fs: &dyn Fs,
    folder: &Path,
) -> Result<HashMap<String, (TopicId, Checkpoint)>, DataFolderError> {
    let file = folder.join(CHECKPOINT);
    if !fs.exists(&file) {
        return Ok(HashMap::new());
    }
    let bytes = fs.read(&file, CHECKPOINT_BYTES_MAX).map_err(fault("read", &file))?;
    // One that is damaged only costs a scan: every log finds its own end again.
    Ok(read_checkpoints(&bytes).unwrap_or_default())
}

/// Makes the names of a new folder and of those made for it durable: what is acknowledged later lies
/// in them. A folder above that may not be read is none of them.
fn sync_above(fs: &dyn Fs, folder: &Path) -> Result<(), DataFolderError> {
    for above in folder.ancestors().skip(1) {
        match fs.sync_dir(above) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            result => result.map_err(fault("sync", above))?,
        }
    }
    Ok(())
}

fn meta_text(cluster_id: &str, node_id: NodeId) -> String {
    let text =
        format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\nottla.format={FORMAT}\n");
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text}{META_CRC}={crc:08x}\n")
}

/// Whether the checksum fits. A file without that line is believed: one whose line is damaged has only
/// that wrong, and who changes the file by hand takes it out.
fn is_meta_whole(text: &str) -> bool {
    let lines = text.match_indices(META_CRC).filter(|(at, _)| {
        text.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with('\n'))
    });
    lines.last().is_none_or(|(at, _)| {
        let (body, line) = text.split_at_checked(at).unwrap_or((text, ""));
        let crc = crc32c::crc32c(body.as_bytes());
        line.trim_end() == format!("{META_CRC}={crc:08x}")
    })
}

fn read_meta(
    folder: &Path,
    file: &Path,
    bytes: &[u8],
    node_id: Option<NodeId>,
) -> Result<String, DataFolderError> {
    let not_ours = |reason: &str| DataFolderError::NotOurs {
        path: file.to_owned(),
        reason: reason.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| not_ours("it is not text"))?;
    if !is_meta_whole(text) {
        return Err(not_ours(&format!(
            "its checksum does not fit: put a copy back, or remove the line {META_CRC} if you changed \
             it yourself"
        )));
    }
    let values: HashMap<_, _> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let format = values.get("ottla.format").ok_or_else(|| {
        not_ours("it has no ottla.format (a folder of Apache Kafka? use another one)")
    })?;
    let found = format.parse().map_err(|_| not_ours("ottla.format is no number"))?;
    if found > FORMAT {
        return Err(DataFolderError::NewerFormat { path: folder.to_owned(), found });
    }
    let node = values.get("node.id").and_then(|node| node.parse().ok());
    let node = NodeId(node.ok_or_else(|| not_ours("it has no node.id"))?);
    if let Some(asked) = node_id.filter(|asked| *asked != node) {
        let path = folder.to_owned();
        return Err(DataFolderError::OtherNode { path, found: node, asked });
    }
    let cluster_id = values.get("cluster.id").ok_or_else(|| not_ours("it has no cluster.id"))?;
    Ok((*cluster_id).to_owned())
}

fn read_checkpoints(bytes: &[u8]) -> Option<HashMap<String, (TopicId, Checkpoint)>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (body, crc) = text.trim_end().rsplit_once('\n')?;
    let crc = u32::from_str_radix(crc.strip_prefix("crc32c ")?, 16).ok()?;
    let body = text.get(..body.len().checked_add(1)?)?;
    if crc != crc32c::crc32c(body.as_bytes()) {
        return None;
    }
    let mut lines = body.lines();
    let clean = match lines.next()? {
        "ottla-checkpoint 2 clean" => true,
        "ottla-checkpoint 2 running" => false,
        _ => return None,
    };
    let mut checkpoints = HashMap::new();
    for line in lines {
        let mut words = line.rsplitn(4, ' ');
        let durable_up_to = Offset(words.next()?.parse().ok()?);
        let log_start = Offset(words.next()?.parse().ok()?);
        let topic_id = TopicId::parse(words.next()?)?;
        let folder = words.next()?.to_owned();
        checkpoints.insert(folder, (topic_id, Checkpoint { log_start, durable_up_to, clean }));
    }
    Some(checkpoints)
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder as a whole.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The log of the metadata or of the groups: without them nothing is right.
    #[error("{journal} cannot be opened: {error}")]
    Journal {
        /// Its folder.
        journal: String,
        /// Why.
        error: LogError,
    },
    /// There is data, but nothing that says what it is.
    #[error(
        "{} holds records of {count} partitions ({first} among them), but its {journal} is missing or \
         empty. Put {journal} back from a backup; nothing has been changed. To begin anew, choose \
         another folder with --data-dir",
        path.display()
    )]
    CatalogLost {
        /// The data folder.
        path: PathBuf,
        /// The catalog's folder in it.
        journal: String,
        /// One of the partitions.
        first: String,
        /// How many there are.
        count: usize,
    },
    /// What a journal holds.
    #[error("{journal} cannot be read: {reason}")]
    Replay {
        /// Its folder.
        journal: String,
        /// Why.
        reason: String,
    },
    /// More partitions than files that may be open.
    #[error(
        "{count} partitions are over the {most} that can be served with {files} open files: raise that \
         limit (ulimit -n, LimitNOFILE=); nothing has been changed"
    )]
    TooFewFiles {
        /// Partitions of all topics.
        count: usize,
        /// How many may be.
        most: usize,
        /// Files that may be open.
        files: u64,
    },
    /// A thread or the runtime.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
