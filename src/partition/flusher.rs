//! The one thread that makes appends durable: it takes every partition that has unsynced bytes,
//! syncs their files in one round, then moves their high watermarks. While a round runs the next one
//! gathers by itself, so many producers share one `fdatasync`.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Partition;
use crate::clock::Clock;

/// Partitions synced at the same time when a round has several.
const PARALLEL_SYNCS: usize = 4;

/// A handle to the sync thread; clones share it.
#[derive(Clone, Debug)]
pub struct Flusher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    rounds: Mutex<Rounds>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Queue {
    dirty: Vec<Arc<Partition>>,
    closed: bool,
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
    /// Starts the thread. It ends after [`Flusher::close`].
    pub fn start(clock: Clock) -> std::io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            rounds: Mutex::default(),
            clock,
        });
        let flusher = Self(Arc::clone(&shared));
        let thread =
            std::thread::Builder::new().name("ottla-sync".into()).spawn(move || run(&shared))?;
        Ok((flusher, thread))
    }

    /// Puts a partition into the next round. The caller makes sure that it is in at most once.
    pub fn enqueue(&self, partition: Arc<Partition>) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.dirty.push(partition);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Lets the thread end once what is queued is synced.
    pub fn close(&self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.0.filled.notify_one();
    }

    /// What the rounds so far took.
    pub fn rounds(&self) -> Rounds {
        *self.0.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(shared: &Shared) {
    loop {
        let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.dirty.is_empty() {
            if queue.closed {
                return;
            }
            queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let dirty = std::mem::take(&mut queue.dirty);
        drop(queue);
        round(shared, &dirty);
    }
}

/// Syncs everything that `dirty` holds now; an error poisons just the partition it belongs to, for
/// the files of the others were synced by calls of their own.
fn round(shared: &Shared, dirty: &[Arc<Partition>]) {
    let begin = shared.clock.elapsed();
    let failed = if let [only] = dirty {
        usize::from(!sync(only))
    } else {
        let share = dirty.len().div_ceil(PARALLEL_SYNCS);
        std::thread::scope(|scope| {
            let threads: Vec<_> = dirty
                .chunks(share)
                .map(|part| scope.spawn(|| part.iter().filter(|p| !sync(p)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        })
    };
    let mut rounds = shared.rounds.lock().unwrap_or_else(PoisonError::into_inner);
    rounds.count += 1;
    rounds.time += shared.clock.elapsed().saturating_sub(begin);
    rounds.partitions += u64::try_from(dirty.len()).unwrap_or(u64::MAX);
    rounds.failed += u64::try_from(failed).unwrap_or(u64::MAX);
}

fn sync(partition: &Arc<Partition>) -> bool {
    let Some(unsynced) = partition.begin_sync() else { return true };
    let result = unsynced.sync();
    let ok = result.is_ok();
    partition.end_sync(&unsynced, result);
    ok
}
