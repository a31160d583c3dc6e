//! The markers that end transactions: written to every partition of one, and known to be on disk
//! before the coordinator hears of it (KIP-98).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::open::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use super::txns::OFFSETS_PARTITION;
use super::{Broker, ShellError};
use crate::config::value::Durability;
use crate::groups::{self, GroupError};
use crate::partition::{AppendError, Marker, Partition, ProducerError, ProducerState};
use crate::records::{EndMarker, Outcome};
use crate::txn::{Command, MarkersDue, Reply};
use crate::types::{Offset, PartitionIndex, TransactionVersion};

/// Markers that could not be written are tried again after so long, in ms; each time after twice as
/// long, up to this.
const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 60_000;

/// A partition of a topic.
type Place = (String, PartitionIndex);

/// Why a marker was not written.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// No such topic or partition.
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// The coordinator's own journal, which has no transactions in it.
    #[error("only the coordinator writes {TRANSACTIONS_TOPIC}")]
    OwnJournal,
    /// The partition refused it, or could not store it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The groups' coordinator refused it.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The groups' coordinator gave no answer.
    #[error(transparent)]
    NotAnswered(#[from] ShellError),
}

impl MarkerError {
    /// Whether the transaction has ended there before, or there is no such place any more.
    fn is_done(&self) -> bool {
        match self {
            Self::UnknownTopicOrPartition
            | Self::OwnJournal
            | Self::Group(GroupError::InvalidProducerEpoch { .. })
            | Self::Append(AppendError::Producer(
                ProducerError::InvalidEpoch { .. } | ProducerError::EpochNotBumped { .. },
            )) => true,
            Self::Append(_) | Self::Group(_) | Self::NotAnswered(_) => false,
        }
    }
}

/// A marker that was appended, and is not known to be on disk yet.
enum Appended {
    InPartition(Arc<Partition>, Offset),
    InGroups(super::shell::Asked<groups::Reply>),
}

impl Broker {
    /// Writes the markers that the coordinator names, until `stopping`.
    pub(super) async fn write_markers(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let shell = Arc::clone(&self.transactions.shell);
        // One of those that are known may time out with its epochs used up.
        if shell.look(|machine| machine.id_count() > 0)
            && let Err(error) = self.supply_producer_id().await
        {
            tracing::warn!(%error, "no producer id for transactions that time out");
        }
        while !*stopping.borrow() {
            let reply = tokio::select! {
                biased;
                reply = shell.call(Command::AwaitMarkers) => reply,
                _ = stopping.changed() => return,
            };
            match reply {
                Ok(Reply::AwaitMarkers(due)) => self.end_all(due),
                Ok(_) | Err(ShellError::Stopping) => return,
                Err(error) => {
                    tracing::error!(%error, "transactions cannot be ended");
                    self.clock.sleep_ms(RETRY_MS).await;
                    self.take_up_again();
                }
            }
        }
    }

    /// Has markers told again that were told in an answer which could not be given, since the journal
    /// had no room for what it rested on.
    fn take_up_again(&self) {
        let shell = &self.transactions.shell;
        let ids = |due: MarkersDue| due.producer.transactional_id;
        let due: Vec<_> = shell.look(|machine| machine.markers_due().map(ids).collect());
        let under_way = self.transactions.under_way();
        let lost = due.into_iter().filter(|id| !under_way.contains(id)).collect();
        drop(under_way);
        drop(shell.ask(Command::GiveBackMarkers(lost)));
    }

    /// Writes the markers of these transactions at once, and tells the coordinator once they are on
    /// disk.
    fn end_all(self: &Arc<Self>, due: Vec<MarkersDue>) {
        let ids = due.iter().map(|due| due.producer.transactional_id.clone());
        self.transactions.under_way().extend(ids);
        let gathering = self.flusher.gather();
        let begun: Vec<_> = due
            .into_iter()
            .map(|due| {
                let places = places(&due);
                let appended = self.append_markers(&due, places);
                (due, appended)
            })
            .collect();
        drop(gathering);
        let broker = Arc::clone(self);
        self.tasks.spawn("end of transactions", async move {
            for (due, appended) in begun {
                let failed = broker.all_durable(&due, appended).await;
                if failed.is_empty() {
                    broker.markers_written(due);
                } else {
                    broker.end_later(due, failed);
                }
            }
        });
    }

