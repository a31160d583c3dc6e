//! A rate: so many a second, and as many at once as come up in one second. Pure: time comes in.
//!
//! Kept as the one moment at which the bucket would be full again: each one taken moves it on by what one takes, and
//! nothing is to be had while it is more than a second ahead.

use crate::types::Timestamp;

const SECOND_NS: i64 = 1_000_000_000;

/// A bucket of tokens, which fills at its rate.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// What one takes, in ns.
    each_ns: i64,
    /// When it is full again, in ns since 1970.
    full_at_ns: i64,
}

impl Rate {
    /// A full bucket; a rate of 0 is 1.
    pub fn new(per_second: u32, now: Timestamp) -> Self {
        Self { each_ns: SECOND_NS / i64::from(per_second.max(1)), full_at_ns: ns(now) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When there will be one.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let now_ns = ns(now);
        // Not further ahead than an empty bucket is, though the wall clock was set back.
        let full_at_ns = self.full_at_ns.clamp(now_ns, now_ns.saturating_add(SECOND_NS));
        let wait_ns = full_at_ns.saturating_add(self.each_ns).saturating_sub(now_ns) - SECOND_NS;
        if wait_ns <= 0 {
            self.full_at_ns = full_at_ns.saturating_add(self.each_ns);
            return Ok(());
        }
        self.full_at_ns = full_at_ns;
        let wait_ms = wait_ns / 1_000_000 + i64::from(wait_ns % 1_000_000 > 0);
        Err(now.plus_ms(wait_ms))
    }
}

fn ns(time: Timestamp) -> i64 {
    time.0.saturating_mul(1_000_000)
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

    #[test]
    fn who_waits_as_told_takes_as_many_as_the_rate_says() {
        for per_second in [1, 3, 100, 999] {
            let mut rate = Rate::new(per_second, Timestamp(0));
            let (mut now, mut taken) = (Timestamp(0), 0);
            while now < Timestamp(10_000) {
                match rate.take(now) {
                    Ok(()) => taken += 1,
                    Err(until) => {
                        assert!(until > now);
                        now = until;
                    }
                }
            }
            let expected = 11 * per_second;
            assert!((expected - 1..=expected + 1).contains(&taken), "{per_second}/s: {taken}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_it() {
        let mut rate = Rate::new(1, Timestamp(1_000_000));
        assert_eq!(rate.take(Timestamp(1_000_000)), Ok(()));
        assert_eq!(rate.take(Timestamp(0)), Err(Timestamp(1_000)));
        assert_eq!(rate.take(Timestamp(1_000)), Ok(()));
    }
}
