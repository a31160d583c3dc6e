//! Opening and closing a broker: catalog first, then every log, then the groups.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use uuid::Uuid;

use super::cleaner::Cleaner;
use super::data_folder::{Clean, DataFolder, DataFolderError, OpenError};
use super::folders::{Opening, check_catalog_is_there};
use super::shell::Shell;
use super::tasks::{Tasks, for_each_index};
use super::{Broker, settings, snapshot, txns};
use crate::catalog::{self, Catalog, CatalogRecord, ProducerIdBlock, Setup};
use crate::clock::{Clock, SteadyTime};
use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::config::value::Durability;
use crate::groups::{Coordinator, GroupRecord, RecordError};
use crate::ids::Ids;
use crate::log::fs::{Fs, open_files_max};
use crate::log::{Checkpoint, Log, LogConfig, layout};
use crate::machine::Machine;
use crate::partition::{
    AppendError, Flusher, Journal, JournalEntry, JournalRecord, Partition, PartitionConfig,
    PartitionContext, PartitionName, ProducerSlots, Registry, Space,
};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId};

/// Kafka's name for the topic that the catalog lies in, and its fixed id.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";
pub(super) const METADATA_ID: TopicId = TopicId(Uuid::from_u128(1));
/// The topic that the coordinator of groups keeps its journal in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic that the coordinator of transactions keeps its journal in.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Whether a topic is the journal of a coordinator.
pub(super) fn is_journal(topic: &str) -> bool {
    [OFFSETS_TOPIC, TRANSACTIONS_TOPIC].contains(&topic)
}

/// What a broker is opened with.
#[derive(Debug)]
pub struct BrokerOptions {
    /// Its settings.
    pub config: BrokerConfig,
    /// Which of them were set, with their values as Kafka prints them; `None` is null.
    pub statics: BTreeMap<&'static str, Option<String>>,
    /// Its time.
    pub clock: Clock,
    /// Its randomness.
    pub ids: Ids,
    /// Its files.
    pub fs: Arc<dyn Fs>,
    /// Where they are.
    pub folder: PathBuf,
    /// The thread that syncs.
    pub flusher: Flusher,
    /// The owner of its tasks.
    pub tasks: Arc<Tasks>,
    /// Nodes beside this one that partitions can be assigned to.
    pub other_nodes: Vec<NodeId>,
}

/// Why a broker was not closed cleanly; the next start recovers.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// Logs that could not be synced.
    #[error("{count} partitions could not be closed; first {folder}: {error}")]
    Partitions {
        /// How many.
        count: usize,
        /// One of them.
        folder: String,
        /// Why.
        error: AppendError,
    },
    /// The checkpoint.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
}

/// How far a broker was closed; in either case what was acknowledged is as safe as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The next start takes every log as it is.
    Clean,
    /// So many logs had not been synced when the time was over: the next start recovers, as after a
    /// kill.
    Late(usize),
}

