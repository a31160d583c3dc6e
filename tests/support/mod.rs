//! What integration tests share: a broker process that is started, awaited and ended, and waiting
//! with a deadline.
//!
//! A test file takes it in with `mod support;`. Nothing here sleeps for a fixed time: what has to
//! be waited for is looked at every few ms, up to a limit.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "a small library to each test file that takes it in")]
#![allow(clippy::disallowed_methods, reason = "tests read and write files of their own")]

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ottla::clock::Clock;
use rustix::process::{Pid, Signal};

/// How long a broker may take from exec to its ready file. Generous: two cores may be busy.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long a broker may take to stop after SIGTERM: the product promises 5 s, the rest is for a
/// busy machine.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Where a broker under test keeps its data.
#[derive(Clone, Debug)]
pub enum Storage {
    /// `--ephemeral`: gone with the process.
    Memory,
    /// `--data-dir`: stays when the process ends.
    Folder(PathBuf),
}

/// One broker process, ready to serve. Dropping it kills it.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    ready: serde_json::Value,
    files: tempfile::TempDir,
}

impl Broker {
    /// Starts the product on free ports, with `extra` arguments behind the usual ones, and returns
    /// when its ready file is there.
    ///
    /// # Errors
    /// What went wrong, with the end of the broker's output: it ended early, or was not ready in
    /// time (then it is killed).
    pub fn start(storage: &Storage, extra: &[&str]) -> Result<Self, String> {
        let mut broker = Self::spawn(storage, extra)?;
        broker.wait_ready()?;
        Ok(broker)
    }

    /// Starts the product as [`Broker::start`] does, without waiting for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(storage: &Storage, extra: &[&str]) -> Result<Self, String> {
        let files = tempfile::tempdir().map_err(|error| format!("no scratch folder: {error}"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        match storage {
            Storage::Memory => command.arg("--ephemeral"),
            Storage::Folder(folder) => command.arg("--data-dir").arg(folder),
        };
        command.args(["--port", "0", "--http-port", "off", "--ready-json"]);
        command.arg(files.path().join("ready.json")).args(extra);
        // What is set for the test run is not meant for the broker.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTTLA_") {
                command.env_remove(name);
            }
        }
        let output = output_file(&files.path().join("log"))
            .map_err(|error| format!("no file for the broker's output: {error}"))?;
        let child =
            command.stdin(Stdio::null()).stdout(output.0).stderr(output.1).spawn().map_err(
                |error| format!("cannot start {}: {error}", env!("CARGO_BIN_EXE_ottla")),
            )?;
        Ok(Self { child, ready: serde_json::Value::Null, files })
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let path = self.files.path().join("ready.json");
        let mut ended = None;
        let there = wait_until(READY_MAX, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || path.exists()
        });
        if let Some(status) = ended {
            return Err(format!("the broker ended early, {status}:\n{}", self.log_tail(60)));
        }
        if !there {
            return Err(format!("no ready file in {READY_MAX:?}:\n{}", self.log_tail(60)));
        }
        // Read without a second look: the file appears whole, by rename.
        let text = fs::read_to_string(&path).map_err(|error| format!("ready file: {error}"))?;
        self.ready = serde_json::from_str(&text)
            .map_err(|error| format!("ready file is no JSON: {error}\n{text}"))?;
        if self.ready["bootstrap_servers"].as_str().is_none() {
            return Err(format!("ready file without bootstrap_servers: {text}"));
        }
        Ok(())
    }

    /// `127.0.0.1:PORT`, as the ready file gives it.
    pub fn bootstrap(&self) -> &str {
        self.ready["bootstrap_servers"].as_str().expect("checked when it became ready")
    }

    /// The whole ready file.
    pub fn ready(&self) -> &serde_json::Value {
        &self.ready
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last `lines` lines of what the broker printed, stdout and stderr together.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.files.path().join("log"), lines)
    }

    /// Stops the broker with SIGTERM, as a service manager does, and waits for its end.
    ///
    /// # Errors
    /// It had ended before, did not end in time, or ended with a code other than 0.
    pub fn stop(mut self) -> Result<(), String> {
        if !self.is_running() {
            return Err(format!("the broker ended by itself:\n{}", self.log_tail(60)));
        }
        signal(&self.child, Signal::TERM).map_err(|error| format!("SIGTERM: {error}"))?;
        match wait_for(&mut self.child, STOP_MAX) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("SIGTERM gave {status}:\n{}", self.log_tail(60))),
            None => Err(format!("no end {STOP_MAX:?} after SIGTERM:\n{}", self.log_tail(60))),
        }
    }

    /// Stops every thread of the broker where it is (SIGSTOP), until [`Broker::resume`].
    ///
    /// # Errors
    /// The process is gone.
    pub fn pause(&self) -> io::Result<()> {
        signal(&self.child, Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resume(&self) -> io::Result<()> {
        signal(&self.child, Signal::CONT)
    }

    /// Kills the broker without a chance to write anything more, as `kill -9` does.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nothing can be done about a failure here: it means that the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a command of [`run_bounded`] ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with this status.
    Exited(ExitStatus),
    /// It was over its time and killed, with all that it had started in its process group.
    KilledAfter(Duration),
}

/// Runs `command` in a process group of its own, with its output in the file `output`, for at most
/// `limit`.
///
/// # Errors
/// The command cannot be started, or `output` not be made.
pub fn run_bounded(command: &mut Command, output: &Path, limit: Duration) -> io::Result<Ended> {
    let (out, err) = output_file(output)?;
    let mut child =
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn()?;
    let ended = wait_for(&mut child, limit);
    // What the command left running goes too: nothing of a test outlives it. An empty group is
    // the normal case, and an error of no interest.
    let _ = rustix::process::kill_process_group(pid(&child)?, Signal::KILL);
    match ended {
        Some(status) => Ok(Ended::Exited(status)),
        None => child.wait().map(|_| Ended::KilledAfter(limit)),
    }
}

/// Looks at `condition` every few ms until it holds, at most for `limit`; whether it held.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let clock = Clock::system();
    loop {
        if condition() {
            return true;
        }
        if clock.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The last `lines` lines of a file; what is not there is empty.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn wait_for(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    wait_until(limit, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    status
}

fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    Ok(rustix::process::kill_process(pid(child)?, signal)?)
}

fn pid(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("a child without a process id"))
}

/// One file for both streams, so that their lines stay in order.
fn output_file(path: &Path) -> io::Result<(File, File)> {
    let file = File::options().create(true).append(true).open(path)?;
    Ok((file.try_clone()?, file))
}
