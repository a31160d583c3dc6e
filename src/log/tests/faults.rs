//! Each call of a log's life fails once, in turn: nothing acknowledged is lost, and nothing is
//! written after a failure.

use std::io;

use super::super::fs::{Crash, Fault, FaultKind, FaultyFs, Op};
use super::*;

/// What a caller was told is safe.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    end: Offset,
    start: Offset,
}

/// A life of a log, up to its first error; checks what must hold after it.
fn live(fs: &Arc<dyn Fs>, promised: &mut Promised) -> Result<(), LogError> {
    let (mut log, _) = open(fs, Checkpoint::default())?;
    for round in 0..6 {
        let visible = log.reader().end_offset();
        for _ in 0..20 {
            let batch = batch_at(log.end_offset(), 2, NOW);
            let before = log.end_offset();
            let appended = log.append(&[batch], NOW);
            if appended.is_err() {
                assert_eq!(log.reader().end_offset(), before);
            }
            if let Err(LogError::NoRoom { .. }) = appended {
                append(&mut log, 2); // There is room again.
                continue;
            }
            if appended.is_err() {
                check_dead(&mut log);
            }
            appended?;
        }
        assert!(visible < log.reader().end_offset());
        let unsynced = log.unsynced()?;
        if let Err(source) = unsynced.sync() {
            log.poison();
            check_dead(&mut log);
            return Err(LogError::Io { action: "sync", path: dir(), source });
        }
        log.mark_synced(&unsynced);
        promised.end = log.synced_end();
        let start = Offset(round * 15);
        let advanced = log.advance_start(start);
        if let Err(LogError::NoRoom { .. }) = advanced {
            assert_eq!(log.start_offset(), promised.start);
            log.advance_start(start)?;
        } else {
            if advanced.is_err() {
                check_dead(&mut log);
            }
            advanced?;
        }
        promised.start = promised.start.max(start);
        let deleted = log.enforce_retention(NOW, log.synced_end());
        if let Err(LogError::NoRoom { .. }) = deleted {
            append(&mut log, 2);
        } else {
            if deleted.is_err() {
                check_dead(&mut log);
            }
            deleted?;
        }
    }
    let end = log.close()?;
    promised.end = end;
    Ok(())
}

fn check_dead(log: &mut Log) {
    let batch = batch_at(log.end_offset(), 1, NOW);
    assert!(matches!(log.append(&[batch], NOW), Err(LogError::Poisoned)));
}

fn check_kept(fs: FaultyFs, promised: Promised, context: &str) {
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let checkpoint = Checkpoint { durable_up_to: promised.end, ..Checkpoint::default() };
    let mut log = match open(&fs, checkpoint) {
        Ok((log, _)) => log,
        // An earlier unsynced write was lost, by the power cut or the failed sync, and a later one was not:
        // told, and nothing promised.
        Err(LogError::Damaged(damage)) if damage.offset >= promised.end => return,
        Err(error) => panic!("{context}: {error}"),
    };
    assert!(log.start_offset() >= promised.start, "{context}");
    assert!(log.end_offset() >= promised.end, "{context}");
    let expected: Vec<i64> = (log.start_offset().0..log.end_offset().0).collect();
    assert_eq!(read_all(&log.reader()), expected, "{context}");
    append(&mut log, 1);
}

#[test]
fn nothing_promised_is_lost_whichever_call_fails() {
    let whole = disk();
    let before = whole.calls();
    let mut promised = Promised::default();
    live(&(Arc::new(whole.clone()) as Arc<dyn Fs>), &mut promised).unwrap();
    assert_eq!(promised.end, Offset(240));
    let calls = whole.calls() - before;
    assert!(calls > 150);
    for after in 0..calls {
        for kind in [FaultKind::NoRoom, FaultKind::Error(io::ErrorKind::Other), FaultKind::Torn] {
            let disk = disk();
            disk.inject(Fault { op: Op::Any, after, kind });
            let mut promised = Promised::default();
            let result = live(&(Arc::new(disk.clone()) as Arc<dyn Fs>), &mut promised);
            let context = format!("call {after}, {kind:?}, {result:?}");
            for crash in [Crash::DropUnsynced, Crash::KeepPrefix(after)] {
                check_kept(disk.crash(crash), promised, &context);
            }
            disk.heal();
            check_kept(disk, promised, &context);
        }
    }
}

#[test]
fn a_failed_sync_is_not_made_good_by_a_second_one() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 2);
    sync(&mut log);
    append(&mut log, 2);
    disk.inject(Fault { op: Op::SyncData, after: 0, kind: FaultKind::Torn });
    let unsynced = log.unsynced().unwrap();
    assert!(unsynced.sync().is_err());
    assert!(unsynced.sync().is_ok()); // The kernel would say so too: never believe it.
    log.poison();
    assert!(matches!(log.close(), Err(LogError::Poisoned)));
    let fs: Arc<dyn Fs> = Arc::new(disk.crash(Crash::DropUnsynced));
    let (log, _) =
        open(&fs, Checkpoint { durable_up_to: Offset(2), ..Checkpoint::default() }).unwrap();
    assert_eq!(read_all(&log.reader()), [0, 1]);
}

#[test]
fn a_poisoned_log_can_still_be_emptied() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..150 {
        append(&mut log, 2);
    }
    disk.inject(Fault { op: Op::Write, after: 0, kind: FaultKind::Torn });
    let batch = batch_at(log.end_offset(), 1, NOW);
    assert!(matches!(log.append(&[batch], NOW), Err(LogError::Io { .. })));
    check_dead(&mut log);
    log.advance_start(Offset(250)).unwrap();
    let deleted = log.enforce_retention(NOW, log.end_offset()).unwrap();
    assert!(deleted.segments > 1);
    assert_eq!(log.remove_due(NOW.plus_ms(60_000)).unwrap(), deleted.segments);
    assert_eq!(read_all(&log.reader()), (250..300).collect::<Vec<i64>>());
}

