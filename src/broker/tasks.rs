//! The owner of every background task: nothing runs that nobody joins.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

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
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push((name, handle));
    }

    /// Turns true when the broker stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells every task, and everything parked, that the broker stops.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns once every task has ended; a task that failed is logged.
    pub async fn join(&self) {
        loop {
            let next = self.running.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((name, handle)) = next else { return };
            if let Err(error) = handle.await {
                tracing::error!(task = name, %error, "background task failed");
            }
        }
    }
}
