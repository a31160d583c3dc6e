//! The rules for records that a producer sends: walks them once, outside the partition's lock, and
//! gives back the batch as it is to be stored.

use super::error::{AppendError, RecordError};
use super::partition::PartitionConfig;
use crate::records::compression::unpacked_limit;
use crate::records::{Record, RecordSummary, ValidBatch};
use crate::types::Timestamp;

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
    let summary = batch.check_records(unpacked_max(&batch))?;
    check_rules(&batch, config, now, &summary)?;
    let batch = if config.log_append_time {
        batch.with_append_time(now)
    } else {
        batch.with_create_time(summary.max_timestamp)
    };
    recompress(batch, config)
}

/// Refuses records too far from now (message.timestamp.before.max.ms and after.max.ms) and, in a
/// compacted topic, records without a key. All that fail are named; one bad time makes it
/// INVALID_TIMESTAMP.
fn check_rules(
    batch: &ValidBatch,
    config: &PartitionConfig,
    now: Timestamp,
    summary: &RecordSummary,
) -> Result<(), AppendError> {
    let latest = now.plus_ms(config.timestamp_after_max_ms);
    let earliest = now.plus_ms(config.timestamp_before_max_ms.saturating_neg());
    let timed = !config.log_append_time
        && (summary.max_timestamp > latest || config.timestamp_before_max_ms != i64::MAX);
    let keyed = config.compact && summary.first_null_key.is_some();
    if !timed && !keyed {
        return Ok(());
    }
    let out_of_bounds = |record: &Record<'_>| {
        let timestamp = record.timestamp;
        let fits = timestamp == NO_TIMESTAMP || (earliest <= timestamp && timestamp <= latest);
        (timed && !fits).then(|| format!("timestamp {timestamp} is outside {earliest} to {latest}"))
    };
    let keyless = |record: &Record<'_>| {
        let why = || "a compacted topic takes no record without a key".to_owned();
        (keyed && record.key.is_none()).then(why)
    };
    let bad_times = name_records(batch, out_of_bounds)?;
    let named = name_records(batch, |record| out_of_bounds(record).or_else(|| keyless(record)))?;
    if !bad_times.is_empty() {
        Err(AppendError::InvalidTimestamp(named))
    } else if !named.is_empty() {
        Err(AppendError::InvalidRecord(named))
    } else {
        Ok(())
    }
}

/// The records that `fault` finds something wrong with.
fn name_records(
    batch: &ValidBatch,
    fault: impl Fn(&Record<'_>) -> Option<String>,
) -> Result<Vec<RecordError>, AppendError> {
    let records = batch.records(unpacked_max(batch))?;
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
    let batch = batch.recompressed(wanted, unpacked_max(&batch))?;
    let (size, max) = (batch.size_bytes(), config.max_message_bytes);
    if size > max {
        return Err(AppendError::TooLarge { size, max });
    }
    Ok(batch)
}

/// Bytes that its records may unpack to.
fn unpacked_max(batch: &ValidBatch) -> usize {
    unpacked_limit(usize::try_from(batch.size_bytes()).unwrap_or(usize::MAX))
}

fn batch_is_empty(batch: &ValidBatch) -> bool {
    batch.header().record_count == 0
}