/// Batches with the offsets from `base` on, several segments of them.
fn many(base: Offset) -> Vec<ValidBatch> {
    (0..150).map(|i| batch_at(base.plus(2 * i), 2, NOW)).collect()
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was_and_usable_once_there_is_room() {
    // The write into the segment that is there, then into each new one, and the making of those.
    for (op, calls) in [(Op::Write, 4), (Op::Create, 3)] {
        for after in 0..calls {
            let disk = disk();
            let fs: Arc<dyn Fs> = Arc::new(disk.clone());
            let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
            append(&mut log, 2);
            sync(&mut log);
            let files = fs.list(&dir()).unwrap();
            let size = fs.file_len(&dir().join(layout::segment_file(Offset(0)))).unwrap();
            disk.inject(Fault { op, after, kind: FaultKind::NoRoom });
            let refused = log.append(&many(Offset(2)), NOW);
            let context = format!("{op:?} {after}: {refused:?}");
            assert!(matches!(refused, Err(LogError::NoRoom { .. })), "{context}");
            assert!(!log.is_poisoned(), "{context}");
            assert_eq!(fs.list(&dir()).unwrap(), files, "{context}");
            let file = dir().join(layout::segment_file(Offset(0)));
            assert_eq!(fs.file_len(&file).unwrap(), size, "{context}");
            assert_eq!(read_all(&log.reader()), [0, 1], "{context}");

            log.append(&many(Offset(2)), NOW).unwrap();
            sync(&mut log);
            let expected: Vec<i64> = (0..302).collect();
            assert_eq!(read_all(&log.reader()), expected, "{context}");
            let fs: Arc<dyn Fs> = Arc::new(disk.crash(Crash::DropUnsynced));
            let checkpoint = Checkpoint { durable_up_to: Offset(302), ..Checkpoint::default() };
            let (log, recovery) = open(&fs, checkpoint).unwrap();
            assert_eq!(recovery.truncated_bytes, 0, "{context}");
            assert_eq!(read_all(&log.reader()), expected, "{context}");
        }
    }
}

#[test]
fn a_full_disk_poisons_where_the_write_cannot_be_taken_back() {
    for op in [Op::Truncate, Op::Remove] {
        let disk = disk();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
        append(&mut log, 2);
        disk.inject(Fault { op: Op::Write, after: 1, kind: FaultKind::NoRoom });
        disk.inject(Fault { op, after: 0, kind: FaultKind::Torn });
        assert!(matches!(log.append(&many(Offset(2)), NOW), Err(LogError::Io { .. })));
        check_dead(&mut log);
        assert_eq!(read_all(&log.reader()), [0, 1]);
    }
}

#[test]
fn a_disk_without_room_for_the_epochs_stops_nobody() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let mut append_in = |epoch, has_room: bool| {
        let mut batch = batch_at(log.end_offset(), 2, NOW);
        batch.assign(log.end_offset(), LeaderEpoch(epoch));
        log.append(&[batch], NOW).unwrap();
        if !has_room {
            let kind = FaultKind::Error(io::ErrorKind::StorageFull);
            disk.inject(Fault { op: Op::Create, after: 0, kind });
        }
        sync(&mut log);
        assert_eq!(disk.pending_faults(), 0, "epoch {epoch}");
        assert_eq!(log.synced_end(), log.end_offset());
        // A power cut now: no older state of the epochs is found.
        let fs: Arc<dyn Fs> = Arc::new(disk.crash(Crash::DropUnsynced));
        let end = log.synced_end();
        for clean in [true, false] {
            let (again, _) =
                open(&fs, Checkpoint { durable_up_to: end, clean, ..Checkpoint::default() })
                    .unwrap();
            assert_eq!(again.epochs(), log.epochs(), "epoch {epoch}, {clean}");
        }
        disk.exists(&dir().join(layout::EPOCHS))
    };
    assert!(!append_in(0, false), "of a log that is new");
    assert!(append_in(0, true), "there is room again");
    assert!(!append_in(1, false), "those of before would be wrong");
    assert!(append_in(1, true));
}

#[test]
fn too_many_open_files_refuse_an_append_and_nothing_else() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    let mut refused = 0;
    for _ in 0..200 {
        // Each segment's file is refused once.
        disk.heal();
        disk.inject(Fault { op: Op::Create, after: 0, kind: FaultKind::NoFile });
        let batch = batch_at(log.end_offset(), 2, NOW);
        match log.append(&[batch], NOW) {
            Ok(_) => {}
            Err(LogError::NoFile { .. }) => {
                refused += 1;
                append(&mut log, 2);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 3 && !log.is_poisoned(), "{refused}");
    assert_eq!(read_all(&log.reader()), (0..400).collect::<Vec<i64>>());
}

#[test]
fn too_many_open_files_refuse_a_new_start_offset_and_nothing_else() {
    for op in [Op::Create, Op::SyncDir] {
        let disk = disk();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
        append(&mut log, 10);
        disk.inject(Fault { op, after: 0, kind: FaultKind::NoFile });
        let refused = log.advance_start(Offset(5));
        assert!(matches!(refused, Err(LogError::NoFile { .. })), "{refused:?}");
        assert_eq!(log.start_offset(), Offset(0));
        append(&mut log, 10);
        log.advance_start(Offset(6)).unwrap();
        assert_eq!(read_all(&log.reader()), (6..20).collect::<Vec<i64>>());
    }
}
