//! What holds a group back though there is work: breakers of what it depends on, and a rate. While it does, nothing is
//! read, so that what waits is lag; and nothing is tried, so that no attempts are used up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::session::Session;
use crate::services::breaker::{Breaker, BreakerState};
use crate::services::error::{Class, ServiceError};
use crate::types::{Now, Timestamp};

/// Whether something may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Now.
    Open,
    /// Not before.
    Until(Timestamp),
}

/// The breakers of all services, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<BTreeMap<Arc<str>, Breaker>>);

impl Breakers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Breaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &Arc<str>, change: impl FnOnce(&mut Breaker) -> T) -> T {
        change(self.lock().entry(Arc::clone(name)).or_default())
    }

    /// Where each is at.
    pub(super) fn states(&self) -> BTreeMap<Arc<str>, BreakerState> {
        let all = self.lock();
        all.iter().map(|(name, breaker)| (Arc::clone(name), breaker.state())).collect()
    }
}

impl Session {
    /// Whether a record of this handler could begin; takes nothing.
    pub(super) fn gate(&self, subscription: usize, now: Now) -> Gate {
        let closed = self.breaker(subscription).and_then(|name| {
            self.shared.breakers.with(name, |breaker| breaker.closed_until(now.wall))
        });
        closed.map_or(Gate::Open, Gate::Until)
    }

    /// A record of this handler begins, if it may.
    pub(super) fn pass(&mut self, subscription: usize, now: Now) -> Gate {
        if let until @ Gate::Until(_) = self.gate(subscription, now) {
            return until;
        }
        if let Some(rate) = &mut self.rate
            && let Err(until) = rate.take(now.wall)
        {
            return Gate::Until(until);
        }
        let Some(name) = self.breaker(subscription) else { return Gate::Open };
        match self.shared.breakers.with(name, |breaker| breaker.allow(now.wall)) {
            Ok(()) => Gate::Open,
            Err(until) => Gate::Until(until),
        }
    }

    /// A handler succeeded.
    pub(super) fn succeeded(&self, subscription: usize) {
        if let Some(name) = self.breaker(subscription) {
            self.shared.breakers.with(name, Breaker::success);
        }
    }

    /// A handler failed; for good means that what it depends on has answered.
    pub(super) fn failed(&self, subscription: usize, error: &ServiceError, now: Now) {
        let Some(name) = self.breaker(subscription) else { return };
        self.shared.breakers.with(name, |breaker| match error.class {
            Class::Transient => breaker.failure(now.wall),
            Class::Permanent => breaker.success(),
        });
    }

    fn breaker(&self, subscription: usize) -> Option<&Arc<str>> {
        self.plan().subscriptions[subscription].breaker.as_ref()
    }
}
