//! The log of one partition: a folder of segments, each a run of record batches exactly as Kafka
//! stores them (`kafka-dump-log` reads them). It knows offsets, times and epochs, but neither the
//! topic's name nor what the records mean.
//!
//! [`Log`] is the one writer. [`LogReader`]s, any number, read beside it without its lock: they see
//! an immutable list of segments and an end that only rises once what lies before it can be read.
//!
//! | to | call |
//! |---|---|
//! | open and recover | [`Log::open`] with a [`Checkpoint`] of the last run; tells [`Recovery`] |
//! | append | [`crate::records::ValidBatch::assign`] each batch, then [`Log::append`] |
//! | make durable | [`Log::unsynced`], [`Unsynced::sync`] on any thread, [`Log::mark_synced`]; if the sync fails, [`Log::poison`] |
//! | read | [`LogReader::read`] for ranges of files, [`LogReader::batches`] for checked batches |
//! | look up | [`LogReader::offset_for_timestamp`], [`LogReader::max_timestamp`], [`LogReader::epoch_end`] |
//! | shorten | [`Log::advance_start`]; [`Log::enforce_retention`], later [`Log::remove_due`] |
//! | compact | [`LogReader::cleanable`], [`LogReader::compact`], then [`Log::swap`] |
//! | stop | [`Log::close`]; its result is the clean checkpoint's `durable_up_to` |
//!
//! Invariants:
//! * log start offset <= log end offset; offsets are never given twice.
//! * What is visible to a reader is a whole batch whose CRC was right when it was written.
//! * After a write, sync, truncation or rename has failed, nothing is written any more until the
//!   log is opened anew; a failed sync is never tried again. One exception: an append that found
//!   no room on the disk and could be taken back whole leaves the log as it was.
//! * Opening cuts off a torn tail and says so; anything else that is wrong is an error, and the
//!   files stay as they are.
//!
//! Everything but the `.log` files and [`layout::START_OFFSET`] is derived and may be deleted.
#![deny(clippy::indexing_slicing)]

mod compact;
mod config;
pub mod copy;
mod epochs;
mod error;
pub mod fs;
mod index;
pub mod inspect;
pub mod layout;
#[expect(clippy::module_inception, reason = "the room's main type has the room's name")]
mod log;
mod open_files;
mod read;
mod recovery;
pub mod repair;
mod retention;
mod scan;
mod search;
mod segment;
mod sidecar;
mod start_offset;
mod sync;
#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
mod tests;
mod times;
mod verified;

pub use compact::{
    AbortedTransaction, Cleanable, Cleaned, CompactError, Compaction, CompactionConfig, Flow, Io,
    Pace, Pages, Plan, ProducerTail, Swap,
};
pub use config::{Checkpoint, LogConfig};
pub use epochs::{EpochCache, EpochEnd};
pub use error::{Damage, LogError, ReadError};
pub use log::{Appended, Log};
pub use read::{BatchIter, LogRange, LogReader};
pub use recovery::Recovery;
pub use retention::Deleted;
pub use segment::SyncedRange;
pub use sidecar::Sidecar;
pub use sync::Unsynced;
pub use times::TimedOffset;
