//! `ottla log`: damage of a real data folder is found, shown and taken out, and the broker starts.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::commands::{feed, run};
use crate::support::{Broker, Storage};

/// A data folder with the topic `t`, one partition, whose batches hold one line each.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn with_lines(lines: &[&str]) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        let broker = folder.start();
        let config = ["topic", "create", "t", "--partitions", "1"];
        run(broker.bootstrap(), &[&config[..], &["--config", "segment.bytes=1048576"]].concat())
            .ok();
        for line in lines {
            feed(broker.bootstrap(), &["produce", "t"], line.as_bytes()).ok();
        }
        broker.stop().unwrap();
        folder
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn start(&self) -> Broker {
        Broker::start(&Storage::Folder(self.path()), &[]).unwrap()
    }

    fn log(&self, args: &[&str]) -> crate::commands::Done {
        let path = self.path().display().to_string();
        run("", &[&["log", "--data-dir", &path], args].concat())
    }

    fn segment(&self, partition: &str, base: u64) -> PathBuf {
        self.path().join(partition).join(format!("{base:020}.log"))
    }

    /// Where each batch of a partition begins: file, position and base offset.
    fn batches(&self, partition: &str) -> Vec<(String, u64, i64)> {
        let batches = self.dump(&[partition]);
        let place = |batch: &Value| {
            let file = batch["file"].as_str().unwrap().to_owned();
            (file, batch["position"].as_u64().unwrap(), batch["base_offset"].as_i64().unwrap())
        };
        batches.iter().map(place).collect()
    }

    fn dump(&self, args: &[&str]) -> Vec<Value> {
        let out = self.log(&[&["dump", "--json"], args].concat()).ok();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn lines(&self) -> Vec<String> {
        let broker = self.start();
        let out =
            run(broker.bootstrap(), &["consume", "t", "--from-beginning", "--no-follow"]).ok();
        broker.stop().unwrap();
        out.lines().map(str::to_owned).collect()
    }
}

