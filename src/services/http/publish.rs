//! Takes in an event by a module's route: it is durable when the answer comes, and not handled yet.

use serde_json::json;

use super::ask::Ask;
use super::refusal::Refusal;
use super::start::check_size;
use super::{Api, Reply};
use crate::services::modules::Posted;
use crate::services::{ids, publish};

impl Api {
    /// `POST` on the route.
    pub(super) async fn publish(&self, index: usize, ask: &Ask<'_>) -> Result<Reply, Refusal> {
        let Some(route) = self.0.events.get(index) else {
            return Err(Refusal::new(404, "not-found", "no such route"));
        };
        let body = ask.json()?;
        check_size(ask)?;
        let event_id = match ask.idempotency_key()? {
            Some(key) => ids::derived(&["posted", route.route(), key]),
            None => self.0.ids.uuid().to_string(),
        };
        let at = self.0.cluster.clock().now().wall;
        let posted = Posted { body: &body, event_id: &event_id, at };
        let emission = route.event(posted);
        let emission = emission.map_err(|error| Refusal::of_field(error.field, error.message))?;
        let origin = self.origin(event_id.clone(), ask)?;
        publish::publish(&*self.0.cluster, &emission, &origin).await?;
        let (topic, key) = (&*emission.topic, &emission.key);
        Ok(Reply::json(202, &json!({ "event_id": event_id, "topic": topic, "key": key })))
    }
}
