//! Fetch: whole stored batches as ranges of files, and the long poll that waits for them.
//!
//! Reads never take the append lock. A fetch that finds too little registers with its partitions and
//! looks again at each wake-up, until it has enough or its time is over.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::Broker;
use crate::catalog::TopicRef;
use crate::log::{AbortedTransaction, LogRange};
use crate::partition::{Isolation, Partition, Read, ReadError, Wake, Watermarks};
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchHeader, OwnedRecord, ValidBatch};
use crate::types::{LeaderEpoch, Offset, PartitionIndex};

/// What to read from one partition.
#[derive(Clone, Debug)]
pub struct PartitionFetch {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset wanted.
    pub offset: Offset,
    /// At most so many bytes; one batch is given whatever its size, if none came before it.
    pub max_bytes: u64,
    /// The leader epoch that the client knows, if any (KIP-320).
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that the client has, if it says so (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// One fetch over several partitions, which are read in this order.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The longest that the answer may take, in ms.
    pub max_wait_ms: u64,
    /// Wait until there is so much, in bytes.
    pub min_bytes: u64,
    /// At most so many bytes in all, but at least one batch.
    pub max_bytes: u64,
    /// Which records are wanted.
    pub isolation: Isolation,
    /// What to read.
    pub partitions: Vec<PartitionFetch>,
}

/// What one partition gave.
#[derive(Debug)]
pub struct Fetched {
    /// The offsets of this moment.
    pub watermarks: Watermarks,
    /// Whole batches; `None` where there is nothing to read yet.
    pub range: Option<LogRange>,
    /// Under [`Isolation::ReadCommitted`], what of the range does not count; see [`Read`].
    pub aborted: Vec<AbortedTransaction>,
    /// Where the client's log parts from ours (KIP-595): an epoch and its end.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// Records that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedRecords {
    /// Those that count, in order.
    pub records: Vec<OwnedRecord>,
    /// Where to read on: behind all that was looked at, also where nothing of it counts.
    pub next: Option<Offset>,
}

impl Fetched {
    /// Reads and unpacks the records from offset `from` on; `from` is that of the fetch. Markers are left
    /// out, and under [`Isolation::ReadCommitted`] the records of aborted transactions. May wait for the
    /// disk.
    ///
    /// # Errors
    /// `Storage`, in words.
    pub fn records(&self, from: Offset) -> Result<FetchedRecords, ReadError> {
        let Some(range) = &self.range else { return Ok(FetchedRecords::default()) };
        let storage = |error: &dyn std::fmt::Display| ReadError::Storage(error.to_string());
        let mut bytes = range.read().map_err(|error| storage(&error))?;
        let mut aborted = self.aborted.iter().peekable();
        let mut dropped = HashSet::new();
        let mut found = FetchedRecords { records: Vec::new(), next: Some(range.next) };
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).map_err(|error| storage(&error))?;
            let size = usize::try_from(header.size_bytes()).unwrap_or(usize::MAX);
            let batch = bytes.split_to(size.min(bytes.len()));
            let batch = ValidBatch::parse_stored(batch).map_err(|error| storage(&error))?;
            while let Some(begun) = aborted.next_if(|it| it.first_offset <= header.last_offset()) {
                dropped.insert(begun.producer_id);
            }
            if header.attributes.is_control() {
                dropped.remove(&header.producer_id);
                continue;
            }
            if header.attributes.is_transactional() && dropped.contains(&header.producer_id) {
                continue;
            }
            let records = batch.records(DECOMPRESSED_LIMIT).map_err(|error| storage(&error))?;
            for record in &records {
                let record = record.map_err(|error| storage(&error))?;
                if record.offset >= from {
                    found.records.push(records.own(&record));
                }
            }
        }
        Ok(found)
    }
}

