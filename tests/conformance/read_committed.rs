//! Reading beside transactions (KIP-98): where read_committed ends, what it is told of, and when a
//! parked fetch goes on. The broker of this process is given the batches and markers past the wire,
//! as its coordinator gives them.

use std::sync::Arc;

use bytes::Bytes;
use ottla::clock::Clock;
use ottla::partition::{Marker, Partition};
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::fetch::{FetchRequest, PartitionData};
use ottla::protocol::messages::list_offsets::ListOffsetsRequest;
use ottla::records::{BatchBuilder, EndMarker, NewRecord, Outcome};
use ottla::types::{PartitionIndex, ProducerEpoch, ProducerId, TransactionVersion};

use super::batch::{Batch, Stored};
use super::broker::Broker;
use super::client::Client;
use super::kit::{self, FETCH};

/// A topic of one partition on a broker of the test's own.
struct Bench {
    broker: Broker,
    partition: Arc<Partition>,
    topic: String,
}

impl Bench {
    fn new() -> Self {
        let broker = Broker::start_with(|builder| builder);
        let topic = kit::topic(&mut broker.connect(), 1);
        let partition = broker.broker().partition(&topic, PartitionIndex(0)).unwrap();
        Self { broker, partition, topic }
    }

    /// A record of a producer's transaction.
    fn part(&self, producer_id: i64, sequence: i32) {
        let now = Clock::system().now();
        let (id, epoch) = (ProducerId(producer_id), ProducerEpoch(0));
        let mut batch = BatchBuilder::new().producer(id, epoch, sequence).transactional();
        let (key, value) = (None, Some(b"part".as_slice()));
        batch.push(&NewRecord { timestamp: now.wall, key, value, headers: &[] });
        let sent: Bytes = batch.build().unwrap().to_bytes();
        self.partition.append_beginning(sent, TransactionVersion::V0, now).unwrap();
    }

    fn end(&self, producer_id: i64, outcome: Outcome) {
        let marker = Marker {
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(0),
            end: EndMarker { outcome, coordinator_epoch: 0 },
            version: TransactionVersion::V0,
        };
        self.partition.append_marker(&marker, Clock::system().now()).unwrap();
    }

    fn plain(&self, client: &mut Client) {
        kit::produced(client, &self.topic, 0, Batch::of(&["plain"]));
    }

    fn request(&self, offset: i64, isolation_level: i8) -> FetchRequest {
        FetchRequest { isolation_level, ..kit::fetch_request(&self.topic, 0, offset) }
    }

    fn fetch(&self, client: &mut Client, offset: i64, isolation_level: i8) -> PartitionData {
        kit::only_partition(&client.call(FETCH, &self.request(offset, isolation_level)))
    }
}

/// Base offsets of the batches, and what is told of aborted transactions.
fn told(data: &PartitionData) -> (Vec<i64>, Option<Vec<(i64, i64)>>) {
    let batches = Stored::all(&kit::record_bytes(data));
    let aborted = data.aborted_transactions.as_ref();
    let aborted = aborted.map(|all| all.iter().map(|it| (it.producer_id, it.first_offset)));
    (batches.iter().map(|batch| batch.base_offset).collect(), aborted.map(Iterator::collect))
}

#[test]
fn committed_records_end_where_the_oldest_open_transaction_begins() {
    let bench = Bench::new();
    let mut client = bench.broker.connect();
    bench.plain(&mut client); // 0
    bench.part(5, 0); // 1
    bench.plain(&mut client); // 2
    let committed = bench.fetch(&mut client, 0, 1);
    assert_eq!((committed.last_stable_offset, committed.high_watermark), (1, 3));
    assert_eq!(told(&committed), (vec![0], Some(vec![])));
    assert_eq!(told(&bench.fetch(&mut client, 2, 1)), (vec![], Some(vec![])));
    let all = bench.fetch(&mut client, 0, 0);
    assert_eq!((all.last_stable_offset, all.high_watermark), (1, 3));
    assert_eq!(told(&all), (vec![0, 1, 2], None));
    bench.end(5, Outcome::Commit); // 3
    let committed = bench.fetch(&mut client, 0, 1);
    assert_eq!((committed.last_stable_offset, committed.high_watermark), (4, 4));
    assert_eq!(told(&committed), (vec![0, 1, 2, 3], Some(vec![])));
}

