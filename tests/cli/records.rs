//! `produce` and `consume`.

use std::io::Read;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::commands::Cluster;

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_is_produced_is_consumed() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "3"]).ok();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        for acks in ["0", "1", "all"] {
            let args = ["produce", "t", "-K", "=", "-z", codec, "--acks", acks];
            let input = format!("{codec}={acks}\r\n");
            assert_eq!(cluster.feed(&args, input.as_bytes()).code, Some(0));
        }
    }
    // acks=0 is answered by nobody; a later answer says that it is there.
    cluster.feed(&["produce", "t"], b"last").ok();
    let args = ["consume", "t", "--from-beginning", "-n", "16", "-f", "%k=%s\\n"];
    let found = cluster.run(&args).ok();
    let mut expected = vec!["NULL=last".to_owned()];
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        expected.extend(["0", "1", "all"].map(|acks| format!("{codec}={acks}")));
    }
    expected.sort_unstable();
    assert_eq!(lines(&found), expected);
}

#[test]
fn keys_headers_and_tombstones_arrive() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "2"]).ok();
    let args =
        ["produce", "t", "-K", "::", "--null-value", "-", "-p", "1", "-H", "a=1", "-H", "a=2"];
    let done = cluster.feed(&[&args[..], &["--json"]].concat(), b"k::v::w\nk::-\n::\n").json();
    let partitions = json!([{ "partition": 1, "first_offset": 0, "next_offset": 3 }]);
    assert_eq!(done, json!({ "topic": "t", "records": 3, "partitions": partitions }));
    let found = cluster.run(&["consume", "t", "--from-beginning", "--no-follow", "--json"]).ok();
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let headers = json!([{ "name": "a", "value": "1" }, { "name": "a", "value": "2" }]);
    let kept = |offset: usize, name: &str| found[offset][name].clone();
    assert_eq!(found.len(), 3);
    assert_eq!((kept(0, "key"), kept(0, "value")), (json!("k"), json!("v::w")));
    assert_eq!((kept(1, "key"), kept(1, "value")), (json!("k"), Value::Null));
    assert_eq!((kept(2, "key"), kept(2, "value")), (json!(""), json!("")));
    assert_eq!((kept(2, "partition"), kept(2, "offset")), (json!(1), json!(2)));
    assert_eq!(kept(0, "headers"), headers);
}

#[test]
fn a_key_goes_where_other_clients_put_it() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "12"]).ok();
    cluster.feed(&["produce", "t", "-K", ":"], b"21:x\nfoobar:x\nabc:x\n").ok();
    let args = ["consume", "t", "--from-beginning", "--no-follow", "-f", "%k %p\\n"];
    // toPositive(murmur2(key)) % 12, by the hashes of Kafka's own unit test.
    let places: Vec<String> =
        [("21", -973_932_308_i32), ("abc", 479_470_107), ("foobar", -790_332_482)]
            .iter()
            .map(|(key, hash)| format!("{key} {}", (hash & 0x7fff_ffff) % 12))
            .collect();
    assert_eq!(lines(&cluster.run(&args).ok()), places);
}

#[test]
fn a_topic_that_is_missing_is_made_by_the_first_record() {
    let cluster = Cluster::start();
    cluster.feed(&["produce", "fresh"], b"one\n").ok();
    assert_eq!(cluster.run(&["consume", "fresh", "--offset", "0", "--no-follow"]).ok(), "one");
}

#[test]
fn a_consumer_begins_and_ends_where_it_is_told() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "1"]).ok();
    let file = tempfile::NamedTempFile::new().unwrap();
    let numbers: String = (0..10).map(|number| format!("{number}\n")).collect();
    std::fs::write(file.path(), numbers).unwrap();
    let path = file.path().display().to_string();
    cluster.run(&["produce", "t", "--file", &path]).ok();

    let consume = |args: &[&str]| {
        let args = [&["consume", "t", "--no-follow"], args].concat();
        cluster.run(&args).ok().lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(consume(&["--from-beginning"]), "0 1 2 3 4 5 6 7 8 9");
    assert_eq!(consume(&[]), "");
    assert_eq!(consume(&["--offset", "7"]), "7 8 9");
    assert_eq!(consume(&["--offset", "-2"]), "8 9");
    assert_eq!(consume(&["--offset", "-99", "-n", "1"]), "0");
    assert_eq!(consume(&["--offset", "99"]), "");
    assert_eq!(consume(&["--since", "1h"]), "0 1 2 3 4 5 6 7 8 9");
    assert_eq!(consume(&["--since", "2099-01-01"]), "");
    assert_eq!(consume(&["--from-beginning", "-n", "3", "-p", "0"]), "0 1 2");
    let error = cluster.run(&["consume", "t", "-p", "1"]).fails(1);
    assert_eq!(error, "error: topic t has no partition 1: it has 1, from 0 on");
    let error = cluster.run(&["consume", "t", "--since", "yesterday"]).fails(2);
    assert!(error.starts_with("error: \"yesterday\" is no time"), "{error}");
}

#[test]
fn a_follower_sees_new_records_until_it_is_told_to_stop() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "1"]).ok();
    cluster.feed(&["produce", "t"], b"old\n").ok();
    let follower = cluster.start_command(&["consume", "t", "--offset", "1"]);
    cluster.feed(&["produce", "t"], b"new\n").ok();
    assert_eq!(follower.wait_lines(1), ["new"]);
    follower.signal(Signal::INT);
    assert_eq!(follower.end().ok(), "new");
}

#[test]
fn many_records_in_large_batches_arrive_in_order() {
    const COUNT: usize = 60_000;
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "1"]).ok();
    let input: String = (0..COUNT).map(|number| format!("{number:060}\n")).collect();
    cluster.feed(&["produce", "t"], input.as_bytes()).ok();
    let found = cluster.run(&["consume", "t", "--from-beginning", "--no-follow"]).ok();
    assert!(found == input.trim_end(), "{} lines", found.lines().count());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cluster = Cluster::start();
    let input = "a line that fills pipes\n".repeat(50_000);
    cluster.feed(&["produce", "t"], input.as_bytes()).ok();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(["consume", "t", "--from-beginning", "-b", cluster.bootstrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()));
}

#[test]
fn wrong_records_are_refused_with_a_reason() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "1", "--config", "max.message.bytes=1000"]).ok();
    let error = cluster.feed(&["produce", "t", "-K", ":"], b"a:1\nno key\n").fails(1);
    assert!(error.contains("line 2 has no key: the separator \":\" is not in it"), "{error}");
    let error = cluster.feed(&["produce", "t"], &[b'x'; 2_000]).fails(1);
    assert!(error.contains("MESSAGE_TOO_LARGE (10)"), "{error}");
    assert!(error.contains("raise max.message.bytes of topic t"), "{error}");
    let error = cluster.feed(&["produce", "t", "-p", "7"], b"x").fails(1);
    assert_eq!(error, "error: topic t has no partition 7: it has 1, from 0 on");
    let error = cluster.run(&["produce", "t", "--file", "no such file"]).fails(1);
    assert!(error.starts_with("error: no such file cannot be read: "), "{error}");
    let error = cluster.feed(&["produce", "a/b"], b"x").fails(1);
    assert!(error.contains("INVALID_TOPIC_EXCEPTION (17)"), "{error}");
}
