//! What a handler works with: reads and writes of tables, events, timers, effects. A clone of it is cheap, and
//! means the same unit of work.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::error::{Result, ServiceError, permanent};
use super::event::{Effect, EffectMode, Event};
use super::table::{Table, TableKey, TableValue};
use super::unit::{Emission, Input, TimerChange, Unit};
use crate::types::Timestamp;

/// The tables as they were when the record's turn came, with what the same batch has written before it.
pub trait StateView: Send + Sync {
    /// A row; of a table that is open.
    fn row(&self, table: &str, key: &str) -> Option<Bytes>;

    /// Makes a table's rows known; called before each look.
    ///
    /// # Errors
    /// Those of the cluster in passing; permanent where the table is not this group's.
    fn open<'a>(&'a self, table: &'a str) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        let _ = table;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Keeps effects from being done twice: what was begun, and the intents of [`EffectMode::Park`].
pub trait Effects: Send + Sync {
    /// Called before a first run, with its key: durable on return. False if that was called before and the run
    /// may have happened.
    fn intend<'a>(
        &'a self,
        key: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

    /// A moment at which a test may end the process: before and after each run of an effect.
    fn boundary<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The context of one record's handling.
#[derive(Clone)]
pub struct Cx(Arc<Inner>);

struct Inner {
    group: Arc<str>,
    input: Input,
    now: Timestamp,
    state: Arc<dyn StateView>,
    effects: Arc<dyn Effects>,
    unit: Mutex<Unit>,
    drawn: Mutex<u64>,
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("input", &self.0.input.event_id).finish_non_exhaustive()
    }
}

impl Cx {
    /// For the runtime, and for tests of a handler by itself.
    pub fn new(
        group: Arc<str>,
        input: Input,
        now: Timestamp,
        state: Arc<dyn StateView>,
        effects: Arc<dyn Effects>,
    ) -> Self {
        let (unit, drawn) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { group, input, now, state, effects, unit, drawn }))
    }

    /// The record.
    pub fn input(&self) -> &Input {
        &self.0.input
    }

    /// The consumer group that handles it.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// A time that is the same at every try: the record's own.
    pub fn now(&self) -> Timestamp {
        self.0.input.timestamp
    }

    /// The wall clock when this try began; another one at the next.
    pub fn clock(&self) -> Timestamp {
        self.0.now
    }

    /// An id that nobody else draws, the same at every try: the n-th call gives the n-th.
    pub fn uuid(&self) -> String {
        let n = self.draw();
        super::ids::derived(&[&self.0.group, &self.0.input.event_id, &n.to_string()])
    }

    /// A number that looks random, the same at every try.
    pub fn random(&self) -> u64 {
        let n = self.draw();
        super::ids::number(&[&self.0.group, &self.0.input.event_id, &n.to_string()])
    }

    /// A row, as it is with what this handler has put so far.
    ///
    /// # Errors
    /// Permanent `foreign-row`: the row is not of the key that the record was routed by; `bad-row`: it is not of
    /// this type.
    pub async fn get<K: TableKey, V: TableValue>(
        &self,
        table: &Table<K, V>,
        key: &(impl TableKey + ?Sized),
    ) -> Result<Option<V>> {
        let key = self.own_key(table.name(), key)?;
        let written = self.unit().rows.get(&(table.name(), key.clone())).cloned();
        if written.is_none() {
            self.0.state.open(table.name()).await?;
        }
        let Some(row) = written.unwrap_or_else(|| self.0.state.row(table.name(), &key)) else {
            return Ok(None);
        };
        let bad = |error| permanent("bad-row").because(format!("{} {key}: {error}", table.name()));
        serde_json::from_slice(&row).map(Some).map_err(bad)
    }

    /// Sets a row, if the handler succeeds.
    ///
    /// # Errors
    /// As for [`Cx::get`].
    pub fn put<K: TableKey, V: TableValue>(
        &self,
        table: &Table<K, V>,
        key: &(impl TableKey + ?Sized),
        value: &V,
    ) -> Result<()> {
        let key = self.own_key(table.name(), key)?;
        let row = serde_json::to_vec(value).map_err(|error| permanent("bad-row").because(error))?;
        self.unit().rows.insert((table.name(), key), Some(Bytes::from(row)));
        Ok(())
    }

    /// Removes a row, if the handler succeeds.
    ///
    /// # Errors
    /// As for [`Cx::get`].
    pub fn remove<K, V>(&self, table: &Table<K, V>, key: &(impl TableKey + ?Sized)) -> Result<()> {
        let key = self.own_key(table.name(), key)?;
        self.unit().rows.insert((table.name(), key), None);
        Ok(())
    }

    /// Emits an event, if the handler succeeds.
    ///
    /// # Errors
    /// Permanent `bad-event`: it is not to be written as JSON.
    pub fn emit<E: Event>(&self, event: &E) -> Result<()> {
        let emission = emission(event)?;
        self.emit_raw(emission);
        Ok(())
    }

    /// Emits what is not typed.
    pub fn emit_raw(&self, emission: Emission) {
        self.unit().emissions.push(emission);
    }

    /// Emits an event after a while, if the handler succeeds. A second timer of this name, below the same key,
    /// takes the first one's place.
    ///
    /// # Errors
    /// As for [`Cx::emit`].
    pub fn after<E: Event>(&self, id: &str, delay: Duration, event: &E) -> Result<()> {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let due = self.0.now.plus_ms(delay_ms);
        let (id, event) = (self.timer_id(id), emission(event)?);
        self.unit().timers.push(TimerChange::Set { id, due, event });
        Ok(())
    }

    /// Takes a timer back, if the handler succeeds.
    pub fn cancel(&self, id: &str) {
        let id = self.timer_id(id);
        self.unit().timers.push(TimerChange::Cancel { id });
    }

    /// Changes timers, by names that are not below the routed key.
    pub fn timer_raw(&self, change: TimerChange) {
        self.unit().timers.push(change);
    }

    /// Does something outside, at most once as far as that can be known; see [`EffectMode`].
    ///
    /// Of a record that is replayed without effects (`ottla replay --no-effects`) it is only looked up, whatever its
    /// mode: what [`Effect::lookup`] finds is the answer.
    ///
    /// # Errors
    /// The effect's own; permanent `effect-unknown` where nobody can tell whether it was done, `no-effects` where it
    /// was to be looked up and was not found.
    pub async fn effect<F: Effect>(&self, name: &str, effect: F) -> Result<F::Out> {
        let scope = self.0.input.saga_id.as_deref().unwrap_or(&self.0.input.event_id);
        let key = super::ids::derived(&[&self.0.group, scope, &self.step(), name]);
        if self.is_without_effects() {
            let message = || format!("{name} is not done by a replay, and not found: {key}");
            let found = effect.lookup(&key).await?;
            return found.ok_or_else(|| permanent("no-effects").because(message()));
        }
        match F::MODE {
            EffectMode::Idempotent => {}
            EffectMode::Lookup if self.0.input.maybe_begun => {
                if let Some(out) = effect.lookup(&key).await? {
                    return Ok(out);
                }
            }
            EffectMode::Lookup => {}
            EffectMode::Park => {
                if !self.0.effects.intend(&key).await? {
                    let message = format!("{name} may have been done: {key}");
                    return Err(permanent("effect-unknown").because(message));
                }
            }
        }
        self.0.effects.boundary(name).await;
        let out = effect.run(&key).await?;
        self.0.effects.boundary(name).await;
        Ok(out)
    }

    /// Takes what the handler wanted done.
    pub fn take_unit(&self) -> Unit {
        std::mem::take(&mut *self.unit())
    }

    /// What tells the effects of one saga's commands apart: the step, which may send a command that another one
    /// sends too, or where the saga does not say it, the command's name. Nothing outside of sagas.
    fn step(&self) -> String {
        let input = &self.0.input;
        if input.saga_id.is_none() {
            return String::new();
        }
        let step = input.headers.iter().find(|(name, _)| name == super::reply::STEP);
        let step = step.and_then(|(_, value)| value.as_ref());
        step.map_or_else(
            || input.name.to_string(),
            |step| String::from_utf8_lossy(step).into_owned(),
        )
    }

    fn is_without_effects(&self) -> bool {
        let name = super::envelope::headers::NO_EFFECTS;
        self.0.input.headers.iter().any(|(header, _)| header == name)
    }

    fn unit(&self) -> MutexGuard<'_, Unit> {
        self.0.unit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> u64 {
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn += 1;
        *drawn
    }

    fn timer_id(&self, id: &str) -> String {
        format!("{}/{id}", self.0.input.routed_key)
    }

    fn own_key(&self, table: &str, key: &(impl TableKey + ?Sized)) -> Result<String, ServiceError> {
        let (key, routed) = (key.text(), &*self.0.input.routed_key);
        let rest = key.strip_prefix(routed);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Ok(key);
        }
        Err(permanent("foreign-row").because(format!(
            "row {key} of table {table} does not belong to key {routed}, by which the record was routed: route \
             it with .by(..)"
        )))
    }
}

