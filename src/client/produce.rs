//! Sends batches to the leaders of their partitions, and chooses partitions for keys.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cluster::ToSend;
use super::error::{ClientError, is_passing};
use super::transaction_writer::{built, push};
use super::wire::{Client, NamedPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use crate::records::BatchBuilder;
use crate::types::{NodeId, Offset, PartitionIndex};

/// How long a broker may wait for its replicas, in ms.
const ACKS_TIMEOUT_MS: i32 = 20_000;
/// How long to wait for the answer: a little longer than the broker may wait.
const ANSWER_TIMEOUT_MS: u64 = 25_000;
const RETRIES_MAX: u32 = 20;
const RETRY_MS: u64 = 100;

/// When a batch counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// When it is sent: nobody answers.
    None,
    /// When its leader has it.
    Leader,
    /// When all in-sync replicas have it.
    All,
}

impl Acks {
    fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// One encoded batch and where it belongs.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The partition.
    pub partition: NamedPartition,
    /// The batch, see [`crate::records::BatchBuilder`].
    pub batch: Bytes,
}

impl Client {
    /// Writes batches, at most one a partition, and returns their base offsets (none with
    /// [`Acks::None`]). A batch whose leader has moved is sent to the new one.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`]; after one that is about the connection
    /// the batches may have been written or not.
    pub async fn produce(
        &mut self,
        batches: Vec<Outgoing>,
        acks: Acks,
    ) -> Result<Vec<(NamedPartition, Offset)>, ClientError> {
        self.produce_within(batches, acks, None).await
    }

    /// Writes one record outside of any transaction, durable on return; where it lies then. Without a partition that is
    /// chosen by its key, as Kafka's Java client does.
    ///
    /// # Errors
    /// `Refusal` with 3 where its topic does not exist, or those of [`Client::produce`].
    pub async fn send(&mut self, record: &ToSend) -> Result<(NamedPartition, Offset), ClientError> {
        let topic = record.topic.to_string();
        let partition = match record.partition {
            Some(partition) => partition,
            None => {
                let found = self.cluster(Some(&[&topic])).await?.topics.into_iter().next();
                let code = found.as_ref().map(|topic| topic.error_code);
                let code = code.unwrap_or(ErrorCode::UnknownTopicOrPartition);
                ClientError::check(|| format!("topic {topic}"), code, None)?;
                let count = found.map_or(0, |topic| topic.partitions.len());
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                let chosen = record.key.as_ref().map_or(0, |key| partition_of(key, count));
                PartitionIndex(i32::try_from(chosen).unwrap_or(0))
            }
        };
        let partition = NamedPartition { topic, partition };
        let mut builder = BatchBuilder::new();
        push(&mut builder, record, self.clock().now().wall);
        let batch = built(&partition, builder)?;
        let sent = Outgoing { partition: partition.clone(), batch };
        let placed = self.produce(vec![sent], Acks::All).await?;
        let offset = placed.first().map_or(Offset(-1), |(_, offset)| *offset);
        Ok((partition, offset))
    }

    /// As [`Client::produce`] for batches of a transaction of this transactional id.
    pub(super) async fn produce_within(
        &mut self,
        mut batches: Vec<Outgoing>,
        acks: Acks,
        transactional_id: Option<&str>,
    ) -> Result<Vec<(NamedPartition, Offset)>, ClientError> {
        let mut written = Vec::new();
        let mut tries = 0;
        while !batches.is_empty() {
            let mut moved = Vec::new();
            for (node, batches) in self.batches_by_leader(batches).await? {
                let request = ProduceRequest {
                    transactional_id: transactional_id.map(str::to_owned),
                    ..request(&batches, acks)
                };
                for (batch, result) in self.produce_to(node, batches, &request).await? {
                    let code = result.error_code;
                    if is_passing(code) && tries < RETRIES_MAX {
                        self.forget_leader(&batch.partition);
                        moved.push(batch);
                        continue;
                    }
                    let subject = || batch.partition.to_string();
                    ClientError::check(subject, code, message(&result))?;
                    if acks != Acks::None {
                        written.push((batch.partition, Offset(result.base_offset)));
                    }
                }
            }
            if !moved.is_empty() {
                tries += 1;
                self.clock().clone().sleep_ms(RETRY_MS).await;
            }
            batches = moved;
        }
        Ok(written)
    }

