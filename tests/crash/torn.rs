//! The tail of a real data folder is torn, garbled or lengthened at random, as a crash of the machine may
//! leave it: the start cuts it off and everything before it is there. Where whole batches follow, or
//! the checkpoint knows that more was on disk, it is damage and said to be. `OTTLA_TORN_ROUNDS` says
//! how many folders, `OTTLA_SEED` which.

use std::path::Path;

use bytes::{Buf, Bytes};
use ottla::records::BatchHeader;

use super::support::{Broker, Storage};
use super::wire::Wire;
use super::{next, number};

const ROUNDS: u64 = 12;
/// However full the disk is that the test runs on.
const SETTINGS: [&str; 2] = ["--set", "min.free.bytes=0"];
const TOPIC: &str = "torn";
const RECORDS: u64 = 60;
/// So many of the last batches may be hit.
const BATCHES_HIT: usize = 20;

/// What is done to a segment behind some byte.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// It ends there.
    Cut,
    /// All that follows is something else.
    Garble,
    /// Something follows that is no batch.
    Append,
    /// One byte in a batch that is not the last is wrong.
    Hole,
}

#[test]
fn a_torn_tail_of_real_files_is_cut_off_and_all_before_it_is_there() {
    let rounds = number("OTTLA_TORN_ROUNDS").unwrap_or(ROUNDS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    eprintln!("{rounds} folders, OTTLA_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let broker = Broker::start(&Storage::Folder(whole.clone()), &SETTINGS).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    wire.create_topic(TOPIC, 1).unwrap();
    for value in 0..RECORDS {
        wire.produce(TOPIC, 0, value, None).unwrap();
    }
    broker.kill();
    for round in 0..rounds {
        let copy = folder.path().join(format!("copy-{round}"));
        copy_folder(&whole, &copy);
        let harms = [Harm::Cut, Harm::Garble, Harm::Append, Harm::Hole];
        let harm = harms[usize::try_from(next(&mut seed)).unwrap() % harms.len()];
        let kept = do_harm(&copy, harm, &mut seed);
        check(&copy, harm, kept, &format!("round {round}, {harm:?}, {kept} whole batches"));
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

/// Harms the topic's segment; how many whole batches lie before.
fn do_harm(folder: &Path, harm: Harm, seed: &mut u64) -> usize {
    let path = folder.join(format!("{TOPIC}-0/00000000000000000000.log"));
    let mut bytes = std::fs::read(&path).unwrap();
    let starts = starts(&bytes);
    let mut random =
        |from: usize, to: usize| from + usize::try_from(next(seed)).unwrap() % (to - from);
    let count = starts.len();
    let from = starts[count - BATCHES_HIT];
    let at = match harm {
        Harm::Append => bytes.len(),
        Harm::Hole => random(from, starts[count - 1]),
        Harm::Cut | Harm::Garble => random(from, bytes.len()),
    };
    match harm {
        Harm::Cut => bytes.truncate(at),
        Harm::Garble => bytes[at..].iter_mut().for_each(|byte| *byte = !*byte),
        Harm::Append => {
            bytes.extend((0..random(1, 5_000)).map(|at| u8::try_from(at % 251).unwrap()))
        }
        Harm::Hole => bytes[at] = !bytes[at],
    }
    std::fs::write(&path, bytes).unwrap();
    starts.iter().skip(1).filter(|start| **start <= at).count()
        + usize::from(matches!(harm, Harm::Append))
}

/// Where each batch begins.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut starts = Vec::new();
    while rest.has_remaining() {
        starts.push(bytes.len() - rest.len());
        let size = BatchHeader::parse(&rest).unwrap().size_bytes();
        rest.advance(usize::try_from(size).unwrap());
    }
    starts
}

fn check(folder: &Path, harm: Harm, kept: usize, context: &str) {
    let durable = durable(folder);
    let broker = Broker::start(&Storage::Folder(folder.to_owned()), &SETTINGS).unwrap();
    let mut wire = Wire::connect(broker.bootstrap()).unwrap();
    if matches!(harm, Harm::Hole) || kept < durable {
        let refused = wire.read_all(TOPIC, 0).unwrap_err().to_string();
        assert_eq!(refused, "KAFKA_STORAGE_ERROR", "{context}: {}", broker.log_tail(20));
        assert!(broker.log_tail(usize::MAX).contains("damaged at byte"), "{context}");
        broker.kill();
        return;
    }
    let mut expected: Vec<_> = (0..kept as u64).map(|value| (value as i64, value)).collect();
    assert_eq!(wire.read_all(TOPIC, 0).unwrap(), expected, "{context}: {}", broker.log_tail(20));
    let is_cut = broker.log_tail(usize::MAX).contains("unfinished write cut off");
    // A cut between two batches leaves nothing torn.
    assert!(is_cut || matches!(harm, Harm::Cut), "{context}: {}", broker.log_tail(20));
    assert_eq!(wire.produce(TOPIC, 0, 1_000, None).unwrap(), kept as i64, "{context}");
    expected.push((kept as i64, 1_000));
    assert_eq!(wire.read_all(TOPIC, 0).unwrap(), expected, "{context}");
    broker.stop().unwrap();
}

/// What the checkpoint says of the topic: everything before was on disk.
fn durable(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("ottla-checkpoint")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{TOPIC}-0 ")));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
