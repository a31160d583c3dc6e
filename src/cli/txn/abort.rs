//! `ottla txn abort`.

use serde_json::{Value, json};

use super::describe::{partitions_of, place};
use super::open::open_in;
use super::{is_unfinished, unknown};
use crate::cli::connect::Connect;
use crate::cli::ended::{Ended, explained};
use crate::cli::output::Output;
use crate::client::{Client, NamedPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_producers::ProducerState;
use crate::protocol::messages::describe_transactions::TransactionState;

/// How often it is looked whether a transaction has ended, in ms.
const LOOK_MS: u64 = 100;

/// Abort open transactions and fence their producers
///
/// The producer, if it still runs, gets PRODUCER_FENCED and has to begin anew. If it commits in the
/// very moment it may come first.
#[derive(Debug, clap::Args)]
pub(super) struct Abort {
    /// Transactional ids
    #[arg(required_unless_present = "producer_id", conflicts_with_all = ["topic", "partition", "producer_id"])]
    ids: Vec<String>,
    /// Abort what hangs in this topic: what no coordinator knows, so that it has no id
    #[arg(long, requires = "partition")]
    topic: Option<String>,
    /// And in this partition
    #[arg(long, value_name = "NUMBER", requires = "producer_id",
          value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// And was begun by this producer: `ottla txn describe --partitions TOPIC` shows them
    #[arg(long, value_name = "NUMBER", requires = "topic")]
    producer_id: Option<i64>,
    /// Only say what would be aborted
    #[arg(long)]
    dry_run: bool,
}

/// What became of one id.
enum Done {
    /// What was open is aborted, or would be.
    Aborted,
    /// It was ending by itself, and has ended in this state.
    Ending(String),
    /// Nothing was open.
    Nothing,
}

impl Abort {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        if let (Some(topic), Some(index), Some(id)) =
            (&self.topic, self.partition, self.producer_id)
        {
            let partition = NamedPartition::new(topic, index);
            return self.abort_in(connect, &mut client, &partition, id, out).await;
        }
        let (mut rows, mut complaints) = (Vec::new(), Vec::new());
        for id in &self.ids {
            match self.abort(connect, &mut client, id).await {
                Ok((before, done)) => {
                    if !connect.json {
                        out.line(self.told(&before, &done))?;
                    }
                    rows.push(self.as_json(&before, &done));
                }
                Err(Ended::Failed(texts)) => complaints.extend(texts),
                Err(other) => return Err(other),
            }
        }
        if connect.json {
            out.json(&Value::Array(rows))?;
        }
        Ended::unless_empty(complaints)
    }

    /// Aborts what an id has open. Tells what was there before, and what became of it.
    async fn abort(
        &self,
        connect: &Connect,
        client: &mut Client,
        id: &str,
    ) -> Result<(TransactionState, Done), Ended> {
        let before = client.describe_transaction(id).await?;
        let before = before.ok_or_else(|| Ended::failed(unknown(id)))?;
        if !is_unfinished(&before.transaction_state) {
            return Ok((before, Done::Nothing));
        }
        if self.dry_run {
            return Ok((before, Done::Aborted));
        }
        if before.transaction_state != "Ongoing" {
            let state = ended(connect, client, id).await?;
            return Ok((before, Done::Ending(state)));
        }
        let timeout_ms = before.transaction_timeout_ms;
        let fenced = client.fence_transactional_id(id, timeout_ms, connect.timeout_ms()).await;
        fenced.map_err(|error| match error.code() {
            Some(ErrorCode::ConcurrentTransactions) => still_ending(connect, id, "PrepareAbort"),
            _ => Ended::failed(explained(&error)),
        })?;
        Ok((before, Done::Aborted))
    }

    fn told(&self, before: &TransactionState, done: &Done) -> String {
        let TransactionState { transactional_id: id, producer_id, producer_epoch, .. } = before;
        match done {
            Done::Aborted => {
                let partitions = match partitions_of(before).len() {
                    1 => "1 partition".to_owned(),
                    count => format!("{count} partitions"),
                };
                let (is, fenced) = if self.dry_run {
                    ("would be", "would be fenced")
                } else {
                    ("is", "is fenced")
                };
                format!(
                    "transactional id {id}: its transaction {is} aborted in {partitions}, \
                     producer {producer_id} epoch {producer_epoch} {fenced}"
                )
            }
            Done::Ending(state) => {
                format!("transactional id {id}: its transaction was ending already: {state}")
            }
            Done::Nothing => {
                format!("transactional id {id} has nothing open: {}", before.transaction_state)
            }
        }
    }

    fn as_json(&self, before: &TransactionState, done: &Done) -> Value {
        let is_aborted = matches!(done, Done::Aborted) && !self.dry_run;
        json!({
            "transactional_id": before.transactional_id,
            "state_before": before.transaction_state,
            "aborted": is_aborted,
            "producer_id": before.producer_id,
            "producer_epoch": before.producer_epoch,
            "partitions": partitions_of(before).iter().map(place).collect::<Vec<_>>(),
        })
    }

    /// Ends what hangs in one partition, past the coordinator.
    async fn abort_in(
        &self,
        connect: &Connect,
        client: &mut Client,
        partition: &NamedPartition,
        id: i64,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let open = open_in(client, std::slice::from_ref(partition)).await?;
        let found = open.into_iter().find(|open| open.producer.producer_id == id);
        if let Some(holder) = found.as_ref().and_then(|open| open.transactional_id.as_ref()) {
            return Err(Ended::failed(format!(
                "what producer {id} has open in {partition} does not hang: it is part of the \
                 transaction of {holder}, which `ottla txn abort {holder}` ends everywhere"
            )));
        }
        let producer = found.map(|open| open.producer);
        if let Some(producer) = producer.as_ref().filter(|_| !self.dry_run) {
            client.abort_in_partition(partition, producer).await?;
        }
        if connect.json {
            return out.json(&json!({
                "topic": partition.topic,
                "partition": partition.partition.0,
                "producer_id": id,
                "producer_epoch": producer.as_ref().map(|producer| producer.producer_epoch),
                "first_offset": producer.as_ref().map(|it| it.current_txn_start_offset),
                "aborted": producer.is_some() && !self.dry_run,
            }));
        }
        let Some(ProducerState { producer_epoch, current_txn_start_offset, .. }) = producer else {
            return out.line(format_args!("producer {id} has nothing open in {partition}"));
        };
        let is = if self.dry_run { "would be" } else { "is" };
        out.line(format_args!(
            "what producer {id} epoch {producer_epoch} has begun in {partition} at offset \
             {current_txn_start_offset} {is} aborted"
        ))
    }
}

/// Waits until what is ending has ended: in which state.
async fn ended(connect: &Connect, client: &mut Client, id: &str) -> Result<String, Ended> {
    let deadline = client.clock().now().monotonic.plus_ms(connect.timeout_ms());
    loop {
        let found = client.describe_transaction(id).await?;
        let found = found.ok_or_else(|| Ended::failed(unknown(id)))?;
        let state = found.transaction_state;
        if !is_unfinished(&state) {
            return Ok(state);
        }
        if client.clock().now().monotonic >= deadline {
            return Err(still_ending(connect, id, &state));
        }
        client.clock().clone().sleep_ms(LOOK_MS).await;
    }
}

fn still_ending(connect: &Connect, id: &str, state: &str) -> Ended {
    Ended::failed(format!(
        "transactional id {id} is still {state} after {} ms: a partition of it cannot be written",
        connect.timeout_ms()
    ))
}
