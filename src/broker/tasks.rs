//! The owner of every background task: nothing runs that nobody joins.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

/// Background tasks of one broker, and the signal that ends them.
#[derive(Debug)]
pub struct Tasks {
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
    stop: watch::Sender<bool>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { running: Mutex::default(), stop: watch::Sender::new(false) }
    }
}

impl Tasks {
    /// Runs `task` until it ends by itself, which it does once [`Tasks::stopping`] says so.
    #[expect(clippy::disallowed_methods, reason = "this is the owner of all tasks")]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task);
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

fn log_failure(task: &str, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(task, %error, "background task failed");
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

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
