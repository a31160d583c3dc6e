//! `ottla txn list`.

use serde_json::json;

use super::UNFINISHED;
use crate::cli::connect::Connect;
use crate::cli::duration;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::client::{ListedTransaction, TransactionFilter};
use crate::types::ProducerId;

/// The states that are not those of a transaction that has yet to end.
const OTHER_STATES: [&str; 4] = ["Empty", "CompleteCommit", "CompleteAbort", "Dead"];

/// List the transactional ids of a cluster
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only ids in this state, such as Ongoing or CompleteAbort; may be given several times
    #[arg(long, value_delimiter = ',')]
    state: Vec<String>,
    /// Only the id that this producer holds; may be given several times
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    producer_id: Vec<i64>,
    /// Only transactions that have not ended for so long, such as 10m (Kafka 3.8 on)
    #[arg(long, value_name = "SPAN", value_parser = duration::parse_ms)]
    longer_than: Option<u64>,
    /// Only ids that this regular expression fits as a whole (Kafka 4.1 on)
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
}

impl List {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let listed = connect.client().await?.transactions(&self.filter()).await?;
        if let Some(state) = listed.unknown_states.first() {
            return Err(Ended::Usage(format!(
                "{state:?} is no state of a transaction: {} or {}",
                UNFINISHED.join(", "),
                OTHER_STATES.join(", "),
            )));
        }
        if connect.json {
            let transaction = |it: &ListedTransaction| {
                json!({
                    "transactional_id": it.transactional_id,
                    "producer_id": it.producer_id.0,
                    "state": it.state,
                    "coordinator": it.coordinator.0,
                })
            };
            return out.json(&listed.transactions.iter().map(transaction).collect());
        }
        let row = |it: &ListedTransaction| {
            vec![
                it.transactional_id.clone(),
                it.producer_id.to_string(),
                it.state.clone(),
                it.coordinator.to_string(),
            ]
        };
        let header = ["TRANSACTIONAL ID", "PRODUCER ID", "STATE", "COORDINATOR"];
        out.table(&header, listed.transactions.iter().map(row).collect())
    }

    fn filter(&self) -> TransactionFilter {
        let mut states: Vec<_> = self.state.iter().map(|state| as_kafka_writes(state)).collect();
        // To Kafka's filter an id is as old as its last transaction, also when that has ended.
        if self.longer_than.is_some() && states.is_empty() {
            states = UNFINISHED.map(str::to_owned).to_vec();
        }
        TransactionFilter {
            states,
            producer_ids: self.producer_id.iter().copied().map(ProducerId).collect(),
            longer_than_ms: self.longer_than.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            pattern: self.pattern.clone(),
        }
    }
}

/// A state in any case; what is none stays as it is, for the broker to say so.
fn as_kafka_writes(state: &str) -> String {
    let known = UNFINISHED.iter().chain(&OTHER_STATES);
    let found = known.copied().find(|known| known.eq_ignore_ascii_case(state));
    found.unwrap_or(state).to_owned()
}
