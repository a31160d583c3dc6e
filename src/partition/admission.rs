//! The rules for records that a producer sends: walks them once, outside the partition's lock, and
//! gives back the batch as it is to be stored.

use super::partition::{AppendError, PartitionConfig, RecordError};
use crate::records::{Codec, Record, ValidBatch};
use crate::types::Timestamp;

/// Bytes that the records of one compressed batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Timestamp of a record that has none; no bound applies to it.
const NO_TIMESTAMP: Timestamp = Timestamp(-1);
/// Records of one batch that are named in an error.
const NAMED_RECORDS_MAX: usize = 100;

/// Checks every record of `batch` against the topic's rules, corrects the batch's times and codec,
/// and refuses the whole batch if one record fails.
pub(super) fn admit(
    batch: ValidBatch,
    config: &PartitionConfig,
    now: Timestamp,
) -> Result<ValidBatch, AppendError> {
    let summary = batch.check_records(UNPACKED_BYTES_MAX)?;
    if config.compact && summary.first_null_key.is_some() {
        let why = "a compacted topic takes no record without a key".to_owned();
        let named = name_records(&batch, |record| record.key.is_none().then(|| why.clone()))?;
        return Err(AppendError::InvalidRecord(named));
    }
    let batch = if config.log_append_time {
        batch.with_append_time(now)
    } else {
        check_times(&batch, config, now, summary.max_timestamp)?;
        batch.with_create_time(summary.max_timestamp)
    };
    recompress(batch, config)
}

/// Refuses records too far from now (message.timestamp.before.max.ms and after.max.ms).
fn check_times(
    batch: &ValidBatch,
    config: &PartitionConfig,
    now: Timestamp,
    newest: Timestamp,
) -> Result<(), AppendError> {
    let latest = now.plus_ms(config.timestamp_after_max_ms);
    let earliest = now.plus_ms(config.timestamp_before_max_ms.saturating_neg());
    if newest <= latest && config.timestamp_before_max_ms == i64::MAX {
        return Ok(());
    }
    let named = name_records(batch, |record| {
        let timestamp = record.timestamp;
        let fits = timestamp == NO_TIMESTAMP || (earliest <= timestamp && timestamp <= latest);
        (!fits).then(|| format!("timestamp {timestamp} is outside {earliest} to {latest}"))
    })?;
    if named.is_empty() { Ok(()) } else { Err(AppendError::InvalidTimestamp(named)) }
}

/// The records that `fault` finds something wrong with.
fn name_records(
    batch: &ValidBatch,
    fault: impl Fn(&Record<'_>) -> Option<String>,
) -> Result<Vec<RecordError>, AppendError> {
    let records = batch.records(UNPACKED_BYTES_MAX)?;
    let mut named = Vec::new();
    for (index, record) in (0..).zip(&records) {
        let record = record.map_err(crate::records::BatchError::from)?;
        if let Some(message) = fault(&record)
            && named.len() < NAMED_RECORDS_MAX
        {
            named.push(RecordError { index, message });
        }
    }
    Ok(named)
}

/// Gives the batch the topic's codec, where it has one of its own; it must still fit then.
fn recompress(batch: ValidBatch, config: &PartitionConfig) -> Result<ValidBatch, AppendError> {
    let Some(wanted) = config.compression else { return Ok(batch) };
    if batch.header().attributes.codec() == Some(wanted.codec) || batch_is_empty(&batch) {
        return Ok(batch);
    }
    let batch = batch.recompressed(wanted, UNPACKED_BYTES_MAX)?;
    let (size, max) = (batch.size_bytes(), config.max_message_bytes);
    if size > max && wanted.codec != Codec::None {
        return Err(AppendError::TooLarge { size, max });
    }
    Ok(batch)
}

fn batch_is_empty(batch: &ValidBatch) -> bool {
    batch.header().record_count == 0
}
