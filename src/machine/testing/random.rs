//! Random operations: one world for each seed, and the numbers that it lives by.

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

/// Numbers that the seed decides (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let count = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(count)).unwrap()].clone()
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
