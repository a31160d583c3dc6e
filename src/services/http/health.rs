//! Health: of the cluster, of this process, of each group.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::{Api, Reply};
use crate::services::breaker::BreakerState;
use crate::services::runtime::GroupState;

impl Api {
    /// `GET /health/kafka`.
    pub(super) async fn kafka(&self) -> Reply {
        let inner = &self.0;
        // Any question will do: whether the topic is there is of no interest.
        let is_connected = inner.cluster.partition_count("system.metrics".into()).await.is_ok();
        let states = inner.handle.groups().filter_map(|group| inner.handle.state(group));
        let states: Vec<_> = states.collect();
        let working = states.iter().filter(|state| state.is_working).count();
        let body = json!({
            "connected": is_connected,
            "producer": is_connected && working == states.len(),
            "consumers": working,
            "brokers": inner.brokers,
        });
        Reply::json(if is_connected { 200 } else { 503 }, &body)
    }

    /// `GET /health/ready`.
    pub(super) fn ready(&self) -> Reply {
        let handle = &self.0.handle;
        let is_waiting = |group: &&str| handle.state(group).is_none_or(|state| !state.is_working);
        let waiting: Vec<_> = handle.groups().filter(is_waiting).collect();
        let status = if waiting.is_empty() { 200 } else { 503 };
        Reply::json(status, &json!({ "ready": waiting.is_empty(), "waiting": waiting }))
    }

    /// `GET /health/services`.
    pub(super) fn services(&self) -> Reply {
        let groups = self.0.handle.groups().filter_map(|group| self.account(group));
        Reply::json(200, &json!({ "services": groups.collect::<Vec<_>>() }))
    }

    /// `GET /health/services/GROUP`; a saga goes by its own name as well.
    pub(super) fn service(&self, name: &str) -> Result<Reply, Refusal> {
        let account = self.account(name);
        let account = account.or_else(|| self.account(&format!("ottla-saga-{name}")));
        let Some(account) = account else {
            return Err(Refusal::new(404, "not-found", format!("no service is called {name:?}")));
        };
        Ok(Reply::json(200, &account))
    }

    fn account(&self, group: &str) -> Option<Value> {
        let handle = &self.0.handle;
        let (state, metrics) = (handle.state(group)?, handle.metrics(group)?);
        let breakers: Map<_, _> = handle
            .breakers_of(group)
            .into_iter()
            .map(|(name, state)| (name.to_string(), breaker(state).into()))
            .collect();
        Some(json!({
            "service": group,
            "state": word(state),
            "partitions": state.partitions,
            "lag": metrics.lag.get(),
            "handled": metrics.handled.get(),
            "failed": metrics.failed_transient.get() + metrics.failed_permanent.get(),
            "dead_letters": metrics.dead_letters.get(),
            "parked_keys": metrics.parked_keys.get(),
            "breakers": breakers,
        }))
    }
}

fn word(state: GroupState) -> &'static str {
    match state {
        GroupState { is_working: false, is_paused: false, .. } => "starting",
        GroupState { is_paused: true, .. } => "paused",
        GroupState { is_working: true, is_paused: false, .. } => "working",
    }
}

/// A breaker's state in a word.
fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open(_) => "open",
        BreakerState::HalfOpen(_) => "half-open",
    }
}
