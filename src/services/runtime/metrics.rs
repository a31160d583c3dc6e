//! What a group counts, readable from outside while it works.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::services::error::Class;

/// Upper ends of the histogram's buckets, in ms; a last one takes the rest.
pub const HANDLER_BUCKETS_MS: [u64; 10] = [1, 5, 10, 25, 50, 100, 500, 1_000, 5_000, 30_000];

/// Counters of one group since the process began, and gauges of this moment.
#[derive(Debug, Default)]
pub struct GroupMetrics {
    /// Records whose handler succeeded and whose transaction is committed or about to be.
    pub handled: Counter,
    /// Tries that failed in passing.
    pub failed_transient: Counter,
    /// Tries that failed for good.
    pub failed_permanent: Counter,
    /// Records that became dead letters.
    pub dead_letters: Counter,
    /// Records that were not handled because their like had been.
    pub duplicates: Counter,
    /// Records that no handler takes.
    pub passed_over: Counter,
    /// Records sent on to the partition of what they are routed by.
    pub rerouted: Counter,
    /// Timers that fired.
    pub timers_fired: Counter,
    /// Transactions committed.
    pub commits: Counter,
    /// Times that all was dropped and read again: rebalances, failures of the cluster.
    pub restarts: Counter,
    /// Lanes that wait for a try.
    pub parked_keys: Gauge,
    /// Records that wait for a try, or behind one.
    pub parked_records: Gauge,
    /// Timers that are set.
    pub timers_set: Gauge,
    /// Records that are read and not settled.
    pub in_flight: Gauge,
    /// Records in the topics that are not read yet, as of the last look.
    pub lag: Gauge,
    /// How late the last timer or retry was, in ms.
    pub late_ms: Gauge,
    /// How long handlers took.
    pub handler: Histogram,
}

impl GroupMetrics {
    /// Counts a try that failed.
    pub(super) fn failed(&self, class: Class) {
        match class {
            Class::Transient => self.failed_transient.add(1),
            Class::Permanent => self.failed_permanent.add(1),
        }
    }
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

/// A number of this moment.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn set_count(&self, count: usize) {
        self.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// How often what took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; HANDLER_BUCKETS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// How many took up to each of [`HANDLER_BUCKETS_MS`], and how many longer; not summed up.
    pub fn counts(&self) -> [u64; HANDLER_BUCKETS_MS.len() + 1] {
        std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed))
    }

    /// All of it together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = HANDLER_BUCKETS_MS.partition_point(|end| *end < ms);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}