fn flip(path: &Path, position: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[usize::try_from(position).unwrap()] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_folder_that_kafka_compacted_is_taken() {
    let folder = Folder::with_lines(&[]);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/gaps-0");
    for entry in std::fs::read_dir(&from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "partition.metadata" {
            std::fs::copy(from.join(&name), folder.path().join("t-0").join(&name)).unwrap();
        }
    }
    std::fs::remove_file(folder.path().join("ottla-checkpoint")).unwrap();
    let left = ["at 1", "at 6", "at 8", "at 9", "at 10", "at 12", "at 13", "at 14", "last"];
    assert_eq!(folder.lines(), left);
    let table = folder.log(&["check"]).ok();
    let row = table.lines().find(|line| line.starts_with("t-0 ")).unwrap();
    assert!(row.ends_with("ok") && row.contains(" 9 "), "{table}");
    let copy = folder.dir.path().join("copy").display().to_string();
    run("", &["backup", "--data-dir", &folder.path().display().to_string(), &copy]).ok();
    run("", &["log", "--data-dir", &copy, "check"]).ok();
}

#[test]
fn a_sound_folder_is_told_so() {
    let folder = Folder::with_lines(&["a", "b", "c"]);
    let table = folder.log(&["check"]).ok();
    let row = table.lines().find(|line| line.starts_with("t-0 ")).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!((cells[1], cells[2], cells[4], cells[5], cells[6]), ("1", "3", "0", "3", "ok"));
    let found = folder.log(&["check", "t-0", "--json"]).json();
    assert_eq!(found["partitions"].as_array().unwrap().len(), 1);
    assert_eq!(found["partitions"][0]["records"], json!(3));
    assert_eq!(found["partitions"][0]["damage"], json!([]));
    assert!(folder.log(&["check", "u-0"]).fails(2).contains("u-0"));
    assert_eq!(folder.log(&["repair", "t-0"]).ok(), "t-0 has nothing to repair");
    let elsewhere = folder.dir.path().display().to_string();
    let error = run("", &["log", "check", "--data-dir", &elsewhere]).fails(1);
    assert!(error.contains("no data folder of ottla"), "{error}");
}

#[test]
fn what_a_crash_left_unfinished_is_no_damage() {
    let folder = Folder::with_lines(&["a", "b"]);
    let broker = folder.start();
    feed(broker.bootstrap(), &["produce", "t"], b"c").ok();
    broker.kill();
    let file = folder.segment("t-0", 0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(&[7; 100]);
    std::fs::write(&file, bytes).unwrap();
    let found = folder.log(&["check", "--json", "t-0"]).json();
    assert_eq!(found["partitions"][0]["unfinished_bytes"], json!(100));
    assert_eq!(folder.lines(), ["a", "b", "c"]);
    assert_eq!(
        folder.log(&["check", "--json", "t-0"]).json()["partitions"][0]["unfinished_bytes"],
        0
    );
}

#[test]
fn just_the_damaged_batch_can_be_taken_out() {
    let folder = Folder::with_lines(&["a", "b", "c", "d"]);
    let (file, position, offset) = folder.batches("t-0")[1].clone();
    flip(Path::new(&file), position + 65);

    let error = folder.log(&["check"]).fails(1);
    let named = format!("{file}: damaged at byte {position}, offset {offset}: ");
    assert!(error.contains(&named), "{error}");
    let choices = folder.log(&["repair", "t-0"]);
    assert!(choices.out.contains("--skip-damage") && choices.out.contains("--cut-at 1"));
    assert!(choices.fails(1).contains(&named));
    folder.log(&["repair", "t-0", "--skip-damage", "--dry-run"]).ok();
    let error = folder.log(&["repair", "t-0", "--skip-damage"]).fails(1);
    assert!(error.contains("--yes"), "{error}");
    folder.log(&["check"]).fails(1);

    let done = folder.log(&["repair", "t-0", "--skip-damage", "--yes", "--json"]).json();
    assert_eq!(done["plan"]["lost"][0]["from_offset"], json!(1));
    assert_eq!(done["plan"]["lost"][0]["to_offset"], json!(2));
    let kept = PathBuf::from(done["kept_in"].as_str().unwrap());
    let bytes = done["plan"]["lost"][0]["bytes"].as_u64().unwrap();
    let copy = std::fs::read_dir(kept.join("t-0")).unwrap().next().unwrap().unwrap();
    assert_eq!(copy.metadata().unwrap().len(), bytes);
    folder.log(&["check"]).ok();
    assert_eq!(folder.lines(), ["a", "c", "d"]);
    assert!(kept.exists(), "the broker leaves it alone");
}

#[test]
fn a_damaged_tail_stays_refused_until_it_is_repaired() {
    let folder = Folder::with_lines(&["a", "b", "c"]);
    let (file, position, offset) = folder.batches("t-0")[2].clone();
    // In the header: the next start after a kill meets it without reading what was durable.
    flip(Path::new(&file), position + 16);
    // Recovered after a kill; the second start must know as much as the first.
    let broker = folder.start();
    broker.kill();
    for _ in 0..2 {
        let broker = folder.start();
        let told = broker.log_tail(usize::MAX);
        assert!(
            told.contains("partition offline") && told.contains("ottla log repair t-0"),
            "{told}"
        );
        let refused = feed(broker.bootstrap(), &["produce", "t"], b"x");
        assert_ne!(refused.code, Some(0), "{refused:?}");
        broker.kill();
    }
    let cut = offset.to_string();
    folder.log(&["repair", "t-0", "--cut-at", &cut, "--yes"]).ok();
    folder.log(&["check"]).ok();
    let broker = folder.start();
    feed(broker.bootstrap(), &["produce", "t"], b"d").ok();
    broker.stop().unwrap();
    assert_eq!(folder.lines(), ["a", "b", "d"]);
}

#[test]
fn whole_segments_can_be_dropped() {
    let large: Vec<String> = (0..8).map(|i| format!("{i}{}", "x".repeat(300_000))).collect();
    let large: Vec<_> = large.iter().map(String::as_str).collect();
    let folder = Folder::with_lines(&large);
    let starts =
        |lines: &[String]| lines.iter().map(|line| line[..1].to_owned()).collect::<Vec<_>>();
    flip(&folder.segment("t-0", 3), 65);
    let error = folder.log(&["repair", "t-0", "--cut-at", "5", "--yes"]).fails(2);
    assert!(error.contains("offset 3"), "{error}");
    assert!(folder.log(&["repair", "t-0", "--drop-segment", "4"]).fails(2).contains('4'));
    folder.log(&["repair", "t-0", "--drop-segment", "3", "--yes"]).ok();
    folder.log(&["check"]).ok();
    assert_eq!(starts(&folder.lines()), ["0", "1", "2", "6", "7"]);
    folder.log(&["repair", "t-0", "--drop-segment", "0", "--yes"]).ok();
    folder.log(&["check"]).ok();
    assert_eq!(starts(&folder.lines()), ["6", "7"]);
    folder.log(&["repair", "t-0", "--cut-at", "7", "--yes"]).ok();
    assert_eq!(starts(&folder.lines()), ["6"]);
}

#[test]
fn a_missing_folder_is_found() {
    let folder = Folder::with_lines(&["a", "b"]);
    std::fs::remove_dir_all(folder.path().join("t-0")).unwrap();
    let error = folder.log(&["check"]).fails(1);
    assert!(error.contains("t-0: damaged") && error.contains("missing"), "{error}");
}

#[test]
fn a_running_brokers_folder_is_only_read() {
    let folder = Folder::with_lines(&["a"]);
    let broker = folder.start();
    for args in [&["check"][..], &["repair", "t-0"]] {
        let error = folder.log(args).fails(3);
        assert!(error.contains(&broker.pid().to_string()), "{error}");
    }
    assert_eq!(folder.batches("t-0").len(), 1);
    broker.stop().unwrap();
}

#[test]
fn dumps_say_what_the_brokers_own_records_mean() {
    let folder = Folder::with_lines(&["a", "b", "c"]);
    let broker = folder.start();
    let consume = ["consume", "t", "--from-beginning", "--no-follow", "-g", "readers"];
    run(broker.bootstrap(), &consume).ok();
    broker.stop().unwrap();
    let meanings = |partition: &str| -> Vec<Value> {
        let batches = folder.dump(&[partition]);
        let records = batches.iter().flat_map(|batch| batch["records"].as_array().unwrap().clone());
        records.map(|record| record["meaning"].clone()).collect()
    };
    let topic = meanings("__cluster_metadata-0");
    assert!(topic.iter().any(|one| one["record"] == "topic" && one["name"] == "t"), "{topic:?}");
    let offsets = meanings("__consumer_offsets-0");
    let is_commit = |one: &&Value| one["record"] == "offset" && one["group"] == "readers";
    assert!(offsets.iter().any(|one| is_commit(&one) && one["offset"] == json!(3)), "{offsets:?}");
    let text = folder.log(&["dump", "__consumer_offsets-0"]).ok();
    assert!(text.contains("\"group\":\"readers\""), "{text}");

    let values = folder.dump(&["t-0", "--values", "--offset", "1", "--max", "1"]);
    assert_eq!(values.len(), 1);
    assert_eq!(values[0]["records"][0]["value"], json!("b"));
    let file = folder.segment("t-0", 0).display().to_string();
    assert_eq!(run("", &["log", "dump", &file]).ok().lines().count(), 6);
}

#[test]
fn markers_and_what_they_end_are_told() {
    let folder = Folder::with_lines(&[]);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/transactions-0");
    for entry in std::fs::read_dir(&from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "partition.metadata" {
            std::fs::copy(from.join(&name), folder.path().join("t-0").join(&name)).unwrap();
        }
    }
    std::fs::remove_file(folder.path().join("ottla-checkpoint")).unwrap();
    let batches = folder.dump(&["t-0"]);
    let control = batches.iter().filter(|batch| batch["is_control"] == json!(true));
    let markers: Vec<_> = control.map(|batch| batch["records"][0]["meaning"].clone()).collect();
    let marker = |outcome: &str| json!({"marker": outcome, "coordinator_epoch": 0});
    assert_eq!(markers, [marker("commit"), marker("abort"), marker("commit"), marker("commit")]);
    let text = folder.log(&["dump", "t-0"]).ok();
    let line = text.lines().find(|line| line.contains("abort")).unwrap();
    assert!(
        line.ends_with("abort of the transaction of producer 4, coordinator epoch 0"),
        "{line}"
    );
    let open = || {
        let found = folder.log(&["check", "t-0", "--json"]).json();
        assert_eq!(found["partitions"][0]["damage"], json!([]));
        assert_eq!(found["partitions"][0]["aborted_transactions"], json!(1));
        found["partitions"][0]["open_transactions"].clone()
    };
    assert_eq!(open(), json!([]));
    // The last marker never came.
    let file = folder.segment("t-0", 5);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 78]).unwrap();
    assert_eq!(open(), json!([{"producer_id": 5, "producer_epoch": 0, "first_offset": 18}]));
    let notes = folder.log(&["check", "t-0", "--json"]).json()["notes"].to_string();
    assert!(notes.contains("t-0: producer 5 of epoch 0 has a transaction open from offset 18"));
}