impl Broker {
    /// Opens the data folder and everything in it. Blocks on the disk.
    ///
    /// A partition whose log is damaged is opened offline and named in the log; the catalog and the
    /// groups' journal must be sound.
    pub fn open(options: BrokerOptions) -> Result<Arc<Self>, OpenError> {
        let BrokerOptions { config, clock, ids, fs, folder, flusher, tasks, .. } = options;
        let node_id = NodeId(config.node_id);
        let folder = DataFolder::open(fs, folder, node_id, &ids)?;
        check_catalog_is_there(&folder)?;
        folder.mark_running()?;
        let partition_context = PartitionContext {
            durability: config.ottla_durability,
            flusher: flusher.clone(),
            space: Space::default(),
            producer_slots: ProducerSlots::new(
                usize::try_from(config.ottla_max_producers).unwrap_or(usize::MAX),
            ),
        };
        let logs = Logs { folder: &folder, context: &partition_context, clock: &clock };
        let journal = logs.open_journal(METADATA_TOPIC, METADATA_ID, node_id)?;
        let setup = Setup {
            cluster_id: folder.cluster_id.clone(),
            nodes: [vec![node_id], options.other_nodes].concat(),
            broker: config.clone(),
            statics: options.statics,
            open_files_max: open_files_max(),
        };
        let catalog = read_catalog(&folder, setup, &journal)?;
        check_open_files(&catalog)?;
        let id_of = |name| catalog.topic_named(name).map_or(TopicId::ZERO, |topic| topic.id);
        let groups_journal = logs.open_journal(OFFSETS_TOPIC, id_of(OFFSETS_TOPIC), node_id)?;
        let groups = read_groups(&config, &clock, &groups_journal)?;
        let groups = Shell::new(groups, groups_journal.clone(), encode_group, clock.clone());
        let journal_of_transactions =
            logs.open_journal(TRANSACTIONS_TOPIC, id_of(TRANSACTIONS_TOPIC), node_id)?;
        let transactions = txns::Transactions::open(&config, &clock, journal_of_transactions)?;
        let broker = Arc::new(Self {
            node_id,
            cluster_id: folder.cluster_id.clone(),
            registry: Registry::default(),
            in_force: RwLock::new(Arc::clone(catalog.broker())),
            catalog: Mutex::new(catalog),
            catalog_journal: journal,
            producer_ids: Mutex::new(ProducerIdBlock { ids: 0..0 }),
            groups: Arc::new(groups),
            groups_journal,
            transactions,
            partition_context,
            retention_time: Mutex::new(SteadyTime::new(clock.now())),
            producer_time: Mutex::new(SteadyTime::new(clock.now())),
            checkpointed: Mutex::default(),
            deleted_folders: Mutex::default(),
            cleaner: Cleaner::default(),
            config,
            clock,
            ids,
            tasks,
            flusher,
            folder,
        });
        broker.watch_space();
        broker.open_topics()?;
        broker.write_checkpoint(Clean::No)?;
        Ok(broker)
    }

    /// Opens every topic of the catalog, and the broker's own where they are new.
    fn open_topics(&self) -> Result<(), OpenError> {
        // No folder is put away for a removal that a power cut can still take back.
        let replayed = self.catalog_journal.wait_durable(self.catalog_journal.end());
        replayed.map_err(|error| journal_fault(&error))?;
        self.look_at_catalog(|catalog| {
            let topics: Vec<_> = catalog.topics().collect();
            self.carry_out(catalog, &topics, Opening::Start);
        });
        self.put_strays_away();
        let own = self.change_now(|catalog| {
            let wanted: Vec<_> = [OFFSETS_TOPIC, TRANSACTIONS_TOPIC]
                .into_iter()
                .filter(|name| catalog.topic_named(name).is_none())
                .map(|name| catalog.topic_on_demand(name))
                .collect();
            let decided = catalog.create_topics(&wanted, &self.ids);
            let made = decided.into_iter().filter_map(|(_, created)| created.ok());
            (made.flat_map(|created| created.records).collect(), ())
        });
        own.map_err(|error| journal_fault(&error))?;
        self.abort_unknown_transactions();
        self.forget_outdated_ids();
        for topic in self.registry.topics() {
            topic.partitions.iter().for_each(Partition::request_sync);
        }
        self.catalog_journal.partition().request_sync();
        Ok(())
    }

    /// Returns once all that recovery has kept is on disk, and so visible; a partition whose sync
    /// fails is offline by then. Before, end offsets may lie below what was acknowledged.
    ///
    /// # Errors
    /// `Replay` if the catalog's journal is one of those.
    pub async fn recovered(&self) -> Result<(), OpenError> {
        let journal = self.catalog_journal.durable(self.catalog_journal.end()).await;
        journal.map_err(|error| journal_fault(&error))?;
        let topics = self.registry.topics();
        for partition in topics.iter().flat_map(|topic| &topic.partitions) {
            // The error is that it is offline, which has been told.
            drop(partition.visible(partition.watermarks().log_end).await);
        }
        Ok(())
    }