    /// Goes on trying to write those markers of a transaction that failed, and no others. The pauses
    /// grow, for a partition that is offline stays so until restart.
    fn end_later(self: &Arc<Self>, due: MarkersDue, mut places: Vec<Place>) {
        let broker = Arc::clone(self);
        let mut stopping = self.tasks.stopping();
        self.tasks.spawn("end of a transaction", async move {
            let mut pause_ms = RETRY_MS;
            while !places.is_empty() {
                if *stopping.borrow() {
                    return; // It may have begun to stop before this was asked for.
                }
                tokio::select! {
                    () = broker.clock.sleep_ms(pause_ms) => {}
                    _ = stopping.changed() => return,
                }
                pause_ms = (pause_ms * 2).min(RETRY_MS_MAX);
                let appended = broker.append_markers(&due, places);
                places = broker.all_durable(&due, appended).await;
            }
            broker.markers_written(due);
        });
    }

    /// If the coordinator cannot store that, the markers are written again after a restart.
    fn markers_written(&self, due: MarkersDue) {
        self.transactions.under_way().remove(&due.producer.transactional_id);
        // Nobody waits for that to be on disk, and the next transaction begins with a sync.
        self.transactions.journal.sync_along();
        drop(self.transactions.shell.ask(Command::MarkersWritten(due.producer)));
        self.transactions.ended.notify_waiters();
    }

    fn append_markers(
        &self,
        due: &MarkersDue,
        places: Vec<Place>,
    ) -> Vec<(Place, Result<Appended, MarkerError>)> {
        let end = EndMarker { outcome: due.outcome, coordinator_epoch: due.coordinator_epoch };
        let (producer_id, producer_epoch) = (due.producer.producer_id, due.producer.producer_epoch);
        let marker = Marker { producer_id, producer_epoch, end, version: due.version };
        let append = |(topic, index): Place| {
            let appended = self.append_own_marker(&marker, &topic, index);
            ((topic, index), appended)
        };
        places.into_iter().map(append).collect()
    }

    /// Appends a marker of the coordinator's own, which no epoch of another coordinator holds up: there
    /// is one, and what an operator wrote by hand may carry any.
    fn append_own_marker(
        &self,
        marker: &Marker,
        topic: &str,
        index: PartitionIndex,
    ) -> Result<Appended, MarkerError> {
        match self.append_marker(marker, topic, index) {
            Err(MarkerError::Append(AppendError::Producer(ProducerError::CoordinatorFenced {
                current,
                ..
            }))) => {
                let end = EndMarker { coordinator_epoch: current, ..marker.end };
                self.append_marker(&Marker { end, ..*marker }, topic, index)
            }
            appended => appended,
        }
    }

    fn append_marker(
        &self,
        marker: &Marker,
        topic: &str,
        index: PartitionIndex,
    ) -> Result<Appended, MarkerError> {
        if topic == TRANSACTIONS_TOPIC {
            return Err(MarkerError::OwnJournal);
        }
        if (topic, index) == (OFFSETS_TOPIC, OFFSETS_PARTITION) {
            self.groups_journal.partition().check_marker(marker)?;
            let end = groups::EndTransaction {
                producer_id: marker.producer_id,
                producer_epoch: marker.producer_epoch,
                marker: marker.end,
            };
            let asked = self.groups.ask(groups::Command::EndTransaction(end));
            return Ok(Appended::InGroups(asked));
        }
        let topic = self.registry.by_name(topic).ok_or(MarkerError::UnknownTopicOrPartition)?;
        let partition = topic.partition(index).ok_or(MarkerError::UnknownTopicOrPartition)?;
        let appended = partition.append_marker(marker, self.clock.now())?;
        if self.partition_context.durability != Durability::Ephemeral {
            // Markers wait for the disk under every setting: all of them in one round.
            partition.request_sync();
        }
        Ok(Appended::InPartition(Arc::clone(partition), appended.end))
    }

