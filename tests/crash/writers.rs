//! Clients that go on through every crash and put down what they did: each runs on a thread of its
//! own until it is told to stop, and finds the broker again wherever it is by then.

#![allow(dead_code, reason = "each test that takes it in uses a part of it")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::checker::{
    Event, Isolation, Outcome, Poll, Producer, Promise, Recorder, Seen, Send, Value,
};
use super::wire::Wire;

/// The longest that a consumer's fetch waits, in ms.
const FETCH_WAIT_MS: i32 = 50;

/// Where the broker is at the moment; shared by all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address(Arc<(Mutex<String>, Condvar)>);

impl Address {
    pub(crate) fn set(&self, address: &str) {
        address.clone_into(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    pub(crate) fn get(&self) -> String {
        self.0.0.lock().unwrap().clone()
    }

    /// Connects; waits for a new address where the present one does not answer.
    pub(crate) fn connect(&self) -> Wire {
        let mut address = self.0.0.lock().unwrap();
        loop {
            if !address.is_empty()
                && let Ok(wire) = Wire::connect(&address)
            {
                return wire;
            }
            address = self.0.1.wait_timeout(address, Duration::from_millis(20)).unwrap().0;
        }
    }
}

/// What every client of a test has.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) topic: String,
    pub(crate) address: Address,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) recorder: Recorder,
    /// Odd from the moment a power cut begins until the process that went on after it is gone.
    cuts: Arc<AtomicU64>,
}

/// How a producer sends, and what it is promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) kind: Producer,
    pub(crate) acks: i16,
    pub(crate) promise: Promise,
}

impl Load {
    pub(crate) fn new(topic: &str) -> Self {
        let (address, stop, recorder, cuts) = Default::default();
        Self { topic: topic.to_owned(), address, stop, recorder, cuts }
    }

    /// A power cut begins: what is answered from now on counts for nothing.
    pub(crate) fn cut_begins(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Nobody answers any more who has lived through the cut.
    pub(crate) fn cut_is_over(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn era(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    /// Whether an answer to what was begun in `era` came before any cut.
    pub(crate) fn counts(&self, era: u64) -> bool {
        era.is_multiple_of(2) && self.era() == era
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Lets all clients end.
    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Puts a full read of the first partitions down.
    pub(crate) fn final_read(&self, wire: &mut Wire, partitions: i32) {
        for partition in 0..partitions {
            let read = super::wire::final_read(wire, &self.topic, partition).unwrap();
            self.recorder.note(Event::FinalRead(read));
        }
    }

    /// Sends rising values to one partition, one at a time. An idempotent one sends a value again
    /// until it is acknowledged; another one leaves a value whose answer was lost behind.
    pub(crate) fn produce(&self, partition: i32, kind: Producer) -> JoinHandle<()> {
        self.produce_with(partition, Sending { kind, acks: -1, promise: Promise::Kept })
    }

    /// As [`Load::produce`]; idempotent producers only with acks=all.
    pub(crate) fn produce_with(&self, partition: i32, sending: Sending) -> JoinHandle<()> {
        let (load, Sending { kind, acks, promise }) = (self.clone(), sending);
        let producer = partition.unsigned_abs();
        load.recorder.note(Event::Producer { producer, kind });
        spawn(move || {
            let mut wire = load.address.connect();
            let id = (kind == Producer::Idempotent).then(|| load.producer_id(&mut wire));
            for value in 0.. {
                if load.is_over() {
                    return;
                }
                let answer = match id {
                    // The same batch again, until it is acknowledged: it must not be stored twice.
                    Some(id) => loop {
                        let sequence = Some((id, i32::try_from(value).unwrap()));
                        let sent = load.ask(&mut wire, |wire| {
                            wire.produce(&load.topic, partition, value, sequence)
                        });
                        if sent.is_some() {
                            break sent;
                        }
                    },
                    None => load.ask(&mut wire, |wire| {
                        wire.produce_all(&load.topic, partition, acks, &[value])
                    }),
                };
                let outcome = answer.map_or(Outcome::Info, Outcome::Ok);
                let send = Send { producer, partition, value, promise, outcome, txn: None };
                load.recorder.note(Event::Send(send));
            }
        })
    }

    /// Asks the broker; `None` if it did not answer, refused, or answered too late to count. After an
    /// error there is a new connection.
    pub(crate) fn ask<T>(
        &self,
        wire: &mut Wire,
        question: impl FnOnce(&mut Wire) -> std::io::Result<T>,
    ) -> Option<T> {
        let era = self.era();
        let answer = question(wire);
        if answer.is_err() {
            *wire = self.address.connect();
        }
        answer.ok().filter(|_| self.counts(era))
    }

    fn producer_id(&self, wire: &mut Wire) -> i64 {
        loop {
            match wire.producer_id() {
                Ok(id) => return id,
                Err(_) => *wire = self.address.connect(),
            }
        }
    }

    /// Reads one partition to its end and on, and commits where it is in a group of its own; asks
    /// after each crash what is committed.
    pub(crate) fn consume(&self, partition: i32) -> JoinHandle<()> {
        let load = self.clone();
        let consumer = partition.unsigned_abs();
        let group = format!("reader-{partition}");
        spawn(move || {
            let mut wire = load.address.connect();
            let mut next = 0;
            while !load.is_over() {
                let (mut found, mut at, era) = (Vec::new(), next, load.era());
                let read = (FETCH_WAIT_MS, &mut found);
                if wire.read_some(&load.topic, partition, &mut at, read).is_err() {
                    wire = load.address.connect();
                    let kept =
                        load.ask(&mut wire, |wire| wire.committed(&group, &load.topic, partition));
                    if let Some(offset) = kept {
                        load.recorder.note(Event::Committed { group: consumer, partition, offset });
                    }
                    continue;
                }
                if found.is_empty() || !load.counts(era) {
                    continue;
                }
                next = at;
                let isolation = Isolation::Committed;
                let records = seen(partition, &found);
                load.recorder.note(Event::Poll(Poll { consumer, isolation, records, txn: None }));
                let committed =
                    load.ask(&mut wire, |wire| wire.commit(&group, &load.topic, partition, next));
                if committed.is_some() {
                    load.recorder.note(Event::Commit { group: consumer, partition, offset: next });
                }
            }
        })
    }
}

/// Records of one partition as the checker takes them.
pub(crate) fn seen(partition: i32, found: &[(i64, Value)]) -> Vec<Seen> {
    let seen = |(offset, value): &(i64, Value)| Seen { partition, offset: *offset, value: *value };
    found.iter().map(seen).collect()
}
