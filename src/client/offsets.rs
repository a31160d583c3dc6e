//! Where partitions begin and end, and which offset a time has.

use std::collections::{BTreeMap, HashMap};

use super::error::{ClientError, is_passing};
use super::wire::{Client, NamedPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::types::{NodeId, Offset, Timestamp};

/// How often a moving leader is followed.
const RETRIES_MAX: u32 = 20;
const RETRY_MS: u64 = 100;

/// A place in a partition to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The first record there is.
    Start,
    /// Behind the last record that consumers may read.
    End,
    /// Behind the last record that readers of committed records may read: before the first open transaction.
    StableEnd,
    /// The first record of this time or later; the end if there is none.
    Time(Timestamp),
}

impl Position {
    fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End | Self::StableEnd => -1,
            Self::Time(Timestamp(ms)) => ms.max(0),
        }
    }
}

impl Client {
    /// The offset of `position` in each of the partitions.
    ///
    /// # Errors
    /// `Refusal`, `NoLeader`, or those of [`super::Connection::call`].
    pub async fn offsets(
        &mut self,
        partitions: &[NamedPartition],
        position: Position,
    ) -> Result<HashMap<NamedPartition, Offset>, ClientError> {
        let mut found = HashMap::new();
        let mut wanted = partitions.to_vec();
        let mut tries = 0;
        while !wanted.is_empty() {
            let asked = self.offsets_once(&wanted, position).await?;
            wanted.clear();
            for (partition, result) in asked {
                match result {
                    Ok(offset) => {
                        found.insert(partition, offset);
                    }
                    Err(code) if is_passing(code) && tries < RETRIES_MAX => {
                        self.forget_leader(&partition);
                        wanted.push(partition);
                    }
                    Err(code) => ClientError::check(|| partition.to_string(), code, None)?,
                }
            }
            if !wanted.is_empty() {
                tries += 1;
                self.clock().clone().sleep_ms(RETRY_MS).await;
            }
        }
        let without = match position {
            Position::Time(_) => partitions.iter().filter(|it| !found.contains_key(*it)).cloned(),
            Position::Start | Position::End | Position::StableEnd => return Ok(found),
        };
        // No record so young: the end.
        let without: Vec<_> = without.collect();
        if !without.is_empty() {
            found.extend(Box::pin(self.offsets(&without, Position::End)).await?);
        }
        Ok(found)
    }

    /// One round over all leaders; a time without a record is left out.
    async fn offsets_once(
        &mut self,
        partitions: &[NamedPartition],
        position: Position,
    ) -> Result<Vec<(NamedPartition, Result<Offset, ErrorCode>)>, ClientError> {
        let mut answers = Vec::new();
        for (node, partitions) in self.by_leader(partitions).await? {
            let connection = self.node(node).await?;
            let answer = connection.call(|version| request(version, &partitions, position)).await?;
            answers.extend(results(answer));
        }
        Ok(answers)
    }

    /// The partitions by the node that leads them.
    ///
    /// # Errors
    /// Those of [`Client::leader`].
    pub(super) async fn by_leader(
        &mut self,
        partitions: &[NamedPartition],
    ) -> Result<BTreeMap<NodeId, Vec<NamedPartition>>, ClientError> {
        let mut nodes = BTreeMap::<_, Vec<_>>::new();
        for partition in partitions {
            let leader = self.leader(partition).await?;
            nodes.entry(leader).or_default().push(partition.clone());
        }
        Ok(nodes)
    }
}

fn request(version: i16, partitions: &[NamedPartition], position: Position) -> ListOffsetsRequest {
    let mut topics = BTreeMap::<&str, Vec<_>>::new();
    for named in partitions {
        topics.entry(&named.topic).or_default().push(ListOffsetsPartition {
            partition_index: named.partition.0,
            timestamp: position.timestamp(),
            ..ListOffsetsPartition::default()
        });
    }
    let topics = topics.into_iter();
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(position == Position::StableEnd),
        topics: topics
            .map(|(name, partitions)| ListOffsetsTopic { name: name.to_owned(), partitions })
            .collect(),
        timeout_ms: if version >= 10 { 20_000 } else { 0 },
    }
}

fn results(
    answer: ListOffsetsResponse,
) -> impl Iterator<Item = (NamedPartition, Result<Offset, ErrorCode>)> {
    answer.topics.into_iter().flat_map(|topic| {
        topic.partitions.into_iter().filter_map(move |partition| {
            let named = NamedPartition::new(&topic.name, partition.partition_index);
            if partition.error_code.is_error() {
                return Some((named, Err(partition.error_code)));
            }
            (partition.offset >= 0).then_some((named, Ok(Offset(partition.offset))))
        })
    })
}
