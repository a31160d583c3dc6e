//! Record batches, Kafka's unit of storage and transfer (KIP-98, format "v2"): parsed once,
//! checked, and then carried as the bytes they came in.
//!
//! | bytes | field | | bytes | field |
//! |---|---|---|---|---|
//! | 0..8 | base offset \* | | 27..35 | base timestamp |
//! | 8..12 | length of what follows | | 35..43 | max timestamp |
//! | 12..16 | partition leader epoch \* | | 43..51 | producer id |
//! | 16 | magic, 2 | | 51..53 | producer epoch |
//! | 17..21 | CRC-32C of 21.. | | 53..57 | base sequence |
//! | 21..23 | attributes | | 57..61 | record count |
//! | 23..27 | last offset delta | | 61.. | records, as one (compressed) block |
//!
//! \* written by the broker, outside the CRC, so that a batch is placed without being copied.
//!
//! What a producer sent becomes a [`ValidBatch`] by [`ValidBatch::parse_within`], what lies in a log
//! by [`ValidBatch::parse_stored`], what is ours by a [`BatchBuilder`]. [`ValidBatch::assign`] places
//! it, [`ValidBatch::slices`] is what is written, [`ValidBatch::check_records`] walks its records
//! without keeping them and [`ValidBatch::records`] gives them out. What compaction leaves of a batch
//! is made by [`ValidBatch::with_records`] and [`ValidBatch::without_records`].
//!
//! The older formats (magic 0 and 1) are deliberately not here: Kafka 4 neither takes nor returns
//! them.
#![deny(clippy::indexing_slicing)]

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
mod cursor;
mod filter;
pub mod header;
pub mod record;
#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
mod tests;

pub use batch::{BatchError, RecordSummary, ValidBatch};
pub use builder::{BatchBuilder, BuildError};
pub use compression::{Codec, Compression, CompressionError};
pub use control::{ControlRecord, EndMarker, Outcome};
pub use header::{Attributes, BatchHeader, HeaderError};
pub use record::{NewRecord, OwnedRecord, Record, RecordError, Records};
