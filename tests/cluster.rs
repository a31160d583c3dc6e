//! The broker in this process as a cluster, beside clients that come over the wire.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla::client::cluster::{
    Cluster, JoinAs, MemberStanding, Membership, ToSend, TopicPartition, TopicSpec, Transaction,
};
use ottla::client::embedded::Embedded;
use ottla::client::{Address, Client, Member, Options, Standing};
use ottla::clock::Clock;
use ottla::types::{Offset, PartitionIndex};
use ottla::{Builder, Ottla};

/// Transactions that are measured, and records in each.
const TRANSACTIONS: u32 = 200;
const RECORDS: i32 = 100;

fn topic(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: Some(3), configs: BTreeMap::new() }
}

async fn start(builder: Builder) -> (Ottla, Embedded) {
    let ottla = builder.start().await.unwrap();
    let cluster = Embedded::new(std::sync::Arc::clone(ottla.broker()));
    cluster.ensure_topics(vec![topic("in"), topic("out")]).await.unwrap();
    (ottla, cluster)
}

async fn join(cluster: &Embedded) -> Box<dyn Membership> {
    let join = JoinAs {
        group: "group".to_owned(),
        topics: vec!["in".to_owned()],
        instance_id: "one".to_owned(),
        session_timeout_ms: 45_000,
    };
    cluster.join(join).await.unwrap()
}

#[tokio::test]
async fn a_group_is_shared_with_a_client_from_outside() {
    let (ottla, cluster) = start(Ottla::builder().ephemeral()).await;
    let mut inside = join(&cluster).await;
    assert_eq!(inside.assigned().len(), 3);

    let bootstrap = Address::parse_list(&ottla.bootstrap_servers()).unwrap();
    let mut client =
        Client::connect(&bootstrap, Clock::system(), Options::default()).await.unwrap();
    let topics = ["in".to_owned()];
    let outside = Member::join(&mut client, "group", &topics);
    let rejoin = async {
        while inside.heartbeat().await.unwrap() == MemberStanding::Settled {
            tokio::task::yield_now().await;
        }
        inside.rejoin().await.unwrap();
    };
    let (outside, ()) = tokio::join!(outside, rejoin);
    let mut outside = outside.unwrap();
    let theirs = outside.assigned().iter().map(|it| it.partition);
    let ours = inside.assigned().iter().map(|it| it.partition);
    let mut all: Vec<_> = theirs.chain(ours).collect();
    all.sort();
    assert_eq!(all, [0, 1, 2].map(PartitionIndex));

    let described = client.describe_group("group").await.unwrap().unwrap();
    let ours = described.members.iter().find(|it| it.client_id == "ottla").unwrap();
    assert_eq!(ours.client_host, "/127.0.0.1");
    assert_eq!(ours.group_instance_id.as_deref(), Some("one"));

    inside.leave().await.unwrap();
    assert_eq!(outside.heartbeat(&mut client).await.unwrap(), Standing::Rebalancing);
    outside.rejoin(&mut client).await.unwrap();
    assert_eq!(outside.assigned().len(), 3);
    ottla.stop().await.unwrap();
}

/// How many transactions a second of one id go through a disk.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (ottla, cluster) = start(Ottla::builder().data_dir(folder.path())).await;
    let member = join(&cluster).await;
    let mut producer = cluster.producer("id".to_owned(), 60_000).await.unwrap();
    let records: Vec<_> = (0..RECORDS)
        .map(|number| ToSend {
            topic: "out".into(),
            partition: Some(PartitionIndex(number % 3)),
            key: Some(Bytes::from(number.to_string())),
            value: Some(Bytes::from(vec![b'x'; 100])),
            headers: Vec::new(),
            timestamp: None,
        })
        .collect();
    let begun = cluster.clock().elapsed();
    for number in 1..=i64::from(TRANSACTIONS) {
        let offsets = (0..3).map(|it| (TopicPartition::new("in", it), Offset(number))).collect();
        let transaction =
            Transaction { records: records.clone(), group: Some(member.identity()), offsets };
        producer.commit(transaction).await.unwrap();
    }
    let took = cluster.clock().elapsed() - begun;
    let a_second = f64::from(TRANSACTIONS) / took.as_secs_f64();
    println!("{a_second:.0} transactions of {RECORDS} records a second");
    let at = vec![TopicPartition::new("in", 2)];
    let committed = cluster.committed("group".to_owned(), at).await.unwrap();
    assert_eq!(committed, [Some(Offset(i64::from(TRANSACTIONS)))]);
    ottla.stop().await.unwrap();
}
