//! Runs one command to its end, and the commands that need little of a broker.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::support::{Broker, Storage, tail, wait_until};

/// More than any command here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// What it printed, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// What it complained of, if it ended with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.err
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// A command that runs, with its output in files.
pub(crate) struct Running {
    child: Child,
    files: tempfile::TempDir,
}

impl Running {
    pub(crate) fn start(bootstrap: &str, args: &[&str]) -> Self {
        Self::start_with(bootstrap, args, Stdio::null())
    }

    fn start_with(bootstrap: &str, args: &[&str], input: Stdio) -> Self {
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(files.path().join(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        for (name, _) in std::env::vars() {
            if name.starts_with("OTTLA_") || name.starts_with("KAFKA_") {
                command.env_remove(name);
            }
        }
        command.env("OTTLA_BOOTSTRAP_SERVER", bootstrap).args(args).current_dir(files.path());
        let child = command.stdin(input).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Self { child, files }
    }

    pub(crate) fn out(&self) -> String {
        std::fs::read_to_string(self.files.path().join("out")).unwrap()
    }

    /// Waits until it has logged a line with this text.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) {
        let log = || std::fs::read_to_string(self.files.path().join("err")).unwrap();
        assert!(wait_until(LIMIT, || log().contains(text)), "{}", log());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until it has printed so many lines.
    #[track_caller]
    pub(crate) fn wait_lines(&self, count: usize) -> Vec<String> {
        let is_there = || self.out().lines().count() >= count;
        assert!(wait_until(LIMIT, is_there), "{}", self.out());
        self.out().lines().map(str::to_owned).collect()
    }

    /// Waits until it has printed this line.
    #[track_caller]
    pub(crate) fn wait_line(&self, line: &str) {
        let is_there = || self.out().lines().any(|found| found == line);
        assert!(wait_until(LIMIT, is_there), "{}", self.out());
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> Done {
        let mut status = None;
        let has_ended = wait_until(LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let text = |name: &str| tail(&self.files.path().join(name), usize::MAX);
        let (out, err) = (text("out"), text("err"));
        if !has_ended {
            self.child.kill().unwrap();
            panic!("no end after {LIMIT:?}: {out}\n{err}");
        }
        Done { code: status.and_then(|status| status.code()), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already in the normal case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker in memory and commands towards it.
pub(crate) struct Cluster(Broker);

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(args: &[&str]) -> Self {
        Self(Broker::start(&Storage::Memory, args).unwrap())
    }

    pub(crate) fn bootstrap(&self) -> &str {
        self.0.bootstrap()
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        run(self.bootstrap(), args)
    }

    /// Runs a command with this text as its standard input.
    #[track_caller]
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Done {
        feed(self.bootstrap(), args, input)
    }

    pub(crate) fn start_command(&self, args: &[&str]) -> Running {
        Running::start(self.bootstrap(), args)
    }
}

#[track_caller]
pub(crate) fn run(bootstrap: &str, args: &[&str]) -> Done {
    Running::start(bootstrap, args).end()
}

/// Runs a command with this text as its standard input.
#[track_caller]
pub(crate) fn feed(bootstrap: &str, args: &[&str], input: &[u8]) -> Done {
    let mut running = Running::start_with(bootstrap, args, Stdio::piped());
    // A command that fails early does not read all of it.
    let _ = running.child.stdin.take().unwrap().write_all(input);
    running.end()
}

/// An address where nobody listens: the port was free a moment ago.
pub(crate) fn nowhere() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn ping_tells_whether_a_cluster_answers() {
    let cluster = Cluster::start();
    let text = cluster.run(&["ping"]).ok();
    assert!(text.starts_with(&format!("{} answers in ", cluster.bootstrap())), "{text}");
    let found = cluster.run(&["ping", "--json"]).json();
    assert_eq!(found["up"], json!(true));
    assert_eq!(found["brokers"], json!([{ "node_id": 1, "address": cluster.bootstrap() }]));

    let nowhere = nowhere();
    let error = run(&nowhere, &["ping"]).fails(1);
    let expected = "start `ottla`, or give --bootstrap-server HOST:PORT";
    assert_eq!(error, format!("error: nothing listens at {nowhere}: {expected}"));
    let down = run(&nowhere, &["ping", "--json"]);
    assert_eq!(down.code, Some(1));
    assert_eq!(serde_json::from_str::<Value>(&down.out).unwrap()["up"], json!(false));
    assert_eq!(
        run("", &["ping", "-b", "host:port"]).fails(2),
        "error: \"host:port\" is no address: give HOST:PORT"
    );
}

#[test]
fn topics_are_made_told_changed_and_deleted() {
    let cluster = Cluster::start();
    assert_eq!(
        cluster.run(&["topic", "create", "orders", "-p", "2", "--retention", "7d"]).ok(),
        "topic orders is made: 2 partitions, replication factor 1"
    );
    assert_eq!(
        cluster.run(&["topic", "create", "orders"]).fails(1),
        "error: topic orders exists already: see `ottla topic describe orders`"
    );
    cluster.run(&["topic", "create", "orders", "--if-not-exists"]).ok();
    cluster.run(&["topic", "create", "tried", "--dry-run"]).ok();
    let listed = cluster.run(&["topic", "list", "--json"]).json();
    let orders =
        json!({ "name": "orders", "partitions": 2, "replication_factor": 1, "internal": false });
    assert_eq!(listed, json!([orders]));
    assert_eq!(
        cluster.run(&["topic", "list"]).ok(),
        "TOPIC   PARTITIONS  REPLICAS\norders  2           1"
    );

    cluster.run(&["topic", "alter", "orders", "-p", "3", "--set", "cleanup.policy=compact"]).ok();
    cluster.run(&["topic", "alter", "orders", "--unset", "retention.ms"]).ok();
    let described = cluster.run(&["topic", "describe", "orders", "--json"]).json();
    assert_eq!(described[0]["configs"], json!({ "cleanup.policy": "compact" }));
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 3);
    let error = cluster.run(&["topic", "alter", "orders", "-p", "1"]).fails(1);
    assert!(error.contains("has 3 partitions, they cannot be reduced to 1"), "{error}");
    let error = cluster.run(&["topic", "alter", "orders", "--set", "cleanup.polic=x"]).fails(1);
    assert!(error.contains("INVALID_CONFIG (40)") && error.contains("cleanup.polic"), "{error}");
    cluster.run(&["topic", "alter", "orders"]).fails(2);

    assert_eq!(cluster.run(&["topic", "delete", "orders"]).ok(), "topic orders is deleted");
    let unknown = "error: topic orders does not exist: `ottla topic list` shows those that do";
    for args in [
        &["topic", "delete", "orders"][..],
        &["topic", "describe", "orders"],
        &["topic", "alter", "orders", "-p", "9"],
        &["topic", "alter", "orders", "--set", "retention.ms=1"],
        &["consume", "orders", "--no-follow"],
    ] {
        assert_eq!(cluster.run(args).fails(1), unknown, "{args:?}");
    }
    cluster.run(&["topic", "delete", "orders", "--if-exists"]).ok();
}

#[test]
fn one_bad_name_does_not_stop_the_others() {
    let cluster = Cluster::start();
    let done = cluster.run(&["topic", "create", "a", "b c", "d"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(done.out.lines().count(), 2, "{}", done.out);
    assert!(done.err.contains("topic b c: INVALID_TOPIC_EXCEPTION (17)"), "{}", done.err);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["frobnicate"][..],
        &["topic", "create"],
        &["topic", "create", "a", "-p", "0"],
        &["topic", "create", "a", "--retention", "0s"],
        &["topic", "create", "a", "--config", "novalue"],
        &["consume", "t", "--offset", "1", "--from-beginning"],
        &["consume", "t", "--format", "%q"],
        &["consume", "t", "-g", "g", "--offset", "1"],
        &["produce", "t", "--acks", "2"],
        &["group", "reset", "g"],
        &["group", "reset", "g", "--to-earliest", "--to-latest"],
        &["--port", "70000"],
        &["--port", "0", "--listen", "PLAINTEXT://127.0.0.1:0"],
        &["--set", "num.partitons=3"],
        &["--set", "num.partitions=0"],
        &["--log-level", "loud"],
    ] {
        let done = run("", args);
        assert_eq!(done.code, Some(2), "{args:?}: {done:?}");
        assert!(done.err.starts_with("error: "), "{args:?}: {}", done.err);
    }
}

#[test]
fn check_names_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let right = file("right.yaml", "topics:\n  - name: a\n    retention: 7d\n  - name: b\n");
    assert_eq!(run("", &["check", &right]).ok(), format!("{right} is right: 2 topics"));
    let found = run("", &["check", &right, "--json"]).json();
    assert_eq!(found[0]["configs"], json!({ "retention.ms": "604800000" }));

    let wrong = file("wrong.yaml", "topics:\n  - name: a\n    partitions: none\n");
    let error = run("", &["check", &wrong]).fails(1);
    assert!(error.starts_with(&format!("error: {wrong}, line 3, column 17: ")), "{error}");
    let missing = folder.path().join("missing.yaml").display().to_string();
    assert!(run("", &["check", &missing]).fails(1).starts_with(&format!("error: {missing}: ")));
}

#[test]
fn settings_are_shown_with_their_origin() {
    let shown = run("", &["config", "show", "--set", "num.partitions=5", "--json"]).json();
    assert_eq!(shown["num.partitions"], json!({ "value": "5", "origin": "command line" }));
    let all = run("", &["config", "show", "--all"]).ok();
    assert!(all.lines().count() > 50, "{all}");
    let page = run("", &["config", "docs"]).ok();
    assert!(page.contains("num.partitions"), "{page}");
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run("", &["completions", shell]).ok();
        assert!(["ottla", "produce", "txn"].iter().all(|word| script.contains(word)), "{shell}");
    }
    run("", &["completions", "cmd"]).fails(2);
}

#[test]
fn output_to_a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let done = command.args(["config", "docs"]).stdout(full).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let error = String::from_utf8(done.stderr).unwrap();
    assert!(error.starts_with("error: output cannot be written: "), "{error}");
}
