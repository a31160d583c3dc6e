//! The limits and times of the transaction coordinator, as its owner read them from the
//! configuration.

/// Settings of a [`Coordinator`](super::Coordinator). `Default` gives ottla's defaults.
#[derive(Clone, Debug)]
pub struct TxnConfig {
    /// `transaction.max.timeout.ms`: the longest that a producer may ask to keep a transaction open.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`: how long an id is remembered after its last change.
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often that is looked at.
    pub expiration_check_interval_ms: u64,
    /// `ottla.max.transactional.ids`: ids of one coordinator; Kafka has no such limit. Beyond it those
    /// are forgotten that have been idle longest.
    pub id_count_max: usize,
    /// Bytes of all ids; likewise.
    pub id_bytes_max: usize,
    /// Partitions of one transaction; Kafka has no such limit. Every partition that is added writes
    /// all of them again.
    pub partition_count_max: usize,
    /// Counts the leaderships of the coordinator; markers carry it. On one node it never changes.
    pub coordinator_epoch: i32,
}

impl Default for TxnConfig {
    fn default() -> Self {
        Self {
            timeout_ms_max: 900_000,
            id_expiration_ms: 7 * 24 * 60 * 60 * 1_000,
            expiration_check_interval_ms: 60 * 60 * 1_000,
            id_count_max: 100_000,
            id_bytes_max: 64 * 1024 * 1024,
            partition_count_max: 10_000,
            coordinator_epoch: 0,
        }
    }
}
