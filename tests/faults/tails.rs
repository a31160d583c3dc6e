//! The last write of a log is torn at every byte: the broker starts, and all before it is there.

use ottla::log::fs::{Crash, FaultyFs, Fs, OpenMode};

use super::block_on;
use super::run::{Told, files, name, start};

/// A disk whose last change was, by turns, a record, a commit and a new topic; and the file that
/// grew by it from which length on.
async fn last_change_was(change: &str) -> (FaultyFs, Told, std::path::PathBuf, u64) {
    let disk = FaultyFs::new();
    let mut told = Told { committed: -1, ..Told::default() };
    let run = start(&disk).await.unwrap();
    run.create("a").await.unwrap();
    told.topics.insert("a".to_owned());
    for round in 0..5 {
        let value = format!("a-{round}");
        let offset = run.append("a", &value).await.unwrap();
        told.records.entry("a".to_owned()).or_default().push((offset, value));
        run.commit("a", round).await.unwrap();
        told.committed = round;
    }
    let before: Vec<_> =
        files(&disk).into_iter().map(|path| (disk.file_len(&path).unwrap(), path)).collect();
    match change {
        "record" => drop(run.append("a", "torn").await.unwrap()),
        "commit" => run.commit("a", 9).await.unwrap(),
        _ => run.create("torn").await.unwrap(),
    }
    let grown = before
        .into_iter()
        .find(|(len, path)| name(path).ends_with(".log") && disk.file_len(path).unwrap() > *len);
    let (len, path) = grown.unwrap();
    run.kill();
    (disk, told, path, len)
}

#[test]
fn a_write_torn_at_any_byte_takes_nothing_before_it_along() {
    for change in ["record", "commit", "topic"] {
        let (disk, told, path, whole) = block_on(last_change_was(change));
        let torn = disk.file_len(&path).unwrap();
        assert!(torn > whole + 60, "{change}: {whole} to {torn}");
        for len in whole..torn {
            let disk = disk.crash(Crash::DropUnsynced);
            disk.open(&path, OpenMode::ReadWrite).unwrap().truncate(len).unwrap();
            block_on(told.check(&disk, &format!("{change}, cut at byte {}", len - whole)));
        }
    }
}
