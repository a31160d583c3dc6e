//! Each rule of compaction by a small script.

use super::*;

#[test]
fn the_newest_record_of_each_key_stays_where_it_was() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut table = Table::new();
        for records in
            [[("a", "1"), ("b", "1")], [("c", "1"), ("a", "2")], [("b", "2"), ("d", "1")]]
        {
            table.append(BatchBuilder::new().compression(codec), &records);
        }
        table.roll();
        table.compact();
        assert_eq!(table.told(), "2:c=1 3:a=2 4:b=2 5:d=1", "{codec:?}");
        for record in records(&table.log.reader()) {
            assert_eq!(record.headers.len(), 1);
            assert_eq!(record.timestamp, NOW.plus_ms(record.offset.0 / 2 + 1));
        }
        for batch in table.log.reader().batches(Offset(0)).take(2) {
            assert_eq!(batch.unwrap().header().attributes.codec(), Some(codec));
        }
        table.reopen();
        assert_eq!(table.told(), "2:c=1 3:a=2 4:b=2 5:d=1");
    }
}

#[test]
fn a_batch_keeps_its_offsets_and_an_empty_one_goes() {
    let mut table = Table::new();
    table.put(&[("a", "1"), ("b", "1"), ("c", "1")]);
    table.put(&[("a", "2")]);
    table.put(&[("a", "3"), ("c", "2")]);
    table.roll();
    table.compact();
    assert_eq!(table.frames(), [(0, 2, 1), (4, 5, 2)]);
    assert_eq!(table.log.start_offset(), Offset(0));
}

#[test]
fn small_segments_become_one_and_large_ones_stay_apart() {
    let mut table = Table::new();
    table.config.segment_bytes = 400;
    let value = "x".repeat(60);
    for key in 0..8 {
        table.put(&[(&format!("key-{key}"), &value)]);
    }
    table.roll();
    let before = table.log.size_bytes();
    assert!(table.compact() > 1);
    assert_eq!(table.rows().len(), 9);
    assert_eq!(table.log.size_bytes(), before);
    let reader = table.log.reader();
    let segments = reader.all_segments();
    assert!(segments.len() < 8 && segments.iter().all(|segment| segment.size_bytes() <= 400));
    // All is as it should be: nothing is written anew.
    table.compaction.min_cleanable_dirty_ratio = -1.0;
    assert_eq!(table.compact(), 0);
}

#[test]
fn the_active_segment_is_never_touched() {
    let mut table = Table::new();
    table.put(&[("a", "1")]);
    assert_eq!(table.cleanable().dirty_bytes, 0);
    assert_eq!(table.compact(), 0);
    table.put(&[("a", "2")]);
    table.compact();
    assert_eq!(table.told(), "0:a=1 1:a=2");
    table.roll();
    table.compact();
    assert_eq!(table.told(), "1:a=2");
}

#[test]
fn a_compacted_segment_that_became_active_is_not_touched_either() {
    let mut table = Table::new();
    table.put(&[("a", "1"), ("b", "1")]);
    table.put(&[("a", "2")]);
    table.roll();
    table.compact();
    table.log.advance_start(Offset(1)).unwrap();
    // As after a power cut: the active segment and the mark were not on disk yet.
    for name in [layout::segment_file(Offset(3)), layout::COMPACTED.to_owned()] {
        table.fs.remove_file(&dir().join(name)).unwrap();
    }
    table.open(Checkpoint { durable_up_to: Offset(3), ..Checkpoint::default() }).unwrap();
    assert_eq!((table.cleanable().dirty_bytes, table.compact()), (0, 0));
    table.put(&[("a", "3")]);
    table.roll();
    table.compact();
    assert_eq!(table.told(), "1:b=1 3:a=3");
}

