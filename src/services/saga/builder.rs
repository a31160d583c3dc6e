//! Sagas in Rust: typed data, commands and answers.
//!
//! ```text
//! Saga::<OrderData>::new("order", 1).http("POST /api/saga/order").deadline(Duration::from_secs(30))
//!     .step("reserve", |d| ReserveInventory { .. }).undo(|d| ReleaseInventory { .. }).timeout(Duration::from_secs(5))
//!     .step("pay", |d| ProcessPayment { .. }).save(|d, reply| d.receipt = reply.receipt).undo(|d| RefundPayment { .. })
//!     .end()
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check::{DataError, typed};
use super::definition::{Action, Answer, Build, Definition, LIFECYCLE_TOPIC, Step, Wait};
use crate::services::event::{Command, Event};
use crate::services::policy::Retry;
use crate::services::unit::Emission;

/// A saga over this data.
pub struct Saga<D> {
    definition: Definition,
    data: PhantomData<fn() -> D>,
}

/// The step that was begun last, answered by `R`.
pub struct StepBuilder<D, R> {
    saga: Saga<D>,
    step: Step,
    answer: PhantomData<fn() -> R>,
}

impl<D> fmt::Debug for Saga<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.definition.fmt(f)
    }
}

impl<D, R> fmt::Debug for StepBuilder<D, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} of {:?}", self.step.name, self.saga)
    }
}

impl<D> From<Saga<D>> for Definition {
    fn from(saga: Saga<D>) -> Self {
        saga.definition
    }
}

impl<D: Serialize + DeserializeOwned + 'static> Saga<D> {
    /// A saga without steps yet. Raise the version with every change that sagas which run already must not see, and
    /// keep the old one registered until they have ended.
    pub fn new(name: impl Into<Arc<str>>, version: u32) -> Self {
        let definition = Definition {
            name: name.into(),
            version,
            http: None,
            deadline: None,
            lifecycle_topic: LIFECYCLE_TOPIC.into(),
            steps: Vec::new(),
            about: None,
            check: Arc::new(|data| typed::<D>(data).map(drop)),
        };
        Self { definition, data: PhantomData }
    }

    /// The field of the data that says what a saga is about, such as `order_id`. Where it is missing at the
    /// start it is the saga's id; it is told with every event of the saga's life.
    #[must_use]
    pub fn about(mut self, field: impl Into<Arc<str>>) -> Self {
        self.definition.about = Some(field.into());
        self
    }

    /// What the data has to be beside its type: no saga begins with data that this refuses.
    #[must_use]
    pub fn check(
        mut self,
        check: impl Fn(&D) -> Result<(), DataError> + Send + Sync + 'static,
    ) -> Self {
        self.definition.check = Arc::new(move |data| check(&typed::<D>(data)?));
        self
    }

    /// The route that starts it: `POST /api/saga/order`.
    #[must_use]
    pub fn http(mut self, route: impl Into<Arc<str>>) -> Self {
        self.definition.http = Some(route.into());
        self
    }

    /// How long it may take; then what is done is undone.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.definition.deadline = Some(deadline);
        self
    }

    /// Where its life is told, in place of `saga_domain_events`.
    #[must_use]
    pub fn lifecycle(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.definition.lifecycle_topic = topic.into();
        self
    }

    /// A step that sends a command and waits for its reply.
    pub fn step<C: Command>(
        self,
        name: impl Into<Arc<str>>,
        command: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> StepBuilder<D, C::Reply> {
        self.begin(name, Action::command(build(command)))
    }

    /// A step that sends an event, and does not wait.
    pub fn tell<E: Event>(
        self,
        name: impl Into<Arc<str>>,
        event: impl Fn(&D) -> E + Send + Sync + 'static,
    ) -> StepBuilder<D, ()> {
        let action = Action { answer: Answer::None, ..Action::command(build(event)) };
        self.begin(name, action)
    }

    /// A step that waits for an event with this key at the JSON pointer `by`: one that comes after the step has
    /// begun.
    pub fn wait_for<E: Event>(
        self,
        name: impl Into<Arc<str>>,
        by: &str,
        key: impl Fn(&D) -> String + Send + Sync + 'static,
    ) -> StepBuilder<D, E> {
        let key = Arc::new(move |data: &Value| read::<D>(data).map(|data| key(&data)));
        let (topic, name_of) = (E::TOPIC.into(), E::NAME.into());
        let wait = Wait { topic, name: name_of, failures: Vec::new(), by: by.into(), key };
        self.begin(name, Action::wait(Answer::Event(wait)))
    }

    fn begin<R>(self, name: impl Into<Arc<str>>, run: Action) -> StepBuilder<D, R> {
        let step =
            Step { name: name.into(), run, undo: None, when: None, require: None, save: None };
        StepBuilder { saga: self, step, answer: PhantomData }
    }
}

