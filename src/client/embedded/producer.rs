//! Appending: for itself, or as whole transactions of a [`broker::TransactionalProducer`], which says
//! how they go. A commit waits for the disk twice, and the next one of the same id for the markers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::cluster::{
    Answer, ClusterError, GroupIdentity, Placed, ToSend, TopicPartition, Transaction,
    TransactionalProducer,
};
use super::batches::{self, Batch};
use super::{Shared, refusal};
use crate::broker::{
    self, GroupOffsets, PartitionRecords, TopicRef, TransactionError, TransactionWriteError,
    TransactionWrites,
};
use crate::groups::PartitionCommit;
use crate::partition::Appended;
use crate::txn::TxnError;

/// How often a transactional id is asked for whose last transaction is still ending; each takes up to a
/// second.
const TAKES_MAX: u32 = 30;

/// Appends records outside any transaction. On an error some of them may be there.
pub(super) async fn send(
    shared: &Shared,
    records: Vec<ToSend>,
) -> Result<Vec<Placed>, ClusterError> {
    let batches = batches::make(shared, &records)?;
    shared.points.reach("before send").await;
    let now = shared.broker.clock.now();
    let (mut written, mut waiting) = (Vec::new(), Vec::new());
    for Batch { at, builder, places } in batches {
        let refused = |error| ClusterError::Refused(format!("records for {at}: {error}"));
        let bytes = builder.build().map_err(refused)?.to_bytes();
        let topic = TopicRef::Name(at.topic.to_string());
        let appended = shared.broker.produce(&topic, at.partition, Some(bytes), now);
        let appended = appended.map_err(|error| refusal::of_produce(&error, &at))?;
        waiting.push((at.clone(), appended.partition, appended.appended.end));
        written.push((at, places, appended.appended));
    }
    for (at, partition, end) in waiting {
        partition.visible(end).await.map_err(|error| refusal::of_append(&error, &at))?;
    }
    shared.points.reach("after send").await;
    placed(records.len(), written)
}

/// Batches that were appended: the partition, which records are in it, and where it lies.
type AllWritten = Vec<(TopicPartition, Vec<usize>, Appended)>;

/// Where each record lies, in the order in which they were given.
fn placed(count: usize, written: AllWritten) -> Result<Vec<Placed>, ClusterError> {
    let mut found = vec![None; count];
    for (at, places, appended) in written {
        for (delta, place) in (0..).zip(places) {
            if let Some(row) = found.get_mut(place) {
                let offset = appended.base_offset.plus(delta);
                *row = Some(Placed { at: at.clone(), offset });
            }
        }
    }
    let all: Option<Vec<_>> = found.into_iter().collect();
    all.ok_or_else(|| ClusterError::Passing("a record was left out".to_owned()))
}

/// Holder of a transactional id.
#[derive(Debug)]
pub(super) struct Holder {
    shared: Arc<Shared>,
    producer: broker::TransactionalProducer,
    /// Why nothing can be committed any more.
    lost: Option<ClusterError>,
}

impl Holder {
    /// Takes an id: fences whoever had it, and waits until what that one left open has ended.
    pub(super) async fn take(
        shared: Arc<Shared>,
        transactional_id: String,
        timeout_ms: i32,
    ) -> Result<Self, ClusterError> {
        let mut takes = 0;
        let producer = loop {
            takes += 1;
            match shared.broker.transactional_producer(&transactional_id, timeout_ms).await {
                Err(TransactionError::Refused(TxnError::ConcurrentTransactions(_)))
                    if takes < TAKES_MAX => {}
                taken => {
                    let what = format!("transactional id {transactional_id}");
                    break taken.map_err(|error| refusal::of_transaction(&error, &what))?;
                }
            }
        };
        Ok(Self { shared, producer, lost: None })
    }

    fn what(&self) -> String {
        format!("transactional id {}", self.producer.producer().transactional_id)
    }

