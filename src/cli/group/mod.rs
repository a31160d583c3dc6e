//! `ottla group`: lists, tells, resets and deletes consumer groups of any Kafka cluster.

mod delete;
mod describe;
mod list;
mod reset;

use super::connect::Connect;
use super::ended::{Ended, explained};
use super::output::Output;
use crate::client::ClientError;
use crate::protocol::ErrorCode;

/// What to do with groups.
#[derive(Debug, clap::Args)]
pub(crate) struct Group {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the groups of a cluster
    List(list::List),
    /// Show members, offsets and lag of groups
    Describe(describe::Describe),
    /// Set the offsets of a group that has no members
    Reset(reset::Reset),
    /// Delete groups that have no members, with their offsets
    Delete(delete::Delete),
}

impl Group {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let Self { command, connect } = self;
        match command {
            Command::List(list) => list.run(&connect, out).await,
            Command::Describe(describe) => describe.run(&connect, out).await,
            Command::Reset(reset) => reset.run(&connect, out).await,
            Command::Delete(delete) => delete.run(&connect, out).await,
        }
    }
}

/// What happened to a group, and what to do about it.
fn refused(group: &str, error: &ClientError) -> String {
    match error.code() {
        Some(ErrorCode::GroupIdNotFound) => unknown(group),
        Some(ErrorCode::NonEmptyGroup) => {
            format!("group {group} has members: stop them first")
        }
        _ => explained(error),
    }
}

/// The sentence for a group that is not there.
fn unknown(group: &str) -> String {
    format!("group {group} does not exist: `ottla group list` shows those that do")
}
