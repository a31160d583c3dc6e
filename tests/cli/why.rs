//! `why`: each reason that a user can run into is named, with what to do.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::commands::Cluster;
use crate::support::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

/// The codes that are found, and the exit code.
fn codes(cluster: &Cluster, group: &str) -> (Vec<String>, Option<i32>) {
    let done = cluster.run(&["why", group, "--json"]);
    let code = done.code;
    let found: Value = serde_json::from_str(&done.out).unwrap();
    let rows = found["findings"].as_array().unwrap().iter();
    (rows.map(|row| row["code"].as_str().unwrap().to_owned()).collect(), code)
}

#[test]
fn the_reason_is_named() {
    let cluster = Cluster::start();
    cluster.run(&["topic", "create", "orders", "-p", "1"]).ok();
    cluster.feed(&["produce", "orders"], b"1\n2\n3\n").ok();
    assert_eq!(codes(&cluster, "billing"), (vec!["no-group".to_owned()], Some(1)));

    cluster.run(&["consume", "orders", "-g", "billing", "--from-beginning", "-n", "3"]).ok();
    assert_eq!(codes(&cluster, "billing"), (vec!["no-members".to_owned()], Some(1)));
    let text = cluster.run(&["why", "biling"]);
    assert_eq!(text.code, Some(1));
    assert!(text.out.contains("did you mean billing?"), "{}", text.out);

    let member = cluster.start_command(&["consume", "orders", "-g", "billing"]);
    let caught_up = (vec!["caught-up".to_owned()], Some(0));
    assert!(wait_until(LIMIT, || codes(&cluster, "billing") == caught_up));
    cluster.feed(&["produce", "billing.dlq"], b"bad\n").ok();
    assert_eq!(codes(&cluster, "billing").0, ["dead-letters", "caught-up"]);
    member.signal(Signal::INT);
}
