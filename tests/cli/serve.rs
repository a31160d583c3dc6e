//! `ottla` alone: the broker as a process.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use ottla::clock::Clock;
use ottla::protocol::header::request_frame;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::{Request, RequestHeader};
use rustix::process::Signal;
use serde_json::json;

use crate::commands::{Cluster, Running, feed, run};
use crate::support::{Broker, Storage};

#[test]
fn a_ready_broker_says_where_it_is() {
    let broker = Broker::start(&Storage::Memory, &[]).unwrap();
    let first = broker.log_tail(usize::MAX).lines().next().unwrap().to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let address = broker.bootstrap();
    assert_eq!(
        first,
        format!(
            "ottla {version} ready: kafka {address}, http off, data in memory, durability ephemeral"
        )
    );
    let ready = broker.ready();
    assert_eq!(ready["pid"], json!(broker.pid()));
    assert_eq!(ready["version"], json!(version));
    assert_eq!(ready["http"], json!(null));
    assert_eq!(ready["listeners"], json!([{ "name": "PLAINTEXT", "address": address }]));
    broker.stop().unwrap();
}

#[test]
fn a_port_or_data_folder_in_use_is_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().join("data"));
    let broker = Broker::start(&storage, &[]).unwrap();
    let (_, port) = broker.bootstrap().rsplit_once(':').unwrap();
    let error = run("", &["--ephemeral", "--port", port, "--http-port", "off"]).fails(3);
    assert!(error.contains(broker.bootstrap()) && error.contains("--port"), "{error}");
    let data = folder.path().join("data").display().to_string();
    let error = run("", &["--data-dir", &data, "--port", "0", "--http-port", "off"]).fails(3);
    assert!(error.contains(&broker.pid().to_string()), "{error}");
    assert!(error.contains("--data-dir"), "{error}");
    broker.stop().unwrap();
}

#[test]
fn declared_topics_are_there_and_grow() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().join("data"));
    let declare = |partitions: u32| {
        let path = folder.path().join("topics.yaml");
        let text =
            format!("topics:\n  - name: a\n    partitions: {partitions}\n    retention: 1d\n");
        std::fs::write(&path, text).unwrap();
        Broker::start(&storage, &["--topics", &path.display().to_string()])
    };
    for partitions in [2, 5] {
        let broker = declare(partitions).unwrap();
        let found = run(broker.bootstrap(), &["topic", "describe", "a", "--json"]).json();
        assert_eq!(found[0]["partitions"].as_array().unwrap().len(), partitions as usize);
        assert_eq!(found[0]["configs"], json!({ "retention.ms": "86400000" }));
        broker.stop().unwrap();
    }
    let error = declare(3).map(|_| ()).unwrap_err();
    assert!(error.contains("topics.yaml, line 3, column 17: "), "{error}");
    assert!(error.contains("\"a\"") && error.contains('5') && error.contains('3'), "{error}");
}

#[test]
fn a_wrong_topics_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("topics.yaml").display().to_string();
    std::fs::write(&path, "topics:\n  - name:.a\n    partitions: 2\n").unwrap();
    let error = run("", &["--ephemeral", "--port", "0", "--topics", &path]).fails(1);
    assert!(error.starts_with(&format!("error: {path}, line ")), "{error}");
}

#[test]
fn other_machines_are_not_let_in_by_accident() {
    let listen = "PLAINTEXT://0.0.0.0:0";
    let error = run("", &["--ephemeral", "--listen", listen]).fails(2);
    assert!(error.contains("--insecure-no-auth"), "{error}");
}

#[test]
fn clients_are_told_the_address_that_is_advertised() {
    let advertise = ["--advertise", "PLAINTEXT://10.20.30.40:19092"];
    let broker = Broker::start(&Storage::Memory, &advertise).unwrap();
    // The bootstrap address stays the one that is bound: ping goes no further than that.
    let found = run(broker.bootstrap(), &["ping", "--json"]).json();
    let told = json!([{ "node_id": 1, "address": "10.20.30.40:19092" }]);
    assert_eq!((&found["up"], &found["brokers"]), (&json!(true), &told));
    broker.stop().unwrap();
}

#[test]
fn ctrl_c_stops_cleanly_with_a_fetch_parked() {
    let cluster = Cluster::start();
    cluster.feed(&["produce", "t"], b"x\n").ok();
    let args = ["--ephemeral", "--port", "0", "--http-port", "off", "--log-format", "json"];
    let server = Running::start("", &args);
    let line = server.wait_lines(1).remove(0);
    let bootstrap = line.split(' ').nth(4).unwrap().trim_end_matches(',').to_owned();
    run(&bootstrap, &["topic", "create", "t"]).ok();
    let follower = Running::start(&bootstrap, &["consume", "t", "--from-beginning"]);
    server.signal(Signal::INT);
    let done = server.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    for line in done.err.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    drop(follower);
}

