//! Reading: what is committed and nothing else.

use std::path::Path;

use super::super::super::cluster::Transaction;
use super::*;

async fn read(run: &Run, partition: i32, offset: i64) -> Result<Vec<Received>, ClusterError> {
    let from = ReadFrom { at: TopicPartition::new("out", partition), offset: Offset(offset) };
    run.cluster.read(vec![from], 1_000_000, 0).await
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_sent() {
    let run = Run::new().await;
    let mut sent = record("out", 1, "value");
    sent.timestamp = Some(instant());
    sent.headers = vec![("a".to_owned(), None), ("a".to_owned(), Some(Bytes::new()))];
    run.cluster.send(vec![sent.clone()]).await.unwrap();
    let received = read(&run, 1, 0).await.unwrap().remove(0);
    let found = &received.records[0];
    assert_eq!((found.timestamp, found.offset), (instant(), Offset(0)));
    assert_eq!((&found.key, &found.value), (&sent.key, &sent.value));
    assert_eq!(found.headers, sent.headers);
    assert_eq!((received.next, received.end), (Offset(1), Offset(1)));
    assert!(read(&run, 1, 1).await.unwrap().is_empty());
    run.kill().await;
}

#[tokio::test]
async fn aborted_records_and_markers_are_passed_over() {
    let run = Run::new().await;
    run.points.arm(2); // Appended, and no further.
    for value in ["left open", "again"] {
        let mut producer = run.producer().await;
        let transaction =
            Transaction { records: vec![record("out", 0, value)], ..Transaction::default() };
        tokio::select! {
            _ = producer.commit(transaction) => panic!("it goes on"),
            () = run.points.reached() => run.points.arm(2),
        }
    }
    run.points.disarm();
    assert!(read(&run, 0, 0).await.unwrap().len() <= 1);
    let mut producer = run.producer().await;
    let received = read(&run, 0, 0).await.unwrap().remove(0);
    assert!(received.records.is_empty());
    assert_eq!((received.next, received.end), (Offset(4), Offset(4)));
    for value in ["one", "two"] {
        let records = vec![record("out", 0, value)];
        producer.commit(Transaction { records, ..Transaction::default() }).await.unwrap();
    }
    assert_eq!(run.values("out").await[0], ["one", "two"]);
    run.kill().await;
}

#[tokio::test]
async fn a_read_waits_for_the_first_record() {
    let run = Run::new().await;
    let from =
        |partition| ReadFrom { at: TopicPartition::new("out", partition), offset: Offset(0) };
    let read = run.cluster.read(vec![from(0), from(1), from(2)], 1_000, 60_000);
    let send = async { run.cluster.send(vec![record("out", 1, "it")]).await.unwrap() };
    let (received, _) = tokio::join!(read, send);
    let received = received.unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(value(&received[0].records[0]), "it");
    assert!(run.cluster.read(Vec::new(), 1_000, 1).await.unwrap().is_empty());
    run.kill().await;
}

#[tokio::test]
async fn bytes_are_bounded_and_every_partition_has_its_turn() {
    let run = Run::new().await;
    let large = "x".repeat(1_000);
    for _ in 0..10 {
        let records = (0..3).map(|partition| record("out", partition, &large));
        run.cluster.send(records.collect()).await.unwrap();
    }
    let mut from: Vec<_> = (0..3)
        .map(|partition| ReadFrom { at: TopicPartition::new("out", partition), offset: Offset(0) })
        .collect();
    let mut reads = 0;
    while from.iter().any(|from| from.offset < Offset(10)) {
        reads += 1;
        assert!(reads <= 30, "{from:?}");
        for received in run.cluster.read(from.clone(), 100, 0).await.unwrap() {
            assert_eq!(received.records.len(), 1);
            let at = from.iter_mut().find(|from| from.at == received.at).unwrap();
            at.offset = received.next;
        }
        if reads == 6 {
            assert!(from.iter().all(|from| Offset(0) < from.offset), "{from:?}");
        }
    }
    run.kill().await;
}

#[tokio::test]
async fn offsets_outside_of_the_log_are_told_with_what_there_is() {
    let run = Run::new().await;
    run.cluster.send(vec![record("out", 0, "it")]).await.unwrap();
    let error = read(&run, 0, 5).await.unwrap_err();
    assert_eq!(error.to_string(), "offset 5 of out-0 is not there: the log holds 0 to 1");
    let error = read(&run, 9, 0).await.unwrap_err();
    assert_eq!(error.to_string(), "out-9 does not exist");
    run.kill().await;
}

#[tokio::test]
async fn damage_is_told_with_its_place() {
    let run = Run::new().await;
    for _ in 0..2 {
        run.cluster.send(vec![record("out", 0, "it")]).await.unwrap();
    }
    let size = run.cluster.0.partition(&TopicPartition::new("out", 0)).unwrap().size_bytes();
    let position = usize::try_from(size).unwrap() - 1;
    let log = Path::new("/data/out-0/00000000000000000000.log");
    assert!(run.fs.flip(log, position, 1));
    let error = read(&run, 0, 0).await.unwrap_err();
    assert!(matches!(error, ClusterError::Refused(_)), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("out-0 cannot be read at offset 1: "), "{text}");
    run.kill().await;
}

#[tokio::test]
async fn times_lead_to_offsets() {
    let run = Run::new().await;
    let at = TopicPartition::new("out", 0);
    for ms in 0..3 {
        let mut sent = record("out", 0, "it");
        sent.timestamp = Some(instant().plus_ms(ms));
        run.cluster.send(vec![sent]).await.unwrap();
    }
    for (ms, offset) in [(-1, 0), (0, 0), (2, 2), (3, 3)] {
        let found = run.cluster.offset_at(at.clone(), instant().plus_ms(ms)).await.unwrap();
        assert_eq!(found, Offset(offset));
    }
    run.kill().await;
}

#[tokio::test]
async fn topics_are_made_and_grow_and_keep_their_configs() {
    let run = Run::new().await;
    let count = async |name: &str| run.cluster.partition_count(name.into()).await.unwrap();
    let mut spec = topic("out", 5);
    spec.configs.insert("cleanup.policy".to_owned(), "compact".to_owned());
    let any = TopicSpec { partitions: None, ..topic("any", 0) };
    run.cluster.ensure_topics(vec![spec, topic("in", 1), any]).await.unwrap();
    assert_eq!(count("out").await, Some(5));
    assert_eq!(count("in").await, Some(3));
    assert_eq!(count("any").await, Some(run.broker.config.num_partitions));
    assert_eq!(count("none").await, None);
    assert!(run.cluster.0.partition(&TopicPartition::new("out", 0)).unwrap().deletes());
    let mut bad = topic("bad", 1);
    bad.configs.insert("cleanup.policy".to_owned(), "nonsense".to_owned());
    let error = run.cluster.ensure_topics(vec![bad]).await.unwrap_err();
    assert!(matches!(error, ClusterError::Refused(_)), "{error}");
    assert!(error.to_string().starts_with("topic bad: "), "{error}");
    run.kill().await;
}
