//! A run that is cut short at each call that changes the disk: the next start finds the table as it
//! was, with no record lost and none back from the dead.

use super::super::super::fs::{Crash, Fault, FaultKind, Op};
use super::*;

/// A table with several groups of segments, two of them changed, a tombstone to drop and one to keep.
fn prepared() -> (FaultyFs, Table) {
    let disk = disk();
    let mut table = Table::on(Arc::new(disk.clone()), dir());
    table.config.segment_bytes = 300;
    table.put(&[("a", "1"), ("b", "1"), ("gone", "1")]);
    table.put(&[("c", "1"), ("gone", "-")]);
    table.roll();
    table.compact();
    table.now = table.now.plus_ms(DELETE_RETENTION_MS);
    for value in ["2", "3"] {
        table.put(&[("a", value)]);
        table.put(&[("b", value), ("c", "-")]);
        table.put(&[("d", value)]);
    }
    table.roll();
    sync(&mut table.log);
    (disk, table)
}

fn expected() -> BTreeMap<String, String> {
    let (_, table) = prepared();
    super::table(&table.rows())
}

/// Fails every call from the `after`-th on.
fn break_from(disk: &FaultyFs, after: u64, kind: FaultKind) {
    for after in after..after + 100 {
        disk.inject(Fault { op: Op::Any, after, kind });
    }
}

fn check_opened(disk: FaultyFs, end: Offset, before: &[Row], what: &str) {
    let mut table = Table { fs: Arc::new(disk.clone()), ..Table::new() };
    table.config.segment_bytes = 300;
    table.now = NOW.plus_ms(2 * DELETE_RETENTION_MS);
    let checkpoint = Checkpoint { durable_up_to: end, ..Checkpoint::default() };
    table.open(checkpoint).unwrap_or_else(|error| panic!("{what}: {error}"));
    let check = |table: &Table| {
        let rows = table.rows();
        assert_eq!(super::table(&rows), expected(), "{what}");
        assert!(rows.iter().all(|row| before.contains(row)), "{what}: {rows:?}");
        assert_eq!((table.log.start_offset(), table.log.end_offset()), (Offset(0), end), "{what}");
    };
    check(&table);
    let entries = disk.list(&dir()).unwrap();
    let is_left =
        |name: &str| [".swap", ".cleaned", ".deleted"].iter().any(|it| name.ends_with(it));
    assert!(!entries.iter().any(|entry| is_left(&entry.name)), "{what}: {entries:?}");
    table.roll();
    table.compact();
    let rows = table.rows();
    let mut all = super::table(&rows);
    all.retain(|key, _| !key.starts_with("active-"));
    let mut wanted = expected();
    wanted.retain(|key, _| !key.starts_with("active-"));
    assert_eq!(all, wanted, "{what}");
    // With the tombstones whose time is not over, all that a compacted table may have.
    let mut keys: Vec<_> = rows.iter().map(|row| &row.1).collect();
    keys.dedup();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "{what}: {rows:?}");
}

#[test]
fn a_crash_at_every_call_of_a_run_loses_nothing_and_brings_nothing_back() {
    for kind in [FaultKind::Error(std::io::ErrorKind::Other), FaultKind::Torn] {
        for after in 0.. {
            let (disk, mut table) = prepared();
            let (before, end) = (table.rows(), table.log.end_offset());
            break_from(&disk, after, kind);
            let result = table.try_compact();
            disk.heal();
            for crash in [Crash::DropUnsynced]
                .into_iter()
                .chain((0..6).map(Crash::KeepPrefix))
                .chain((0..3).map(Crash::KeepAny))
            {
                check_opened(
                    disk.crash(crash),
                    end,
                    &before,
                    &format!("{kind:?} {after} {crash:?}"),
                );
            }
            // kill -9: all that was done is there.
            check_opened(disk, end, &before, &format!("{kind:?} {after}"));
            if result.is_ok() {
                assert!(after > 20, "{after} calls");
                break;
            }
        }
    }
}

