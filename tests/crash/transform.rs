//! Consume, transform, produce in transactions: librdkafka or Java takes records from one topic, writes
//! them to another and commits its place in the first, and either side is killed, over and over. Each
//! record arrives once, no reader sees a part of a transaction, and none stays open in the end.
//! `OTTLA_KILL_ROUNDS` says how many rounds, `OTTLA_SEED` which; with `OTTLA_TEST_BOOTSTRAP` the
//! broker is that one, and only the client is killed.
//!
//! Both clients print the lines that `tests/clients/rdkafka/src/transform.rs` tells. Instances of Java
//! are of the suite's Kafka releases in turn: what one of 4.x left open, with an epoch for each
//! transaction (KIP-890), one of 3.x takes over, and the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::checker::{
    End, Event, FinalRead, Isolation, Outcome, Poll, Producer, Promise, Seen, Send, Value,
    Watermarks, check,
};
use super::librdkafka::proxy;
use super::suites;
use super::support::{Broker, Storage, tail, wait_until};
use super::wire::{Wire, final_read};
use super::writers::{Load, seen};
use super::{linger, next, number};

/// Rounds in an ordinary run.
const ROUNDS: u64 = 24;
/// A JVM takes long to start.
const JAVA_ROUNDS: u64 = 8;
/// The longest that a round runs before the kill, in ms.
const LOAD_MS_MAX: u64 = 400;
/// One round in so many does not wait until the client has committed something: it is killed, or loses
/// its broker, while it starts.
const START_SHARE: u64 = 5;
/// How long a client may take to commit something.
const START_MAX: Duration = Duration::from_secs(60);
/// How long the last client may take to go through what is left, and to end.
const DRAIN_MAX: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 2;
/// The test's own readers of the output in the history; the client's are its instances.
const READER: u32 = 1000;
/// How long a transaction of the client may stay open.
const TIMEOUT_MS: u64 = 60_000;

#[test]
fn every_record_is_transformed_once_by_librdkafka_while_either_side_is_killed() {
    survive("rdkafka", ROUNDS);
}

#[test]
fn every_record_is_transformed_once_by_java_while_either_side_is_killed() {
    survive("java", JAVA_ROUNDS);
}

fn survive(suite: &'static str, rounds: u64) {
    let Ok(home) = suites::prepare(suite) else { return };
    let rounds = number("OTTLA_KILL_ROUNDS").unwrap_or(rounds);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    eprintln!("{suite}: {rounds} rounds, OTTLA_SEED={seed}");
    let mut run = Run::start(suite, home);
    for round in 0..rounds {
        if !next(&mut seed).is_multiple_of(START_SHARE) {
            run.wait_for_commit(round);
        }
        linger(next(&mut seed) % LOAD_MS_MAX);
        run.kill_one(round, next(&mut seed));
    }
    run.end();
}

/// The topics: what is taken, and what is made of it. The checker knows partitions of the second by
/// a number that is this much higher.
const TAKEN: &str = "taken";
const MADE: &str = "made";
const MADE_BASE: i32 = 100;

/// What happened, with the wall clock's nanoseconds, which all processes share.
type Story = Arc<Mutex<Vec<(u128, Event)>>>;

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()
}

/// A broker that can be killed, or one that somebody else runs.
enum Side {
    Ours(Option<Broker>, Storage),
    Theirs(String),
}

impl Side {
    fn start(&mut self, arguments: &[&str]) -> String {
        match self {
            Self::Ours(broker, storage) => {
                let started = Broker::start(storage, arguments).unwrap();
                let address = started.bootstrap().to_owned();
                *broker = Some(started);
                address
            }
            Self::Theirs(address) => address.clone(),
        }
    }

    /// Whether it is dead now.
    fn kill(&mut self) -> bool {
        match self {
            Self::Ours(broker, _) => {
                drop(broker.take());
                true
            }
            Self::Theirs(_) => false,
        }
    }
}

struct Run {
    /// The client's.
    suite: &'static str,
    home: PathBuf,
    folder: tempfile::TempDir,
    load: Load,
    side: Side,
    /// What the broker calls itself, and clients are told.
    front: String,
    topics: [String; 2],
    client: Option<Child>,
    /// Instances of the client so far; the number of the present one.
    instance: u32,
    broker_kills: u32,
    story: Story,
    threads: Vec<JoinHandle<()>>,
    reading: Arc<AtomicBool>,
}

impl Run {
    fn start(suite: &'static str, home: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let peer = std::env::var("OTTLA_TEST_BOOTSTRAP").ok().filter(|peer| !peer.is_empty());
        let id = uuid::Uuid::new_v4().simple().to_string();
        let topics = [TAKEN, MADE].map(|topic| format!("{topic}-{}", &id[..8]));
        let load = Load::new(&topics[0]);
        let (side, front) = match peer {
            Some(peer) => (Side::Theirs(peer.clone()), peer),
            None => {
                let storage = Storage::Folder(folder.path().join("data"));
                (Side::Ours(None, storage), proxy(&load.address))
            }
        };
        let (story, reading) = (Story::default(), Arc::new(AtomicBool::new(true)));
        let mut run = Self {
            suite,
            home,
            folder,
            load,
            side,
            front,
            topics,
            client: None,
            instance: 0,
            broker_kills: 0,
            story,
            threads: Vec::new(),
            reading,
        };
        run.start_broker();
        let mut wire = run.wire();
        for topic in &run.topics {
            wire.create_topic(topic, PARTITIONS).unwrap();
        }
        for partition in 0..PARTITIONS {
            run.threads.push(run.load.produce(partition, Producer::Idempotent));
            run.threads.push(run.read(partition));
        }
        run.start_client();
        run
    }

