//! Faults on purpose, through the embedding API: each befalls the requests that its rule names, and
//! no others.

use std::process::{Command, Stdio};
use std::time::Duration;

use ottla::clock::Clock;
use ottla::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla::protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use ottla::protocol::messages::describe_transactions::DescribeTransactionsRequest;
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::list_transactions::ListTransactionsRequest;
use ottla::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use ottla::protocol::{ApiKey, ErrorCode};
use ottla::{Fault, FaultRule};

use super::batch::Batch;
use super::broker::Broker;
use super::client::Client;
use super::kit::{self, FETCH, PRODUCE};

fn with(rules: impl IntoIterator<Item = FaultRule>) -> Broker {
    with_seed(rules, 1)
}

fn with_seed(rules: impl IntoIterator<Item = FaultRule>, seed: u64) -> Broker {
    Broker::start_with(|builder| builder.faults(rules.into_iter().collect(), seed))
}

fn produce_code(client: &mut Client, topic: &str) -> ErrorCode {
    kit::produce(client, topic, 0, Batch::of(&["a"])).error_code
}

#[test]
fn an_error_comes_once_and_without_effect() {
    let error = Fault::Error(ErrorCode::NotLeaderOrFollower);
    let broker = with([FaultRule::new(error).api(ApiKey::Produce).topic("hit").nth(2)]);
    let mut client = broker.connect();
    for name in ["hit", "spared"] {
        kit::create_topic(&mut client, name, 1, &[]);
    }
    let codes: Vec<_> = (0..3).map(|_| produce_code(&mut client, "hit")).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::NotLeaderOrFollower, ErrorCode::None]);
    assert_eq!(kit::end_offset(&mut client, "hit", 0), 2);
    for _ in 0..3 {
        assert_eq!(produce_code(&mut client, "spared"), ErrorCode::None);
    }
}

#[test]
fn a_topic_is_known_by_its_id_too() {
    let error = Fault::Error(ErrorCode::KafkaStorageError);
    let broker = with([FaultRule::new(error).topic("hit").api(ApiKey::Fetch)]);
    let mut client = broker.connect();
    kit::create_topic(&mut client, "hit", 1, &[]);
    let mut request = kit::fetch_request("hit", 0, 0);
    request.topics[0].topic_id = kit::topic_id(&mut client, "hit");
    for version in [FETCH, 18] {
        let row = kit::only_partition(&client.call(version, &request));
        assert_eq!(row.error_code, ErrorCode::KafkaStorageError, "version {version}");
    }
}

#[test]
fn a_request_can_be_late() {
    let broker = with([FaultRule::new(Fault::Delay(200)).api(ApiKey::Metadata).client_id("slow")]);
    let (mut slow, mut other) = (broker.connect(), broker.connect());
    slow.client_id = Some("slow".to_owned());
    let clock = Clock::system();
    let sent = slow.send(4, &kit::metadata_request(&[]));
    other.call(4, &kit::metadata_request(&[]));
    assert!(!slow.is_answered() || clock.elapsed() >= Duration::from_millis(195));
    assert_eq!(slow.receive(sent).brokers.len(), 1);
    assert!(clock.elapsed() >= Duration::from_millis(195), "after {:?}", clock.elapsed());
}

#[test]
fn a_request_or_its_answer_can_be_lost() {
    let of = |fault, client_id| FaultRule::new(fault).api(ApiKey::Produce).client_id(client_id);
    let broker = with([of(Fault::Drop, "dropped").nth(1), of(Fault::Disconnect, "cut")]);
    let mut client = broker.connect();
    let topic = kit::topic(&mut client, 1);
    client.client_id = Some("dropped".to_owned());
    let _lost = client.send(PRODUCE, &kit::produce_request(&topic, 0, Batch::of(&["lost"])));
    assert_eq!(kit::produced(&mut client, &topic, 0, Batch::of(&["first"])), 0);
    client.client_id = Some("cut".to_owned());
    let _cut = client.send(PRODUCE, &kit::produce_request(&topic, 0, Batch::of(&["second"])));
    client.expect_closed();
    assert_eq!(kit::end_offset(&mut broker.connect(), &topic, 0), 2);
}

