//! A log that Kafka compacted (`tests/vectors/gaps-0`): it begins in front of its first batch, has
//! gaps within segments and between them, and a segment with nothing in it. It is read, checked,
//! copied, gone on with, compacted and shortened like any other.

use super::super::super::copy::copy_log;
use super::super::super::fs::{Crash, Fault, FaultKind, Op, OpenMode, RealFs};
use super::super::super::inspect::{Inspection, inspect};
use super::super::super::repair;
use super::*;

/// Offsets that Kafka left, as `told` has them.
const LEFT: &str = "1:keep-1=at 1 6:keep-2=at 6 8:b=at 8 9:a=at 9 10:c=at 10 12:d=at 12 13:e=at 13 \
                    14:d=at 14 15:last=last";

fn kafkas() -> FaultyFs {
    let disk = disk();
    disk.create_dir_all(&dir()).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/gaps-0");
    for entry in RealFs.list(&from).unwrap() {
        let bytes = RealFs.read(&from.join(&entry.name), 1 << 20).unwrap();
        let file = disk.open(&dir().join(&entry.name), OpenMode::CreateNew).unwrap();
        file.write_vectored_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_dir(&dir()).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk
}

fn opened(disk: &FaultyFs) -> Table {
    Table { now: Timestamp(1_700_000_100_000), ..Table::on(Arc::new(disk.clone()), dir()) }
}

fn look(fs: &dyn Fs, dir: &Path) -> Inspection {
    inspect(fs, dir, Checkpoint::default(), &mut |_, _| {}).unwrap()
}

#[test]
fn it_is_read_from_every_offset() {
    let disk = kafkas();
    let config = LogConfig { compact: false, ..config() };
    let fs: Arc<dyn Fs> = Arc::new(disk);
    let (log, recovery) = Log::open(fs, dir(), config, Checkpoint::default(), NOW).unwrap();
    assert_eq!(recovery.truncated_from, None);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(16)));
    let reader = log.reader();
    for from in 0..16 {
        let left = [1, 6, 8, 9, 10, 12, 13, 14, 15];
        let expected: Vec<i64> = left.into_iter().filter(|offset| from <= *offset).collect();
        let batches = reader.batches(Offset(from)).map(|batch| batch.unwrap().header().base_offset);
        assert_eq!(batches.map(|base| base.0).collect::<Vec<_>>(), expected, "{from}");
        let range = reader.read(Offset(from), Offset(16), 1, true).unwrap().unwrap();
        assert_eq!(Some(&range.base_offset.0), expected.first(), "{from}");
    }
    // Nothing but a gap is before these.
    for (from, up_to) in [(2, 3), (2, 6), (3, 6), (11, 12)] {
        assert!(reader.read(Offset(from), Offset(up_to), 100, true).unwrap().is_none(), "{from}");
    }
}

#[test]
fn nothing_of_it_is_damage_to_the_tools() {
    let disk = kafkas();
    let log = look(&disk, &dir());
    assert_eq!((log.damage().count(), log.notes.len(), &log.torn), (0, 0, &None), "{log:?}");
    assert_eq!((log.start, log.end, log.records), (Offset(0), Offset(16), 9));
    let to = Path::new("/data/copy-0");
    let copied = copy_log(&disk, &dir(), to, Offset(16), &mut |_| {}).unwrap();
    assert_eq!((copied.start, copied.end), (log.start, log.end));
    assert_eq!(look(&disk, to).damage().count(), 0);
    assert_eq!(Table::on(Arc::new(disk.clone()), to.to_owned()).told(), LEFT);
    // What is said of gaps outlasts a repair.
    let plan = repair::Plan::new(&disk, &dir(), &log, &repair::Choice::CutAt(Offset(15))).unwrap();
    plan.carry_out(&disk, &dir(), Path::new("/data/kept/t-0")).unwrap();
    assert_eq!(look(&disk, &dir()).damage().count(), 0);
    assert_eq!(opened(&disk).told(), LEFT.replace(" 15:last=last", ""));
}

#[test]
fn what_is_appended_to_it_has_no_gaps() {
    let disk = kafkas();
    let mut table = opened(&disk);
    table.put(&[("x", "1")]);
    table.put(&[("x", "2")]);
    table.put(&[("x", "3")]);
    assert_eq!(table.told(), format!("{LEFT} 16:x=1 17:x=2 18:x=3"));
    table.reopen();
    assert_eq!(table.told(), format!("{LEFT} 16:x=1 17:x=2 18:x=3"));
    sync(&mut table.log);
    // A segment of ours that is missing is missing.
    disk.remove_file(&dir().join(layout::segment_file(Offset(17)))).unwrap();
    let refused = table.open(Checkpoint::default());
    assert!(matches!(refused, Err(LogError::Damaged(_))), "{refused:?}");
    assert_eq!(look(&disk, &dir()).damage().count(), 1);
}

#[test]
fn it_is_compacted_on_and_a_crash_at_every_call_does_no_harm() {
    for after in 0.. {
        let disk = kafkas();
        let mut table = opened(&disk);
        table.put(&[("a", "new"), ("keep-2", "-")]);
        table.roll();
        sync(&mut table.log);
        let expected = super::table(&table.rows());
        for after in after..after + 100 {
            let kind = FaultKind::Error(std::io::ErrorKind::Other);
            disk.inject(Fault { op: Op::Any, after, kind });
        }
        let result = table.try_compact();
        disk.heal();
        for disk in [disk.crash(Crash::DropUnsynced), disk.crash(Crash::KeepPrefix(after)), disk] {
            let mut again = opened(&disk);
            assert_eq!(super::table(&again.rows()), expected, "{after}");
            again.compact();
            assert_eq!(super::table(&again.rows()), expected, "{after}");
            assert_eq!(look(&disk, &dir()).damage().count(), 0, "{after}");
            assert_eq!(again.cleanable().dirty_bytes, 0, "{after}");
        }
        if result.is_ok() {
            assert!(after > 10, "{after} calls");
            break;
        }
    }
}

#[test]
fn a_swap_that_kafka_left_is_finished_as_its_own() {
    let disk = kafkas();
    // Kafka was about to put what is left of two segments in their place; the first one is gone.
    let name = |base| dir().join(layout::segment_file(Offset(base)));
    disk.rename(&name(6), &dir().join(layout::swap_file(Offset(6)))).unwrap();
    disk.remove_file(&dir().join(layout::kafka_time_index_file(Offset(6)))).unwrap();
    assert_eq!(look(&disk, &dir()).damage().count(), 0);
    let table = opened(&disk);
    assert_eq!(table.told(), LEFT);
    drop(table);
    assert_eq!(opened(&disk).told(), LEFT);
}

#[test]
fn retention_goes_on_behind_a_segment_with_nothing_in_it() {
    let disk = kafkas();
    let mut table = opened(&disk);
    table.put(&[("x", "1")]);
    let config = LogConfig { retention_ms: 1000, delete: true, ..table.config };
    table.log.set_config(config);
    let deleted = table.log.enforce_retention(table.now, Offset(17)).unwrap();
    assert_eq!((deleted.segments, table.told().as_str()), (7, "16:x=1"));
    table.reopen();
    assert_eq!(table.told(), "16:x=1");
    let left = disk.list(&dir()).unwrap();
    assert!(left.iter().all(|entry| !entry.name.ends_with("index")), "{left:?}");
}
