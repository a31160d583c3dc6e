//! The partition itself: what it consists of, how it is opened, and what it tells of itself.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::aborted::AbortedTransactions;
use super::cache_window::Readers;
use super::error::{AppendError, ReadError};
use super::producers::{ProducerSlots, ProducerState, Producers, Snapshot};
use super::space::Space;
use super::waiters::Waiters;
use super::{Flusher, producers};
use crate::config::value::Durability;
use crate::log::layout::PRODUCERS;
use crate::log::{CompactionConfig, Log, LogConfig, LogError, LogReader, Sidecar};
use crate::records::Compression;
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicId};

/// Stands for no offset that keeps the last stable one back.
const NOTHING_UNSTABLE: i64 = i64::MAX;

/// The settings of a topic as a partition needs them.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// Segments and retention.
    pub log: LogConfig,
    /// Whether records need a key (cleanup.policy has compact).
    pub compact: bool,
    /// When and how it is compacted then.
    pub compaction: CompactionConfig,
    /// Largest batch taken, in bytes as stored.
    pub max_message_bytes: u64,
    /// Stamp batches with the time of the append (message.timestamp.type=LogAppendTime).
    pub log_append_time: bool,
    /// Oldest timestamp taken, ms before now.
    pub timestamp_before_max_ms: i64,
    /// Newest timestamp taken, ms after now.
    pub timestamp_after_max_ms: i64,
    /// Codec that stored batches must have; `None` keeps the producer's.
    pub compression: Option<Compression>,
}

/// What is the same for every partition of a broker.
#[derive(Clone, Debug)]
pub struct PartitionContext {
    /// What an acknowledgement means here.
    pub durability: Durability,
    /// The thread that syncs.
    pub flusher: Flusher,
    /// Room on the disk that producers may fill.
    pub space: Space,
    /// How many producers are remembered.
    pub producer_slots: ProducerSlots,
}

/// A batch that was stored, or was stored before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// One past its last record: durable and visible once the high watermark is here.
    pub end: Offset,
    /// The time stamped on it, under LogAppendTime; of a repeat, its stored batch's time.
    pub log_append_time: Option<Timestamp>,
    /// The first readable offset.
    pub log_start_offset: Offset,
}

/// Which records a read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// The offsets that every read is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// First readable offset.
    pub log_start: Offset,
    /// End of what read_committed may read.
    pub last_stable: Offset,
    /// End of what consumers may read.
    pub high_watermark: Offset,
    /// Next offset to be written.
    pub log_end: Offset,
}

/// One partition of one topic, led by this node.
#[derive(Debug)]
pub struct Partition {
    /// The topic's identity.
    pub topic_id: TopicId,
    /// The topic's label.
    pub topic: Arc<str>,
    /// This partition's number.
    pub index: PartitionIndex,
    /// Counts its leaderships.
    pub leader_epoch: LeaderEpoch,
    leader: NodeId,
    pub(super) context: PartitionContext,
    pub(super) config: ArcSwap<PartitionConfig>,
    writer: Mutex<Writer>,
    /// `None` where the log could not be opened.
    pub(super) reader: Option<LogReader>,
    pub(super) log_start: AtomicI64,
    pub(super) log_end: AtomicI64,
    pub(super) high_watermark: AtomicI64,
    pub(super) durable_end: AtomicI64,
    /// Where the first transaction begins that counts as open; written under the append lock.
    first_unstable: AtomicI64,
    /// Whether one that has ended still counts as open; written under the append lock.
    pub(super) has_ended: AtomicBool,
    pub(super) aborted: AbortedTransactions,
    /// Odd while aborted transactions are forgotten together with what the log had of them, and
    /// another number behind; written under the append lock.
    pub(super) forgettings: AtomicU64,
    pub(super) queued: AtomicBool,
    pub(super) offline: AtomicBool,
    pub(super) waiters: Waiters,
    /// Told when a sync has ended.
    pub(super) sync_ended: Condvar,
    pub(super) readers: Mutex<Readers>,
}

