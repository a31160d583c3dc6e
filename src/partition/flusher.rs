//! The one thread that makes appends durable: it takes every partition that has unsynced bytes,
//! syncs their files in one round, then moves their high watermarks. While a round runs the next one
//! gathers by itself, so many producers share one `fdatasync`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Partition;
use super::cache_window::{CacheWindow, PIECE_BYTES};
use super::crew::Crew;
use super::syncing::NotSynced;
use crate::clock::Clock;
use crate::log::SyncedRange;
use crate::types::Monotonic;

/// So many partitions are synced one after another: to wake a helper takes about as long.
const SYNCED_ALONE: usize = 3;

/// What nobody waits for, or could not be synced for want of a file to open, is synced after so long, or
/// sooner with others.
const UNHURRIED: Duration = Duration::from_millis(10);

/// A handle to the sync thread; clones share it.
#[derive(Clone, Debug)]
pub struct Flusher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    rounds: Mutex<Rounds>,
    clock: Clock,
    has_window: bool,
}

#[derive(Debug, Default)]
struct Queue {
    dirty: Vec<Arc<Partition>>,
    /// Whether there is a reason not to wait for more.
    is_due: bool,
    /// How many [`Gathering`]s there are.
    gatherings: usize,
    closed: bool,
}

/// While there is one, no round begins for what is appended, so that all of it goes into one. Hold it
/// for some appends, never over an await.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Gathering(Arc<Shared>);

impl Drop for Gathering {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.gatherings = queue.gatherings.saturating_sub(1);
        queue.is_due = !queue.dirty.is_empty();
        drop(queue);
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What gathered since the last round, once that is due or has waited long enough; `None` if there
    /// will be no round any more.
    fn next_round(&self) -> Option<Vec<Arc<Partition>>> {
        let mut queue = self.lock();
        while !queue.closed && (queue.dirty.is_empty() || !queue.is_due) {
            if queue.dirty.is_empty() {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.filled.wait_timeout(queue, UNHURRIED);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.is_due |= timeout.timed_out();
        }
        queue.is_due = false;
        let dirty = std::mem::take(&mut queue.dirty);
        (!dirty.is_empty()).then_some(dirty)
    }
}

/// What the rounds so far took, for metrics.
#[derive(Debug, Default, Clone, Copy)]
pub struct Rounds {
    /// Rounds run.
    pub count: u64,
    /// Time spent in them.
    pub time: Duration,
    /// Partitions synced, over all rounds.
    pub partitions: u64,
    /// Partitions whose sync failed.
    pub failed: u64,
}

impl Flusher {
    /// Starts the thread, which keeps `cache_bytes` of what it has synced in the page cache, or
    /// leaves that to the kernel if it is 0. It ends after [`Flusher::close`].
    pub fn start(clock: Clock, cache_bytes: u64) -> std::io::Result<(Self, JoinHandle<()>)> {
        let window = CacheWindow::new(cache_bytes);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            rounds: Mutex::default(),
            clock,
            has_window: window.is_on(),
        });
        let flusher = Self(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("ottla-sync".into())
            .spawn(move || run(&shared, window))?;
        Ok((flusher, thread))
    }

    /// Puts a partition into the next round. The caller makes sure that it is in at most once.
    pub fn enqueue(&self, partition: Arc<Partition>) {
        let mut queue = self.0.lock();
        queue.dirty.push(partition);
        queue.is_due |= queue.gatherings == 0;
        drop(queue);
        self.0.filled.notify_one();
    }

    /// As [`Flusher::enqueue`], of what nobody waits for: it goes into the round of others, or after a
    /// while into one of its own. Who comes to wait says so by [`Flusher::hurry`].
    pub(super) fn enqueue_unhurried(&self, partition: Arc<Partition>) {
        self.0.lock().dirty.push(partition);
        self.0.filled.notify_one();
    }

    /// Somebody waits for what is queued.
    pub(super) fn hurry(&self) {
        let mut queue = self.0.lock();
        queue.is_due |= queue.gatherings == 0 && !queue.dirty.is_empty();
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Lets all that is appended until the end of the [`Gathering`] go into one round, unless somebody
    /// else's is due meanwhile: then some of it may get into the one that follows.
    pub fn gather(&self) -> Gathering {
        self.0.lock().gatherings += 1;
        Gathering(Arc::clone(&self.0))
    }

    /// Lets the thread end once what is queued is synced.
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.0.filled.notify_one();
    }

    /// Whether what is synced is kept in the page cache up to a size only.
    pub fn has_window(&self) -> bool {
        self.0.has_window
    }

    /// The time by the sync thread's clock.
    pub(super) fn now(&self) -> Monotonic {
        self.0.clock.now().monotonic
    }

    /// What the rounds so far took.
    pub fn rounds(&self) -> Rounds {
        *self.0.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(shared: &Shared, mut window: CacheWindow) {
    let crew = Crew::new(sync);
    let mut was_put_off = false;
    while let Some(dirty) = shared.next_round() {
        let mut is_put_off = false;
        for (partition, synced) in dirty.iter().zip(round(shared, &crew, &dirty)) {
            match synced {
                Ok(ranges) => ranges.into_iter().for_each(|range| window.add(partition, range)),
                Err(NotSynced::Failed) => {}
                Err(NotSynced::PutOff) => {
                    is_put_off = true;
                    if !shared.lock().closed {
                        partition.sync_along();
                    }
                }
            }
        }
        if is_put_off && !was_put_off {
            tracing::warn!("no file could be opened for a sync, which is tried again: ulimit -n");
        }
        was_put_off = is_put_off;
        window.shrink(shared.clock.now().monotonic);
    }
}

/// Syncs everything that `dirty` holds now; an error poisons just the partition it belongs to, for
/// the files of the others were synced by calls of their own. Returns what each may let go of.
fn round(shared: &Shared, crew: &SyncCrew, dirty: &[Arc<Partition>]) -> Vec<Synced> {
    let begin = shared.clock.elapsed();
    let results = if dirty.len() <= SYNCED_ALONE {
        dirty.iter().map(sync).collect()
    } else {
        crew.work_off(dirty.iter().cloned())
    };
    let mut rounds = shared.rounds.lock().unwrap_or_else(PoisonError::into_inner);
    rounds.count += 1;
    rounds.time += shared.clock.elapsed().saturating_sub(begin);
    rounds.partitions += u64::try_from(dirty.len()).unwrap_or(u64::MAX);
    let failed = results.iter().filter(|result| matches!(result, Err(NotSynced::Failed))).count();
    rounds.failed += u64::try_from(failed).unwrap_or(u64::MAX);
    results
}

/// Syncs partitions.
type SyncCrew = Crew<Arc<Partition>, Synced>;
/// What a partition may let go of.
type Synced = Result<Vec<SyncedRange>, NotSynced>;

fn sync(partition: &Arc<Partition>) -> Synced {
    let Some(unsynced) = partition.begin_sync()? else { return Ok(Vec::new()) };
    partition.end_sync(&unsynced, unsynced.sync())?;
    Ok(unsynced.hand_over(PIECE_BYTES).collect())
}
