//! The few requests that the crash tests need, over one blocking connection. An error is the broker's
//! refusal, or anything that makes a caller take it for dead.

#![allow(dead_code, reason = "each test that takes it in uses a part of it")]

use std::collections::BTreeSet;
use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use ottla::codec::{Message, Reader};
use ottla::protocol::header::{decode_response_header, request_frame};
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchTopic, Records,
};
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla::protocol::messages::metadata::MetadataRequest;
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::{ErrorCode, Request, RequestHeader};
use ottla::records::{
    BatchBuilder, BatchHeader, ControlRecord, EndMarker, NewRecord, Outcome, ValidBatch,
};
use ottla::types::{ProducerEpoch, ProducerId, Timestamp};

use super::checker::{FinalRead, Seen};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Bytes of records asked for at once.
const FETCH_BYTES: i32 = 4 * 1024 * 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: 1,
            client_id: Some("kill-test".to_owned()),
        };
        self.stream.write_all(&request_frame(&header, request).map_err(Error::other)?)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame)?;
        let mut reader = Reader::new(Bytes::from(frame));
        decode_response_header(R::KEY, version, &mut reader).map_err(Error::other)?;
        R::Response::decode(&mut reader, version).map_err(Error::other)
    }

    pub(crate) fn create_topic(&mut self, name: &str, num_partitions: i32) -> Result<()> {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        ok(self.call(4, &request)?.topics[0].error_code)
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<()> {
        let topic_names = vec![name.to_owned()];
        let request = DeleteTopicsRequest { topic_names, ..Default::default() };
        ok(self.call(4, &request)?.responses[0].error_code)
    }

    pub(crate) fn producer_id(&mut self) -> Result<i64> {
        let answer = self.call(1, &InitProducerIdRequest::default())?;
        ok(answer.error_code)?;
        Ok(answer.producer_id)
    }

    /// Takes a transactional id anew, which the coordinator keeps a record of.
    pub(crate) fn take_transactional_id(&mut self, id: &str) -> Result<()> {
        let init = InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        ok(self.call(4, &init)?.error_code)
    }

    /// Sends one record with acks=all; with a producer id and sequence if there is one. Returns the
    /// offset that was answered.
    pub(crate) fn produce(
        &mut self,
        topic: &str,
        index: i32,
        value: u64,
        producer: Option<(i64, i32)>,
    ) -> Result<i64> {
        self.produce_keyed((topic, index), None, value, producer)
    }

    /// As [`Wire::produce`]; a key makes the record as large as it has to be.
    pub(crate) fn produce_keyed(
        &mut self,
        (topic, index): (&str, i32),
        key: Option<&[u8]>,
        value: u64,
        producer: Option<(i64, i32)>,
    ) -> Result<i64> {
        let mut batch = BatchBuilder::new();
        if let Some((id, sequence)) = producer {
            batch = batch.producer(ProducerId(id), ProducerEpoch(0), sequence);
        }
        let value = value.to_be_bytes();
        batch.push(&NewRecord {
            timestamp: Timestamp(-1),
            key,
            value: Some(&value),
            ..Default::default()
        });
        self.produce_batch(topic, index, -1, batch)
    }

    /// Sends a batch of values with `acks`, 1 or -1. Returns the offset of the first.
    pub(crate) fn produce_all(
        &mut self,
        topic: &str,
        index: i32,
        acks: i16,
        values: &[u64],
    ) -> Result<i64> {
        let mut batch = BatchBuilder::new();
        for value in values {
            let value = value.to_be_bytes();
            batch.push(&NewRecord {
                timestamp: Timestamp(-1),
                value: Some(&value),
                ..Default::default()
            });
        }
        self.produce_batch(topic, index, acks, batch)
    }

    fn produce_batch(
        &mut self,
        topic: &str,
        index: i32,
        acks: i16,
        batch: BatchBuilder,
    ) -> Result<i64> {
        let records = Some(batch.build().map_err(Error::other)?.to_bytes());
        let request = ProduceRequest {
            acks,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: topic.to_owned(),
                partition_data: vec![PartitionProduceData { index, records }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let answer = self.call(9, &request)?;
        let row = &answer.responses[0].partition_responses[0];
        ok(row.error_code)?;
        Ok(row.base_offset)
    }

    pub(crate) fn commit(
        &mut self,
        group: &str,
        topic: &str,
        index: i32,
        offset: i64,
    ) -> Result<()> {
        let partition = OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            topics: vec![OffsetCommitRequestTopic {
                name: topic.to_owned(),
                partitions: vec![partition],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        ok(self.call(8, &request)?.topics[0].partitions[0].error_code)
    }

    pub(crate) fn committed(&mut self, group: &str, topic: &str, index: i32) -> Result<i64> {
        let wanted =
            OffsetFetchRequestTopic { name: topic.to_owned(), partition_indexes: vec![index] };
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(vec![wanted]),
            ..OffsetFetchRequest::default()
        };
        let answer = self.call(5, &request)?;
        ok(answer.error_code)?;
        let row = &answer.topics[0].partitions[0];
        ok(row.error_code)?;
        Ok(row.committed_offset)
    }

    /// Every record of a partition: offset and value.
    pub(crate) fn read_all(&mut self, topic: &str, index: i32) -> Result<Vec<(i64, u64)>> {
        let mut found = Vec::new();
        let mut next = 0;
        loop {
            let before = next;
            let high_watermark = self.read_some(topic, index, &mut next, (0, &mut found))?;
            if next == before && next >= high_watermark {
                return Ok(found);
            }
        }
    }

    /// Committed records from `next` on, which it moves behind them; waits for some for `max_wait_ms`.
    /// Returns the high watermark.
    pub(crate) fn read_some(
        &mut self,
        topic: &str,
        index: i32,
        next: &mut i64,
        (max_wait_ms, found): (i32, &mut Vec<(i64, u64)>),
    ) -> Result<i64> {
        let partition = FetchPartition {
            partition: index,
            fetch_offset: *next,
            partition_max_bytes: FETCH_BYTES,
            ..FetchPartition::default()
        };
        let request = FetchRequest {
            max_wait_ms,
            min_bytes: 1,
            isolation_level: 1,
            topics: vec![FetchTopic {
                topic: topic.to_owned(),
                partitions: vec![partition],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let mut answer = self.call(11, &request)?;
        let row = answer.responses.remove(0).partitions.remove(0);
        ok(row.error_code)?;
        let Records::Bytes(bytes) = row.records else { return Err(Error::other("no bytes")) };
        take_batches(bytes, &row.aborted_transactions.unwrap_or_default(), next, found)?;
        Ok(row.high_watermark)
    }

    /// The end of what is committed in a partition, and the end of all.
    pub(crate) fn ends(&mut self, topic: &str, index: i32) -> Result<(i64, i64)> {
        let mut ends = [0, 0];
        for (end, isolation_level) in ends.iter_mut().zip([1, 0]) {
            let partition = ListOffsetsPartition {
                partition_index: index,
                timestamp: -1,
                ..ListOffsetsPartition::default()
            };
            let request = ListOffsetsRequest {
                isolation_level,
                topics: vec![ListOffsetsTopic {
                    name: topic.to_owned(),
                    partitions: vec![partition],
                }],
                ..ListOffsetsRequest::default()
            };
            let answer = self.call(4, &request)?;
            let row = &answer.topics[0].partitions[0];
            ok(row.error_code)?;
            *end = row.offset;
        }
        Ok((ends[0], ends[1]))
    }

    /// The names of all topics.
    pub(crate) fn topics(&mut self) -> Result<Vec<String>> {
        let answer = self.call(4, &MetadataRequest { topics: None, ..Default::default() })?;
        Ok(answer.topics.into_iter().filter_map(|topic| topic.name).collect())
    }
}

/// Everything in a partition, for the end of a history.
pub(crate) fn final_read(wire: &mut Wire, topic: &str, partition: i32) -> Result<FinalRead> {
    let found = wire.read_all(topic, partition)?;
    let seen = |(offset, value): &(i64, u64)| Seen { partition, offset: *offset, value: *value };
    let mut log_end = found.last().map_or(0, |(offset, _)| offset + 1);
    wire.read_some(topic, partition, &mut log_end, (0, &mut Vec::new()))?;
    Ok(FinalRead { partition, log_end, records: found.iter().map(seen).collect() })
}

/// Reads whole batches, and leaves a last one that was cut. As a client does, it leaves out markers,
/// and of each producer what lies between the begin of an aborted transaction and its marker.
fn take_batches(
    mut bytes: Bytes,
    aborted: &[AbortedTransaction],
    next: &mut i64,
    found: &mut Vec<(i64, u64)>,
) -> Result<()> {
    let mut aborted = aborted.iter().peekable();
    let mut left_out = BTreeSet::new();
    while let Ok(header) = BatchHeader::parse(&bytes) {
        let size = usize::try_from(header.size_bytes()).unwrap();
        if size > bytes.len() {
            return Ok(());
        }
        let batch = ValidBatch::parse_stored(bytes.split_to(size)).map_err(Error::other)?;
        while let Some(begun) = aborted.next_if(|at| at.first_offset <= header.last_offset().0) {
            left_out.insert(begun.producer_id);
        }
        let (attributes, producer) = (header.attributes, header.producer_id.0);
        let is_skipped = attributes.is_transactional() && left_out.contains(&producer);
        for record in &batch.records(1 << 20).map_err(Error::other)? {
            let record = record.map_err(Error::other)?;
            if attributes.is_control() {
                let marker = ControlRecord::decode(&record);
                if matches!(
                    marker,
                    Some(ControlRecord::End(EndMarker { outcome: Outcome::Abort, .. }))
                ) {
                    left_out.remove(&producer);
                }
                continue;
            }
            let value = record.value.and_then(|value| value.try_into().ok()).unwrap();
            let at = header.base_offset.0 + i64::from(record.offset_delta);
            if at >= *next && !is_skipped {
                found.push((at, u64::from_be_bytes(value)));
            }
        }
        *next = header.next_offset().0;
    }
    Ok(())
}

fn ok(code: ErrorCode) -> Result<()> {
    if code.is_error() { Err(Error::other(code.name())) } else { Ok(()) }
}
