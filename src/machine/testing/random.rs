//! Random operations: one world for each seed, and the numbers that it lives by.

use crate::codec::testing::Random;

/// Lets `live` run for each seed below `count`, or for the one that `OTTLA_SEED` names. A failure
/// prints its seed.
pub(crate) fn for_each_seed(count: u64, live: impl Fn(u64)) {
    let only = std::env::var("OTTLA_SEED").ok().map(|seed| seed.parse().expect("a number"));
    for seed in only.map_or(0..count, |seed: u64| seed..seed + 1) {
        let _told = TellSeed(seed);
        live(seed);
    }
}

struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with OTTLA_SEED={}", self.0);
        }
    }
}

/// Numbers that the seed decides.
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.bits() % end
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let count = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(count)).unwrap()].clone()
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
