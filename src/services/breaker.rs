//! A circuit breaker: where what a handler depends on fails again and again, nothing is begun for a while, then one
//! to see. Pure.

use crate::types::Timestamp;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long it stays open before one is let through.
const OPEN_MS: i64 = 10_000;

/// What a breaker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All goes through.
    Closed,
    /// Nothing goes through until then.
    Open(Timestamp),
    /// One is let through to see; if nobody hears of that one, another is then.
    HalfOpen(Timestamp),
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    failures: u32,
    state: BreakerState,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, state: BreakerState::Closed }
    }
}

impl Breaker {
    /// Where it is at.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// From when on something may begin; `None`: now. Changes nothing.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.state {
            BreakerState::Closed => None,
            BreakerState::Open(until) | BreakerState::HalfOpen(until) => {
                (now < until).then_some(until)
            }
        }
    }

    /// Something begins; or when it may be asked again.
    ///
    /// # Errors
    /// The time before which nothing may begin.
    pub fn allow(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        if let Some(until) = self.closed_until(now) {
            return Err(until);
        }
        if self.state != BreakerState::Closed {
            self.state = BreakerState::HalfOpen(now.plus_ms(OPEN_MS));
        }
        Ok(())
    }

    /// What depends on it succeeded.
    pub fn success(&mut self) {
        *self = Self::default();
    }

    /// It failed in passing.
    pub fn failure(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let is_trial = matches!(self.state, BreakerState::HalfOpen(_));
        if is_trial || self.failures >= FAILURES_MAX {
            self.state = BreakerState::Open(now.plus_ms(OPEN_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_lets_one_through_and_closes_again() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.allow(Timestamp(0)), Ok(()));
            breaker.failure(Timestamp(0));
        }
        assert_eq!(breaker.allow(Timestamp(9_999)), Err(Timestamp(10_000)));
        assert_eq!(breaker.allow(Timestamp(10_000)), Ok(()));
        assert_eq!(breaker.allow(Timestamp(10_001)), Err(Timestamp(20_000)));
        breaker.failure(Timestamp(10_002));
        assert_eq!(breaker.closed_until(Timestamp(10_003)), Some(Timestamp(20_002)));
        assert_eq!(breaker.allow(Timestamp(20_002)), Ok(()));
        breaker.success();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
