//! Appending, reading, rolling, closing and opening again.

use std::io::Read;
use std::os::fd::AsFd;

use super::super::fs::{MemoryFs, RealFs};
use super::*;
use crate::records::BatchHeader;

/// Runs `test` on each kind of file system.
fn on_each(test: impl Fn(&Arc<dyn Fs>, PathBuf)) {
    let scratch = tempfile::tempdir().unwrap();
    let real: Arc<dyn Fs> = Arc::new(RealFs);
    test(&real, scratch.path().join("topic-0"));
    let memory: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    test(&memory, dir());
    let faulty: Arc<dyn Fs> = Arc::new(disk());
    test(&faulty, dir());
}

#[test]
fn what_was_appended_is_read_after_every_kind_of_stop() {
    on_each(|fs, dir| {
        let open =
            |checkpoint| Log::open(Arc::clone(fs), dir.clone(), config(), checkpoint, NOW).unwrap();
        let (mut log, _) = open(Checkpoint::default());
        assert_eq!(read_all(&log.reader()), [0i64; 0]);
        for count in 1..150 {
            append(&mut log, count % 5 + 1);
        }
        let all: Vec<i64> = (0..log.end_offset().0).collect();
        assert!(log.shared.segments.load().len() > 3);
        assert_eq!(read_all(&log.reader()), all);
        let end = log.close().unwrap();
        let (log, recovery) =
            open(Checkpoint { log_start: Offset(0), durable_up_to: end, clean: true });
        assert_eq!((log.end_offset(), recovery), (end, Recovery::default()));
        assert_eq!(read_all(&log.reader()), all);
        drop(log); // As after kill -9.
        let (mut log, recovery) = open(Checkpoint { durable_up_to: end, ..Checkpoint::default() });
        assert_eq!(log.end_offset(), end);
        assert_eq!(recovery.truncated_bytes, 0);
        append(&mut log, 3);
        assert_eq!(read_all(&log.reader()).len(), all.len() + 3);
    });
}

#[test]
fn a_read_gives_whole_batches_within_its_limits() {
    on_each(|fs, dir| {
        let mut config = config();
        config.segment_bytes = 1 << 20;
        let (mut log, _) =
            Log::open(Arc::clone(fs), dir, config, Checkpoint::default(), NOW).unwrap();
        for _ in 0..50 {
            append(&mut log, 2);
        }
        let reader = log.reader();
        let size = reader.read(Offset(0), Offset(2), 1 << 20, false).unwrap().unwrap().len;
        for from in (0..100).step_by(7) {
            for up_to in from..=100 {
                for batches in [0, 1, 3, 200] {
                    let max_bytes = batches * size + 5;
                    let range = reader.read(Offset(from), Offset(up_to), max_bytes, false).unwrap();
                    let first = from / 2;
                    let fit =
                        (up_to / 2 - first).min(i64::try_from(batches + batches / 40).unwrap());
                    let Some(range) = range else {
                        assert!(fit <= 0 || batches == 0, "{from} {up_to} {batches}");
                        continue;
                    };
                    let next = range.next.0;
                    assert_eq!(range.base_offset.0, first * 2);
                    assert!(next <= up_to, "{from} {up_to} {batches}");
                }
            }
        }
        let one = reader.read(Offset(7), Offset(100), 1, true).unwrap().unwrap();
        assert_eq!(
            (one.base_offset, one.next, one.len),
            (Offset(6), Offset(8), one.read().unwrap().len() as u64)
        );
        assert!(reader.read(Offset(7), Offset(100), 1, false).unwrap().is_none());
        assert!(reader.read(Offset(100), Offset(100), 1 << 20, true).unwrap().is_none());
        let beyond = reader.read(Offset(101), Offset(200), 1 << 20, true);
        assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
    });
}

