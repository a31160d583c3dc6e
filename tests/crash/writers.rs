//! Clients that go on through every crash: each runs on a thread of its own until it is told to
//! stop, and finds the broker again wherever it is by then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::wire::Wire;

/// Where the broker is at the moment; shared by all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address(Arc<(Mutex<String>, Condvar)>);

impl Address {
    pub(crate) fn set(&self, address: &str) {
        address.clone_into(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Connects; waits for a new address where the present one does not answer.
    fn connect(&self) -> Wire {
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

/// A value that was sent, and the offset that was answered, if an answer came.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) value: u64,
    pub(crate) offset: Option<i64>,
}

/// Sends rising values to one partition.
pub(crate) fn produce(
    topic: &'static str,
    partition: i32,
    idempotent: bool,
    address: &Address,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Vec<Sent>> {
    let (address, stop) = (address.clone(), Arc::clone(stop));
    spawn(move || {
        let mut wire = address.connect();
        let id = idempotent.then(|| {
            loop {
                match wire.producer_id() {
                    Ok(id) => break id,
                    Err(_) => wire = address.connect(),
                }
            }
        });
        let mut sent: Vec<Sent> = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let value = u64::try_from(sent.len()).unwrap();
            let producer = id.map(|id| (id, i32::try_from(value).unwrap()));
            let mut answer = wire.produce(topic, partition, value, producer);
            while idempotent && answer.is_err() {
                // The same batch again: it must not be stored twice.
                wire = address.connect();
                answer = wire.produce(topic, partition, value, producer);
            }
            if answer.is_err() {
                wire = address.connect();
            }
            sent.push(Sent { value, offset: answer.ok() });
        }
        sent
    })
}

/// Commits rising offsets and finds after each crash that none was lost; returns the last one that
/// was acknowledged.
pub(crate) fn commit(
    topic: &'static str,
    address: &Address,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<i64> {
    let (address, stop) = (address.clone(), Arc::clone(stop));
    spawn(move || {
        let mut wire = address.connect();
        let (mut acknowledged, mut next) = (-1, 0);
        while !stop.load(Ordering::SeqCst) {
            if wire.commit("killed-group", topic, 0, next).is_ok() {
                acknowledged = next;
            } else {
                wire = address.connect();
                if let Ok(kept) = wire.committed("killed-group", topic, 0) {
                    assert!(kept >= acknowledged, "{acknowledged} was committed, {kept} is kept");
                }
            }
            next += 1;
        }
        acknowledged
    })
}
