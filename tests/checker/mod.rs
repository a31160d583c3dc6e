//! Judges a history of producers and consumers by what a log must never do, after the definitions
//! that Jepsen uses for Kafka, with rows of our own for committed offsets and stuck transactions.
//!
//! A test records [`Event`]s, ends with a full read of every partition, and gives all to [`check`].

#![allow(dead_code, reason = "each test that takes it in uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a small library to each test that takes it in")]

mod facts;
mod history;
mod polls;
mod transactions;
mod writes;

use std::fmt;

#[allow(unused_imports, reason = "each test that takes it in uses a part of it")]
pub use history::{
    End, Event, FinalRead, Isolation, Outcome, Poll, Producer, Promise, Recorder, Seen, Send,
    Value, Watermarks,
};

/// Something that must never be, or only where a client allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Acknowledged, below an offset that somebody read, and nobody ever read it.
    LostWrite,
    /// Acknowledged, and not in the last read.
    Unseen,
    /// One offset has two values.
    InconsistentOffset,
    /// One value has two offsets, although no client sent it twice.
    Duplicate,
    /// Read, although refused or given up.
    AbortedRead,
    /// Read before the commit, or read in part.
    IntermediateRead,
    /// A transaction read its own value.
    PrecommittedRead,
    /// A part of a transaction is visible, another never.
    TornTransaction,
    /// Transactions that read from each other.
    CircularFlow,
    /// A consumer jumped over something between two calls.
    PollSkip,
    /// A consumer went back between two calls.
    NonmonotonicPoll,
    /// The same inside one call.
    InternalPollSkip,
    /// The same inside one call.
    InternalNonmonotonicPoll,
    /// A later send lies before an earlier one.
    NonmonotonicSend,
    /// A group's offset is below the last acknowledged commit.
    CommitWentBack,
    /// A group's offset is beyond the log's end.
    CommitBeyondEnd,
    /// The last stable offset does not move, and no open transaction holds it.
    LastStableStuck,
}

/// One find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    pub row: Row,
    pub details: String,
}

impl Anomaly {
    fn at(row: Row, partition: i32, offset: i64, value: Value) -> Self {
        Self { row, details: format!("partition {partition}, offset {offset}, value {value}") }
    }
}

/// What a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub anomalies: Vec<Anomaly>,
    /// Sends that were acknowledged.
    pub acknowledged: usize,
    /// Sends of which nobody knows.
    pub unknown: usize,
    /// Records that polls brought.
    pub polled: usize,
    /// Values stored twice by clients that send again.
    pub resent: usize,
}

impl Report {
    /// Fails the test with the first finds, if there are any.
    pub fn assert_clean(&self) {
        assert!(self.anomalies.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} anomalies; {} acknowledged, {} unknown, {} polled, {} stored twice by a resend",
            self.anomalies.len(),
            self.acknowledged,
            self.unknown,
            self.polled,
            self.resent
        )?;
        for anomaly in self.anomalies.iter().take(20) {
            writeln!(out, "  {:?}: {}", anomaly.row, anomaly.details)?;
        }
        Ok(())
    }
}

/// Judges a history by every row.
pub fn check(history: &[Event]) -> Report {
    let facts = facts::Facts::of(history);
    let (duplicates, resent) = writes::duplicates(&facts);
    let anomalies = [
        writes::lost(&facts),
        writes::unseen(&facts),
        writes::inconsistent_offset(&facts),
        duplicates,
        transactions::aborted_read(&facts, history),
        transactions::early_read(&facts, history),
        transactions::torn(&facts),
        transactions::circular(&facts),
        polls::order(&facts, history),
        writes::nonmonotonic_send(&facts),
        polls::committed_offsets(&facts, history),
        transactions::stuck(&facts, history),
    ];
    let count = |wanted: fn(&Outcome) -> bool| {
        facts.sends.iter().filter(|send| wanted(&send.outcome)).count()
    };
    let polls = history.iter().map(|event| match event {
        Event::Poll(poll) => poll.records.len(),
        _ => 0,
    });
    Report {
        anomalies: anomalies.concat(),
        acknowledged: count(|outcome| matches!(outcome, Outcome::Ok(_))),
        unknown: count(|outcome| *outcome == Outcome::Info),
        polled: polls.sum(),
        resent,
    }
}
