//! Not a case: producers and a group that go on until their input ends, however often the broker
//! dies, and print what they did as JSON lines, for the checker of the crash tests.
//!
//! | line | meaning |
//! |---|---|
//! | `{"send":[producer,partition,value,offset]}` | a send ended; offset null: nobody knows |
//! | `{"poll":[[partition,offset,value],...]}` | records that the consumer got |
//! | `{"reassigned":0}` | its partitions were dealt out anew |
//! | `{"commit":[partition,offset]}` | a commit was acknowledged |
//! | `{"committed":[partition,offset]}` | what the broker says is committed |

use std::fmt::Write as _;
use std::io::{Read, Write as _, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use rust_suite::Outcome;

/// Sends of one producer that are not answered yet.
const IN_FLIGHT_MAX: i32 = 50;
/// Records polled between two commits.
const COMMIT_EVERY: u32 = 20;

fn say(line: &str) {
    // A reader that is gone ends the run by ending the input, too.
    let _ = writeln!(stdout().lock(), "{line}");
}

/// Prints how each send ended.
struct Answers {
    producer: u32,
}

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, value: Box<u64>) {
        let (partition, offset) = match result {
            Ok(message) => (message.partition(), message.offset().to_string()),
            Err((_, message)) => (message.partition(), "null".to_owned()),
        };
        say(&format!("{{\"send\":[{},{partition},{value},{offset}]}}", self.producer));
    }
}

/// Prints that partitions were dealt out.
struct Rebalances;

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        say("{\"reassigned\":0}");
    }
}

/// Runs until the input ends: two producers, to the partitions that are named, and a consumer.
pub fn run() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let producers = [(11, "true"), (12, "false")].map(|(producer, idempotence)| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || produce(producer, idempotence, &stop))
    });
    let consumer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || consume(&stop))
    };
    let _ = stdin().read_to_end(&mut Vec::new());
    stop.store(true, Ordering::SeqCst);
    let mut threads: Vec<_> = producers.into();
    threads.push(consumer);
    let mut code = ExitCode::SUCCESS;
    for thread in threads {
        if let Err(reason) = thread.join().unwrap_or_else(|_| Err("panic".into())) {
            eprintln!("{reason}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn config() -> Outcome<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", std::env::var("BOOTSTRAP")?);
    config.set("log_level", "0").set("reconnect.backoff.ms", "10");
    config.set("reconnect.backoff.max.ms", "50").set("retry.backoff.ms", "20");
    Ok(config)
}

fn topic() -> Outcome<String> {
    Ok(std::env::var("TOPIC")?)
}

/// Rising values to one partition, whose number is the producer's last digit and two more.
fn produce(producer: u32, idempotence: &str, stop: &AtomicBool) -> Outcome {
    let mut config = config()?;
    config.set("enable.idempotence", idempotence).set("linger.ms", "2").set("acks", "all");
    config.set("message.timeout.ms", "300000");
    let client: BaseProducer<Answers> = config.create_with_context(Answers { producer })?;
    let (topic, partition) = (topic()?, i32::try_from(producer)? - 8);
    let mut value: u64 = 0;
    while !stop.load(Ordering::SeqCst) {
        if client.in_flight_count() < IN_FLIGHT_MAX {
            let payload = value.to_be_bytes();
            let record = BaseRecord::<(), _, _>::with_opaque_to(&topic, Box::new(value));
            if client.send(record.partition(partition).payload(&payload)).is_ok() {
                value += 1;
            }
        }
        client.poll(Duration::from_millis(2));
    }
    client.flush(Duration::from_secs(30))?;
    Ok(())
}

fn consume(stop: &AtomicBool) -> Outcome {
    let mut config = config()?;
    config.set("group.id", "history").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "50");
    config.set("heartbeat.interval.ms", "100").set("fetch.error.backoff.ms", "10");
    let client: BaseConsumer<Rebalances> = config.create_with_context(Rebalances)?;
    let topic = topic()?;
    client.subscribe(&[&topic])?;
    let mut polled = 0;
    while !stop.load(Ordering::SeqCst) {
        let Some(Ok(message)) = client.poll(Duration::from_millis(20)) else { continue };
        let bytes = message.payload().and_then(|payload| payload.try_into().ok());
        let value = u64::from_be_bytes(bytes.ok_or("a value of other than 8 bytes")?);
        say(&format!("{{\"poll\":[[{},{},{value}]]}}", message.partition(), message.offset()));
        polled += 1;
        if polled % COMMIT_EVERY == 0 {
            let mut place = TopicPartitionList::new();
            let next = Offset::Offset(message.offset() + 1);
            place.add_partition_offset(&topic, message.partition(), next)?;
            commit(&client, &place)?;
        }
    }
    Ok(())
}

/// Commits; then asks what is committed.
fn commit(client: &BaseConsumer<Rebalances>, place: &TopicPartitionList) -> Outcome {
    let offsets = |list: &TopicPartitionList| {
        let mut text = String::new();
        for element in list.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let _ = write!(text, "[{},{offset}]", element.partition());
            }
        }
        text
    };
    if client.commit(place, CommitMode::Sync).is_ok() {
        say(&format!("{{\"commit\":{}}}", offsets(place)));
    }
    if let Ok(kept) = client.committed_offsets(place.clone(), Duration::from_millis(500)) {
        let kept = offsets(&kept);
        if !kept.is_empty() {
            say(&format!("{{\"committed\":{kept}}}"));
        }
    }
    Ok(())
}
