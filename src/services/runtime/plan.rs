//! What a group does, gathered from the services that name it: which handler takes a record, and in which lane.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::origin::{self, Origin};
use super::parking::Lane;
use crate::client::cluster::{Stored, ToSend};
use crate::services::envelope;
use crate::services::error::{ServiceError, permanent};
use crate::services::event::Envelope;
use crate::services::policy::{AfterDead, Delivery, Order};
use crate::services::service::{GroupSettings, Service, Subscription};
use crate::services::unit::Input;

/// Handlers at a time where nothing else is said.
const PARALLEL: usize = 64;

/// Why services cannot be run together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two handlers of a group take the same event.
    #[error("group {group} has two handlers for {event} of topic {topic}")]
    TwoHandlers {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The event's name.
        event: String,
    },
    /// Handlers of a group say different things about what is the same for all.
    #[error("handlers of group {group} disagree about {what}")]
    Disagree {
        /// The group.
        group: String,
        /// About what.
        what: &'static str,
    },
}

/// Who takes the records of a topic.
#[derive(Debug, Default)]
struct Takers {
    named: HashMap<Arc<str>, usize>,
    any: Option<usize>,
    /// The envelope, where all takers expect the same.
    envelope: Option<Envelope>,
}

impl Takers {
    fn of(&self, name: &str) -> Option<usize> {
        let only = || (name.is_empty() && self.named.len() == 1).then_some(());
        let named = self.named.get(name).or_else(|| only().and(self.named.values().next()));
        named.copied().or(self.any)
    }

    /// Who is blamed for a record that cannot be read.
    fn first(&self) -> Option<usize> {
        self.named.values().copied().chain(self.any).min()
    }
}

/// A group's handlers and how it goes about them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) group: Arc<str>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) parallel: usize,
    pub(super) order: Order,
    pub(super) after_dead: AfterDead,
    pub(super) dlq: Arc<str>,
    pub(super) rate: Option<u32>,
    pub(super) delivery: Delivery,
    pub(super) from_beginning: bool,
    topics: BTreeMap<Arc<str>, Takers>,
    /// Topics of rerouted records, with the topics that they come from.
    by_topics: BTreeMap<Arc<str>, Arc<str>>,
}

/// What becomes of a record.
pub(super) enum Routed {
    /// Nobody of this group handles it.
    Nobody,
    /// It goes to the partition of what it is routed by.
    Forward(ToSend),
    /// It is to be handled.
    Handle(Box<Handle>),
}

/// A record for a handler.
pub(super) struct Handle {
    pub(super) subscription: usize,
    pub(super) lane: Lane,
    pub(super) origin: Origin,
    pub(super) event_id: Arc<str>,
    pub(super) traceparent: Option<Arc<str>>,
    /// What the handler is given, or why there is nothing to give.
    pub(super) input: Result<Input, ServiceError>,
}

/// The groups of these services.
pub(super) fn plans(services: &[Service]) -> Result<Vec<Plan>, PlanError> {
    let mut groups = BTreeMap::<Arc<str>, Vec<Subscription>>::new();
    for subscription in services.iter().flat_map(|service| &service.subscriptions) {
        let group = groups.entry(Arc::clone(&subscription.group)).or_default();
        group.push(subscription.clone());
    }
    groups.into_iter().map(|(group, subscriptions)| Plan::new(group, subscriptions)).collect()
}

impl Plan {
    fn new(group: Arc<str>, subscriptions: Vec<Subscription>) -> Result<Self, PlanError> {
        let shared = shared(&group, &subscriptions)?;
        let mut plan = Self {
            dlq: shared.dlq.unwrap_or_else(|| format!("{group}.dlq").into()),
            parallel: shared.parallel.unwrap_or(PARALLEL),
            order: shared.order.unwrap_or_default(),
            after_dead: shared.after_dead.unwrap_or_default(),
            rate: shared.rate,
            delivery: shared.delivery.unwrap_or_default(),
            from_beginning: shared.from_beginning.unwrap_or(true),
            group,
            subscriptions,
            topics: BTreeMap::new(),
            by_topics: BTreeMap::new(),
        };
        for index in 0..plan.subscriptions.len() {
            plan.subscribe(index)?;
        }
        Ok(plan)
    }

    fn subscribe(&mut self, index: usize) -> Result<(), PlanError> {
        let subscription = &self.subscriptions[index];
        for topic in &subscription.topics {
            let is_new = !self.topics.contains_key(topic);
            let takers = self.topics.entry(Arc::clone(topic)).or_default();
            let before = match &subscription.name {
                Some(name) => takers.named.insert(Arc::clone(name), index),
                None => takers.any.replace(index),
            };
            if before.is_some() {
                return Err(PlanError::TwoHandlers {
                    group: self.group.to_string(),
                    topic: topic.to_string(),
                    event: subscription.name.as_deref().unwrap_or("any event").to_owned(),
                });
            }
            let agrees = is_new || takers.envelope == subscription.envelope;
            takers.envelope = subscription.envelope.filter(|_| agrees);
            if subscription.by.is_some() {
                let by = format!("ottla.by.{}.{topic}", self.group).into();
                self.by_topics.insert(by, Arc::clone(topic));
            }
        }
        Ok(())
    }

