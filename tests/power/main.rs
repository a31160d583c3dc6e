//! Power cuts under load, on ext4 and XFS: what was acknowledged before the cut began is there after
//! it, committed offsets never go back, topics stay, and where nothing is synced only a suffix is
//! lost. A transaction whose commit was acknowledged is wholly there, whatever the setting, and one
//! that was not committed nowhere.
//!
//! Each series begins on an empty disk and lives through some cuts; then everything is read and
//! judged by the checker. `OTTLA_POWER_CUTS` says how many cuts each file system gets, `OTTLA_SEED`
//! which. Where this user may not mount, or a tool is missing, the test says so and passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test changes a disk of its own")]

#[path = "../checker/mod.rs"]
mod checker;
mod disk;
mod pairs;
#[path = "../support/mod.rs"]
mod support;
#[path = "../crash/wire.rs"]
mod wire;
#[path = "../crash/writers.rs"]
mod writers;

use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use checker::{Producer, Promise, Report, check};
use disk::{Disk, KINDS, Kind};
use ottla::clock::Clock;
use pairs::{Pairs, Readers};
use support::{Broker, Storage, wait_until};
use wire::Wire;
use writers::{Load, Sending};

/// Cuts of each file system in an ordinary run.
const CUTS: u64 = 25;
/// Cuts of one series.
const SERIES: u64 = 5;
/// One series in so many is under settings that sync topics late or never.
const LATE_SHARE: u64 = 5;
const LATE: [&str; 2] = ["ottla.durability=os", "ottla.durability=interval:20"];
/// The longest that the load runs before a cut, in ms.
const LOAD_MS_MAX: u64 = 250;
/// One cut in so many comes after a sync of the whole disk.
const SYNC_SHARE: u64 = 4;
const TOPIC: &str = "cut";
/// The topic of transactions.
const PAIRS: &str = "pairs";
const PARTITIONS: i32 = 4;

#[test]
fn ext4_keeps_what_was_acknowledged_before_a_power_cut() {
    survive(KINDS[0]);
}

#[test]
fn xfs_keeps_what_was_acknowledged_before_a_power_cut() {
    survive(KINDS[1]);
}

