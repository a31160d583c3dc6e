//! One bit is wrong, anywhere on the disk: a wrong record or leader epoch is never read, an older state
//! never taken for the present one, nor another cluster id; the broker says what is damaged, or does without it.

use std::path::Path;

use bytes::Buf;
use ottla::log::fs::{Crash, FaultyFs, Fs};
use ottla::records::BatchHeader;
use ottla::types::LeaderEpoch;

use super::run::{Told, delete_records, files, name, start};
use super::{block_on, next, number};

/// Bits in an ordinary run.
const FLIPS: u64 = 500;
const TOPICS: [&str; 2] = ["a", "b"];
/// Files that a folder has after a clean stop; a bit is turned in any of them.
const KINDS: [&str; 8] = [
    ".log",
    ".ottla-index",
    "ottla-epochs",
    "leader-epoch-checkpoint",
    "ottla-producers",
    "ottla-start-offset",
    "partition.metadata",
    "meta.properties",
];

/// How the broker took it.
#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    offline: u64,
    unreadable: u64,
    cut: u64,
    harmless: u64,
}

/// A folder with segments, indexes, a moved start, commits and settings, and the cluster's id.
async fn filled(stop: bool) -> (FaultyFs, Told, String) {
    let disk = FaultyFs::new();
    let mut told = Told { committed: -1, ..Told::default() };
    let run = start(&disk).await.unwrap();
    for topic in TOPICS {
        run.create(topic).await.unwrap();
        told.topics.insert(topic.to_owned());
    }
    for round in 0..40 {
        for topic in TOPICS {
            let value = format!("{topic}-{round}-{}", "x".repeat(20));
            let offset = run.append(topic, &value).await.unwrap();
            told.records.entry(topic.to_owned()).or_default().push((offset, value));
        }
        run.commit("a", round).await.unwrap();
        told.committed = round;
    }
    delete_records(&run, "b", 3).unwrap();
    told.records.get_mut("b").unwrap().drain(..3);
    let cluster_id = run.broker.cluster_id.clone();
    if stop {
        assert!(run.stop())
    } else {
        run.kill()
    }
    (disk, told, cluster_id)
}

#[test]
fn a_flipped_bit_is_told_or_harmless() {
    let flips = number("OTTLA_FLIPS").unwrap_or(FLIPS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_101);
    eprintln!("{flips} bits, OTTLA_SEED={seed}");
    let folders = [block_on(filled(true)), block_on(filled(false))];
    for kind in KINDS {
        let is_there = files(&folders[0].0).iter().any(|path| name(path).ends_with(kind));
        assert!(is_there, "no {kind} to turn a bit of");
    }
    let mut tally = Tally::default();
    for flip in 0..flips {
        let stopped = flip % 2 == 0;
        let (whole, told, cluster_id) = &folders[usize::from(!stopped)];
        let disk = if stopped { whole.crash(Crash::DropUnsynced) } else { whole.copy() };
        let files = files(&disk);
        let path = &files[usize::try_from(next(&mut seed)).unwrap() % files.len()];
        let len = disk.file_len(path).unwrap();
        if len == 0 {
            continue;
        }
        let position = next(&mut seed) % len;
        let bit = next(&mut seed) % 8;
        let mask = 1 << bit;
        assert!(disk.flip(path, usize::try_from(position).unwrap(), mask));
        let context = format!("flip {flip}: bit {bit} of byte {position} of {}", path.display());
        // Without a clean stop, what was synced last cannot be told from what was being written.
        let in_tail = !stopped && is_in_last_batch(whole, path, position);
        block_on(judge(&disk, (told, cluster_id), (path, in_tail), &context, &mut tally));
    }
    eprintln!("{tally:?}");
}