    async fn commit_all(&mut self, transaction: Transaction) -> Result<Vec<Placed>, ClusterError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        let batches = batches::make(&self.shared, &transaction.records)?;
        let offsets = self.offsets(&transaction)?;
        if batches.is_empty() && offsets.is_empty() {
            return Ok(Vec::new());
        }
        // Stands if the caller goes away in the middle: then nobody knows how far it came.
        let given_up = format!("{}: a commit was given up: take the id anew", self.what());
        self.lost = Some(ClusterError::Passing(given_up));
        let count = transaction.records.len();
        let group = transaction.group.map(|identity| identity.group).unwrap_or_default();
        self.shared.points.reach("before append").await;
        let written = match self.write(batches, offsets).await {
            Ok(written) => written,
            Err(error) => return Err(self.abort(&group, &error).await),
        };
        self.shared.points.reach("after append and offsets").await;
        if let Err(error) = self.producer.commit().await {
            return Err(match error {
                // Nothing is decided yet.
                TransactionWriteError::NotDurable { .. } => self.abort(&group, &error).await,
                TransactionWriteError::Transaction(_)
                | TransactionWriteError::Partition { .. }
                | TransactionWriteError::MustAbort => {
                    self.lose(refusal::of_write(&error, &self.what(), &group))
                }
            });
        }
        self.lost = None;
        self.shared.points.reach("after the end is decided").await;
        placed(count, written)
    }

    async fn write(
        &mut self,
        batches: Vec<Batch>,
        offsets: Vec<GroupOffsets>,
    ) -> Result<AllWritten, TransactionWriteError> {
        let (mut records, mut places) = (Vec::new(), Vec::new());
        for batch in batches {
            let (topic, partition) = (batch.at.topic.to_string(), batch.at.partition);
            let topic = TopicRef::Name(topic);
            records.push(PartitionRecords { topic, partition, records: batch.builder });
            places.push((batch.at, batch.places));
        }
        let appended = self.producer.write(TransactionWrites { records, offsets }).await?;
        let written = places.into_iter().zip(appended);
        Ok(written.map(|((at, places), appended)| (at, places, appended)).collect())
    }

    /// Nothing more goes through this holder.
    fn lose(&mut self, error: ClusterError) -> ClusterError {
        let error = match error {
            ClusterError::Fenced(_) | ClusterError::Passing(_) => error,
            other => ClusterError::Passing(format!("{}: {other}: take the id anew", self.what())),
        };
        self.lost = Some(error.clone());
        error
    }

    /// Ends what was begun, so that nothing of it is ever seen; what the caller is told then.
    async fn abort(&mut self, group: &str, error: &TransactionWriteError) -> ClusterError {
        let error = refusal::of_write(error, &self.what(), group);
        match self.producer.abort().await {
            Ok(()) => {
                self.lost = None;
                error
            }
            // Whoever fenced us has aborted it.
            Err(_) if matches!(error, ClusterError::Fenced(_)) => self.lose(error),
            Err(failed) => match refusal::of_write(&failed, &self.what(), group) {
                fenced @ ClusterError::Fenced(_) => self.lose(fenced),
                failed => {
                    let text = format!("{error}; nor could it be aborted: {failed}");
                    self.lose(ClusterError::Passing(text))
                }
            },
        }
    }

    /// The offsets of a transaction. What is wrong with them by itself is found before anything begins.
    fn offsets(&self, transaction: &Transaction) -> Result<Vec<GroupOffsets>, ClusterError> {
        if transaction.offsets.is_empty() {
            return Ok(Vec::new());
        }
        let Some(identity) = &transaction.group else {
            let text = format!("{}: offsets without a group to commit them for", self.what());
            return Err(ClusterError::Refused(text));
        };
        let GroupIdentity { group, generation, member_id, instance_id } = identity.clone();
        let mut topics = BTreeMap::<String, Vec<PartitionCommit>>::new();
        for (at, offset) in &transaction.offsets {
            self.shared.partition(at)?;
            topics.entry(at.topic.to_string()).or_default().push(PartitionCommit {
                partition: at.partition,
                offset: *offset,
                leader_epoch: None,
                metadata: String::new(),
            });
        }
        Ok(vec![GroupOffsets {
            group_id: group,
            member: Some((member_id, Some(instance_id), generation)),
            offsets: topics.into_iter().collect(),
        }])
    }
}

impl TransactionalProducer for Holder {
    fn commit(&mut self, transaction: Transaction) -> Answer<'_, Vec<Placed>> {
        Box::pin(self.commit_all(transaction))
    }
}
