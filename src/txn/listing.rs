//! The views of ListTransactions and DescribeTransactions.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::command::{DescribedTransaction, ListTransactions, ListedTransactions};
use super::error::TxnError;
use super::state::TransactionState;
use super::transaction::Transaction;
use crate::types::{ProducerId, Timestamp};

/// Memory for one compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// A regular expression for whole transactional ids, of the kind that is matched in linear time.
#[derive(Clone)]
pub struct IdPattern(Regex);

impl IdPattern {
    /// Reads a pattern; an empty one is none, as in Kafka.
    ///
    /// # Errors
    /// [`TxnError::InvalidPattern`].
    pub fn parse(pattern: &str) -> Result<Option<Self>, TxnError> {
        if pattern.is_empty() {
            return Ok(None);
        }
        let invalid = |error: regex::Error| TxnError::InvalidPattern(error.to_string());
        let build =
            |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        build(pattern).map_err(invalid)?; // By itself: `)(` is none, though it would be in a group.
        build(&format!("^(?:{pattern})$")).map(|whole| Some(Self(whole))).map_err(invalid)
    }

    fn fits(&self, id: &str) -> bool {
        self.0.is_match(id)
    }
}

impl fmt::Debug for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_str().fmt(f)
    }
}

/// One id that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The id.
    pub transactional_id: String,
    /// Who holds it.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub state: TransactionState,
}

/// The ids that fit a filter, of all.
pub(super) fn list<'a>(
    all: impl Iterator<Item = &'a Transaction>,
    filter: &ListTransactions,
    now: Timestamp,
) -> ListedTransactions {
    let is_unknown = |name: &&String| !TransactionState::is_known(name);
    let fits = |transaction: &&Transaction| {
        let state = transaction.state.name();
        (filter.states.is_empty() || filter.states.iter().any(|name| name == state))
            && (filter.producer_ids.is_empty()
                || filter.producer_ids.contains(&transaction.producer_id))
            && (filter.duration_ms < 0 || transaction.age_ms(now) > filter.duration_ms)
            && filter.pattern.as_ref().is_none_or(|pattern| pattern.fits(&transaction.id))
    };
    let listed = |transaction: &Transaction| ListedTransaction {
        transactional_id: transaction.id.to_string(),
        producer_id: transaction.producer_id,
        state: transaction.state,
    };
    ListedTransactions {
        unknown_states: filter.states.iter().filter(is_unknown).cloned().collect(),
        transactions: all.filter(fits).map(listed).collect(),
    }
}

/// One id in full.
pub(super) fn describe(transaction: &Transaction) -> DescribedTransaction {
    DescribedTransaction {
        producer: transaction.producer(),
        state: transaction.state,
        timeout_ms: transaction.timeout_ms,
        started: transaction.started,
        partitions: transaction.partitions.list(),
    }
}