#[derive(Debug)]
pub(super) struct Writer {
    /// Taken out when the partition is closed; `broken` says so then.
    pub(super) log: Option<Log>,
    pub(super) producers: Producers,
    /// Why nothing is written any more.
    pub(super) broken: Option<String>,
    /// Whether a sync is under way, or what it lets be saved is being written.
    pub(super) syncing: bool,
    pub(super) producers_file: Option<Sidecar>,
    /// Bytes appended since what goes into that file was last put down.
    pub(super) unsaved_bytes: u64,
    /// What goes into that file once the sync that is under way has ended.
    pub(super) to_save: Option<Snapshot>,
    /// Bytes of the file as it was written last.
    pub(super) saved_bytes: u64,
}

impl Writer {
    fn of(log: Option<Log>, producers: Producers) -> Self {
        Self {
            log,
            producers,
            broken: None,
            syncing: false,
            producers_file: None,
            unsaved_bytes: 0,
            to_save: None,
            saved_bytes: 0,
        }
    }
}

/// Names a partition when it is opened.
#[derive(Clone, Debug)]
pub struct PartitionName {
    /// The topic's identity.
    pub topic_id: TopicId,
    /// The topic's label.
    pub topic: Arc<str>,
    /// The partition's number.
    pub index: PartitionIndex,
    /// The node that leads it.
    pub leader: NodeId,
    /// Counts its leaderships.
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    /// Takes a log that was opened (and recovered) and learns what its producers wrote last. What is
    /// not known to be on disk becomes visible with the next sync: see [`Partition::request_sync`].
    pub fn open(
        name: PartitionName,
        mut log: Log,
        config: PartitionConfig,
        context: PartitionContext,
    ) -> Result<Arc<Self>, crate::log::ReadError> {
        log.led_in(name.leader_epoch);
        let reader = log.reader();
        let mut producers = Producers::new(context.producer_slots.clone());
        let file = log.sidecar(PRODUCERS);
        producers::learn(&mut producers, &log, &file)?;
        let ends = (log.start_offset(), log.end_offset(), log.synced_end());
        let writer = Writer { producers_file: Some(file), ..Writer::of(Some(log), producers) };
        Ok(Self::assemble(name, config, context, writer, Some(reader), ends))
    }

    /// A partition whose log could not be opened: every call answers with `reason`.
    pub fn offline(
        name: PartitionName,
        config: PartitionConfig,
        context: PartitionContext,
        reason: String,
    ) -> Arc<Self> {
        let producers = Producers::new(context.producer_slots.clone());
        let writer = Writer { broken: Some(reason), ..Writer::of(None, producers) };
        let ends = (Offset(0), Offset(0), Offset(0));
        Self::assemble(name, config, context, writer, None, ends)
    }

    fn assemble(
        name: PartitionName,
        config: PartitionConfig,
        context: PartitionContext,
        mut writer: Writer,
        reader: Option<LogReader>,
        (start, end, durable): (Offset, Offset, Offset),
    ) -> Arc<Self> {
        // Under fsync nobody sees what a power cut could still take back.
        let visible = if context.durability == Durability::Fsync { durable } else { end };
        writer.producers.transactions().release(visible);
        let transactions = writer.producers.transactions();
        let first_unstable = transactions.first_unstable();
        Arc::new(Self {
            topic_id: name.topic_id,
            topic: name.topic,
            index: name.index,
            leader_epoch: name.leader_epoch,
            leader: name.leader,
            context,
            config: ArcSwap::from_pointee(config),
            offline: AtomicBool::new(reader.is_none()),
            first_unstable: AtomicI64::new(first_unstable.map_or(NOTHING_UNSTABLE, |it| it.0)),
            has_ended: AtomicBool::new(transactions.has_ended()),
            aborted: transactions.aborted().clone(),
            forgettings: AtomicU64::new(0),
            writer: Mutex::new(writer),
            reader,
            log_start: AtomicI64::new(start.0),
            log_end: AtomicI64::new(end.0),
            high_watermark: AtomicI64::new(visible.0),
            durable_end: AtomicI64::new(durable.0),
            queued: AtomicBool::new(false),
            waiters: Waiters::default(),
            sync_ended: Condvar::new(),
            readers: Mutex::default(),
        })
    }

