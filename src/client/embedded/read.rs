//! Reading what is committed: the batches of a fetch without those of aborted transactions and without
//! markers, unpacked within bounds.

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::super::cluster::{ClusterError, ReadFrom, Received, Span, Stored, TopicPartition};
use super::{Shared, refusal};
use crate::broker::{Fetch, Fetched, Look, PartitionFetch, TopicRef};
use crate::log::{AbortedTransaction, LogRange};
use crate::partition::{Isolation, Partition};
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchHeader, OwnedRecord, ValidBatch};
use crate::types::Offset;

/// Bytes of one partition in one answer.
const PARTITION_BYTES_MAX: u64 = 1024 * 1024;
/// So many bytes are read and unpacked where the caller runs; more, which take longer than the way
/// there, on a thread that may block.
const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// What readers of committed records may read of a partition.
pub(super) fn span(partition: &Partition) -> Span {
    let watermarks = partition.watermarks();
    let (start, end) = (watermarks.log_start, watermarks.last_stable);
    Span { start, end, high_watermark: watermarks.high_watermark }
}

/// What was found in one partition.
struct Found {
    from: ReadFrom,
    range: Option<LogRange>,
    aborted: Vec<AbortedTransaction>,
    end: Offset,
}

pub(super) async fn read(
    shared: &Shared,
    mut from: Vec<ReadFrom>,
    max_bytes: usize,
    max_wait_ms: u64,
) -> Result<Vec<Received>, ClusterError> {
    let broker = &shared.broker;
    let mut stopping = broker.tasks.stopping();
    if from.is_empty() {
        tokio::select! {
            () = broker.clock.sleep_ms(max_wait_ms) => {}
            _ = stopping.changed() => {}
        }
        return Ok(Vec::new());
    }
    // Each partition comes first in its turn: the bytes may not be enough for all.
    let turn = usize::try_from(shared.next_turn()).unwrap_or(0) % from.len();
    from.rotate_left(turn);
    let fetch = Fetch {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: u64::try_from(max_bytes).unwrap_or(u64::MAX),
        isolation: Isolation::ReadCommitted,
        partitions: from.iter().map(wanted).collect(),
    };
    let look = broker.fetch_now(&fetch);
    let unknown_count = look.unknown_count;
    let found = found(shared, &from, look)?;
    if !found.is_empty() || max_wait_ms == 0 {
        return unpacked(found, max_bytes).await;
    }
    let look = broker.fetch_later(&fetch, unknown_count, stopping.clone()).await;
    let found = self::found(shared, &from, look)?;
    if found.is_empty() && *stopping.borrow() {
        return Err(ClusterError::Passing("the broker stops".to_owned()));
    }
    unpacked(found, max_bytes).await
}

fn wanted(from: &ReadFrom) -> PartitionFetch {
    PartitionFetch {
        topic: TopicRef::Name(from.at.topic.to_string()),
        partition: from.at.partition,
        offset: from.offset,
        max_bytes: PARTITION_BYTES_MAX,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    }
}

/// The partitions that have news.
fn found(shared: &Shared, from: &[ReadFrom], look: Look) -> Result<Vec<Found>, ClusterError> {
    let mut all = Vec::with_capacity(from.len());
    for (from, result) in from.iter().zip(look.results) {
        let Fetched { watermarks, range, aborted, .. } = result.map_err(|error| {
            let partition = shared.broker.partition(&from.at.topic, from.at.partition).ok();
            let partition = partition.as_deref().map(|partition| (partition, from.offset));
            refusal::of_fetch(&error, &from.at, partition)
        })?;
        all.push(Found { from: from.clone(), range, aborted, end: watermarks.last_stable });
    }
    let has_bytes = all.iter().any(|found| found.range.is_some());
    if has_bytes {
        // One without bytes may have found no room in the answer.
        all.retain(|found| found.range.is_some());
    } else {
        // Each was given a batch of any size if it had one: before the end there is nothing left.
        all.retain(|found| found.from.offset < found.end);
    }
    Ok(all)
}

