//! `ottla saga list`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::{found, partitions, reason};
use crate::cli::committed::Committed;
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash, tell};
use crate::cli::{progress::Progress, time};
use crate::client::Position;
use crate::services::saga::{Record, Status};
use crate::types::Timestamp;

/// List sagas, those that began last first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only sagas of this name
    #[arg(long, value_name = "NAME")]
    saga: Option<String>,
    /// Only sagas in this state, such as stuck or running; may be given several times
    #[arg(long, value_delimiter = ',', value_parser = state)]
    state: Vec<Status>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// What is told of a saga in a line.
struct Line {
    id: String,
    saga: String,
    version: u32,
    status: Status,
    step: Option<String>,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    reason: Option<String>,
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        let reason = reason(&record).map(str::to_owned);
        Self {
            id: record.saga_id,
            saga: record.name,
            version: record.version,
            status: record.status,
            step: record.step,
            started_at: record.started_at,
            ended_at: record.ended_at,
            reason,
        }
    }
}

impl List {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let partitions = partitions(&mut client, self.saga.as_deref()).await?;
        let mut reader = Committed::from(&mut client, &partitions, Position::Start).await?;
        let mut progress = Progress::new("reading", None, client.clock());
        let (mut lines, mut read) = (BTreeMap::new(), 0_u64);
        reader
            .read(&mut client, |stored| {
                read += 1;
                progress.at(read, || format!("{read} records read"));
                let key = (stored.at.topic.to_string(), stored.key.clone());
                let line = found(&stored).map(|found| Line::from(found.record));
                match line.filter(|it| self.state.is_empty() || self.state.contains(&it.status)) {
                    Some(line) => lines.insert(key, line),
                    None => lines.remove(&key),
                };
                ControlFlow::Continue(())
            })
            .await?;
        drop(progress);
        let mut lines: Vec<Line> = lines.into_values().collect();
        lines.sort_by(|a, b| (b.started_at, &a.id).cmp(&(a.started_at, &b.id)));
        let total = lines.len();
        lines.truncate(self.limit);
        if connect.json {
            out.json(&lines.iter().map(as_json).collect())?;
        } else {
            let header = ["ID", "SAGA", "STATE", "STEP", "STARTED", "ENDED", "REASON"];
            out.table(&header, lines.iter().map(row).collect())?;
        }
        if total > lines.len() {
            tell(format_args!("{} of {total} sagas: --limit shows more", lines.len()));
        }
        Ok(())
    }
}

fn row(line: &Line) -> Vec<String> {
    vec![
        line.id.clone(),
        line.saga.clone(),
        line.status.name().to_owned(),
        or_dash(line.step.as_ref()),
        time::show(line.started_at),
        or_dash(line.ended_at.map(time::show)),
        or_dash(line.reason.as_ref()),
    ]
}

fn as_json(line: &Line) -> Value {
    json!({
        "saga_id": line.id,
        "saga": line.saga,
        "version": line.version,
        "state": line.status.name(),
        "step": line.step,
        "started_at": time::show(line.started_at),
        "ended_at": line.ended_at.map(time::show),
        "reason": line.reason,
    })
}

/// A state by its name.
fn state(text: &str) -> Result<Status, String> {
    const ALL: [Status; 6] = [
        Status::Running,
        Status::Completed,
        Status::Compensating,
        Status::Compensated,
        Status::Failed,
        Status::Stuck,
    ];
    let found = ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let names = ALL.map(Status::name).join(", ");
        format!("{text:?} is no state of a saga: {names}")
    })
}
