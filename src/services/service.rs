//! Services as they are written down: handlers, what they are given, and how their group goes about it.
//!
//! ```text
//! service("payment")
//!     .on(on_order).by(|e| e.user_id.clone()).group("payment-service").parallel(64)
//!     .retry(Retry::exp(Duration::from_millis(200), Duration::from_secs(30)).attempts(3))
//!     .done()
//!     .answer(pay)
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cx::Cx;
use super::error::{Result, ServiceError, permanent};
use super::event::{Command, Envelope, Event};
use super::policy::{AfterDead, Delivery, Order, Retry};
use super::reply;
use super::unit::{Emission, Input};

/// What a handler comes to, in time.
pub(super) type Handling = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
/// A handler, whatever it is given.
pub(super) type Handler = Arc<dyn Fn(Cx) -> Handling + Send + Sync>;
/// What a record is routed by, from its event.
pub(super) type Route = Arc<dyn Fn(&Value) -> Result<String> + Send + Sync>;
/// What is emitted where a record has failed for good; none: it is a dead letter.
pub(super) type OnFailure = Arc<dyn Fn(&Input, &ServiceError) -> Option<Emission> + Send + Sync>;

/// How long a handler may take where nothing else is said.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Handlers under a name, which is also their consumer group's where nothing else is said.
#[derive(Clone, Debug)]
pub struct Service {
    name: Arc<str>,
    pub(super) subscriptions: Vec<Subscription>,
}

/// A service of this name, without handlers yet.
pub fn service(name: impl Into<Arc<str>>) -> Service {
    Service { name: name.into(), subscriptions: Vec::new() }
}

/// What is the same for all handlers of a group; each may say it, but not differently.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GroupSettings {
    pub(super) parallel: Option<usize>,
    pub(super) order: Option<Order>,
    pub(super) after_dead: Option<AfterDead>,
    pub(super) dlq: Option<Arc<str>>,
    pub(super) rate: Option<u32>,
    pub(super) delivery: Option<Delivery>,
    pub(super) from_beginning: Option<bool>,
}

/// A handler with what it is given.
#[derive(Clone)]
pub(super) struct Subscription {
    pub(super) group: Arc<str>,
    pub(super) topics: Vec<Arc<str>>,
    /// The event's name; none: any that no other handler of the group takes.
    pub(super) name: Option<Arc<str>>,
    pub(super) envelope: Option<Envelope>,
    pub(super) handler: Handler,
    pub(super) by: Option<Route>,
    pub(super) on_failure: Option<OnFailure>,
    pub(super) retry: Retry,
    pub(super) timeout: Duration,
    pub(super) breaker: Option<Arc<str>>,
    pub(super) dedup: Option<Duration>,
    pub(super) shared: GroupSettings,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("group", &self.group)
            .field("topics", &self.topics)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Handles an event: `async fn(E, Cx) -> Result`.
    pub fn on<E, F, Fut>(self, handler: F) -> On<E>
    where
        E: Event,
        F: Fn(E, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |cx: Cx| match event::<E>(cx.input()) {
            Ok(event) => Box::pin(handler(event, cx)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        });
        self.begin(vec![E::TOPIC.into()], Some(E::NAME.into()), Some(E::ENVELOPE), handler)
    }

    /// Handles whatever lies in these topics and no other handler of the group takes, as it is: what is
    /// described at run time has no types.
    pub fn on_raw<F, Fut>(
        self,
        topics: impl IntoIterator<Item = impl Into<Arc<str>>>,
        handler: F,
    ) -> On<Value>
    where
        F: Fn(Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |cx| Box::pin(handler(cx)));
        self.begin(topics.into_iter().map(Into::into).collect(), None, None, handler)
    }

    /// Answers a command: `async fn(C, Cx) -> Result<C::Reply>`. The answer goes to its own topic, and where
    /// the command names a reply topic a copy goes there, with how it went. A command with a reply topic that
    /// fails for good is answered so and is no dead letter.
    #[must_use]
    pub fn answer<C, F, Fut>(self, handler: F) -> Self
    where
        C: Command,
        F: Fn(C, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C::Reply>> + Send + 'static,
    {
        self.answer_with(handler).done()
    }

    /// As [`Service::answer`], to say more about it.
    pub fn answer_with<C, F, Fut>(self, handler: F) -> On<C>
    where
        C: Command,
        F: Fn(C, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<C::Reply>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |cx: Cx| match event::<C>(cx.input()) {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(command) => {
                let answering = handler(command, cx.clone());
                Box::pin(async move {
                    let answer = answering.await?;
                    cx.emit(&answer)?;
                    if let Some(copy) = reply::ok(cx.input(), &answer)? {
                        cx.emit_raw(copy);
                    }
                    Ok(())
                })
            }
        });
        let topics = vec![C::TOPIC.into()];
        let mut on = self.begin(topics, Some(C::NAME.into()), Some(C::ENVELOPE), handler);
        let envelope = <C::Reply as Event>::ENVELOPE;
        on.subscription.on_failure =
            Some(Arc::new(move |input, error| reply::failed(input, error, envelope)));
        on
    }

    fn begin<E>(
        self,
        topics: Vec<Arc<str>>,
        name: Option<Arc<str>>,
        envelope: Option<Envelope>,
        handler: Handler,
    ) -> On<E> {
        let subscription = Subscription {
            group: Arc::clone(&self.name),
            topics,
            name,
            envelope,
            handler,
            by: None,
            on_failure: None,
            retry: Retry::default(),
            timeout: HANDLER_TIMEOUT,
            breaker: None,
            dedup: None,
            shared: GroupSettings::default(),
        };
        On { service: self, subscription, event: PhantomData }
    }
}