    fn wire(&self) -> Wire {
        self.load.address.connect()
    }

    fn start_broker(&mut self) {
        let advertised = format!("PLAINTEXT://{}", self.front);
        let address = self.side.start(&["--advertise", &advertised]);
        self.load.address.set(&address);
    }

    fn output(&self, instance: u32) -> PathBuf {
        self.folder.path().join(format!("output-{instance}"))
    }

    fn start_client(&mut self) {
        self.instance += 1;
        let output = File::create(self.output(self.instance)).unwrap();
        let errors = File::create(self.folder.path().join("errors")).unwrap();
        let folder = suites::folder(self.suite);
        let child = Command::new(folder.join("run"))
            .current_dir(folder)
            .env("SUITE_HOME", &self.home)
            .env("BOOTSTRAP", &self.front)
            .env("PHASE", "transform")
            .env("RUN_ID", &self.topics[0])
            .env("TOPIC", &self.topics[0])
            .env("OUT", &self.topics[1])
            .env("OUT_PARTITIONS", PARTITIONS.to_string())
            .env("INSTANCE", self.instance.to_string())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap();
        self.client = Some(child);
    }

    /// Lets the present instance of the client come to work.
    fn wait_for_commit(&self, round: u64) {
        let output = self.output(self.instance);
        let has_committed = || std::fs::read_to_string(&output).unwrap().contains("\"committed\"");
        let said = || tail(&self.folder.path().join("errors"), 20);
        assert!(wait_until(START_MAX, has_committed), "round {round}: no commit: {}", said());
    }

    /// Kills the client or the broker, and starts it again.
    fn kill_one(&mut self, round: u64, dice: u64) {
        let mut client = self.client.take().unwrap();
        let ended = client.try_wait().unwrap();
        let said = || tail(&self.folder.path().join("errors"), 20);
        assert!(ended.is_none(), "round {round}: the client gave up: {ended:?} {}", said());
        if dice.is_multiple_of(2) && self.side.kill() {
            self.client = Some(client);
            self.broker_kills += 1;
            self.start_broker();
        } else {
            client.kill().unwrap();
            client.wait().unwrap();
            self.start_client();
        }
    }

    /// Follows a partition of the output as a reader of what is committed.
    fn read(&self, partition: i32) -> JoinHandle<()> {
        let (address, story) = (self.load.address.clone(), Arc::clone(&self.story));
        let (topic, reading) = (self.topics[1].clone(), Arc::clone(&self.reading));
        spawn(move || {
            let (mut wire, mut at) = (address.connect(), 0);
            while reading.load(Ordering::SeqCst) {
                let mut found = Vec::new();
                if wire.read_some(&topic, partition, &mut at, (50, &mut found)).is_err() {
                    wire = address.connect();
                } else if !found.is_empty() {
                    let number = MADE_BASE + partition;
                    let poll = Poll {
                        consumer: READER + partition.unsigned_abs(),
                        isolation: Isolation::Committed,
                        records: seen(number, &found),
                        txn: None,
                    };
                    story.lock().unwrap().push((now(), Event::Poll(poll)));
                }
            }
        })
    }

