//! Those who read a compacted log, or one that is being compacted.

use super::*;

/// Offsets 0 to 9 with `a` to `e` twice, two records a batch; of the first five nothing is left but
/// frames. Then an active segment.
fn compacted() -> Table {
    let mut table = Table::new();
    for value in ["1", "2"] {
        table.put(&[("a", value), ("b", value)]);
        table.put(&[("c", value), ("d", value)]);
        table.put(&[("e", value)]);
    }
    table.roll();
    table.compact();
    assert_eq!(table.told(), "5:a=2 6:b=2 7:c=2 8:d=2 9:e=2");
    table
}

#[test]
fn a_fetch_in_a_gap_gives_what_comes_next() {
    let table = compacted();
    let reader = table.log.reader();
    for from in 0..=10 {
        let range = reader.read(Offset(from), Offset(11), 1, true).unwrap().unwrap();
        let expected = [(5, 7), (7, 9), (9, 10), (10, 11)];
        let expected = expected.into_iter().find(|(_, next)| from < *next).unwrap();
        assert_eq!((range.base_offset.0, range.next.0), expected, "{from}");
        let rest: Vec<_> = reader
            .batches(Offset(from))
            .map(|batch| batch.unwrap().header().base_offset.0)
            .collect();
        let all = [5, 7, 9, 10];
        assert!(all.ends_with(&rest) && rest[0] == expected.0, "{from} {rest:?}");
    }
    assert!(reader.read(Offset(11), Offset(11), 1, true).unwrap().is_none());
    assert!(reader.read(Offset(12), Offset(12), 1, true).is_err());
}

#[test]
fn a_time_leads_to_a_record_that_is_left() {
    let mut table = compacted();
    for _ in 0..2 {
        let reader = table.log.reader();
        let at = |ms| {
            let found = reader.offset_for_timestamp(NOW.plus_ms(ms), Offset(11)).unwrap();
            found.map(|found| (found.offset.0, found.timestamp.0 - NOW.0))
        };
        let found = [0, 1, 4, 5, 6, 7, 8].map(at);
        let expected =
            [Some((5, 4)), Some((5, 4)), Some((5, 4)), Some((7, 5)), Some((9, 6)), Some((10, 7))];
        assert_eq!(found[..6], expected);
        assert_eq!(found[6], None);
        let max = reader.max_timestamp(Offset(10)).unwrap().unwrap();
        assert_eq!((max.offset, max.timestamp), (Offset(9), NOW.plus_ms(6)));
        table.reopen(); // And once more with indexes that were read back.
    }
}

#[test]
fn a_frame_without_records_has_no_time() {
    let mut table = Table::new();
    table.log.set_config(LogConfig { segment_ms: -1000, ..table.config }); // Though time goes back.
    table.put(&[("a", "1")]);
    table.now = NOW.plus_ms(100);
    table.put(&[("b", "1")]);
    table.now = NOW.plus_ms(50);
    table.put(&[("b", "2")]);
    table.roll();
    let tail = ProducerTail { from: Offset(1) };
    table.producers = HashMap::from([(ProducerId(-1), tail)]);
    table.compact();
    assert_eq!(table.frames(), [(0, 0, 1), (1, 1, 0), (2, 2, 1)]);
    for up_to in [4, 3] {
        let reader = table.log.reader();
        let max = reader.max_timestamp(Offset(up_to)).unwrap().unwrap();
        assert_eq!(max.offset, Offset(up_to - 1));
        let found = reader.offset_for_timestamp(NOW.plus_ms(60), Offset(up_to)).unwrap();
        assert_eq!(found, None);
    }
}

#[test]
fn epochs_end_where_they_did() {
    let mut table = Table::new();
    for (epoch, key) in [(0, "a"), (0, "b"), (2, "a"), (2, "a"), (5, "a")] {
        let mut builder = BatchBuilder::new();
        builder.push(&NewRecord {
            key: Some(key.as_bytes()),
            value: Some(b"x"),
            ..NewRecord::default()
        });
        let mut batch = builder.build().unwrap();
        batch.assign(table.log.end_offset(), LeaderEpoch(epoch));
        table.now = table.now.plus_ms(1);
        table.log.append(&[batch], table.now).unwrap();
    }
    table.config.segment_ms = -1; // Roll by the wall clock, as these records have no time.
    table.log.set_config(table.config);
    let ends = |table: &Table| {
        [0, 1, 2, 4, 5].map(|epoch| {
            let end = table.log.reader().epoch_end(LeaderEpoch(epoch), LeaderEpoch(7)).unwrap();
            (end.epoch.0, end.end.0)
        })
    };
    let before = ends(&table);
    table.compact();
    assert_eq!(ends(&table), before);
    table.reopen();
    assert_eq!(ends(&table), before);
}

