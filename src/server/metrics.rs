//! What the Kafka face counts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::ApiKey;

/// Upper bounds of the request time buckets, in µs.
pub const TIME_BUCKETS_US: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// Counters over all listeners, since the start.
#[derive(Debug)]
pub struct ServerMetrics {
    /// Open connections.
    pub connections: AtomicI64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections refused at a limit.
    pub refused: AtomicU64,
    /// Bytes read from clients.
    pub received_bytes: AtomicU64,
    /// Bytes written to clients.
    pub sent_bytes: AtomicU64,
    apis: Vec<ApiMetrics>,
}

/// Counters of one API.
#[derive(Debug, Default)]
pub struct ApiMetrics {
    /// Requests answered.
    pub requests: AtomicU64,
    /// Time from the request's last byte to its answer, summed, in µs.
    pub time_us: AtomicU64,
    /// Requests by time: one count a bound of [`TIME_BUCKETS_US`], not cumulated.
    pub buckets: [AtomicU64; TIME_BUCKETS_US.len()],
}

impl Default for ServerMetrics {
    fn default() -> Self {
        Self {
            connections: AtomicI64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            apis: ApiKey::ALL.iter().map(|_| ApiMetrics::default()).collect(),
        }
    }
}

impl ServerMetrics {
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn request(&self, api: ApiKey, took: Duration) {
        let Some(metrics) = self.api(api) else { return };
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        metrics.requests.fetch_add(1, Ordering::Relaxed);
        metrics.time_us.fetch_add(us, Ordering::Relaxed);
        if let Some(index) = TIME_BUCKETS_US.iter().position(|bound| us <= *bound)
            && let Some(bucket) = metrics.buckets.get(index)
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters of every API, by Kafka's name.
    pub fn by_api(&self) -> impl Iterator<Item = (&'static str, &ApiMetrics)> {
        ApiKey::ALL.iter().map(|api| api.name()).zip(&self.apis)
    }

    /// The counters of one API.
    pub fn api(&self, api: ApiKey) -> Option<&ApiMetrics> {
        let index = ApiKey::ALL.iter().position(|key| *key == api)?;
        self.apis.get(index)
    }
}
