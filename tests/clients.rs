//! Runs the real Kafka clients of `tests/clients/` against the broker: one trial a suite and a
//! storage, and one over a restart.
//!
//! `cargo test --test clients kafkajs` runs one suite. A suite whose runtime is not installed is
//! reported as ignored, or as failed with `OTTLA_REQUIRE_CLIENTS=1`.
//! `OTTLA_TEST_BOOTSTRAP=127.0.0.1:9092` runs the suites against that broker instead of ottla.
//! What a suite is made of is told in `tests/clients/README.md`.

#[allow(clippy::disallowed_methods, reason = "tests read and write files of their own")]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#[allow(dead_code, unreachable_pub, reason = "another test binary uses the rest")]
#[path = "support/kafka_folder.rs"]
mod kafka_folder;
mod support;

use std::fs::{DirBuilder, File, read_dir};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use support::{Broker, Ended, Storage, run_bounded, tail};

/// Longest run of one phase of a suite; a good one takes a tenth of it.
const RUN_MAX: Duration = Duration::from_secs(180);
/// Longest time to fetch and build a suite's client, from nothing on a slow machine.
const PREPARE_MAX: Duration = Duration::from_secs(900);
/// The code with which `prepare` says that the suite's runtime is not installed.
const RUNTIME_MISSING: i32 = 77;
/// Trials at a time: more of them measure the machine, not the broker.
const PARALLEL_MAX: usize = 2;
/// Lines of the broker's log shown when a suite failed.
const LOG_LINES: usize = 60;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(PARALLEL_MAX).min(PARALLEL_MAX));
    let peer = std::env::var("OTTLA_TEST_BOOTSTRAP").ok().filter(|peer| !peer.is_empty());
    let mut trials = Vec::new();
    for suite in suites().into_iter().map(Arc::new) {
        match &peer {
            Some(peer) => trials.push(trial(&suite, Target::Peer(peer.clone()))),
            None => {
                let dump = suite.has("dump").then_some(Target::Dump);
                let vectors = suite.has("vectors").then_some(Target::Vectors);
                let targets = [Target::Memory, Target::Disk, Target::Restart].into_iter();
                let targets = targets.chain(dump).chain(vectors);
                trials.extend(targets.map(|target| trial(&suite, target)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What a trial runs its suite against.
#[derive(Clone, Debug)]
enum Target {
    Memory,
    Disk,
    /// Two phases, with the broker stopped and started again on its folder between them.
    Restart,
    /// What the broker leaves in its folder after the first phase, as other tools read it.
    Dump,
    /// A broker on the data folder that Apache Kafka wrote.
    Vectors,
    /// A broker that somebody else runs, by its address.
    Peer(String),
}

fn trial(suite: &Arc<Suite>, target: Target) -> Trial {
    let kind = match target {
        Target::Memory => "memory",
        Target::Disk => "disk",
        Target::Restart => "restart",
        Target::Dump => "dump",
        Target::Vectors => "vectors",
        Target::Peer(_) => "peer",
    };
    let name = format!("{}::{kind}", suite.name);
    let (suite, trial_name) = (Arc::clone(suite), name.clone());
    Trial::ignorable_test(name, move || {
        match suite.prepared.get_or_init(|| suite.prepare()) {
            Prepared::Ready => {}
            Prepared::RuntimeMissing(reason) if must_run() => return Err(reason.into()),
            Prepared::RuntimeMissing(reason) => return Ok(Completion::ignored_with(reason)),
            Prepared::Failed(reason) => return Err(reason.into()),
        }
        suite.try_on(&target, &trial_name).map_err(Failed::from)?;
        Ok(Completion::Completed)
    })
}

/// Whether a missing runtime is a failure, as it is in CI.
fn must_run() -> bool {
    std::env::var("OTTLA_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// One folder of `tests/clients/`.
#[derive(Debug)]
struct Suite {
    name: String,
    folder: PathBuf,
    prepared: OnceLock<Prepared>,
}

/// What came of a suite's `prepare`; it runs once, however many trials the suite has.
#[derive(Debug)]
enum Prepared {
    Ready,
    RuntimeMissing(String),
    Failed(String),
}

/// Every folder with an executable `run`, by name.
fn suites() -> Vec<Suite> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut suites: Vec<Suite> = read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| is_executable(&entry.path().join("run")))
        .map(|entry| Suite {
            name: entry.file_name().to_string_lossy().into_owned(),
            folder: entry.path(),
            prepared: OnceLock::new(),
        })
        .collect();
    suites.sort_by(|left, right| left.name.cmp(&right.name));
    suites
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl Suite {
    /// The suite's cache, outside the checkout's tracked files: fetched and built things.
    fn home(&self) -> PathBuf {
        let root = std::env::var_os("OTTLA_SUITE_HOME").map_or_else(
            || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients"),
            PathBuf::from,
        );
        root.join(&self.name)
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.folder.join(script));
        command.current_dir(&self.folder).env("SUITE_HOME", self.home());
        command
    }

    fn has(&self, script: &str) -> bool {
        is_executable(&self.folder.join(script))
    }

    fn prepare(&self) -> Prepared {
        match self.try_prepare() {
            Ok(prepared) => prepared,
            Err(reason) => Prepared::Failed(format!("prepare of {}: {reason}", self.name)),
        }
    }

    fn try_prepare(&self) -> Result<Prepared, String> {
        if !self.has("prepare") {
            return Ok(Prepared::Ready);
        }
        let home = self.home();
        DirBuilder::new()
            .recursive(true)
            .create(&home)
            .map_err(|error| format!("{}: {error}", home.display()))?;
        // Two checkouts may share one target folder: they take turns. The lock goes with the file.
        let lock = File::create(home.join("prepare.lock")).map_err(|error| error.to_string())?;
        lock.lock().map_err(|error| error.to_string())?;
        let files = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = files.path().join("output");
        let ended = run_bounded(&mut self.command("prepare"), &output, PREPARE_MAX)
            .map_err(|error| error.to_string())?;
        let said = tail(&output, 200);
        match ended {
            Ended::Exited(status) if status.success() => Ok(Prepared::Ready),
            Ended::Exited(status) if status.code() == Some(RUNTIME_MISSING) => {
                let reason = said.lines().last().unwrap_or("its runtime is missing").to_owned();
                Ok(Prepared::RuntimeMissing(format!("skipped: {reason}")))
            }
            Ended::Exited(status) => Err(format!("{status}\n{said}")),
            Ended::KilledAfter(limit) => Err(format!("killed after {limit:?}\n{said}")),
        }
    }

    fn try_on(&self, target: &Target, trial: &str) -> Result<(), String> {
        let run = Run { suite: self, trial, id: run_id() };
        match target {
            Target::Peer(bootstrap) => run.phase("all", bootstrap),
            Target::Memory => run.on_broker(&["all"], &Storage::Memory),
            Target::Disk => run.on_folder(&["all"]).map(drop),
            Target::Restart => run.on_folder(&["before", "after"]).map(drop),
            Target::Dump => run.dump(&run.on_folder(&["before"])?),
            Target::Vectors => run.vectors(),
        }
    }
}

/// A prefix for topic and group names that no other run has.
fn run_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("t{}", &id[..8])
}

/// One trial of a suite that is prepared.
struct Run<'a> {
    suite: &'a Suite,
    trial: &'a str,
    id: String,
}

impl Run<'_> {
    /// The folder is as the last broker left it.
    fn on_folder(&self, phases: &[&str]) -> Result<tempfile::TempDir, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no data folder: {error}"))?;
        self.on_broker(phases, &Storage::Folder(folder.path().join("data")))?;
        Ok(folder)
    }

    /// Lets the suite's tools read a folder that no broker has open.
    fn dump(&self, folder: &tempfile::TempDir) -> Result<(), String> {
        let mut command = self.suite.command("dump");
        command.env("DATA_DIR", folder.path().join("data"));
        self.run(command, "dump")
    }

    /// Lets the suite read what Apache Kafka wrote, from a broker on a copy of its folder.
    fn vectors(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no data folder: {error}"))?;
        let data = folder.path().join("data");
        kafka_folder::lay_out(&data);
        // The records are of 2023.
        let broker = Broker::start(&Storage::Folder(data), &["--set", "log.retention.hours=-1"])?;
        let mut command = self.suite.command("vectors");
        command.env("BOOTSTRAP", broker.bootstrap()).env("VECTORS", kafka_folder::vectors());
        if let Err(said) = self.run(command, "vectors") {
            let log = broker.log_tail(LOG_LINES);
            return Err(format!("{said}\n--- end of the broker's log\n{log}"));
        }
        broker.stop()
    }

    /// Each phase on a broker of its own that is started before and stopped after it.
    fn on_broker(&self, phases: &[&str], storage: &Storage) -> Result<(), String> {
        for phase in phases {
            let broker = Broker::start(storage, &[])?;
            if let Err(said) = self.phase(phase, broker.bootstrap()) {
                let log = broker.log_tail(LOG_LINES);
                return Err(format!("{said}\n--- end of the broker's log\n{log}"));
            }
            broker.stop()?;
        }
        Ok(())
    }

    /// Runs the suite once against a broker.
    fn phase(&self, phase: &str, bootstrap: &str) -> Result<(), String> {
        let mut command = self.suite.command("run");
        command.env("BOOTSTRAP", bootstrap).env("PHASE", phase);
        self.run(command, phase).map_err(|said| format!("against {bootstrap}: {said}"))
    }

    /// Runs one script of the suite; what it printed is the error.
    fn run(&self, mut command: Command, phase: &str) -> Result<(), String> {
        let files = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = files.path().join("output");
        command.env("RUN_ID", &self.id);
        let ended =
            run_bounded(&mut command, &output, RUN_MAX).map_err(|error| error.to_string())?;
        let said = tail(&output, 400);
        let count = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
        let (passed, failed, skipped) = (count("ok "), count("not ok "), count("skip "));
        let summary = format!("{passed} ok, {failed} not ok, {skipped} skipped");
        eprintln!("{} {phase}: {summary}", self.trial);
        let verdict = match ended {
            Ended::KilledAfter(limit) => format!("killed after {limit:?}"),
            Ended::Exited(status) if !status.success() => status.to_string(),
            Ended::Exited(_) if failed > 0 => "exit code 0 in spite of failed cases".to_owned(),
            Ended::Exited(_) if passed == 0 => "no case ran".to_owned(),
            Ended::Exited(_) => return Ok(()),
        };
        Err(format!("phase {phase}: {verdict}, {summary}\n{said}"))
    }
}
