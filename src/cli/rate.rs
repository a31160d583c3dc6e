//! How fast: `50/s`, `100/m`.

use crate::clock::Clock;

/// Records that are sent at a time where nothing says how fast.
const AT_ONCE_MAX: u64 = 500;
/// Parts of a second that a rate is kept by.
const PARTS: u64 = 5;

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    count: u64,
    ms: u64,
}

impl Rate {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let ms = match unit {
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let count = count.parse().ok().filter(|count| (1..=1_000_000).contains(count));
        let rate = count.zip(ms).map(|(count, ms)| Self { count, ms });
        rate.ok_or_else(|| {
            format!("{text:?} is no rate: give a number and a unit, such as 50/s or 100/m")
        })
    }
}

/// Keeps to a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<Rate>,
    clock: Clock,
    /// What was let go so far, and since when, in ms of the clock.
    count: u64,
    began_ms: u64,
}

impl Pace {
    /// From now on, at this rate or as fast as it goes.
    pub(crate) fn new(rate: Option<Rate>, clock: &Clock) -> Self {
        let began_ms = ms(clock);
        Self { rate, clock: clock.clone(), count: 0, began_ms }
    }

    /// How many may go at a time.
    pub(crate) fn at_once(&self) -> usize {
        let some = |rate: Rate| (rate.count.saturating_mul(1_000) / rate.ms / PARTS).max(1);
        let count = self.rate.map_or(AT_ONCE_MAX, some).min(AT_ONCE_MAX);
        usize::try_from(count).unwrap_or(1)
    }

    /// Waits until so many more may go.
    pub(crate) async fn wait(&mut self, more: usize) {
        if let Some(rate) = self.rate {
            let due = self.began_ms + self.count.saturating_mul(rate.ms) / rate.count;
            let now = ms(&self.clock);
            if now < due {
                self.clock.sleep_ms(due - now).await;
            }
        }
        self.count += u64::try_from(more).unwrap_or(0);
    }
}

fn ms(clock: &Clock) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        assert_eq!(Rate::parse("50/s"), Ok(Rate { count: 50, ms: 1_000 }));
        assert_eq!(Rate::parse("7"), Ok(Rate { count: 7, ms: 1_000 }));
        assert_eq!(Rate::parse("90/m"), Ok(Rate { count: 90, ms: 60_000 }));
        for text in ["", "0/s", "-1/s", "5/d", "fast", "5/s/s", "1.5/s"] {
            assert!(Rate::parse(text).is_err_and(|error| error.contains("is no rate")), "{text}");
        }
    }
}
