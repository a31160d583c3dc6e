//! Who waits for a partition to move. A producer that finds nobody pays one atomic load.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// One waiting request: woken by any partition it is registered with. A wake-up means "look again".
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A request that waits for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns at the next wake-up, or at once if one came since the last call. Cancel-safe.
    pub async fn woken(&self) {
        self.0.notified().await;
    }

    /// Wakes the request.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// The requests that wait for one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    count: AtomicUsize,
    list: Mutex<Vec<Wake>>,
}

/// A registration; ends when dropped.
#[derive(Debug)]
pub struct Registration<'a> {
    waiters: &'a Waiters,
    wake: Wake,
}

impl Waiters {
    /// Registers `wake`. Register first and look after, so that nothing falls between.
    pub fn register(&self, wake: &Wake) -> Registration<'_> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(wake.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst); // The caller's look comes after, on every processor.
        Registration { waiters: self, wake: wake.clone() }
    }

    /// Wakes everyone registered. Call after the change is visible.
    pub fn wake_all(&self) {
        fence(Ordering::SeqCst); // The change comes before the look at who waits.
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for wake in self.list.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            wake.wake();
        }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut list = self.waiters.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = list.iter().position(|other| Arc::ptr_eq(&other.0, &self.wake.0)) {
            list.swap_remove(index);
            self.waiters.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