/// A handler that is being described. What is said about order, parallel, dead letters, rate, delivery and the
/// beginning goes for its whole group.
#[derive(Debug)]
#[must_use = "a handler belongs to a service: .done()"]
pub struct On<E> {
    service: Service,
    subscription: Subscription,
    event: PhantomData<fn() -> E>,
}

impl<E> From<On<E>> for Service {
    fn from(on: On<E>) -> Self {
        on.done()
    }
}

impl<E> On<E> {
    /// Routes by something else than the record's key: order, tables and parked keys go by it. The record
    /// takes a way over the topic `ottla.by.GROUP.TOPIC`.
    pub fn by(mut self, by: impl Fn(&E) -> String + Send + Sync + 'static) -> Self
    where
        E: DeserializeOwned + 'static,
    {
        self.subscription.by = Some(Arc::new(move |body: &Value| Ok(by(&decode::<E>(body)?))));
        self
    }

    /// The consumer group; without this it is named as the service.
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.subscription.group = group.into();
        self
    }

    /// What waits for a record that failed.
    pub fn order(mut self, order: Order) -> Self {
        self.subscription.shared.order = Some(order);
        self
    }

    /// How many handlers run at a time, at least 1; 64 without this.
    pub fn parallel(mut self, parallel: usize) -> Self {
        self.subscription.shared.parallel = Some(parallel.max(1));
        self
    }

    /// How often, and after which pauses, what failed in passing is tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.subscription.retry = retry;
        self
    }

    /// Handles an event with the same id and key once within this time.
    pub fn dedup(mut self, window: Duration) -> Self {
        self.subscription.dedup = Some(window);
        self
    }

    /// The topic of dead letters; without this `GROUP.dlq`.
    pub fn dlq(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.subscription.shared.dlq = Some(topic.into());
        self
    }

    /// Names what the handler depends on: where that fails again and again, the group stops reading until it is
    /// back, and no attempts are used up meanwhile.
    pub fn breaker(mut self, name: impl Into<Arc<str>>) -> Self {
        self.subscription.breaker = Some(name.into());
        self
    }

    /// At most so many records a second, at least 1.
    pub fn rate(mut self, per_second: u32) -> Self {
        self.subscription.shared.rate = Some(per_second.max(1));
        self
    }

    /// Whether a record may be lost rather than handled twice.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.subscription.shared.delivery = Some(delivery);
        self
    }

    /// How long the handler may take: what takes longer is ended, and tried again; 30 s without this.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.subscription.timeout = timeout;
        self
    }

    /// What becomes of a key whose record went to the dead letters.
    pub fn after_dead(mut self, after_dead: AfterDead) -> Self {
        self.subscription.shared.after_dead = Some(after_dead);
        self
    }

    /// Whether a group that is new begins with what its topics hold, as it does without this, or with what comes.
    pub fn from_beginning(mut self, from_beginning: bool) -> Self {
        self.subscription.shared.from_beginning = Some(from_beginning);
        self
    }

    /// What is emitted instead of a dead letter where a record has failed for good; `None` leaves it one.
    pub fn on_failure(
        mut self,
        failed: impl Fn(&Input, &ServiceError) -> Option<Emission> + Send + Sync + 'static,
    ) -> Self {
        self.subscription.on_failure = Some(Arc::new(failed));
        self
    }

    /// The service with this handler.
    #[must_use]
    pub fn done(mut self) -> Service {
        self.service.subscriptions.push(self.subscription);
        self.service
    }
}

fn event<E: DeserializeOwned>(input: &Input) -> Result<E> {
    decode(&input.body)
}

fn decode<E: DeserializeOwned>(body: &Value) -> Result<E> {
    E::deserialize(body).map_err(|error| permanent("decode").because(error))
}
