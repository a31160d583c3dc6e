//! Topic configs: all 33 of Apache Kafka 4.3, with its types, defaults and valid values.
//!
//! Not here, as in Kafka 4: `message.format.version`, `message.downconversion.enable` and
//! `message.timestamp.difference.max.ms`. They are unknown configs and refused, though the test
//! suite of kafkajs still sets the last one: a setting that nothing obeys is worse than an error.

use std::collections::BTreeMap;

use super::broker::BrokerConfig;
use super::keys::{ConfigError, ConfigTable, KeyInfo, Synonym};
use super::value::{CleanupPolicy, CompressionType, TimestampType, Valid};

const COMPRESSION_TYPES: Valid =
    Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

config_keys! {
    /// What is in force for one topic: its own settings over the broker's.
    pub struct TopicConfig from KeyInfo::TOPIC {
        /// How old records leave: `delete` by age and size, `compact` when a newer record has the
        /// same key, both, or neither.
        "cleanup.policy" => cleanup_policy: CleanupPolicy = CleanupPolicy::Delete,
            { valid: Valid::OneOf(&["compact", "delete"]),
              synonyms: &[Synonym::of("log.cleanup.policy")] };
        /// Effort of gzip where the broker compresses; -1 is the codec's own default.
        "compression.gzip.level" => compression_gzip_level: i32 = -1,
            { valid: Valid::BetweenOr(1, 9, -1),
              synonyms: &[Synonym::of("compression.gzip.level")] };
        /// Effort of LZ4 where the broker compresses. Stored and shown: ottla's LZ4 has one effort.
        "compression.lz4.level" => compression_lz4_level: i32 = 9,
            { valid: Valid::Between(1, 17), synonyms: &[Synonym::of("compression.lz4.level")] };
        /// The codec that batches are stored with; `producer` keeps what the producer chose.
        "compression.type" => compression_type: CompressionType = CompressionType::Producer,
            { valid: COMPRESSION_TYPES, synonyms: &[Synonym::of("compression.type")] };
        /// Effort of Zstandard where the broker compresses.
        "compression.zstd.level" => compression_zstd_level: i32 = 3,
            { valid: Valid::Between(-131_072, 22),
              synonyms: &[Synonym::of("compression.zstd.level")] };
        /// How many ms a tombstone stays readable after compaction has reached it.
        "delete.retention.ms" => delete_retention_ms: i64 = 86_400_000,
            { valid: Valid::AtLeast(0),
              synonyms: &[Synonym::of("log.cleaner.delete.retention.ms")] };
        /// How many ms the file of a removed segment stays on disk.
        "file.delete.delay.ms" => file_delete_delay_ms: i64 = 60_000,
            { valid: Valid::AtLeast(0), synonyms: &[Synonym::of("log.segment.delete.delay.ms")] };
        /// Sync after so many records. Stored and shown; `ottla.durability` decides when ottla
        /// syncs.
        "flush.messages" => flush_messages: i64 = i64::MAX,
            { valid: Valid::AtLeast(1), synonyms: &[Synonym::of("log.flush.interval.messages")] };
        /// Sync after so many ms. Stored and shown; `ottla.durability` decides when ottla syncs.
        "flush.ms" => flush_ms: i64 = i64::MAX,
            { valid: Valid::AtLeast(0),
              synonyms: &[Synonym::of("log.flush.interval.ms"),
                          Synonym::of("log.flush.scheduler.interval.ms")] };
        /// Replicas whose followers are slowed down while they catch up. Stored and shown: one
        /// node has no followers.
        "follower.replication.throttled.replicas" =>
            follower_replication_throttled_replicas: Vec<String> = Vec::new(),
            { valid: Valid::ThrottledReplicas };
        /// One entry of the offset index for so many bytes of log.
        "index.interval.bytes" => index_interval_bytes: i32 = 4_096,
            { valid: Valid::AtLeast(0), synonyms: &[Synonym::of("log.index.interval.bytes")] };
        /// Replicas whose leaders are slowed down while followers catch up. Stored and shown: one
        /// node has no followers.
        "leader.replication.throttled.replicas" =>
            leader_replication_throttled_replicas: Vec<String> = Vec::new(),
            { valid: Valid::ThrottledReplicas };
        /// Size limit of the local part of a tiered topic; -2 means `retention.bytes`. Stored and
        /// shown: there is no tiered storage.
        "local.retention.bytes" => local_retention_bytes: i64 = -2,
            { valid: Valid::AtLeast(-2), synonyms: &[Synonym::of("log.local.retention.bytes")] };
        /// Age limit of the local part of a tiered topic; -2 means `retention.ms`. Stored and
        /// shown: there is no tiered storage.
        "local.retention.ms" => local_retention_ms: i64 = -2,
            { valid: Valid::AtLeast(-2), synonyms: &[Synonym::of("log.local.retention.ms")] };
        /// The longest a record may escape compaction, in ms.
        "max.compaction.lag.ms" => max_compaction_lag_ms: i64 = i64::MAX,
            { valid: Valid::AtLeast(1),
              synonyms: &[Synonym::of("log.cleaner.max.compaction.lag.ms")] };
        /// The largest batch that is taken, in bytes, as stored.
        "max.message.bytes" => max_message_bytes: i32 = 1_048_588,
            { valid: Valid::AtLeast(0), synonyms: &[Synonym::of("message.max.bytes")] };
        /// How many ms a record's timestamp may lie ahead of the broker's clock.
        "message.timestamp.after.max.ms" => message_timestamp_after_max_ms: i64 = 3_600_000,
            { valid: Valid::AtLeast(0),
              synonyms: &[Synonym::of("log.message.timestamp.after.max.ms")] };
        /// How many ms a record's timestamp may lie behind the broker's clock.
        "message.timestamp.before.max.ms" => message_timestamp_before_max_ms: i64 = i64::MAX,
            { valid: Valid::AtLeast(0),
              synonyms: &[Synonym::of("log.message.timestamp.before.max.ms")] };
        /// Whose clock stamps records: the producer's (`CreateTime`) or the broker's
        /// (`LogAppendTime`).
        "message.timestamp.type" => message_timestamp_type: TimestampType =
            TimestampType::CreateTime,
            { valid: Valid::OneOf(&["CreateTime", "LogAppendTime"]),
              synonyms: &[Synonym::of("log.message.timestamp.type")] };
        /// Compaction starts once this share of the log is not yet compacted.
        "min.cleanable.dirty.ratio" => min_cleanable_dirty_ratio: f64 = 0.5,
            { valid: Valid::Between(0, 1),
              synonyms: &[Synonym::of("log.cleaner.min.cleanable.ratio")] };
        /// How many ms a record is safe from compaction.
        "min.compaction.lag.ms" => min_compaction_lag_ms: i64 = 0,
            { valid: Valid::AtLeast(0),
              synonyms: &[Synonym::of("log.cleaner.min.compaction.lag.ms")] };
        /// How many replicas must hold a write with acks=all. A value above the number of nodes
        /// counts as that number.
        "min.insync.replicas" => min_insync_replicas: i32 = 1,
            { valid: Valid::AtLeast(1), synonyms: &[Synonym::of("min.insync.replicas")] };
        /// Whether the file of a new segment takes its full size at once. Stored and shown: ottla's
        /// files grow as they are written.
        "preallocate" => preallocate: bool = false,
            { synonyms: &[Synonym::of("log.preallocate")] };
        /// Whether copying to tiered storage is off.
        "remote.log.copy.disable" => remote_log_copy_disable: bool = false,
            { valid: Valid::OnlyFalse };
        /// Whether tiered data goes when tiering is switched off.
        "remote.log.delete.on.disable" => remote_log_delete_on_disable: bool = false,
            { valid: Valid::OnlyFalse };
        /// Whether the topic is tiered.
        "remote.storage.enable" => remote_storage_enable: bool = false,
            { valid: Valid::OnlyFalse };
        /// Delete the oldest segments of a partition while it is larger than so many bytes; -1
        /// is no limit.
        "retention.bytes" => retention_bytes: i64 = -1,
            { synonyms: &[Synonym::of("log.retention.bytes")] };
        /// Delete a segment once its newest record is older than so many ms; -1 keeps all.
        "retention.ms" => retention_ms: i64 = 604_800_000,
            { valid: Valid::AtLeast(-1),
              synonyms: &[Synonym::of("log.retention.ms"),
                          Synonym::minutes("log.retention.minutes"),
                          Synonym::hours("log.retention.hours")] };
        /// The size at which a segment is closed, in bytes.
        "segment.bytes" => segment_bytes: i32 = 1_073_741_824,
            { valid: Valid::AtLeast(1_048_576), synonyms: &[Synonym::of("log.segment.bytes")] };
        /// The largest offset index of a segment, in bytes. Stored and shown: ottla's index has no
        /// limit of its own.
        "segment.index.bytes" => segment_index_bytes: i32 = 10_485_760,
            { valid: Valid::AtLeast(4), synonyms: &[Synonym::of("log.index.size.max.bytes")] };
        /// At most so many ms are taken from `segment.ms` at random, so that segments of many
        /// partitions do not close at the same time.
        "segment.jitter.ms" => segment_jitter_ms: i64 = 0,
            { valid: Valid::AtLeast(0),
              synonyms: &[Synonym::of("log.roll.jitter.ms"),
                          Synonym::hours("log.roll.jitter.hours")] };
        /// Close a segment once its first record is so many ms old.
        "segment.ms" => segment_ms: i64 = 604_800_000,
            { valid: Valid::AtLeast(1),
              synonyms: &[Synonym::of("log.roll.ms"), Synonym::hours("log.roll.hours")] };
        /// Whether a replica that is behind may become leader. Stored and shown: one node has no
        /// such replica.
        "unclean.leader.election.enable" => unclean_leader_election_enable: bool = false,
            { synonyms: &[Synonym::of("unclean.leader.election.enable")] };
    }
}

impl TopicConfig {
    /// What the broker's settings alone give a topic: of each key's synonyms the first that is
    /// not null.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] if a broker value is none for the topic key it stands for.
    pub fn inherited(broker: &BrokerConfig) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for key in Self::KEYS {
            let value = key.info.synonyms.iter().find_map(|synonym| {
                let value = broker.value_of(synonym.name).flatten()?;
                Some(synonym.convert(&value))
            });
            if let Some(value) = value {
                config.set(key.info.name, &value)?;
            }
        }
        Ok(config)
    }

    /// What is in force for a topic with these settings of its own.
    ///
    /// # Errors
    /// Any [`ConfigError`]: an unknown name, a bad value, or two that contradict each other.
    pub fn resolve(
        inherited: &Self,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut config = inherited.clone();
        for (name, value) in overrides {
            config.set(name, value)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Whether the settings agree with each other.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let (min, max) = (self.min_compaction_lag_ms, self.max_compaction_lag_ms);
        if max < min {
            return Err(ConfigError::Conflict(format!(
                "min.compaction.lag.ms {min} is above max.compaction.lag.ms {max}"
            )));
        }
        Ok(())
    }
}