fn survive(kind: Kind) {
    let cuts = number("OTTLA_POWER_CUTS").unwrap_or(CUTS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    let disk = Disk::new(kind).and_then(|mut disk| disk.try_out().map(|()| disk));
    let mut disk = match disk {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: {}: {why}", kind.name),
    };
    eprintln!("{}: {cuts} cuts, OTTLA_SEED={seed}", kind.name);
    let mut totals = [Report::default(), Report::default()];
    for series in 0..cuts.div_ceil(SERIES) {
        let cuts = SERIES.min(cuts - series * SERIES);
        let reports = if series % LATE_SHARE == LATE_SHARE - 1 {
            late_series(&mut disk, cuts, &mut seed)
        } else {
            vec![series_under_fsync(&mut disk, cuts, &mut seed)]
        };
        for both in reports {
            for (total, report) in totals.iter_mut().zip(both) {
                assert!(report.anomalies.is_empty(), "{} series {series}: {report}", kind.name);
                total.acknowledged += report.acknowledged;
                total.unknown += report.unknown;
                total.polled += report.polled;
            }
        }
        std::fs::remove_dir_all(disk.path().join("data")).unwrap();
    }
    for (total, what) in totals.iter().zip(["records", "transactions"]) {
        assert!(total.acknowledged > 0, "no record was acknowledged: the load did not run");
        eprintln!("{}, {what}: {total}", kind.name);
    }
}

/// Everything that is acknowledged is promised: of records by themselves, and of transactions.
fn series_under_fsync(disk: &mut Disk, cuts: u64, seed: &mut u64) -> [Report; 2] {
    let storage = Storage::Folder(disk.path().join("data"));
    let load = Load::new(TOPIC);
    let mut clients: Vec<JoinHandle<()>> = Vec::new();
    let mut pairs = None;
    let made = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    for cut in 0..cuts {
        let broker = Broker::start(&storage, &[]).unwrap();
        if cut == 0 {
            let mut wire = Wire::connect(broker.bootstrap()).unwrap();
            wire.create_topic(TOPIC, PARTITIONS).unwrap();
            wire.create_topic(PAIRS, pairs::PARTITIONS).unwrap();
            pairs = Some(Pairs::start(&load, PAIRS, Readers::Along));
            clients = fsync_clients(&load);
            clients.push(make_topics(&load, &made));
        }
        load.address.set(broker.bootstrap());
        pairs.iter().for_each(Pairs::wait_for_commit);
        linger(next(seed) % LOAD_MS_MAX);
        cut_power(disk, &load, broker, seed);
    }
    load.end();
    let broker = Broker::start(&storage, &[]).unwrap();
    load.address.set(broker.bootstrap());
    clients.into_iter().for_each(|client| client.join().unwrap());
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    load.final_read(&mut wire, PARTITIONS);
    let topics = wire.topics().unwrap();
    for topic in made.lock().unwrap().iter() {
        assert!(topics.contains(topic), "topic {topic} was made and is gone");
        assert_eq!(wire.read_all(topic, 0).unwrap(), []);
    }
    let transactions = pairs.unwrap().judge(broker.bootstrap());
    broker.stop().unwrap();
    [check(&load.recorder.history()), transactions]
}

fn fsync_clients(load: &Load) -> Vec<JoinHandle<()>> {
    let once = |acks| Sending { kind: Producer::Once, acks, promise: Promise::Kept };
    let mut clients = vec![
        load.produce(0, Producer::Idempotent),
        load.produce(1, Producer::Idempotent),
        load.produce_with(2, once(-1)),
        // Under fsync acks=1 is answered no sooner than acks=all.
        load.produce_with(3, once(1)),
    ];
    clients.extend((0..PARTITIONS).map(|partition| load.consume(partition)));
    clients
}

/// Makes one topic after another, and notes those that were acknowledged.
fn make_topics(
    load: &Load,
    made: &std::sync::Arc<std::sync::Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    let (load, made) = (load.clone(), std::sync::Arc::clone(made));
    spawn(move || {
        let mut wire = load.address.connect();
        for number in 0.. {
            if load.is_over() {
                return;
            }
            let name = format!("made-{number}");
            if load.ask(&mut wire, |wire| wire.create_topic(&name, 1)).is_some() {
                made.lock().unwrap().push(name);
            }
        }
    })
}

/// Only that what stays of a topic is what came first; all of each committed transaction.
fn late_series(disk: &mut Disk, cuts: u64, seed: &mut u64) -> Vec<[Report; 2]> {
    let storage = Storage::Folder(disk.path().join("data"));
    let mut reports = Vec::new();
    for cut in 0..cuts {
        let setting = if cut.is_multiple_of(2) { LATE[0] } else { LATE[1] };
        let arguments = ["--set", setting];
        let broker = Broker::start(&storage, &arguments).unwrap();
        let load = Load::new(&format!("{TOPIC}-{cut}"));
        let topic = format!("{PAIRS}-{cut}");
        let mut wire = Wire::connect(broker.bootstrap()).unwrap();
        wire.create_topic(&load.topic, 2).unwrap();
        wire.create_topic(&topic, pairs::PARTITIONS).unwrap();
        let pairs = Pairs::start(&load, &topic, Readers::AtTheEnd);
        let sending = |acks| Sending { kind: Producer::Once, acks, promise: Promise::SuffixMayGo };
        let clients = [load.produce_with(0, sending(1)), load.produce_with(1, sending(-1))];
        load.address.set(broker.bootstrap());
        pairs.wait_for_commit();
        linger(next(seed) % LOAD_MS_MAX);
        load.end(); // What it sends is answered in an instant; the next life is for reading only.
        cut_power(disk, &load, broker, seed);
        let broker = Broker::start(&storage, &arguments).unwrap();
        load.address.set(broker.bootstrap());
        clients.into_iter().for_each(|client| client.join().unwrap());
        load.final_read(&mut Wire::connect(broker.bootstrap()).unwrap(), 2);
        let transactions = pairs.judge(broker.bootstrap());
        broker.stop().unwrap();
        reports.push([check(&load.recorder.history()), transactions]);
    }
    reports
}

/// Cuts the power under a running broker, ends what is left of it, and gives the power back.
fn cut_power(disk: &mut Disk, load: &Load, broker: Broker, seed: &mut u64) {
    if next(seed).is_multiple_of(SYNC_SHARE) {
        disk.sync().unwrap();
    }
    load.cut_begins();
    disk.cut().unwrap();
    broker.kill();
    load.cut_is_over();
    disk.restore().unwrap();
}

/// Lets the clients work for so long.
fn linger(ms: u64) {
    let (clock, time) = (Clock::system(), Duration::from_millis(ms));
    wait_until(time + Duration::from_secs(1), || clock.elapsed() >= time);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One step of a small generator; a failure is repeated with the seed that was printed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
