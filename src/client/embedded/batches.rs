//! Makes batches of records to send: chooses their partitions, and cuts where a batch would be larger
//! than its topic takes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::super::cluster::{ClusterError, ToSend, TopicPartition};
use super::super::produce::partition_of;
use super::{Shared, index_of};
use crate::partition::{Partition, Topic};
use crate::records::{BatchBuilder, NewRecord};
use crate::types::{PartitionIndex, Timestamp};

/// The most bytes that the varints and flags of a record take, and those of one of its headers.
const RECORD_OVERHEAD: usize = 32;
const HEADER_OVERHEAD: usize = 10;

/// One batch, not larger than its topic takes.
pub(super) struct Batch {
    pub(super) at: TopicPartition,
    pub(super) builder: BatchBuilder,
    /// Which of the records to send are in it, in the order of their offsets.
    pub(super) places: Vec<usize>,
}

/// Batches of `records`, those of a partition one behind the other.
pub(super) fn make(shared: &Shared, records: &[ToSend]) -> Result<Vec<Batch>, ClusterError> {
    let mut batches = Vec::new();
    let now = shared.broker.clock.now().wall;
    for (at, (partition, places)) in by_partition(shared, records)? {
        let cut = Cut { records, at, partition, now };
        cut.batches(places, &mut batches)?;
    }
    Ok(batches)
}

type ByPartition = BTreeMap<TopicPartition, (Arc<Partition>, Vec<usize>)>;

fn by_partition(shared: &Shared, records: &[ToSend]) -> Result<ByPartition, ClusterError> {
    let turn = shared.next_turn();
    let mut topics = HashMap::<&Arc<str>, Arc<Topic>>::new();
    let mut found = ByPartition::new();
    for (place, record) in records.iter().enumerate() {
        let unknown = |partition| {
            let at = TopicPartition { topic: Arc::clone(&record.topic), partition };
            ClusterError::Unknown(at)
        };
        if !topics.contains_key(&record.topic) {
            let topic = shared.broker.registry.by_name(&record.topic);
            let first = record.partition.unwrap_or(PartitionIndex(0));
            topics.insert(&record.topic, topic.ok_or_else(|| unknown(first))?);
        }
        let Some(topic) = topics.get(&record.topic) else { continue };
        let index = chosen(record, topic.partitions.len(), turn);
        let partition = topic.partition(index).ok_or_else(|| unknown(index))?;
        let at = TopicPartition { topic: Arc::clone(&topic.name), partition: index };
        let (_, places) = found.entry(at).or_insert_with(|| (Arc::clone(partition), Vec::new()));
        places.push(place);
    }
    Ok(found)
}

/// Records without a key go to one partition together, and to another one the next time.
fn chosen(record: &ToSend, partition_count: usize, turn: u32) -> PartitionIndex {
    let count = u32::try_from(partition_count).unwrap_or(u32::MAX).max(1);
    let by_key = || match &record.key {
        Some(key) => partition_of(key, count),
        None => turn % count,
    };
    record.partition.unwrap_or_else(|| index_of(usize::try_from(by_key()).unwrap_or(0)))
}

/// Cuts the records of one partition into batches.
struct Cut<'a> {
    records: &'a [ToSend],
    at: TopicPartition,
    partition: Arc<Partition>,
    now: Timestamp,
}

impl Cut<'_> {
    fn batches(&self, places: Vec<usize>, batches: &mut Vec<Batch>) -> Result<(), ClusterError> {
        let limit = usize::try_from(self.partition.batch_bytes_max()).unwrap_or(usize::MAX);
        let (mut builder, mut taken) = (BatchBuilder::new(), Vec::new());
        for place in places {
            let Some(record) = self.records.get(place) else { continue };
            let next_size = builder.size_bytes().saturating_add(size_max(record));
            if 0 < builder.count() && limit < next_size {
                let full = std::mem::take(&mut builder);
                batches.push(self.batch(full, std::mem::take(&mut taken), limit)?);
            }
            push(&mut builder, record, self.now);
            taken.push(place);
        }
        batches.push(self.batch(builder, taken, limit)?);
        Ok(())
    }

    fn batch(
        &self,
        builder: BatchBuilder,
        places: Vec<usize>,
        limit: usize,
    ) -> Result<Batch, ClusterError> {
        let size = builder.size_bytes();
        if limit < size {
            return Err(ClusterError::Refused(format!(
                "a record of {size} bytes for {}: the topic takes {limit} (max.message.bytes, segment.bytes)",
                self.at
            )));
        }
        Ok(Batch { at: self.at.clone(), builder, places })
    }
}

/// At least the bytes that a record takes in its batch.
fn size_max(record: &ToSend) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let header = |(key, value): &(String, Option<Bytes>)| HEADER_OVERHEAD + key.len() + len(value);
    let headers: usize = record.headers.iter().map(header).sum();
    RECORD_OVERHEAD + len(&record.key) + len(&record.value) + headers
}

fn push(builder: &mut BatchBuilder, record: &ToSend, now: Timestamp) {
    let headers = record.headers.iter();
    let headers: Vec<_> = headers.map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
    builder.push(&NewRecord {
        timestamp: record.timestamp.unwrap_or(now),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    });
}