#[test]
fn nothing_at_or_behind_the_given_end_is_touched_or_counts() {
    let mut table = Table::new();
    for value in ["1", "2", "3", "4"] {
        table.put(&[("a", value)]);
    }
    table.roll();
    let cleanable =
        |end| table.log.reader().cleanable(&table.compaction, Offset(end), NOW).unwrap();
    let ends = [0, 1, 2, 3, 4, 5].map(|end| cleanable(end).end.0);
    assert_eq!(ends, [0, 1, 2, 3, 4, 4]);
    let plan = Plan { cleanable: cleanable(2), ..table.plan() };
    let mut run = table.log.reader().compact(plan, &mut go_on).unwrap();
    while let Some(cleaned) = run.next(&mut go_on).unwrap() {
        table.log.swap(cleaned, NOW).unwrap();
    }
    assert_eq!((run.end(), table.told().as_str()), (Offset(2), "1:a=2 2:a=3 3:a=4"));
}

#[test]
fn young_records_are_left_alone_and_so_is_what_follows() {
    let mut table = Table::new();
    for value in ["1", "2", "3"] {
        table.put(&[("a", value)]);
    }
    table.roll();
    table.compaction.min_compaction_lag_ms = 100;
    table.now = NOW.plus_ms(101);
    // The record of NOW + 1 is exactly as old as it has to be, the next is younger.
    assert_eq!(table.cleanable().end, Offset(1));
    table.now = NOW.plus_ms(103);
    assert_eq!(table.cleanable().end, Offset(3));
    table.compact();
    assert_eq!(table.told(), "2:a=3");
}

#[test]
fn the_ratio_decides_or_the_longest_lag() {
    let mut table = Table::new();
    for value in ["1", "2", "3"] {
        table.put(&[("a", value)]);
        table.put(&[("b", value)]);
    }
    table.roll();
    let half = CompactionConfig { min_cleanable_dirty_ratio: 0.5, ..compaction() };
    assert!(table.cleanable().is_due(&half));
    table.compact();
    let found = table.cleanable();
    assert_eq!((found.from, found.dirty_bytes, found.is_due(&half)), (Offset(6), 0, false));
    table.put(&[("a", "4")]);
    table.roll();
    let found = table.cleanable();
    assert!(found.dirty_bytes > 0 && found.ratio() < 0.6, "{found:?}");
    let most = CompactionConfig { min_cleanable_dirty_ratio: 0.6, ..compaction() };
    assert!(!found.is_due(&most));
    table.compaction = CompactionConfig { max_compaction_lag_ms: 50, ..most };
    assert!(!table.cleanable().is_due(&table.compaction));
    table.now = table.now.plus_ms(100);
    assert!(table.cleanable().is_due(&table.compaction));
}

#[test]
fn records_without_a_key_go() {
    let mut table = Table::new();
    table.put(&[("null", "1"), ("a", "1"), ("null", "2")]);
    table.roll();
    table.compact();
    assert_eq!(table.told(), "1:a=1");
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let mut table = Table::new();
    table.put(&[("a", "1"), ("b", "1")]);
    table.put(&[("a", "-"), ("b", "2")]);
    table.roll();
    table.compact();
    let first = table.now;
    assert_eq!(table.told(), "2:a=- 3:b=2");
    let horizon = |table: &Table| {
        let batch = table.log.reader().batches(Offset(0)).next().unwrap().unwrap();
        batch.header().delete_horizon()
    };
    assert_eq!(horizon(&table), Some(first.plus_ms(DELETE_RETENTION_MS)));
    let mut at = |ms| {
        table.put(&[("c", "x")]);
        table.now = first.plus_ms(ms);
        table.compact();
        (table.told(), horizon(&table))
    };
    // Before its time it stays, and its horizon does not move.
    let (told, same) = at(DELETE_RETENTION_MS - 1);
    assert!(told.starts_with("2:a=- 3:b=2"), "{told}");
    assert_eq!(same, Some(first.plus_ms(DELETE_RETENTION_MS)));
    let (told, same) = at(DELETE_RETENTION_MS);
    assert!(told.starts_with("3:b=2"), "{told}");
    assert_eq!(same, Some(first.plus_ms(DELETE_RETENTION_MS)));
    let times: Vec<_> = records(&table.log.reader()).iter().map(|it| it.timestamp).collect();
    assert_eq!(times[0], NOW.plus_ms(2));
}

