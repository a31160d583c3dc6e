//! What tools see of a log that nobody has open, and what they take out of it.

use super::super::fs::{Crash, Fault, FaultKind, FaultyFs, Op};
use super::super::inspect::{Inspection, inspect};
use super::super::repair::{Choice, Plan};
use super::*;

/// Two records a batch, some four segments, all of it on disk.
fn written() -> (FaultyFs, Offset) {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..160 {
        append(&mut log, 2);
    }
    let end = log.close().unwrap();
    (disk, end)
}

fn look(fs: &FaultyFs, checkpoint: Checkpoint) -> Inspection {
    inspect(fs, &dir(), checkpoint, &mut |_, _| {}).unwrap()
}

fn stopped(end: Offset) -> Checkpoint {
    Checkpoint { durable_up_to: end, clean: true, ..Checkpoint::default() }
}

fn killed(end: Offset) -> Checkpoint {
    Checkpoint { durable_up_to: end, ..Checkpoint::default() }
}

fn segment(number: usize, log: &Inspection) -> PathBuf {
    log.segments[number].path.clone()
}

#[test]
fn a_sound_log_is_seen_as_it_is() {
    let (disk, end) = written();
    for checkpoint in [stopped(end), killed(end), Checkpoint::default()] {
        let log = look(&disk, checkpoint);
        assert_eq!((log.start, log.end, log.batches, log.records), (Offset(0), end, 160, 320));
        assert_eq!((log.damage().count(), &log.torn, log.notes.len()), (0, &None, 0));
        assert!(log.segments.len() > 3);
    }
    let log = look(&disk, stopped(end.plus(2)));
    assert!(log.faults[0].reason.contains("was stopped at 322"), "{:?}", log.faults);
}

#[test]
fn every_flipped_bit_of_log_and_index_is_seen() {
    let (disk, end) = written();
    let sound = look(&disk, stopped(end));
    for segment in &sound.segments {
        for position in (0..segment.size_bytes).step_by(61) {
            let at = usize::try_from(position).unwrap();
            disk.flip(&segment.path, at, 1 << (position % 8));
            let log = look(&disk, stopped(end));
            assert!(log.damage().next().is_some(), "byte {at} of {segment:?}");
            disk.flip(&segment.path, at, 1 << (position % 8));
        }
        let index = dir().join(layout::index_file(segment.base));
        for position in (0..disk.file_len(&index).unwrap()).step_by(13) {
            let at = usize::try_from(position).unwrap();
            disk.flip(&index, at, 4);
            assert_eq!(look(&disk, stopped(end)).notes.len(), 1, "byte {at} of {index:?}");
            disk.flip(&index, at, 4);
        }
    }
    assert_eq!(look(&disk, stopped(end)), sound);
}

