//! What a state machine of ottla is: it decides from a command and the time, says which records to
//! write and whom to answer, and touches nothing else.
//!
//! Invariants every machine keeps: what `handle` does to the state equals what `replay` of the
//! records it returned does to a fresh one (session timers aside); it never sleeps, it names its
//! next deadline; a reply is released by the shell only when every record written up to it is
//! durable.

#[cfg(test)]
pub(crate) mod testing;

use crate::types::{Monotonic, Now};

/// A waiting caller, named by the shell; a machine may answer it in a later step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What one step of a machine wants done, in order.
#[derive(Debug)]
pub struct Effects<Record, Reply> {
    /// To append to the machine's journal, in this order; neighbours that can share a batch do, and
    /// after a crash all of a batch are there or none.
    pub records: Vec<Record>,
    /// To send once all records up to now are durable.
    pub replies: Vec<(Ticket, Reply)>,
}

impl<Record, Reply> Default for Effects<Record, Reply> {
    fn default() -> Self {
        Self { records: Vec::new(), replies: Vec::new() }
    }
}

impl<Record, Reply> Effects<Record, Reply> {
    /// Adds a record to append.
    pub fn write(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Answers `ticket`.
    pub fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.replies.push((ticket, reply));
    }
}

/// A pure state machine: the shell gives it commands and time, and carries out its effects.
pub trait Machine {
    /// What callers ask.
    type Command;
    /// What callers get.
    type Reply;
    /// What the journal holds.
    type Record;

    /// Takes one command. The answer to `ticket` may come now or in a later step.
    fn handle(
        &mut self,
        now: Now,
        ticket: Ticket,
        command: Self::Command,
        effects: &mut Effects<Self::Record, Self::Reply>,
    );

    /// Lets every timer that is due by `now` fire.
    fn tick(&mut self, now: Now, effects: &mut Effects<Self::Record, Self::Reply>);

    /// When `tick` is wanted next, if at all.
    fn next_deadline(&self) -> Option<Monotonic>;

    /// Takes one record of the journal at start, before any command. Records that a machine cannot
    /// make sense of are an error of the reader, never a panic.
    fn replay(&mut self, now: Now, record: Self::Record);
}
