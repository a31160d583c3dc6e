//! The markers that end transactions: written to every partition of one, and known to be on disk
//! before the coordinator hears of it (KIP-98).

use std::sync::Arc;

use tokio::sync::watch;

use super::open::OFFSETS_TOPIC;
use super::txns::OFFSETS_PARTITION;
use super::{Broker, ShellError};
use crate::groups::{self, GroupError};
use crate::partition::{AppendError, Marker, Partition, ProducerError, TransactionVersion};
use crate::records::{EndMarker, Outcome};
use crate::txn::{self, Command, MarkersDue, Reply};
use crate::types::{Offset, PartitionIndex};

/// Markers that could not be written are tried again after so long, in ms.
const RETRY_MS: u64 = 1_000;

/// Why a marker was not written.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// No such topic or partition.
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
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
        // One of those that are open may time out with its epochs used up.
        if shell.look(|machine| machine.open_count() > 0)
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
                }
            }
        }
    }

    /// Writes the markers of these transactions at once, and tells the coordinator once they are on
    /// disk.
    fn end_all(self: &Arc<Self>, due: Vec<MarkersDue>) {
        let appended: Vec<_> = due
            .into_iter()
            .map(|due| {
                let markers = self.append_markers(&due);
                (due, markers)
            })
            .collect();
        let broker = Arc::clone(self);
        self.tasks.spawn("end of transactions", async move {
            let mut failed = Vec::new();
            for (due, appended) in appended {
                let id = due.producer.transactional_id.clone();
                match broker.all_durable(appended).await {
                    Ok(()) => {
                        let shell = &broker.transactions.shell;
                        let asked = shell.ask(Command::MarkersWritten(due.producer));
                        broker.transactions.ended.notify_waiters();
                        // If it is not stored the markers are written again after a restart.
                        drop(asked);
                    }
                    Err(error) => {
                        tracing::warn!(transactional_id = id, %error, "markers not written");
                        failed.push(id);
                    }
                }
            }
            if !failed.is_empty() {
                broker.clock.sleep_ms(RETRY_MS).await;
                drop(broker.transactions.shell.ask(Command::GiveBackMarkers(failed)));
            }
        });
    }

    fn append_markers(&self, due: &MarkersDue) -> Vec<Result<Appended, MarkerError>> {
        let end = EndMarker { outcome: due.outcome, coordinator_epoch: due.coordinator_epoch };
        let version = match due.version {
            txn::TransactionVersion::V0 => TransactionVersion::V1,
            txn::TransactionVersion::V2 => TransactionVersion::V2,
        };
        let (producer_id, producer_epoch) = (due.producer.producer_id, due.producer.producer_epoch);
        let marker = Marker { producer_id, producer_epoch, end, version };
        due.partitions
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |index| (topic, *index)))
            .map(|(topic, partition)| self.append_marker(&marker, topic, partition))
            .collect()
    }

    fn append_marker(
        &self,
        marker: &Marker,
        topic: &str,
        index: PartitionIndex,
    ) -> Result<Appended, MarkerError> {
        if (topic, index) == (OFFSETS_TOPIC, OFFSETS_PARTITION) {
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
        Ok(Appended::InPartition(Arc::clone(partition), appended.end))
    }

    /// Waits for the markers of one transaction.
    async fn all_durable(
        &self,
        markers: Vec<Result<Appended, MarkerError>>,
    ) -> Result<(), MarkerError> {
        for marker in markers {
            let durable = match marker {
                Ok(appended) => self.durable(appended).await,
                Err(error) => Err(error),
            };
            match durable {
                Err(error) if !error.is_done() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
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

    /// Ends a producer's transaction in one partition, whatever the coordinator thinks: what an
    /// operator does about one that hangs. On disk on return.
    ///
    /// # Errors
    /// See [`MarkerError`].
    pub async fn write_marker(
        &self,
        marker: &Marker,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<(), MarkerError> {
        let appended = self.append_marker(marker, topic, partition)?;
        self.durable(appended).await
    }

    /// Aborts, at the start, transactions that partitions have open and the coordinator knows nothing
    /// of: no marker would ever come. A folder is left so by a backup under load, or by hand.
    pub(super) fn abort_unknown_transactions(&self) {
        for topic in self.registry.topics() {
            for partition in &topic.partitions {
                for open in partition.producers() {
                    let known = self.transactions.shell.look(|machine| {
                        machine.has_open(open.producer_id, &topic.name, partition.index)
                    });
                    if open.transaction_start.is_none() || known {
                        continue;
                    }
                    let coordinator_epoch = open.coordinator_epoch.unwrap_or(0);
                    let marker = Marker {
                        producer_id: open.producer_id,
                        producer_epoch: open.producer_epoch,
                        end: EndMarker { outcome: Outcome::Abort, coordinator_epoch },
                        version: TransactionVersion::V1,
                    };
                    let (name, index) = (&*topic.name, partition.index);
                    let aborted = self.append_marker(&marker, name, index).map(drop);
                    let error = aborted.err().map(|error| error.to_string());
                    tracing::warn!(topic = name, partition = %index, producer_id = %open.producer_id,
                        error, "a transaction that no coordinator knows is aborted");
                }
            }
        }
    }
}
