//! Snapshots of the catalog, with each call on the way failing, or the last before a power cut: what
//! was acknowledged is there after the next start.

use std::collections::BTreeSet;
use std::io;

use ottla::log::fs::{Crash, Fault, FaultKind, FaultyFs, Op};

use super::block_on;
use super::run::{Run, delete_topic, files, name, start_with};

/// What is known to be there, known not to be, and what may be either.
#[derive(Clone, Debug, Default)]
struct Told {
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
}

async fn begin(fs: &FaultyFs) -> Option<Run> {
    let small = |config: &mut ottla::config::broker::BrokerConfig| {
        config.metadata_log_max_record_bytes_between_snapshots = 1;
    };
    start_with(fs, small).await.ok()
}

/// Topics come and go, and a snapshot is written after every other change.
async fn live(fs: &FaultyFs, told: &mut Told) {
    let Some(run) = begin(fs).await else { return };
    for number in 0..6 {
        let name = format!("topic-{number}");
        if run.create(&name).await.is_ok() {
            told.there.insert(name);
        }
        if number % 2 == 1 {
            run.broker.watch_catalog_size();
        }
        let old = format!("topic-{}", number - 2);
        if told.there.remove(&old) && delete_topic(&run, &old).await.is_ok() {
            told.gone.insert(old);
        }
    }
    run.stop();
}

async fn check(fs: &FaultyFs, told: &Told, context: &str) {
    // Started twice: the first may snapshot again, and the second reads that.
    for _ in 0..2 {
        let run = begin(fs).await.unwrap_or_else(|| panic!("{context}: no start"));
        let found: BTreeSet<_> =
            run.broker.topic_views().into_iter().map(|topic| topic.name).collect();
        assert!(told.there.is_subset(&found), "{context}: {told:?}, found {found:?}");
        assert!(told.gone.is_disjoint(&found), "{context}: {told:?}, found {found:?}");
        run.broker.watch_catalog_size();
        run.stop();
    }
}

#[test]
fn whichever_call_fails_around_a_snapshot_no_change_is_lost() {
    let whole = FaultyFs::new();
    let mut told = Told::default();
    block_on(live(&whole, &mut told));
    assert_eq!((told.there.len(), told.gone.len()), (2, 4));
    let names = whole.crash(Crash::DropUnsynced);
    let is_snapshot = |path: &std::path::PathBuf| name(path).ends_with(".checkpoint");
    assert_eq!(files(&names).iter().filter(|path| is_snapshot(path)).count(), 1);
    block_on(check(&names, &told, "without a failure"));
    let kinds = [FaultKind::Error(io::ErrorKind::Other), FaultKind::NoRoom, FaultKind::Torn];
    for after in 0..whole.calls() {
        let kind = kinds[usize::try_from(after).unwrap() % kinds.len()];
        let fs = FaultyFs::new();
        fs.inject(Fault { op: Op::Any, after, kind });
        let mut told = Told::default();
        block_on(live(&fs, &mut told));
        fs.heal();
        for crash in [Crash::DropUnsynced, Crash::KeepPrefix(after)] {
            let context = format!("call {after}, {kind:?}, {crash:?}");
            block_on(check(&fs.crash(crash), &told, &context));
        }
    }
}