#[test]
fn a_tombstone_is_superseded_as_any_record() {
    let mut table = Table::new();
    table.put(&[("a", "-")]);
    table.put(&[("a", "1")]);
    table.put(&[("b", "1")]);
    table.put(&[("b", "-")]);
    table.roll();
    table.compact();
    assert_eq!(table.told(), "1:a=1 3:b=-");
}

#[test]
fn a_living_producers_last_batch_leaves_its_frame() {
    let mut table = Table::new();
    let producer =
        |id, sequence| BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), sequence);
    table.append(producer(1, 0), &[("a", "1")]);
    table.append(producer(1, 1), &[("a", "2"), ("b", "1")]);
    table.append(producer(2, 0), &[("a", "3"), ("b", "2")]);
    table.put(&[("a", "4"), ("b", "3")]);
    table.roll();
    let tail = ProducerTail { from: Offset(2) };
    table.producers = HashMap::from([(ProducerId(1), tail)]);
    table.compact();
    assert_eq!(table.frames(), [(1, 2, 0), (5, 6, 2)]);
    let batch = table.log.reader().batches(Offset(0)).next().unwrap().unwrap();
    assert_eq!((batch.header().producer_id, batch.header().last_sequence()), (ProducerId(1), 2));
    // Once it is forgotten, the frame goes too.
    table.producers.clear();
    table.put(&[("c", "1")]);
    table.compact();
    assert_eq!(table.frames()[0], (5, 6, 2));
}

#[test]
fn the_last_batch_of_a_segment_leaves_its_frame() {
    let mut table = Table::new();
    table.put(&[("a", "1")]);
    table.put(&[("b", "-"), ("b", "-")]);
    table.compaction.delete_retention_ms = 0;
    table.roll();
    table.compact();
    table.roll();
    table.now = table.now.plus_ms(1);
    table.config.segment_bytes = 1; // Every segment for itself.
    table.compact();
    assert_eq!(table.frames()[..2], [(0, 0, 1), (1, 2, 0)]);
    assert_eq!(
        table
            .log
            .reader()
            .offset_for_timestamp(NOW.plus_ms(2), Offset(9))
            .unwrap()
            .map(|at| at.offset),
        Some(Offset(3))
    );
    table.reopen();
    assert_eq!(table.log.end_offset(), Offset(5));
}

#[test]
fn what_memory_does_not_hold_is_for_the_next_run() {
    let mut table = Table::new();
    for round in 0..3 {
        for key in 0..10 {
            table.put(&[(&format!("key-{key}"), &round.to_string())]);
        }
    }
    table.roll();
    table.memory_bytes = 5 * 100;
    let mut runs = 0;
    while table.cleanable().dirty_bytes > 0 {
        table.compact();
        runs += 1;
        assert_eq!(super::table(&table.rows()).len(), 11);
    }
    assert!(runs > 3, "{runs}");
    assert_eq!(table.rows().len(), 11);
    // Even a single key that does not fit gets on.
    table.memory_bytes = 1;
    table.put(&[("key-1", "z"), ("key-2", "z")]);
    table.roll();
    table.compact();
    assert_eq!(super::table(&table.rows())["key-1"], "z");
}

#[test]
fn how_far_it_came_survives_a_start() {
    let mut table = Table::new();
    table.put(&[("a", "1")]);
    table.put(&[("a", "2")]);
    table.roll();
    table.compact();
    table.reopen();
    assert_eq!((table.log.compacted_up_to(), table.cleanable().from), (Offset(2), Offset(2)));
    table.log.advance_start(Offset(3)).unwrap();
    assert_eq!(table.cleanable().from, Offset(3));
}

