//! Figures for metrics that no worker counts: sagas by state, and dead letters that nobody has decided about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Deserialize;

use super::Api;
use super::lookup::Upto;
use crate::client::cluster::{ClusterError, Stored, TopicPartition};
use crate::services::dlq::{self, Entry};
use crate::services::saga::Status;
use crate::types::Offset;

/// Bytes of dead letters that are read at a time: the rest comes at the next.
const READ_BYTES_MAX: usize = 64 << 20;
/// Rows that are read before others get their turn.
const ROWS_AT_A_TIME: usize = 256;

/// The dead letters of a group, as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct Letters {
    next: BTreeMap<TopicPartition, Offset>,
    undecided: BTreeSet<Entry>,
    /// Entries that were decided about before they were read.
    decided: BTreeSet<Entry>,
}

/// Letters that are being read: they go back whatever becomes of the reading.
struct Reading<'a> {
    api: &'a Api,
    group: &'a str,
    letters: Letters,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let letters = std::mem::take(&mut self.letters);
        self.api.letters().insert(self.group.to_owned(), Some(letters));
    }
}

/// By group; none where they are being read on.
pub(super) type AllLetters = BTreeMap<String, Option<Letters>>;

#[derive(Deserialize)]
struct Row {
    status: Status,
}

impl Api {
    /// How many sagas of each name are in each state, by their committed records; a name that cannot be read now is
    /// left out.
    pub async fn saga_counts(&self) -> Vec<(String, [(Status, u64); 6])> {
        let mut all = Vec::new();
        for saga in self.sagas() {
            let Ok(rows) = self.records(saga).await else { continue };
            let mut counts = Status::ALL.map(|status| (status, 0));
            for some in rows.chunks(ROWS_AT_A_TIME) {
                for row in some.iter().filter_map(|row| serde_json::from_slice::<Row>(row).ok()) {
                    let count = counts.iter_mut().find(|(status, _)| *status == row.status);
                    if let Some((_, count)) = count {
                        *count += 1;
                    }
                }
                tokio::task::yield_now().await;
            }
            all.push((saga.name().to_string(), counts));
        }
        all
    }

    /// How many dead letters of a group nobody has decided about, as far as they are read; none where that is not
    /// known now.
    pub async fn dead_letters(&self, group: &str) -> Option<usize> {
        let (dlq, retry) = self.0.handle.letters_of(group)?;
        let before = self.letters().insert(group.to_owned(), None);
        let letters = match before {
            None => Letters::default(),
            Some(Some(letters)) => letters,
            Some(None) => return None, // Somebody else reads them.
        };
        let mut reading = Reading { api: self, group, letters };
        let read = self.read_letters(group, (&dlq, &retry), &mut reading.letters).await;
        read.ok().map(|()| reading.letters.undecided.len())
    }

    async fn read_letters(
        &self,
        group: &str,
        (dlq, retry): (&str, &str),
        letters: &mut Letters,
    ) -> Result<(), ClusterError> {
        let Letters { next, undecided, decided } = letters;
        for (topic, is_dlq) in [(dlq, true), (retry, false)] {
            let mut bytes_left = READ_BYTES_MAX;
            for at in self.partitions(topic).await? {
                let from = next.get(&at).copied().unwrap_or(Offset(0));
                let each = |stored: Stored| {
                    let size = stored.value.as_ref().map_or(1, Bytes::len);
                    bytes_left = bytes_left.saturating_sub(size);
                    if !is_dlq {
                        decided.extend(dlq::decided(&stored).map(|(entry, _)| entry));
                    } else if let Ok(letter) = dlq::parse(&stored)
                        && letter.group == group
                    {
                        undecided.insert(letter.entry);
                    }
                    bytes_left > 0
                };
                let reached = self.each_stored(at.clone(), from, Upto::Stable, each).await?;
                next.insert(at, reached);
            }
        }
        // What is decided and not read yet is kept for when it is.
        let done: Vec<_> = undecided.intersection(decided).copied().collect();
        for entry in done {
            undecided.remove(&entry);
            decided.remove(&entry);
        }
        self.forget_old(dlq, letters).await
    }

    /// Leaves out what is not in the topic any more.
    async fn forget_old(&self, dlq: &str, letters: &mut Letters) -> Result<(), ClusterError> {
        let partitions = self.partitions(dlq).await?;
        let spans = self.0.cluster.spans(partitions.clone()).await?;
        for (at, span) in partitions.iter().zip(spans) {
            let is_there =
                |entry: &Entry| entry.partition != at.partition || span.start <= entry.offset;
            letters.undecided.retain(is_there);
            letters.decided.retain(is_there);
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<TopicPartition>, ClusterError> {
        let count = self.0.cluster.partition_count(topic.into()).await?.unwrap_or(0);
        Ok((0..count).map(|number| TopicPartition::new(topic, number)).collect())
    }

    fn letters(&self) -> MutexGuard<'_, AllLetters> {
        self.0.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
