//! A disk without room: producers are refused, nothing acknowledged is lost, and once there is room
//! the same process goes on. Where the test runs as root, the disk is a small one that is really full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::support::{Broker, Storage, wait_until};
use super::wire::Wire;

const TOPIC: &str = "filled";
const DISK_BYTES: usize = 8 * 1024 * 1024;
/// Records large enough that a few hundred fill the disk.
static KEY: [u8; 32 * 1024] = [b'k'; 32 * 1024];
/// What is put into the disk's last bytes, in steps.
const BALLAST_BYTES: usize = 512 * 1024;
/// The broker looks once a second.
const ROOM_MAX: Duration = Duration::from_secs(20);

#[test]
fn a_full_disk_refuses_producers_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let roomy = Broker::start(&storage, &["--set", "min.free.bytes=0"]).unwrap();
    let mut wire = Wire::connect(roomy.bootstrap()).unwrap();
    wire.create_topic(TOPIC, 1).unwrap();
    assert_eq!(wire.produce(TOPIC, 0, 7, None).unwrap(), 0);
    roomy.stop().unwrap();

    let full = Broker::start(&storage, &["--set", "min.free.bytes=9223372036854775807"]).unwrap();
    let mut wire = Wire::connect(full.bootstrap()).unwrap();
    let refused = wire.produce(TOPIC, 0, 8, None).unwrap_err();
    assert_eq!(refused.to_string(), "KAFKA_STORAGE_ERROR");
    assert_eq!(wire.read_all(TOPIC, 0).unwrap(), [(0, 7)]);
    wire.commit("full", TOPIC, 0, 1).unwrap();
    assert_eq!(wire.committed("full", TOPIC, 0).unwrap(), 1);
    wire.create_topic("another", 1).unwrap();
    wire.delete_topic(TOPIC).unwrap();
    full.stop().unwrap();
}

#[test]
fn a_disk_that_was_really_full_serves_again_without_a_restart() {
    let Some(disk) = SmallDisk::mount() else { return };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let storage = Storage::Folder(disk.0.join("data"));
    let broker = Broker::start(&storage, &["--set", "min.free.bytes=0"]).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    wire.create_topic(TOPIC, 1).unwrap();
    wire.create_topic("small", 1).unwrap();
    wire.produce("small", 0, 1, None).unwrap();
    let mut sent = fill(&mut wire);
    assert_eq!(wire.read_all(TOPIC, 0).unwrap(), sent);
    // The journal of the groups has no room either: refused or stored, nothing between.
    if wire.commit("g", TOPIC, 0, 3).is_err() {
        assert!(wire.committed("g", TOPIC, 0).is_err(), "what is not stored is not shown");
    }

    std::fs::remove_file(&ballast).unwrap();
    let value = sent.len() as u64;
    let mut offset = None;
    wait_until(ROOM_MAX, || {
        offset = wire.produce_keyed((TOPIC, 0), Some(&KEY), value, None).ok();
        offset.is_some()
    });
    assert_eq!(offset, Some(sent.len() as i64), "{}", broker.log_tail(20));
    sent.push((sent.len() as i64, value));
    wire.commit("g", "small", 0, 1).unwrap();
    assert_eq!(wire.committed("g", TOPIC, 0).unwrap(), 3, "decided while the disk was full");
    assert_eq!(wire.read_all(TOPIC, 0).unwrap(), sent);
    broker.kill();

    let broker = Broker::start(&storage, &["--set", "min.free.bytes=0"]).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    assert_eq!(wire.read_all(TOPIC, 0).unwrap(), sent);
    assert_eq!(wire.read_all("small", 0).unwrap(), [(0, 1)]);
    assert_eq!(wire.committed("g", TOPIC, 0).unwrap(), 3);
    broker.stop().unwrap();
}

#[test]
fn with_a_reserve_a_topic_can_be_deleted_and_producers_are_let_in_again() {
    let Some(disk) = SmallDisk::mount() else { return };
    let storage = Storage::Folder(disk.0.join("data"));
    let settings = ["--set", "min.free.bytes=1048576", "--set", "log.segment.delete.delay.ms=0"];
    let broker = Broker::start(&storage, &settings).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    wire.create_topic(TOPIC, 1).unwrap();
    wire.create_topic("kept", 1).unwrap();
    assert_eq!(wire.produce("kept", 0, 1, None).unwrap(), 0);
    fill(&mut wire);
    assert_eq!(wire.produce("kept", 0, 2, None).unwrap_err().to_string(), "KAFKA_STORAGE_ERROR");
    wire.commit("g", "kept", 0, 1).unwrap();
    wire.delete_topic(TOPIC).unwrap();
    let mut offset = None;
    wait_until(ROOM_MAX, || {
        offset = wire.produce("kept", 0, 2, None).ok();
        offset.is_some()
    });
    assert_eq!(offset, Some(1), "{}", broker.log_tail(20));
    assert_eq!(wire.read_all("kept", 0).unwrap(), [(0, 1), (1, 2)]);
    assert_eq!(wire.committed("g", "kept", 0).unwrap(), 1);
    broker.stop().unwrap();
}

/// Produces until it is refused, some times over; what was acknowledged.
fn fill(wire: &mut Wire) -> Vec<(i64, u64)> {
    let mut sent = Vec::new();
    let mut refused = 0;
    while refused < 5 {
        match wire.produce_keyed((TOPIC, 0), Some(&KEY), sent.len() as u64, None) {
            Ok(offset) => sent.push((offset, sent.len() as u64)),
            Err(error) => {
                assert_eq!(error.to_string(), "KAFKA_STORAGE_ERROR");
                refused += 1;
            }
        }
        assert!(sent.len() < DISK_BYTES / KEY.len(), "more than the disk holds");
    }
    assert!(sent.len() > 10, "refused after {} records", sent.len());
    sent
}

/// A small file system in memory, taken away again when dropped.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "holds the folder")] tempfile::TempDir);

impl SmallDisk {
    /// `None`, with a line that says so, where this user may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={DISK_BYTES}");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "none"], &path);
        if !mounted {
            eprintln!("skipped: a small disk can only be mounted by root");
        }
        mounted.then_some(Self(path, folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}

fn run(command: &str, args: &[&str], path: &Path) -> bool {
    let status = Command::new(command).args(args).arg(path).status();
    status.is_ok_and(|status| status.success())
}