async fn unpacked(found: Vec<Found>, max_bytes: usize) -> Result<Vec<Received>, ClusterError> {
    let len = |found: &Found| found.range.as_ref().map_or(0, |range| range.len);
    if found.iter().map(len).sum::<u64>() <= INLINE_BYTES_MAX {
        return unpack_all(found, max_bytes);
    }
    let unpacked = spawn_blocking(move || unpack_all(found, max_bytes)).await;
    unpacked.map_err(|error| ClusterError::Passing(format!("reading ended early: {error}")))?
}

fn unpack_all(found: Vec<Found>, max_bytes: usize) -> Result<Vec<Received>, ClusterError> {
    let mut left = max_bytes.max(1);
    let mut received = Vec::with_capacity(found.len());
    for found in found {
        if left == 0 {
            break;
        }
        received.push(unpack(found, &mut left)?);
    }
    Ok(received)
}

/// The records of one partition, and what they take off the bytes that are `left`: when none are, what
/// follows is for the next read.
fn unpack(found: Found, left: &mut usize) -> Result<Received, ClusterError> {
    let Found { from: ReadFrom { at, offset }, range, aborted, end } = found;
    let mut received = Received { at, records: Vec::new(), next: offset, end };
    let Some(range) = range else {
        received.next = end;
        return Ok(received);
    };
    let bytes = range.read();
    let mut bytes = bytes.map_err(|error| {
        ClusterError::Passing(format!("{} at offset {offset}: {error}", received.at))
    })?;
    while !bytes.is_empty() && 0 < *left {
        let batch = next_batch(&mut bytes, &received.at, received.next)?;
        let next = batch.header().next_offset();
        if offset < next && counts(batch.header(), &aborted) {
            let unpacked = take_records(&batch, offset, &mut received)?;
            *left = left.saturating_sub(unpacked);
        }
        received.next = received.next.max(next);
    }
    Ok(received)
}

/// Whether the records of a batch are for readers: it holds no marker, and was not aborted.
fn counts(header: &BatchHeader, aborted: &[AbortedTransaction]) -> bool {
    let is_aborted = |transaction: &AbortedTransaction| {
        transaction.producer_id == header.producer_id
            && transaction.first_offset <= header.base_offset
            && header.base_offset < transaction.last_offset
    };
    let attributes = header.attributes;
    let is_dropped = attributes.is_transactional() && aborted.iter().any(is_aborted);
    !attributes.is_control() && !is_dropped
}

fn next_batch(
    bytes: &mut Bytes,
    at: &TopicPartition,
    offset: Offset,
) -> Result<ValidBatch, ClusterError> {
    let header = BatchHeader::parse(bytes);
    let header = header.map_err(|error| refusal::of_damage(at, offset, &error))?;
    let size = usize::try_from(header.size_bytes()).unwrap_or(usize::MAX);
    if bytes.len() < size {
        return Err(refusal::of_damage(at, header.base_offset, &"a batch is cut short"));
    }
    let batch = ValidBatch::parse_stored(bytes.split_to(size));
    batch.map_err(|error| refusal::of_damage(at, header.base_offset, &error))
}

/// Takes the records from `offset` on; returns how many bytes the batch unpacked to.
fn take_records(
    batch: &ValidBatch,
    offset: Offset,
    received: &mut Received,
) -> Result<usize, ClusterError> {
    let base = batch.header().base_offset;
    let at = received.at.clone();
    let records = batch.records(DECOMPRESSED_LIMIT);
    let records = records.map_err(|error| refusal::of_damage(&at, base, &error))?;
    for record in &records {
        let record = record.map_err(|error| refusal::of_damage(&at, base, &error))?;
        if offset <= record.offset {
            received.records.push(stored(&at, records.own(&record)));
        }
    }
    Ok(records.area().len())
}

fn stored(at: &TopicPartition, record: OwnedRecord) -> Stored {
    let headers = record.headers.into_iter();
    let text = |key: Bytes| String::from_utf8_lossy(&key).into_owned();
    Stored {
        at: at.clone(),
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: headers.map(|(key, value)| (text(key), value)).collect(),
    }
}
