//! Not a case: consumes, transforms and produces in transactions until its input ends, however often
//! the broker dies, and prints what it did as JSON lines, for the checker of the crash tests. It may
//! itself be killed at any time; the next instance goes on with the same transactional id.
//!
//! Each line is `{"at":NANOSECONDS,...}` with the wall clock's time and one of
//!
//! | field | meaning |
//! |---|---|
//! | `"begin":txn` | a transaction begins |
//! | `"read":[txn,partition,offset,value]` | a record of the input that it takes |
//! | `"send":[txn,partition,value]` | it sends a value; its low 32 bits are the value that it took times 16, and its partition |
//! | `"stored":[txn,partition,value,offset]` | the send was acknowledged |
//! | `"committing":txn` | it asks for the commit |
//! | `"committed":txn`, `"aborted":txn` | how it ended, for certain |
//! | `"reassigned":0` | its place in the input was set anew |

use std::io::{Read, Write as _, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use rust_suite::Outcome;

/// Records that one transaction takes at most.
const RECORDS_MAX: usize = 100;
/// Longest wait for a call of the library that is tried again anyway.
const CALL_MAX: Duration = Duration::from_secs(5);
/// A transaction of a client that died is ended by the next one, not by this.
const TIMEOUT_MS: &str = "60000";

fn say(what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // A reader that is gone ends the run by ending the input, too.
    let _ = writeln!(stdout().lock(), "{{\"at\":{now},{what}}}");
}

/// Prints the sends that were acknowledged.
struct Answers;

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<(u64, u64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<(u64, u64)>) {
        if let Ok(message) = result {
            let (txn, value) = *sent;
            let (partition, offset) = (message.partition(), message.offset());
            say(&format!("\"stored\":[{txn},{partition},{value},{offset}]"));
        }
    }
}

/// Counts how often partitions were dealt out.
#[derive(Default)]
struct Rebalances(AtomicU64);

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs until the input ends, or for as long as nobody else has the transactional id.
pub fn run() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let waiting = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = stdin().read_to_end(&mut Vec::new());
        waiting.store(true, Ordering::SeqCst);
    });
    match Transform::new(&stop).and_then(|mut transform| transform.run(&stop)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn config() -> Outcome<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", std::env::var("BOOTSTRAP")?);
    config.set("log_level", "0").set("reconnect.backoff.ms", "10");
    config.set("reconnect.backoff.max.ms", "50").set("retry.backoff.ms", "20");
    Ok(config)
}

struct Transform {
    consumer: BaseConsumer<Rebalances>,
    producer: ThreadedProducer<Answers>,
    source: String,
    out: String,
    out_partitions: i32,
    /// Number of the next transaction; no other instance has the same ones.
    next: u64,
}

impl Transform {
    fn new(stop: &AtomicBool) -> Outcome<Self> {
        let source = std::env::var("TOPIC")?;
        let mut reading = config()?;
        let id = format!("transform-{source}");
        reading.set("group.id", &id).set("enable.auto.commit", "false");
        reading.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");
        reading.set("isolation.level", "read_committed").set("fetch.error.backoff.ms", "10");
        // The member of an instance that was killed is soon given up.
        reading.set("heartbeat.interval.ms", "100").set("session.timeout.ms", "6000");
        reading.set("group.instance.id", "transform");
        let mut writing = config()?;
        writing.set("transactional.id", &id).set("transaction.timeout.ms", TIMEOUT_MS);
        writing.set("linger.ms", "1");
        let transform = Self {
            consumer: reading.create_with_context(Rebalances::default())?,
            producer: writing.create_with_context(Answers)?,
            source,
            out: std::env::var("OUT")?,
            out_partitions: std::env::var("OUT_PARTITIONS")?.parse()?,
            next: std::env::var("INSTANCE")?.parse::<u64>()? << 16,
        };
        again(stop, || transform.producer.init_transactions(CALL_MAX))?;
        transform.consumer.subscribe(&[&transform.source])?;
        Ok(transform)
    }

