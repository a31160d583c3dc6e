//! `ottla topic`: makes, tells, changes and deletes topics of any Kafka cluster.

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use super::connect::Connect;
use super::duration;
use super::ended::{Ended, explained};
use super::output::Output;
use crate::client::ClientError;
use crate::protocol::ErrorCode;

/// What to do with topics.
#[derive(Debug, clap::Args)]
pub(crate) struct Topic {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make topics
    Create(create::Create),
    /// List the topics of a cluster
    List(list::List),
    /// Show partitions, offsets and configs of topics
    Describe(describe::Describe),
    /// Change the configs of a topic, or raise its partition count
    Alter(alter::Alter),
    /// Delete topics, with everything in them
    Delete(delete::Delete),
}

impl Topic {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let Self { command, connect } = self;
        match command {
            Command::Create(create) => create.run(&connect, out).await,
            Command::List(list) => list.run(&connect, out).await,
            Command::Describe(describe) => describe.run(&connect, out).await,
            Command::Alter(alter) => alter.run(&connect, out).await,
            Command::Delete(delete) => delete.run(&connect, out).await,
        }
    }
}

/// What happened to a topic, and what to do about it.
fn refused(name: &str, error: &ClientError) -> String {
    match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition) => unknown(name),
        Some(ErrorCode::TopicAlreadyExists) => {
            format!("topic {name} exists already: see `ottla topic describe {name}`")
        }
        _ => explained(error),
    }
}

/// The sentence for a topic that is not there.
pub(super) fn unknown(name: &str) -> String {
    format!("topic {name} does not exist: `ottla topic list` shows those that do")
}

/// The retention flag as a config.
fn retention_config(ms: Option<i64>) -> Option<(String, String)> {
    ms.map(|ms| ("retention.ms".to_owned(), ms.to_string()))
}

/// For clap: a span that is not empty, `-1` or `forever`.
fn retention(text: &str) -> Result<i64, String> {
    match duration::parse_retention_ms(text)? {
        0 => Err("a retention of 0 keeps nothing".to_owned()),
        ms => Ok(ms),
    }
}
