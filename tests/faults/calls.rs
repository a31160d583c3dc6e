//! Each call of a broker's life fails once, in turn.

use std::io;

use ottla::log::fs::{Crash, Fault, FaultKind, FaultyFs, Op};
use ottla::partition::AppendError;

use super::run::{Run, Told, delete_records, delete_topic, start};
use super::{block_on, number};

/// Calls that fail in an ordinary run, one kind of failure each; all kinds in a long one.
const CALLS: u64 = 300;
const KINDS: [FaultKind; 3] =
    [FaultKind::Error(io::ErrorKind::Other), FaultKind::NoRoom, FaultKind::Torn];
const TOPICS: [&str; 2] = ["a", "b"];
const ROUNDS: i64 = 50;

/// A life with everything in it that a client may ask for; puts down what was acknowledged.
async fn live(fs: &FaultyFs, told: &mut Told, context: &str) {
    told.committed = -1;
    let Ok(run) = start(fs).await else { return };
    for topic in TOPICS {
        if run.create(topic).await.is_ok() {
            told.topics.insert(topic.to_owned());
        }
    }
    let mut broken: Vec<&str> = Vec::new();
    for round in 0..ROUNDS {
        if run.has_failed() {
            break;
        }
        for topic in TOPICS.into_iter().filter(|topic| run.partition(topic).is_some()) {
            append(&run, (topic, round), (&mut broken, told), context).await;
        }
        if round % 3 == 0 && run.commit("a", round).await.is_ok() {
            told.committed = round;
        }
        match round {
            5 => drop(run.create("gone").await),
            6 if run.partition("a").is_some() => drop(delete_records(&run, "a", 4)),
            7 => run.broker.enforce_retention(),
            8 if run.partition("gone").is_some() => drop(delete_topic(&run, "gone").await),
            _ => {}
        }
    }
    assert!(broken.len() < 2, "{context}: one failure broke {broken:?}");
    run.stop();
}

async fn append(
    run: &Run,
    (topic, round): (&'static str, i64),
    (broken, told): (&mut Vec<&str>, &mut Told),
    context: &str,
) {
    let value = format!("{topic}-{round}");
    match run.append(topic, &value).await {
        Ok(offset) => {
            assert!(!broken.contains(&topic), "{context}: {topic} acknowledges after a failure");
            told.records.entry(topic.to_owned()).or_default().push((offset, value));
        }
        Err(AppendError::DiskFull) => {} // Nothing of it is stored, and the next one may be.
        Err(_) => {
            if !broken.contains(&topic) {
                broken.push(topic);
            }
        }
    }
}

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    let every_kind = number("OTTLA_FAULT_CALLS").is_some();
    let calls = number("OTTLA_FAULT_CALLS").unwrap_or(CALLS);
    let whole = FaultyFs::new();
    block_on(live(&whole, &mut Told::default(), "without a failure"));
    let all = whole.calls();
    assert!(all >= CALLS, "a life has {all} calls only");
    eprintln!("{} of {all} calls", calls.min(all));
    for after in 0..calls.min(all) {
        let kinds = usize::try_from(after).unwrap() % KINDS.len();
        let kinds = if every_kind { &KINDS[..] } else { &KINDS[kinds..=kinds] };
        for kind in kinds {
            let disk = FaultyFs::new();
            disk.inject(Fault { op: Op::Any, after, kind: *kind });
            let context = format!("call {after}, {kind:?}");
            let mut told = Told::default();
            block_on(async {
                live(&disk, &mut told, &context).await;
                disk.heal();
                for crash in [Crash::DropUnsynced, Crash::KeepPrefix(after)] {
                    told.check(&disk.crash(crash), &format!("{context}, {crash:?}")).await;
                }
                told.check(&disk, &format!("{context}, restarted")).await;
            });
        }
    }
}

