//! A broker that stands still for a while (SIGSTOP), with producers under way and a group open, and
//! then goes on: nothing lost, nothing doubled, no committed offset gone back.

use std::time::Duration;

use super::checker::{Producer, check};
use super::support::{Broker, Storage};
use super::wire::Wire;
use super::writers::Load;
use super::{PARTITIONS, librdkafka, linger, number};

/// How long it stands still in an ordinary run, in ms: 30,000 is longer than clients wait for an
/// answer, and 45,000 longer than a session.
const PAUSE_MS: u64 = 1_500;
const PAUSES: u64 = 2;
const BETWEEN_MS: u64 = 400;

#[test]
fn a_broker_that_stood_still_goes_on_where_it_was() {
    let pause_ms = number("OTTLA_PAUSE_MS").unwrap_or(PAUSE_MS);
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let load = Load::new("paused");
    let proxy = librdkafka::proxy(&load.address);
    let advertised = format!("PLAINTEXT://{proxy}");
    let broker = Broker::start(&storage, &["--advertise", advertised.as_str()]).unwrap();
    load.address.set(broker.bootstrap());
    Wire::connect(broker.bootstrap()).unwrap().create_topic("paused", PARTITIONS).unwrap();
    let librdkafka = librdkafka::Client::start(&proxy, "paused");
    if let Err(why) = &librdkafka {
        println!("skipped: librdkafka: {why}");
    }
    // Both repeat what they got no answer to: a plain one would go on before it is known to be
    // stored, and then order is no promise.
    let mut clients: Vec<_> =
        (0..2).map(|partition| load.produce(partition, Producer::Idempotent)).collect();
    clients.extend((0..PARTITIONS).map(|partition| load.consume(partition)));
    for _ in 0..PAUSES {
        linger(BETWEEN_MS);
        broker.pause().unwrap();
        linger(pause_ms);
        broker.resume().unwrap();
    }
    linger(BETWEEN_MS);
    load.end();
    clients.into_iter().for_each(|client| client.join().unwrap());
    if let Ok(client) = librdkafka {
        client.end(&load.recorder);
    }
    load.final_read(&mut Wire::connect(broker.bootstrap()).unwrap(), PARTITIONS);
    broker.stop().unwrap();
    let report = check(&load.recorder.history());
    report.assert_clean();
    assert!(report.acknowledged > 0, "no record was acknowledged: the load did not run");
    println!("{PAUSES} pauses of {:?}; {report}", Duration::from_millis(pause_ms));
}
