//! Reads records: asks the leaders of all wanted partitions at the same time, checks and unpacks
//! what they send. A reader of committed records is sent those of aborted transactions too, with a list
//! of their producers, and leaves them out here (KIP-98).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::connection::Sent;
use super::error::{ClientError, is_passing};
use super::wire::{Client, NamedPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
    Records,
};
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{
    BatchHeader, ControlRecord, EndMarker, HeaderError, Outcome, OwnedRecord, ValidBatch,
};
use crate::types::{NodeId, Offset, ProducerId};

/// Bytes wanted in one answer, and of one partition in it; one batch comes whatever its size.
const BYTES_MAX: i32 = 16 * 1024 * 1024;
const PARTITION_BYTES_MAX: i32 = 1024 * 1024;
/// How much longer than it was told to wait a broker may take, in ms.
const GRACE_MS: u64 = 25_000;

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All, those of transactions that are open or were aborted included.
    Uncommitted,
    /// Committed ones, up to the first open transaction.
    Committed,
}

/// What one partition gave.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The partition.
    pub partition: NamedPartition,
    /// Its records from the wanted offset on; markers of transactions are left out.
    pub records: Vec<OwnedRecord>,
    /// Where to go on.
    pub next_offset: Offset,
    /// The end of what consumers may read, as of this answer.
    pub high_watermark: Offset,
    /// The wanted offset lies outside of the log: nothing was read, choose another.
    pub is_out_of_range: bool,
}

impl Client {
    /// Reads from each of the partitions at its offset. Where nothing is there yet, waits up to
    /// `wait_ms` for something. Partitions that have no leader right now are left out of the answer,
    /// and come again in the next one.
    ///
    /// # Errors
    /// `Refusal`, `Records`, or those of [`super::Connection::call`].
    pub async fn fetch(
        &mut self,
        positions: &[(NamedPartition, Offset)],
        wait_ms: u32,
    ) -> Result<Vec<Fetched>, ClientError> {
        self.fetch_as(Isolation::Uncommitted, positions, wait_ms).await
    }

    /// The same for a reader of records of this kind.
    ///
    /// # Errors
    /// Those of [`Client::fetch`].
    pub async fn fetch_as(
        &mut self,
        isolation: Isolation,
        positions: &[(NamedPartition, Offset)],
        wait_ms: u32,
    ) -> Result<Vec<Fetched>, ClientError> {
        let partitions: Vec<_> = positions.iter().map(|(partition, _)| partition.clone()).collect();
        let mut offsets: BTreeMap<_, _> = positions.iter().cloned().collect();
        let mut waiting: Vec<(NodeId, Sent<FetchRequest>)> = Vec::new();
        for (node, partitions) in self.by_leader(&partitions).await? {
            let connection = self.node(node).await?;
            // Later versions name topics by id.
            let version = connection.version::<FetchRequest>(12)?;
            let request = FetchRequest {
                isolation_level: i8::from(isolation == Isolation::Committed),
                ..request(&partitions, &offsets, wait_ms)
            };
            waiting.push((node, connection.send(version, &request).await?));
        }
        let mut fetched = Vec::new();
        for (node, sent) in waiting {
            let timeout_ms = u64::from(wait_ms) + GRACE_MS;
            let Some(connection) = self.waiting_node(node) else { continue };
            let answer = connection.receive(sent, timeout_ms).await?;
            ClientError::check(|| "fetch".to_owned(), answer.error_code, None)?;
            for (partition, data) in by_partition(answer) {
                let Some(offset) = offsets.remove(&partition) else { continue };
                fetched.extend(self.taken(partition, offset, data)?);
            }
        }
        Ok(fetched)
    }

    /// One partition's part of an answer; `None` if somebody else leads it now.
    fn taken(
        &mut self,
        partition: NamedPartition,
        offset: Offset,
        data: PartitionData,
    ) -> Result<Option<Fetched>, ClientError> {
        let code = data.error_code;
        if is_passing(code) {
            self.forget_leader(&partition);
            return Ok(None);
        }
        let mut fetched = Fetched {
            partition,
            records: Vec::new(),
            next_offset: offset,
            high_watermark: Offset(data.high_watermark),
            is_out_of_range: code == ErrorCode::OffsetOutOfRange,
        };
        if fetched.is_out_of_range {
            return Ok(Some(fetched));
        }
        ClientError::check(|| fetched.partition.to_string(), code, None)?;
        let Records::Bytes(bytes) = data.records else { return Ok(Some(fetched)) };
        // Null unless committed records were asked for: then nothing is left out.
        let aborted = Aborted::new(data.aborted_transactions.unwrap_or_default());
        unpack(bytes, aborted, &mut fetched)?;
        Ok(Some(fetched))
    }
}

