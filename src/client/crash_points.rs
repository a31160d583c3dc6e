//! Moments at which a test lets what runs above a cluster die: before and after each step that lasts.
//!
//! A run counts its boundaries; the next run is armed with one of those numbers, stands still there for
//! ever as a dead process does, and is dropped by the test, which then begins anew on the same broker.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most names that are kept of one run.
const NAMES_MAX: usize = 10_000;

/// A handle; clones are of the same run. By default there is nothing behind it, and nothing is counted.
#[derive(Clone, Default)]
pub struct CrashPoints(Option<Arc<Inner>>);

#[derive(Default)]
struct Inner {
    run: Mutex<Run>,
    died: Notify,
}

#[derive(Default)]
struct Run {
    /// Counted from 1.
    armed: Option<u64>,
    count: u64,
    names: Vec<String>,
    is_dead: bool,
}

impl CrashPoints {
    /// Counts boundaries, and lets nobody die until it is armed.
    pub fn counting() -> Self {
        Self(Some(Arc::default()))
    }

    /// Begins a new run that dies at its `n`-th boundary, counted from 1. What stands still from
    /// runs before stays so.
    pub fn arm(&self, n: u64) {
        self.begin(Some(n));
    }

    /// Begins a new run that only counts.
    pub fn disarm(&self) {
        self.begin(None);
    }

    fn begin(&self, armed: Option<u64>) {
        if let Some(inner) = &self.0 {
            *inner.run() = Run { armed, ..Run::default() };
        }
    }

    /// Boundaries of this run so far.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.run().count)
    }

    /// Their names in order, the first ten thousand of them; the last one is where a dead run stands.
    pub fn names(&self) -> Vec<String> {
        self.0.as_ref().map_or_else(Vec::new, |inner| inner.run().names.clone())
    }

    /// Returns once this run has died; never for a handle that counts nothing.
    pub async fn reached(&self) {
        let Some(inner) = &self.0 else { return pending().await };
        loop {
            let mut died = std::pin::pin!(inner.died.notified());
            died.as_mut().enable(); // Registered before the look, so that no death is missed.
            if inner.run().is_dead {
                return;
            }
            died.await;
        }
    }

    /// A boundary. Returns at once, but for the armed one: that never returns, nor does any after it.
    pub async fn reach(&self, name: &str) {
        if let Some(inner) = &self.0
            && inner.is_fatal(name)
        {
            pending::<()>().await;
        }
    }
}

impl Inner {
    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fatal(&self, name: &str) -> bool {
        let mut run = self.run();
        if run.is_dead {
            return true;
        }
        run.count += 1;
        if run.names.len() < NAMES_MAX {
            run.names.push(name.to_owned());
        }
        run.is_dead = run.armed == Some(run.count);
        if run.is_dead {
            self.died.notify_waiters();
        }
        run.is_dead
    }
}

impl fmt::Debug for CrashPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashPoints").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_armed_boundary_and_all_behind_it_stand_still() {
        let points = CrashPoints::counting();
        points.reach("one").await;
        points.reach("two").await;
        assert_eq!(points.count(), 2);
        points.arm(2);
        points.reach("one").await;
        tokio::select! {
            () = points.reach("two") => panic!("it goes on"),
            () = points.reached() => {}
        }
        tokio::select! {
            biased;
            () = points.reach("three") => panic!("it goes on"),
            () = points.reached() => {}
        }
        assert_eq!(points.names(), ["one", "two"]);
        points.disarm();
        points.reach("one").await;
    }

    #[tokio::test]
    async fn without_anything_behind_it_nothing_is_counted() {
        let points = CrashPoints::default();
        points.arm(1);
        points.reach("one").await;
        assert_eq!(points.count(), 0);
    }
}
