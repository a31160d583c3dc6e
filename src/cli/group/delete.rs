//! `ottla group delete`.

use serde_json::json;

use super::refused;
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::protocol::ErrorCode;

/// Delete groups that have no members, with their offsets
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Their names
    #[arg(required = true)]
    groups: Vec<String>,
    /// Groups that do not exist are no error
    #[arg(long)]
    if_exists: bool,
}

impl Delete {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let (mut deleted, mut complaints) = (Vec::new(), Vec::new());
        for group in self.groups {
            match client.delete_group(&group).await {
                Ok(()) => deleted.push(group),
                Err(error)
                    if self.if_exists && error.code() == Some(ErrorCode::GroupIdNotFound) => {}
                Err(error) => complaints.push(refused(&group, &error)),
            }
        }
        if connect.json {
            out.json(&json!(deleted))?;
        } else {
            for group in &deleted {
                out.line(format_args!("group {group} is deleted"))?;
            }
        }
        Ended::unless_empty(complaints)
    }
}