    /// Lets the client go through all that is there, then judges.
    fn end(mut self) {
        self.load.end();
        let mut wire = self.wire();
        let mut progress = None;
        let drained = wait_until(DRAIN_MAX, || {
            progress = self.progress(&mut wire).ok();
            progress.iter().flatten().any(|_| true)
                && progress.iter().flatten().all(|(at, end)| at == end)
        });
        let said = tail(&self.output(self.instance), 3);
        assert!(drained, "the client is at {progress:?} of its input: {said}");
        let mut client = self.client.take().unwrap();
        drop(client.stdin.take());
        let mut status = None;
        wait_until(DRAIN_MAX, || {
            status = client.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "the client: {status:?}");
        self.reading.store(false, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());

        let report = check(&self.history(&mut wire));
        report.assert_clean();
        let kills = (self.broker_kills, self.instance - 1);
        eprintln!("{} kills of the broker, {} of the client; {report}", kills.0, kills.1);
        if let Side::Ours(Some(broker), _) = self.side {
            broker.stop().unwrap();
        }
    }

    /// What everybody did, and what is there now.
    fn history(&self, wire: &mut Wire) -> Vec<Event> {
        let mut history = self.load.recorder.history();
        for instance in 1..=self.instance {
            tell(&self.output(instance), instance, &mut history, &self.story);
        }
        let mut story = self.story.lock().unwrap().clone();
        story.sort_by_key(|(at, _)| *at);
        history.extend(story.into_iter().map(|(_, event)| event));
        let mut reads = Vec::new();
        for partition in 0..PARTITIONS {
            let (last_stable, high_watermark) = wire.ends(&self.topics[1], partition).unwrap();
            let (partition, at_ms) = (MADE_BASE + partition, u64::MAX);
            let marks = Watermarks { partition, at_ms, last_stable, high_watermark };
            history.push(Event::Watermarks(marks));
            reads.push(final_read(wire, &self.topics[0], partition - MADE_BASE).unwrap());
            let mut made = final_read(wire, &self.topics[1], partition - MADE_BASE).unwrap();
            made.partition = partition;
            made.records.iter_mut().for_each(|seen| seen.partition = partition);
            reads.push(made);
        }
        assert_once(&reads);
        history.extend(reads.into_iter().map(Event::FinalRead));
        history
    }

    /// Of each partition of the input: where the group is, and the end.
    fn progress(&self, wire: &mut Wire) -> std::io::Result<Vec<(i64, i64)>> {
        let (topic, group) = (&self.topics[0], format!("transform-{}", self.topics[0]));
        (0..PARTITIONS)
            .map(|partition| {
                let (_, end) = wire.ends(topic, partition)?;
                Ok((wire.committed(&group, topic, partition)?, end))
            })
            .collect()
    }
}

/// Every record that was taken is made into one, and nothing else is.
fn assert_once(reads: &[FinalRead]) {
    let mut taken: BTreeMap<u64, i32> = BTreeMap::new();
    for read in reads {
        for seen in &read.records {
            let (name, sign) = match u64::try_from(seen.partition % MADE_BASE) {
                Ok(partition) if seen.partition < MADE_BASE => ((seen.value << 4) | partition, 1),
                _ => (seen.value & u64::from(u32::MAX), -1),
            };
            *taken.entry(name).or_default() += sign;
        }
    }
    assert!(!taken.is_empty(), "no record was sent: the load did not run");
    let wrong: Vec<_> = taken.iter().filter(|(_, count)| **count != 0).take(10).collect();
    assert!(wrong.is_empty(), "taken less made, by value and partition: {wrong:?}");
}

/// Adds what an instance of the client printed: what it sent to the history, the rest to the story.
fn tell(output: &Path, instance: u32, history: &mut Vec<Event>, story: &Story) {
    history.push(Event::Producer { producer: instance, kind: Producer::Idempotent });
    let text = std::fs::read_to_string(output).unwrap();
    // A kill may have cut the last line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines: Vec<Json> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let txns = |name: &str| -> BTreeSet<u32> {
        lines.iter().filter_map(|line| small(line.get(name)?)).collect()
    };
    let (asked, committed) = (txns("committing"), txns("committed"));
    let stored: BTreeMap<Value, i64> =
        lines.iter().filter_map(|line| of_stored(line.get("stored")?)).collect();
    for line in &lines {
        let at = u128::from(line["at"].as_u64().unwrap());
        let note = |event| story.lock().unwrap().push((at, event));
        if let Some(txn) = line.get("begin").and_then(small) {
            note(Event::Begin { txn, at_ms: 0, timeout_ms: TIMEOUT_MS });
            // Without an answer to the commit that was asked for nobody knows.
            if !asked.contains(&txn) {
                note(Event::Ended { txn, end: End::Aborted });
            }
        } else if let Some(read) = line.get("read") {
            note(Event::Poll(taken(read, instance)));
        } else if let Some(send) = line.get("send") {
            let txn = small(&send[0]).unwrap();
            let value = send[2].as_u64().unwrap();
            let is_known = committed.contains(&txn) || !asked.contains(&txn);
            let offset = stored.get(&value).filter(|_| is_known);
            history.push(Event::Send(Send {
                producer: instance,
                partition: MADE_BASE + i32::try_from(send[1].as_i64().unwrap()).unwrap(),
                value,
                promise: Promise::Kept,
                outcome: offset.map_or(Outcome::Info, |offset| Outcome::Ok(*offset)),
                txn: Some(txn),
            }));
        } else if let Some(txn) = line.get("committing").and_then(small) {
            note(Event::Committing { txn });
        } else if let Some(txn) = line.get("committed").and_then(small) {
            note(Event::Ended { txn, end: End::Committed });
        } else if let Some(txn) = line.get("aborted").and_then(small) {
            note(Event::Ended { txn, end: End::Aborted });
        } else if line.get("reassigned").is_some() {
            note(Event::Reassigned { consumer: instance });
        }
    }
}

fn small(value: &Json) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn of_stored(line: &Json) -> Option<(Value, i64)> {
    Some((line.get(2)?.as_u64()?, line.get(3)?.as_i64()?))
}

fn taken(read: &Json, instance: u32) -> Poll {
    let number = |index: usize| read[index].as_i64().unwrap();
    let records = vec![Seen {
        partition: i32::try_from(number(1)).unwrap(),
        offset: number(2),
        value: read[3].as_u64().unwrap(),
    }];
    let isolation = Isolation::Committed;
    Poll { consumer: instance, isolation, records, txn: small(&read[0]) }
}
