//! `ottla log`: looks into the data folder of a broker that does not run, and repairs it.
//!
//! `check` and `repair` need the folder for themselves: while a broker runs on it they are refused,
//! with its process id and exit code 3. `dump` only reads what it prints and may run beside one.

mod check;
mod decode;
mod dump;
mod repair;

use std::path::Path;

use super::ended::Ended;
use super::output::Output;
use super::settings::DataDir;
use crate::broker::{Access, OfflineError, OfflineFolder};
use crate::log::Damage;

/// What to do with the logs in a data folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Log {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(check::Check),
    Dump(dump::Dump),
    Repair(repair::Repair),
}

impl Log {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        let Self { command, data_dir } = self;
        match command {
            Command::Check(check) => check.run(&data_dir, out),
            Command::Dump(dump) => dump.run(&data_dir, out),
            Command::Repair(repair) => repair.run(&data_dir, out),
        }
    }
}

fn open(path: &Path, access: Access) -> Result<OfflineFolder, Ended> {
    OfflineFolder::open(path, access).map_err(|error| match error {
        OfflineError::Lock(error) if error.is_taken() => Ended::Taken(error.to_string()),
        OfflineError::Lock(_) | OfflineError::DataFolder(_) => Ended::failed(error.to_string()),
    })
}

/// The sentence for a partition that is not there.
fn unknown(folder: &OfflineFolder, partition: &str) -> Ended {
    Ended::Usage(format!(
        "there is no partition {partition} in {}: name it as its folder, such as orders-0",
        folder.path().display()
    ))
}

/// The topic of a partition's folder.
fn topic_of(partition: &str) -> &str {
    crate::log::layout::parse_partition_folder(partition).map_or(partition, |(topic, _)| topic)
}

fn damage_json(damage: &Damage) -> serde_json::Value {
    serde_json::json!({
        "file": damage.file.display().to_string(),
        "position": damage.position,
        "offset": damage.offset.0,
        "reason": damage.reason,
    })
}
