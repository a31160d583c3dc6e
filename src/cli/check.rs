//! `ottla check`: whether a file of topics is right, without a broker.

use std::path::PathBuf;

use serde_json::json;

use super::ended::Ended;
use super::output::Output;
use super::topics_file::{self, Declared};

/// Check a topics file, without a broker
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The file, as for `ottla --topics`
    file: PathBuf,
    /// Print what is declared as JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` with everything that is wrong with the file.
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        let declared = topics_file::read(&self.file).map_err(Ended::Failed)?;
        if self.json {
            let topic = |topic: &Declared| {
                json!({
                    "name": topic.name,
                    "partitions": topic.partitions,
                    "replication_factor": topic.replication_factor,
                    "configs": topic.configs,
                })
            };
            return out.json(&declared.iter().map(topic).collect());
        }
        let count = declared.len();
        let topics = if count == 1 { "topic" } else { "topics" };
        out.line(format_args!("{} is right: {count} {topics}", self.file.display()))
    }
}
