//! Finds a saga: its committed record, or the start that is durable and not handled yet.
//!
//! The order matters. How far the saga's group has come is read first, then the record, then what lies behind that
//! position: so a start is seen in one of the two, whatever is handled in between.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::Api;
use super::refusal::Refusal;
use crate::client::cluster::{ClusterError, ReadFrom, Stored, TopicPartition};
use crate::client::partition_of;
use crate::services::envelope;
use crate::services::event::Envelope;
use crate::services::runtime::Looked;
use crate::services::saga::{Record, Versions};
use crate::services::table::topic_of;
use crate::types::{Offset, Timestamp};

/// Bytes of one read.
const READ_BYTES: usize = 1 << 20;
/// How long one read waits for what a transaction keeps from sight.
const READ_WAIT_MS: u64 = 100;
/// How long such a transaction is waited for, in all.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// Bytes that are searched for a start that is not handled yet.
const SEARCH_BYTES_MAX: usize = 64 << 20;

/// How far a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upto {
    /// To what readers see now.
    Stable,
    /// To what is written now: what a transaction keeps from sight is waited for.
    Written,
}

/// What is known of a saga.
#[derive(Debug)]
pub(super) enum Found {
    /// Its committed record.
    Record(Box<Record>),
    /// It is begun with this data, and nothing of it is done.
    Started {
        /// The data.
        data: Value,
        /// When it was begun.
        at: Timestamp,
    },
    /// Nothing.
    Nothing,
}

impl Api {
    /// Looks for a saga by its id.
    pub(super) async fn find(&self, saga: &Versions, saga_id: &str) -> Result<Found, Refusal> {
        let Some(input) = self.input(saga, saga_id).await? else { return Ok(Found::Nothing) };
        let (inner, definition, table) = (&self.0, saga.newest(), table(saga));
        let looked = inner.handle.look(&definition.group(), &table, saga_id, &input).await?;
        let from = match looked {
            Looked::Row(row) => return record(&row),
            Looked::Absent(from) => from,
            Looked::Elsewhere => {
                let asked = vec![input.clone()];
                let committed = inner.cluster.committed(definition.group(), asked).await?;
                let at = TopicPartition::new(topic_of(&table), input.partition.0);
                if let Some(row) = self.row_in_topic(at, saga_id).await? {
                    return record(&row);
                }
                committed.first().copied().flatten().unwrap_or(Offset(0))
            }
        };
        self.start_behind(input, from, saga_id).await
    }

    /// Waits for a saga's end, at most so long; the answer is its record, if it came.
    pub(super) async fn end_of(
        &self,
        saga: &Versions,
        saga_id: &str,
        wait_ms: u64,
    ) -> Result<Option<Box<Record>>, Refusal> {
        let (handle, clock) = (&self.0.handle, self.0.cluster.clock());
        let deadline = clock.now().monotonic.plus_ms(wait_ms);
        let mut changes = handle.changes();
        let (group, table) = (saga.newest().group(), table(saga));
        let mut seen = None;
        loop {
            changes.borrow_and_update();
            if let Some(input) = self.input(saga, saga_id).await?
                && let Looked::Row(row) = handle.look(&group, &table, saga_id, &input).await?
                && seen.as_ref() != Some(&row)
            {
                if let Found::Record(found) = record(&row)?
                    && found.status.is_end()
                {
                    return Ok(Some(found));
                }
                seen = Some(row);
            }
            tokio::select! {
                // Its sender is the handle's: no error.
                _ = changes.changed() => {}
                () = clock.sleep_until(deadline) => return Ok(None),
            }
        }
    }

    /// The partition by which everything comes to a saga; none where nothing ever came to any.
    async fn input(
        &self,
        saga: &Versions,
        saga_id: &str,
    ) -> Result<Option<TopicPartition>, ClusterError> {
        let inbox = saga.newest().inbox();
        let count = self.0.cluster.partition_count(inbox.as_str().into()).await?;
        let number = |count| i32::try_from(partition_of(saga_id.as_bytes(), count)).ok();
        let number = count.and_then(|count| u32::try_from(count).ok()).and_then(number);
        Ok(number.map(|number| TopicPartition::new(inbox, number)))
    }