/// A broker on disk, and a client that has asked for more than its sockets hold and reads nothing.
fn with_a_client_that_does_not_read(data: &Path) -> (Running, TcpStream) {
    let data = data.display().to_string();
    let args = ["--data-dir", &data, "--port", "0", "--http-port", "off"];
    let server = Running::start("", &args);
    let line = server.wait_lines(1).remove(0);
    let bootstrap = line.split(' ').nth(4).unwrap().trim_end_matches(',').to_owned();
    run(&bootstrap, &["topic", "create", "t", "-p", "1"]).ok();
    let lines = format!("{}\n", "x".repeat(900_000)).repeat(12);
    feed(&bootstrap, &["produce", "t"], lines.as_bytes()).ok();
    let mut client = TcpStream::connect(&bootstrap).unwrap();
    socket2::SockRef::from(&client).set_recv_buffer_size(64 << 10).unwrap();
    let partition = FetchPartition { partition_max_bytes: i32::MAX, ..Default::default() };
    let topic =
        FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: i32::MAX, topics: vec![topic], ..Default::default() };
    let header = RequestHeader {
        api_key: FetchRequest::KEY,
        api_version: 12,
        correlation_id: 1,
        client_id: None,
    };
    client.write_all(&request_frame(&header, &request).unwrap()).unwrap();
    assert_eq!(client.peek(&mut [0]).unwrap(), 1, "the answer is on its way");
    (server, client)
}

#[test]
fn a_client_that_does_not_read_keeps_nobody_from_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (server, unread) = with_a_client_that_does_not_read(folder.path());
    let clock = Clock::system();
    server.signal(Signal::TERM);
    let done = server.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
    drop(unread);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (server, unread) = with_a_client_that_does_not_read(folder.path());
    server.signal(Signal::TERM);
    server.wait_log("stopping");
    let clock = Clock::system();
    server.signal(Signal::INT);
    let error = server.end().fails(1);
    assert!(error.contains("ended by a second signal"), "{error}");
    assert!(clock.elapsed() < Duration::from_secs(2), "{:?}", clock.elapsed());
    drop(unread);
}

#[test]
fn followers_go_on_when_the_broker_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let start = |port: &str| {
        let args = ["--data-dir", &data, "--port", port, "--http-port", "off"];
        let server = Running::start("", &args);
        let line = server.wait_lines(1).remove(0);
        (server, line.split(' ').nth(4).unwrap().trim_end_matches(',').to_owned())
    };
    let (server, bootstrap) = start("0");
    let (_, port) = bootstrap.rsplit_once(':').unwrap();
    run(&bootstrap, &["topic", "create", "t"]).ok();
    let plain = Running::start(&bootstrap, &["consume", "t", "--from-beginning"]);
    let member = Running::start(&bootstrap, &["consume", "t", "--from-beginning", "-g", "g"]);
    feed(&bootstrap, &["produce", "t"], b"one\n").ok();
    for follower in [&plain, &member] {
        assert_eq!(follower.wait_lines(1), ["one"]);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.end().code, Some(0));

    let (_server, bootstrap) = start(port);
    feed(&bootstrap, &["produce", "t"], b"two\n").ok();
    for follower in [plain, member] {
        // What was printed and not yet committed comes again to a member.
        follower.wait_line("two");
        follower.signal(Signal::INT);
        let done = follower.end();
        assert!(done.err.contains(": trying again"), "{done:?}");
        assert_eq!(done.ok().lines().last(), Some("two"));
    }
}

#[test]
fn more_partitions_than_files_may_be_open_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let storage = Storage::Folder(data.clone());
    let broker = Broker::start(&storage, &[]).unwrap();
    let create = ["topic", "create", "many", "--partitions", "200"];
    run(broker.bootstrap(), &create).ok();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = files.split_whitespace().collect();
    assert_eq!(words[3], words[4], "the limit is raised as far as it goes: {files}");
    broker.kill(); // A clean stop syncs each of them, which takes a busy disk some time.

    let script = "ulimit -n 128; exec \"$0\" --port 0 --http-port off --data-dir \"$1\"";
    let started = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_ottla"), &data.display().to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(1), "{told}");
    assert!(told.contains("128 open files") && told.contains("ulimit -n"), "{told}");
}
