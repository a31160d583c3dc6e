//! librdkafka under the same crashes: the suite in `tests/clients/rdkafka`, which goes on until its
//! input ends and prints what it did. It always speaks to one address, behind which the broker may
//! come and go.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::spawn;
use std::time::Duration;

use serde_json::Value as Json;

use super::checker::{Event, Isolation, Outcome, Poll, Producer, Promise, Recorder, Seen, Send};
use super::suites;
use super::support::wait_until;
use super::writers::Address;

/// Longest time to end: what is under way has to be answered first.
const END_MAX: Duration = Duration::from_secs(60);
/// Numbers of its group and its consumer in the history.
const GROUP: u32 = 100;
const CONSUMER: u32 = 100;

/// Its producers, and that it needs five partitions.
pub(crate) const PRODUCERS: [(u32, Producer); 2] =
    [(11, Producer::Idempotent), (12, Producer::Resends)];

/// An address that leads to wherever the broker is.
pub(crate) fn proxy(to: &Address) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = to.clone();
    spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(to.get()) else { continue };
            let (Ok(from), Ok(into)) = (client.try_clone(), server.try_clone()) else { continue };
            spawn(move || pass(from, into));
            spawn(move || pass(server, client));
        }
    });
    address
}

/// Passes bytes on until one side ends; then ends both.
fn pass(mut from: TcpStream, mut into: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || into.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = into.shutdown(Shutdown::Both);
}

/// The running client.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    files: tempfile::TempDir,
}

impl Client {
    /// Starts it; `Err` says why it is not there. With `OTTLA_REQUIRE_CLIENTS=1` it has to be.
    pub(crate) fn start(bootstrap: &str, topic: &str) -> Result<Self, String> {
        let home = suites::prepare("rdkafka")?;
        let files = tempfile::tempdir().unwrap();
        let output = File::create(files.path().join("output")).unwrap();
        let child = Command::new(suites::folder("rdkafka").join("run"))
            .env("SUITE_HOME", home)
            .env("BOOTSTRAP", bootstrap)
            .env("TOPIC", topic)
            .env("PHASE", "history")
            .stdin(Stdio::piped())
            .stdout(output)
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { child, files })
    }

    /// Ends it and puts down what it did.
    pub(crate) fn end(mut self, recorder: &Recorder) {
        drop(self.child.stdin.take());
        let mut status = None;
        wait_until(END_MAX, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "the client: {status:?}");
        for (producer, kind) in PRODUCERS {
            recorder.note(Event::Producer { producer, kind });
        }
        let text = std::fs::read_to_string(self.files.path().join("output")).unwrap();
        for line in text.lines() {
            recorder
                .note(event(line).unwrap_or_else(|| panic!("not a line of the client: {line}")));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(line: &str) -> Option<Event> {
    let line: Json = serde_json::from_str(line).ok()?;
    let (name, value) = line.as_object()?.iter().next()?;
    let number = |index: usize| value.get(index)?.as_i64();
    let partition = |index: usize| i32::try_from(number(index)?).ok();
    Some(match name.as_str() {
        "send" => Event::Send(Send {
            producer: u32::try_from(number(0)?).ok()?,
            partition: partition(1)?,
            value: number(2)?.unsigned_abs(),
            promise: Promise::Kept,
            outcome: number(3).map_or(Outcome::Info, Outcome::Ok),
            txn: None,
        }),
        "poll" => {
            let records = value.as_array()?.iter().map(seen).collect::<Option<_>>()?;
            let isolation = Isolation::Committed;
            Event::Poll(Poll { consumer: CONSUMER, isolation, records, txn: None })
        }
        "reassigned" => Event::Reassigned { consumer: CONSUMER },
        "commit" => Event::Commit { group: GROUP, partition: partition(0)?, offset: number(1)? },
        "committed" => {
            Event::Committed { group: GROUP, partition: partition(0)?, offset: number(1)? }
        }
        _ => return None,
    })
}

fn seen(record: &Json) -> Option<Seen> {
    let number = |index: usize| record.get(index)?.as_i64();
    let partition = i32::try_from(number(0)?).ok()?;
    Some(Seen { partition, offset: number(1)?, value: number(2)?.unsigned_abs() })
}
