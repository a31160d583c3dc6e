//! Who waits for a partition to move. A producer that finds nobody pays one atomic load.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::types::Offset;

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
    list: Mutex<List>,
}

/// Kept so that one of a thousand comes and goes as cheaply as one of ten.
#[derive(Debug, Default)]
struct List {
    entries: Vec<Option<Entry>>,
    /// Indexes of those that are `None`.
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    wake: Wake,
    /// It need not look before the partition has come so far.
    end: Offset,
}

/// A registration; ends when dropped.
#[derive(Debug)]
pub struct Registration<'a> {
    waiters: &'a Waiters,
    index: usize,
}

impl Waiters {
    /// Registers `wake` for whatever moves. Register first and look after, so that nothing falls between.
    pub fn register(&self, wake: &Wake) -> Registration<'_> {
        self.register_for(wake, Offset(i64::MIN))
    }

    /// As [`Waiters::register`], of one for whom nothing is there before `end` is reached.
    pub fn register_for(&self, wake: &Wake, end: Offset) -> Registration<'_> {
        let entry = Some(Entry { wake: wake.clone(), end });
        let mut list = self.list();
        let index = list.free.pop().unwrap_or(list.entries.len());
        match list.entries.get_mut(index) {
            Some(free) => *free = entry,
            None => list.entries.push(entry),
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        drop(list);
        fence(Ordering::SeqCst); // The caller's look comes after, on every processor.
        Registration { waiters: self, index }
    }

    /// Wakes everyone registered. Call after the change is visible.
    pub fn wake_all(&self) {
        self.wake_reached(Offset(i64::MAX));
    }

    /// Wakes all for whom something is there now that everything before `end` is. Call after that is
    /// visible.
    pub fn wake_reached(&self, end: Offset) {
        fence(Ordering::SeqCst); // The change comes before the look at who waits.
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for entry in self.list().entries.iter().flatten().filter(|entry| entry.end <= end) {
            entry.wake.wake();
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut list = self.waiters.list();
        if let Some(entry) = list.entries.get_mut(self.index) {
            *entry = None;
            list.free.push(self.index);
        }
        if self.waiters.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            list.entries.clear();
            list.free.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    /// Whether it has been woken since the last look.
    fn is_woken(wake: &Wake) -> bool {
        let mut woken = std::pin::pin!(wake.woken());
        woken.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_waits_for_an_end_is_woken_when_it_is_reached() {
        let waiters = Waiters::default();
        let (any, near, far) = (Wake::new(), Wake::new(), Wake::new());
        let _any = waiters.register(&any);
        let near_one = waiters.register_for(&near, Offset(10));
        let _far = waiters.register_for(&far, Offset(20));
        waiters.wake_reached(Offset(9));
        assert_eq!([&any, &near, &far].map(is_woken), [true, false, false]);
        waiters.wake_reached(Offset(10));
        assert_eq!([&any, &near, &far].map(is_woken), [true, true, false]);
        drop(near_one);
        let next = Wake::new();
        let _next = waiters.register_for(&next, Offset(11));
        waiters.wake_reached(Offset(20));
        assert_eq!([&any, &near, &next, &far].map(is_woken), [true, false, true, true]);
        waiters.wake_all();
        assert_eq!([&any, &near, &next, &far].map(is_woken), [true, false, true, true]);
    }

    #[test]
    fn the_list_is_as_long_as_most_waited_at_once_and_empty_when_nobody_does() {
        let waiters = Waiters::default();
        let wake = Wake::new();
        for _ in 0..100 {
            let _both = (waiters.register(&wake), waiters.register(&wake));
            assert_eq!(waiters.list().entries.len(), 2);
        }
        assert!(waiters.list().entries.is_empty() && waiters.list().free.is_empty());
    }
}
