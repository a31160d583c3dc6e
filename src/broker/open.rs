//! Opening and closing a broker: catalog first, then every log, then the groups.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::cleaner::Cleaner;
use super::data_folder::{Clean, DataFolder, DataFolderError, OpenError};
use super::shell::Shell;
use super::tasks::Tasks;
use super::{Broker, settings};
use crate::catalog::{self, Catalog, CatalogRecord, ProducerIdBlock, Setup};
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::config::value::Durability;
use crate::groups::{Coordinator, GroupRecord};
use crate::ids::Ids;
use crate::log::fs::Fs;
use crate::log::{Log, LogConfig, layout};
use crate::machine::Machine;
use crate::partition::{
    AppendError, Flusher, Journal, JournalRecord, Partition, PartitionConfig, PartitionContext,
    PartitionName, Registry, Space,
};
use crate::types::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// Kafka's name for the topic that the catalog lies in, and its fixed id.
const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_ID: TopicId = TopicId(Uuid::from_u128(1));
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What a broker is opened with.
#[derive(Debug)]
pub struct BrokerOptions {
    /// Its settings.
    pub config: BrokerConfig,
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

impl Broker {
    /// Opens the data folder and everything in it. Blocks on the disk.
    ///
    /// A partition whose log is damaged is opened offline and named in the log; the catalog and the
    /// groups' journal must be sound.
    pub fn open(options: BrokerOptions) -> Result<Arc<Self>, OpenError> {
        let BrokerOptions { config, clock, ids, fs, folder, flusher, tasks, other_nodes } = options;
        let node_id = NodeId(config.node_id);
        let nodes = [vec![node_id], other_nodes].concat();
        let folder = DataFolder::open(fs, folder, node_id, &ids)?;
        let partition_context = PartitionContext {
            durability: config.ottla_durability,
            flusher: flusher.clone(),
            space: Space::default(),
            producer_ids_max: usize::try_from(config.ottla_max_producers).unwrap_or(usize::MAX),
        };
        let journal = open_catalog_journal(&folder, &partition_context, node_id, &clock)?;
        let catalog = read_catalog(&folder, &config, nodes, &journal)?;
        let groups_journal = groups_journal(&folder, &partition_context, node_id, &clock)?;
        let groups = read_groups(&config, &clock, &groups_journal)?;
        let groups = Shell::new(groups, groups_journal.clone(), encode_group, clock.clone());
        let broker = Arc::new(Self {
            node_id,
            cluster_id: folder.cluster_id.clone(),
            registry: Registry::default(),
            catalog: Mutex::new(catalog),
            catalog_journal: journal,
            producer_ids: Mutex::new(ProducerIdBlock { ids: 0..0 }),
            groups: Arc::new(groups),
            groups_journal,
            partition_context,
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

    /// Opens every topic of the catalog, and the groups' own where it is new.
    fn open_topics(&self) -> Result<(), OpenError> {
        self.look_at_catalog(|catalog| {
            for topic in catalog.topics() {
                self.carry_out(topic);
            }
        });
        self.put_strays_away();
        let offsets = self.change_now(|catalog| {
            if catalog.topic_named(OFFSETS_TOPIC).is_some() {
                return (Vec::new(), ());
            }
            let wanted = catalog.topic_on_demand(OFFSETS_TOPIC);
            let decided = catalog.create_topics(&[wanted], &self.ids);
            let made = decided.into_iter().filter_map(|(_, created)| created.ok());
            (made.flat_map(|created| created.records).collect(), ())
        });
        offsets.map_err(|error| OpenError::Replay {
            journal: METADATA_TOPIC.to_owned(),
            reason: error.to_string(),
        })?;
        for topic in self.registry.topics() {
            topic.partitions.iter().for_each(Partition::request_sync);
        }
        self.catalog_journal.partition().request_sync();
        Ok(())
    }

    /// Opens one partition's log; a damaged one stands offline.
    pub(super) fn open_partition(
        &self,
        topic: &catalog::Topic,
        index: PartitionIndex,
        partition: &catalog::Partition,
        config: PartitionConfig,
    ) -> Arc<Partition> {
        if topic.name == OFFSETS_TOPIC && index == PartitionIndex(0) {
            let journal = self.groups_journal.partition();
            self.tie_folder(topic, index);
            journal.set_config(config);
            return Arc::clone(journal);
        }
        let name = PartitionName {
            topic_id: topic.id,
            topic: topic.name.as_str().into(),
            index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
        };
        self.tie_folder(topic, index);
        open_log(&self.folder, name, config, self.partition_context.clone(), &self.clock)
    }

    /// Makes the partition's folder and ties it to the topic's id; a folder that is tied to another
    /// id is a deleted topic's and is put away.
    fn tie_folder(&self, topic: &catalog::Topic, index: PartitionIndex) {
        let fs = &self.folder.fs;
        let dir = self.folder.path.join(layout::partition_folder(&topic.name, index));
        let file = dir.join(layout::PARTITION_METADATA);
        let tied = fs.read(&file, 1024).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match tied.as_deref().and_then(layout::parse_partition_metadata) {
            Some(id) if id == topic.id => return,
            Some(_) => self.put_away(&topic.name, index),
            None => {}
        }
        let text = layout::partition_metadata(topic.id);
        let written =
            fs.create_dir_all(&dir).and_then(|()| fs.atomic_write(&file, text.as_bytes()));
        if let Err(error) = written {
            tracing::error!(folder = %dir.display(), %error, "partition folder not made");
        }
    }

    /// Folders of partitions that the catalog does not have are what a deletion left behind.
    fn put_strays_away(&self) {
        let Ok(entries) = self.folder.fs.list(&self.folder.path) else { return };
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            if layout::is_deleted_folder(&entry.name) {
                let path = self.folder.path.join(&entry.name);
                if let Err(error) = self.folder.fs.remove_dir_all(&path) {
                    tracing::warn!(folder = entry.name, %error, "deleted folder not removed");
                }
                continue;
            }
            let Some((topic, index)) = layout::parse_partition_folder(&entry.name) else {
                continue;
            };
            if topic == METADATA_TOPIC || topic == OFFSETS_TOPIC {
                continue;
            }
            let open = self.registry.by_name(topic);
            if open.and_then(|open| open.partition(index).cloned()).is_none() {
                self.put_away(topic, index);
            }
        }
    }

    /// Syncs and closes every log, then says in the data folder that nothing needs recovery. Call
    /// once nothing is served any more.
    pub fn close(&self) -> Result<(), CloseError> {
        let mut failed: Option<(String, AppendError)> = None;
        let mut count = 0;
        let topics = self.registry.topics();
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        for partition in partitions.chain([self.catalog_journal.partition()]) {
            if let Err(error) = partition.close() {
                count += 1;
                let folder = layout::partition_folder(&partition.topic, partition.index);
                failed.get_or_insert((folder, error));
            }
        }
        if let Some((folder, error)) = failed {
            return Err(CloseError::Partitions { count, folder, error });
        }
        Ok(self.write_checkpoint(Clean::Yes)?)
    }
}

/// Journals are synced whatever the setting for topics, unless nothing is.
fn journal_context(context: &PartitionContext) -> PartitionContext {
    let durability = match context.durability {
        Durability::Ephemeral => Durability::Ephemeral,
        Durability::Fsync | Durability::IntervalMs(_) | Durability::Os => Durability::Fsync,
    };
    PartitionContext { durability, ..context.clone() }
}

/// Settings of a journal: segments of 64 MiB, nothing ever deleted by age.
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

fn open_catalog_journal(
    folder: &DataFolder,
    context: &PartitionContext,
    node_id: NodeId,
    clock: &Clock,
) -> Result<Journal, OpenError> {
    open_journal(folder, METADATA_TOPIC, METADATA_ID, context, (node_id, clock))
}

fn groups_journal(
    folder: &DataFolder,
    context: &PartitionContext,
    node_id: NodeId,
    clock: &Clock,
) -> Result<Journal, OpenError> {
    let dir = folder.path.join(layout::partition_folder(OFFSETS_TOPIC, PartitionIndex(0)));
    let tied = folder.fs.read(&dir.join(layout::PARTITION_METADATA), 1024).ok();
    let tied = tied.and_then(|bytes| String::from_utf8(bytes).ok());
    let id = tied.as_deref().and_then(layout::parse_partition_metadata).unwrap_or(TopicId::ZERO);
    open_journal(folder, OFFSETS_TOPIC, id, context, (node_id, clock))
}

fn open_journal(
    folder: &DataFolder,
    topic: &str,
    topic_id: TopicId,
    context: &PartitionContext,
    (leader, clock): (NodeId, &Clock),
) -> Result<Journal, OpenError> {
    let name = PartitionName {
        topic_id,
        topic: topic.into(),
        index: PartitionIndex(0),
        leader,
        leader_epoch: LeaderEpoch(0),
    };
    let partition = open_log(folder, name, journal_config(), journal_context(context), clock);
    if partition.is_offline() {
        return Err(OpenError::Replay {
            journal: topic.to_owned(),
            reason: partition.offline_reason(),
        });
    }
    Ok(Journal::new(partition))
}

fn open_log(
    folder: &DataFolder,
    name: PartitionName,
    config: PartitionConfig,
    context: PartitionContext,
    clock: &Clock,
) -> Arc<Partition> {
    let dir_name = layout::partition_folder(&name.topic, name.index);
    let dir = folder.path.join(&dir_name);
    let checkpoint = folder.checkpoint(&dir_name);
    let opened = Log::open(Arc::clone(&folder.fs), dir, config.log, checkpoint, clock.now().wall);
    let offline = |reason: String| {
        tracing::error!(partition = dir_name, reason, "partition offline: its log is damaged");
        Partition::offline(name.clone(), config.clone(), context.clone(), reason)
    };
    let (log, recovery) = match opened {
        Ok(opened) => opened,
        Err(error) => return offline(error.to_string()),
    };
    if let Some(from) = recovery.truncated_from {
        let bytes = recovery.truncated_bytes;
        tracing::warn!(partition = dir_name, %from, bytes, "unfinished write cut off");
    }
    match Partition::open(name.clone(), log, config.clone(), context.clone()) {
        Ok(partition) => partition,
        Err(error) => offline(error.to_string()),
    }
}

fn read_catalog(
    folder: &DataFolder,
    config: &BrokerConfig,
    nodes: Vec<NodeId>,
    journal: &Journal,
) -> Result<Catalog, OpenError> {
    let mut catalog = Catalog::new(Setup {
        cluster_id: folder.cluster_id.clone(),
        nodes,
        broker: config.clone(),
        statics: statics(config),
    });
    let mut count = 0_usize;
    let mut damaged = None;
    let replayed = journal.replay(|record| {
        count += 1;
        match CatalogRecord::decode(record.value.unwrap_or_default()) {
            Ok(read) => {
                catalog.replay(&read.record);
            }
            Err(error) => {
                damaged.get_or_insert(error.to_string());
            }
        }
    });
    let reason = replayed.err().map(|error| error.to_string()).or(damaged);
    if let Some(reason) = reason {
        return Err(OpenError::Replay { journal: METADATA_TOPIC.to_owned(), reason });
    }
    let end = journal.end();
    catalog.advance_version(u64::try_from(end.0).unwrap_or(0));
    Ok(catalog)
}

/// Which settings were set, for DescribeConfigs: those that differ from their default.
fn statics(config: &BrokerConfig) -> BTreeMap<&'static str, Option<String>> {
    use crate::config::ConfigTable;
    let default = BrokerConfig::default();
    let keys = BrokerConfig::KEYS.iter().map(|key| key.info.name);
    keys.filter_map(|name| {
        let value = config.value_of(name)?;
        (default.value_of(name).as_ref() != Some(&value)).then_some((name, value))
    })
    .collect()
}

fn read_groups(
    config: &BrokerConfig,
    clock: &Clock,
    journal: &Journal,
) -> Result<Coordinator, OpenError> {
    let now = clock.now();
    let mut groups = Coordinator::new(settings::group_config(config), now);
    let mut damaged = None;
    let replayed = journal.replay(|record| {
        let Some(key) = record.key else { return };
        match GroupRecord::decode(key, record.value) {
            Ok(record) => groups.replay(now, record),
            Err(error) => {
                damaged.get_or_insert(error.to_string());
            }
        }
    });
    let reason = replayed.err().map(|error| error.to_string()).or(damaged);
    match reason {
        None => Ok(groups),
        Some(reason) => Err(OpenError::Replay { journal: OFFSETS_TOPIC.to_owned(), reason }),
    }
}

fn encode_group(record: &GroupRecord) -> Result<JournalRecord, String> {
    let (key, value) = record.encode().map_err(|error| error.to_string())?;
    Ok(JournalRecord { key: Some(key), value })
}
