//! The broker in this process, free of sockets and wire types: what every face of ottla, Kafka's
//! own included, speaks to.
//!
//! Opening it reads the catalog, then every partition's log, then the groups' journal; from then on
//! all of it works. Closing it syncs everything and says in the data folder that it did.

mod backup;
mod boot;
mod cleaner;
mod data_folder;
mod fetch;
mod folders;
mod markers;
mod offline;
mod offsets;
mod open;
mod produce;
mod settings;
mod shell;
mod snapshot;
mod tasks;
mod topics;
mod transactional;
mod txns;
mod upkeep;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use backup::{BackupError, Summary, backup};
pub use boot::Boot;
pub use cleaner::Cleaner;
pub use data_folder::{DataFolderError, OpenError};
pub use fetch::{Fetch, FetchError, Fetched, FetchedRecords, Look, PartitionFetch};
pub use markers::MarkerError;
pub use offline::{Access, OfflineError, OfflineFolder, StrayFate, snapshot_damage};
pub use offsets::{DeleteRecordsError, FoundOffset, OffsetSpec};
pub use open::{BrokerOptions, CloseError, Closed, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
pub use produce::{INTERNAL_TOPICS, ProduceError, Written};
pub use shell::{Asked, Shell, ShellError};
pub use tasks::Tasks;
pub use topics::{Apply, Outcomes, PartitionView, TopicError, TopicView};
pub use transactional::{
    GroupOffsets, PartitionRecords, TransactionWriteError, TransactionWrites, TransactionalProducer,
};
pub use txns::{Beginning, TransactionCounts, TransactionError};

pub use crate::catalog::TopicRef;
use crate::catalog::{Catalog, ProducerIdBlock};
use crate::clock::{Clock, SteadyTime};
use crate::config::broker::BrokerConfig;
use crate::groups::Coordinator;
use crate::ids::Ids;
use crate::partition::{Flusher, Journal, PartitionContext, Registry};
use crate::types::{NodeId, Timestamp};

/// One broker. All its methods may be called from any thread; none blocks on a socket.
pub struct Broker {
    /// Its settings, as started; see [`Broker::settings`].
    pub config: BrokerConfig,
    /// Its time.
    pub clock: Clock,
    /// Its randomness.
    pub ids: Ids,
    /// The node that it is.
    pub node_id: NodeId,
    /// The identity of its cluster, the same for ever.
    pub cluster_id: String,
    /// The partitions it serves.
    pub registry: Registry,
    /// The owner of its background tasks.
    pub tasks: Arc<Tasks>,
    /// The thread that makes its appends durable.
    pub flusher: Flusher,
    folder: data_folder::DataFolder,
    catalog: Mutex<Catalog>,
    catalog_journal: Journal,
    in_force: RwLock<Arc<BrokerConfig>>,
    producer_ids: Mutex<ProducerIdBlock>,
    groups: Arc<Shell<Coordinator>>,
    groups_journal: Journal,
    transactions: txns::Transactions,
    partition_context: PartitionContext,
    /// What the age of segments, and that of producers, is judged by.
    retention_time: Mutex<SteadyTime>,
    producer_time: Mutex<SteadyTime>,
    checkpointed: Mutex<upkeep::Checkpointed>,
    /// Folders of deleted partitions, and when they go.
    deleted_folders: Mutex<Vec<(Timestamp, PathBuf)>>,
    cleaner: Cleaner,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl Broker {
    /// The settings that are in force now, with those made at run time. Never waits for a change of
    /// the catalog.
    pub fn settings(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The coordinator of consumer groups.
    pub fn groups(&self) -> &Shell<Coordinator> {
        &self.groups
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.folder.path
    }

    /// Whether producers are refused because of the disk.
    pub fn is_disk_full(&self) -> bool {
        self.partition_context.space.is_full()
    }

    /// Bytes that can still be written there; `None` where the file system does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        self.folder.fs.free_bytes(&self.folder.path).ok()
    }
}
