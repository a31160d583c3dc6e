//! `consume --group` and `group`.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::commands::Cluster;
use crate::support::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

fn with_ten_records() -> Cluster {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "t", "-p", "2"]).ok();
    for partition in ["0", "1"] {
        cluster.feed(&["produce", "t", "-p", partition], b"1\n2\n3\n4\n5\n").ok();
    }
    cluster
}

#[test]
fn a_group_goes_on_where_it_was() {
    let cluster = with_ten_records();
    let consume = |more: &[&str]| {
        let args = [&["consume", "t", "-g", "g", "--no-follow"], more].concat();
        cluster.run(&args).ok().lines().count()
    };
    assert_eq!(consume(&["--from-beginning", "-n", "3"]), 3);
    assert_eq!(consume(&["--from-beginning"]), 7);
    assert_eq!(consume(&["--from-beginning"]), 0);
    let listed = cluster.run(&["group", "list", "--json"]).json();
    let group = json!({
        "group": "g", "state": "Empty", "type": "classic", "protocol_type": "consumer",
    });
    assert_eq!(listed, json!([group]));
    let found = cluster.run(&["group", "describe", "g", "--json"]).json();
    assert_eq!(found[0]["lag"], json!(0));
    assert_eq!(found[0]["offsets"][1]["committed_offset"], json!(5));
    assert_eq!(found[0]["members"], json!([]));
}

#[test]
fn offsets_are_reset_in_every_way() {
    let cluster = with_ten_records();
    let reset = |args: &[&str]| {
        let args = [&["group", "reset", "g", "--json"], args].concat();
        let found = cluster.run(&args).json();
        let offsets = found["offsets"].as_array().unwrap();
        offsets.iter().map(|row| row["after"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let error = cluster.run(&["group", "reset", "g", "--to-latest"]).fails(1);
    assert_eq!(error, "error: group g does not exist: `ottla group list` shows those that do");
    assert_eq!(reset(&["--to-latest", "--topic", "t"]), [5, 5]);
    assert_eq!(reset(&["--to-earliest"]), [0, 0]);
    assert_eq!(reset(&["--to-offset", "3", "--topic", "t:1"]), [3]);
    assert_eq!(reset(&["--to-offset", "99"]), [5, 5]);
    assert_eq!(reset(&["--since", "1h", "--dry-run"]), [0, 0]);
    let found = cluster.run(&["group", "describe", "g", "--json"]).json();
    assert_eq!(found[0]["lag"], json!(0), "a dry run changes nothing");
    let text = cluster.run(&["group", "reset", "g", "--since", "2099-01-01", "--dry-run"]).ok();
    assert!(text.ends_with("nothing was changed: --dry-run"), "{text}");
    let error = cluster.run(&["group", "reset", "g", "--to-latest", "--topic", "nope"]).fails(1);
    assert!(error.starts_with("error: topic nope does not exist"), "{error}");
    cluster.run(&["group", "reset", "g", "--to-latest", "--topic", "t:x"]).fails(2);
    let error = cluster.run(&["group", "reset", "g", "--to-latest", "--topic", "t:7"]).fails(1);
    assert!(error.contains("t-7"), "{error}");
}

#[test]
fn two_members_share_and_one_takes_over() {
    let cluster = with_ten_records();
    let args = ["consume", "t", "-g", "g", "--from-beginning", "-f", "%p %s\\n"];
    let (first, second) = (cluster.start_command(&args), cluster.start_command(&args));
    let members = || {
        let found = cluster.run(&["group", "describe", "g", "--json"]);
        let found = found.code.filter(|code| *code == 0).map(|_| found.json());
        let group = found.map(|found| found[0].clone()).unwrap_or_default();
        let owners = group["offsets"].as_array().cloned().unwrap_or_default();
        let owners: std::collections::BTreeSet<String> =
            owners.iter().filter_map(|row| row["member_id"].as_str().map(str::to_owned)).collect();
        (group["state"].clone(), owners.len(), group["lag"].clone())
    };
    let settled = (json!("Stable"), 2, json!(0));
    assert!(wait_until(LIMIT, || members() == settled), "{:?}", members());
    assert!(
        cluster.run(&["group", "reset", "g", "--to-latest"]).fails(1).contains("has 2 members")
    );
    assert_eq!(
        cluster.run(&["group", "delete", "g"]).fails(1),
        "error: group g has members: stop them first"
    );

    first.signal(Signal::INT);
    let first = first.end().ok();
    let alone = (json!("Stable"), 1, json!(0));
    assert!(wait_until(LIMIT, || members() == alone), "{:?}", members());
    for partition in ["0", "1"] {
        cluster.feed(&["produce", "t", "-p", partition], b"6\n").ok();
    }
    let seen = || format!("{first}\n{}", second.out()).lines().filter(|it| !it.is_empty()).count();
    assert!(wait_until(LIMIT, || seen() >= 12), "{}", seen());
    second.signal(Signal::TERM);
    let second = second.end().ok();
    let mut all: Vec<_> = first.lines().chain(second.lines()).collect();
    all.sort_unstable();
    let expected: Vec<_> = ["0", "1"]
        .iter()
        .flat_map(|partition| (1..=6).map(move |value| format!("{partition} {value}")))
        .collect();
    assert_eq!(all, expected, "each record once");

    assert_eq!(cluster.run(&["group", "delete", "g"]).ok(), "group g is deleted");
    assert_eq!(cluster.run(&["group", "list", "--json"]).json(), json!([]));
    for args in [&["group", "describe", "g"][..], &["group", "delete", "g"]] {
        let error = cluster.run(args).fails(1);
        assert_eq!(error, "error: group g does not exist: `ottla group list` shows those that do");
    }
    cluster.run(&["group", "delete", "g", "--if-exists"]).ok();
}
