//! From what is configured to what the rooms below are told.

use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::config::value::{CompressionType, TimestampType};
use crate::groups::GroupConfig;
use crate::log::{CompactionConfig, LogConfig};
use crate::partition::PartitionConfig;
use crate::records::{Codec, Compression};

/// What a partition is told of its topic's settings.
pub(super) fn partition_config(topic: &TopicConfig) -> PartitionConfig {
    PartitionConfig {
        log: log_config(topic),
        compact: topic.cleanup_policy.compacts(),
        compaction: compaction_config(topic),
        max_message_bytes: u64::try_from(topic.max_message_bytes).unwrap_or(0),
        log_append_time: topic.message_timestamp_type == TimestampType::LogAppendTime,
        timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        compression: compression(topic),
    }
}

/// How a partition is compacted, if it is.
pub(super) fn compaction_config(topic: &TopicConfig) -> CompactionConfig {
    CompactionConfig {
        delete_retention_ms: topic.delete_retention_ms,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
    }
}

/// When a segment is closed: also once its records may wait no longer for compaction (KIP-354),
/// which never takes the active one.
fn segment_ms(topic: &TopicConfig) -> i64 {
    if topic.cleanup_policy.compacts() {
        topic.segment_ms.min(topic.max_compaction_lag_ms)
    } else {
        topic.segment_ms
    }
}

fn log_config(topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: u64::try_from(topic.segment_bytes).unwrap_or(0),
        segment_ms: segment_ms(topic),
        segment_jitter_ms: topic.segment_jitter_ms,
        index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(0),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        delete: topic.cleanup_policy.deletes(),
        compact: topic.cleanup_policy.compacts(),
        file_delete_delay_ms: topic.file_delete_delay_ms,
    }
}

fn compression(topic: &TopicConfig) -> Option<Compression> {
    let (codec, level) = match topic.compression_type {
        CompressionType::Producer => return None,
        CompressionType::Uncompressed => (Codec::None, None),
        CompressionType::Snappy => (Codec::Snappy, None),
        CompressionType::Gzip => {
            (Codec::Gzip, Some(topic.compression_gzip_level).filter(|level| *level > 0))
        }
        CompressionType::Lz4 => (Codec::Lz4, Some(topic.compression_lz4_level)),
        CompressionType::Zstd => (Codec::Zstd, Some(topic.compression_zstd_level)),
    };
    Some(Compression { codec, level })
}

/// What the group coordinator is told.
pub(super) fn group_config(broker: &BrokerConfig) -> GroupConfig {
    const MINUTE_MS: i64 = 60_000;
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let size = |value: i32| usize::try_from(value).unwrap_or(0);
    GroupConfig {
        min_session_timeout_ms: broker.group_min_session_timeout_ms,
        max_session_timeout_ms: broker.group_max_session_timeout_ms,
        initial_rebalance_delay_ms: unsigned(broker.group_initial_rebalance_delay_ms.into()),
        group_size_max: size(broker.group_max_size),
        group_count_max: size(broker.ottla_max_groups),
        offsets_retention_ms: i64::from(broker.offsets_retention_minutes) * MINUTE_MS,
        retention_check_interval_ms: unsigned(broker.offsets_retention_check_interval_ms),
        offset_metadata_max_bytes: size(broker.offset_metadata_max_bytes),
        ..GroupConfig::default()
    }
}