#[test]
fn a_crash_at_every_call_of_a_recovery_does_no_harm_either() {
    for after in 0.. {
        // In the middle of a swap: the new segment counts, some of the old ones are left.
        let (disk, mut table) = prepared();
        let (before, end) = (table.rows(), table.log.end_offset());
        disk.inject(Fault { op: Op::Rename, after: 2, kind: FaultKind::Torn });
        table.try_compact().unwrap_err();
        let names = disk.list(&dir()).unwrap();
        assert!(names.iter().any(|entry| entry.name.ends_with(".swap")), "{names:?}");
        let disk = disk.crash(Crash::KeepPrefix(u64::MAX));
        break_from(&disk, after, FaultKind::Error(std::io::ErrorKind::Other));
        let checkpoint = Checkpoint { durable_up_to: end, ..Checkpoint::default() };
        table.fs = Arc::new(disk.clone());
        let opened = table.open(checkpoint);
        disk.heal();
        for crash in [Crash::DropUnsynced, Crash::KeepPrefix(after), Crash::KeepPrefix(after + 7)] {
            check_opened(disk.crash(crash), end, &before, &format!("recovery {after} {crash:?}"));
        }
        check_opened(disk, end, &before, &format!("recovery {after}"));
        if opened.is_ok() {
            assert!(after > 3, "{after} calls");
            break;
        }
    }
}

#[test]
fn one_failure_before_anything_counts_leaves_a_log_that_goes_on() {
    for (op, after) in [(Op::Create, 0), (Op::Write, 0), (Op::SyncData, 0), (Op::Rename, 0)] {
        let (disk, mut table) = prepared();
        let before = table.rows();
        disk.inject(Fault { op, after, kind: FaultKind::Error(std::io::ErrorKind::StorageFull) });
        let error = table.try_compact().unwrap_err();
        assert!(matches!(error, CompactError::Write(_)), "{op:?}: {error}");
        assert!(!table.log.is_poisoned(), "{op:?}");
        assert_eq!(table.rows(), before, "{op:?}");
        table.put(&[("e", "1")]);
        table.compact();
        let mut wanted = expected();
        wanted.insert("e".to_owned(), "1".to_owned());
        assert_eq!(super::table(&table.rows()), wanted, "{op:?}");
    }
}

#[test]
fn a_failure_behind_that_takes_the_log_offline_and_the_next_start_mends_it() {
    for (op, after) in [(Op::SyncDir, 0), (Op::Rename, 1), (Op::Rename, 2)] {
        let (disk, mut table) = prepared();
        let (before, end) = (table.rows(), table.log.end_offset());
        disk.inject(Fault { op, after, kind: FaultKind::Torn });
        table.try_compact().unwrap_err();
        assert!(table.log.is_poisoned(), "{op:?}");
        check_opened(disk, end, &before, &format!("{op:?} {after}"));
    }
}

/// The disk as a crash leaves it that comes as soon as the swap counts.
fn with_swap() -> (FaultyFs, Vec<Row>, Offset) {
    let (disk, mut table) = prepared();
    let (before, end) = (table.rows(), table.log.end_offset());
    disk.inject(Fault { op: Op::Rename, after: 1, kind: FaultKind::Torn });
    table.try_compact().unwrap_err();
    (disk, before, end)
}

fn swap_name(disk: &FaultyFs) -> PathBuf {
    let names = disk.list(&dir()).unwrap();
    let swap = names.iter().find(|entry| entry.name.ends_with(".swap")).unwrap();
    dir().join(&swap.name)
}

#[test]
fn a_damaged_swap_file_is_undone_while_its_sources_are_there() {
    let (disk, before, end) = with_swap();
    assert!(disk.flip(&swap_name(&disk), 70, 4));
    check_opened(disk, end, &before, "undone");
}

#[test]
fn a_damaged_swap_file_without_its_sources_is_damage_and_nothing_is_changed() {
    let (disk, _, end) = with_swap();
    let swap = swap_name(&disk);
    assert!(disk.flip(&swap, 70, 4));
    let base = layout::parse_swap_file(swap.file_name().unwrap().to_str().unwrap()).unwrap();
    let source = dir().join(layout::segment_file(base));
    disk.rename(&source, &source.with_extension("log.deleted")).unwrap();
    let names = disk.list(&dir()).unwrap();
    let mut table = Table { fs: Arc::new(disk.clone()), ..Table::new() };
    let error = table.open(Checkpoint { durable_up_to: end, ..Checkpoint::default() });
    assert!(matches!(error, Err(LogError::Damaged(_))), "{error:?}");
    assert_eq!(disk.list(&dir()).unwrap(), names);
}
