//! Faults on purpose, for tests of what stands above a broker: a list of rules that every request
//! passes. ApiVersions is spared; it is answered before there is a broker.

use std::sync::atomic::{AtomicU64, Ordering};

use super::connection::{Answer, Outcome};
use super::dispatch::{Cx, finish};
use super::{handlers, refusals};
use crate::broker::TopicRef;
use crate::codec::Reader;
use crate::ids::Ids;
use crate::protocol::{ApiKey, ErrorCode};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is handled so many ms later, and what follows it on its connection after it.
    Delay(u64),
    /// The request has no effect, and this is its answer: for each partition, where the answer has
    /// some. Requests whose answer cannot be made this way are left alone: those of administration.
    Error(ErrorCode),
    /// The request has no effect and no answer, as if it had been lost.
    Drop,
    /// The request has its effect, and instead of its answer the connection ends.
    Disconnect,
}

/// Which requests a fault befalls: those that are all that is said here. Of several rules the first
/// that applies counts.
#[derive(Clone, Debug)]
pub struct FaultRule {
    fault: Fault,
    api: Option<ApiKey>,
    topic: Option<String>,
    client_id: Option<String>,
    nth: Option<u64>,
    percent: u8,
}

impl FaultRule {
    /// Befalls every request.
    pub fn new(fault: Fault) -> Self {
        Self { fault, api: None, topic: None, client_id: None, nth: None, percent: 100 }
    }

    /// Only requests of this API.
    #[must_use]
    pub fn api(self, api: ApiKey) -> Self {
        Self { api: Some(api), ..self }
    }

    /// Only requests that name this topic: Produce, Fetch, ListOffsets, Metadata, OffsetCommit,
    /// AddPartitionsToTxn, TxnOffsetCommit, WriteTxnMarkers and DescribeProducers do.
    #[must_use]
    pub fn topic(self, name: impl Into<String>) -> Self {
        Self { topic: Some(name.into()), ..self }
    }

    /// Only requests with this client id.
    #[must_use]
    pub fn client_id(self, client_id: impl Into<String>) -> Self {
        Self { client_id: Some(client_id.into()), ..self }
    }

    /// Only the n-th of those requests, the first being 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { nth: Some(nth), ..self }
    }

    /// Only so many of a hundred of those requests, by the seed.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        Self { percent, ..self }
    }
}

/// The rules of one broker.
#[derive(Debug, Default)]
pub struct Faults {
    /// Each with the number of requests it was true of.
    rules: Vec<(FaultRule, AtomicU64)>,
    chance: Ids,
}

impl Faults {
    /// These rules; the same seed chooses the same requests, if they come in the same order.
    pub fn new(rules: Vec<FaultRule>, seed: u64) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, AtomicU64::new(0))).collect();
        Self { rules, chance: Ids::seeded(seed) }
    }

    fn pick(&self, cx: &Cx, reader: &Reader) -> Option<Fault> {
        let found = self.rules.iter().find(|(rule, count)| {
            if !is_about(rule, cx, reader) {
                return false;
            }
            let nth = count.fetch_add(1, Ordering::Relaxed) + 1;
            rule.nth.is_none_or(|wanted| wanted == nth) && self.is_chosen(rule.percent)
        });
        found.map(|(rule, _)| rule.fault)
    }

    fn is_chosen(&self, percent: u8) -> bool {
        percent >= 100 || self.chance.uuid().as_u128() % 100 < u128::from(percent)
    }
}

fn is_about(rule: &FaultRule, cx: &Cx, reader: &Reader) -> bool {
    let call = &cx.call;
    if rule.api.is_some_and(|api| api != call.api)
        || rule.client_id.as_ref().is_some_and(|id| *id != call.client_id)
    {
        return false;
    }
    let Some(wanted) = &rule.topic else { return true };
    let topics = refusals::topics(call.api, call.version, reader.clone());
    topics.iter().any(|topic| match topic {
        TopicRef::Name(name) => name == wanted,
        TopicRef::Id(id) => {
            cx.broker.registry.by_id(*id).is_some_and(|topic| &*topic.name == wanted.as_str())
        }
    })
}

/// Handles a request, or does to it what a rule says.
pub(super) fn pass(cx: Cx, reader: Reader) -> Answer {
    let faults = &cx.call.context.faults;
    let fault = if faults.rules.is_empty() { None } else { faults.pick(&cx, &reader) };
    match fault {
        None => handlers::route(cx, reader),
        Some(Fault::Delay(ms)) => Answer::Parked(Box::pin(async move {
            cx.call.context.clock.sleep_ms(ms).await;
            finish(handlers::route(cx, reader)).await
        })),
        Some(Fault::Error(code)) => match refusals::refuse(&cx, reader.clone(), code) {
            Some(answer) => answer,
            None => handlers::route(cx, reader),
        },
        Some(Fault::Drop) => Answer::Silent,
        Some(Fault::Disconnect) => {
            let handled = handlers::route(cx, reader);
            Answer::Parked(Box::pin(async move {
                finish(handled).await;
                Outcome::Close("a fault rule says so".to_owned())
            }))
        }
    }
}