    /// All committed records of a saga's instances.
    pub(super) async fn records(&self, saga: &Versions) -> Result<Vec<Bytes>, Refusal> {
        let (handle, table) = (&self.0.handle, table(saga));
        if handle.open(&saga.newest().group(), &table).await? {
            return Ok(handle.rows(&table).into_values().collect());
        }
        let topic = topic_of(&table);
        let count = self.0.cluster.partition_count(topic.as_str().into()).await?.unwrap_or(0);
        let mut rows = std::collections::BTreeMap::new();
        for number in 0..count {
            let at = TopicPartition::new(topic.as_str(), number);
            self.each_stored(at, Offset(0), Upto::Written, |stored| {
                match stored.value {
                    Some(value) => rows.insert(stored.key, value),
                    None => rows.remove(&stored.key),
                };
                true
            })
            .await?;
        }
        Ok(rows.into_values().collect())
    }

    async fn row_in_topic(&self, at: TopicPartition, key: &str) -> Result<Option<Bytes>, Refusal> {
        let mut row = None;
        let read = self.each_stored(at, Offset(0), Upto::Written, |stored| {
            if stored.key.as_deref() == Some(key.as_bytes()) {
                row = stored.value;
            }
            true
        });
        match read.await {
            Ok(_) => Ok(row),
            Err(ClusterError::Unknown(_)) => Ok(None), // No saga has been handled yet.
            Err(error) => Err(error.into()),
        }
    }

    async fn start_behind(
        &self,
        input: TopicPartition,
        from: Offset,
        saga_id: &str,
    ) -> Result<Found, Refusal> {
        let mut found = Found::Nothing;
        let mut searched_bytes = 0;
        self.each_stored(input, from, Upto::Written, |stored| {
            searched_bytes += stored.value.as_ref().map_or(0, Bytes::len);
            if stored.key.as_deref() == Some(saga_id.as_bytes())
                && let Ok(read) = envelope::read(&stored, Some(Envelope::CloudEvents))
                && &*read.name == "ottla.saga.start"
            {
                found = Found::Started { data: read.body, at: stored.timestamp };
                return false;
            }
            searched_bytes <= SEARCH_BYTES_MAX
        })
        .await?;
        if matches!(found, Found::Nothing) && searched_bytes > SEARCH_BYTES_MAX {
            let message = "too many sagas wait to begin: it is not known yet";
            return Err(Refusal::new(503, "behind", message));
        }
        Ok(found)
    }

    /// Reads what a partition holds now from an offset on, as long as `each` says so; the answer is where to go on.
    pub(super) async fn each_stored(
        &self,
        at: TopicPartition,
        from: Offset,
        upto: Upto,
        mut each: impl FnMut(Stored) -> bool + Send,
    ) -> Result<Offset, ClusterError> {
        let cluster = &self.0.cluster;
        let spans = cluster.spans(vec![at.clone()]).await?;
        let Some(span) = spans.first().copied() else { return Err(ClusterError::Unknown(at)) };
        let mut next = from.max(span.start);
        let begun = cluster.clock().elapsed();
        let end = match upto {
            Upto::Stable => span.end,
            Upto::Written => span.high_watermark,
        };
        while next < end {
            let before = next;
            let from = vec![ReadFrom { at: at.clone(), offset: next }];
            for received in cluster.read(from, READ_BYTES, READ_WAIT_MS).await? {
                for stored in received.records {
                    let behind = Offset(stored.offset.0 + 1);
                    if !each(stored) {
                        return Ok(behind);
                    }
                }
                next = next.max(received.next);
            }
            if next == before && cluster.clock().elapsed().saturating_sub(begun) > OPEN_MAX {
                let why = format!("{at}: a transaction is open for too long");
                return Err(ClusterError::Passing(why));
            }
        }
        Ok(next)
    }
}

/// The table of a saga's records.
pub(super) fn table(saga: &Versions) -> String {
    format!("saga.{}", saga.name())
}

fn record(row: &[u8]) -> Result<Found, Refusal> {
    let record = Record::decode(row);
    let record = record.map_err(|error| Refusal::new(500, "unreadable", error.to_string()))?;
    Ok(Found::Record(Box::new(record)))
}