#[test]
fn a_failed_sync_counts_until_the_restart_however_the_next_one_ends() {
    for after in 0..50 {
        let disk = FaultyFs::new();
        let mut told = Told { committed: -1, ..Told::default() };
        let context = format!("sync {after}");
        block_on(async {
            let run = start(&disk).await.unwrap();
            for topic in TOPICS {
                run.create(topic).await.unwrap();
                told.topics.insert(topic.to_owned());
            }
            disk.inject(Fault { op: Op::SyncData, after, kind: FaultKind::Torn });
            let mut broken = Vec::new();
            for round in 0..60 {
                for topic in TOPICS {
                    append(&run, (topic, round), (&mut broken, &mut told), &context).await;
                }
            }
            assert_eq!(broken.len(), 1, "{context}");
            let partition = run.partition(broken[0]).unwrap();
            assert!(partition.is_offline(), "{context}");
            assert!(!run.stop(), "{context}: a clean stop would vouch for what may be lost");
            // What came back OK from the second sync is not on the disk.
            told.check(&disk.crash(Crash::DropUnsynced), &context).await;
            go_on_after_a_restart(&disk, broken[0], &mut told, &context).await;
        });
    }
}

/// The same machine, whose page cache still shows what the failed sync has lost: what is acknowledged now
/// does not stand on that.
async fn go_on_after_a_restart(
    disk: &FaultyFs,
    topic: &'static str,
    told: &mut Told,
    context: &str,
) {
    let run = start(disk).await.unwrap();
    let mut broken = Vec::new();
    for round in 100..103 {
        append(&run, (topic, round), (&mut broken, told), context).await;
    }
    run.kill();
    told.check(&disk.crash(Crash::DropUnsynced), &format!("{context}, after a restart")).await;
}

/// What a start writes by itself, here the end of a transaction that nobody knows, comes after the
/// checkpoint has ceased to vouch for the ends of logs.
#[test]
fn whichever_call_fails_in_a_start_after_a_clean_stop_nothing_is_lost_or_called_damaged() {
    let whole = FaultyFs::new();
    let mut told = Told { committed: -1, ..Told::default() };
    block_on(async {
        let run = start(&whole).await.unwrap();
        run.create("a").await.unwrap();
        told.topics.insert("a".to_owned());
        append(&run, ("a", 0), (&mut Vec::new(), &mut told), "before").await;
        run.leave_open("a").await;
        assert!(run.stop());
    });
    for (after, kind) in (0..).flat_map(|after| KINDS.map(|kind| (after, kind))) {
        let disk = whole.copy();
        disk.inject(Fault { op: Op::Any, after, kind });
        let context = format!("call {after}, {kind:?}");
        let fired = block_on(async {
            if let Ok(run) = start(&disk).await {
                run.kill();
            }
            let fired = disk.pending_faults() == 0;
            disk.heal();
            for crash in [Crash::DropUnsynced, Crash::KeepPrefix(after)] {
                told.check(&disk.crash(crash), &format!("{context}, {crash:?}")).await;
            }
            told.check(&disk, &format!("{context}, restarted")).await;
            fired
        });
        if !fired {
            eprintln!("{after} calls");
            assert!(after > 5, "a start writes");
            break;
        }
    }
}

#[test]
fn a_read_that_fails_at_start_changes_nothing() {
    let whole = FaultyFs::new();
    let mut told = Told::default();
    block_on(live(&whole, &mut told, "without a failure"));
    for killed in [false, true] {
        for after in 0.. {
            let disk = whole.crash(Crash::DropUnsynced);
            let context = format!("read {after}, killed {killed}");
            let fired = block_on(async {
                if killed {
                    start(&disk).await.unwrap().kill(); // The checkpoint vouches for nothing now.
                }
                let kind = FaultKind::Error(io::ErrorKind::Other);
                disk.inject(Fault { op: Op::Read, after, kind });
                if let Ok(run) = start(&disk).await {
                    run.kill();
                }
                let fired = disk.pending_faults() == 0;
                disk.heal();
                told.check(&disk, &context).await;
                fired
            });
            if !fired {
                eprintln!("{after} reads, killed {killed}");
                break;
            }
        }
    }
}