/// The codes of the partitions of a topic in every request of transactions that names one.
fn codes_by_topic(client: &mut Client, topic: &str) -> Vec<(ApiKey, Vec<ErrorCode>)> {
    let (name, partitions) = (topic.to_owned(), vec![0, 1]);
    let topics = vec![AddPartitionsToTxnTopic { name, partitions }];
    let transaction =
        AddPartitionsToTxnTransaction { topics: topics.clone(), ..Default::default() };
    let added = AddPartitionsToTxnRequest { v3_and_below_topics: topics, ..Default::default() };
    let added = client.call(3, &added).results_by_topic_v3_and_below.remove(0);
    let batched =
        AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() };
    let mut batched = client.call(4, &batched).results_by_transaction.remove(0);
    let added = [added, batched.topic_results.remove(0)].map(|topic| {
        topic.results_by_partition.iter().map(|row| row.partition_error_code).collect::<Vec<_>>()
    });

    let partition =
        |partition_index| TxnOffsetCommitRequestPartition { partition_index, ..Default::default() };
    let partitions = vec![partition(0), partition(1)];
    let topics = vec![TxnOffsetCommitRequestTopic { name: topic.to_owned(), partitions }];
    let commit = TxnOffsetCommitRequest { topics, ..Default::default() };
    let committed = client.call(3, &commit).topics.remove(0).partitions;

    let (name, partition_indexes) = (topic.to_owned(), vec![0, 1]);
    let topics = vec![WritableTxnMarkerTopic { name, partition_indexes }];
    let marker = WritableTxnMarker { producer_id: 4242, topics, ..Default::default() };
    let mut written = client.call(1, &WriteTxnMarkersRequest { markers: vec![marker] });
    let written = written.markers.remove(0).topics.remove(0).partitions;

    let (name, partition_indexes) = (topic.to_owned(), vec![0, 1]);
    let request =
        DescribeProducersRequest { topics: vec![TopicRequest { name, partition_indexes }] };
    let described = client.call(0, &request).topics.remove(0).partitions;
    let [added, batched] = added;
    vec![
        (ApiKey::AddPartitionsToTxn, added),
        (ApiKey::AddPartitionsToTxn, batched),
        (ApiKey::TxnOffsetCommit, committed.iter().map(|row| row.error_code).collect()),
        (ApiKey::WriteTxnMarkers, written.iter().map(|row| row.error_code).collect()),
        (ApiKey::DescribeProducers, described.iter().map(|row| row.error_code).collect()),
    ]
}

#[test]
fn requests_of_transactions_are_refused_by_topic() {
    let code = ErrorCode::KafkaStorageError;
    let broker = with([FaultRule::new(Fault::Error(code)).topic("hit").client_id("refused")]);
    let mut client = broker.connect();
    for name in ["hit", "spared"] {
        kit::create_topic(&mut client, name, 2, &[]);
    }
    client.client_id = Some("refused".to_owned());
    for (api, codes) in codes_by_topic(&mut client, "hit") {
        assert_eq!(codes, [code; 2], "{api:?}");
    }
    for (api, codes) in codes_by_topic(&mut client, "spared") {
        assert!(codes.len() == 2 && !codes.contains(&code), "{api:?}: {codes:?}");
    }
}

#[test]
fn requests_of_transactions_are_refused_whole() {
    let code = ErrorCode::CoordinatorNotAvailable;
    let broker = with([FaultRule::new(Fault::Error(code)).client_id("refused")]);
    let mut client = broker.connect();
    client.client_id = Some("refused".to_owned());
    let id = || "id".to_owned();
    let init = InitProducerIdRequest { transactional_id: Some(id()), ..Default::default() };
    let init = client.call(4, &init);
    assert_eq!((init.error_code, init.producer_id, init.producer_epoch), (code, -1, -1));
    let offsets = AddOffsetsToTxnRequest { transactional_id: id(), ..Default::default() };
    assert_eq!(client.call(3, &offsets).error_code, code);
    let end = client.call(5, &EndTxnRequest { transactional_id: id(), ..Default::default() });
    assert_eq!((end.error_code, end.producer_id, end.producer_epoch), (code, -1, -1));
    assert_eq!(client.call(1, &ListTransactionsRequest::default()).error_code, code);
    let describe = DescribeTransactionsRequest { transactional_ids: vec![id(), id()] };
    let states = client.call(0, &describe).transaction_states;
    assert_eq!(states.iter().map(|state| state.error_code).collect::<Vec<_>>(), [code; 2]);
}

#[test]
fn the_same_seed_chooses_the_same_requests() {
    let chosen = |seed| -> Vec<bool> {
        let error = Fault::Error(ErrorCode::CoordinatorLoadInProgress);
        let rule = FaultRule::new(error).api(ApiKey::ListOffsets).percent(40);
        let broker = with_seed([rule], seed);
        let mut client = broker.connect();
        let topic = kit::topic(&mut client, 1);
        let ask = |_| kit::list_offsets(&mut client, &topic, 0, -1).error_code.is_error();
        (0..60).map(ask).collect()
    };
    let one = chosen(7);
    assert_eq!(one, chosen(7));
    assert_ne!(one, chosen(8));
    let count = one.iter().filter(|is_chosen| **is_chosen).count();
    assert!((10..40).contains(&count), "{count} of 60");
}

#[test]
fn a_client_that_tries_again_gets_through() {
    let rules = [
        FaultRule::new(Fault::Error(ErrorCode::NotLeaderOrFollower)).api(ApiKey::Produce).nth(1),
        FaultRule::new(Fault::Delay(50)).api(ApiKey::Metadata).nth(1),
    ];
    let broker = with(rules);
    let topic = kit::topic(&mut broker.connect(), 1);
    let mut producer = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["produce", &topic, "-b", broker.address()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut producer.stdin.take().unwrap(), b"through\n").unwrap();
    assert!(producer.wait().unwrap().success());
    assert_eq!(kit::end_offset(&mut broker.connect(), &topic, 0), 1);
}