#[test]
fn topics_that_a_repaired_catalog_has_lost_keep_their_data() {
    let folder = Folder::with_lines(&["a"]);
    let batches = folder.batches("__cluster_metadata-0");
    let records = folder.dump(&["__cluster_metadata-0"]);
    let is_topic = |batch: &Value| batch.to_string().contains("\"name\":\"t\"");
    let (file, position, offset) = batches[records.iter().position(is_topic).unwrap()].clone();
    flip(Path::new(&file), position + 65);
    let started = Broker::start(&Storage::Folder(folder.path()), &[]).map(|_| ());
    let told = started.unwrap_err();
    assert!(told.contains("ottla log repair __cluster_metadata-0"), "{told}");
    let cut =
        ["repair", "__cluster_metadata-0", "--cut-at", &offset.to_string(), "--yes", "--json"];
    let done = folder.log(&cut).json();
    let kept = PathBuf::from(done["kept_in"].as_str().unwrap());
    folder.start().stop().unwrap();
    assert!(kept.join("t-0/00000000000000000000.log").exists());
}

#[test]
fn a_folder_of_no_known_topic_is_told_of_and_kept() {
    let folder = Folder::with_lines(&["a"]);
    let (from, to) = (folder.path().join("t-0"), folder.path().join("lost-0"));
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(&from).unwrap() {
        let name = entry.unwrap().file_name();
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
    let notes = || folder.log(&["check", "--json"]).json()["notes"].to_string();
    assert!(notes().contains("the next start keeps it as lost-0.UUID-stray"), "{}", notes());
    folder.start().stop().unwrap();
    folder.start().stop().unwrap();
    let told = notes();
    let name = told.split('"').find_map(|note| note.split_once(':').map(|(name, _)| name)).unwrap();
    assert!(name.starts_with("lost-0.") && name.ends_with("-stray"), "{told}");
    assert!(folder.path().join(name).join("00000000000000000000.log").exists());
    assert!(told.contains("never removed by ottla"), "{told}");
    // The way back, as docs/durability.md has it.
    let broker = folder.start();
    run(broker.bootstrap(), &["topic", "create", "lost", "--partitions", "1"]).ok();
    broker.stop().unwrap();
    let log = "00000000000000000000.log";
    std::fs::rename(folder.path().join(name).join(log), to.join(log)).unwrap();
    std::fs::remove_file(folder.path().join("ottla-checkpoint")).unwrap();
    let broker = folder.start();
    let read = ["consume", "lost", "--from-beginning", "--no-follow"];
    assert_eq!(run(broker.bootstrap(), &read).ok(), "a");
}

#[test]
fn snapshots_of_the_catalog_are_checked_copied_and_never_replaced_by_an_older_state() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let setting = ["--set", "metadata.log.max.record.bytes.between.snapshots=1"];
    let broker = Broker::start(&Storage::Folder(data.clone()), &setting).unwrap();
    run(broker.bootstrap(), &["topic", "create", "t"]).ok();
    let snapshots = |data: &Path| {
        let entries = std::fs::read_dir(data.join("__cluster_metadata-0")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "checkpoint")).collect::<Vec<_>>()
    };
    let is_there = || snapshots(&data).len() == 1;
    assert!(crate::support::wait_until(std::time::Duration::from_secs(30), is_there));
    run(broker.bootstrap(), &["topic", "create", "u"]).ok();
    let copy = folder.path().join("copy");
    let (from, to) = (data.display().to_string(), copy.display().to_string());
    run("", &["backup", &to, "--data-dir", &from]).ok();
    broker.stop().unwrap();

    run("", &["log", "check", "--data-dir", &to]).ok();
    let broker = Broker::start(&Storage::Folder(copy.clone()), &[]).unwrap();
    let topics = run(broker.bootstrap(), &["topic", "list"]).ok();
    assert!(topics.lines().any(|line| line.starts_with('t')), "{topics}");
    assert!(topics.lines().any(|line| line.starts_with('u')), "{topics}");
    broker.stop().unwrap();

    let snapshot = snapshots(&copy).remove(0);
    let dump = run("", &["log", "dump", &snapshot.display().to_string()]).ok();
    assert!(dump.contains("\"name\":\"t\""), "{dump}");
    flip(&snapshot, 120);
    let error = run("", &["log", "check", "--data-dir", &to]).fails(1);
    assert!(error.contains(&snapshot.display().to_string()), "{error}");
    let refused = Broker::start(&Storage::Folder(copy), &[]).map(|_| ()).unwrap_err();
    assert!(refused.contains(".checkpoint"), "{refused}");
}
