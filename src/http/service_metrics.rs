//! Metrics of the services beside the broker.

use super::text::{Text, seconds};
use crate::services::Handle;
use crate::services::breaker::BreakerState;
use crate::services::http::Api;
use crate::services::runtime::metrics::{GroupMetrics, HANDLER_BUCKETS_MS};

/// The families of services, their groups and their sagas.
pub(super) async fn services(text: &mut Text, api: &Api) {
    let handle = api.handle();
    let groups: Vec<_> = handle.groups().filter_map(|it| Some((it, handle.metrics(it)?))).collect();
    let gauge = |text: &mut Text, name: &str, help: &str, value: &dyn Fn(&GroupMetrics) -> i64| {
        text.family(name, "gauge", help);
        for (group, metrics) in &groups {
            text.sample(name, &[("group", group)], value(metrics));
        }
    };
    let help = "Records that a group of services has not read yet.";
    gauge(text, "ottla_consumer_lag", help, &|metrics| metrics.lag.get());
    let help = "Keys that wait for a record of theirs to be tried again.";
    gauge(text, "ottla_parked_keys", help, &|metrics| metrics.parked_keys.get());
    let name = "ottla_handled_total";
    text.family(name, "counter", "Records that were handled.");
    for (group, metrics) in &groups {
        text.sample(name, &[("group", group)], metrics.handled.get());
    }
    handlers(text, &groups);
    let name = "ottla_timer_late_seconds";
    text.family(name, "gauge", "How late the last timer or retry of a group was.");
    for (group, metrics) in &groups {
        let late_ms = u64::try_from(metrics.late_ms.get()).unwrap_or(0);
        text.sample(name, &[("group", group)], seconds(late_ms.saturating_mul(1_000)));
    }
    breakers(text, handle);
    let name = "ottla_dlq_records";
    text.family(name, "gauge", "Dead letters of a group that nobody has decided about.");
    for (group, _) in &groups {
        if let Some(count) = api.dead_letters(group).await {
            text.sample(name, &[("group", group)], count);
        }
    }
    let name = "ottla_saga_instances";
    text.family(name, "gauge", "Sagas by the state of their record.");
    for (saga, counts) in api.saga_counts().await {
        for (status, count) in counts {
            text.sample(name, &[("saga", &saga), ("state", status.name())], count);
        }
    }
}

fn handlers(text: &mut Text, groups: &[(&str, &GroupMetrics)]) {
    let name = "ottla_handler_errors_total";
    text.family(name, "counter", "Tries of handlers that failed, in passing or for good.");
    for (group, metrics) in groups {
        let failed = [
            ("transient", metrics.failed_transient.get()),
            ("permanent", metrics.failed_permanent.get()),
        ];
        for (class, count) in failed {
            text.sample(name, &[("group", group), ("class", class)], count);
        }
    }
    text.family("ottla_handler_seconds", "histogram", "How long tries of handlers took.");
    for (group, metrics) in groups {
        let counts = metrics.handler.counts();
        let mut below = 0;
        for (bound_ms, count) in HANDLER_BUCKETS_MS.iter().zip(counts) {
            below += count;
            let bound = seconds(bound_ms.saturating_mul(1_000));
            let labels = [("group", *group), ("le", bound.as_str())];
            text.sample("ottla_handler_seconds_bucket", &labels, below);
        }
        let all: u64 = counts.iter().sum();
        let labels = [("group", *group), ("le", "+Inf")];
        text.sample("ottla_handler_seconds_bucket", &labels, all);
        let us = u64::try_from(metrics.handler.sum().as_micros()).unwrap_or(u64::MAX);
        text.sample("ottla_handler_seconds_sum", &[("group", group)], seconds(us));
        text.sample("ottla_handler_seconds_count", &[("group", group)], all);
    }
}

fn breakers(text: &mut Text, handle: &Handle) {
    let name = "ottla_breaker_state";
    text.family(name, "gauge", "0: closed, 1: half open, 2: open.");
    for (breaker, state) in handle.breakers() {
        let value = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen(_) => 1,
            BreakerState::Open(_) => 2,
        };
        text.sample(name, &[("breaker", &breaker)], value);
    }
}