#[test]
fn every_limit_gives_as_many_batches_as_fit() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..20 {
        append(&mut log, 1);
    }
    let reader = log.reader();
    let mut ends = vec![0];
    for batch in reader.batches(Offset(0)) {
        ends.push(ends.last().unwrap() + batch.unwrap().size_bytes());
    }
    for from in 0..20 {
        for max_bytes in 0..*ends.last().unwrap() {
            let fit = ends.iter().filter(|end| **end <= ends[from] + max_bytes).count() - 1;
            let got = reader.read(Offset(from as i64), Offset(20), max_bytes, false).unwrap();
            let next = got.map_or(from, |range| usize::try_from(range.next.0).unwrap());
            assert_eq!(next, fit.max(from), "from {from} max {max_bytes}");
        }
    }
}

#[test]
fn batches_of_one_append_lie_in_order_over_several_segments() {
    on_each(|fs, dir| {
        let (mut log, _) =
            Log::open(Arc::clone(fs), dir, config(), Checkpoint::default(), NOW).unwrap();
        let batches: Vec<ValidBatch> = (0..200).map(|i| batch_at(Offset(i * 2), 2, NOW)).collect();
        let appended = log.append(&batches, NOW).unwrap();
        assert!(appended.rolled_to > Some(Offset(0)));
        assert_eq!(read_all(&log.reader()), (0..400).collect::<Vec<i64>>());
        for segment in log.shared.segments.load().iter() {
            assert!(segment.size_bytes() <= 4096);
        }
        let gap = log.append(&[batch_at(Offset(401), 1, NOW)], NOW);
        assert!(matches!(gap, Err(LogError::NotConsecutive { .. })));
        append(&mut log, 1);
    });
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 1);
    let appended = log.append(&[batch_at(Offset(1), 1000, NOW)], NOW).unwrap();
    assert_eq!(appended.rolled_to, Some(Offset(1)));
    append(&mut log, 1);
    let bases: Vec<i64> = log.shared.segments.load().iter().map(|segment| segment.base.0).collect();
    assert_eq!(bases, [0, 1, 1001]);
    assert_eq!(read_all(&log.reader()), (0..1002).collect::<Vec<i64>>());
}

#[test]
fn a_segment_ends_once_its_records_span_segment_ms() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let week = config().segment_ms;
    let mut at = |timestamp, now| {
        let batch = batch_at(log.end_offset(), 1, timestamp);
        log.append(&[batch], now).unwrap().rolled_to
    };
    assert_eq!(at(NOW, NOW), Some(Offset(0)));
    assert_eq!(at(NOW.plus_ms(week), NOW), None);
    assert_eq!(at(NOW.plus_ms(week + 1), NOW), Some(Offset(2)));
    assert_eq!(at(NOW, NOW.plus_ms(week * 5)), None); // Told by the records, not by the clock.
}

#[test]
fn records_without_time_roll_by_the_clock() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let week = config().segment_ms;
    for (now, rolled) in [(0, Some(0)), (week, None), (week + 1, Some(2))] {
        let batch = batch_at(log.end_offset(), 1, Timestamp(-1));
        let appended = log.append(&[batch], NOW.plus_ms(now)).unwrap();
        assert_eq!(appended.rolled_to, rolled.map(Offset));
    }
}

#[test]
fn a_reader_sees_what_is_appended_after_it_was_made() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let reader = log.reader();
    append(&mut log, 4);
    assert_eq!(reader.end_offset(), Offset(4));
    assert_eq!(read_all(&reader), [0, 1, 2, 3]);
}

#[test]
fn a_range_in_memory_has_a_descriptor_to_send_from() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 4);
    let range = log.reader().read(Offset(0), Offset(4), 1 << 20, true).unwrap().unwrap();
    let owned = range.file.as_fd().unwrap().as_fd().try_clone_to_owned().unwrap();
    let mut bytes = Vec::new();
    std::fs::File::from(owned).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, range.read().unwrap());
}

#[test]
fn what_is_marked_synced_is_not_asked_for_again() {
    let fs: Arc<dyn Fs> = Arc::new(disk());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..100 {
        append(&mut log, 2);
    }
    let unsynced = log.unsynced().unwrap();
    assert!(unsynced.files.len() > 1 && unsynced.dirs.len() == 2);
    append(&mut log, 2);
    unsynced.sync().unwrap();
    log.mark_synced(&unsynced);
    assert_eq!(log.synced_end(), Offset(200));
    let unsynced = log.unsynced().unwrap();
    assert_eq!((unsynced.files.len(), unsynced.end), (1, Offset(202)));
    sync(&mut log);
    assert!(log.unsynced().unwrap().is_empty());
}

