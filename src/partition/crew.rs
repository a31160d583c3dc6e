//! A few threads that work off a list together with the one that has it; they sleep in between.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Threads besides the caller's: file systems put what is synced at the same time on disk together, so
/// sixteen at once take half as long as four.
const HELPERS: usize = 15;

/// See the module. The threads are started when a list is long enough for them, and end with this.
#[derive(Debug)]
pub(super) struct Crew<T, R>(Arc<Shared<T, R>>);

#[derive(Debug)]
struct Shared<T, R> {
    list: Mutex<List<T, R>>,
    work: fn(&T) -> R,
    filled: Condvar,
    finished: Condvar,
}

#[derive(Debug)]
struct List<T, R> {
    waiting: VecDeque<(usize, T)>,
    /// By place in the list that was given.
    results: Vec<Option<R>>,
    /// Begun or waiting.
    unfinished: usize,
    helpers: usize,
    is_over: bool,
}

impl<T, R> Drop for Crew<T, R> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.filled.notify_all();
    }
}

impl<T: Send + 'static, R: Send + 'static> Crew<T, R> {
    /// A crew that does `work` with each entry, and must not panic on it.
    pub(super) fn new(work: fn(&T) -> R) -> Self {
        let list = List {
            waiting: VecDeque::new(),
            results: Vec::new(),
            unfinished: 0,
            helpers: 0,
            is_over: false,
        };
        let list = Mutex::new(list);
        Self(Arc::new(Shared { list, work, filled: Condvar::new(), finished: Condvar::new() }))
    }

    /// Works off `entries`; what each came to, in their order.
    pub(super) fn work_off(&self, entries: impl Iterator<Item = T>) -> Vec<R> {
        let shared = &*self.0;
        let mut list = shared.lock();
        list.waiting.extend(entries.enumerate());
        list.unfinished = list.waiting.len();
        list.results = std::iter::repeat_with(|| None).take(list.unfinished).collect();
        self.hire(&mut list);
        shared.filled.notify_all();
        let mut list = shared.work_on(list);
        while list.unfinished > 0 {
            list = shared.finished.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut list.results).into_iter().flatten().collect()
    }

    /// Fewer helpers than wanted, or none, do the same work.
    fn hire(&self, list: &mut List<T, R>) {
        while list.helpers < HELPERS.min(list.unfinished.saturating_sub(1)) {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("ottla-sync-more".into());
            if let Err(error) = thread.spawn(move || shared.help()) {
                tracing::warn!(%error, "a thread to sync with could not be started");
                return;
            }
            list.helpers += 1;
        }
    }
}

impl<T, R> Shared<T, R> {
    fn lock(&self) -> MutexGuard<'_, List<T, R>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn help(&self) {
        let mut list = self.lock();
        while !list.is_over {
            list = self.work_on(list);
            if list.waiting.is_empty() && !list.is_over {
                list = self.filled.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Takes entries until none waits.
    fn work_on<'a>(&'a self, mut list: MutexGuard<'a, List<T, R>>) -> MutexGuard<'a, List<T, R>> {
        while let Some((place, entry)) = list.waiting.pop_front() {
            drop(list);
            let result = (self.work)(&entry);
            drop(entry);
            list = self.lock();
            if let Some(found) = list.results.get_mut(place) {
                *found = Some(result);
            }
            list.unfinished = list.unfinished.saturating_sub(1);
            if list.unfinished == 0 {
                self.finished.notify_all();
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_worked_off_once_and_in_its_place() {
        let crew = Crew::new(|entry: &u32| entry * 2);
        for count in [0, 1, 2, 100] {
            let expected: Vec<u32> = (0..count).map(|entry| entry * 2).collect();
            assert_eq!(crew.work_off(0..count), expected);
        }
    }

    #[test]
    fn entries_are_worked_on_side_by_side_and_helpers_end() {
        let together = Arc::new(std::sync::Barrier::new(HELPERS + 1));
        let crew = Crew::new(|barrier: &Arc<std::sync::Barrier>| {
            barrier.wait();
        });
        crew.work_off((0..=HELPERS).map(|_| Arc::clone(&together)));
        let shared = Arc::downgrade(&crew.0);
        drop(crew);
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