    /// Waits for markers of a transaction; where they have to be written again.
    async fn all_durable(
        &self,
        due: &MarkersDue,
        markers: Vec<(Place, Result<Appended, MarkerError>)>,
    ) -> Vec<Place> {
        let mut failed = Vec::new();
        for ((topic, partition), marker) in markers {
            let durable = match marker {
                Ok(appended) => self.durable(appended).await,
                Err(error) => Err(error),
            };
            match durable {
                Err(error) if !error.is_done() => {
                    let id = &due.producer.transactional_id;
                    tracing::warn!(transactional_id = id, topic, %partition, %error,
                        "the marker of a transaction is not written yet");
                    failed.push((topic, partition));
                }
                Ok(()) | Err(_) => {}
            }
        }
        failed
    }

    async fn durable(&self, appended: Appended) -> Result<(), MarkerError> {
        match appended {
            Appended::InPartition(partition, end) => Ok(partition.durable(end).await?),
            Appended::InGroups(asked) => match self.groups.answer(asked).await? {
                groups::Reply::EndTransaction(result) => Ok(result?),
                _ => Err(ShellError::WrongReply.into()),
            },
        }
    }

    /// Ends producers' transactions in partitions, whatever the coordinator thinks: what an operator
    /// does about those that hang. All are appended before the first is waited for, and on disk on
    /// return. One result for each.
    pub async fn write_markers_by_hand(
        &self,
        markers: &[(Marker, &str, PartitionIndex)],
    ) -> Vec<Result<(), MarkerError>> {
        let append = |(marker, topic, index): &(Marker, &str, PartitionIndex)| {
            self.append_marker(marker, topic, *index)
        };
        let all: Vec<_> = markers.iter().map(append).collect();
        let mut results = Vec::with_capacity(all.len());
        for appended in all {
            results.push(match appended {
                Ok(appended) => self.durable(appended).await,
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Has ids forgotten, at the start, whose producers have higher epochs in partitions than the
    /// coordinator knows: its journal is older than the logs, since one of them was restored.
    pub(super) fn forget_outdated_ids(&self) {
        let mut seen = BTreeMap::new();
        for partition in self.registry.topics().iter().flat_map(|topic| &topic.partitions) {
            for producer in partition.producers() {
                let highest = seen.entry(producer.producer_id).or_insert(producer.producer_epoch);
                *highest = producer.producer_epoch.max(*highest);
            }
        }
        match self.transactions.shell.decide(Command::EpochsSeen(seen)) {
            Ok((Reply::EpochsSeen(behind), _)) => {
                for transactional_id in behind {
                    tracing::warn!(
                        transactional_id,
                        "the journal of transactions is older than the \
                        logs: this id is forgotten, its producer has to begin anew"
                    );
                }
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "ids that are behind the logs are kept"),
        }
    }

    /// Aborts, at the start, transactions that partitions have open and the coordinator knows nothing
    /// of: no marker would ever come. A folder is left so by a backup under load, or by hand.
    pub(super) fn abort_unknown_transactions(&self) {
        for topic in self.registry.topics() {
            for partition in &topic.partitions {
                for producer in partition.producers() {
                    if producer.transaction_start.is_some() {
                        self.abort_if_unknown(&topic.name, partition.index, &producer);
                    }
                }
            }
        }
    }

    fn abort_if_unknown(&self, topic: &str, partition: PartitionIndex, open: &ProducerState) {
        let (producer_id, producer_epoch) = (open.producer_id, open.producer_epoch);
        let is_known = self
            .transactions
            .shell
            .look(|machine| machine.will_end(producer_id, producer_epoch, topic, partition));
        if is_known {
            return;
        }
        let end = EndMarker { outcome: Outcome::Abort, coordinator_epoch: 0 };
        let version = TransactionVersion::V0;
        let marker = Marker { producer_id, producer_epoch, end, version };
        match self.append_own_marker(&marker, topic, partition) {
            Ok(_) => tracing::warn!(topic, %partition, %producer_id,
                "a transaction that no coordinator knows is aborted"),
            Err(error) => tracing::error!(topic, %partition, %producer_id, %error,
                "a transaction that no coordinator knows could not be aborted: read_committed \
                 consumers wait until the next start"),
        }
    }
}

/// Where a transaction's markers go.
fn places(due: &MarkersDue) -> Vec<Place> {
    let topics = due.partitions.iter();
    topics
        .flat_map(|(topic, partitions)| partitions.iter().map(|index| (topic.clone(), *index)))
        .collect()
}