#[test]
fn an_index_that_is_whole_and_wrong_is_damage() {
    let (disk, end) = written();
    let log = look(&disk, stopped(end));
    // A segment of the same length whose batches have other timestamps.
    let other = FaultyFs::new();
    let fs: Arc<dyn Fs> = Arc::new(other.clone());
    other.create_dir_all(Path::new("/data")).unwrap();
    let (mut twin, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..160 {
        let batch = batch_at(twin.end_offset(), 2, NOW.plus_ms(1));
        twin.append(&[batch], NOW).unwrap();
    }
    twin.close().unwrap();
    let index = dir().join(layout::index_file(log.segments[0].base));
    let bytes = other.read(&index, u64::MAX).unwrap();
    disk.atomic_write(&index, &bytes).unwrap();
    let log = look(&disk, stopped(end));
    assert_eq!(log.faults.len(), 1, "{log:?}");
    assert_eq!(log.faults[0].file, index);
}

#[test]
fn a_torn_tail_is_none_of_the_damage() {
    let (disk, end) = written();
    let last = look(&disk, killed(end)).segments.last().unwrap().clone();
    let file = disk.open(&last.path, fs::OpenMode::ReadWrite).unwrap();
    file.truncate(last.size_bytes - 1).unwrap();
    let log = look(&disk, killed(Offset(300)));
    assert_eq!(log.damage().count(), 0);
    assert_eq!((log.end, log.torn.unwrap().damage.offset), (Offset(318), Offset(318)));
    for checkpoint in [killed(end), stopped(end)] {
        let log = look(&disk, checkpoint);
        assert_eq!((log.damage().count(), log.torn), (1, None));
    }
}

/// Damages a log, repairs it with each call failing and crashing in turn, and opens what is left.
fn check(damage: impl Fn(&FaultyFs, &Inspection), choice: &Choice, expected: &[i64]) {
    let (disk, end) = written();
    damage(&disk, &look(&disk, killed(end)));
    for checkpoint in [killed(end), stopped(end)] {
        for after in 0.. {
            let trial = disk.crash(Crash::DropUnsynced);
            let log = look(&trial, checkpoint);
            assert!(log.damage().next().is_some());
            let plan = Plan::new(&trial, &dir(), &log, choice).unwrap();
            assert_eq!(plan.left, 0);
            trial.inject(Fault { op: Op::Any, after, kind: FaultKind::Torn });
            let done = plan.carry_out(&trial, &dir(), Path::new("/data/repair-1Z/topic-0"));
            trial.heal();
            let trial = trial.crash(Crash::KeepPrefix(after));
            let context = format!("call {after}, {checkpoint:?}, {choice:?}: {done:?}");
            if done.is_ok() {
                let kept: u64 = trial
                    .list(Path::new("/data/repair-1Z/topic-0"))
                    .unwrap()
                    .iter()
                    .map(|e| {
                        trial.file_len(&Path::new("/data/repair-1Z/topic-0").join(&e.name)).unwrap()
                    })
                    .sum();
                assert_eq!(
                    kept,
                    plan.lost.iter().map(|lost| lost.length).sum::<u64>(),
                    "{context}"
                );
            } else if look(&trial, checkpoint).damage().next().is_some() {
                // Tried again, it comes to the same end. (Without damage it had come so far.)
                let log = look(&trial, checkpoint);
                let again = Plan::new(&trial, &dir(), &log, choice)
                    .unwrap_or_else(|error| panic!("{context}: {error}: {log:?}"));
                let keep = Path::new("/data/repair-2Z/topic-0");
                again.carry_out(&trial, &dir(), keep).unwrap();
            }
            let ends = Checkpoint {
                log_start: plan.start,
                durable_up_to: plan.end,
                clean: checkpoint.clean,
            };
            assert_eq!(look(&trial, ends).damage().count(), 0, "{context}");
            assert_eq!(look(&trial, Checkpoint::default()).damage().count(), 0, "{context}");
            let walked: Arc<dyn Fs> = Arc::new(trial.crash(Crash::DropUnsynced));
            let (log, _) = open(&walked, Checkpoint::default()).unwrap();
            assert_eq!(read_all(&log.reader()), expected, "{context}");
            let fs: Arc<dyn Fs> = Arc::new(trial);
            let (mut log, recovery) = open(&fs, ends).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(recovery.truncated_bytes, 0, "{context}");
            assert_eq!(read_all(&log.reader()), expected, "{context}");
            append(&mut log, 1);
            if done.is_ok() {
                break;
            }
        }
    }
}

/// Flips a byte in the records of the second batch of a segment.
fn flip_second(disk: &FaultyFs, log: &Inspection, number: usize) {
    let path = segment(number, log);
    let bytes = disk.read(&path, u64::MAX).unwrap();
    let length = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    assert!(disk.flip(&path, 12 + length + 70, 1));
}

#[test]
fn a_wrong_leader_epoch_is_put_right_without_a_loss() {
    let flip = |disk: &FaultyFs, log: &Inspection| {
        let path = segment(1, log);
        let bytes = disk.read(&path, u64::MAX).unwrap();
        let second = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        assert!(disk.flip(&path, 13, 1) && disk.flip(&path, second + 15, 4));
    };
    let all: Vec<i64> = (0..320).collect();
    check(flip, &Choice::SkipDamage, &all);
}

#[test]
fn only_the_damaged_batches_are_taken_out() {
    let (disk, end) = written();
    let log = look(&disk, stopped(end));
    let gone: Vec<i64> = [1, 2]
        .iter()
        .flat_map(|n| [log.segments[*n].base.0 + 2, log.segments[*n].base.0 + 3])
        .collect();
    let expected: Vec<i64> = (0..320).filter(|offset| !gone.contains(offset)).collect();
    let damage = |disk: &FaultyFs, log: &Inspection| {
        flip_second(disk, log, 1);
        flip_second(disk, log, 2);
    };
    check(damage, &Choice::SkipDamage, &expected);
}

#[test]
fn everything_from_the_damage_on_is_cut() {
    let (disk, end) = written();
    let base = look(&disk, stopped(end)).segments[1].base;
    let expected: Vec<i64> = (0..base.0 + 2).collect();
    check(|disk, log| flip_second(disk, log, 1), &Choice::CutAt(base.plus(2)), &expected);
}

#[test]
fn segments_are_dropped_whole() {
    let (disk, end) = written();
    let log = look(&disk, stopped(end));
    let (first, second, third) = (log.segments[0].base, log.segments[1].base, log.segments[2].base);
    let expected: Vec<i64> = (0..320).filter(|o| !(second.0..third.0).contains(o)).collect();
    let choice = Choice::DropSegments(vec![second]);
    check(|disk, log| flip_second(disk, log, 1), &choice, &expected);
    let expected: Vec<i64> = (third.0..320).collect();
    let choice = Choice::DropSegments(vec![first, second]);
    check(|disk, log| flip_second(disk, log, 0), &choice, &expected);
}

#[test]
fn a_missing_segment_leaves_the_rest() {
    let (disk, end) = written();
    let log = look(&disk, stopped(end));
    let (second, third) = (log.segments[1].base, log.segments[2].base);
    let expected: Vec<i64> = (0..320).filter(|o| !(second.0..third.0).contains(o)).collect();
    let damage = |disk: &FaultyFs, log: &Inspection| {
        disk.remove_file(&segment(1, log)).unwrap();
        disk.sync_dir(&dir()).unwrap();
    };
    check(damage, &Choice::SkipDamage, &expected);
}
