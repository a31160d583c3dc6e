//! The log cleaner: compacts the partitions whose `cleanup.policy` has `compact`, the one with most
//! to gain first, within an io budget. A partition whose log is damaged is named once and left
//! alone until the next start; it never keeps the others from their turn.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Broker;
use crate::clock::Clock;
use crate::log::{Cleanable, Flow, Io};
use crate::partition::{Compacted, CompactionError, Partition};
use crate::types::TopicPartition;

/// The least memory that keys may take, in bytes: what Kafka asks of a cleaner thread.
const MEMORY_BYTES_MIN: i64 = 1024 * 1024;
/// How often `log.cleaner.backoff.ms` is looked at while it lasts, in ms.
const LOOK_MS: u64 = 1_000;
/// How many bytes go by between two looks at the free space.
const ROOM_LOOK_BYTES: u64 = 16 * 1024 * 1024;
/// How far the cleaner may be ahead of its budget before it sleeps, in ms.
const AHEAD_MS_MAX: u64 = 100;

/// What the cleaner did so far, and whom it leaves alone.
#[derive(Debug, Default)]
pub struct Cleaner {
    /// Partitions compacted.
    pub runs: AtomicU64,
    /// Runs that ended with an error.
    pub failures: AtomicU64,
    /// Bytes read from segments.
    pub read_bytes: AtomicU64,
    /// Bytes written to new segments.
    pub written_bytes: AtomicU64,
    /// Bytes that segments take less for it.
    pub freed_bytes: AtomicU64,
    /// Partitions whose log is damaged.
    damaged: Mutex<HashSet<TopicPartition>>,
}

impl Cleaner {
    /// How many partitions are left alone until the next start.
    pub fn damaged_count(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_damaged(&self, partition: &Partition) -> bool {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.contains(&id_of(partition))
    }

    fn leave_alone(&self, partition: &Partition) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(id_of(partition));
    }
}

fn id_of(partition: &Partition) -> TopicPartition {
    TopicPartition { topic_id: partition.topic_id, partition: partition.index }
}

/// The settings of one round; all but `enable` change at run time.
#[derive(Clone, Copy, Debug)]
struct Settings {
    is_enabled: bool,
    backoff_ms: u64,
    memory_bytes: usize,
    bytes_per_second: f64,
}

impl Broker {
    /// What the cleaner did.
    pub fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    /// Looks for work every `log.cleaner.backoff.ms` of the broker's clock, until it stops.
    pub(super) fn start_cleaner(self: &Arc<Self>) {
        let broker = Arc::clone(self);
        let mut stopping = self.tasks.stopping();
        self.tasks.spawn("log cleaner", async move {
            while !*stopping.borrow() {
                tokio::select! {
                    () = broker.pause_cleaner() => {}
                    _ = stopping.changed() => break,
                }
                let (broker, seen) = (Arc::clone(&broker), stopping.clone());
                let handle = Handle::current();
                let round = move || broker.clean(&mut Throttle::new(&broker, handle, seen));
                if let Err(error) = tokio::task::spawn_blocking(round).await {
                    tracing::error!(task = "log cleaner", %error, "background work failed");
                }
            }
        });
    }

    /// Returns once the backoff is over, which may change meanwhile. Cancel-safe.
    async fn pause_cleaner(&self) {
        let since = self.clock.now().monotonic;
        loop {
            let end = since.plus_ms(self.cleaner_settings().backoff_ms);
            let now = self.clock.now().monotonic;
            if end <= now {
                return;
            }
            self.clock.sleep_until(end.min(now.plus_ms(LOOK_MS))).await;
        }
    }

    fn cleaner_settings(&self) -> Settings {
        let config = self.look_at_catalog(|catalog| catalog.broker_of(self.node_id));
        let memory_bytes = config.log_cleaner_dedupe_buffer_size.max(MEMORY_BYTES_MIN);
        Settings {
            is_enabled: config.log_cleaner_enable,
            backoff_ms: u64::try_from(config.log_cleaner_backoff_ms).unwrap_or(0).max(1),
            memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
        }
    }

    /// Compacts every partition that is due, each until it is so no longer.
    fn clean(&self, throttle: &mut Throttle) {
        let settings = self.cleaner_settings();
        if !settings.is_enabled || !self.has_room_to_compact() {
            return;
        }
        for (_, partition) in self.due() {
            // Looked at anew: a round may take long, and a run goes as far as memory does.
            while let Some(cleanable) = self.due_of(&partition) {
                throttle.bytes_per_second = self.cleaner_settings().bytes_per_second;
                if throttle.is_stopping() || !self.compact(&partition, cleanable, throttle) {
                    break;
                }
            }
        }
    }

    /// What is due, the largest share of new records first.
    fn due(&self) -> Vec<(Cleanable, Arc<Partition>)> {
        let topics = self.registry.topics();
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        let mut due: Vec<_> = partitions
            .filter_map(|partition| Some((self.due_of(partition)?, Arc::clone(partition))))
            .collect();
        due.sort_by(|(left, _), (right, _)| right.ratio().total_cmp(&left.ratio()));
        due
    }