#[test]
fn aborted_transactions_are_told_by_first_offset_as_far_as_they_reach_into_the_records() {
    let bench = Bench::new();
    let mut client = bench.broker.connect();
    bench.part(7, 0); // 0
    bench.part(6, 0); // 1
    bench.end(6, Outcome::Abort); // 2
    bench.part(6, 1); // 3
    bench.end(6, Outcome::Commit); // 4
    bench.end(7, Outcome::Abort); // 5
    bench.plain(&mut client); // 6
    let id = kit::topic_id(&mut client, &bench.topic);
    for version in 4..=17 {
        let mut request = bench.request(0, 1);
        request.topics[0].topic_id = id;
        let data = kit::only_partition(&client.call(version, &request));
        let expected = (vec![0, 1, 2, 3, 4, 5, 6], Some(vec![(7, 0), (6, 1)]));
        assert_eq!(told(&data), expected, "version {version}");
    }
    assert_eq!(told(&bench.fetch(&mut client, 3, 1)), (vec![3, 4, 5, 6], Some(vec![(7, 0)])));
    assert_eq!(told(&bench.fetch(&mut client, 6, 1)), (vec![6], Some(vec![])));
    assert_eq!(told(&bench.fetch(&mut client, 7, 1)), (vec![], Some(vec![])));
    let beyond = bench.fetch(&mut client, 99, 1);
    assert_eq!(beyond.error_code, ErrorCode::OffsetOutOfRange);
    assert_eq!((beyond.aborted_transactions, beyond.last_stable_offset), (None, -1));
}

#[test]
fn list_offsets_ends_at_the_last_stable_offset_for_who_reads_committed() {
    let bench = Bench::new();
    let mut client = bench.broker.connect();
    bench.plain(&mut client); // 0
    bench.part(5, 0); // 1
    bench.plain(&mut client); // 2
    let mut ask = |isolation_level, timestamp| {
        let request = ListOffsetsRequest {
            isolation_level,
            ..kit::list_offsets_request(&bench.topic, 0, timestamp)
        };
        client.call(9, &request).topics[0].partitions[0].offset
    };
    assert_eq!((ask(0, -1), ask(1, -1)), (3, 1));
    assert_eq!((ask(0, -2), ask(1, -2)), (0, 0));
    assert_eq!(ask(1, 0), 0);
    bench.end(5, Outcome::Abort); // 3
    assert_eq!((ask(0, -1), ask(1, -1)), (4, 4));
}

#[test]
fn a_parked_fetch_of_committed_records_goes_on_with_the_marker() {
    let bench = Bench::new();
    let mut client = bench.broker.connect();
    for (outcome, sequence) in [(Outcome::Commit, 0), (Outcome::Abort, 1)] {
        let offset = bench.partition.watermarks().last_stable.0;
        bench.part(5, sequence);
        let request = FetchRequest { max_wait_ms: 30_000, ..bench.request(offset, 1) };
        let sent = client.send(FETCH, &request);
        bench.plain(&mut bench.broker.connect());
        assert!(!client.is_answered());
        bench.end(5, outcome);
        let data = kit::only_partition(&client.receive(sent));
        let aborted = if outcome == Outcome::Abort { vec![(5, offset)] } else { vec![] };
        assert_eq!(told(&data), (vec![offset, offset + 1, offset + 2], Some(aborted)));
    }
}

#[test]
fn deleting_records_leaves_the_last_stable_offset_at_the_start() {
    let bench = Bench::new();
    let mut client = bench.broker.connect();
    bench.part(5, 0); // 0
    bench.plain(&mut client); // 1
    assert_eq!(kit::delete_records(&mut client, &bench.topic, 0, 2).low_watermark, 2);
    bench.plain(&mut client); // 2
    let data = bench.fetch(&mut client, 2, 1);
    assert_eq!((data.log_start_offset, data.last_stable_offset, data.high_watermark), (2, 2, 3));
    bench.end(5, Outcome::Abort); // 3
    assert_eq!(told(&bench.fetch(&mut client, 2, 1)), (vec![2, 3], Some(vec![(5, 0)])));
}
