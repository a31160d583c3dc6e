//! Transactions: which producer holds a transactional id, which partitions its open transaction has
//! touched, and how each one ended.
//!
//! Everything here is a pure machine, the [`Coordinator`]: it takes commands and the time, and
//! returns records for `__transaction_state` and answers. It knows no socket, file, wire type or
//! error code, and it writes no markers: it names those that are due ([`MarkersDue`]), its owner
//! writes them and says so with [`Command::MarkersWritten`] (KIP-98; KIP-890 for epochs that rise
//! with every end; KIP-360 for producers that go on after an error).
//!
//! What its owner does, in this order, for no crash may leave a transaction half ended:
//! 1. a reply leaves only when its records are durable, also the one that tells of markers: so a
//!    marker is never written before `PrepareCommit` or `PrepareAbort` is on disk;
//! 2. [`Command::MarkersWritten`] is given only when the markers are durable in every partition that
//!    still exists: so `CompleteCommit` is never on disk before its markers;
//! 3. after a restart all markers in doubt are told again. One that a partition has already counts as
//!    written.
//!
//! Invariants, checked by the tests after every step:
//! - what a command does to the state is what replay of its records does, but for the epoch before
//!   the last bump, which Kafka's records do not carry: after a restart the repeated InitProducerId
//!   of a client that lost an answer is refused as a zombie's;
//! - only an open transaction has a deadline; only an ending one has markers due.
//!
//! | state | what it means | goes on to |
//! |---|---|---|
//! | Empty | an id with a producer, nothing begun | Ongoing, PrepareAbort (an empty one) |
//! | Ongoing | begun; ends by its deadline at the latest | PrepareCommit, PrepareAbort |
//! | PrepareCommit, PrepareAbort | the outcome is decided, markers are being written | CompleteCommit, CompleteAbort |
//! | CompleteCommit, CompleteAbort | ended; a repeated request gets the same answer | Empty, Ongoing, PrepareAbort |
//!
//! Deliberately not here: Kafka's states PrepareEpochFence and Dead (what they stand for happens
//! within one step, so no caller can meet them), two-phase commit (KIP-939), and authorization.

#![deny(clippy::wildcard_enum_match_arm)]

mod command;
mod config;
mod error;
mod machine;

mod listing;
mod requests;
mod state;
mod transaction;

mod records;

#[cfg(test)]
mod tests;

pub use command::{
    AddPartitions, Command, Completed, DescribedTransaction, EndTransaction, InitProducerId,
    ListTransactions, ListedTransactions, MarkersDue, Membership, PartitionList, Producer, Reply,
    VerifyPartitions,
};
pub use config::TxnConfig;
pub use error::TxnError;
pub use listing::{IdPattern, ListedTransaction};
pub use machine::Coordinator;
pub use records::{RecordError, TransactionMetadata, TransactionPartitions, TransactionRecord};
pub use state::TransactionState;
