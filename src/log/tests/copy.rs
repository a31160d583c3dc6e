//! Copies of a log that is written, and shortened, meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::copy::{Copied, CopyError, copy_log};
use super::super::fs::MemoryFs;
use super::super::inspect::inspect;
use super::*;

fn copy(fs: &Arc<dyn Fs>, to: &Path) -> Result<Copied, CopyError> {
    if fs.exists(to) {
        fs.remove_dir_all(to).unwrap();
    }
    copy_log(&**fs, &dir(), to, Offset(2), &mut |_| {})
}

#[test]
fn a_copy_of_a_log_under_way_is_a_log() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 2);
    let stop = AtomicBool::new(false);
    let mut whole = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                append(&mut log, 2);
                let end = log.end_offset();
                if end.0 % 500 == 0 {
                    log.advance_start(Offset(end.0 - 300)).unwrap();
                    log.enforce_retention(NOW, end).unwrap();
                    log.remove_due(NOW.plus_ms(60_000)).unwrap();
                }
            }
        });
        let reader = {
            let opened = Arc::clone(&fs);
            move || inspect(&*opened, Path::new("/copy/t-0"), Checkpoint::default(), &mut |_, _| {})
        };
        while whole < 30 {
            match copy(&fs, Path::new("/copy/t-0")) {
                Ok(copied) => {
                    whole += 1;
                    let seen = reader().unwrap();
                    assert_eq!((seen.damage().count(), &seen.torn), (0, &None), "{seen:?}");
                    assert_eq!((seen.start, seen.end), (copied.start, copied.end));
                    let clean = Checkpoint {
                        log_start: copied.start,
                        durable_up_to: copied.end,
                        clean: true,
                    };
                    let path = PathBuf::from("/copy/t-0");
                    let (log, _) = Log::open(Arc::clone(&fs), path, config(), clean, NOW).unwrap();
                    let expected: Vec<i64> = (copied.start.0..copied.end.0).collect();
                    assert_eq!(read_all(&log.reader()), expected);
                }
                Err(CopyError::Changed) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_folder_that_goes_while_it_is_copied_is_a_change() {
    let fs: Arc<dyn Fs> = Arc::new(MemoryFs::new());
    assert!(matches!(copy(&fs, Path::new("/copy/t-0")), Err(CopyError::Changed)), "gone before");
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    append(&mut log, 2);
    append(&mut log, 2);
    let mut delete = |_| {
        if fs.exists(&dir()) {
            fs.remove_dir_all(&dir()).unwrap();
        }
    };
    let copied = copy_log(&*fs, &dir(), Path::new("/copy/t-1"), Offset(0), &mut delete);
    // All batches may have come; then it is the catalog that says they are of no topic any more.
    assert!(matches!(copied, Ok(_) | Err(CopyError::Changed)), "{copied:?}");
}

#[test]
fn a_segment_that_had_no_name_when_they_were_listed_is_a_change() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..100 {
        append(&mut log, 2);
    }
    // As compaction does it, which takes the old file's name away before the new one gets it.
    let (first, aside) = (dir().join(layout::segment_file(Offset(0))), dir().join("aside"));
    fs.rename(&first, &aside).unwrap();
    let mut name_again = |_| {
        if fs.exists(&aside) {
            fs.rename(&aside, &first).unwrap();
        }
    };
    let copied = copy_log(&*fs, &dir(), Path::new("/data/copy-0"), Offset(2), &mut name_again);
    assert!(matches!(copied, Err(CopyError::Changed)), "{copied:?}");
}

#[test]
fn damage_is_not_copied() {
    let disk = disk();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (mut log, _) = open(&fs, Checkpoint::default()).unwrap();
    for _ in 0..3 {
        append(&mut log, 2);
    }
    assert!(disk.flip(&dir().join(layout::segment_file(Offset(0))), 70, 1));
    let refused = copy(&fs, Path::new("/data/copy-0"));
    assert!(matches!(refused, Err(CopyError::Damaged(damage)) if damage.offset == Offset(0)));
}
