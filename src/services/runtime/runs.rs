//! Handlers that run: each a task of its own, whose panic is a failure like others and which is ended when its
//! time is over.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::round::Id;
use super::store::View;
use crate::clock::Clock;
use crate::services::cx::{Cx, StateView};
use crate::services::error::{Result, ServiceError, permanent};
use crate::services::service::{Handler, Handling, OnFailure};
use crate::services::unit::{TimerChange, Unit};
use crate::types::Monotonic;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) id: Id,
    pub(super) outcome: Result<Unit>,
    pub(super) took: Duration,
}

/// What to run.
pub(super) struct Run {
    pub(super) id: Id,
    pub(super) handler: Handler,
    pub(super) cx: Cx,
    pub(super) view: Arc<View>,
    /// What is emitted where the record is given up: its topic has to be there.
    pub(super) on_failure: Option<OnFailure>,
    pub(super) clock: Clock,
    pub(super) deadline: Monotonic,
}

/// The runs of a group; dropping them ends them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    tasks: JoinSet<Ran>,
    running: BTreeMap<Id, (AbortHandle, Monotonic)>,
}

impl Runs {
    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Begins a run.
    pub(super) fn start(&mut self, run: Run) {
        let (id, deadline) = (run.id, run.deadline);
        let handle = self.tasks.spawn(execute(run));
        self.running.insert(id, (handle, deadline));
    }

    /// The next run that ends; pends while none does. Cancel-safe.
    pub(super) async fn next(&mut self) -> Ran {
        loop {
            match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(Ok(ran)) if self.running.remove(&ran.id).is_some() => return ran,
                Some(_) => {} // It was ended.
            }
        }
    }

    /// A run that has ended already.
    pub(super) fn try_next(&mut self) -> Option<Ran> {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok(ran) = ended
                && self.running.remove(&ran.id).is_some()
            {
                return Some(ran);
            }
        }
        None
    }

    /// Ends a run whose time is over; what it still comes to is not heard.
    pub(super) fn end_overdue(&mut self, now: Monotonic) -> Option<Id> {
        let (id, _) = self.running.iter().find(|(_, (_, deadline))| *deadline <= now)?;
        let id = *id;
        if let Some((handle, _)) = self.running.remove(&id) {
            handle.abort();
        }
        Some(id)
    }

    /// When the next one's time is over.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.running.values().map(|(_, deadline)| *deadline).min()
    }
}

async fn execute(run: Run) -> Ran {
    let began = run.clock.elapsed();
    let outcome = outcome(&run).await;
    if let (Err(error), Some(on_failure)) = (&outcome, &run.on_failure)
        && let Some(emission) = on_failure(run.cx.input(), error)
    {
        // Where that does not succeed the record becomes a dead letter.
        let _ = run.view.store.ensure_topic(&emission.topic).await;
    }
    Ran { id: run.id, outcome, took: run.clock.elapsed().saturating_sub(began) }
}

async fn outcome(run: &Run) -> Result<Unit> {
    let cx = run.cx.clone();
    let handling = catch_unwind(AssertUnwindSafe(|| (run.handler)(cx))).map_err(panicked)?;
    caught(handling).await?;
    let unit = run.cx.take_unit();
    for (table, _) in unit.rows.keys() {
        run.view.open(table).await?; // A table that was only written to.
    }
    let timed = unit.timers.iter().filter_map(|change| match change {
        TimerChange::Set { event, .. } => Some(event),
        TimerChange::Cancel { .. } => None,
    });
    for emission in unit.emissions.iter().chain(timed) {
        run.view.store.ensure_topic(&emission.topic).await?;
    }
    Ok(unit)
}

/// The handler, with a panic as its failure.
async fn caught(mut handling: Handling) -> Result<()> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx))) {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Err(panicked(panic))),
        }
    })
    .await
}

fn panicked(panic: Box<dyn Any + Send>) -> ServiceError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    permanent("panic").because(text)
}
