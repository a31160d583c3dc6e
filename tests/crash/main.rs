//! kill -9 under load, over and over on one data folder, a fifth of the times while it starts: the
//! checker finds nothing lost, moved or doubled, and no committed offset gone back. And a
//! deletion that was cut short; `full_disk.rs` has a disk without room, `paused.rs` a process that
//! stands still, `table.rs` a compacted topic, `backup.rs` copies of a broker under load,
//! `transform.rs` and `streams.rs` transactions.
//!
//! Through all rounds run two idempotent producers, which send the same batch again until it is
//! acknowledged; a plain one, which leaves a batch whose answer was lost behind; consumers that
//! commit where they are; and librdkafka with two producers and a group. `OTTLA_KILL_ROUNDS` says
//! how many rounds, `OTTLA_SEED` which.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test changes a data folder of its own")]

mod backup;
#[path = "../checker/mod.rs"]
mod checker;
mod full_disk;
mod librdkafka;
mod paused;
mod streams;
mod suites;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod torn;
mod transform;
mod wire;
mod writers;

use std::path::Path;
use std::time::Duration;

use checker::{Producer, check};
use ottla::clock::Clock;
use support::{Broker, Storage, wait_until};
use wire::Wire;
use writers::Load;

/// Rounds in an ordinary run.
const ROUNDS: u64 = 200;
/// Rounds on one data folder; more of them begin on a new one.
const SERIES: u64 = 200;
/// The longest that a round's load runs before the kill, in ms.
const LOAD_MS_MAX: u64 = 250;
/// The longest that a start runs before the kill, in ms: a start takes less.
const START_MS_MAX: u64 = 60;
/// One round in so many kills the broker while it starts.
const START_SHARE: u64 = 5;
const TOPIC: &str = "killed";
/// Three for our own producers, two for librdkafka's.
const PARTITIONS: i32 = 5;

#[test]
fn nothing_acknowledged_is_lost_moved_or_doubled_by_kill_9() {
    let rounds = number("OTTLA_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    eprintln!("{rounds} rounds, OTTLA_SEED={seed}");
    for done in (0..rounds).step_by(usize::try_from(SERIES).unwrap()) {
        kill_over_and_over(SERIES.min(rounds - done), &mut seed);
        eprintln!("{} rounds done", SERIES.min(rounds - done) + done);
    }
}

/// Kills a broker so many times on one data folder, then judges what its clients saw.
fn kill_over_and_over(rounds: u64, seed: &mut u64) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let load = Load::new(TOPIC);
    let proxy = librdkafka::proxy(&load.address);
    let advertised = format!("PLAINTEXT://{proxy}");
    let arguments = ["--advertise", advertised.as_str()];

    let first = Broker::start(&storage, &arguments).unwrap();
    load.address.set(first.bootstrap());
    Wire::connect(first.bootstrap()).unwrap().create_topic(TOPIC, PARTITIONS).unwrap();
    let librdkafka = librdkafka::Client::start(&proxy, TOPIC);
    let kinds = [Producer::Idempotent, Producer::Idempotent, Producer::Once];
    let mut clients: Vec<_> =
        (0..).zip(kinds).map(|(partition, kind)| load.produce(partition, kind)).collect();
    clients.extend((0..PARTITIONS).map(|partition| load.consume(partition)));

    let mut broker = Some(first);
    let mut starts_killed = 0;
    for round in 0..rounds {
        let context = |error: String| -> Broker { panic!("round {round}: {error}") };
        if broker.is_none() && next(seed).is_multiple_of(START_SHARE) {
            let mut starting = Broker::spawn(&storage, &arguments).unwrap_or_else(context);
            linger(next(seed) % START_MS_MAX);
            assert!(starting.is_running(), "round {round}: {}", starting.log_tail(60));
            starting.kill();
            starts_killed += 1;
            continue;
        }
        let start = || Broker::start(&storage, &arguments).unwrap_or_else(context);
        let running = broker.take().unwrap_or_else(start);
        load.address.set(running.bootstrap());
        linger(next(seed) % LOAD_MS_MAX);
        running.kill();
    }
    let last = Broker::start(&storage, &arguments).unwrap();
    load.address.set(last.bootstrap());
    load.end();
    clients.into_iter().for_each(|client| client.join().unwrap());
    if let Ok(client) = librdkafka {
        client.end(&load.recorder);
    }
    load.final_read(&mut Wire::connect(last.bootstrap()).unwrap(), PARTITIONS);
    last.stop().unwrap();
    let report = check(&load.recorder.history());
    report.assert_clean();
    assert!(report.acknowledged > 0, "no record was acknowledged: the load did not run");
    eprintln!("{starts_killed} starts killed; {report}");
}

/// Lets the clients work for so long.
fn linger(ms: u64) {
    let (clock, time) = (Clock::system(), Duration::from_millis(ms));
    wait_until(time + Duration::from_secs(1), || clock.elapsed() >= time);
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

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One step of a small generator; a failure is repeated with the seed that was printed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
