//! `txn`: what a producer has open is seen and ended, also where the coordinator knows nothing of it.

use ottla::client::{Address, Connection, Options};
use ottla::clock::Clock;
use ottla::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::{ErrorCode, Request};
use ottla::records::{BatchBuilder, NewRecord};
use ottla::types::{ProducerEpoch, ProducerId, Timestamp};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::commands::Cluster;

const ANSWER_MAX_MS: u64 = 30_000;

/// A transactional producer of the versions before KIP-890.
struct Producer {
    runtime: Runtime,
    connection: Connection,
    id: String,
    producer_id: i64,
    producer_epoch: i16,
}

impl Producer {
    fn start(cluster: &Cluster, id: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = Address::parse_list(cluster.bootstrap()).unwrap().remove(0);
        let (clock, options) = (Clock::system(), Options::default());
        let connection = runtime.block_on(Connection::open(&address, &clock, &options)).unwrap();
        let id = id.to_owned();
        let mut producer = Self { runtime, connection, id, producer_id: -1, producer_epoch: -1 };
        let request = InitProducerIdRequest {
            transactional_id: Some(producer.id.clone()),
            transaction_timeout_ms: 60_000,
            producer_epoch: -1,
            ..Default::default()
        };
        let answer = producer.call(4, &request);
        assert_eq!(answer.error_code, ErrorCode::None);
        producer.producer_id = answer.producer_id;
        producer.producer_epoch = answer.producer_epoch;
        producer
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let answer = async {
            let sent = self.connection.send(version, request).await.unwrap();
            self.connection.receive(sent, ANSWER_MAX_MS).await.unwrap()
        };
        self.runtime.block_on(answer)
    }

    fn add(&mut self, topic: &str, partitions: &[i32]) {
        let topic =
            AddPartitionsToTxnTopic { name: topic.to_owned(), partitions: partitions.to_vec() };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.producer_epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let answer = self.call(3, &request);
        let rows = &answer.results_by_topic_v3_and_below[0].results_by_partition;
        assert!(rows.iter().all(|row| row.partition_error_code == ErrorCode::None), "{rows:?}");
    }

    fn produce(&mut self, topic: &str, partition: i32) {
        let (id, epoch) = (ProducerId(self.producer_id), ProducerEpoch(self.producer_epoch));
        let mut batch = BatchBuilder::new().producer(id, epoch, 0).transactional();
        let (timestamp, value) = (Timestamp(1_700_000_000_000), Some(b"v".as_slice()));
        batch.push(&NewRecord { timestamp, key: None, value, headers: &[] });
        let records = Some(batch.build().unwrap().to_bytes());
        let data = PartitionProduceData { index: partition, records };
        let topic = TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![data],
            ..Default::default()
        };
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
        };
        let answer = self.call(11, &request);
        let row = &answer.responses[0].partition_responses[0];
        assert_eq!(row.error_code, ErrorCode::None);
    }

    fn commit(&mut self) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            committed: true,
        };
        self.call(4, &request).error_code
    }
}

#[test]
fn an_open_transaction_is_found_and_aborted() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "3"]).ok();
    let mut producer = Producer::start(&cluster, "pay-1");
    assert_eq!(
        cluster.run(&["txn", "abort", "pay-1"]).ok(),
        "transactional id pay-1 has nothing open: Empty"
    );
    producer.add("t", &[0, 2]);
    producer.produce("t", 2);
    let described = cluster.run(&["txn", "describe", "pay-1", "--json"]).json();
    let found = &described["transactions"][0];
    assert_eq!(found["state"], json!("Ongoing"));
    assert_eq!(found["producer_id"], json!(producer.producer_id));
    assert_eq!(found["timeout_ms"], json!(60_000));
    assert!(found["age_ms"].as_u64().unwrap() <= 600_000, "{found}");
    let partitions = json!([{ "topic": "t", "partition": 0 }, { "topic": "t", "partition": 2 }]);
    assert_eq!(found["partitions"], partitions);
    let text = cluster.run(&["txn", "describe", "pay-1"]).ok();
    assert!(text.contains("pay-1: Ongoing, ") && text.contains("timeout 1m"), "{text}");
    assert!(text.ends_with("TOPIC  PARTITION\nt      0\nt      2"), "{text}");
    let open = cluster.run(&["txn", "describe", "--partitions", "t", "--json"]).json();
    assert_eq!(open["open"].as_array().unwrap().len(), 1);
    let open = &open["open"][0];
    assert_eq!((&open["partition"], &open["first_offset"]), (&json!(2), &json!(0)));
    assert_eq!((&open["transactional_id"], &open["hanging"]), (&json!("pay-1"), &json!(false)));

    let number = producer.producer_id.to_string();
    let at = ["--topic", "t", "--partition", "2", "--producer-id", &number];
    let error = cluster.run(&[&["txn", "abort"][..], &at].concat()).fails(1);
    assert!(error.contains("`ottla txn abort pay-1` ends everywhere"), "{error}");
    let told = cluster.run(&["txn", "abort", "pay-1", "--dry-run"]).ok();
    assert!(told.contains("would be aborted in 2 partitions"), "{told}");
    let told = cluster.run(&["txn", "abort", "pay-1"]).ok();
    assert!(told.contains("is aborted in 2 partitions"), "{told}");
    assert_eq!(producer.commit(), ErrorCode::ProducerFenced);
    let open = cluster.run(&["txn", "describe", "--partitions", "t:2", "--json"]).json();
    assert_eq!(open, json!({ "transactions": [], "open": [] }));
    let again = cluster.run(&["txn", "abort", "pay-1", "--json"]).json();
    assert_eq!(again[0]["aborted"], json!(false));
}

