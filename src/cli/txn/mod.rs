//! `ottla txn`: lists, tells and aborts transactions of any Kafka cluster from 3.0 on.

mod abort;
mod describe;
mod list;
mod open;

use super::connect::Connect;
use super::ended::Ended;
use super::output::Output;

/// The states in which a transaction has yet to end, by Kafka's names.
const UNFINISHED: [&str; 4] = ["Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"];

/// What to do with transactions.
#[derive(Debug, clap::Args)]
pub(crate) struct Txn {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::List),
    Describe(describe::Describe),
    Abort(abort::Abort),
}

impl Txn {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let Self { command, connect } = self;
        match command {
            Command::List(list) => list.run(&connect, out).await,
            Command::Describe(describe) => describe.run(&connect, out).await,
            Command::Abort(abort) => abort.run(&connect, out).await,
        }
    }
}

/// The sentence for an id that is not there.
fn unknown(id: &str) -> String {
    format!("transactional id {id} does not exist: `ottla txn list` shows those that do")
}

/// Whether a transaction in this state has yet to end.
fn is_unfinished(state: &str) -> bool {
    UNFINISHED.contains(&state)
}