#[test]
fn what_was_found_before_a_swap_can_be_read_behind_it() {
    let mut table = Table::new();
    for value in ["1", "2", "3"] {
        table.put(&[("a", value), ("b", value)]);
    }
    table.roll();
    let reader = table.log.reader();
    let segments = reader.all_segments();
    let held = reader.read(Offset(0), Offset(2), 1 << 20, true).unwrap().unwrap();
    let mut batches = reader.batches(Offset(0));
    batches.next().unwrap().unwrap();
    table.compact();
    assert_eq!(held.read().unwrap().len() as u64, held.len);
    // The old list of segments still reads as it did, though their names are others' now.
    for segment in segments.iter() {
        let (size, next) = segment.index(|index| (index.size_bytes, index.next)).unwrap();
        assert_eq!(size, segment.size_bytes());
        assert!(next > segment.base);
    }
    let rest: Vec<_> = batches.map(|batch| batch.unwrap().header().base_offset.0).collect();
    assert_eq!(rest, [4, 6]);
    // Their files go in time.
    let due = table.log.next_due().unwrap();
    assert_eq!(table.log.remove_due(due).unwrap(), 3);
    assert_eq!(held.read().unwrap().len() as u64, held.len);
    assert_eq!(table.log.next_due(), None);
}

#[test]
fn files_taken_away_twice_under_one_name_go_once() {
    let mut table = Table::new();
    for round in 0..3 {
        table.put(&[("a", "x")]);
        table.put(&[("a", "y")]);
        table.roll();
        table.now = table.now.plus_ms(10 * round);
        assert!(table.compact() > 0);
    }
    let names = || {
        let entries = table.fs.list(&table.dir).unwrap();
        entries.into_iter().filter(|entry| entry.name.ends_with(".deleted")).count()
    };
    let count = names();
    assert!(count > 2);
    assert_eq!(table.log.remove_due(Timestamp(i64::MAX)).unwrap(), count);
}

#[test]
fn a_log_that_was_not_compacted_before_may_have_gaps_from_then_on() {
    let mut table = Table::new();
    table.config.compact = false;
    table.reopen();
    table.put(&[("a", "1")]);
    table.put(&[("a", "2")]);
    table.roll();
    let reader = table.log.reader();
    assert!(!reader.factory().has_gaps());
    table.compact();
    assert!(reader.factory().has_gaps());
    assert_eq!(rows(&reader).len(), 2);
    table.reopen(); // Still without the policy: the folder says it.
    assert_eq!(table.told(), "1:a=2");
}

#[test]
fn survivors_on_a_real_disk_are_read_right_past_the_page_cache_and_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(fs::RealFs);
    let mut table = Table::on(fs, folder.path().join("t-0"));
    table.config.segment_bytes = 16 << 20;
    table.log.set_config(table.config);
    let value = |round: usize, key: usize| format!("{round}-{key}-").repeat(80_000);
    for round in 0..3 {
        for key in 0..20 {
            table.put(&[(&format!("key-{key}"), &value(round, key))]);
        }
    }
    table.roll();
    let reader = table.log.reader();
    let expected = super::table(&rows(&reader));
    assert!(table.compact() > 0);
    assert_eq!(super::table(&rows(&reader)), expected);
    assert!(table.log.size_bytes() > 4 << 20, "more than is left in the page cache");
    table.reopen();
    assert_eq!(super::table(&table.rows()), expected);
    table.compact();
    assert_eq!(super::table(&table.rows()), expected);
}

/// The new segment has the name of the first old one.
#[test]
fn who_reads_an_old_segment_whose_file_was_closed_does_not_find_the_new_one() {
    let mut table = Table::new();
    for round in 0..20 {
        table.put(&[("a", &format!("{round}-").repeat(300))]);
    }
    table.roll();
    sync(&mut table.log);
    let reader = table.log.reader();
    let old = reader.all_segments();
    let close = || old.iter().for_each(|segment| segment.close_if_old());
    let mut run = reader.compact(table.plan(), &mut go_on).unwrap();
    let cleaned = run.next(&mut go_on).unwrap().unwrap();
    close();
    assert!(old[0].open_file().is_none());
    assert!(matches!(table.log.swap(cleaned, table.now).unwrap(), Swap::Done { .. }));
    close();
    let new = reader.all_segments();
    assert!(new[0].path == old[0].path && new[0].size_bytes() < old[0].size_bytes());
    assert_eq!(old[0].file().unwrap().len().unwrap(), old[0].size_bytes());
    new[0].close_if_old();
    assert!(new[0].open_file().is_none());
    assert_eq!(new[0].file().unwrap().len().unwrap(), new[0].size_bytes());
}