impl<D: Serialize + DeserializeOwned + 'static, R> StepBuilder<D, R> {
    /// What undoes the step: idempotent, and no error if the step was never done.
    #[must_use]
    pub fn undo<C: Command>(mut self, command: impl Fn(&D) -> C + Send + Sync + 'static) -> Self {
        self.step.undo = Some(Action::command(build(command)).patient());
        self
    }

    /// An event that undoes the step, whose effect is not waited for.
    #[must_use]
    pub fn undo_tell<E: Event>(mut self, event: impl Fn(&D) -> E + Send + Sync + 'static) -> Self {
        let action = Action { answer: Answer::None, ..Action::command(build(event)) };
        self.step.undo = Some(action);
        self
    }

    /// The undo command says in this field of its body why the saga turned back. Without meaning before `undo`.
    #[must_use]
    pub fn undo_because(mut self, field: &str) -> Self {
        if let Some(undo) = &mut self.step.undo {
            undo.reason_field = Some(field.into());
        }
        self
    }

    /// How long the answer is waited for, 30 s if not given. Then what is done is undone, this step included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.step.run.timeout = timeout;
        self
    }

    /// How often the command is sent again where no answer came in time, before that.
    #[must_use]
    pub fn resend(mut self, times: u32) -> Self {
        self.step.run.resend = times;
        self
    }

    /// How often, and after which pauses, it is sent again where the answer was `retry`.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.step.run.retry = retry;
        self
    }

    /// How long the answer to undoing is waited for, and how often it is tried before the saga is stuck.
    /// Without meaning before `undo`.
    #[must_use]
    pub fn undo_retry(mut self, timeout: Duration, retry: Retry) -> Self {
        if let Some(undo) = &mut self.step.undo {
            (undo.timeout, undo.retry) = (timeout, retry);
        }
        self
    }

    /// Whether the step is wanted; if not, it is passed over.
    #[must_use]
    pub fn when(mut self, is_wanted: impl Fn(&D) -> bool + Send + Sync + 'static) -> Self {
        self.step.when = Some(Arc::new(move |data| read::<D>(data).map(|data| is_wanted(&data))));
        self
    }

    /// Another step.
    pub fn step<C: Command>(
        self,
        name: impl Into<Arc<str>>,
        command: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> StepBuilder<D, C::Reply> {
        self.end().step(name, command)
    }

    /// Another step; see [`Saga::tell`].
    pub fn tell<E: Event>(
        self,
        name: impl Into<Arc<str>>,
        event: impl Fn(&D) -> E + Send + Sync + 'static,
    ) -> StepBuilder<D, ()> {
        self.end().tell(name, event)
    }

    /// Another step; see [`Saga::wait_for`].
    pub fn wait_for<E: Event>(
        self,
        name: impl Into<Arc<str>>,
        by: &str,
        key: impl Fn(&D) -> String + Send + Sync + 'static,
    ) -> StepBuilder<D, E> {
        self.end().wait_for(name, by, key)
    }

    /// No further step.
    pub fn end(mut self) -> Saga<D> {
        self.saga.definition.steps.push(self.step);
        self.saga
    }
}

impl<D: Serialize + DeserializeOwned + 'static, R: Event> StepBuilder<D, R> {
    /// What is kept of the answer.
    #[must_use]
    pub fn save(mut self, save: impl Fn(&mut D, R) + Send + Sync + 'static) -> Self {
        self.step.save = Some(Arc::new(move |data, answer| {
            let mut typed = read::<D>(data)?;
            save(&mut typed, read::<R>(answer)?);
            *data = serde_json::to_value(typed).map_err(|error| error.to_string())?;
            Ok(())
        }));
        self
    }

    /// Whether the answer will do; if not, the step has failed for the reason that is given, and is undone.
    #[must_use]
    pub fn require(
        mut self,
        require: impl Fn(&R) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.step.require = Some(Arc::new(move |answer| require(&read::<R>(answer)?)));
        self
    }

    /// The answer is not sent to the saga, but is the event that everybody may read, found by the command's key
    /// at the JSON pointer `by`.
    #[must_use]
    pub fn answered_by_event(mut self, by: &str) -> Self {
        let Some(build) = self.step.run.build.clone() else { return self };
        let key = Arc::new(move |data: &Value| build(data).map(|command| command.key));
        let (topic, name) = (R::TOPIC.into(), R::NAME.into());
        let wait = Wait { topic, name, failures: Vec::new(), by: by.into(), key };
        self.step.run.answer = Answer::Event(wait);
        self
    }

    /// An event, of the topic that the step waits for, which means that it failed. Without meaning where the step
    /// waits for no event.
    #[must_use]
    pub fn fails_by<F: Event>(mut self) -> Self {
        if let Answer::Event(wait) = &mut self.step.run.answer {
            wait.failures.push(F::NAME.into());
        }
        self
    }
}

fn build<D, E>(make: impl Fn(&D) -> E + Send + Sync + 'static) -> Build
where
    D: DeserializeOwned,
    E: Event,
{
    Arc::new(move |data| {
        let event = make(&read::<D>(data)?);
        Ok(Emission {
            topic: E::TOPIC.into(),
            name: E::NAME.into(),
            envelope: E::ENVELOPE,
            key: event.key(),
            body: serde_json::to_value(&event).map_err(|error| error.to_string())?,
            headers: Vec::new(),
        })
    })
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}
