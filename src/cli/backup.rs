//! `ottla backup`: copies the data folder of a broker that may run.

use std::path::PathBuf;

use serde_json::json;

use super::ended::Ended;
use super::output::Output;
use super::progress::Progress;
use super::settings::DataDir;
use crate::broker::{BackupError, backup};
use crate::clock::Clock;

/// Copy the data folder of a broker, which may run meanwhile
///
/// The copy has every record that was acknowledged before it began, and no committed offset behind a
/// log's end; `ottla --data-dir DIR` on it is that broker, with the same cluster id. It is on disk,
/// and each batch has been checked, before DIR is there. The broker takes no part: give the same
/// --data-dir or --config as to `ottla serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// Where the copy goes; it must not exist, or be empty
    dir: PathBuf,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` where there is no copy; `Taken` while another one is made there.
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        let from = self.data_dir.path()?;
        let clock = Clock::system();
        let mut progress = Progress::new("bytes", None, &clock);
        let mut tell = |bytes: u64, partition: &str| {
            progress.at(bytes, || format!("{bytes} bytes, {partition}"));
        };
        let summary = backup(&from, &self.dir, &mut tell).map_err(|error| match error {
            BackupError::Lock(error) if error.is_taken() => Ended::Taken(error.to_string()),
            BackupError::NotEmpty(_) | BackupError::Inside(_) => Ended::Usage(error.to_string()),
            error => Ended::failed(format!("no backup was made: {error}")),
        })?;
        drop(progress);
        let dir = self.dir.display().to_string();
        if self.json {
            return out.json(&json!({
                "dir": dir,
                "partitions": summary.partitions,
                "bytes": summary.bytes,
                "seconds": clock.elapsed().as_secs_f64(),
            }));
        }
        out.line(format_args!(
            "{dir} has {} partitions, {} bytes: start it with `ottla --data-dir {dir}`",
            summary.partitions, summary.bytes
        ))
    }
}
