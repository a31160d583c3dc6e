//! The owner of every background task: nothing runs that nobody joins.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

/// Threads that [`for_each_index`] has at most, and how much of the work each has at least.
const THREADS_MAX: usize = 16;
const SHARE_MIN: usize = 8;

/// Background tasks of one broker, and the signal that ends them.
#[derive(Debug)]
pub struct Tasks {
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    stop: watch::Sender<bool>,
    /// Where they run: not where somebody calls from whose threads are busy, or end before the broker.
    runtime: Option<Handle>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (running, stop) = (Mutex::default(), watch::Sender::new(false));
        Self { running, stop, runtime: Handle::try_current().ok() }
    }
}

impl Tasks {
    /// Runs `task`, on the runtime that this was made on, until it ends by itself, which it does once [`Tasks::stopping`] says so.
    #[expect(clippy::disallowed_methods, reason = "this is the owner of all tasks")]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = match &self.runtime {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, handle)| !handle.is_finished()); // Short ones would gather.
        running.push((name, handle));
    }

    /// Turns true when the broker stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells every task, and everything parked, that the broker stops.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns once every task has ended; a task that failed is logged. One that has not ended when
    /// `patience` is over is ended where it stands, and logged as well.
    pub async fn join(&self, patience: impl Future<Output = ()>) {
        let mut patience = pin!(patience);
        let mut is_over = false;
        loop {
            let next = self.running.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((name, mut task)) = next else { return };
            if !is_over {
                tokio::select! {
                    biased;
                    ended = &mut task => {
                        log_failure(name, ended);
                        continue;
                    }
                    () = &mut patience => is_over = true,
                }
            }
            task.abort();
            match task.await {
                Err(error) if error.is_cancelled() => {
                    tracing::warn!(task = name, "background task did not end in time");
                }
                ended => log_failure(name, ended),
            }
        }
    }
}

/// Does `work` for each number below `count`; the outcomes in their order. Many are done by some threads
/// at a time, since each waits for the disk: the file system makes the syncs of several durable at once.
pub(super) fn for_each_index<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = THREADS_MAX.min(count / SHARE_MIN);
    if threads < 2 {
        return (0..count).map(work).collect();
    }
    let (work, share) = (&work, count.div_ceil(threads));
    let share_of = move |thread: usize| {
        let begin = thread * share;
        (begin.min(count)..count.min(begin + share)).map(work).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || share_of(thread))).collect();
        let outcomes = running.into_iter().map(|thread| thread.join());
        outcomes.flat_map(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn log_failure(task: &str, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(task, %error, "background task failed");
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn every_index_is_done_once_and_in_its_place() {
        for count in [0, 1, 7, 15, 16, 17, 100, 129, 1_000] {
            assert_eq!(for_each_index(count, |index| index), (0..count).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_ended_when_patience_is_over() {
        let tasks = Tasks::default();
        tasks.spawn("stuck", pending());
        let mut stopping = tasks.stopping();
        tasks.spawn("well-behaved", async move { drop(stopping.changed().await) });
        tasks.spawn("stuck, too", pending());
        tasks.stop();
        tasks.join(ready(())).await;
    }
}