    /// Returns when one of the broker's own journals, of the catalog, of groups or of transactions, has
    /// gone offline: its topic and the reason. The broker must end then: what it does and shows is ahead
    /// of what a restart finds, and neither offsets nor transactions go on before that.
    pub async fn journal_failed(&self) -> (&'static str, AppendError) {
        let end = Offset(i64::MAX);
        loop {
            let (topic, ended) = tokio::select! {
                ended = self.catalog_journal.partition().visible(end) => (METADATA_TOPIC, ended),
                ended = self.groups_journal.partition().visible(end) => (OFFSETS_TOPIC, ended),
                ended = self.transactions.journal.partition().visible(end) => {
                    (TRANSACTIONS_TOPIC, ended)
                }
            };
            if let Err(error) = ended {
                return (topic, error);
            }
        }
    }

    /// Opens one partition's log; a damaged one, or one whose folder cannot be had, stands offline.
    pub(super) fn open_partition(
        &self,
        topic: &catalog::Topic,
        index: PartitionIndex,
        config: PartitionConfig,
        opening: Opening,
    ) -> Arc<Partition> {
        let tied = self.tie_folder(topic, index, opening);
        let journal = match topic.name.as_str() {
            OFFSETS_TOPIC => Some(&self.groups_journal),
            TRANSACTIONS_TOPIC => Some(&self.transactions.journal),
            _ => None,
        };
        if let Some(journal) = journal.filter(|_| index == PartitionIndex(0)) {
            if let Err(error) = tied {
                tracing::error!(topic = topic.name, %error, "a journal is not tied to its topic");
            }
            journal.partition().set_config(config);
            return Arc::clone(journal.partition());
        }
        let assigned = usize::try_from(index.0).ok().and_then(|index| topic.partitions.get(index));
        let name = PartitionName {
            topic_id: topic.id,
            topic: topic.name.as_str().into(),
            index,
            leader: assigned.map_or(self.node_id, |partition| partition.leader),
            leader_epoch: assigned.map_or(LeaderEpoch(0), |partition| partition.leader_epoch),
        };
        let logs =
            Logs { folder: &self.folder, context: &self.partition_context, clock: &self.clock };
        match tied {
            Ok(()) => logs.open(name, config, opening),
            Err(error) => logs.offline(name, config, error.to_string()),
        }
    }

    /// Syncs and closes every log, then says in the data folder that nothing needs recovery. Call
    /// once nothing is served any more. What is not begun when `is_late` says so is left to the next
    /// start.
    pub fn close(&self, is_late: impl Fn() -> bool + Sync) -> Result<Closed, CloseError> {
        let topics = self.registry.topics();
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        let partitions: Vec<_> =
            [self.catalog_journal.partition()].into_iter().chain(partitions).collect();
        let path = &self.folder.path;
        let named = self.folder.fs.sync_dir(path).map_err(DataFolder::fault("sync", path));
        if named.is_ok() {
            // One sync of the folder that holds all others, not one for each of them.
            partitions.iter().for_each(|partition| partition.parent_is_synced());
        }
        let seal = |at: usize| (!is_late()).then(|| partitions[at].seal());
        let outcomes = for_each_index(partitions.len(), seal);
        let mut failed: Option<(String, AppendError)> = None;
        let (mut failed_count, mut late_count) = (0, 0);
        let mut sealed = Vec::with_capacity(partitions.len());
        for (partition, outcome) in partitions.into_iter().zip(outcomes) {
            match outcome {
                Some(Ok(one)) => sealed.push(one),
                Some(Err(error)) => {
                    failed_count += 1;
                    let folder = layout::partition_folder(&partition.topic, partition.index);
                    failed.get_or_insert((folder, error));
                }
                None => late_count += 1,
            }
        }
        // Only behind all syncs: each of those would have to make these names durable as well.
        for_each_index(sealed.len(), |at| {
            if !is_late() {
                sealed[at].save()
            }
        });
        match failed {
            Some((folder, error)) => {
                Err(CloseError::Partitions { count: failed_count, folder, error })
            }
            None if late_count > 0 => Ok(Closed::Late(late_count)),
            None => {
                named?;
                self.write_checkpoint(Clean::Yes)?;
                Ok(Closed::Clean)
            }
        }
    }
}

/// What is wrong with the catalog's journal.
fn journal_fault(error: &dyn std::fmt::Display) -> OpenError {
    OpenError::Replay { journal: METADATA_TOPIC.to_owned(), reason: error.to_string() }
}

