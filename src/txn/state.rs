//! What a transaction is doing.

use crate::records::Outcome;

/// Where a transactional id stands, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// A producer holds the id and has begun nothing.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// How it ends is decided; its markers are being written.
    Prepare(Outcome),
    /// It has ended.
    Complete(Outcome),
}

impl TransactionState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::Prepare(Outcome::Commit),
        Self::Prepare(Outcome::Abort),
        Self::Complete(Outcome::Commit),
        Self::Complete(Outcome::Abort),
    ];

    /// States of Kafka's that nobody can meet here: their names are known, and no id has them.
    const NEVER_MET: [&str; 2] = ["Dead", "PrepareEpochFence"];

    /// As Kafka's tools show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::Prepare(Outcome::Commit) => "PrepareCommit",
            Self::Prepare(Outcome::Abort) => "PrepareAbort",
            Self::Complete(Outcome::Commit) => "CompleteCommit",
            Self::Complete(Outcome::Abort) => "CompleteAbort",
        }
    }

    /// Its number in records.
    pub fn code(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::Prepare(Outcome::Commit) => 2,
            Self::Prepare(Outcome::Abort) => 3,
            Self::Complete(Outcome::Commit) => 4,
            Self::Complete(Outcome::Abort) => 5,
        }
    }

    /// The state with this number in records.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether a filter may have this name; case counts.
    pub fn is_known(name: &str) -> bool {
        Self::ALL.iter().any(|state| state.name() == name) || Self::NEVER_MET.contains(&name)
    }

    /// Whether its markers are being written.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::Prepare(_))
    }
}