    fn due_of(&self, partition: &Arc<Partition>) -> Option<Cleanable> {
        if self.cleaner.is_damaged(partition) {
            return None;
        }
        match partition.compaction_due(self.compaction_time()) {
            Ok(due) => due,
            Err(error) => {
                self.failed(partition, &crate::log::CompactError::from(error).into());
                None
            }
        }
    }

    /// One run over one partition; whether another one may follow at once.
    fn compact(
        &self,
        partition: &Partition,
        cleanable: Cleanable,
        throttle: &mut Throttle,
    ) -> bool {
        let memory_bytes = self.cleaner_settings().memory_bytes;
        let mut unseen = 0_u64;
        let mut is_full = false;
        let mut pace = |io: Io, bytes: u64| {
            let counter = match io {
                Io::Read => &self.cleaner.read_bytes,
                Io::Written => &self.cleaner.written_bytes,
            };
            counter.fetch_add(bytes, Ordering::Relaxed);
            unseen = unseen.saturating_add(bytes);
            if unseen >= ROOM_LOOK_BYTES {
                unseen = 0;
                is_full = !self.has_room_to_compact();
            }
            if is_full { Flow::Stop } else { throttle.pace(bytes) }
        };
        let now = self.compaction_time();
        match partition.compact(cleanable, memory_bytes, now, &mut pace) {
            Ok(done) => {
                let Compacted { segments, freed_bytes, end } = done;
                self.cleaner.runs.fetch_add(1, Ordering::Relaxed);
                self.cleaner.freed_bytes.fetch_add(freed_bytes, Ordering::Relaxed);
                let (topic, index) = (&partition.topic, partition.index);
                tracing::debug!(%topic, partition = %index, segments, freed_bytes, "compacted");
                end.is_some()
            }
            Err(error) => {
                // One that is closed meanwhile has been deleted.
                if is_full {
                    let (topic, index) = (&partition.topic, partition.index);
                    tracing::warn!(%topic, partition = %index, "not compacted: the disk is full");
                } else if !throttle.is_stopping() && !partition.is_offline() {
                    self.failed(partition, &error);
                }
                false
            }
        }
    }

    fn failed(&self, partition: &Partition, error: &CompactionError) {
        self.cleaner.failures.fetch_add(1, Ordering::Relaxed);
        let (topic, index) = (&partition.topic, partition.index);
        if error.is_damage() {
            self.cleaner.leave_alone(partition);
            tracing::error!(%topic, partition = %index, %error,
                "not compacted any more until restart: its log is damaged");
        } else {
            tracing::warn!(%topic, partition = %index, %error, "not compacted this time");
        }
    }
}

/// Keeps reads and writes together below `log.cleaner.io.max.bytes.per.second`, on average.
struct Throttle {
    bytes_per_second: f64,
    clock: Clock,
    /// Since then `bytes` went by.
    since: Duration,
    bytes: u64,
    handle: Handle,
    stopping: watch::Receiver<bool>,
}

impl Throttle {
    fn new(broker: &Broker, handle: Handle, stopping: watch::Receiver<bool>) -> Self {
        let (clock, since) = (broker.clock.clone(), broker.clock.elapsed());
        Self { bytes_per_second: f64::MAX, clock, since, bytes: 0, handle, stopping }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Takes note of bytes that went by; sleeps if they were too many.
    fn pace(&mut self, bytes: u64) -> Flow {
        self.bytes = self.bytes.saturating_add(bytes);
        let took = self.clock.elapsed().saturating_sub(self.since);
        let ahead = due(self.bytes, self.bytes_per_second).saturating_sub(took);
        if ahead >= Duration::from_millis(AHEAD_MS_MAX) {
            let ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
            self.handle.block_on(async {
                tokio::select! {
                    () = self.clock.sleep_ms(ms) => {}
                    _ = self.stopping.changed() => {}
                }
            });
            (self.since, self.bytes) = (self.clock.elapsed(), 0);
        }
        if self.is_stopping() { Flow::Stop } else { Flow::Continue }
    }
}

/// How long so many bytes have to take.
#[expect(clippy::cast_precision_loss, reason = "a time needs no exact bytes")]
fn due(bytes: u64, bytes_per_second: f64) -> Duration {
    let seconds = bytes as f64 / bytes_per_second.max(1.0);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_bytes_their_time() {
        let check = |bytes, rate, expected| {
            assert_eq!(due(bytes, rate), Duration::from_millis(expected), "{bytes} at {rate}");
        };
        check(1000, 1000.0, 1000);
        check(500, 1000.0, 500);
        check(u64::MAX, f64::MAX, 0);
        check(3, 0.0, 3000); // As slow as can be, but it goes on.
    }
}