#[test]
fn a_run_can_be_stopped_at_any_time() {
    let mut table = Table::new();
    for value in ["1", "2", "3"] {
        table.put(&[("a", value)]);
    }
    table.roll();
    for steps in 0.. {
        let mut left = steps;
        let mut pace = |_: Io, _: u64| {
            left -= 1;
            if left < 0 { Flow::Stop } else { Flow::Continue }
        };
        let run = table.log.reader().compact(table.plan(), &mut pace);
        let Err(error) = run.and_then(|mut run| run.next(&mut pace)) else { break };
        assert!(matches!(error, CompactError::Stopped), "{error}");
        let names = table.fs.list(&table.dir).unwrap();
        assert!(!names.iter().any(|entry| entry.name.ends_with(".cleaned")), "{names:?}");
    }
    assert_eq!(table.told(), "0:a=1 1:a=2 2:a=3");
}

#[test]
fn retention_that_was_faster_wins() {
    let mut table = Table::new();
    for value in ["1", "2", "3"] {
        table.put(&[("a", value)]);
    }
    table.roll();
    let mut run = table.log.reader().compact(table.plan(), &mut go_on).unwrap();
    let cleaned = run.next(&mut go_on).unwrap().unwrap();
    table.log.advance_start(Offset(1)).unwrap();
    table.log.enforce_retention(NOW, Offset(4)).unwrap();
    assert!(matches!(table.log.swap(cleaned, NOW).unwrap(), Swap::Outdated));
    assert_eq!(table.told(), "1:a=2 2:a=3");
    table.compact();
    assert_eq!(table.told(), "2:a=3");
}

#[test]
fn compacted_and_deleted_both() {
    let mut table = Table::new();
    let both = LogConfig { delete: true, retention_ms: 1000, ..table.config };
    table.log.set_config(both);
    table.put(&[("a", "1"), ("b", "1")]);
    table.put(&[("a", "2")]);
    table.config.segment_bytes = 1;
    table.now = NOW.plus_ms(900);
    table.put(&[("c", "1")]);
    table.roll();
    table.compact();
    assert_eq!(table.told(), "1:b=1 2:a=2 3:c=1");
    let end = table.log.end_offset();
    assert_eq!(table.log.enforce_retention(NOW.plus_ms(1500), end).unwrap().segments, 2);
    assert_eq!((table.told().as_str(), table.log.start_offset()), ("3:c=1", Offset(3)));
}

#[test]
fn a_missing_segment_is_no_gap() {
    let disk = disk();
    let mut table = Table::on(Arc::new(disk.clone()), dir());
    table.put(&[("a", "1")]);
    table.put(&[("a", "2")]);
    table.roll();
    table.compact();
    for key in ["b", "c", "d"] {
        table.put(&[(key, "1")]);
    }
    table.roll();
    sync(&mut table.log);
    disk.remove_file(&dir().join(layout::segment_file(Offset(4)))).unwrap();
    table.open(Checkpoint { durable_up_to: Offset(7), ..Checkpoint::default() }).unwrap();
    let reader = table.log.reader();
    assert!(reader.read(Offset(3), Offset(7), 1, true).is_ok());
    let read = reader.read(Offset(4), Offset(7), 1, true);
    assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
    let error = table.try_compact().unwrap_err();
    assert!(matches!(error, CompactError::Read(ReadError::Damaged(_))), "{error}");
}

#[test]
fn a_damaged_segment_stops_the_run_and_nothing_changes() {
    let disk = disk();
    let mut table = Table::on(Arc::new(disk.clone()), dir());
    for value in ["1", "2", "3"] {
        table.put(&[("a", value)]);
    }
    table.roll();
    sync(&mut table.log);
    assert!(disk.flip(&dir().join(layout::segment_file(Offset(1))), 65, 1));
    let error = table.try_compact().unwrap_err();
    assert!(matches!(error, CompactError::Read(ReadError::Damaged(_))), "{error}");
    assert!(!table.log.is_poisoned());
    let names = disk.list(&dir()).unwrap();
    assert!(names.iter().all(|entry| !entry.name.contains("cleaned")), "{names:?}");
}
