//! What a log is told from outside: its topic's configuration, and what the last run knew of it.

use crate::types::Offset;

/// The topic configs that concern the log; names and units as in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is closed before it grows beyond this.
    pub segment_bytes: u64,
    /// A segment is closed once it spans more than this many ms.
    pub segment_ms: i64,
    /// At most how many ms earlier than that, different for each segment.
    pub segment_jitter_ms: i64,
    /// Bytes between two entries of the sparse index.
    pub index_interval_bytes: u32,
    /// A segment goes once its newest record is older than this many ms; -1 keeps all.
    pub retention_ms: i64,
    /// The oldest segments go as long as at least this many bytes stay; -1 keeps all.
    pub retention_bytes: i64,
    /// Whether `cleanup.policy` has `delete`.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// Between the deletion of a segment and that of its file.
    pub file_delete_delay_ms: i64,
}

/// What the last run left written about a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log start offset as far as the caller knows; the log's own file counts too.
    pub log_start: Offset,
    /// Everything before was synced: what is missing or broken there is damage, not a torn tail.
    /// After a clean stop, the log end offset.
    pub durable_up_to: Offset,
    /// [`super::Log::close`] went well and nothing was appended since: nothing is scanned.
    pub clean: bool,
}
