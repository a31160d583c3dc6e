//! `ottla dlq`: shows what the handlers of a group gave up, and has it handled again or left.
//!
//! Entries lie in `GROUP.dlq`; what is decided about one is a record of `GROUP.retry`, which the group reads (see
//! [`crate::services::dlq`]). Who decides holds the transactional id `ottla-dlq-GROUP` meanwhile, so that two at once
//! do not decide twice: the one that came first is fenced, and the other sees all that it has committed.

mod change;
mod decide;
mod edit;
mod letters;
mod list;
mod show;

use super::committed::partitions_of;
use super::connect::Connect;
use super::ended::Ended;
use super::output::Output;
use crate::client::Client;
use letters::Letters;

/// What to do with dead letters.
#[derive(Debug, clap::Args)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Edit(edit::Edit),
    /// Have the group handle dead letters again, under the ids that their events have
    Redrive(decide::Decide),
    /// Leave dead letters as they are; what waits behind one goes on
    Discard(decide::Decide),
}

impl Dlq {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let Self { command, connect } = self;
        match command {
            Command::List(list) => list.run(&connect, out).await,
            Command::Show(show) => show.run(&connect, out).await,
            Command::Edit(edit) => edit.run(&connect, out).await,
            Command::Redrive(decide) => decide.run(decide::Verdict::Redrive, &connect, out).await,
            Command::Discard(decide) => decide.run(decide::Verdict::Discard, &connect, out).await,
        }
    }
}

/// How many dead letters of a group nobody has decided about; none where there is no topic of them.
///
/// # Errors
/// The cluster's.
pub(crate) async fn count(client: &mut Client, group: &str) -> Result<usize, Ended> {
    let topic = format!("{group}{}", letters::TOPIC);
    if partitions_of(client, |name| name == topic).await?.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    Letters::open(client, group, None).await?.each(client, |_| count += 1).await?;
    Ok(count)
}

/// So many of them, in words.
fn letters(count: usize) -> String {
    match count {
        1 => "1 dead letter".to_owned(),
        count => format!("{count} dead letters"),
    }
}