#[test]
fn an_epoch_begins_with_its_first_batch() {
    on_each(|fs, dir| {
        let open = |checkpoint| {
            Log::open(Arc::clone(fs), dir.clone(), config(), checkpoint, NOW).unwrap().0
        };
        let mut log = open(Checkpoint::default());
        for epoch in [0, 0, 3, 3, 7] {
            let mut batch = batch_at(log.end_offset(), 2, NOW);
            batch.assign(log.end_offset(), LeaderEpoch(epoch));
            log.append(&[batch], NOW).unwrap();
        }
        let entries = [(0, 0), (3, 4), (7, 8)].map(|(e, o)| (LeaderEpoch(e), Offset(o)));
        assert_eq!(log.epochs().entries(), entries);
        // From the headers, as no file was written.
        assert_eq!(open(Checkpoint::default()).epochs().entries(), entries);
        let end = log.close().unwrap();
        let log = open(Checkpoint { durable_up_to: end, clean: true, ..Checkpoint::default() });
        assert_eq!(log.epochs().entries(), entries);
        let ended = log.reader().epoch_end(LeaderEpoch(4), LeaderEpoch(9)).unwrap();
        assert_eq!((ended.epoch, ended.end), (LeaderEpoch(3), Offset(8)));
    });
}

#[test]
fn readers_beside_a_writer_see_whole_batches_in_order() {
    on_each(|fs, dir| {
        let config = LogConfig { retention_bytes: 12_000, ..config() };
        let (mut log, _) =
            Log::open(Arc::clone(fs), dir, config, Checkpoint::default(), NOW).unwrap();
        let reader = log.reader();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut next = Offset(0);
                    while next < Offset(1200) {
                        match reader.read(next, Offset(1200), 1000, true) {
                            Ok(Some(range)) => {
                                let batch = BatchHeader::parse(&range.read().unwrap()).unwrap();
                                assert_eq!((batch.base_offset, range.base_offset), (next, next));
                                next = range.next;
                            }
                            Ok(None) => std::thread::yield_now(),
                            Err(ReadError::OutOfRange { start, .. }) => next = next.max(start),
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            for _ in 0..400 {
                append(&mut log, 3);
                log.enforce_retention(NOW, log.end_offset()).unwrap();
                log.remove_due(NOW.plus_ms(60_000)).unwrap();
            }
        });
        assert!(log.start_offset() > Offset(0));
    });
}

#[test]
fn files_of_old_segments_are_closed_and_opened_again() {
    let fs: Arc<dyn Fs> = Arc::new(disk());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let segments = |log: &Log| log.reader().all_segments();
    let is_open = |log: &Log| -> Vec<bool> {
        segments(log).iter().map(|segment| segment.open_file().is_some()).collect()
    };
    while segments(&log).len() < 4 {
        append(&mut log, 5);
    }
    segments(&log).iter().for_each(|segment| segment.close_if_old());
    assert_eq!(is_open(&log), [true; 4], "nothing of it is on disk");
    sync(&mut log);
    segments(&log).iter().for_each(|segment| segment.close_if_old());
    assert_eq!(is_open(&log), [false, false, false, true], "the last one is written to");
    let end = log.end_offset();
    assert_eq!(read_all(&log.reader()), (0..end.0).collect::<Vec<i64>>());
    assert_eq!(is_open(&log), [true; 4]);
    let end = log.close().unwrap();

    let clean = Checkpoint { durable_up_to: end, clean: true, ..Checkpoint::default() };
    let (log, _) = open(&fs, clean).unwrap();
    assert_eq!(read_all(&log.reader()), (0..end.0).collect::<Vec<i64>>());
    segments(&log).iter().for_each(|segment| segment.close_if_old());
    assert_eq!(is_open(&log), [false, false, false, true]);
}
