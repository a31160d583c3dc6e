//! The only place that reads a clock. A test can take the hands: a manual clock stands still until
//! it is moved, and every timer of the broker follows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::types::{Monotonic, Now, Timestamp};

/// A handle to the clock of one broker; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    System { start: Instant },
    Manual { now: Mutex<Now>, moved: Notify },
}

impl Clock {
    /// The machine's own clocks.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn system() -> Self {
        Self(Arc::new(Kind::System { start: Instant::now() }))
    }

    /// A clock that stands at `wall` until [`Clock::advance`] moves it.
    pub fn manual(wall: Timestamp) -> Self {
        let now = Mutex::new(Now { wall, monotonic: Monotonic(0) });
        Self(Arc::new(Kind::Manual { now, moved: Notify::new() }))
    }

    /// Both clocks, read together.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Now {
        match &*self.0 {
            Kind::System { start } => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Now {
                    wall: Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
                    monotonic: Monotonic(ms(start.elapsed())),
                }
            }
            Kind::Manual { now, .. } => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Time since the clock was made, as fine as the machine has it; for measuring only.
    pub fn elapsed(&self) -> Duration {
        match &*self.0 {
            Kind::System { start } => start.elapsed(),
            Kind::Manual { .. } => Duration::from_millis(self.now().monotonic.0),
        }
    }

    /// Moves a manual clock forward by `ms`, both hands, and wakes what waited for that time. The
    /// system's clock cannot be moved: false.
    pub fn advance(&self, ms: u64) -> bool {
        let Kind::Manual { now, moved } = &*self.0 else { return false };
        let mut hands = now.lock().unwrap_or_else(PoisonError::into_inner);
        hands.monotonic = hands.monotonic.plus_ms(ms);
        hands.wall = hands.wall.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX));
        drop(hands);
        moved.notify_waiters();
        true
    }

    /// Sets the wall clock of a manual clock forward or back by `ms`, as an operator or NTP does: the
    /// monotonic one stays, and nothing wakes. The system's clock cannot be set: false.
    pub fn jump_wall(&self, ms: i64) -> bool {
        let Kind::Manual { now, .. } = &*self.0 else { return false };
        let mut hands = now.lock().unwrap_or_else(PoisonError::into_inner);
        hands.wall = hands.wall.plus_ms(ms);
        true
    }

    /// Returns once the monotonic clock shows `deadline`. Cancel-safe.
    pub async fn sleep_until(&self, deadline: Monotonic) {
        match &*self.0 {
            Kind::System { .. } => {
                let left = deadline.0.saturating_sub(self.now().monotonic.0);
                tokio::time::sleep(Duration::from_millis(left)).await;
            }
            Kind::Manual { moved, .. } => loop {
                let wake = moved.notified();
                tokio::pin!(wake);
                wake.as_mut().enable(); // Registered before the look, so that no move is missed.
                if self.now().monotonic >= deadline {
                    return;
                }
                wake.await;
            },
        }
    }

    /// Returns after `ms` on the monotonic clock. Cancel-safe.
    pub async fn sleep_ms(&self, ms: u64) {
        self.sleep_until(self.now().monotonic.plus_ms(ms)).await;
    }
}

/// The wall clock for those who delete by it: a jump forward counts only from the second look on, so
/// that a clock which is wrong for a moment deletes nothing. Pure.
#[derive(Clone, Copy, Debug)]
pub struct SteadyTime {
    last: Now,
}

impl SteadyTime {
    /// How far the wall clock may run ahead of the monotonic one between two looks, in ms.
    const JUMP_MS_MAX: i64 = 60_000;

    /// Begins at `now`, which is believed.
    pub fn new(now: Now) -> Self {
        Self { last: now }
    }

    /// The time to judge by at this look: the wall clock's, or if that has jumped forward since the
    /// look before, the time that has really passed since then. A clock that went back is believed:
    /// by it too little is old, not too much.
    pub fn look(&mut self, now: Now) -> Timestamp {
        let believed = self.peek(now);
        self.last = now;
        believed
    }

    /// What a look would give now, without being one: for those who look more often.
    pub fn peek(&self, now: Now) -> Timestamp {
        let passed = now.monotonic.0.saturating_sub(self.last.monotonic.0);
        let expected = self.last.wall.plus_ms(i64::try_from(passed).unwrap_or(i64::MAX));
        if now.wall > expected.plus_ms(Self::JUMP_MS_MAX) { expected } else { now.wall }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: i64, monotonic: u64) -> Now {
        Now { wall: Timestamp(wall), monotonic: Monotonic(monotonic) }
    }

    #[test]
    fn a_jump_forward_counts_from_the_second_look_on() {
        let mut steady = SteadyTime::new(now(1_000, 0));
        let mut at = |wall, monotonic| steady.look(now(wall, monotonic)).0;
        assert_eq!(at(301_000, 300_000), 301_000);
        assert_eq!(at(661_000, 600_000), 661_000); // A minute ahead is a clock that was set.
        assert_eq!(at(9_000_000, 900_000), 961_000);
        assert_eq!(at(9_300_000, 1_200_000), 9_300_000);
        assert_eq!(at(1_000, 1_500_000), 1_000);
        assert_eq!(at(9_900_000, 1_800_000), 301_000); // Back, and forth again.
    }
}