fn request(
    partitions: &[NamedPartition],
    offsets: &BTreeMap<NamedPartition, Offset>,
    wait_ms: u32,
) -> FetchRequest {
    let mut topics = BTreeMap::<&str, Vec<_>>::new();
    for named in partitions {
        topics.entry(&named.topic).or_default().push(FetchPartition {
            partition: named.partition.0,
            fetch_offset: offsets.get(named).map_or(0, |offset| offset.0),
            partition_max_bytes: PARTITION_BYTES_MAX,
            ..FetchPartition::default()
        });
    }
    let topic = |(name, partitions): (&str, _)| FetchTopic {
        topic: name.to_owned(),
        partitions,
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms: i32::try_from(wait_ms).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: BYTES_MAX,
        topics: topics.into_iter().map(topic).collect(),
        ..FetchRequest::default()
    }
}

fn by_partition(answer: FetchResponse) -> impl Iterator<Item = (NamedPartition, PartitionData)> {
    answer.responses.into_iter().flat_map(|topic| {
        let named = move |data: PartitionData| {
            (NamedPartition::new(&topic.topic, data.partition_index), data)
        };
        topic.partitions.into_iter().map(named)
    })
}

/// Whose transactional batches are to be left out, as the walk over a partition's batches goes on.
#[derive(Debug, Default)]
struct Aborted {
    /// By first offset.
    coming: VecDeque<AbortedTransaction>,
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    fn new(mut all: Vec<AbortedTransaction>) -> Self {
        all.sort_by_key(|aborted| aborted.first_offset);
        Self { coming: all.into(), open: BTreeSet::new() }
    }

    /// Whether the records of the next batch are aborted.
    fn has(&mut self, header: &BatchHeader) -> bool {
        while let Some(next) = self.coming.front()
            && next.first_offset <= header.last_offset().0
        {
            self.open.insert(ProducerId(next.producer_id));
            self.coming.pop_front();
        }
        header.attributes.is_transactional() && self.open.contains(&header.producer_id)
    }

    /// A marker ends what its producer has aborted.
    fn end(&mut self, batch: &ValidBatch) {
        let Ok(records) = batch.records(DECOMPRESSED_LIMIT) else { return };
        for record in records.iter().flatten() {
            if let Some(ControlRecord::End(EndMarker { outcome: Outcome::Abort, .. })) =
                ControlRecord::decode(&record)
            {
                self.open.remove(&batch.header().producer_id);
            }
        }
    }
}

/// Takes the whole batches out of `bytes`; the last may be cut short, then it comes again.
fn unpack(
    mut bytes: Bytes,
    mut aborted: Aborted,
    fetched: &mut Fetched,
) -> Result<(), ClientError> {
    let offset = fetched.next_offset;
    let bad = |problem: String, fetched: &Fetched| ClientError::Records {
        subject: format!("{} at offset {}", fetched.partition, fetched.next_offset),
        problem,
    };
    while !bytes.is_empty() {
        let header = match BatchHeader::parse(&bytes) {
            Ok(header) => header,
            Err(HeaderError::Cut(_)) => return Ok(()),
            Err(HeaderError::Magic(magic)) => {
                let problem = format!("record format {magic} is too old, this client reads 2");
                return Err(bad(problem, fetched));
            }
            Err(error) => return Err(bad(error.to_string(), fetched)),
        };
        let size = usize::try_from(header.size_bytes()).unwrap_or(usize::MAX);
        if bytes.len() < size {
            return Ok(());
        }
        let batch = ValidBatch::parse_stored(bytes.split_to(size));
        let batch = batch.map_err(|error| bad(error.to_string(), fetched))?;
        let is_aborted = aborted.has(&header);
        if header.attributes.is_control() {
            aborted.end(&batch);
        } else if !is_aborted {
            let records = batch.records(DECOMPRESSED_LIMIT);
            let records = records.map_err(|error| bad(error.to_string(), fetched))?;
            for record in &records {
                let record = record.map_err(|error| bad(error.to_string(), fetched))?;
                if record.offset >= offset {
                    fetched.records.push(records.own(&record));
                }
            }
        }
        fetched.next_offset = fetched.next_offset.max(header.next_offset());
    }
    Ok(())
}
