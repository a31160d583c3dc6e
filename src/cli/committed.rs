//! Reads what is committed in the partitions of topics, up to what is there when it is asked: the topics of services
//! are read so, whatever cluster they lie on.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::ended::Ended;
use super::output::tell;
use crate::client::cluster::{Stored, TopicPartition};
use crate::client::{Client, Fetched, Isolation, NamedPartition, Position};
use crate::records::OwnedRecord;
use crate::types::Offset;

/// How long one fetch waits for records, in ms: there are some.
const FETCH_WAIT_MS: u32 = 500;
/// Fetches in a row that may bring nothing before it is given up.
const IDLE_ROUNDS_MAX: u32 = 60;

/// The partitions of the topics whose names are wanted, in order. Those that nobody leads are told of and left out.
///
/// # Errors
/// The cluster's.
pub(crate) async fn partitions_of(
    client: &mut Client,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<NamedPartition>, Ended> {
    let mut partitions = Vec::new();
    for topic in client.cluster(None).await?.topics {
        let Some(name) = topic.name.filter(|name| is_wanted(name)) else { continue };
        for partition in topic.partitions {
            let named = NamedPartition::new(&name, partition.partition_index);
            if partition.leader_id >= 0 {
                partitions.push(named);
            } else {
                tell(format_args!("no broker leads {named}: what lies there is left out"));
            }
        }
    }
    partitions.sort();
    Ok(partitions)
}

/// The names of the topics of these partitions, each once.
pub(crate) fn topics_of(partitions: &[NamedPartition]) -> Vec<&str> {
    let mut names: Vec<&str> = partitions.iter().map(|at| at.topic.as_str()).collect();
    names.dedup();
    names
}

/// A reader of committed records.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    positions: BTreeMap<NamedPartition, Offset>,
    topics: HashMap<String, Arc<str>>,
}

impl Committed {
    /// Reads from there on.
    ///
    /// # Errors
    /// The cluster's.
    pub(crate) async fn from(
        client: &mut Client,
        partitions: &[NamedPartition],
        position: Position,
    ) -> Result<Self, Ended> {
        let positions = client.offsets(partitions, position).await?.into_iter().collect();
        let topics = partitions.iter().map(|at| (at.topic.clone(), at.topic.as_str().into()));
        Ok(Self { positions, topics: topics.collect() })
    }

    /// Reads on up to the end of what is committed now, each partition in order, or until `each` breaks, to go on
    /// behind that record the next time. False if it broke.
    ///
    /// # Errors
    /// The cluster's; `Failed` where records are there that nobody sends.
    pub(crate) async fn read(
        &mut self,
        client: &mut Client,
        each: impl FnMut(Stored) -> ControlFlow<()>,
    ) -> Result<bool, Ended> {
        let partitions: Vec<_> = self.positions.keys().cloned().collect();
        let ends = client.offsets(&partitions, Position::StableEnd).await?;
        self.read_to(client, &ends, each).await
    }

    /// The same up to these ends.
    ///
    /// # Errors
    /// Those of [`Committed::read`].
    pub(crate) async fn read_to(
        &mut self,
        client: &mut Client,
        ends: &HashMap<NamedPartition, Offset>,
        mut each: impl FnMut(Stored) -> ControlFlow<()>,
    ) -> Result<bool, Ended> {
        let mut idle = 0;
        loop {
            let end_of = |at: &NamedPartition| ends.get(at).copied().unwrap_or_default();
            let left = self.positions.iter().filter(|(at, offset)| **offset < end_of(at));
            let left: Vec<_> = left.map(|(at, offset)| (at.clone(), *offset)).collect();
            let Some((first, at)) = left.first() else { return Ok(true) };
            if idle > IDLE_ROUNDS_MAX {
                let end = end_of(first);
                let text = format!("{first} is committed up to {end}, and nothing comes from {at}");
                return Err(Ended::failed(text));
            }
            idle += 1;
            for fetched in client.fetch_as(Isolation::Committed, &left, FETCH_WAIT_MS).await? {
                let end = end_of(&fetched.partition);
                let before = self.positions.get(&fetched.partition).copied();
                let next = self.place(client, &fetched).await?;
                for record in fetched.records.into_iter().filter(|record| record.offset < end) {
                    let topic = self.topics.get(&fetched.partition.topic);
                    let topic =
                        topic.cloned().unwrap_or_else(|| fetched.partition.topic.as_str().into());
                    let partition = fetched.partition.partition;
                    let at = TopicPartition { topic, partition };
                    let behind = record.offset.plus(1);
                    if each(stored(at, record)).is_break() {
                        self.positions.insert(fetched.partition, behind);
                        return Ok(false);
                    }
                }
                if before != Some(next) {
                    idle = 0;
                }
                self.positions.insert(fetched.partition, next);
            }
        }
    }

    /// Where to go on: where the records are gone, with the first there is.
    async fn place(&self, client: &mut Client, fetched: &Fetched) -> Result<Offset, Ended> {
        if !fetched.is_out_of_range {
            return Ok(fetched.next_offset);
        }
        let partition = std::slice::from_ref(&fetched.partition);
        let starts = client.offsets(partition, Position::Start).await?;
        let start = starts.get(&fetched.partition).copied().unwrap_or_default();
        // Beyond the end lies nothing either: as if all were read.
        Ok(start.max(fetched.next_offset))
    }
}

/// A record as services read it. Names of headers that are no UTF-8 are made so.
fn stored(at: TopicPartition, record: OwnedRecord) -> Stored {
    let headers = record.headers.into_iter();
    Stored {
        at,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: headers
            .map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value))
            .collect(),
    }
}
