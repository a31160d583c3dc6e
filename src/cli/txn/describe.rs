//! `ottla txn describe`.

use serde_json::{Value, json};

use super::open::{Open, open_in};
use super::{is_unfinished, unknown};
use crate::cli::connect::Connect;
use crate::cli::ended::{Ended, explained};
use crate::cli::output::{Output, or_dash};
use crate::cli::{duration, partitions, time};
use crate::client::{Client, ClientError, NamedPartition};
use crate::protocol::messages::describe_transactions::TransactionState;
use crate::types::{NodeId, Timestamp};

/// Show transactions in full, and what is open in partitions
#[derive(Debug, clap::Args)]
pub(super) struct Describe {
    /// Transactional ids
    #[arg(required_unless_present = "partitions")]
    ids: Vec<String>,
    /// The transactions that are open in this topic or partition; may be given several times
    ///
    /// One whose coordinator knows nothing of it hangs: nobody will end it but
    /// `ottla txn abort --topic T --partition P --producer-id N`.
    #[arg(long, value_name = "TOPIC[:PARTITION]")]
    partitions: Vec<String>,
}

/// All that is shown of one id.
struct Description {
    coordinator: NodeId,
    state: TransactionState,
    /// Of a transaction that has yet to end, in ms.
    age_ms: Option<u64>,
}

impl Describe {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let (mut described, mut complaints) = (Vec::new(), Vec::new());
        for id in &self.ids {
            match describe(&mut client, id).await {
                Ok(Some(description)) => described.push(description),
                Ok(None) => complaints.push(unknown(id)),
                Err(error) => complaints.push(explained(&error)),
            }
        }
        let named = partitions::named(&mut client, &self.partitions).await?;
        let open = open_in(&mut client, &named).await?;
        if connect.json {
            out.json(&json!({
                "transactions": described.iter().map(Description::as_json).collect::<Vec<_>>(),
                "open": open.iter().map(as_json).collect::<Vec<_>>(),
            }))?;
        } else {
            for (place, description) in described.iter().enumerate() {
                if place > 0 {
                    out.line("")?;
                }
                description.print(out)?;
            }
            if !self.partitions.is_empty() {
                if !described.is_empty() {
                    out.line("")?;
                }
                print(&open, out)?;
            }
        }
        Ended::unless_empty(complaints)
    }
}

async fn describe(client: &mut Client, id: &str) -> Result<Option<Description>, ClientError> {
    let coordinator = client.transaction_coordinator(id).await?;
    let Some(state) = client.describe_transaction(id).await? else { return Ok(None) };
    let now = client.clock().now().wall;
    let age_ms = is_unfinished(&state.transaction_state)
        .then(|| u64::try_from(now.0 - state.transaction_start_time_ms).unwrap_or(0));
    Ok(Some(Description { coordinator, state, age_ms }))
}

/// The partitions of an id's transaction, in order.
pub(super) fn partitions_of(state: &TransactionState) -> Vec<NamedPartition> {
    let topics = state.topics.iter();
    let mut partitions: Vec<_> = topics
        .flat_map(|topic| {
            topic.partitions.iter().map(|index| NamedPartition::new(&topic.topic, *index))
        })
        .collect();
    partitions.sort();
    partitions
}

/// A partition as a row of JSON.
pub(super) fn place(partition: &NamedPartition) -> Value {
    json!({ "topic": partition.topic, "partition": partition.partition.0 })
}

impl Description {
    fn started(&self) -> Option<Timestamp> {
        let ms = self.state.transaction_start_time_ms;
        (ms >= 0).then_some(Timestamp(ms))
    }

    fn print(&self, out: &mut Output) -> Result<(), Ended> {
        let state = &self.state;
        let since = match (self.started(), self.age_ms) {
            (Some(started), Some(age)) => {
                format!(", begun {} ago at {}", duration::show_age_ms(age), time::show(started))
            }
            (Some(started), None) => format!(", last begun at {}", time::show(started)),
            (None, _) => String::new(),
        };
        let timeout = duration::show_ms(u64::try_from(state.transaction_timeout_ms).unwrap_or(0));
        out.line(format_args!(
            "transactional id {}: {}, producer {} epoch {}, timeout {timeout}, coordinator {}{since}",
            state.transactional_id,
            state.transaction_state,
            state.producer_id,
            state.producer_epoch,
            self.coordinator,
        ))?;
        let partitions = partitions_of(state);
        if partitions.is_empty() {
            return Ok(());
        }
        let row = |it: &NamedPartition| vec![it.topic.clone(), it.partition.to_string()];
        out.table(&["TOPIC", "PARTITION"], partitions.iter().map(row).collect())
    }

    fn as_json(&self) -> Value {
        let state = &self.state;
        json!({
            "transactional_id": state.transactional_id,
            "state": state.transaction_state,
            "producer_id": state.producer_id,
            "producer_epoch": state.producer_epoch,
            "timeout_ms": state.transaction_timeout_ms,
            "started": self.started().map(|started| started.0),
            "age_ms": self.age_ms,
            "coordinator": self.coordinator.0,
            "partitions": partitions_of(state).iter().map(place).collect::<Vec<_>>(),
        })
    }
}

fn print(open: &[Open], out: &mut Output) -> Result<(), Ended> {
    let row = |it: &Open| {
        let producer = &it.producer;
        let last = Some(producer.last_timestamp).filter(|ms| *ms >= 0);
        vec![
            it.partition.topic.clone(),
            it.partition.partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.current_txn_start_offset.to_string(),
            or_dash(Some(producer.last_sequence).filter(|last| *last >= 0)),
            or_dash(last.map(|ms| time::show(Timestamp(ms)))),
            or_dash(Some(producer.coordinator_epoch).filter(|epoch| *epoch >= 0)),
            it.transactional_id.clone().unwrap_or_else(|| "- (hangs)".to_owned()),
        ]
    };
    let header = [
        "TOPIC",
        "PARTITION",
        "PRODUCER ID",
        "EPOCH",
        "FIRST OFFSET",
        "LAST SEQUENCE",
        "LAST WRITE",
        "COORDINATOR EPOCH",
        "TRANSACTIONAL ID",
    ];
    out.table(&header, open.iter().map(row).collect())
}

fn as_json(open: &Open) -> Value {
    let producer = &open.producer;
    json!({
        "topic": open.partition.topic,
        "partition": open.partition.partition.0,
        "producer_id": producer.producer_id,
        "producer_epoch": producer.producer_epoch,
        "first_offset": producer.current_txn_start_offset,
        "last_sequence": producer.last_sequence,
        "last_timestamp": producer.last_timestamp,
        "coordinator_epoch": producer.coordinator_epoch,
        "transactional_id": open.transactional_id,
        "hanging": open.is_hanging(),
    })
}
