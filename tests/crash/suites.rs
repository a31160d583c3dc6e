//! The suites of `tests/clients` that go on through crashes, built where `tests/clients.rs` builds
//! them, in turn with it.

use std::fs::{DirBuilder, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::support::{Ended, run_bounded, tail};

/// Longest time to fetch and build a client, from nothing on a slow machine.
const PREPARE_MAX: Duration = Duration::from_secs(900);

/// The folder of a suite.
pub(crate) fn folder(suite: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(suite)
}

/// Builds a suite and returns its home; `Err` says why it is not there. With
/// `OTTLA_REQUIRE_CLIENTS=1` it has to be.
pub(crate) fn prepare(suite: &str) -> Result<PathBuf, String> {
    let prepared = try_prepare(suite);
    let must = std::env::var("OTTLA_REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
    assert!(!must || prepared.is_ok(), "{prepared:?}");
    if let Err(why) = &prepared {
        eprintln!("skipped: {suite}: {why}");
    }
    prepared
}

fn try_prepare(suite: &str) -> Result<PathBuf, String> {
    let root = std::env::var_os("OTTLA_SUITE_HOME").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients"),
        PathBuf::from,
    );
    let home = root.join(suite);
    DirBuilder::new().recursive(true).create(&home).map_err(|error| error.to_string())?;
    let lock = File::create(home.join("prepare.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let files = tempfile::tempdir().map_err(|error| error.to_string())?;
    let output = files.path().join("output");
    let mut command = Command::new(folder(suite).join("prepare"));
    command.current_dir(folder(suite)).env("SUITE_HOME", &home);
    match run_bounded(&mut command, &output, PREPARE_MAX).map_err(|error| error.to_string())? {
        Ended::Exited(status) if status.success() => Ok(home),
        Ended::Exited(status) => Err(format!("prepare: {status}\n{}", tail(&output, 20))),
        Ended::KilledAfter(limit) => Err(format!("prepare: killed after {limit:?}")),
    }
}
