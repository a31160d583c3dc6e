//! The only source of randomness: ids for topics, members and clusters. A test can give it a seed
//! and gets the same ids in every run.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::{Builder, Uuid};

use crate::types::TopicId;

/// A handle to the ids of one broker; clones draw from the same source.
#[derive(Clone, Debug, Default)]
pub struct Ids(Option<Arc<Mutex<u64>>>);

impl Ids {
    /// Ids from the operating system's random source.
    pub fn random() -> Self {
        Self(None)
    }

    /// The same ids in every run with this seed. For tests: they can be guessed.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(seed))))
    }

    /// A new version 4 UUID.
    pub fn uuid(&self) -> Uuid {
        match &self.0 {
            None => Uuid::new_v4(),
            Some(state) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let (high, low) = (next(&mut state), next(&mut state));
                Builder::from_random_bytes(
                    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes(),
                )
                .into_uuid()
            }
        }
    }

    /// A topic id; never one of the reserved ids 0 and 1, which no version 4 UUID equals.
    pub fn topic_id(&self) -> TopicId {
        TopicId(self.uuid())
    }
}

/// One step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
