//! A journal of the broker's own that was restored from an earlier time, beside newer logs; and one that
//! fails.

use super::*;
use crate::broker::{OFFSETS_TOPIC, PartitionRecords, TransactionWrites, TransactionalProducer};
use crate::txn::Producer;
use crate::types::ProducerEpoch;

/// What was open in the journal that is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    ATransaction,
}

impl Run {
    async fn write(&self, producer: &mut TransactionalProducer) {
        let mut records = BatchBuilder::new();
        let (timestamp, value) = (self.clock.now().wall, Some(b"v".as_slice()));
        records.push(&NewRecord { timestamp, key: None, value, headers: &[] });
        let topic = TopicRef::Name("t".to_owned());
        let records = vec![PartitionRecords { topic, partition: PartitionIndex(0), records }];
        let writes = TransactionWrites { records, offsets: Vec::new() };
        producer.write(writes).await.unwrap();
    }

    /// Waits until no transaction is ending and everything can be read.
    async fn until_ended(&self) {
        let partition = self.partition("t");
        let ended = async {
            loop {
                let watermarks = partition.watermarks();
                let is_stable = watermarks.last_stable == watermarks.log_end;
                if is_stable && self.broker.transaction_counts().ending == 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    }

    async fn end(self) {
        self.broker.tasks.stop();
        self.broker.tasks.join(std::future::pending()).await;
        self.stop();
    }
}

/// Puts the folder of a log back as it was, as a person would who has only that.
fn restore(from: &FaultyFs, to: &FaultyFs, folder: &str) {
    let dir = Path::new(DIR).join(folder);
    to.remove_dir_all(&dir).unwrap();
    to.create_dir_all(&dir).unwrap();
    for entry in from.list(&dir).unwrap() {
        let bytes = from.read(&dir.join(&entry.name), u64::MAX).unwrap();
        let file = to.open(&dir.join(&entry.name), OpenMode::CreateNew).unwrap();
        file.write_vectored_at(&[IoSlice::new(&bytes)], 0).unwrap();
    }
    to.remove_file(&Path::new(DIR).join("ottla-checkpoint")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_an_older_journal_gets_a_producer_that_no_partition_knows() {
    for left in [Left::Nothing, Left::ATransaction] {
        let fs = FaultyFs::new();
        let run = start(&fs).unwrap();
        run.create("t").await;
        run.start_markers();
        let mut producer = run.broker.transactional_producer("id", 60_000).await.unwrap();
        run.write(&mut producer).await;
        let older = match left {
            Left::ATransaction => {
                run.broker
                    .transactions()
                    .call(crate::txn::Command::Describe(vec![]))
                    .await
                    .unwrap();
                let older = fs.copy();
                producer.commit().await.unwrap();
                older
            }
            Left::Nothing => {
                producer.commit().await.unwrap();
                run.until_ended().await;
                fs.copy()
            }
        };
        for _ in 0..3 {
            run.write(&mut producer).await;
            producer.commit().await.unwrap();
        }
        run.until_ended().await;
        // One that is open while the broker ends.
        run.write(&mut producer).await;
        let before: Producer = producer.producer().clone();
        assert_eq!(before.producer_epoch, ProducerEpoch(4));
        drop(producer);
        run.end().await;

        restore(&older, &fs, "__transaction_state-0");
        let run = start(&fs).unwrap();
        run.start_markers();
        run.until_ended().await;
        let described = run.broker.transactions().look(|machine| machine.id_count());
        assert_eq!(described, 0, "{left:?}: it is forgotten");
        let mut producer = run.broker.transactional_producer("id", 60_000).await.unwrap();
        assert_ne!(producer.producer().producer_id, before.producer_id);
        run.write(&mut producer).await;
        producer.commit().await.unwrap();
        run.until_ended().await;
        drop(producer);
        run.end().await;
    }
}

#[tokio::test]
async fn a_coordinators_journal_that_cannot_be_written_ends_the_broker() {
    let fs = FaultyFs::new();
    let run = start(&fs).unwrap();
    run.create("t").await;
    fs.inject(Fault { op: Op::Write, after: 0, kind: FaultKind::Error(io::ErrorKind::Other) });
    let partition = run.partition(OFFSETS_TOPIC);
    let now = run.clock.now();
    let mut batch = BatchBuilder::new();
    batch.push(&NewRecord { timestamp: now.wall, key: None, value: None, headers: &[] });
    partition.append_own(batch.build().unwrap(), now).unwrap_err();
    let (topic, error) = run.broker.journal_failed().await;
    assert_eq!(topic, OFFSETS_TOPIC);
    assert!(!error.to_string().is_empty());
    run.kill();
}
