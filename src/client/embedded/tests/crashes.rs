//! A holder that dies at any boundary: the next one finds all of its transaction or nothing, whether the
//! broker went on, was killed, or lost what was not on disk.

use super::super::super::cluster::Transaction;
use super::*;
use crate::log::fs::Crash;

/// What happens to the broker when its user has died.
#[derive(Clone, Copy, Debug)]
enum Then {
    GoesOn,
    Killed,
    LosesPower(Crash),
}

/// Joins, and commits one transaction of several records and an offset.
async fn work(run: &Run) -> Result<(), ClusterError> {
    let member = run.cluster.join(join_as("one")).await?;
    let mut producer = run.cluster.producer("id".to_owned(), TIMEOUT_MS).await?;
    for round in 0..2 {
        let value = format!("round {round}");
        let records = [0, 1, 2, 1].map(|partition| record("out", partition, &value));
        let transaction = Transaction {
            records: records.to_vec(),
            group: Some(member.identity()),
            offsets: vec![(TopicPartition::new("in", 0), Offset(round + 1))],
        };
        producer.commit(transaction).await?;
    }
    Ok(())
}

/// How many rounds are there; panics where one is torn.
async fn rounds(run: &Run) -> usize {
    let [zero, one, two] = run.values("out").await;
    let count = zero.len();
    assert_eq!((one.len(), two.len()), (2 * count, count), "torn: {zero:?} {one:?} {two:?}");
    let offset = run.committed(0).await.map_or(0, |offset| offset.0);
    assert_eq!(usize::try_from(offset).unwrap(), count, "offsets without their records");
    count
}

async fn check(boundary: u64, then: Then) -> String {
    let mut run = Run::new().await;
    run.points.arm(boundary);
    let points = run.points.clone();
    tokio::select! {
        worked = work(&run) => panic!("no boundary {boundary}: {worked:?}"),
        () = points.reached() => {}
    }
    let name = points.names().pop().unwrap();
    run = match then {
        Then::GoesOn => run,
        Then::Killed => Run::on(run.kill().await.copy(), Clock::system()).await,
        Then::LosesPower(crash) => {
            let fs = run.fs.crash(crash);
            run.kill().await;
            Run::on(fs, Clock::system()).await
        }
    };
    run.points.disarm();
    // Only a new holder knows that nothing is open any more.
    drop(run.producer().await);
    let before = rounds(&run).await;
    let decided = points.names().iter().filter(|name| *name == "after the end is decided").count();
    assert!(decided <= before, "{then:?} at {boundary} {name}: {before} of {decided} rounds");
    work(&run).await.unwrap_or_else(|error| panic!("{then:?} at {boundary} {name}: {error}"));
    run.kill().await;
    name
}

#[tokio::test]
async fn whoever_dies_at_a_boundary_leaves_all_or_nothing() {
    let run = Run::new().await;
    work(&run).await.unwrap();
    assert_eq!(rounds(&run).await, 2);
    let count = run.points.count();
    let names = run.points.names();
    assert_eq!(count, 8, "{names:?}");
    run.kill().await;
    for boundary in 1..=count {
        let seed = boundary;
        // Not `KeepAny`: a later write that is kept without an earlier one is damage to the log, and a
        // start refuses it rather than to drop either.
        for then in [
            Then::GoesOn,
            Then::Killed,
            Then::LosesPower(Crash::DropUnsynced),
            Then::LosesPower(Crash::KeepPrefix(seed)),
        ] {
            let name = check(boundary, then).await;
            assert_eq!(name, names[usize::try_from(boundary - 1).unwrap()]);
        }
    }
}
