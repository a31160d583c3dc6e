//! A rate: so many a second, and as many at once as come up in one second. Pure.

use crate::types::Timestamp;

/// A bucket of tokens, which fills at its rate.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    per_second: u32,
    /// In thousandths.
    tokens: u64,
    filled_at: Timestamp,
}

impl Rate {
    /// A full bucket; `per_second` is above 0.
    pub fn new(per_second: u32, now: Timestamp) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, tokens: u64::from(per_second) * 1_000, filled_at: now }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When there will be one.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let passed_ms = u64::try_from(now.0.saturating_sub(self.filled_at.0)).unwrap_or(0);
        let per_second = u64::from(self.per_second);
        let most = per_second * 1_000;
        self.tokens = most.min(self.tokens.saturating_add(passed_ms.saturating_mul(per_second)));
        self.filled_at = now;
        if self.tokens >= 1_000 {
            self.tokens -= 1_000;
            return Ok(());
        }
        let wait_ms = (1_000 - self.tokens).div_ceil(per_second);
        Err(now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_as_many_as_the_rate_says() {
        let mut rate = Rate::new(2, Timestamp(0));
        assert_eq!((rate.take(Timestamp(0)), rate.take(Timestamp(0))), (Ok(()), Ok(())));
        assert_eq!(rate.take(Timestamp(0)), Err(Timestamp(500)));
        assert_eq!(rate.take(Timestamp(500)), Ok(()));
        assert_eq!(rate.take(Timestamp(500)), Err(Timestamp(1_000)));
        assert_eq!(rate.take(Timestamp(90_000)), Ok(()));
        assert_eq!(rate.take(Timestamp(90_000)), Ok(()));
        assert!(rate.take(Timestamp(90_000)).is_err());
    }
}
