//! What the broker does by the clock: retention, syncs under `interval:<ms>`, checkpoints, expiry of
//! silent producers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Broker;
use super::data_folder::Clean;
use super::open::METADATA_ID;
use crate::clock::SteadyTime;
use crate::config::value::Durability;
use crate::partition::Partition;
use crate::types::{Monotonic, Offset, Timestamp};

/// How often the free space is looked at, in ms.
const SPACE_INTERVAL_MS: u64 = 1_000;
/// Space kept free where min.free.bytes does not say, in bytes; at most a twentieth of the disk.
const RESERVE_BYTES: u64 = 1024 * 1024 * 1024;
const RESERVE_SHARE: u64 = 20;
/// How often the checkpoint of the logs is written, in ms; sooner after a change of the catalog, for
/// what is wrong below the mark is damage, and above it the end of the log.
const CHECKPOINT_INTERVAL_MS: u64 = 30_000;
const CATALOG_CHECKPOINT_INTERVAL_MS: u64 = 1_000;
/// How often removed segments' files are looked for, in ms.
const REMOVE_INTERVAL_MS: u64 = 10_000;
/// How often silent producers are looked for, in ms (Kafka's producer.id.expiration.check.interval).
const PRODUCER_EXPIRY_INTERVAL_MS: u64 = 600_000;

/// When the checkpoint was written last, and how far the catalog's journal was durable then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checkpointed {
    at: Monotonic,
    catalog: Offset,
}

impl Broker {
    /// Starts the background work; it ends with [`super::Tasks::stop`].
    pub fn start_tasks(self: &Arc<Self>) {
        let groups = Arc::clone(&self.groups);
        self.tasks.spawn("groups", groups.run(self.tasks.stopping()));
        let transactions = Arc::clone(&self.transactions.shell);
        self.tasks.spawn("transactions", transactions.run(self.tasks.stopping()));
        self.tasks.spawn("markers", Arc::clone(self).write_markers(self.tasks.stopping()));
        self.every("free space", SPACE_INTERVAL_MS, Self::watch_space);
        let interval = u64::try_from(self.config.log_retention_check_interval_ms).unwrap_or(1);
        self.every("retention", interval, Self::enforce_retention);
        self.every("file removal", REMOVE_INTERVAL_MS, Self::remove_due_files);
        self.every("checkpoint", CATALOG_CHECKPOINT_INTERVAL_MS, Self::checkpoint);
        self.every("producer expiry", PRODUCER_EXPIRY_INTERVAL_MS, Self::expire_producers);
        self.start_cleaner();
        if let Durability::IntervalMs(ms) = self.config.ottla_durability {
            self.every("sync", u64::from(ms), Self::sync_all);
        }
    }

    /// Runs `work` every `interval_ms` of the broker's clock, off the runtime's threads.
    fn every(self: &Arc<Self>, name: &'static str, interval_ms: u64, work: fn(&Self)) {
        let broker = Arc::clone(self);
        let mut stopping = self.tasks.stopping();
        self.tasks.spawn(name, async move {
            while !*stopping.borrow() {
                tokio::select! {
                    () = broker.clock.sleep_ms(interval_ms) => {}
                    _ = stopping.changed() => break,
                }
                let broker = Arc::clone(&broker);
                if let Err(error) = tokio::task::spawn_blocking(move || work(&broker)).await {
                    tracing::error!(task = name, %error, "background work failed");
                }
            }
        });
    }

    fn partitions(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.registry.topics().into_iter().flat_map(|topic| topic.partitions.clone())
    }

    /// Deletes what retention says may go, in every partition. A wall clock that has jumped forward
    /// since the look before is not believed before the next one.
    pub fn enforce_retention(&self) {
        let now = self.steady(&self.retention_time);
        for partition in self.partitions().filter(|partition| !partition.is_offline()) {
            let high_watermark = partition.watermarks().high_watermark;
            let result = partition.with_log(|log| log.enforce_retention(now, high_watermark));
            if let Err(error) = result {
                let (topic, partition) = (&partition.topic, partition.index);
                tracing::error!(%topic, %partition, %error, "retention failed");
            }
        }
    }

