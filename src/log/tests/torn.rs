//! What recovery makes of a log that was not closed: torn tails are cut, damage is told.

use std::path::Path;

use super::super::fs::{FaultyFs, OpenMode};
use super::*;

/// A synced log of twenty batches of two, and its one segment's bytes.
fn written() -> (FaultyFs, Vec<u64>) {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let mut starts = Vec::new();
    for _ in 0..20 {
        starts.push(log.size_bytes());
        append(&mut log, 2);
    }
    starts.push(log.size_bytes());
    sync(&mut log);
    (disk, starts)
}

fn segment() -> PathBuf {
    dir().join(layout::segment_file(Offset(0)))
}

fn truncate(fs: &Arc<dyn Fs>, path: &Path, len: u64) {
    fs.open(path, OpenMode::ReadWrite).unwrap().truncate(len).unwrap();
}

fn durable(offset: i64) -> Checkpoint {
    Checkpoint { durable_up_to: Offset(offset), ..Checkpoint::default() }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_counted() {
    let (disk, starts) = written();
    for len in starts[19] + 1..starts[20] {
        let fs: Arc<dyn Fs> = Arc::new(disk.crash(fs::Crash::DropUnsynced));
        truncate(&fs, &segment(), len);
        let (mut log, recovery) = open(&fs, durable(38)).unwrap();
        assert_eq!(recovery.truncated_bytes, len - starts[19]);
        assert_eq!(recovery.truncated_from, Some(Offset(38)));
        append(&mut log, 2);
        assert_eq!(read_all(&log.reader()), (0..40).collect::<Vec<i64>>());
        let (_, recovery) = open(&fs, durable(40)).unwrap();
        assert_eq!(recovery.truncated_bytes, 0);
    }
}

#[test]
fn a_tail_torn_before_the_durable_mark_is_damage_and_stays() {
    let (disk, starts) = written();
    for len in [0, 1, starts[7], starts[19], starts[20] - 1] {
        let fs: Arc<dyn Fs> = Arc::new(disk.crash(fs::Crash::DropUnsynced));
        truncate(&fs, &segment(), len);
        let refused = open(&fs, durable(40));
        assert!(matches!(refused, Err(LogError::Damaged(_))), "{len}");
        assert_eq!(fs.file_len(&segment()).unwrap(), len);
    }
}

#[test]
fn zeros_behind_the_end_are_a_torn_tail() {
    let (disk, starts) = written();
    let fs: Arc<dyn Fs> = Arc::new(disk);
    truncate(&fs, &segment(), starts[20] + 5000);
    let (log, recovery) = open(&fs, durable(40)).unwrap();
    assert_eq!((recovery.truncated_bytes, log.end_offset()), (5000, Offset(40)));
}

#[test]
fn a_flipped_bit_never_gives_a_wrong_record() {
    let (disk, starts) = written();
    for position in 0..usize::try_from(starts[20]).unwrap() {
        let (mask, mark) = [(1, 0), (0x80, 40), (0x10, 38)][position % 3];
        let bad = disk.crash(fs::Crash::DropUnsynced);
        assert!(bad.flip(&segment(), position, mask));
        let fs: Arc<dyn Fs> = Arc::new(bad);
        let Ok((log, _)) = open(&fs, durable(mark)) else { continue };
        let mut expected = 0;
        for batch in log.reader().batches(Offset(0)) {
            let Ok(batch) = batch else { break };
            for record in &batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                assert_eq!(record.offset, Offset(expected), "byte {position}");
                let value = format!("record-{expected}");
                assert_eq!(record.value, Some(value.as_bytes()), "byte {position}");
                expected += 1;
            }
        }
    }
}

#[test]
fn damage_with_whole_batches_behind_it_is_not_cut() {
    let (disk, starts) = written();
    for (batch, start) in starts.iter().enumerate().take(19) {
        let bad = disk.crash(fs::Crash::DropUnsynced);
        assert!(bad.flip(&segment(), usize::try_from(*start).unwrap() + 65, 4));
        let fs: Arc<dyn Fs> = Arc::new(bad);
        let Err(LogError::Damaged(damage)) = open(&fs, durable(0)) else { panic!("{batch}") };
        assert_eq!(damage.position, *start);
        assert_eq!(damage.offset, Offset(i64::try_from(batch).unwrap() * 2));
        assert_eq!(damage.file, segment());
    }
    let bad = disk.crash(fs::Crash::DropUnsynced);
    assert!(bad.flip(&segment(), usize::try_from(starts[19]).unwrap() + 65, 4));
    let fs: Arc<dyn Fs> = Arc::new(bad);
    assert_eq!(open(&fs, durable(38)).unwrap().1.truncated_from, Some(Offset(38)));
}

