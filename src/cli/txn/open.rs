//! The transactions that are open in partitions, and which of them no coordinator knows: those hang.

use std::collections::BTreeMap;

use super::is_unfinished;
use crate::client::{Client, ClientError, NamedPartition, TransactionFilter};
use crate::protocol::messages::describe_producers::ProducerState;
use crate::protocol::messages::describe_transactions::TransactionState;
use crate::types::ProducerId;

/// A transaction as one partition sees it.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) partition: NamedPartition,
    pub(super) producer: ProducerState,
    /// The id whose coordinator will end it. `None`: it hangs.
    pub(super) transactional_id: Option<String>,
}

impl Open {
    pub(super) fn is_hanging(&self) -> bool {
        self.transactional_id.is_none()
    }

    fn key(&self) -> (&NamedPartition, i64, i64) {
        (&self.partition, self.producer.producer_id, self.producer.current_txn_start_offset)
    }
}

/// What is open in these partitions, in their order.
///
/// # Errors
/// Those of [`Client::producers`], [`Client::transactions`] and [`Client::describe_transaction`].
pub(super) async fn open_in(
    client: &mut Client,
    partitions: &[NamedPartition],
) -> Result<Vec<Open>, ClientError> {
    let mut open = unfinished(client, partitions).await?;
    let holders = holders(client, &open).await?;
    for row in &mut open {
        let of_producer = holders.get(&row.producer.producer_id).into_iter().flatten();
        let holder = of_producer.into_iter().find(|state| is_in(state, &row.partition));
        row.transactional_id = holder.map(|state| state.transactional_id.clone());
    }
    if open.iter().any(Open::is_hanging) {
        // Only what is open before and after its coordinator was asked was open then: others have ended
        // in between.
        let still = unfinished(client, partitions).await?;
        open.retain(|row| !row.is_hanging() || still.iter().any(|it| it.key() == row.key()));
    }
    Ok(open)
}

async fn unfinished(
    client: &mut Client,
    partitions: &[NamedPartition],
) -> Result<Vec<Open>, ClientError> {
    let mut open = Vec::new();
    for (partition, producers) in client.producers(partitions).await? {
        for producer in producers {
            if producer.current_txn_start_offset >= 0 {
                let (partition, transactional_id) = (partition.clone(), None);
                open.push(Open { partition, producer, transactional_id });
            }
        }
    }
    open.sort_by(|left, right| left.key().cmp(&right.key()));
    Ok(open)
}

/// The ids of these producers with a transaction that has yet to end.
async fn holders(
    client: &mut Client,
    open: &[Open],
) -> Result<BTreeMap<i64, Vec<TransactionState>>, ClientError> {
    let mut holders = BTreeMap::<_, Vec<_>>::new();
    if open.is_empty() {
        return Ok(holders);
    }
    let mut producer_ids: Vec<_> =
        open.iter().map(|row| ProducerId(row.producer.producer_id)).collect();
    producer_ids.sort_unstable();
    producer_ids.dedup();
    let filter = TransactionFilter { producer_ids, ..TransactionFilter::default() };
    for listed in client.transactions(&filter).await?.transactions {
        if is_unfinished(&listed.state)
            && let Some(state) = client.describe_transaction(&listed.transactional_id).await?
            && is_unfinished(&state.transaction_state)
        {
            holders.entry(state.producer_id).or_default().push(state);
        }
    }
    Ok(holders)
}

fn is_in(state: &TransactionState, partition: &NamedPartition) -> bool {
    state.topics.iter().any(|topic| {
        topic.topic == partition.topic && topic.partitions.contains(&partition.partition.0)
    })
}
