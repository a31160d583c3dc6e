//! Group configs: taken, checked and shown for any group name, as Kafka does. They concern the
//! consumer, share and streams group protocols; classic groups obey none of them.

use super::keys::KeyInfo;
use super::value::Valid;

config_keys! {
    /// What is set for one group.
    pub struct GroupConfig from KeyInfo::TOPIC {
        /// How many ms lie between two assignments of a consumer group.
        "consumer.assignment.interval.ms" => consumer_assignment_interval_ms: i32 = 1_000,
            { valid: Valid::AtLeast(0) };
        /// How often a consumer reports, in ms.
        "consumer.heartbeat.interval.ms" => consumer_heartbeat_interval_ms: i32 = 5_000,
            { valid: Valid::AtLeast(1) };
        /// How many ms of silence a consumer is given.
        "consumer.session.timeout.ms" => consumer_session_timeout_ms: i32 = 45_000,
            { valid: Valid::AtLeast(1) };
        /// How many ms lie between two assignments of a share group.
        "share.assignment.interval.ms" => share_assignment_interval_ms: i32 = 1_000,
            { valid: Valid::AtLeast(0) };
        /// Where a share group begins: `latest`, `earliest` or `by_duration:` and an ISO 8601
        /// duration.
        "share.auto.offset.reset" => share_auto_offset_reset: String = "latest".to_owned(),
            { valid: Valid::Pattern(&["latest", "earliest"], "by_duration:PnDTnHnMn.nS") };
        /// How often a record is delivered before it is given up.
        "share.delivery.count.limit" => share_delivery_count_limit: i32 = 5,
            { valid: Valid::AtLeast(2) };
        /// How often a share consumer reports, in ms.
        "share.heartbeat.interval.ms" => share_heartbeat_interval_ms: i32 = 5_000,
            { valid: Valid::AtLeast(1) };
        /// Whether a share group sees records of open and aborted transactions.
        "share.isolation.level" => share_isolation_level: String = "read_uncommitted".to_owned(),
            { valid: Valid::OneOf(&["read_committed", "read_uncommitted"]) };
        /// The most records of one partition that a share group holds locked.
        "share.partition.max.record.locks" => share_partition_max_record_locks: i32 = 2_000,
            { valid: Valid::AtLeast(100) };
        /// How many ms a delivered record stays locked.
        "share.record.lock.duration.ms" => share_record_lock_duration_ms: i32 = 30_000,
            { valid: Valid::AtLeast(1_000) };
        /// Whether a share consumer may prolong its lock.
        "share.renew.acknowledge.enable" => share_renew_acknowledge_enable: bool = true;
        /// How many ms of silence a share consumer is given.
        "share.session.timeout.ms" => share_session_timeout_ms: i32 = 45_000,
            { valid: Valid::AtLeast(1) };
        /// How many ms lie between two assignments of a streams group.
        "streams.assignment.interval.ms" => streams_assignment_interval_ms: i32 = 1_000,
            { valid: Valid::AtLeast(0) };
        /// How often a streams member reports, in ms.
        "streams.heartbeat.interval.ms" => streams_heartbeat_interval_ms: i32 = 5_000,
            { valid: Valid::AtLeast(1) };
        /// How many ms a new streams group waits for more members.
        "streams.initial.rebalance.delay.ms" => streams_initial_rebalance_delay_ms: i32 = 3_000,
            { valid: Valid::AtLeast(0) };
        /// How many standby copies of each task's state there are.
        "streams.num.standby.replicas" => streams_num_standby_replicas: i32 = 0,
            { valid: Valid::AtLeast(0) };
        /// How many ms of silence a streams member is given.
        "streams.session.timeout.ms" => streams_session_timeout_ms: i32 = 45_000,
            { valid: Valid::AtLeast(1) };
    }
}
