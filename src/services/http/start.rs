//! Begins sagas: the answer comes once the start is durable.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::ask::Ask;
use super::history::{links, shown};
use super::lookup::Found;
use super::refusal::Refusal;
use super::{Api, Reply};
use crate::services::envelope::ELEMENTS_MAX;
use crate::services::ids;
use crate::services::publish::{self, Origin};
use crate::services::saga::{self, DATA_BYTES_MAX, Status, Versions, digest};

/// Who publishes what comes by HTTP.
pub(super) const SOURCE: &str = "ottla-http";

/// Starts that are on their way, by saga id: the data's digest, and how many requests carry it.
pub(super) type Starts = HashMap<String, (String, usize)>;

impl Api {
    /// `POST /api/saga/NAME`.
    pub(super) async fn start(&self, saga: &Versions, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        let wait_ms = ask.wait_ms()?;
        let data = ask.json()?;
        check_size(ask)?;
        let checked = saga.newest().check(&data);
        checked.map_err(|error| Refusal::of_field(error.field, error.message))?;
        let key = ask.idempotency_key()?;
        let saga_id = match key {
            Some(key) => ids::derived(&["saga", saga.name(), key]),
            None => self.0.ids.uuid().to_string(),
        };
        let status = match key {
            Some(_) => self.start_once(saga, &saga_id, data, ask).await?,
            None => self.send_start(saga, &saga_id, data, ask).await?,
        };
        let ended = match wait_ms {
            Some(wait_ms) => self.end_of(saga, &saga_id, wait_ms).await?,
            None => None,
        };
        if let Some(record) = ended {
            return Ok(Reply::json(200, &shown(&record, ask.path)));
        }
        let links = links(ask.path, &saga_id);
        let location = links["self"].as_str().unwrap_or_default().to_owned();
        let body = json!({ "saga_id": saga_id, "status": status.name(), "links": links });
        Ok(Reply::json(202, &body).with_header("location", location))
    }

    /// Begins a saga whose id follows from the client's key, unless that is done.
    async fn start_once(
        &self,
        saga: &Versions,
        saga_id: &str,
        data: Value,
        ask: &Ask<'_>,
    ) -> Result<Status, Refusal> {
        let digest_now = digest(&data);
        let _turn = Turn::take(self, saga_id, &digest_now)?;
        let (before, status) = match self.find(saga, saga_id).await? {
            Found::Record(record) => (record.start_digest.clone(), record.status),
            Found::Started { data, .. } => (digest(&data), Status::Running),
            Found::Nothing => return self.send_start(saga, saga_id, data, ask).await,
        };
        if before == digest_now { Ok(status) } else { Err(other_body()) }
    }

    async fn send_start(
        &self,
        saga: &Versions,
        saga_id: &str,
        data: Value,
        ask: &Ask<'_>,
    ) -> Result<Status, Refusal> {
        let event_id = ids::derived(&["saga-start", saga.name(), saga_id]);
        let origin = self.origin(event_id, ask)?.saga(saga_id);
        let origin = match ask.word("x-correlation-id")? {
            Some(_) => origin,
            None => origin.correlation(saga_id),
        };
        let start = saga::start(saga.name(), saga_id, data);
        publish::publish(&*self.0.cluster, &start, &origin).await?;
        Ok(Status::Running)
    }

    /// Where what a request publishes comes from.
    pub(super) fn origin(&self, event_id: String, ask: &Ask<'_>) -> Result<Origin, Refusal> {
        let mut origin = Origin::new(SOURCE, event_id);
        if let Some(id) = ask.word("x-correlation-id")? {
            origin = origin.correlation(id);
        }
        if let Some(parent) = ask.word("traceparent")? {
            origin = origin.traceparent(parent);
        }
        Ok(origin)
    }

    fn starts(&self) -> MutexGuard<'_, Starts> {
        self.0.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A start that is on its way: while it is, another with other data under the same id is refused.
struct Turn<'a> {
    api: &'a Api,
    saga_id: &'a str,
}

impl<'a> Turn<'a> {
    fn take(api: &'a Api, saga_id: &'a str, digest: &str) -> Result<Self, Refusal> {
        let mut starts = api.starts();
        let (before, count) =
            starts.entry(saga_id.to_owned()).or_insert_with(|| (digest.to_owned(), 0));
        if before != digest {
            return Err(other_body());
        }
        *count += 1;
        Ok(Self { api, saga_id })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut starts = self.api.starts();
        if let Some((_, count)) = starts.get_mut(self.saga_id) {
            *count -= 1;
            if *count == 0 {
                starts.remove(self.saga_id);
            }
        }
    }
}

fn other_body() -> Refusal {
    let message = "this Idempotency-Key was used with another body";
    Refusal::new(422, "idempotency-key-reused", message)
}

/// What a saga, and whoever reads its start, would not take.
pub(super) fn check_size(ask: &Ask<'_>) -> Result<(), Refusal> {
    if ask.body.len() > DATA_BYTES_MAX {
        let message = format!("the body is over {DATA_BYTES_MAX} bytes");
        return Err(Refusal::new(413, "too-large", message));
    }
    let is_element = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
    if ask.body.iter().filter(is_element).count() > ELEMENTS_MAX {
        let message = format!("the body has over {ELEMENTS_MAX} elements");
        return Err(Refusal::new(413, "too-large", message));
    }
    Ok(())
}
