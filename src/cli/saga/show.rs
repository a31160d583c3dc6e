//! `ottla saga show`.

use serde_json::{Value, json};

use super::{Found, find, standing};
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash};
use crate::cli::time;
use crate::services::saga::{Entry, Outcome, Record, Status};

/// Show a saga: its data and steps, why it does not go on, and what can be done
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Its id
    id: String,
    /// Its name, where sagas of several names have this id
    #[arg(long, value_name = "NAME")]
    saga: Option<String>,
}

impl Show {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let (found, _) = find(&mut client, self.saga.as_deref(), &self.id).await?;
        if connect.json { out.json(&as_json(&found)) } else { print(&found, out) }
    }
}

fn print(found: &Found, out: &mut Output) -> Result<(), Ended> {
    let Found { record, partition, offset, changed_at } = found;
    let (name, version, id) = (&record.name, record.version, &record.saga_id);
    out.line(format_args!("saga {name} {id}: {}", standing(record)))?;
    out.line(format_args!("  version {version}, correlation id {}", record.correlation_id))?;
    let times = [
        ("started", Some(record.started_at)),
        ("ended", record.ended_at),
        ("undone if not ended by", record.deadline.filter(|_| !record.status.is_end())),
        ("changed", Some(*changed_at)),
    ];
    let times = times.into_iter().filter_map(|(what, at)| at.map(|at| (what, time::show(at))));
    let times: Vec<_> = times.map(|(what, at)| format!("{what} {at}")).collect();
    out.line(format_args!("  {}", times.join(", ")))?;
    if let Some(reason) = record.reason.as_ref().filter(|_| record.stuck_because.is_some()) {
        out.line(format_args!("  turned back because: {reason}"))?;
    }
    if let Some(waits) = waits(record) {
        out.line(format_args!("  {waits}"))?;
    }
    out.line(format_args!("  not undone: {}", names(&record.done)))?;
    out.line(format_args!("  data {}", record.data))?;
    out.line(format_args!("  record {partition}@{offset}"))?;
    for line in next(record) {
        out.line(format_args!("  {line}"))?;
    }
    out.line("")?;
    let header = ["STEP", "DIRECTION", "OUTCOME", "ATTEMPT", "STARTED", "ENDED", "ACTOR", "REASON"];
    out.table(&header, record.history.iter().map(row).collect())
}

fn names(steps: &[String]) -> String {
    if steps.is_empty() { "nothing".to_owned() } else { steps.join(", ") }
}

fn row(entry: &Entry) -> Vec<String> {
    vec![
        entry.step.clone(),
        entry.phase.name().to_owned(),
        or_dash(entry.outcome.map(outcome)),
        entry.attempt.to_string(),
        time::show(entry.started_at),
        or_dash(entry.ended_at.map(time::show)),
        or_dash(entry.actor.as_ref()),
        or_dash(entry.reason.as_ref()),
    ]
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::Unknown => "unknown",
        Outcome::Skipped => "skipped",
    }
}

/// What it waits for.
fn waits(record: &Record) -> Option<String> {
    let awaiting = record.awaiting.as_ref()?;
    let (attempt, due) = (awaiting.attempt, time::show(awaiting.due));
    let command = &awaiting.command_id;
    if record.status == Status::Stuck {
        return Some(format!("command {command} was sent {attempt} times"));
    }
    Some(if awaiting.is_pausing {
        format!("command {command} is sent again at {due}, after {attempt} attempts")
    } else {
        format!("waits until {due} for the answer to command {command}, attempt {attempt}")
    })
}

/// What can be done with it.
fn next(record: &Record) -> Vec<String> {
    let id = &record.saga_id;
    let what = match record.step.as_deref() {
        Some(step) => format!("step {step}"),
        None => "what comes next".to_owned(),
    };
    match record.status {
        Status::Completed | Status::Compensated | Status::Failed => Vec::new(),
        Status::Running | Status::Compensating => vec![
            "goes on by itself".to_owned(),
            format!("`ottla why ottla-saga-{}` says whether its group works", record.name),
        ],
        Status::Stuck => vec![
            format!("`ottla saga retry {id}` sends {what} again, once its cause is mended"),
            format!("`ottla saga skip {id}` counts {what} as done: somebody has seen to it"),
            format!("`ottla saga abandon {id}` ends it as failed, nothing more is undone"),
        ],
    }
}

fn as_json(found: &Found) -> Value {
    json!({
        "saga": serde_json::to_value(&found.record).unwrap_or_default(),
        "topic": found.partition.topic,
        "partition": found.partition.partition.0,
        "offset": found.offset.0,
        "changed_at": time::show(found.changed_at),
        "next": next(&found.record),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: &str) -> Record {
        let record = json!({
            "saga_id": "s-1", "name": "order", "version": 1, "status": status, "step": "pay", "phase": "undo",
            "done": ["reserve"], "data": {}, "correlation_id": "c", "started_at": 0, "replies": [], "history": [],
            "start_digest": "", "stuck_because": "no answer",
            "awaiting": {
                "command_id": "x", "attempt": 4, "retries": 3, "resends": 0, "is_pausing": false, "due": 1_000,
            },
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn what_can_be_done_follows_from_where_it_stands() {
        let stuck = next(&record("stuck")).join("\n");
        assert!(stuck.contains("`ottla saga retry s-1` sends step pay again"), "{stuck}");
        assert!(next(&record("running")).join("\n").contains("ottla why ottla-saga-order"));
        assert!(next(&record("completed")).is_empty());
        assert_eq!(standing(&record("stuck")), "stuck, undoing step pay: no answer");
        assert_eq!(waits(&record("stuck")).unwrap(), "command x was sent 4 times");
        let waits = waits(&record("running")).unwrap();
        assert!(waits.starts_with("waits until 1970-01-01T00:00:01.000Z"), "{waits}");
    }
}
