//! What clients did and were told: the history that the checker judges.
//!
//! Each event is put down when it is complete. Events of one producer, of one consumer and of one
//! committer are in the order in which it acted; between clients the order only matters for
//! transactions, where it is that of the completions.

use std::sync::{Arc, Mutex};

/// What was sent; no two sends of one partition have the same.
pub type Value = u64;

/// A record as a consumer got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub value: Value,
}

/// How a producer deals with a send whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// It sends again under the same sequence: the value is stored once, and in order.
    Idempotent,
    /// It goes on with the next one, when it knows how this one ended: once, and in order.
    Once,
    /// It sends again: the value may be stored twice and out of order.
    Resends,
}

/// What an acknowledgement promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It survives whatever happened.
    Kept,
    /// The last ones may be gone, but none before one that is there.
    SuffixMayGo,
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged, with the offset that was told.
    Ok(i64),
    /// Refused: not stored.
    Fail,
    /// Nobody knows.
    Info,
}

/// One record sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    pub producer: u32,
    pub partition: i32,
    pub value: Value,
    pub promise: Promise,
    pub outcome: Outcome,
    /// The transaction it is part of.
    pub txn: Option<u32>,
}

/// Which records a consumer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Committed,
    Uncommitted,
}

/// One call that brought records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    pub consumer: u32,
    pub isolation: Isolation,
    pub records: Vec<Seen>,
    /// The transaction in which it was made.
    pub txn: Option<u32>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Committed,
    Aborted,
    /// Nobody knows.
    Info,
}

/// The offsets that a read was told, at a time of the test's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    pub partition: i32,
    pub at_ms: u64,
    pub last_stable: i64,
    pub high_watermark: i64,
}

/// Everything in a partition once all has come to rest, from its first record on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalRead {
    pub partition: i32,
    pub log_end: i64,
    pub records: Vec<Seen>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// How a producer works; `Resends` where it is not said.
    Producer {
        producer: u32,
        kind: Producer,
    },
    Send(Send),
    Poll(Poll),
    /// The consumer's partitions or its place in them were set anew.
    Reassigned {
        consumer: u32,
    },
    /// A group's offset was committed and that was acknowledged.
    Commit {
        group: u32,
        partition: i32,
        offset: i64,
    },
    /// What the broker said the group's offset is; -1 for none.
    Committed {
        group: u32,
        partition: i32,
        offset: i64,
    },
    Begin {
        txn: u32,
        at_ms: u64,
        timeout_ms: u64,
    },
    /// The commit of a transaction was asked for.
    Committing {
        txn: u32,
    },
    Ended {
        txn: u32,
        end: End,
    },
    Watermarks(Watermarks),
    FinalRead(FinalRead),
}

/// A history that several clients put down together; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    /// Everything up to now.
    pub fn history(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}
