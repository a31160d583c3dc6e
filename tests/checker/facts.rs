//! What a history shows, put in order once for all rows: where each value lies, who has read it,
//! and how each transaction ended.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{End, Event, FinalRead, Isolation, Outcome, Producer, Send, Value};

/// Of one partition.
#[derive(Debug, Default)]
pub struct Partition {
    /// Every value that any send or read places at an offset: the version order.
    pub at: BTreeMap<i64, BTreeSet<Value>>,
    /// Where each value lies by the same evidence.
    pub places: BTreeMap<Value, BTreeSet<i64>>,
    /// Offsets that somebody read, and with which isolation.
    pub read_by_all: BTreeMap<i64, Value>,
    pub read_committed: BTreeMap<i64, Value>,
    /// Values that somebody read.
    pub read: BTreeSet<Value>,
    pub last: Option<FinalRead>,
}

/// Of one transaction.
#[derive(Debug, Default)]
pub struct Txn {
    pub begun_ms: u64,
    pub timeout_ms: u64,
    /// Indexes in the history.
    pub committing: Option<usize>,
    pub ended: Option<usize>,
    pub end: Option<End>,
    /// What it sent.
    pub sent: Vec<(i32, Value)>,
    /// What it read.
    pub read: Vec<(i32, Value)>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Facts {
    pub partitions: BTreeMap<i32, Partition>,
    pub producers: BTreeMap<u32, Producer>,
    pub sends: Vec<Send>,
    pub by_value: BTreeMap<(i32, Value), Send>,
    pub txns: BTreeMap<u32, Txn>,
}

impl Facts {
    pub fn of(history: &[Event]) -> Self {
        let mut facts = Self::default();
        for (index, event) in history.iter().enumerate() {
            facts.take(index, event);
        }
        facts
    }

    /// The transaction that sent a value.
    pub fn writer(&self, partition: i32, value: Value) -> Option<u32> {
        self.by_value.get(&(partition, value)).and_then(|send| send.txn)
    }

    pub fn producer(&self, producer: u32) -> Producer {
        self.producers.get(&producer).copied().unwrap_or(Producer::Resends)
    }

    /// Whether a transaction was given up for certain.
    pub fn is_aborted(&self, txn: u32) -> bool {
        self.txns.get(&txn).is_some_and(|txn| txn.end == Some(End::Aborted))
    }

    fn take(&mut self, index: usize, event: &Event) {
        match event {
            Event::Producer { producer, kind } => {
                self.producers.insert(*producer, *kind);
            }
            Event::Send(send) => self.take_send(send),
            Event::Poll(poll) => {
                for seen in &poll.records {
                    self.place(seen.partition, seen.offset, seen.value);
                    let partition = self.partitions.entry(seen.partition).or_default();
                    partition.read.insert(seen.value);
                    partition.read_by_all.insert(seen.offset, seen.value);
                    if poll.isolation == Isolation::Committed {
                        partition.read_committed.insert(seen.offset, seen.value);
                    }
                    if let Some(txn) = poll.txn {
                        let txn = self.txns.entry(txn).or_default();
                        txn.read.push((seen.partition, seen.value));
                    }
                }
            }
            Event::FinalRead(last) => {
                for seen in &last.records {
                    self.place(seen.partition, seen.offset, seen.value);
                    let partition = self.partitions.entry(seen.partition).or_default();
                    partition.read.insert(seen.value);
                }
                self.partitions.entry(last.partition).or_default().last = Some(last.clone());
            }
            Event::Begin { txn, at_ms, timeout_ms } => {
                let txn = self.txns.entry(*txn).or_default();
                (txn.begun_ms, txn.timeout_ms) = (*at_ms, *timeout_ms);
            }
            Event::Committing { txn } => {
                self.txns.entry(*txn).or_default().committing = Some(index);
            }
            Event::Ended { txn, end } => {
                let txn = self.txns.entry(*txn).or_default();
                (txn.ended, txn.end) = (Some(index), Some(*end));
            }
            Event::Reassigned { .. }
            | Event::Commit { .. }
            | Event::Committed { .. }
            | Event::Watermarks(_) => {}
        }
    }

    fn take_send(&mut self, send: &Send) {
        if let Outcome::Ok(offset) = send.outcome {
            self.place(send.partition, offset, send.value);
        }
        if let Some(txn) = send.txn {
            self.txns.entry(txn).or_default().sent.push((send.partition, send.value));
        }
        self.by_value.insert((send.partition, send.value), *send);
        self.sends.push(*send);
    }

    fn place(&mut self, partition: i32, offset: i64, value: Value) {
        let partition = self.partitions.entry(partition).or_default();
        partition.at.entry(offset).or_default().insert(value);
        partition.places.entry(value).or_default().insert(offset);
    }
}