    fn run(&mut self, stop: &AtomicBool) -> Outcome {
        while !stop.load(Ordering::SeqCst) {
            let before = self.rebalances();
            let records = self.poll();
            if self.rebalances() != before {
                // What was taken may come again from a place that was set meanwhile.
                self.rewind(stop)?;
                continue;
            }
            if records.is_empty() {
                continue;
            }
            let txn = self.next;
            self.next += 1;
            match self.transact(txn, &records, stop) {
                Ok(()) => say(&format!("\"committed\":{txn}")),
                Err(error) if is_fatal(error.as_ref()) => return Err(error),
                Err(_) => {
                    again(stop, || self.producer.abort_transaction(CALL_MAX))?;
                    say(&format!("\"aborted\":{txn}"));
                    self.rewind(stop)?;
                }
            }
        }
        Ok(())
    }

    fn rebalances(&self) -> u64 {
        self.consumer.context().0.load(Ordering::SeqCst)
    }

    /// Records for one transaction: partition, offset, value.
    fn poll(&self) -> Vec<(i32, i64, u64)> {
        let mut records = Vec::new();
        while records.len() < RECORDS_MAX {
            // What the broker's end brings as an error comes back by itself.
            let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(10)) else { break };
            let bytes = message.payload().and_then(|payload| payload.try_into().ok());
            let value = u64::from_be_bytes(bytes.unwrap_or([0xff; 8]));
            records.push((message.partition(), message.offset(), value));
        }
        records
    }

    fn transact(&self, txn: u64, records: &[(i32, i64, u64)], stop: &AtomicBool) -> Outcome {
        say(&format!("\"begin\":{txn}"));
        self.producer.begin_transaction()?;
        let mut places = TopicPartitionList::new();
        for (partition, offset, value) in records {
            say(&format!("\"read\":[{txn},{partition},{offset},{value}]"));
            self.send(txn, *partition, *value)?;
            let next = Offset::Offset(offset + 1);
            match places.find_partition(&self.source, *partition) {
                Some(mut place) => place.set_offset(next)?,
                None => places.add_partition_offset(&self.source, *partition, next)?,
            }
        }
        let group = self.consumer.group_metadata().ok_or("no group")?;
        again(stop, || self.producer.send_offsets_to_transaction(&places, &group, CALL_MAX))?;
        say(&format!("\"committing\":{txn}"));
        again(stop, || self.producer.commit_transaction(CALL_MAX))
    }

    fn send(&self, txn: u64, taken_from: i32, taken: u64) -> Outcome {
        let value = (txn << 32) | (taken << 4) | u64::try_from(taken_from)?;
        let partition = taken_from % self.out_partitions;
        say(&format!("\"send\":[{txn},{partition},{value}]"));
        let payload = value.to_be_bytes();
        let record = BaseRecord::<(), _, _>::with_opaque_to(&self.out, Box::new((txn, value)));
        let sent = self.producer.send(record.partition(partition).payload(&payload));
        sent.map_err(|(error, _)| error.into())
    }

    /// Goes back to what is committed, as what was taken since was given up.
    fn rewind(&self, stop: &AtomicBool) -> Outcome {
        let assigned = self.consumer.assignment()?;
        let mut found = assigned.clone();
        again(stop, || {
            if assigned.count() == 0 {
                return Ok(());
            }
            found = self.consumer.committed_offsets(assigned.clone(), CALL_MAX)?;
            Ok(())
        })?;
        for element in found.elements() {
            let place = match element.offset() {
                Offset::Offset(offset) => Offset::Offset(offset),
                _ => Offset::Beginning,
            };
            // Refused if the partition was taken away meanwhile: then it is read anew anyway.
            let _ = self.consumer.seek(element.topic(), element.partition(), place, CALL_MAX);
        }
        say("\"reassigned\":0");
        Ok(())
    }
}

/// Calls until it works. Ends early with what is no use to repeat, and when the run is over.
fn again(stop: &AtomicBool, mut call: impl FnMut() -> Result<(), KafkaError>) -> Outcome {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error))
                if error.is_fatal() || error.txn_requires_abort() =>
            {
                return Err(KafkaError::Transaction(error).into());
            }
            Err(error) if stop.load(Ordering::SeqCst) => return Err(error.into()),
            Err(_) => {}
        }
    }
}

fn is_fatal(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(KafkaError::Transaction(error)) if error.is_fatal())
}
