//! How many producers may be remembered in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many producers all partitions of a broker may remember together; clones count as one.
#[derive(Debug, Clone)]
pub struct ProducerSlots {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl ProducerSlots {
    /// `most` of them, all free (ottla.max.producers).
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn are_taken(&self) -> bool {
        self.taken() >= self.most
    }

    pub(super) fn are_half_free(&self) -> bool {
        self.taken() <= self.most / 2
    }

    pub(super) fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}