/// Why a partition cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No such topic name, or no such partition.
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// No such topic id.
    #[error("unknown topic id")]
    UnknownTopicId,
    /// This node does not lead the partition.
    #[error("not the leader")]
    NotLeader,
    /// The client knows an older leadership than ours.
    #[error("leader epoch {got} is over, it is {current}")]
    FencedLeaderEpoch {
        /// What the client knows.
        got: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
    /// The client knows a newer leadership than ours.
    #[error("leader epoch {got} is not known yet, it is {current}")]
    UnknownLeaderEpoch {
        /// What the client knows.
        got: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
    /// The offset, or the disk.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// One look at all partitions of a fetch.
#[derive(Debug)]
pub struct Look {
    /// One result for each partition, in the order of the request.
    pub results: Vec<Result<Fetched, FetchError>>,
    /// Whether it must be answered now: enough bytes, an error, or nothing to wait for.
    pub is_final: bool,
    /// How many partitions do not exist. As in Kafka, the others are waited for all the same.
    pub unknown_count: usize,
}

impl Broker {
    /// Reads what is there now.
    pub fn fetch_now(&self, fetch: &Fetch) -> Look {
        let mut left = fetch.max_bytes;
        let mut bytes = 0_u64;
        let mut is_final = fetch.max_wait_ms == 0;
        let mut unknown_count = 0;
        let mut results = Vec::with_capacity(fetch.partitions.len());
        for wanted in &fetch.partitions {
            let limit = wanted.max_bytes.min(left);
            let result = self.fetch_partition(wanted, limit, bytes == 0, fetch.isolation);
            match &result {
                Ok(fetched) => {
                    let length = fetched.range.as_ref().map_or(0, |range| range.len);
                    bytes = bytes.saturating_add(length);
                    left = left.saturating_sub(length);
                    is_final |= fetched.diverging.is_some();
                }
                Err(FetchError::UnknownTopicOrPartition | FetchError::UnknownTopicId) => {
                    unknown_count += 1;
                }
                Err(
                    FetchError::NotLeader
                    | FetchError::FencedLeaderEpoch { .. }
                    | FetchError::UnknownLeaderEpoch { .. }
                    | FetchError::Read(_),
                ) => is_final = true,
            }
            results.push(result);
        }
        is_final |= unknown_count == fetch.partitions.len();
        is_final |= bytes >= fetch.min_bytes.min(fetch.max_bytes);
        Look { results, is_final, unknown_count }
    }

    /// Waits until there is enough, the time is over, or the broker stops; then reads what is there.
    /// A partition that ceases to exist ends the wait: `unknown_count` is that of the first look.
    pub async fn fetch_later(
        &self,
        fetch: &Fetch,
        unknown_count: usize,
        mut stopping: watch::Receiver<bool>,
    ) -> Look {
        let deadline = self.clock.now().monotonic.plus_ms(fetch.max_wait_ms);
        let wake = Wake::new();
        let partitions: Vec<_> =
            fetch.partitions.iter().filter_map(|wanted| self.wanted(wanted).ok()).collect();
        let _registrations: Vec<_> =
            partitions.iter().map(|partition| partition.waiters().register(&wake)).collect();
        loop {
            let look = self.fetch_now(fetch);
            if look.is_final || look.unknown_count > unknown_count || *stopping.borrow() {
                return look;
            }
            tokio::select! {
                () = wake.woken() => {}
                () = self.clock.sleep_until(deadline) => return self.fetch_now(fetch),
                _ = stopping.changed() => {}
            }
        }
    }

    /// The partition that a fetch names, if this node leads it.
    fn wanted(&self, wanted: &PartitionFetch) -> Result<Arc<Partition>, FetchError> {
        let topic = match &wanted.topic {
            TopicRef::Name(name) => {
                self.registry.by_name(name).ok_or(FetchError::UnknownTopicOrPartition)?
            }
            TopicRef::Id(id) => self.registry.by_id(*id).ok_or(FetchError::UnknownTopicId)?,
        };
        let partition =
            topic.partition(wanted.partition).ok_or(FetchError::UnknownTopicOrPartition)?;
        if partition.leader() != self.node_id {
            return Err(FetchError::NotLeader);
        }
        Ok(Arc::clone(partition))
    }

    fn fetch_partition(
        &self,
        wanted: &PartitionFetch,
        limit: u64,
        first: bool,
        isolation: Isolation,
    ) -> Result<Fetched, FetchError> {
        let partition = self.wanted(wanted)?;
        check_epoch(wanted.current_leader_epoch, partition.leader_epoch)?;
        let Read { watermarks, range, aborted } =
            partition.read(wanted.offset, limit, first, isolation)?;
        let diverging = match wanted.last_fetched_epoch {
            Some(epoch) => partition.diverging(epoch, wanted.offset)?,
            None => None,
        };
        let (range, aborted) =
            if diverging.is_some() { (None, Vec::new()) } else { (range, aborted) };
        Ok(Fetched { watermarks, range, aborted, diverging })
    }
}

/// Compares a client's leader epoch with ours (KIP-320); a client that knows none is let through.
pub(super) fn check_epoch(
    got: Option<LeaderEpoch>,
    current: LeaderEpoch,
) -> Result<(), FetchError> {
    match got {
        Some(got) if got < current => Err(FetchError::FencedLeaderEpoch { got, current }),
        Some(got) if got > current => Err(FetchError::UnknownLeaderEpoch { got, current }),
        Some(_) | None => Ok(()),
    }
}