/// An event as it is to be emitted.
fn emission<E: Event>(event: &E) -> Result<Emission> {
    Ok(Emission {
        topic: E::TOPIC.into(),
        name: E::NAME.into(),
        envelope: E::ENVELOPE,
        key: event.key(),
        body: to_json(event)?,
        headers: Vec::new(),
    })
}

fn to_json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| permanent("bad-event").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::{Headers, TopicPartition};
    use crate::services::envelope::headers;
    use crate::services::error::Class;
    use crate::services::event::Envelope;
    use crate::services::reply;
    use crate::types::Offset;

    struct Nothing;

    impl StateView for Nothing {
        fn row(&self, _: &str, _: &str) -> Option<Bytes> {
            None
        }
    }

    impl Effects for Nothing {
        fn intend<'a>(
            &'a self,
            _: &'a str,
        ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>> {
            Box::pin(std::future::ready(Ok(true)))
        }

        fn boundary<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            Box::pin(std::future::ready(()))
        }
    }

    /// Gives back the key that it is run with.
    struct Key;

    impl Effect for Key {
        type Out = String;

        async fn run(&self, key: &str) -> Result<String> {
            Ok(key.to_owned())
        }
    }

    /// Is not run, but found where it was done.
    struct Done(Option<u64>);

    impl Effect for Done {
        type Out = u64;

        async fn run(&self, _: &str) -> Result<u64> {
            panic!("run by a replay without effects")
        }

        async fn lookup(&self, _: &str) -> Result<Option<u64>> {
            Ok(self.0)
        }
    }

    #[tokio::test]
    async fn a_replay_without_effects_looks_up_and_does_nothing() {
        let header = (headers::NO_EFFECTS.to_owned(), Some(Bytes::from_static(b"1")));
        let cx = context(None, vec![header], 1);
        assert_eq!(cx.effect("charge", Done(Some(7))).await, Ok(7));
        let error = cx.effect("charge", Done(None)).await.unwrap_err();
        assert_eq!((error.class, &*error.reason), (Class::Permanent, "no-effects"));
    }

    /// The key of an effect of `process_payment`, sent by this step of this saga, as this record.
    async fn key(saga: Option<&str>, step: Option<&'static str>, offset: i64) -> String {
        let headers =
            step.map(|step| (reply::STEP.to_owned(), Some(Bytes::from_static(step.as_bytes()))));
        let cx = context(saga, headers.into_iter().collect(), offset);
        cx.effect("charge", Key).await.unwrap()
    }

    fn context(saga: Option<&str>, headers: Headers, offset: i64) -> Cx {
        let input = Input {
            at: TopicPartition::new("payment_commands", 0),
            offset: Offset(offset),
            timestamp: Timestamp(0),
            key: None,
            value: None,
            headers,
            routed_key: "o-1".into(),
            event_id: format!("e-{offset}").into(),
            name: "process_payment".into(),
            correlation_id: "c".into(),
            saga_id: saga.map(Into::into),
            traceparent: None,
            body: serde_json::Value::Null,
            envelope: Envelope::Command,
            attempt: 1,
            maybe_begun: false,
        };
        Cx::new("payment".into(), input, Timestamp(0), Arc::new(Nothing), Arc::new(Nothing))
    }

    #[tokio::test]
    async fn an_effect_has_one_key_a_step_however_often_its_command_comes() {
        let deposit = key(Some("s"), Some("deposit"), 1).await;
        assert_eq!(deposit, key(Some("s"), Some("deposit"), 2).await);
        assert_ne!(deposit, key(Some("s"), Some("balance"), 3).await);
        assert_ne!(deposit, key(Some("s"), Some("deposit:undo"), 3).await);
        assert_ne!(deposit, key(Some("t"), Some("deposit"), 3).await);
        assert_eq!(key(Some("s"), None, 1).await, key(Some("s"), None, 2).await);
        assert_ne!(key(None, None, 1).await, key(None, None, 2).await);
    }
}
