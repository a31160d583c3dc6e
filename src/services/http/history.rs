//! Shows sagas: one, what it has done, and the newest ones.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::Ask;
use super::lookup::Found;
use super::refusal::Refusal;
use super::{Api, Reply};
use crate::services::envelope::time;
use crate::services::saga::{Entry, Record, Status, Versions};
use crate::types::Timestamp;

/// Sagas of a list where nothing else is said, and at most.
const LIST: usize = 100;
const LIST_MAX: usize = 1_000;
/// Rows that are read before others get their turn.
const ROWS_AT_A_TIME: usize = 256;

/// What a list says of a saga; the rest of its record is passed over.
#[derive(Deserialize)]
struct Line {
    saga_id: String,
    name: String,
    status: Status,
    step: Option<String>,
    reason: Option<String>,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Api {
    /// `GET /api/saga/NAME/ID`.
    pub(super) async fn show(&self, saga: &Versions, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        let saga_id = ask.parameter(0);
        let base = ask.path.rsplit_once('/').map_or("", |(base, _)| base);
        match self.find(saga, saga_id).await? {
            Found::Record(record) => Ok(Reply::json(200, &shown(&record, base))),
            Found::Started { data, at } => Ok(Reply::json(200, &begun(saga_id, &data, at, base))),
            Found::Nothing => Err(unknown(saga, saga_id)),
        }
    }

    /// `GET /api/saga/NAME/ID/history`.
    pub(super) async fn history(&self, saga: &Versions, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        let saga_id = ask.parameter(0);
        let (status, entries) = match self.find(saga, saga_id).await? {
            Found::Record(record) => (record.status, record.history),
            Found::Started { .. } => (Status::Running, Vec::new()),
            Found::Nothing => return Err(unknown(saga, saga_id)),
        };
        let history: Vec<_> = entries.iter().map(entry).collect();
        let body = json!({ "saga_id": saga_id, "status": status.name(), "history": history });
        Ok(Reply::json(200, &body))
    }

    /// `GET /api/sagas`: those whose record is committed, newest first.
    pub(super) async fn list(&self, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        let limit = limit(ask)?;
        let state = ask.query("state").map(|name| state(&name)).transpose()?;
        let name = ask.query("saga");
        let is_wanted =
            |saga: &&Versions| name.as_deref().is_none_or(|name| name == &**saga.name());
        let sagas: Vec<_> = self.0.sagas.iter().filter(is_wanted).collect();
        if sagas.is_empty() && name.is_some() {
            return Err(Refusal::of_field("saga", "no saga has this name"));
        }
        let mut lines: Vec<Line> = Vec::new();
        for saga in sagas {
            let rows = self.records(saga).await?;
            for some in rows.chunks(ROWS_AT_A_TIME) {
                let read = some.iter().filter_map(|row| serde_json::from_slice::<Line>(row).ok());
                lines.extend(read.filter(|line| state.is_none_or(|state| line.status == state)));
                // Of many rows, so that requests beside this one are not kept waiting.
                tokio::task::yield_now().await;
            }
        }
        lines.sort_by(|one, other| {
            (other.started_at, &one.saga_id).cmp(&(one.started_at, &other.saga_id))
        });
        let count = lines.len();
        let sagas: Vec<_> = lines.iter().take(limit).map(line).collect();
        Ok(Reply::json(200, &json!({ "sagas": sagas, "count": count })))
    }
}

/// A saga as it is shown; its paths begin with `base`.
pub(super) fn shown(record: &Record, base: &str) -> Value {
    let mut body = json!({
        "saga_id": record.saga_id,
        "saga": record.name,
        "status": record.status.name(),
        "step": record.step,
        "data": record.data,
        "started_at": time::format(record.started_at),
        "ended_at": record.ended_at.map(time::format),
        "reason": record.reason,
        "correlation_id": record.correlation_id,
        "links": links(base, &record.saga_id),
    });
    if let Some(why) = &record.stuck_because {
        body["stuck_because"] = json!(why);
    }
    body
}

/// A saga that is begun, and of which nothing is done.
fn begun(saga_id: &str, data: &Value, at: Timestamp, base: &str) -> Value {
    json!({
        "saga_id": saga_id,
        "status": Status::Running.name(),
        "step": null,
        "data": data,
        "started_at": time::format(at),
        "ended_at": null,
        "reason": null,
        "links": links(base, saga_id),
    })
}

/// Where a saga, and what it has done, is to be found.
pub(super) fn links(base: &str, saga_id: &str) -> Value {
    let (base, one) = (base.trim_end_matches('/'), encoded(saga_id));
    json!({ "self": format!("{base}/{one}"), "history": format!("{base}/{one}/history") })
}

/// As a part of a path.
fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

fn line(line: &Line) -> Value {
    json!({
        "saga_id": line.saga_id,
        "saga": line.name,
        "status": line.status.name(),
        "step": line.step,
        "started_at": time::format(line.started_at),
        "ended_at": line.ended_at.map(time::format),
        "reason": line.reason,
    })
}

fn entry(entry: &Entry) -> Value {
    json!({
        "step": entry.step,
        "phase": entry.phase.name(),
        "started_at": time::format(entry.started_at),
        "ended_at": entry.ended_at.map(time::format),
        "attempt": entry.attempt,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "actor": entry.actor,
    })
}

fn limit(ask: &Ask<'_>) -> Result<usize, Refusal> {
    let Some(text) = ask.query("limit") else { return Ok(LIST) };
    let limit = text.parse().ok().filter(|limit| (1..=LIST_MAX).contains(limit));
    limit.ok_or_else(|| Refusal::of_field("limit", format!("{text:?}: 1 to {LIST_MAX}")))
}

fn state(name: &str) -> Result<Status, Refusal> {
    let found = Status::ALL.into_iter().find(|status| status.name() == name);
    let names = Status::ALL.map(Status::name).join(", ");
    found.ok_or_else(|| Refusal::of_field("state", format!("{name:?}: one of {names}")))
}

fn unknown(saga: &Versions, saga_id: &str) -> Refusal {
    Refusal::new(404, "not-found", format!("no saga {} has the id {saga_id:?}", saga.name()))
}
