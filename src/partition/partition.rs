//! The partition itself: checks a produced batch, appends it, and moves the watermarks.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::cache_window::{PIECE_BYTES, Readers};
use super::error::{AppendError, ReadError};
use super::producers::{Checked, ProducerSlots, Producers};
use super::space::Space;
use super::waiters::{Waiters, Wake};
use super::{Flusher, admission, producers};
use crate::config::value::Durability;
use crate::log::layout::PRODUCERS;
use crate::log::{CompactionConfig, Log, LogConfig, LogError, LogReader, Sidecar, Unsynced};
use crate::records::{Compression, ValidBatch};
use crate::types::{LeaderEpoch, NodeId, Now, Offset, PartitionIndex, Timestamp, TopicId};

/// What producers wrote last is saved each time so much was appended, in bytes: as much as a start
/// after a crash walks in some tens of milliseconds.
const SAVED_EVERY_BYTES: u64 = 64 * 1024 * 1024;

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

/// Who made a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A producer: what it repeats is not stored again, and its records may get our time.
    Producer { log_append_time: bool },
    /// The broker, which repeats nothing.
    Broker,
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
    log_start: AtomicI64,
    log_end: AtomicI64,
    high_watermark: AtomicI64,
    durable_end: AtomicI64,
    queued: AtomicBool,
    offline: AtomicBool,
    waiters: Waiters,
    /// Told when a sync has ended.
    sync_ended: Condvar,
    pub(super) readers: Mutex<Readers>,
}

