//! A circuit breaker: where what a handler depends on fails again and again, nothing is begun for a while, and then
//! one, to see. Pure: time comes in.
//!
//! Closed, it opens at so many failures within a window. Open, it lets nothing through for a pause. Half open, it
//! lets one through: if that succeeds it closes, if it fails it opens for twice the pause, up to a longest; if nothing
//! is heard of it within a pause, another is let through. Whoever was let through before it opened may still report:
//! a failure is then counted for nothing, a success closes it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Timestamp;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many failures open it; at least 1.
    pub failures: usize,
    /// If they lie within this time.
    pub window: Duration,
    /// The pause when it opens first.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let (window, first) = (Duration::from_secs(30), Duration::from_secs(10));
        Self { failures: 5, window, first, longest: Duration::from_secs(120) }
    }
}

/// What a breaker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All goes through.
    Closed,
    /// Nothing goes through until then.
    Open(Timestamp),
    /// One was let through to see; if nobody hears of that one until then, another is.
    HalfOpen(Timestamp),
}

/// One breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    /// The newest failures, at most as many as open it.
    failed_at: VecDeque<Timestamp>,
    state: BreakerState,
    pause_ms: i64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(BreakerConfig::default())
    }
}

impl Breaker {
    /// A closed one.
    pub fn new(config: BreakerConfig) -> Self {
        let pause_ms = ms(config.first);
        Self { config, failed_at: VecDeque::new(), state: BreakerState::Closed, pause_ms }
    }

    /// What it is at.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// From when on something may begin; `None`: now. Changes nothing.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            BreakerState::Closed => None,
            BreakerState::Open(until) | BreakerState::HalfOpen(until) => {
                // Never longer than a pause from now, though the wall clock was set back.
                (now < until).then_some(until.min(now.plus_ms(self.pause_ms)))
            }
        }
    }

    /// Something begins, if it may.
    ///
    /// # Errors
    /// The time before which nothing may begin.
    pub fn allow(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        if let Some(until) = self.closed_until(now) {
            return Err(until);
        }
        if self.state != BreakerState::Closed {
            self.state = BreakerState::HalfOpen(now.plus_ms(self.pause_ms));
        }
        Ok(())
    }

    /// What depends on it succeeded. Closed, the failures of the window still count.
    pub fn success(&mut self) {
        if self.state != BreakerState::Closed {
            *self = Self::new(self.config);
        }
    }

    /// What depends on it failed in passing.
    pub fn failure(&mut self, now: Timestamp) {
        match self.state {
            BreakerState::Open(_) => {}
            BreakerState::HalfOpen(_) => {
                self.pause_ms = self.pause_ms.saturating_mul(2).min(ms(self.config.longest));
                self.state = BreakerState::Open(now.plus_ms(self.pause_ms));
            }
            BreakerState::Closed => {
                let most = self.config.failures.max(1);
                self.failed_at.push_back(now);
                if self.failed_at.len() > most {
                    self.failed_at.pop_front();
                }
                let first = self.failed_at.front().copied().unwrap_or(now);
                let is_within = now.0.saturating_sub(first.0) <= ms(self.config.window);
                if self.failed_at.len() == most && is_within {
                    self.state = BreakerState::Open(now.plus_ms(self.pause_ms));
                }
            }
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            assert_eq!(breaker.allow(Timestamp(0)), Ok(()));
            breaker.failure(Timestamp(0));
        }
        breaker
    }

    #[test]
    fn it_opens_lets_one_through_and_closes_again() {
        let mut breaker = open();
        assert_eq!(breaker.allow(Timestamp(9_999)), Err(Timestamp(10_000)));
        assert_eq!(breaker.allow(Timestamp(10_000)), Ok(()));
        assert_eq!(breaker.allow(Timestamp(10_001)), Err(Timestamp(20_000)));
        breaker.success();
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failure(Timestamp(10_002));
        assert_eq!(breaker.allow(Timestamp(10_003)), Ok(()));
    }

    #[test]
    fn its_pause_grows_up_to_the_longest_and_is_short_again_once_closed() {
        let mut breaker = open();
        let mut now = Timestamp(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let until = breaker.closed_until(now).unwrap();
            pauses.push((until.0 - now.0) / 1_000);
            now = until;
            assert_eq!(breaker.allow(now), Ok(()));
            breaker.failure(now);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 120, 120]);
        assert_eq!(breaker.allow(now.plus_ms(120_000)), Ok(()));
        breaker.success();
        (0..5).for_each(|_| breaker.failure(Timestamp(0)));
        assert_eq!(breaker.state(), BreakerState::Open(Timestamp(10_000)));
    }

    #[test]
    fn failures_far_apart_leave_it_closed() {
        let mut breaker = Breaker::default();
        for n in 0..1_000 {
            breaker.failure(Timestamp(n * 8_000));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.failed_at.len() <= 5);
    }

    #[test]
    fn one_of_whom_nothing_is_heard_does_not_hold_it() {
        let mut breaker = open();
        assert_eq!(breaker.allow(Timestamp(10_000)), Ok(()));
        assert_eq!(breaker.allow(Timestamp(20_000)), Ok(()));
        assert_eq!(breaker.state(), BreakerState::HalfOpen(Timestamp(30_000)));
    }

    #[test]
    fn failures_that_come_late_do_not_make_the_pause_longer() {
        let mut breaker = open();
        breaker.failure(Timestamp(5_000));
        assert_eq!(breaker.state(), BreakerState::Open(Timestamp(10_000)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        let breaker = open();
        let earlier = Timestamp(-1_000_000_000);
        assert_eq!(breaker.closed_until(earlier), Some(earlier.plus_ms(10_000)));
    }
}
