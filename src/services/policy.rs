//! How a subscription goes about its records: order, retries, and what comes after the last of them.

use std::time::Duration;

/// What waits for a record that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Records of the same key.
    #[default]
    PerKey,
    /// The whole partition.
    Partition,
    /// Nothing.
    None,
}

/// What becomes of a key whose record went to the dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterDead {
    /// Its next records are handled.
    #[default]
    Continue,
    /// They wait until the dead letter is redriven or discarded.
    HoldKey,
}

/// How often, and after which pauses, what failed in passing is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Tries in all, the first included.
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self::exp(Duration::from_millis(200), Duration::from_secs(30))
    }
}

impl Retry {
    /// Pauses that double from `first` up to `longest`, each shortened at random by up to a half; the first try and
    /// three more.
    pub const fn exp(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 4 }
    }

    /// No second try.
    pub const fn none() -> Self {
        Self { first: Duration::ZERO, longest: Duration::ZERO, attempts: 1 }
    }

    /// So many tries after the first.
    #[must_use]
    pub const fn attempts(mut self, retries: u32) -> Self {
        self.attempts = retries.saturating_add(1);
        self
    }
}

/// What a crash in the middle of handling does to a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// It is handled again, and what it writes and emits takes place once.
    #[default]
    ExactlyOnce,
    /// It is lost: its offset is committed before it is handled, and it is tried once. For logs and figures.
    AtMostOnce,
}