#[test]
fn ids_are_listed_by_filter() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t"]).ok();
    let idle = Producer::start(&cluster, "idle");
    let mut busy = Producer::start(&cluster, "pay-1");
    busy.add("t", &[0]);
    let ids = |args: &[&str]| {
        let listed = cluster.run(&[&["txn", "list", "--json"], args].concat()).json();
        let rows = listed.as_array().unwrap().clone();
        rows.iter().map(|row| row["transactional_id"].as_str().unwrap().to_owned()).collect()
    };
    let check = |args: &[&str], expected: &[&str]| {
        let found: Vec<String> = ids(args);
        assert_eq!(found, expected, "{args:?}");
    };
    check(&[], &["idle", "pay-1"]);
    check(&["--state", "ongoing"], &["pay-1"]);
    check(&["--state", "Empty,Ongoing"], &["idle", "pay-1"]);
    check(&["--state", "CompleteAbort"], &[]);
    check(&["--producer-id", &idle.producer_id.to_string()], &["idle"]);
    check(&["--longer-than", "0s"], &["pay-1"]);
    check(&["--longer-than", "1h"], &[]);
    check(&["--pattern", "pay-.*"], &["pay-1"]);
    check(&["--pattern", "pay"], &[]);
    let table = cluster.run(&["txn", "list", "--state", "Ongoing"]).ok();
    assert_eq!(table.lines().count(), 2, "{table}");
    let error = cluster.run(&["txn", "list", "--state", "open"]).fails(2);
    assert!(error.starts_with("error: \"open\" is no state of a transaction: "), "{error}");
    let error = cluster.run(&["txn", "list", "--pattern", "("]).fails(1);
    assert!(error.contains("INVALID_REGULAR_EXPRESSION (128)"), "{error}");
}

#[test]
fn what_is_not_there_is_said() {
    let cluster = Cluster::start();
    let unknown = "error: transactional id x does not exist: `ottla txn list` shows those that do";
    for args in [&["txn", "describe", "x"][..], &["txn", "abort", "x"]] {
        assert_eq!(cluster.run(args).fails(1), unknown, "{args:?}");
    }
    let error = cluster.run(&["txn", "describe", "--partitions", "nope"]).fails(1);
    assert!(error.starts_with("error: topic nope does not exist"), "{error}");
    for args in [
        &["txn", "describe"][..],
        &["txn", "abort"],
        &["txn", "abort", "x", "--producer-id", "1"],
        &["txn", "abort", "--producer-id", "1"],
        &["txn", "abort", "--topic", "t", "--partition", "0"],
        &["txn", "describe", "--partitions", "t:x"],
        &["txn", "list", "--longer-than", "soon"],
    ] {
        let error = cluster.run(args).fails(2);
        assert!(error.starts_with("error: "), "{args:?}: {error}");
    }
}

/// Without verification a batch may begin a transaction that the coordinator never hears of.
#[test]
fn a_transaction_that_hangs_is_found_and_aborted() {
    let unverified = ["--set", "transaction.partition.verification.enable=false"];
    let cluster = Cluster::start_with(&unverified);
    cluster.run(&["topic", "create", "t", "-p", "2"]).ok();
    let mut producer = Producer::start(&cluster, "old");
    producer.produce("t", 1);
    let open = cluster.run(&["txn", "describe", "--partitions", "t", "--json"]).json();
    let open = &open["open"][0];
    assert_eq!((&open["transactional_id"], &open["hanging"]), (&json!(null), &json!(true)));
    let text = cluster.run(&["txn", "describe", "--partitions", "t:1"]).ok();
    assert!(text.ends_with("- (hangs)"), "{text}");

    let number = producer.producer_id.to_string();
    let abort = |more: &[&str]| {
        let at = ["txn", "abort", "--topic", "t", "--partition", "1", "--producer-id", &number];
        cluster.run(&[&at[..], more].concat())
    };
    let told = abort(&["--dry-run"]).ok();
    assert!(told.ends_with("in t-1 at offset 0 would be aborted"), "{told}");
    assert!(abort(&[]).ok().ends_with("in t-1 at offset 0 is aborted"));
    assert_eq!(abort(&[]).ok(), format!("producer {number} has nothing open in t-1"));
    assert_eq!(abort(&["--json"]).json()["aborted"], json!(false));
    let open = cluster.run(&["txn", "describe", "--partitions", "t", "--json"]).json();
    assert_eq!(open["open"], json!([]));
}
