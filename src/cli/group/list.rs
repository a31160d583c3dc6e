//! `ottla group list`.

use serde_json::json;

use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash};
use crate::protocol::messages::list_groups::ListedGroup;

/// List the groups of a cluster
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only groups in this state, such as Stable or Empty
    #[arg(long)]
    state: Option<String>,
}

impl List {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut groups = connect.client().await?.groups().await?;
        if let Some(state) = &self.state {
            groups.retain(|group| group.group_state.eq_ignore_ascii_case(state));
        }
        if connect.json {
            let group = |group: &ListedGroup| {
                json!({
                    "group": group.group_id,
                    "state": said(&group.group_state),
                    "type": said(&group.group_type),
                    "protocol_type": said(&group.protocol_type),
                })
            };
            return out.json(&groups.iter().map(group).collect());
        }
        let row = |group: &ListedGroup| {
            vec![
                group.group_id.clone(),
                or_dash(said(&group.group_state)),
                or_dash(said(&group.group_type)),
                or_dash(said(&group.protocol_type)),
            ]
        };
        out.table(&["GROUP", "STATE", "TYPE", "PROTOCOL"], groups.iter().map(row).collect())
    }
}

/// A text, unless the broker is too old to say it.
fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
