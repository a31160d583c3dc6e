//! `ottla topic delete`.

use serde_json::json;

use super::refused;
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::protocol::ErrorCode;

/// Delete topics, with everything in them
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Their names
    #[arg(required = true)]
    names: Vec<String>,
    /// Topics that do not exist are no error
    #[arg(long)]
    if_exists: bool,
}

impl Delete {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let results = connect.client().await?.delete_topics(&self.names).await?;
        let (mut deleted, mut complaints) = (Vec::new(), Vec::new());
        for (name, result) in results {
            match result {
                Ok(()) => deleted.push(name),
                Err(error)
                    if self.if_exists
                        && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => complaints.push(refused(&name, &error)),
            }
        }
        if connect.json {
            out.json(&json!(deleted))?;
        } else {
            for name in &deleted {
                out.line(format_args!("topic {name} is deleted"))?;
            }
        }
        Ended::unless_empty(complaints)
    }
}
