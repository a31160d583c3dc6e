//! The limits and times of the group coordinator, as its owner read them from the configuration.

/// Settings of a [`Coordinator`](super::Coordinator). `Default` gives ottla's defaults.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`: shortest session a member may ask for.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`: longest session a member may ask for.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long a first member waits for others.
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`: members of one group; also the most member ids waiting for their join.
    pub group_size_max: usize,
    /// Groups of one coordinator; Kafka has no such limit.
    pub group_count_max: usize,
    /// How long a new member may wait for a rebalance to end; its client cannot send heartbeats
    /// yet. Fixed in Kafka.
    pub new_member_join_timeout_ms: u64,
    /// `offsets.retention.minutes`, in ms: how long offsets outlive their last reader.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`: how often that is looked at.
    pub retention_check_interval_ms: u64,
    /// `offset.metadata.max.bytes`: longest text a client may store with an offset.
    pub offset_metadata_max_bytes: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 0,
            group_size_max: 1_000,
            group_count_max: 10_000,
            new_member_join_timeout_ms: 300_000,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            retention_check_interval_ms: 600_000,
            offset_metadata_max_bytes: 4_096,
        }
    }
}