#[test]
fn a_wrong_bit_in_the_newest_topic_is_damage_seconds_later() {
    let disk = FaultyFs::new();
    block_on(async {
        let run = start(&disk).await.unwrap();
        run.create("a").await.unwrap();
        run.append("a", "kept").await.unwrap();
        run.pass_time(5).await; // Less than the interval of the other logs.
        run.kill();
        let log = Path::new("/data/__cluster_metadata-0/00000000000000000000.log");
        let last = usize::try_from(disk.file_len(log).unwrap()).unwrap() - 1;
        assert!(disk.flip(log, last, 1));
        let refused = start(&disk).await.map(|run| run.kill());
        assert!(refused.is_err(), "the topic and its records would be gone");
        assert!(disk.flip(log, last, 1));
        let run = start(&disk).await.unwrap();
        assert_eq!(run.read("a").unwrap(), [(0, "kept".to_owned())]);
        run.kill();
    });
}

async fn judge(
    disk: &FaultyFs,
    (told, cluster_id): (&Told, &str),
    (path, in_tail): (&Path, bool),
    context: &str,
    tally: &mut Tally,
) {
    let folder = name(path.parent().unwrap());
    let run = match start(disk).await {
        Ok(run) => run,
        Err(error) => {
            let says = error.to_string();
            let names = says.contains(&folder)
                || says.contains(&name(path))
                || folder.strip_suffix("-0").is_some_and(|topic| says.contains(topic));
            assert!(names, "{context}: {says}");
            tally.refused += 1;
            return;
        }
    };
    assert_eq!(run.broker.cluster_id, cluster_id, "{context}");
    let mut harmless = true;
    for topic in TOPICS {
        let Some(partition) = run.partition(topic) else {
            assert!(in_tail, "{context}: {topic} is gone");
            (tally.cut, harmless) = (tally.cut + 1, false);
            continue;
        };
        if partition.is_offline() {
            assert!(!partition.offline_reason().is_empty(), "{context}");
            (tally.offline, harmless) = (tally.offline + 1, false);
            continue;
        }
        // Where the epoch that is led in now ends, asked by one who knows of a later one.
        let reader = partition.reader().unwrap();
        let end = reader.epoch_end(LeaderEpoch(0), LeaderEpoch(1)).unwrap();
        assert_eq!((end.epoch, end.end), (LeaderEpoch(0), reader.end_offset()), "{context}");
        match run.read(topic) {
            Err(_) => (tally.unreadable, harmless) = (tally.unreadable + 1, false),
            Ok(found) if found == told.records[topic] => {}
            Ok(found) => {
                let (expected, kept) = (&told.records[topic], found.len());
                let is_cut = in_tail && kept + 1 == expected.len() && found == expected[..kept];
                assert!(is_cut, "{context}: {topic} gives {found:?}");
                (tally.cut, harmless) = (tally.cut + 1, false);
            }
        }
    }
    match run.committed("a").await {
        Ok(offset) if offset == told.committed => {}
        Ok(offset) if in_tail && offset == told.committed - 1 => tally.cut += 1,
        Ok(offset) => panic!("{context}: offset {} is {offset} now", told.committed),
        Err(_) => harmless = false,
    }
    tally.harmless += u64::from(harmless);
    run.kill();
}

/// Whether a byte belongs to the last batch of the last segment of its folder.
fn is_in_last_batch(disk: &FaultyFs, path: &Path, position: u64) -> bool {
    let segments: Vec<_> = files(disk)
        .into_iter()
        .filter(|other| other.parent() == path.parent() && name(other).ends_with(".log"))
        .collect();
    if segments.last().is_none_or(|last| last != path) {
        return false;
    }
    let mut bytes = bytes::Bytes::from(disk.read(path, 1 << 20).unwrap());
    let mut start = 0;
    while let Ok(header) = BatchHeader::parse(&bytes) {
        let size = header.size_bytes();
        bytes.advance(usize::try_from(size).unwrap());
        if bytes.is_empty() {
            return position >= start;
        }
        start += size;
    }
    false
}
