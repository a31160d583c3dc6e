//! Backups of a broker under load: each is a broker by itself, with everything that was acknowledged
//! before it began, no hole, and no committed offset behind a log's end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use super::checker::Producer;
use super::support::{Broker, Storage, wait_until};
use super::wire::Wire;
use super::writers::Load;

const TOPIC: &str = "backed-up";
const PARTITIONS: i32 = 3;
const BACKUPS: usize = 4;
const GROUP: &str = "followers";
/// How long the load may take to get on between two backups.
const PROGRESS_MAX: Duration = Duration::from_secs(20);

#[test]
fn a_backup_under_load_is_a_broker_with_all_that_was_acknowledged_before() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = Broker::start(&Storage::Folder(data.clone()), &[]).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    wire.create_topic(TOPIC, PARTITIONS).unwrap();
    let load = Load::new(TOPIC);
    load.address.set(broker.bootstrap());
    let mut threads: Vec<_> = (0..PARTITIONS)
        .map(|partition| match partition {
            0 => load.produce(partition, Producer::Idempotent),
            _ => load.produce(partition, Producer::Once),
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    threads.push(commit(broker.bootstrap(), &stop));
    threads.push(churn(broker.bootstrap(), &stop));

    let mut made = Vec::new();
    for number in 0..BACKUPS {
        let mut before = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let grown = before.insert(partition, Vec::new());
            assert!(grown.is_none());
            let has_grown = wait_until(PROGRESS_MAX, || {
                let read = wire.read_all(TOPIC, partition).unwrap();
                let is_enough = read.len() > 10 * (number + 1);
                before.insert(partition, read);
                is_enough
            });
            assert!(has_grown, "no load");
        }
        let committed = wire.committed(GROUP, TOPIC, 0).unwrap();
        let target = folder.path().join(format!("backup-{number}"));
        back_up(&data, &target);
        made.push((target, before, committed));
    }
    load.end();
    stop.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let whole: Vec<_> = (0..PARTITIONS).map(|p| wire.read_all(TOPIC, p).unwrap()).collect();
    broker.stop().unwrap();

    for (target, before, committed) in made {
        let meta = |path: &Path| std::fs::read_to_string(path.join("meta.properties")).unwrap();
        assert_eq!(meta(&target), meta(&data), "the same cluster and node");
        let checked = ottla(&["log", "check", "--data-dir", &target.display().to_string()]);
        assert!(checked.status.success(), "{checked:?}");
        let copy = Broker::start(&Storage::Folder(target), &[]).unwrap();
        assert!(!copy.log_tail(usize::MAX).contains("ERROR"), "{}", copy.log_tail(20));
        let mut wire = Wire::connect(copy.bootstrap()).unwrap();
        let mut ends = Vec::new();
        for (partition, whole) in (0..PARTITIONS).zip(&whole) {
            let stored = wire.read_all(TOPIC, partition).unwrap();
            assert!(stored.len() >= before[&partition].len(), "partition {partition} lost records");
            assert_eq!(stored, whole[..stored.len()], "partition {partition} is a beginning");
            ends.push(stored.len() as i64);
        }
        let kept = wire.committed(GROUP, TOPIC, 0).unwrap();
        assert!(committed <= kept && kept <= ends[0], "{committed} <= {kept} <= {}", ends[0]);
        // It goes on like any broker, with producer ids that nobody had.
        let id = wire.producer_id().unwrap();
        assert_eq!(wire.produce(TOPIC, 0, 1, Some((id, 0))).unwrap(), ends[0]);
        copy.stop().unwrap();
    }
}

#[test]
fn a_backup_goes_only_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = Broker::start(&Storage::Folder(data.clone()), &[]).unwrap();
    broker.stop().unwrap();
    let back_up = |to: &Path| {
        let args = ["backup", &to.display().to_string(), "--data-dir", &data.display().to_string()];
        ottla(&args)
    };
    assert_eq!(back_up(&data).status.code(), Some(2));
    assert_eq!(back_up(&data.join("inside")).status.code(), Some(2));
    let target = folder.path().join("target");
    std::fs::create_dir(&target).unwrap();
    assert!(back_up(&target).status.success(), "an empty folder, and a stopped broker");
    assert_eq!(back_up(&target).status.code(), Some(2));
    std::fs::remove_file(data.join("meta.properties")).unwrap();
    assert_eq!(back_up(&folder.path().join("other")).status.code(), Some(1));
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_backup_is_made_between_transactions_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let broker = Broker::start(&Storage::Folder(data.clone()), &[]).unwrap();
    let (address, stop) = (broker.bootstrap().to_owned(), Arc::new(AtomicBool::new(false)));
    let (started, has_started) = std::sync::mpsc::channel();
    let busy = spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut wire = Wire::connect(&address).unwrap();
            while !stop.load(Ordering::SeqCst) {
                wire.take_transactional_id("busy").unwrap();
                let _ = started.send(());
            }
        }
    });
    has_started.recv().unwrap();
    let target = folder.path().join("target");
    let args = ["backup", &target.display().to_string(), "--data-dir", &data.display().to_string()];
    let refused = ottla(&args);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("stop the transactional producers"), "{told}");
    assert!(!target.exists());
    stop.store(true, Ordering::SeqCst);
    busy.join().unwrap();
    back_up(&data, &target);
    broker.stop().unwrap();
}

/// Commits the end of what can be read, over and over.
fn commit(address: &str, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (mut wire, stop) = (Wire::connect(address).unwrap(), Arc::clone(stop));
    spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let end = wire.read_all(TOPIC, 0).unwrap().len();
            wire.commit(GROUP, TOPIC, 0, i64::try_from(end).unwrap()).unwrap();
        }
    })
}

/// Makes and deletes topics, over and over.
fn churn(address: &str, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (mut wire, stop) = (Wire::connect(address).unwrap(), Arc::clone(stop));
    spawn(move || {
        for number in 0.. {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            // Every other one has the name of one that was there before.
            let name = format!("passing-{}", number % 2);
            wire.create_topic(&name, 2).unwrap();
            wire.produce(&name, 1, number, None).unwrap();
            wire.commit(GROUP, &name, 1, 1).unwrap();
            wire.delete_topic(&name).unwrap();
        }
    })
}

fn back_up(from: &Path, to: &Path) {
    let args = ["backup", &to.display().to_string(), "--data-dir", &from.display().to_string()];
    let done = ottla(&args);
    assert!(done.status.success(), "{done:?}");
}

fn ottla(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_ottla")).args(args).output().unwrap()
}
