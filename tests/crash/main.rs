//! kill -9 under load, over and over on one data folder: no acknowledged record is lost, moved or
//! doubled, and committed offsets never go back.
//!
//! Four writers run through all rounds: two idempotent producers, which send the same batch again
//! until it is acknowledged; a plain one, which leaves a batch whose answer was lost behind; and a
//! group that commits rising offsets. `OTTLA_KILL_ROUNDS` says how many rounds, `OTTLA_SEED` which.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test changes a data folder of its own")]

mod full_disk;
#[path = "../support/mod.rs"]
mod support;
mod wire;
mod writers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::clock::Clock;
use support::{Broker, Storage, wait_until};
use wire::Wire;
use writers::{Address, Sent};

/// Rounds in an ordinary run.
const ROUNDS: u64 = 200;
/// The longest that a round's load runs before the kill, in ms.
const LOAD_MS_MAX: u64 = 250;
const TOPIC: &str = "killed";

#[test]
fn nothing_acknowledged_is_lost_moved_or_doubled_by_kill_9() {
    let rounds = number("OTTLA_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    println!("{rounds} rounds, OTTLA_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let (address, stop) = (Address::default(), Arc::new(AtomicBool::new(false)));

    let first = Broker::start(&storage, &[]).unwrap();
    Wire::connect(first.bootstrap()).unwrap().create_topic(TOPIC, 3).unwrap();
    let producers: Vec<_> = (0..3)
        .map(|partition| writers::produce(TOPIC, partition, partition < 2, &address, &stop))
        .collect();
    let committer = writers::commit(TOPIC, &address, &stop);

    let clock = Clock::system();
    let mut broker = Some(first);
    for round in 0..rounds {
        let running = match broker.take() {
            Some(running) => running,
            None => Broker::start(&storage, &[]).unwrap_or_else(|e| panic!("round {round}: {e}")),
        };
        address.set(running.bootstrap());
        let load = Duration::from_millis(next(&mut seed) % LOAD_MS_MAX);
        let begin = clock.elapsed();
        wait_until(load + Duration::from_secs(1), || clock.elapsed() - begin >= load);
        running.kill();
    }
    stop.store(true, Ordering::SeqCst);
    let last = Broker::start(&storage, &[]).unwrap();
    address.set(last.bootstrap());
    let sent: Vec<Vec<Sent>> = producers.into_iter().map(|one| one.join().unwrap()).collect();
    let committed = committer.join().unwrap();

    let mut wire = Wire::connect(last.bootstrap()).unwrap();
    let mut acknowledged = 0;
    for (partition, sent) in (0..).zip(&sent) {
        let stored = wire.read_all(TOPIC, partition).unwrap();
        acknowledged += check(partition, sent, &stored, partition < 2);
    }
    assert!(acknowledged > 0, "no record was acknowledged: the load did not run");
    let kept = wire.committed("killed-group", TOPIC, 0).unwrap();
    assert!(kept >= committed, "offset {committed} was committed, {kept} is kept");
    println!("{acknowledged} acknowledged records, offsets committed up to {committed}");
    last.stop().unwrap();
}

#[test]
fn a_deletion_that_a_crash_cut_short_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let journal = folder.path().join("__consumer_offsets-0");
    let copy = tempfile::tempdir().unwrap();

    let broker = Broker::start(&storage, &[]).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    wire.create_topic(TOPIC, 1).unwrap();
    wire.create_topic("kept", 1).unwrap();
    wire.commit("g", TOPIC, 0, 5).unwrap();
    wire.commit("g", "kept", 0, 6).unwrap();
    broker.stop().unwrap();
    copy_files(&journal, copy.path());

    // The deletion reaches the metadata, its tombstones never reach the groups' journal.
    let broker = Broker::start(&storage, &[]).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    wire.delete_topic(TOPIC).unwrap();
    wire.create_topic(TOPIC, 1).unwrap();
    broker.kill();
    copy_files(copy.path(), &journal);

    let broker = Broker::start(&storage, &[]).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    assert_eq!(wire.committed("g", TOPIC, 0).unwrap(), -1, "the offset of the topic before");
    assert_eq!(wire.committed("g", "kept", 0).unwrap(), 6);
    broker.stop().unwrap();
}

/// Puts the files of one folder into another, and takes others out of it.
fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(to).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Compares what a producer was told with what is stored; returns the acknowledged records.
fn check(partition: i32, sent: &[Sent], stored: &[(i64, u64)], idempotent: bool) -> usize {
    let mut acknowledged = 0;
    for one in sent {
        let Some(offset) = one.offset else { continue };
        acknowledged += 1;
        let found = stored.iter().find(|(_, value)| *value == one.value).map(|(at, _)| *at);
        assert_eq!(found, Some(offset), "partition {partition}: where value {} is", one.value);
    }
    for pair in stored.windows(2) {
        let [(at, value), (next_at, next_value)] = pair else { continue };
        assert_eq!(at + 1, *next_at, "partition {partition}: offsets without a gap");
        assert!(value < next_value, "partition {partition}: {next_value} behind {value} at {at}");
    }
    if idempotent {
        assert_eq!(sent.len(), stored.len(), "partition {partition}: each value once");
    }
    acknowledged
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One step of a small generator; a failure is repeated with the seed that was printed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