    /// The topics that its events come from.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// The topics through which it reroutes.
    pub(super) fn by_topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_topics.keys()
    }

    /// The topics out of which records are handled, not rerouted: those whose partitions own tables.
    pub(super) fn handled_topics(&self) -> BTreeSet<Arc<str>> {
        let mut topics: BTreeSet<_> = self.by_topics.keys().cloned().collect();
        for subscription in self.subscriptions.iter().filter(|one| one.by.is_none()) {
            topics.extend(subscription.topics.iter().cloned());
        }
        topics
    }

    /// Where redriven records come from.
    pub(super) fn retry_topic(&self) -> String {
        format!("{}.retry", self.group)
    }

    /// A topic of this group's own, by what it is for.
    pub(super) fn own_topic(&self, what: &str) -> String {
        format!("ottla.{what}.{}", self.group)
    }

    /// Finds out what becomes of a record.
    pub(super) fn route(&self, stored: &Stored) -> Routed {
        let rerouted_from = self.by_topics.get(&stored.at.topic);
        let origin = origin::of(stored, rerouted_from.is_some());
        let Some(takers) = self.topics.get(&origin.at.topic) else { return Routed::Nobody };
        let read = envelope::read(stored, takers.envelope);
        let subscription = match &read {
            Ok(read) => takers.of(&read.name),
            Err(_) => takers.first(),
        };
        let Some(index) = subscription else { return Routed::Nobody };
        let by = self.subscriptions[index].by.as_ref().filter(|_| rerouted_from.is_none());
        let mut event_id: Arc<str> = origin.to_string().into();
        let mut traceparent = None;
        if let Ok(read) = &read {
            event_id = Arc::clone(&read.event_id);
            traceparent = read.traceparent.clone();
        }
        let input = match (read, by) {
            (Err(error), _) => Err(permanent("decode").because(error)),
            (Ok(read), Some(by)) => match by(&read.body) {
                Ok(key) => {
                    let record = self.forward(stored, &origin, &event_id, &key);
                    return Routed::Forward(record);
                }
                Err(error) => Err(error),
            },
            (Ok(read), None) => Ok(read),
        };
        let routed_key = routed_key(stored, &origin);
        let lane = self.lane(stored, &routed_key);
        let input = input.map(|read| input_of(stored, &origin, &routed_key, read));
        let handle = Handle { subscription: index, lane, origin, event_id, traceparent, input };
        Routed::Handle(Box::new(handle))
    }

    fn lane(&self, stored: &Stored, routed_key: &Arc<str>) -> Lane {
        let key = match self.order {
            Order::Partition => "*".into(),
            Order::PerKey | Order::None => Arc::clone(routed_key),
        };
        Lane { partition: stored.at.partition, key }
    }

    fn forward(&self, stored: &Stored, origin: &Origin, event_id: &str, key: &str) -> ToSend {
        let mut headers = stored.headers.clone();
        origin::put(&mut headers, origin, event_id);
        ToSend {
            topic: format!("ottla.by.{}.{}", self.group, origin.at.topic).into(),
            partition: None,
            key: Some(key.to_owned().into()),
            value: stored.value.clone(),
            headers,
            timestamp: Some(stored.timestamp),
        }
    }
}

/// What a record without a key is routed by: nothing waits for it, and it waits for nothing.
fn routed_key(stored: &Stored, origin: &Origin) -> Arc<str> {
    match &stored.key {
        Some(key) => String::from_utf8_lossy(key).into(),
        None => origin.to_string().into(),
    }
}

fn input_of(
    stored: &Stored,
    origin: &Origin,
    routed_key: &Arc<str>,
    read: envelope::Read,
) -> Input {
    Input {
        at: origin.at.clone(),
        offset: origin.offset,
        timestamp: stored.timestamp,
        key: origin.key.clone(),
        value: stored.value.clone(),
        headers: stored.headers.clone(),
        routed_key: Arc::clone(routed_key),
        event_id: read.event_id,
        name: read.name,
        correlation_id: read.correlation_id,
        saga_id: read.saga_id,
        traceparent: read.traceparent,
        body: read.body,
        envelope: read.envelope,
        attempt: 1,
        maybe_begun: false,
    }
}

/// What all handlers of a group say together.
fn shared(group: &str, all: &[Subscription]) -> Result<GroupSettings, PlanError> {
    let mut sum = GroupSettings::default();
    for one in all.iter().map(|subscription| &subscription.shared) {
        let disagree = |what| PlanError::Disagree { group: group.to_owned(), what };
        agree(&mut sum.parallel, &one.parallel).map_err(|()| disagree("parallel"))?;
        agree(&mut sum.order, &one.order).map_err(|()| disagree("order"))?;
        agree(&mut sum.after_dead, &one.after_dead).map_err(|()| disagree("after_dead"))?;
        agree(&mut sum.dlq, &one.dlq).map_err(|()| disagree("dlq"))?;
        agree(&mut sum.rate, &one.rate).map_err(|()| disagree("rate"))?;
        agree(&mut sum.delivery, &one.delivery).map_err(|()| disagree("delivery"))?;
        agree(&mut sum.from_beginning, &one.from_beginning)
            .map_err(|()| disagree("from_beginning"))?;
    }
    Ok(sum)
}

fn agree<T: Clone + PartialEq>(sum: &mut Option<T>, one: &Option<T>) -> Result<(), ()> {
    match (&sum, one) {
        (Some(sum), Some(one)) if sum != one => Err(()),
        (None, Some(one)) => {
            *sum = Some(one.clone());
            Ok(())
        }
        _ => Ok(()),
    }
}