#[test]
fn a_missing_segment_is_damage() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..200 {
        append(&mut log, 3);
    }
    sync(&mut log);
    let paths: Vec<PathBuf> = log.shared.segments.load().iter().map(|s| s.path.clone()).collect();
    assert!(paths.len() > 3);
    for (number, path) in paths.iter().enumerate() {
        let fs: Arc<dyn Fs> = Arc::new(disk.crash(fs::Crash::DropUnsynced));
        fs.remove_file(path).unwrap();
        let refused = open(&fs, durable(if number + 1 == paths.len() { 600 } else { 0 }));
        assert!(refused.is_err(), "{number}");
    }
    let fs: Arc<dyn Fs> = Arc::new(disk.crash(fs::Crash::DropUnsynced));
    fs.remove_file(&paths[0]).unwrap();
    let clean = Checkpoint { durable_up_to: Offset(600), clean: true, ..Checkpoint::default() };
    assert!(open(&fs, clean).is_err(), "after a clean stop");
    // Another program's retention keeps no mark of ours.
    fs.open(&dir().join(layout::kafka_time_index_file(first_base(&fs))), OpenMode::CreateNew)
        .unwrap();
    assert!(open(&fs, clean).is_ok(), "of Kafka");
}

fn first_base(fs: &Arc<dyn Fs>) -> Offset {
    let names = fs.list(&dir()).unwrap();
    names.iter().find_map(|entry| layout::parse_segment_file(&entry.name)).unwrap()
}

#[test]
fn a_clean_stop_that_does_not_fit_is_damage() {
    let fs: Arc<dyn Fs> = Arc::new(disk());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 5);
    let end = log.close().unwrap();
    let checkpoint =
        Checkpoint { durable_up_to: end.plus(1), clean: true, ..Checkpoint::default() };
    assert!(matches!(open(&fs, checkpoint), Err(LogError::Damaged(_))));
}

#[test]
fn doubtful_indexes_are_made_anew() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..100 {
        append(&mut log, 3);
    }
    let end = log.close().unwrap();
    let clean = Checkpoint { durable_up_to: end, clean: true, ..Checkpoint::default() };
    let names = fs.list(&dir()).unwrap();
    let indexes: Vec<PathBuf> = names
        .iter()
        .filter(|entry| layout::parse_index_file(&entry.name).is_some())
        .map(|entry| dir().join(&entry.name))
        .collect();
    assert!(indexes.len() > 2);
    for (number, path) in indexes.iter().enumerate() {
        match number % 3 {
            0 => assert!(disk.flip(path, 40, 1)),
            1 => fs.remove_file(path).unwrap(),
            _ => truncate(&fs, path, 30),
        }
    }
    let (log, _) = open(&fs, clean).unwrap();
    assert_eq!(read_all(&log.reader()), (0..300).collect::<Vec<i64>>());
}

#[test]
fn a_segment_missing_behind_a_clean_stop_is_damage_to_who_reads_there() {
    let fs: Arc<dyn Fs> = Arc::new(disk());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..200 {
        append(&mut log, 3);
    }
    let gone = log.shared.segments.load()[1].clone();
    let (base, next) = (gone.base, gone.index(|index| index.next).unwrap());
    let end = log.close().unwrap();
    fs.remove_file(&gone.path).unwrap();
    let (log, _) =
        open(&fs, Checkpoint { durable_up_to: end, clean: true, ..Checkpoint::default() }).unwrap();
    for offset in 0..600 {
        let read = log.reader().read(Offset(offset), end, 1, true);
        assert_eq!(read.is_err(), base.0 <= offset && offset < next.0, "{offset}");
    }
}

#[test]
fn a_sync_after_a_kill_covers_what_was_made_before_it() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 2);
    drop(log); // Killed: nothing is synced, but everything is still there.
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 2);
    sync(&mut log);
    let fs: Arc<dyn Fs> = Arc::new(disk.crash(fs::Crash::DropUnsynced));
    let (log, _) = open(&fs, durable(4)).unwrap();
    assert_eq!(read_all(&log.reader()), [0, 1, 2, 3]);
}
