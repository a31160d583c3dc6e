//! Which segments go, when their files go, and that what is gone stays gone.

use super::super::fs::FaultyFs;
use super::*;

const HOUR: i64 = 3_600_000;

/// Segments of two batches each, an hour apart.
fn hourly(config: LogConfig, count: i64) -> (FaultyFs, Log) {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let config = LogConfig { segment_ms: HOUR - 1, ..config };
    let (mut log, _) = Log::open(fs, dir(), config, Checkpoint::default(), NOW).unwrap();
    for hour in 0..count {
        for _ in 0..2 {
            let time = NOW.plus_ms(hour * HOUR);
            let batch = batch_at(log.end_offset(), 1, time);
            log.append(&[batch], time).unwrap();
        }
    }
    assert_eq!(log.shared.segments.load().len(), usize::try_from(count).unwrap());
    (disk, log)
}

fn by_time(hours: i64) -> LogConfig {
    LogConfig { retention_ms: hours * HOUR, ..config() }
}

#[test]
fn segments_older_than_retention_ms_go_the_active_one_too() {
    let (disk, mut log) = hourly(by_time(3), 5);
    let end = log.end_offset();
    let mut at = |hours, ms| {
        let deleted = log.enforce_retention(NOW.plus_ms(hours * HOUR + ms), end).unwrap();
        (deleted.segments, log.start_offset().0)
    };
    assert_eq!(at(3, 0), (0, 0)); // Exactly as old as allowed.
    assert_eq!(at(3, 1), (1, 2));
    assert_eq!(at(6, 1), (3, 8));
    assert_eq!(at(99, 0), (1, 10));
    assert_eq!(log.end_offset(), end);
    assert_eq!(log.size_bytes(), 0);
    sync(&mut log);
    for crash in [fs::Crash::DropUnsynced, fs::Crash::KeepPrefix(3)] {
        let fs: Arc<dyn Fs> = Arc::new(disk.crash(crash));
        let checkpoint = Checkpoint { durable_up_to: end, ..Checkpoint::default() };
        let (mut log, _) = open(&fs, checkpoint).unwrap();
        assert_eq!((log.start_offset(), log.end_offset()), (end, end));
        append(&mut log, 1);
        assert_eq!(read_all(&log.reader()), [10]);
    }
}

#[test]
fn a_record_from_the_future_keeps_what_follows() {
    let (_, mut log) = hourly(by_time(1), 1);
    for (hours, ahead) in [(1, 1000), (2, 0), (3, 0)] {
        let batch = batch_at(log.end_offset(), 1, NOW.plus_ms((hours + ahead) * HOUR));
        log.append(&[batch], NOW).unwrap();
    }
    let end = log.end_offset();
    let deleted = log.enforce_retention(NOW.plus_ms(50 * HOUR), end).unwrap();
    assert_eq!((deleted.segments, log.start_offset()), (1, Offset(2)));
}

#[test]
fn at_least_retention_bytes_stay() {
    for keep in 0..6 {
        let (_, mut log) = hourly(config(), 5);
        let size = log.size_bytes() / 5;
        let bytes = i64::try_from(size * keep).unwrap();
        log.set_config(LogConfig { retention_bytes: bytes, retention_ms: -1, ..config() });
        let deleted = log.enforce_retention(NOW, log.end_offset()).unwrap();
        assert_eq!(deleted.segments as u64, 5 - keep.min(5), "keep {keep}");
        log.set_config(LogConfig { retention_bytes: bytes + 1, ..config() });
    }
}

#[test]
fn nothing_at_or_above_the_high_watermark_goes() {
    for high_watermark in 0..=10 {
        let (_, mut log) = hourly(by_time(0), 5);
        let deleted =
            log.enforce_retention(NOW.plus_ms(99 * HOUR), Offset(high_watermark)).unwrap();
        assert_eq!(deleted.segments as i64, high_watermark / 2);
        assert_eq!(log.start_offset(), Offset(high_watermark / 2 * 2));
    }
}

#[test]
fn without_the_policy_only_the_start_offset_counts() {
    let (_, mut log) = hourly(LogConfig { delete: false, retention_bytes: 0, ..by_time(0) }, 5);
    let late = NOW.plus_ms(99 * HOUR);
    let end = log.end_offset();
    assert_eq!(log.enforce_retention(late, end).unwrap().segments, 0);
    log.advance_start(Offset(5)).unwrap();
    assert_eq!(log.enforce_retention(late, end).unwrap().segments, 2);
    assert_eq!(read_all(&log.reader()), [5, 6, 7, 8, 9]);
    log.advance_start(end).unwrap();
    assert_eq!(log.enforce_retention(late, end).unwrap().segments, 3);
    assert_eq!((log.size_bytes(), log.end_offset()), (0, end));
}

#[test]
fn files_go_after_their_delay() {
    let (disk, mut log) = hourly(by_time(0), 3);
    let late = NOW.plus_ms(99 * HOUR);
    let reader = log.reader();
    let held = reader.read(Offset(0), Offset(2), 1 << 20, true).unwrap().unwrap();
    log.enforce_retention(late, Offset(4)).unwrap();
    let names = |disk: &FaultyFs| {
        let entries = disk.list(&dir()).unwrap();
        entries.iter().filter(|entry| entry.name.ends_with(".log.deleted")).count()
    };
    assert_eq!((names(&disk), log.next_due()), (2, Some(late.plus_ms(60_000))));
    assert_eq!(log.remove_due(late.plus_ms(59_999)).unwrap(), 0);
    assert_eq!(log.remove_due(late.plus_ms(60_000)).unwrap(), 2);
    assert_eq!((names(&disk), log.next_due()), (0, None));
    assert_eq!(held.read().unwrap().len() as u64, held.len);
    assert!(matches!(
        reader.read(Offset(0), Offset(2), 1, true),
        Err(ReadError::OutOfRange { start: Offset(4), .. })
    ));
}

#[test]
fn a_new_start_offset_survives_the_next_instant() {
    let (disk, mut log) = hourly(config(), 4);
    sync(&mut log);
    log.advance_start(Offset(3)).unwrap();
    log.advance_start(Offset(2)).unwrap(); // Below: nothing happens.
    assert!(matches!(log.advance_start(Offset(9)), Err(LogError::StartBeyondEnd { .. })));
    let fs: Arc<dyn Fs> = Arc::new(disk.crash(fs::Crash::DropUnsynced));
    let (log, _) =
        open(&fs, Checkpoint { durable_up_to: Offset(8), ..Checkpoint::default() }).unwrap();
    assert_eq!(log.start_offset(), Offset(3));
    assert_eq!(read_all(&log.reader()), [3, 4, 5, 6, 7]);
    assert!(log.reader().read(Offset(2), Offset(8), 1, true).is_err());
}

#[test]
fn records_without_time_age_from_their_append() {
    let fs: Arc<dyn Fs> = Arc::new(disk());
    let (mut log, _) = Log::open(fs, dir(), by_time(1), Checkpoint::default(), NOW).unwrap();
    log.append(&[batch_at(Offset(0), 1, Timestamp(-5))], NOW.plus_ms(7)).unwrap();
    let mut at = |ms| log.enforce_retention(NOW.plus_ms(HOUR + ms), Offset(1)).unwrap().segments;
    assert_eq!((at(7), at(8)), (0, 1));
}