/// Journals are synced whatever the setting for topics, unless nothing is.
fn journal_context(context: &PartitionContext) -> PartitionContext {
    let durability = match context.durability {
        Durability::Ephemeral => Durability::Ephemeral,
        Durability::Fsync | Durability::IntervalMs(_) | Durability::Os => Durability::Fsync,
    };
    PartitionContext { durability, ..context.clone() }
}

/// Settings of a journal: segments of 64 MiB, nothing ever deleted by age. Those of the groups' journal
/// hold until its topic is opened, whose settings take their place.
fn journal_config() -> PartitionConfig {
    PartitionConfig {
        log: LogConfig {
            segment_bytes: 64 * 1024 * 1024,
            segment_ms: i64::MAX,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            retention_ms: -1,
            retention_bytes: -1,
            delete: false,
            compact: false,
            file_delete_delay_ms: 0,
        },
        compact: false,
        compaction: settings::compaction_config(&TopicConfig::default()),
        max_message_bytes: u64::MAX,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: None,
    }
}

/// What logs are opened with.
struct Logs<'a> {
    folder: &'a DataFolder,
    context: &'a PartitionContext,
    clock: &'a Clock,
}

impl Logs<'_> {
    /// Opens the log of one of the broker's own journals, which must be sound.
    fn open_journal(
        &self,
        topic: &str,
        topic_id: TopicId,
        leader: NodeId,
    ) -> Result<Journal, OpenError> {
        let name = PartitionName {
            topic_id,
            topic: topic.into(),
            index: PartitionIndex(0),
            leader,
            leader_epoch: LeaderEpoch(0),
        };
        let context = journal_context(self.context);
        let logs = Logs { context: &context, ..*self };
        let partition = logs.open(name, journal_config(), Opening::Start);
        if partition.is_offline() {
            return Err(OpenError::Replay {
                journal: topic.to_owned(),
                reason: partition.offline_reason(),
            });
        }
        Ok(Journal::new(partition))
    }

    /// Opens a log as the last run left it, or a new one.
    fn open(
        &self,
        name: PartitionName,
        config: PartitionConfig,
        opening: Opening,
    ) -> Arc<Partition> {
        let dir_name = layout::partition_folder(&name.topic, name.index);
        let checkpoint = match opening {
            Opening::Start => self.folder.checkpoint(&dir_name, name.topic_id),
            Opening::Change => Checkpoint::default(),
        };
        let (fs, dir) = (Arc::clone(&self.folder.fs), self.folder.path.join(&dir_name));
        let opened = Log::open(fs, dir, config.log, checkpoint, self.clock.now().wall);
        let refused = |error: &dyn std::fmt::Display| {
            format!("{error}; `ottla log repair {dir_name}` decides what is kept")
        };
        let (log, recovery) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.offline(name, config, refused(&error)),
        };
        if let Some(from) = recovery.truncated_from {
            let bytes = recovery.truncated_bytes;
            tracing::warn!(partition = dir_name, %from, bytes, "unfinished write cut off");
        }
        match Partition::open(name.clone(), log, config.clone(), self.context.clone()) {
            Ok(partition) => partition,
            Err(error) => self.offline(name, config, refused(&error)),
        }
    }

    fn offline(
        &self,
        name: PartitionName,
        config: PartitionConfig,
        reason: String,
    ) -> Arc<Partition> {
        let folder = layout::partition_folder(&name.topic, name.index);
        tracing::error!(partition = folder, reason, "partition offline: its log cannot be used");
        Partition::offline(name, config, self.context.clone(), reason)
    }
}