    /// Refuses producers while the disk is nearly full, so that deletes, commits and topic changes
    /// still find room.
    pub(super) fn watch_space(&self) {
        if self.config.ottla_durability == Durability::Ephemeral {
            return;
        }
        let Some((free, reserve)) = self.free_and_reserve() else { return };
        match self.partition_context.space.set(free, reserve) {
            Some(true) => tracing::error!(free, reserve, "disk full: producers are refused"),
            Some(false) => {
                tracing::info!(free, reserve, "disk has room again: producers are let in")
            }
            None => {}
        }
        if self.partition_context.space.is_full() {
            self.remove_due_files();
        }
    }

    /// Bytes that are free, and how many should be; `None` where the file system does not say.
    fn free_and_reserve(&self) -> Option<(u64, u64)> {
        let (fs, path) = (&self.folder.fs, &self.folder.path);
        let (free, total) = (fs.free_bytes(path).ok()?, fs.total_bytes(path).ok()?);
        let reserve = match self.config.min_free_bytes {
            Some(bytes) => u64::try_from(bytes).unwrap_or(0),
            None => RESERVE_BYTES.min(total / RESERVE_SHARE),
        };
        Some((free, reserve))
    }

    /// Whether compaction, which frees space but needs some first, may go on: it leaves half of the
    /// reserve to deletes, commits and topic changes.
    pub(super) fn has_room_to_compact(&self) -> bool {
        self.config.ottla_durability == Durability::Ephemeral
            || self.free_and_reserve().is_none_or(|(free, reserve)| free >= reserve / 2)
    }

    fn remove_due_files(&self) {
        let now = self.clock.now().wall;
        for partition in self.partitions().filter(|partition| !partition.is_offline()) {
            if let Err(error) = partition.with_log(|log| log.remove_due(now)) {
                let (topic, partition) = (&partition.topic, partition.index);
                tracing::error!(%topic, %partition, %error, "removing old segments failed");
            }
        }
        self.remove_due_folders(now);
    }

    fn expire_producers(&self) {
        let now = self.steady(&self.producer_time);
        let expiration_ms =
            self.look_at_catalog(|catalog| catalog.broker().producer_id_expiration_ms.into());
        for partition in self.partitions() {
            partition.expire_producers(now, expiration_ms);
        }
    }

    /// What the age of records in a compacted topic is judged by: a jump of the clock that retention
    /// does not believe yet takes no tombstone away either.
    pub(super) fn compaction_time(&self) -> Timestamp {
        let time = self.retention_time.lock().unwrap_or_else(PoisonError::into_inner);
        time.peek(self.clock.now())
    }

    fn steady(&self, time: &Mutex<SteadyTime>) -> Timestamp {
        let now = self.clock.now();
        let steady = time.lock().unwrap_or_else(PoisonError::into_inner).look(now);
        if steady != now.wall {
            tracing::warn!(wall = now.wall.0, believed = steady.0, "the clock has jumped forward");
        }
        steady
    }

    fn sync_all(&self) {
        for partition in self.partitions() {
            partition.request_sync();
        }
    }

    fn checkpoint(&self) {
        self.watch_catalog_size();
        let now = self.clock.now().monotonic;
        let catalog = self.catalog_journal.partition().durable_end();
        let mut last = self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner);
        if catalog == last.catalog && now < last.at.plus_ms(CHECKPOINT_INTERVAL_MS) {
            return;
        }
        *last = Checkpointed { at: now, catalog };
        drop(last);
        if let Err(error) = self.write_checkpoint(Clean::No) {
            tracing::warn!(%error, "checkpoint not written: the next start scans more");
        }
    }

    pub(super) fn write_checkpoint(&self, clean: Clean) -> Result<(), super::DataFolderError> {
        let topics = self.registry.topics();
        // The registry's id: the groups' journal was opened before it had one.
        let partitions = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.id, partition)));
        let catalog = (METADATA_ID, self.catalog_journal.partition());
        let logs = partitions.chain([catalog]).map(|(topic_id, partition)| {
            let folder = crate::log::layout::partition_folder(&partition.topic, partition.index);
            if partition.reader().is_err() {
                // Never opened: what was known of it before must still be asked of it.
                let known = self.folder.checkpoint(&folder, topic_id);
                return (folder, topic_id, known.log_start, known.durable_up_to);
            }
            (folder, topic_id, partition.watermarks().log_start, partition.durable_end())
        });
        self.folder.write_checkpoints(clean, logs)
    }

    /// Time since the broker's clock began.
    pub fn uptime(&self) -> Duration {
        self.clock.elapsed()
    }
}