    /// What an error of the log comes to: a full disk is told and changes nothing, nor does any other
    /// error after which the log may still be written.
    pub(super) fn failed(&self, writer: MutexGuard<'_, Writer>, error: &LogError) -> AppendError {
        if let LogError::NoRoom { .. } = error {
            self.context.space.close();
            return AppendError::DiskFull;
        }
        if let LogError::NoFile { .. } = error {
            return AppendError::TooManyFiles(error.to_string());
        }
        if writer.log.as_ref().is_some_and(Log::is_poisoned) {
            self.break_down(writer, &error.to_string())
        } else {
            AppendError::Storage(error.to_string())
        }
    }

    /// Takes it offline until restart.
    pub(super) fn take_offline(&self, reason: &str) {
        self.break_down(self.lock(), reason);
    }

    pub(super) fn break_down(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        reason: &str,
    ) -> AppendError {
        if writer.broken.is_none() {
            tracing::error!(topic = %self.topic, partition = %self.index, error = reason,
                "partition offline until restart");
            writer.broken = Some(reason.to_owned());
            if let Some(log) = &writer.log {
                log.poison();
            }
        }
        drop(writer);
        self.offline.store(true, Ordering::Release);
        self.waiters.wake_all();
        AppendError::Storage(reason.to_owned())
    }

    /// The offsets of this moment, each at most the next.
    pub fn watermarks(&self) -> Watermarks {
        let log_start = Offset(self.log_start.load(Ordering::Acquire));
        let high_watermark = Offset(self.high_watermark.load(Ordering::Acquire));
        // After the high watermark: a transaction that begins below it is seen then.
        let first_unstable = Offset(self.first_unstable.load(Ordering::Acquire));
        let log_end = Offset(self.log_end.load(Ordering::Acquire));
        let last_stable = high_watermark.min(first_unstable).max(log_start);
        Watermarks { log_start, last_stable, high_watermark, log_end }
    }

    /// Publishes which transactions count as open, as the holder of the append lock has them.
    pub(super) fn publish_unstable(&self, producers: &mut Producers) {
        let transactions = producers.transactions();
        let first = transactions.first_unstable().map_or(NOTHING_UNSTABLE, |first| first.0);
        self.first_unstable.store(first, Ordering::Release);
        self.has_ended.store(transactions.has_ended(), Ordering::Release);
    }

    /// The node that leads it.
    pub fn leader(&self) -> NodeId {
        self.leader
    }

    /// Reads the log without the append lock.
    pub fn reader(&self) -> Result<&LogReader, ReadError> {
        self.reader.as_ref().ok_or_else(|| ReadError::Storage(self.offline_reason()))
    }

    /// Why it is offline; "" while it is not.
    pub fn offline_reason(&self) -> String {
        self.lock().broken.clone().unwrap_or_default()
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> u64 {
        self.reader.as_ref().map_or(0, LogReader::size_bytes)
    }

    /// Who waits for this partition.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Whether a failed write or sync has taken it offline.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Puts new settings in force, from the next append on.
    pub fn set_config(&self, config: PartitionConfig) {
        if let Some(log) = &mut self.lock().log {
            log.set_config(config.log);
        }
        self.config.store(Arc::new(config));
    }

    /// Runs `step` on the log under the append lock, then publishes a start that moved. A partition
    /// that takes no more appends still gives space back.
    pub fn with_log<T>(
        &self,
        step: impl FnOnce(&mut Log) -> Result<T, LogError>,
    ) -> Result<T, AppendError> {
        let mut guard = self.lock();
        let Some(log) = guard.log.as_mut() else {
            return Err(AppendError::Storage("the log is closed".to_owned()));
        };
        let result = step(log);
        let start = log.start_offset();
        self.log_start.store(start.0, Ordering::Release);
        if self.aborted.has_before(start) {
            self.forgettings.fetch_add(1, Ordering::AcqRel);
            self.aborted.forget_before(start);
            self.forgettings.fetch_add(1, Ordering::AcqRel);
        }
        result.map_err(|error| self.failed(guard, &error))
    }

    /// Everything before is on disk.
    pub fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    /// What is known of each producer, by producer id.
    pub fn producers(&self) -> Vec<ProducerState> {
        self.lock().producers.describe()
    }

    /// Forgets producers that have been silent for longer than `expiration_ms`.
    pub fn expire_producers(&self, now: Timestamp, expiration_ms: i64) {
        self.lock().producers.expire(now, expiration_ms);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
