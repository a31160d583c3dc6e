//! Times to offsets, against a plain list of records.

use super::super::fs::MemoryFs;
use super::*;
use crate::records::Codec;

/// Timestamps as they come: mostly rising, some late, some equal, some missing.
fn timestamps() -> Vec<i64> {
    (0..600i64)
        .map(|i| if i % 50 == 49 { -1 } else { 1000 + i / 3 * 10 + (i * 7919) % 37 })
        .collect()
}

fn written(times: &[i64], append_time: Option<Timestamp>) -> Log {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for (number, chunk) in times.chunks(4).enumerate() {
        let mut builder = BatchBuilder::new().compression(codecs[number % 5]);
        for time in chunk {
            builder.push(&NewRecord { timestamp: Timestamp(*time), ..NewRecord::default() });
        }
        let mut batch = builder.build().unwrap();
        if let Some(now) = append_time {
            batch = batch.with_append_time(now.plus_ms(i64::try_from(number).unwrap()));
        }
        batch.assign(log.end_offset(), LeaderEpoch(i32::try_from(number / 10).unwrap()));
        log.append(&[batch], NOW).unwrap();
    }
    log
}

fn check(log: &Log, times: &[i64], start: usize, up_to: usize) {
    let (reader, limit) = (log.reader(), Offset(up_to as i64));
    let span = || times.iter().enumerate().take(up_to).skip(start);
    for time in (-2..3200).step_by(3) {
        let found = reader.offset_for_timestamp(Timestamp(time), limit).unwrap();
        let expected = span().find(|(_, t)| **t >= time).map(|(at, t)| (at as i64, *t));
        assert_eq!(found.map(|f| (f.offset.0, f.timestamp.0)), expected, "{time} {start} {up_to}");
        let epoch = found.map(|found| found.offset.0 / 40);
        assert_eq!(found.map(|found| i64::from(found.leader_epoch.0)), epoch);
    }
    let max = reader.max_timestamp(limit).unwrap();
    let newest = span().map(|(_, t)| *t).max();
    let expected = span().find(|(_, t)| Some(**t) == newest).map(|(at, t)| (at as i64, *t));
    assert_eq!(max.map(|f| (f.offset.0, f.timestamp.0)), expected, "max {start} {up_to}");
}

#[test]
fn a_time_gives_the_first_record_that_is_not_older() {
    let times = timestamps();
    let mut log = written(&times, None);
    assert!(log.shared.segments.load().len() > 2);
    check(&log, &times, 0, 600);
    check(&log, &times, 0, 0);
    for up_to in [1, 4, 99, 100, 303, 599] {
        check(&log, &times, 0, up_to);
    }
    for start in [1, 47, 48, 130, 597, 600] {
        log.advance_start(Offset(start as i64)).unwrap();
        check(&log, &times, start, 600);
        check(&log, &times, start, 400);
    }
}

#[test]
fn under_append_time_the_batchs_time_counts() {
    let log = written(&timestamps(), Some(Timestamp(500)));
    let times: Vec<i64> = (0..600).map(|i| 500 + i / 4).collect();
    check(&log, &times, 0, 600);
}

#[test]
fn an_empty_log_has_no_times() {
    let log = written(&[], None);
    check(&log, &[], 0, 0);
}
