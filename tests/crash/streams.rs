//! Kafka Streams with exactly_once_v2 while the broker is killed over and over: each word of the input
//! is counted once, and no transaction stays open in any of its topics. `OTTLA_KILL_ROUNDS` says how
//! many rounds, `OTTLA_SEED` which. What is counted is judged in the suite `tests/clients/streams`.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::checker::{Event, Watermarks, check};
use super::librdkafka::proxy;
use super::suites;
use super::support::{Broker, Storage, tail, wait_until};
use super::wire::Wire;
use super::writers::Address;
use super::{linger, next, number};

/// Rounds in an ordinary run.
const ROUNDS: u64 = 10;
/// How long a round's load runs before the kill, in ms.
const LOAD_MS: std::ops::Range<u64> = 100..900;
/// What the names of all its topics begin with, and how many partitions each has.
const RUN_ID: &str = "killed";
const PARTITIONS: i32 = 2;
/// How long the application may take to start, and in the end to count what is left.
const WAIT_MAX: Duration = Duration::from_secs(90);

#[test]
fn words_are_counted_once_by_kafka_streams_while_the_broker_is_killed() {
    let Ok(home) = suites::prepare("streams") else { return };
    let rounds = number("OTTLA_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    eprintln!("{rounds} rounds, OTTLA_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().join("data"));
    let address = Address::default();
    let front = proxy(&address);
    let advertised = format!("PLAINTEXT://{front}");
    let start = || {
        let broker = Broker::start(&storage, &["--advertise", &advertised]).unwrap();
        address.set(broker.bootstrap());
        broker
    };

    let mut broker = start();
    let output = folder.path().join("output");
    let mut application = Application(
        Command::new(suites::folder("streams").join("run"))
            .env("SUITE_HOME", home)
            .env("BOOTSTRAP", &front)
            .env("RUN_ID", RUN_ID)
            .env("PHASE", "crash")
            .env("CASE_MAX_S", (rounds * 15 + 120).to_string())
            .stdin(Stdio::piped())
            .stdout(File::create(&output).unwrap())
            .spawn()
            .unwrap(),
    );
    let counts = || tail(&output, 5).contains("# counting");
    assert!(wait_until(WAIT_MAX, counts), "it does not start: {}", tail(&output, 5));
    for _ in 0..rounds {
        linger(LOAD_MS.start + next(&mut seed) % (LOAD_MS.end - LOAD_MS.start));
        broker.kill();
        broker = start();
    }
    drop(application.0.stdin.take());
    let mut status = None;
    wait_until(WAIT_MAX, || {
        status = application.0.try_wait().unwrap();
        status.is_some()
    });
    let said = tail(&output, 5);
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {said}");
    assert!(said.lines().any(|line| line.starts_with("ok ")), "{said}");
    eprintln!("{said}");
    assert_settled(&mut Wire::connect(broker.bootstrap()).unwrap());
    broker.stop().unwrap();
}

/// Nothing holds a last stable offset back once the application is gone: not in its input, its output
/// or the topics that it keeps its counts in.
fn assert_settled(wire: &mut Wire) {
    let topics = wire.topics().unwrap();
    let own: Vec<&String> = topics.iter().filter(|topic| topic.starts_with(RUN_ID)).collect();
    assert!(own.len() > 2, "its topics are {own:?}");
    let mut history = Vec::new();
    for topic in own {
        for index in 0..PARTITIONS {
            let (last_stable, high_watermark) = wire.ends(topic, index).unwrap();
            let partition = i32::try_from(history.len()).unwrap();
            let marks = Watermarks { partition, at_ms: u64::MAX, last_stable, high_watermark };
            history.push(Event::Watermarks(marks));
        }
    }
    check(&history).assert_clean();
}

/// Ends with the test.
struct Application(Child);

impl Drop for Application {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
