//! Transactions: all or nothing, who is fenced, what is refused.

use super::super::super::cluster::Transaction;
use super::*;

fn of(values: &[(i32, &str)]) -> Transaction {
    let records = values.iter().map(|(partition, value)| record("out", *partition, value));
    Transaction { records: records.collect(), ..Transaction::default() }
}

#[tokio::test]
async fn records_and_offsets_are_there_together() {
    let run = Run::new().await;
    let member = run.member("one").await;
    assert_eq!(member.assigned().len(), 3);
    let mut producer = run.producer().await;
    for round in 0..5 {
        let mut transaction = of(&[(0, "a"), (2, "b"), (0, "c")]);
        transaction.group = Some(member.identity());
        transaction.offsets = vec![(TopicPartition::new("in", 1), Offset(round + 1))];
        let placed = producer.commit(transaction).await.unwrap();
        let offsets: Vec<_> = placed.iter().map(|it| (it.at.partition.0, it.offset.0)).collect();
        // Each transaction takes a marker behind its records.
        assert_eq!(offsets, [(0, 3 * round), (2, 2 * round), (0, 3 * round + 1)]);
    }
    assert_eq!(run.committed(1).await, Some(Offset(5)));
    assert_eq!(run.committed(0).await, None);
    let [zero, one, two] = run.values("out").await;
    assert_eq!((zero.len(), one.len(), two.len()), (10, 0, 5));
    assert_eq!(zero[..2], ["a", "c"]);
    run.kill().await;
}

#[tokio::test]
async fn a_transaction_larger_than_a_batch_is_cut() {
    let run = Run::new().await;
    let configs = BTreeMap::from([("max.message.bytes".to_owned(), "300".to_owned())]);
    let spec = TopicSpec { configs, ..topic("small", 1) };
    run.cluster.ensure_topics(vec![spec]).await.unwrap();
    let values: Vec<_> = (0..50).map(|number| format!("value {number}")).collect();
    let records = values.iter().map(|value| record("small", 0, value)).collect();
    let mut producer = run.producer().await;
    producer.commit(Transaction { records, ..Transaction::default() }).await.unwrap();
    assert_eq!(run.values_of(&TopicPartition::new("small", 0)).await, values);

    let large = record("small", 0, &"x".repeat(300));
    let transaction = Transaction {
        records: vec![record("out", 0, "not this"), large],
        ..Transaction::default()
    };
    let error = producer.commit(transaction).await.unwrap_err().to_string();
    assert!(error.contains("small-0") && error.contains("the topic takes 300"), "{error}");
    producer.commit(of(&[(0, "this")])).await.unwrap();
    assert_eq!(run.values("out").await[0], ["this"]);
    run.kill().await;
}

#[tokio::test]
async fn a_new_holder_fences_the_old_one() {
    let run = Run::new().await;
    let mut old = run.producer().await;
    old.commit(of(&[(0, "old")])).await.unwrap();
    let mut new = run.producer().await;
    for _ in 0..2 {
        let error = old.commit(of(&[(0, "late"), (1, "late")])).await.unwrap_err();
        assert!(matches!(error, ClusterError::Fenced(_)), "{error}");
    }
    new.commit(of(&[(0, "new")])).await.unwrap();
    assert_eq!(run.values("out").await, [vec!["old", "new"], vec![], vec![]]);
    run.kill().await;
}

#[tokio::test]
async fn what_a_group_refuses_is_aborted_and_the_producer_goes_on() {
    let run = Run::new().await;
    let member = run.member("one").await;
    let mut producer = run.producer().await;
    let mut transaction = of(&[(0, "not this"), (1, "nor this")]);
    let mut identity = member.identity();
    identity.generation = Generation(identity.generation.0 + 1);
    transaction.group = Some(identity);
    transaction.offsets = vec![(TopicPartition::new("in", 0), Offset(1))];
    let error = producer.commit(transaction.clone()).await.unwrap_err();
    assert!(matches!(error, ClusterError::Rebalancing(_)), "{error}");

    let newer = run.member("one").await; // The same instance elsewhere.
    transaction.group = Some(member.identity());
    let error = producer.commit(transaction).await.unwrap_err();
    assert!(matches!(error, ClusterError::Fenced(_)), "{error}");

    let mut producer = run.producer().await;
    let mut transaction = of(&[(0, "this")]);
    transaction.group = Some(newer.identity());
    transaction.offsets = vec![(TopicPartition::new("in", 0), Offset(7))];
    producer.commit(transaction).await.unwrap();
    assert_eq!(run.values("out").await, [vec!["this"], vec![], vec![]]);
    assert_eq!(run.committed(0).await, Some(Offset(7)));
    run.kill().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_begins() {
    let run = Run::new().await;
    let mut producer = run.producer().await;
    let mut nowhere = of(&[(0, "not this"), (9, "nowhere")]);
    let error = producer.commit(nowhere.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "out-9 does not exist");
    nowhere.records[1].topic = "none".into();
    let error = producer.commit(nowhere).await.unwrap_err();
    assert_eq!(error.to_string(), "none-9 does not exist");
    let mut groupless = of(&[(0, "not this")]);
    groupless.offsets = vec![(TopicPartition::new("in", 0), Offset(1))];
    let error = producer.commit(groupless).await.unwrap_err();
    assert!(matches!(error, ClusterError::Refused(_)), "{error}");
    assert_eq!(producer.commit(Transaction::default()).await.unwrap(), []);
    assert_eq!(run.broker.transaction_counts().open, 0);
    assert_eq!(run.values("out").await, [const { Vec::<String>::new() }; 3]);
    run.kill().await;
}

#[tokio::test]
async fn keys_choose_partitions_as_in_kafka_and_the_rest_goes_round() {
    let run = Run::new().await;
    let keyed = |key: Option<&'static [u8]>| ToSend {
        key: key.map(Bytes::from_static),
        partition: None,
        ..record("out", 0, "it")
    };
    let placed = run.cluster.send(vec![keyed(Some(b"foobar")), keyed(Some(b"21"))]).await.unwrap();
    let of = |key: &[u8]| i32::try_from(partition_of(key, 3)).unwrap();
    assert_eq!(placed[0].at.partition.0, of(b"foobar"));
    assert_eq!(placed[1].at.partition.0, of(b"21"));
    let mut met = Vec::new();
    for _ in 0..3 {
        let placed = run.cluster.send(vec![keyed(None), keyed(None)]).await.unwrap();
        assert_eq!(placed[0].at, placed[1].at);
        met.push(placed[0].at.partition.0);
    }
    met.sort_unstable();
    assert_eq!(met, [0, 1, 2]);
    run.kill().await;
}

#[tokio::test]
async fn a_full_disk_passes() {
    use crate::log::fs::{Fault, FaultKind, Op};
    let run = Run::new().await;
    let mut producer = run.producer().await;
    producer.commit(of(&[(0, "before")])).await.unwrap();
    for after in 0..6 {
        run.fs.inject(Fault { op: Op::Write, after, kind: FaultKind::NoRoom });
        let committed = producer.commit(of(&[(0, "full"), (1, "full")])).await;
        run.fs.heal();
        match committed {
            Ok(_) => {}
            Err(ClusterError::Passing(_)) => {
                let taken = run.cluster.producer("id".to_owned(), TIMEOUT_MS).await;
                if let Ok(taken) = taken {
                    producer = taken;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    let [zero, one, _] = run.values("out").await;
    assert_eq!(zero[1..], one[..], "torn");
    run.kill().await;
}
