//! Clients that go on through every crash and put down what they did: each runs on a thread of its
//! own until it is told to stop, and finds the broker again wherever it is by then.

#![allow(dead_code, reason = "each test that takes it in uses a part of it")]

use std::sync::atomic::{AtomicBool, Ordering};
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
    pub(crate) topic: &'static str,
    pub(crate) address: Address,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) recorder: Recorder,
}

impl Load {
    pub(crate) fn new(topic: &'static str) -> Self {
        let (address, stop, recorder) = Default::default();
        Self { topic, address, stop, recorder }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Lets all clients end.
    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Puts a full read of the first partitions down.
    pub(crate) fn final_read(&self, wire: &mut Wire, partitions: i32) {
        for partition in 0..partitions {
            let read = super::wire::final_read(wire, self.topic, partition).unwrap();
            self.recorder.note(Event::FinalRead(read));
        }
    }

    /// Sends rising values to one partition, one at a time. An idempotent one sends a value again
    /// until it is acknowledged; another one leaves a value whose answer was lost behind.
    pub(crate) fn produce(&self, partition: i32, kind: Producer) -> JoinHandle<()> {
        let load = self.clone();
        let producer = partition.unsigned_abs();
        load.recorder.note(Event::Producer { producer, kind });
        spawn(move || {
            let mut wire = load.address.connect();
            let id = (kind == Producer::Idempotent).then(|| load.producer_id(&mut wire));
            for value in 0.. {
                if load.is_over() {
                    return;
                }
                let sequence = id.map(|id| (id, i32::try_from(value).unwrap()));
                let mut answer = wire.produce(load.topic, partition, value, sequence);
                while id.is_some() && answer.is_err() {
                    // The same batch again: it must not be stored twice.
                    wire = load.address.connect();
                    answer = wire.produce(load.topic, partition, value, sequence);
                }
                if answer.is_err() {
                    wire = load.address.connect();
                }
                let outcome = answer.map_or(Outcome::Info, Outcome::Ok);
                let promise = Promise::Kept;
                let send = Send { producer, partition, value, promise, outcome, txn: None };
                load.recorder.note(Event::Send(send));
            }
        })
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
                let mut found = Vec::new();
                let read = (FETCH_WAIT_MS, &mut found);
                let mut at = next;
                if wire.read_some(load.topic, partition, &mut at, read).is_err() {
                    wire = load.address.connect();
                    if let Ok(offset) = wire.committed(&group, load.topic, partition) {
                        load.recorder.note(Event::Committed { group: consumer, partition, offset });
                    }
                    continue;
                }
                if found.is_empty() {
                    continue;
                }
                next = at;
                let isolation = Isolation::Committed;
                let records = seen(partition, &found);
                load.recorder.note(Event::Poll(Poll { consumer, isolation, records, txn: None }));
                if wire.commit(&group, load.topic, partition, next).is_ok() {
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
