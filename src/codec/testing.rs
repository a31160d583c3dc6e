//! Random values of every field type, for tests that compare codecs or go there and back.

use bytes::Bytes;
use uuid::Uuid;

use super::field::{Column, Field, Layout};

/// A seeded source: the same seed gives the same values.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits (splitmix64).
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.bits() % u64::try_from(end).expect("fits")).expect("below end")
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Gives a field a value that its version can carry; a tagged one keeps its default now and then.
    pub(crate) fn fill<T: Sample>(&mut self, column: &Column, layout: Layout, value: &mut T) {
        let stays = column.tag.is_some() && self.one_in(3);
        if column.versions.contains(layout.version) && !stays {
            let nullable = column.nullable.contains(layout.version);
            *value = T::sample(self, layout, nullable);
        }
    }
}

/// A type that random values can be made of.
pub(crate) trait Sample: Field {
    /// A random value; `nullable` says whether it may be null.
    fn sample(random: &mut Random, layout: Layout, nullable: bool) -> Self;
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl Sample for $ty {
            fn sample(random: &mut Random, _: Layout, _: bool) -> Self {
                let [a, b, c, d, e, f, g, h] = random.bits().to_be_bytes();
                let bytes = [a, b, c, d, e, f, g, h];
                let (low, _) = bytes.split_at(size_of::<Self>());
                Self::from_be_bytes(low.try_into().expect("split at its size"))
            }
        }
    )*};
}

numbers!(i8, i16, u16, i32, i64);

impl Sample for bool {
    fn sample(random: &mut Random, _: Layout, _: bool) -> Self {
        random.one_in(2)
    }
}

impl Sample for f64 {
    fn sample(random: &mut Random, _: Layout, _: bool) -> Self {
        f64::from(u32::try_from(random.bits() >> 32).expect("32 bits")) / 3.0
    }
}

impl Sample for Uuid {
    fn sample(random: &mut Random, _: Layout, _: bool) -> Self {
        Self::from_u64_pair(random.bits(), random.bits())
    }
}

impl Sample for String {
    fn sample(random: &mut Random, _: Layout, _: bool) -> Self {
        // Some are long enough for a compact length of two bytes.
        let length = if random.one_in(12) { 100 } else { 8 };
        let letters = ['a', 'Z', '.', '-', ' ', 'ä', '語', '🦀', '\0'];
        (0..random.below(length)).map(|_| letters[random.below(letters.len())]).collect()
    }
}

impl Sample for Bytes {
    fn sample(random: &mut Random, _: Layout, _: bool) -> Self {
        let length = if random.one_in(12) { 20_000 } else { 12 };
        (0..random.below(length)).map(|_| random.bits().to_be_bytes()[0]).collect()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(random: &mut Random, layout: Layout, _: bool) -> Self {
        (0..random.below(4)).map(|_| T::sample(random, layout, false)).collect()
    }
}

impl<T: Sample + super::Nullable> Sample for Option<T> {
    fn sample(random: &mut Random, layout: Layout, nullable: bool) -> Self {
        (!nullable || !random.one_in(4)).then(|| T::sample(random, layout, false))
    }
}