#[derive(Debug)]
pub(super) struct Writer {
    /// Taken out when the partition is closed; `broken` says so then.
    log: Option<Log>,
    pub(super) producers: Producers,
    /// Why nothing is written any more.
    broken: Option<String>,
    /// Whether a sync is under way.
    syncing: bool,
    producers_file: Option<Sidecar>,
    /// Bytes appended since what goes into that file was last put down.
    unsaved_bytes: u64,
    /// What goes into that file once the sync that is under way has ended.
    to_save: Option<Vec<u8>>,
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
        }
    }

    /// Writes down what producers wrote last. A failure costs the next start some time only.
    fn save(file: Option<&Sidecar>, bytes: &[u8]) {
        if let Some(Err(error)) = file.map(|file| file.write(bytes)) {
            tracing::debug!(%error, "what producers wrote last was not saved");
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
        log: Log,
        config: PartitionConfig,
        context: PartitionContext,
    ) -> Result<Arc<Self>, crate::log::ReadError> {
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
        writer: Writer,
        reader: Option<LogReader>,
        (start, end, durable): (Offset, Offset, Offset),
    ) -> Arc<Self> {
        // Under fsync nobody sees what a power cut could still take back.
        let visible = if context.durability == Durability::Fsync { durable } else { end };
        Arc::new(Self {
            topic_id: name.topic_id,
            topic: name.topic,
            index: name.index,
            leader_epoch: name.leader_epoch,
            leader: name.leader,
            context,
            config: ArcSwap::from_pointee(config),
            offline: AtomicBool::new(reader.is_none()),
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

    /// Checks and appends what a producer sent for this partition. On `Err` nothing of it is stored.
    /// On return the batch is in the page cache; it is on disk (under [`Durability::Fsync`]) and
    /// visible once [`Partition::visible`] of its end returns.
    pub fn append(self: &Arc<Self>, sent: Bytes, now: Now) -> Result<Appended, AppendError> {
        let config = self.config.load();
        let batch = ValidBatch::parse_within(sent, config.max_message_bytes)?;
        let batch = admission::admit(batch, &config, now.wall)?;
        let (size, max) = (batch.size_bytes(), config.log.segment_bytes);
        if size > max {
            return Err(AppendError::LargerThanSegment { size, max });
        }
        if !self.context.space.take(size) {
            return Err(AppendError::DiskFull);
        }
        self.store(batch, now, Origin::Producer { log_append_time: config.log_append_time })
    }

    /// Appends a batch of the broker's own making, past the rules for producers: those for sequences
    /// too, for the broker writes down what others told it under their producer ids.
    pub fn append_own(
        self: &Arc<Self>,
        batch: ValidBatch,
        now: Now,
    ) -> Result<Appended, AppendError> {
        self.store(batch, now, Origin::Broker)
    }

    fn store(
        self: &Arc<Self>,
        mut batch: ValidBatch,
        now: Now,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let mut guard = self.lock();
        let Writer { log, producers, broken, unsaved_bytes, .. } = &mut *guard;
        let log = usable(log, broken)?;
        let start = log.start_offset();
        if origin != Origin::Broker
            && let Checked::Duplicate { base_offset, timestamp } =
                producers.check(batch.header())?
        {
            let end = base_offset.plus(i64::from(batch.header().last_offset_delta) + 1);
            let log_append_time = Some(timestamp);
            return Ok(Appended { base_offset, end, log_append_time, log_start_offset: start });
        }
        let base_offset = log.end_offset();
        batch.assign(base_offset, self.leader_epoch);
        if let Err(error) = log.append(std::slice::from_ref(&batch), now.wall) {
            return Err(self.failed(guard, &error));
        }
        let end = log.end_offset();
        producers.record(batch.header(), base_offset);
        *unsaved_bytes = unsaved_bytes.saturating_add(batch.size_bytes());
        self.log_end.store(end.0, Ordering::Release);
        let unhanded_bytes = log.unhanded_bytes();
        drop(guard);
        self.appended(end, unhanded_bytes);
        Ok(Appended {
            base_offset,
            end,
            log_append_time: (origin == Origin::Producer { log_append_time: true })
                .then_some(now.wall),
            log_start_offset: start,
        })
    }

    /// Makes an append visible, or asks for the sync that will.
    fn appended(self: &Arc<Self>, end: Offset, unhanded_bytes: u64) {
        match self.context.durability {
            Durability::Fsync => self.request_sync(),
            Durability::IntervalMs(_) | Durability::Os => {
                self.advance_high_watermark(end);
                // Written behind, so that the page-cache window can let go of it.
                if unhanded_bytes >= PIECE_BYTES && self.context.flusher.has_window() {
                    self.request_sync();
                }
            }
            Durability::Ephemeral => self.advance_high_watermark(end),
        }
    }

    /// Asks for a sync of what is not on disk yet, whatever the durability setting.
    pub fn request_sync(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.context.flusher.enqueue(Arc::clone(self));
        }
    }

    /// The files to sync for everything appended up to now; `None` where there is nothing.
    pub(super) fn begin_sync(&self) -> Option<Unsynced> {
        self.queued.store(false, Ordering::Release);
        let mut writer = self.lock();
        if writer.broken.is_some() {
            return None; // After a failed sync another one would say that all is well.
        }
        match writer.log.as_ref()?.unsynced() {
            Ok(unsynced) => {
                writer.syncing = !unsynced.is_empty();
                if writer.unsaved_bytes >= SAVED_EVERY_BYTES {
                    writer.unsaved_bytes = 0;
                    writer.to_save = Some(writer.producers.encode(unsynced.end));
                }
                writer.syncing.then_some(unsynced)
            }
            Err(error) => {
                // What waits for this sync must hear that there is none.
                self.break_down(writer, &format!("sync not begun: {error}"));
                None
            }
        }
    }

    /// Takes in how a sync went: on success what it covered is durable and visible, on failure the
    /// partition is offline until restart, for the pages may be lost and a second sync would lie.
    pub(super) fn end_sync(&self, unsynced: &Unsynced, result: std::io::Result<()>) {
        let mut writer = self.lock();
        writer.syncing = false;
        self.sync_ended.notify_all();
        match result {
            Ok(()) => {
                if let Some(log) = &mut writer.log {
                    log.mark_synced(unsynced);
                }
                let to_save = writer.to_save.take();
                let file = to_save.as_ref().and(writer.producers_file.clone());
                drop(writer);
                if let Some(bytes) = to_save {
                    Writer::save(file.as_ref(), &bytes);
                }
                self.durable_end.fetch_max(unsynced.end.0, Ordering::AcqRel);
                self.advance_high_watermark(unsynced.end);
            }
            Err(error) => {
                self.break_down(writer, &format!("sync failed: {error}"));
            }
        }
    }

    /// What an error of the log comes to: a full disk is told and changes nothing, nor does any other
    /// error after which the log may still be written.
    fn failed(&self, writer: MutexGuard<'_, Writer>, error: &LogError) -> AppendError {
        if let LogError::NoRoom { .. } = error {
            self.context.space.close();
            return AppendError::DiskFull;
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

    fn break_down(&self, mut writer: MutexGuard<'_, Writer>, reason: &str) -> AppendError {
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

    fn advance_high_watermark(&self, end: Offset) {
        if self.high_watermark.fetch_max(end.0, Ordering::AcqRel) < end.0 {
            self.waiters.wake_all();
        }
    }

    /// Returns once consumers may read up to `end`; under [`Durability::Fsync`] all of it is then on
    /// disk. Errors when the partition went offline first.
    pub async fn visible(&self, end: Offset) -> Result<(), AppendError> {
        if self.watermarks().high_watermark >= end {
            return Ok(());
        }
        let wake = Wake::new();
        let _registration = self.waiters.register(&wake);
        loop {
            if self.watermarks().high_watermark >= end {
                return Ok(());
            }
            if self.offline.load(Ordering::Acquire) {
                return Err(AppendError::Storage(self.offline_reason()));
            }
            wake.woken().await;
        }
    }

    /// The offsets of this moment, each at most the next.
    pub fn watermarks(&self) -> Watermarks {
        let log_start = Offset(self.log_start.load(Ordering::Acquire));
        let high_watermark = Offset(self.high_watermark.load(Ordering::Acquire));
        let log_end = Offset(self.log_end.load(Ordering::Acquire));
        Watermarks { log_start, last_stable: high_watermark, high_watermark, log_end }
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
        self.log_start.store(log.start_offset().0, Ordering::Release);
        result.map_err(|error| self.failed(guard, &error))
    }

    /// Syncs everything and closes the log: nothing is appended any more. Returns its end, which is
    /// on disk.
    pub fn close(&self) -> Result<Offset, AppendError> {
        let mut writer = self.lock();
        while writer.syncing {
            // Two at a time would write the same files; and should that one fail, this must not.
            writer = self.sync_ended.wait(writer).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(reason) = &writer.broken {
            return Err(AppendError::Storage(reason.clone()));
        }
        writer.broken = Some("the broker stops".to_owned());
        let log = writer.log.take();
        let unsaved = writer.unsaved_bytes > 0;
        let to_save =
            log.as_ref().filter(|_| unsaved).map(|log| writer.producers.encode(log.end_offset()));
        let file = writer.producers_file.take();
        drop(writer);
        self.offline.store(true, Ordering::Release);
        self.waiters.wake_all();
        let Some(log) = log else { return Ok(self.watermarks().log_end) };
        let end = log.close().map_err(|error| AppendError::Storage(error.to_string()))?;
        self.durable_end.store(end.0, Ordering::Release);
        if let Some(bytes) = to_save {
            Writer::save(file.as_ref(), &bytes);
        }
        Ok(end)
    }

    /// As [`Partition::close`], of a topic that is deleted: what only the next start needs is not made.
    pub fn retire(&self) -> Result<Offset, AppendError> {
        self.lock().producers_file = None;
        self.close()
    }

    /// Everything before is on disk.
    pub fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    /// Forgets producers that have been silent for longer than `expiration_ms`.
    pub fn expire_producers(&self, now: Timestamp, expiration_ms: i64) {
        self.lock().producers.expire(now, expiration_ms);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log, if it may still be written.
fn usable<'a>(
    log: &'a mut Option<Log>,
    broken: &Option<String>,
) -> Result<&'a mut Log, AppendError> {
    match (log, broken) {
        (Some(log), None) => Ok(log),
        (_, Some(reason)) => Err(AppendError::Storage(reason.clone())),
        (None, None) => Err(AppendError::Storage("the log is closed".to_owned())),
    }
}
