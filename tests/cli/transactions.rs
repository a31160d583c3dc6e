//! The client beneath the commands: committed records are read, aborted ones are not, and who takes a transactional id
//! fences whoever had it.

use ottla::broker::{PartitionRecords, TopicRef, TransactionWrites};
use ottla::client::cluster::ToSend;
use ottla::client::{Address, Client, Isolation, NamedPartition, Options, Position};
use ottla::clock::Clock;
use ottla::protocol::ErrorCode;
use ottla::records::{BatchBuilder, NewRecord};
use ottla::types::{Offset, PartitionIndex, Timestamp};

use crate::services::Shop;

const TIMEOUT_MS: u64 = 30_000;

fn record(value: &str) -> ToSend {
    ToSend {
        topic: "t".into(),
        partition: Some(PartitionIndex(0)),
        key: None,
        value: Some(value.to_owned().into()),
        headers: Vec::new(),
        timestamp: None,
    }
}

async fn client(shop: &Shop) -> Client {
    let bootstrap = Address::parse_list(&shop.bootstrap).unwrap();
    Client::connect(&bootstrap, Clock::system(), Options::default()).await.unwrap()
}

/// The values that readers of this kind are given.
async fn read(client: &mut Client, isolation: Isolation) -> Vec<String> {
    let at = NamedPartition::new("t", 0);
    let position = match isolation {
        Isolation::Committed => Position::StableEnd,
        Isolation::Uncommitted => Position::End,
    };
    let end = client.offsets(std::slice::from_ref(&at), position).await.unwrap()[&at];
    let (mut offset, mut values) = (Offset(0), Vec::new());
    while offset < end {
        for fetched in client.fetch_as(isolation, &[(at.clone(), offset)], 100).await.unwrap() {
            offset = fetched.next_offset;
            let texts = fetched.records.into_iter().filter_map(|record| record.value);
            values.extend(texts.map(|value| String::from_utf8(value.to_vec()).unwrap()));
        }
    }
    values
}

/// A write of a transaction of the broker's own.
fn write(value: &[u8]) -> TransactionWrites {
    let mut records = BatchBuilder::new();
    let timestamp = Timestamp(1_700_000_000_000);
    records.push(&NewRecord { timestamp, key: None, value: Some(value), headers: &[] });
    let topic = TopicRef::Name("t".to_owned());
    let records = vec![PartitionRecords { topic, partition: PartitionIndex(0), records }];
    TransactionWrites { records, ..TransactionWrites::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_records_are_left_out_and_those_between_them_are_not() {
    let shop = Shop::open().await;
    shop.topic("t", 1).await;
    let mut client = client(&shop).await;
    let mut writer = client.transaction_writer("own", TIMEOUT_MS).await.unwrap();
    let mut other = shop.ottla.broker().transactional_producer("other", 60_000).await.unwrap();
    client.commit_records(&mut writer, &[record("1"), record("2")]).await.unwrap();
    other.write(write(b"aborted")).await.unwrap();
    client.commit_records(&mut writer, &[record("3")]).await.unwrap();
    assert_eq!(read(&mut client, Isolation::Committed).await, ["1", "2"]);
    other.write(write(b"aborted, too")).await.unwrap();
    other.abort().await.unwrap();
    other.write(write(b"4")).await.unwrap();
    other.commit().await.unwrap();
    // Whoever takes an id has in sight what was committed with it before.
    let mut writer = client.transaction_writer("own", TIMEOUT_MS).await.unwrap();
    client.commit_records(&mut writer, &[record("5")]).await.unwrap();
    for id in ["own", "other"] {
        client.transaction_writer(id, TIMEOUT_MS).await.unwrap();
    }
    assert_eq!(read(&mut client, Isolation::Committed).await, ["1", "2", "3", "4", "5"]);
    let all = ["1", "2", "aborted", "3", "aborted, too", "4", "5"];
    assert_eq!(read(&mut client, Isolation::Uncommitted).await, all);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_has_one_writer() {
    let shop = Shop::open().await;
    shop.topic("t", 1).await;
    let mut client = client(&shop).await;
    let mut first = client.transaction_writer("own", TIMEOUT_MS).await.unwrap();
    client.commit_records(&mut first, &[record("1")]).await.unwrap();
    let mut second = client.transaction_writer("own", TIMEOUT_MS).await.unwrap();
    let error = client.commit_records(&mut first, &[record("2")]).await.unwrap_err();
    let fenced = [ErrorCode::InvalidProducerEpoch, ErrorCode::ProducerFenced];
    assert!(error.code().is_some_and(|code| fenced.contains(&code)), "{error}");
    let mut nowhere = record("3");
    nowhere.partition = Some(PartitionIndex(9));
    let error = client.commit_records(&mut second, &[record("3"), nowhere]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition), "{error}");
    assert_eq!(read(&mut client, Isolation::Uncommitted).await, ["1"]);
    shop.close().await;
}