    async fn batches_by_leader(
        &mut self,
        batches: Vec<Outgoing>,
    ) -> Result<BTreeMap<NodeId, Vec<Outgoing>>, ClientError> {
        let mut nodes = BTreeMap::<_, Vec<_>>::new();
        for batch in batches {
            let leader = self.leader(&batch.partition).await?;
            nodes.entry(leader).or_default().push(batch);
        }
        Ok(nodes)
    }

    /// Sends one request to one node; each batch comes back with what became of it.
    async fn produce_to(
        &mut self,
        node: NodeId,
        batches: Vec<Outgoing>,
        request: &ProduceRequest,
    ) -> Result<Vec<(Outgoing, PartitionProduceResponse)>, ClientError> {
        let connection = self.node(node).await?;
        // Later versions name topics by id.
        let version = connection.version::<ProduceRequest>(12)?;
        if request.acks == Acks::None.code() {
            let _ = connection.send_unanswered(version, request).await?;
            let nothing = PartitionProduceResponse::default();
            return Ok(batches.into_iter().map(|batch| (batch, nothing.clone())).collect());
        }
        let sent = connection.send(version, request).await?;
        let answer = connection.receive(sent, ANSWER_TIMEOUT_MS).await?;
        let mut results = BTreeMap::new();
        for topic in answer.responses {
            for result in topic.partition_responses {
                results.insert(NamedPartition::new(&topic.name, result.index), result);
            }
        }
        let unanswered = |batch: &Outgoing| PartitionProduceResponse {
            index: batch.partition.partition.0,
            error_code: ErrorCode::UnknownServerError,
            error_message: Some("the broker's answer leaves this partition out".to_owned()),
            ..PartitionProduceResponse::default()
        };
        let paired = batches.into_iter().map(|batch| {
            let result = results.remove(&batch.partition).unwrap_or_else(|| unanswered(&batch));
            (batch, result)
        });
        Ok(paired.collect())
    }
}

fn request(batches: &[Outgoing], acks: Acks) -> ProduceRequest {
    let mut topics = BTreeMap::<&str, Vec<_>>::new();
    for Outgoing { partition, batch } in batches {
        let records = Some(batch.clone());
        let data = PartitionProduceData { index: partition.partition.0, records };
        topics.entry(&partition.topic).or_default().push(data);
    }
    let topic = |(name, partition_data): (&str, _)| TopicProduceData {
        name: name.to_owned(),
        partition_data,
        ..TopicProduceData::default()
    };
    ProduceRequest {
        acks: acks.code(),
        timeout_ms: ACKS_TIMEOUT_MS,
        topic_data: topics.into_iter().map(topic).collect(),
        ..ProduceRequest::default()
    }
}

/// The broker's words: about the batch, or about the first of its records that was refused.
fn message(result: &PartitionProduceResponse) -> Option<String> {
    let of_record = || {
        let refused = result.record_errors.first()?;
        let text = refused.batch_index_error_message.as_deref()?;
        Some(format!("record {} of the batch: {text}", refused.batch_index))
    };
    result.error_message.clone().or_else(of_record)
}

/// The partition that Kafka's Java client, kafkajs and librdkafka's `murmur2` choose for a key.
/// `partition_count` must be above 0.
pub fn partition_of(key: &[u8], partition_count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partition_count.max(1)
}

/// MurmurHash2, 32 bits, with the seed that Kafka uses.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const FACTOR: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let word = u32::from_be_bytes(*word).swap_bytes().wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ (word ^ (word >> 24)).wrapping_mul(FACTOR);
    }
    for (at, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the unit test of Apache Kafka's own `Utils.murmur2` expects.
    #[test]
    fn the_hash_is_kafkas() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }
}
