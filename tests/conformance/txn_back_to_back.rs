//! Transactions without a pause between them, of one producer and of many at once: no answer on the
//! wire tells to come again (51), or refuses anything else. `OTTLA_TRANSACTIONS` says how many one
//! producer ends, 10,000 in the full run.
//!
//! Differs from Kafka: there a client that is quick meets 51 while the markers are written.

use ottla::config::value::Durability;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::produce::ProduceRequest;

use super::batch::Batch;
use super::broker::Broker;
use super::client::Client;
use super::kit;

/// In an ordinary run, of one producer.
const TRANSACTIONS: u64 = 2_000;
const PRODUCERS: u64 = 20;
/// Of each of them, a part of what one producer ends.
const SHARE: u64 = 10;
const TRANSACTIONAL: i16 = 0x10;

/// What the transactions of one producer look like.
#[derive(Clone, Copy)]
enum Rules {
    /// The client adds the partition, and keeps its epoch.
    BeforeKip890,
    /// The broker adds the partition, and each end raises the epoch.
    Kip890,
}

struct Producer {
    client: Client,
    id: String,
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i16,
    sequence: i32,
}

impl Producer {
    fn start(mut client: Client, topic: &str, partition: i32) -> Self {
        let id = kit::unique("txn");
        let request = InitProducerIdRequest {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let answer = client.call(4, &request);
        assert_eq!(answer.error_code, ErrorCode::None);
        let (producer_id, producer_epoch) = (answer.producer_id, answer.producer_epoch);
        let topic = topic.to_owned();
        Self { client, id, topic, partition, producer_id, producer_epoch, sequence: 0 }
    }

    /// One transaction of one record. Nothing in it may be refused.
    fn transact(&mut self, rules: Rules, round: u64) {
        let (produce_version, end_version) = match rules {
            Rules::BeforeKip890 => (11, 3),
            Rules::Kip890 => (12, 5),
        };
        if matches!(rules, Rules::BeforeKip890) {
            self.add();
        }
        self.produce(produce_version, self.partition, round);
        self.end(end_version, rules, round);
    }

    fn produce(&mut self, version: i16, partition: i32, round: u64) {
        let mut batch =
            Batch::of(&["v"]).producer(self.producer_id, self.producer_epoch, self.sequence);
        batch.attributes |= TRANSACTIONAL;
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone()),
            ..kit::produce_request(&self.topic, partition, batch)
        };
        let answer = self.client.call(version, &request);
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, ErrorCode::None, "record of round {round}");
    }

    fn end(&mut self, version: i16, rules: Rules, round: u64) {
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            committed: round.is_multiple_of(2),
        };
        let answer = self.client.call(version, &request);
        assert_eq!(answer.error_code, ErrorCode::None, "end of round {round}");
        self.sequence += 1;
        if matches!(rules, Rules::Kip890) {
            // Where the epochs run out the producer gets a new id.
            self.producer_id = answer.producer_id;
            self.producer_epoch = answer.producer_epoch;
            self.sequence = 0;
        }
    }

    fn add(&mut self) {
        let (name, partitions) = (self.topic.clone(), vec![self.partition]);
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.producer_epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic { name, partitions }],
            ..Default::default()
        };
        let answer = self.client.call(3, &request);
        let row = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(row.partition_error_code, ErrorCode::None);
    }
}

fn transactions() -> u64 {
    let asked = std::env::var("OTTLA_TRANSACTIONS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(TRANSACTIONS)
}

#[test]
fn of_one_producer() {
    let broker = Broker::start_with(|builder| builder);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    let mut producer = Producer::start(broker.connect(), &topic, 0);
    for round in 0..transactions() {
        let is_old = round < transactions() / 2;
        let rules = if is_old { Rules::BeforeKip890 } else { Rules::Kip890 };
        producer.transact(rules, round);
    }
    kit::until("the last marker is there", || {
        u64::try_from(kit::end_offset(&mut client, &topic, 0)) == Ok(2 * transactions())
    });
}

#[test]
fn of_many_producers_at_once() {
    let broker = Broker::start_with(|builder| builder);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 4);
    let each = transactions() / SHARE;
    std::thread::scope(|scope| {
        for place in 0..PRODUCERS {
            let (broker, topic) = (&broker, &topic);
            scope.spawn(move || {
                let partition = i32::try_from(place % 4).unwrap();
                let mut producer = Producer::start(broker.connect(), topic, partition);
                let rules = if place % 3 == 0 { Rules::BeforeKip890 } else { Rules::Kip890 };
                for round in 0..each {
                    producer.transact(rules, round);
                }
            });
        }
    });
    let counts = broker.broker().transaction_counts();
    assert_eq!(counts.open, 0);
    for partition in 0..4 {
        kit::until("the last marker is there", || {
            let end = kit::end_offset(&mut client, &topic, partition);
            u64::try_from(end) == Ok(2 * each * PRODUCERS / 4)
        });
    }
}

/// Where an answer waits for no disk the markers still do: all of them for the same sync.
#[test]
fn over_many_partitions_without_a_sync_before_each_answer() {
    const PARTITIONS: i32 = 100;
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start_with(|builder| {
        let builder = builder.data_dir(folder.path());
        builder.with_config(|config| config.ottla_durability = Durability::Os)
    });
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, PARTITIONS);
    let mut producer = Producer::start(broker.connect(), &topic, 0);
    for round in 0..5 {
        for partition in 0..PARTITIONS {
            producer.produce(12, partition, round);
        }
        let before = broker.broker().flusher.rounds().count;
        producer.end(5, Rules::Kip890, round);
        kit::until("the transaction has ended", || {
            broker.broker().transaction_counts().ending == 0
        });
        let rounds = broker.broker().flusher.rounds().count - before;
        assert!(rounds < 20, "{rounds} rounds of syncs");
    }
}
