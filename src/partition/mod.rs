//! One partition: its log, what its producers wrote last, how far consumers may read, and who waits
//! for more.
//!
//! Invariants: log start ≤ last stable offset ≤ high watermark ≤ log end; offsets are given under the
//! partition's lock and never twice; under `ottla.durability=fsync` the high watermark never passes
//! what is on disk; no record of an open transaction lies below the last stable offset, and every
//! aborted one that a read_committed reader meets is told with what it reads.
//! Deliberately not here: topic names' meaning, groups, wire types.

mod aborted;
mod admission;
mod appending;
mod cache_window;
mod compaction;
mod crew;
mod error;
mod flusher;
mod journal;
#[expect(clippy::module_inception, reason = "the room is named after its main object")]
mod partition;
mod producers;
mod reading;
mod registry;
mod settings;
mod space;
mod syncing;
#[cfg(test)]
mod tests;
mod transactions;
mod waiters;

pub use appending::Admitted;
pub use compaction::{Compacted, CompactionError};
pub use error::{AppendError, ReadError, RecordError};
pub use flusher::{Flusher, Gathering, Rounds};
pub use journal::{Journal, JournalEntry, JournalError, JournalRecord};
pub use partition::{
    Appended, Isolation, Partition, PartitionConfig, PartitionContext, PartitionName, Watermarks,
};
pub use producers::{Checked, Marker, ProducerError, ProducerSlots, ProducerState, Producers};
pub use reading::Read;
pub use registry::{Registry, Topic};
pub use space::Space;
pub use syncing::Sealed;
pub use waiters::{Waiters, Wake};