fn read_catalog(
    folder: &DataFolder,
    setup: Setup,
    journal: &Journal,
) -> Result<Catalog, OpenError> {
    let mut catalog = Catalog::new(setup);
    let refused = |reason| OpenError::Replay { journal: METADATA_TOPIC.to_owned(), reason };
    let dir = layout::partition_folder(METADATA_TOPIC, PartitionIndex(0));
    let watermarks = journal.partition().watermarks();
    let ends = (watermarks.log_start, watermarks.log_end);
    let snapshot = snapshot::newest(&*folder.fs, &folder.path.join(dir), ends);
    let snapshot = snapshot.map_err(|error| refused(error.to_string()))?;
    let mut damaged = None;
    let mut take = |value| match CatalogRecord::decode(value) {
        Ok(read) => {
            catalog.replay(&read.record);
        }
        Err(error) => {
            damaged.get_or_insert(error.to_string());
        }
    };
    let from = snapshot.as_ref().map_or(ends.0, |snapshot| snapshot.end);
    snapshot.into_iter().flat_map(|snapshot| snapshot.values).for_each(&mut take);
    let replayed = journal.replay_from(from, |entry| {
        // The catalog writes for no transaction.
        if let JournalEntry::Record(record) = entry {
            take(record.value.unwrap_or_default());
        }
    });
    let reason = replayed.err().map(|error| error.to_string()).or(damaged);
    if let Some(reason) = reason {
        let hint = "`ottla log repair __cluster_metadata-0` decides what is kept";
        return Err(refused(format!("{reason}; {hint}")));
    }
    let end = journal.end();
    catalog.advance_version(u64::try_from(end.0).unwrap_or(0));
    Ok(catalog)
}

/// Refuses to start where partitions would go offline for want of files.
fn check_open_files(catalog: &Catalog) -> Result<(), OpenError> {
    let count = catalog.partition_count();
    match catalog.partitions_by_files().filter(|(_, most)| count > *most) {
        Some((files, most)) => Err(OpenError::TooFewFiles { count, most, files }),
        None => Ok(()),
    }
}

fn read_groups(
    config: &BrokerConfig,
    clock: &Clock,
    journal: &Journal,
) -> Result<Coordinator, OpenError> {
    let now = clock.now();
    let mut groups = Coordinator::new(settings::group_config(config), now);
    let mut damaged = None;
    let replayed = journal.replay(|entry| match decode_group(entry) {
        Ok(Some(record)) => groups.replay(now, record),
        Ok(None) => {}
        Err(error) => {
            damaged.get_or_insert(error.to_string());
        }
    });
    match replayed.err().map(|error| error.to_string()).or(damaged) {
        None => Ok(groups),
        Some(reason) => Err(unreadable(OFFSETS_TOPIC, &reason)),
    }
}

/// A journal that does not say what it should, and what to do about it.
pub(super) fn unreadable(topic: &str, reason: &str) -> OpenError {
    let hint =
        format!("`ottla log check` tells more, `ottla log repair {topic}-0` decides what is kept");
    OpenError::Replay { journal: topic.to_owned(), reason: format!("{reason}; {hint}") }
}

fn encode_group(record: &GroupRecord) -> Result<JournalEntry, String> {
    let encoded = record.encode().map_err(|error| error.to_string())?;
    let (key, value) = encoded.map_or((None, None), |(key, value)| (Some(key), value));
    let encoded = JournalRecord { key, value };
    Ok(match *record {
        GroupRecord::Offset { .. } | GroupRecord::Group { .. } => JournalEntry::Record(encoded),
        GroupRecord::PendingOffset { producer_id, producer_epoch, .. } => {
            JournalEntry::Pending { producer_id, producer_epoch, record: encoded }
        }
        GroupRecord::EndTransaction { producer_id, producer_epoch, marker } => {
            JournalEntry::Marker { producer_id, producer_epoch, marker }
        }
    })
}

/// `None` for a record without a key, which says nothing.
fn decode_group(entry: JournalEntry) -> Result<Option<GroupRecord>, RecordError> {
    match entry {
        JournalEntry::Record(JournalRecord { key, value }) => {
            key.map(|key| GroupRecord::decode(key, value)).transpose()
        }
        JournalEntry::Pending { producer_id, producer_epoch, record } => record
            .key
            .map(|key| GroupRecord::decode_pending(producer_id, producer_epoch, key, record.value))
            .transpose(),
        JournalEntry::Marker { producer_id, producer_epoch, marker } => {
            Ok(Some(GroupRecord::EndTransaction { producer_id, producer_epoch, marker }))
        }
    }
}
