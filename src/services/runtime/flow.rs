//! The way of a record through a session: taken from the log, begun, done, failed, parked.

use std::sync::Arc;

use super::gate::Gate;
use super::origin;
use super::parking::{Lane, Seq, Verdict, Waits, judge};
use super::plan::{Handle, Routed};
use super::records::{self, Parked, Timed};
use super::round::Id;
use super::runs::{Ran, Run};
use super::session::{Item, Session};
use super::store::View;
use crate::client::cluster::{Received, Stored, ToSend};
use crate::services::cx::Cx;
use crate::services::dlq::{self, Death};
use crate::services::envelope::{self, About};
use crate::services::error::{ServiceError, transient};
use crate::services::ids;
use crate::services::policy::{AfterDead, Delivery, Order};
use crate::services::reply::header;
use crate::services::table::topic_of;
use crate::services::unit::{Emission, TimerChange, Unit};
use crate::types::{Now, Timestamp};

/// Timers that fire, and waiting records that begin, in one transaction.
const DUE_MAX: usize = 500;

impl Session {
    /// Takes what was read from a partition.
    pub(super) fn take(&mut self, received: Received, now: Now) {
        let at = received.at;
        for stored in received.records {
            self.take_record(stored, now);
        }
        self.round.read_to(&at, received.next);
        if self.plan().delivery == Delivery::AtMostOnce {
            self.batch.hurry(); // Its offsets, before anything of it begins.
        }
    }

    fn take_record(&mut self, stored: Stored, now: Now) {
        let (at, offset) = (stored.at.clone(), stored.offset);
        match self.plan().route(&stored) {
            Routed::Nobody => self.status().metrics.passed_over.add(1),
            Routed::Forward(record) => {
                self.batch.push(record);
                self.batch.done(now.monotonic);
                self.round.settle(&at, offset);
                self.status().metrics.rerouted.add(1);
            }
            Routed::Handle(handle) => {
                let maybe_begun = self.horizon.get(&at).is_some_and(|end| offset < *end);
                let parked =
                    Parked { stored, tried: 0, first_failed_at: None, error: None, maybe_begun };
                if header(&parked.stored.headers, origin::DISCARD).is_some() {
                    self.free_held(&handle.lane);
                    self.batch.done(now.monotonic);
                    self.round.settle(&at, offset);
                    return;
                }
                if self.plan().order != Order::None && self.parking.blocks(&handle.lane) {
                    self.park_behind(&handle, parked, now);
                    self.round.settle(&at, offset);
                    return;
                }
                let mut item = item(*handle, parked);
                if self.plan().delivery == Delivery::ExactlyOnce {
                    item.log = Some((at.clone(), offset));
                    self.round.open(&at, offset, &item.lane);
                }
                self.enqueue(item);
            }
        }
    }

    /// A record comes for a lane that waits.
    fn park_behind(&mut self, handle: &Handle, parked: Parked, now: Now) {
        let lane = &handle.lane;
        self.batch.done(now.monotonic);
        let is_redriven = header(&parked.stored.headers, origin::REDRIVE).is_some();
        if is_redriven && let Some(seq) = self.free_held(lane) {
            let waits = Waits::Until(now.wall);
            self.write_parked(lane, seq, waits, &parked);
            self.parking.insert(lane, seq, waits, parked);
            return;
        }
        self.park(lane, Waits::Until(Timestamp(0)), parked);
    }

    /// Frees a lane that is held for a dead letter; the place of that.
    fn free_held(&mut self, lane: &Lane) -> Option<Seq> {
        let seq = self.parking.held(lane)?;
        let held = self.parking.remove(lane, seq)?;
        self.batch.push(records::unpark(&self.shared.plan, lane, seq, &held.stored));
        Some(seq)
    }

    /// Puts a record behind all that wait in a lane.
    fn park(&mut self, lane: &Lane, waits: Waits, parked: Parked) -> Seq {
        let seq = self.parking.push(lane, waits, parked.clone());
        self.write_parked(lane, seq, waits, &parked);
        seq
    }

    fn write_parked(&mut self, lane: &Lane, seq: Seq, waits: Waits, parked: &Parked) {
        if let Some(entry) = records::park(&self.shared.plan, lane, seq, waits, parked) {
            self.batch.push(entry);
        }
    }

    fn enqueue(&mut self, item: Item) {
        let id = self.round.draw();
        self.round.enqueue(id, &item.lane);
        self.in_flight_bytes += item.size;
        self.items.insert(id, item);
    }

    fn remove(&mut self, id: Id) -> Option<Item> {
        let item = self.items.remove(&id)?;
        self.in_flight_bytes -= item.size;
        Some(item)
    }

    /// Sends what timers were set for whose time has come.
    pub(super) fn fire_timers(&mut self, now: Now) {
        for _ in 0..DUE_MAX {
            let Some(((partition, id), due, timed)) = self.timers.pop(now.wall) else { return };
            self.batch.push(timed.send);
            self.batch.push(records::no_timer(&self.shared.plan, partition, &id));
            self.batch.done(now.monotonic);
            self.status().metrics.timers_fired.add(1);
            self.status().metrics.late_ms.set(now.wall.0.saturating_sub(due.0));
        }
    }

    /// Brings waiting records back whose time has come.
    pub(super) fn retry_due(&mut self, now: Now) {
        for _ in 0..DUE_MAX {
            let Some((lane, seq, parked)) = self.parking.due(now.wall) else { return };
            let parked = parked.clone();
            match self.plan().route(&parked.stored) {
                Routed::Handle(handle) => {
                    if let Gate::Until(until) = self.gate(handle.subscription, now) {
                        self.parking.set(&lane, seq, Waits::Until(until.max(now.wall.plus_ms(1))));
                        continue;
                    }
                    self.parking.set(&lane, seq, Waits::Running);
                    let mut item = item(*handle, parked);
                    item.seat = Some((lane, seq));
                    self.enqueue(item);
                }
                Routed::Nobody | Routed::Forward(_) => {
                    tracing::warn!(
                        group_id = %self.plan().group, partition = %parked.stored.at, offset = %parked.stored.offset,
                        "a record waits that no handler takes any more: given up"
                    );
                    self.parking.remove(&lane, seq);
                    self.batch.push(records::unpark(&self.shared.plan, &lane, seq, &parked.stored));
                    self.batch.done(now.monotonic);
                }
            }
        }
    }

    /// Begins what may begin.
    pub(super) fn start_ready(&mut self, now: Now) {
        self.gated_until = None;
        if self.batch.must_close() {
            return;
        }
        loop {
            let room = self.plan().parallel.saturating_sub(self.runs.count());
            let ready: Vec<_> = self.round.ready().take(room.max(1)).collect();
            let mut has_moved = false;
            for id in ready {
                let is_full = self.runs.count() >= self.plan().parallel;
                let Some(item) = self.items.get(&id) else { continue };
                if is_full {
                    return;
                }
                let (subscription, lane) = (item.subscription, item.lane.clone());
                if let Gate::Until(until) = self.pass(subscription, now) {
                    self.gated_until = Some(self.gated_until.map_or(until, |at| at.min(until)));
                    continue;
                }
                has_moved = true;
                self.round.start(id, &lane);
                self.start(id, now);
            }
            if !has_moved {
                return;
            }
        }
    }

    fn start(&mut self, id: Id, now: Now) {
        let plan = Arc::clone(&self.shared.plan);
        let Some(item) = self.items.get_mut(&id) else { return };
        let subscription = &plan.subscriptions[item.subscription];
        let is_again = item.parked.tried == 0
            && subscription.dedup.is_some()
            && self.seen.has(item.lane.partition, &likeness(item), now.wall);
        if is_again {
            self.status().metrics.duplicates.add(1);
            return self.complete(id, now);
        }
        let input = match item.input.take() {
            Some(Ok(input)) => input,
            Some(Err(error)) => return self.fail(id, &error, now),
            None => return,
        };
        let (store, partition) = (Arc::clone(&self.store), item.lane.partition);
        let view = Arc::new(View { store, partition });
        let effects = self.intents.of(partition);
        let mut input = input;
        input.attempt = item.parked.tried + 1;
        input.maybe_begun = item.parked.maybe_begun;
        let cx = Cx::new(Arc::clone(&plan.group), input, now.wall, view.clone(), effects);
        let timeout = u64::try_from(subscription.timeout.as_millis()).unwrap_or(u64::MAX);
        self.runs.start(Run {
            id,
            handler: Arc::clone(&subscription.handler),
            on_failure: subscription.on_failure.clone(),
            cx,
            view,
            clock: self.shared.cluster.clock().clone(),
            deadline: now.monotonic.plus_ms(timeout),
        });
    }

    /// A handler took too long.
    pub(super) fn time_out(&mut self, id: Id, now: Now) {
        let Some(item) = self.items.get(&id) else { return };
        let timeout = self.plan().subscriptions[item.subscription].timeout;
        let error =
            transient("timeout").because(format!("no end after {} ms", timeout.as_millis()));
        self.fail(id, &error, now);
    }

    /// A handler has ended.
    pub(super) fn finish(&mut self, ran: Ran, now: Now) {
        self.status().metrics.handler.add(ran.took);
        match ran.outcome {
            Ok(unit) => self.succeed(ran.id, unit, now),
            Err(error) => self.fail(ran.id, &error, now),
        }
    }

    fn succeed(&mut self, id: Id, unit: Unit, now: Now) {
        let Some(item) = self.items.get(&id) else { return };
        let plan = Arc::clone(&self.shared.plan);
        let partition = item.lane.partition;
        let mut sends = Vec::new();
        for (index, emission) in unit.emissions.iter().enumerate() {
            sends.push(send(&plan.group, item, emission, index, now.wall));
        }
        for ((table, key), row) in unit.rows {
            sends.push(records::row(&topic_of(table), partition, key.clone(), row.clone()));
            self.store.pend(partition, table, key, row);
        }
        for (index, change) in unit.timers.into_iter().enumerate() {
            match change {
                TimerChange::Set { id, due, event } => {
                    let number = unit.emissions.len() + index;
                    let send = send(&plan.group, item, &event, number, due);
                    let timed = Timed { owner: Arc::clone(&item.parked.stored.at.topic), send };
                    sends.extend(records::timer(&plan, partition, &id, due, &timed));
                    self.timers.set((partition, id), due, timed);
                }
                TimerChange::Cancel { id } => {
                    sends.push(records::no_timer(&plan, partition, &id));
                    self.timers.cancel(&(partition, id));
                }
            }
        }
        let subscription = item.subscription;
        sends.into_iter().for_each(|record| self.batch.push(record));
        self.status().metrics.handled.add(1);
        self.succeeded(subscription);
        self.complete(id, now);
    }

    /// A record is dealt with, and its like is known.
    fn complete(&mut self, id: Id, now: Now) {
        self.remember(id, now);
        self.finish_with(id, now);
    }

    /// What comes like this record, while its subscription says so, is a duplicate.
    fn remember(&mut self, id: Id, now: Now) {
        let Some(item) = self.items.get(&id) else { return };
        let plan = Arc::clone(&self.shared.plan);
        let Some(window) = plan.subscriptions[item.subscription].dedup else { return };
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let until = now.wall.plus_ms(window_ms);
        let (partition, like): (_, Arc<str>) = (item.lane.partition, likeness(item).into());
        if !self.seen.has(partition, &like, now.wall) {
            let entry = records::seen(&plan, partition, &like, until);
            entry.into_iter().for_each(|entry| self.batch.push(entry));
            self.seen.add(partition, like, until, now.wall);
        }
    }

    /// A record needs no more: its offset moves, its seat is free.
    fn finish_with(&mut self, id: Id, now: Now) {
        let Some(item) = self.remove(id) else { return };
        let plan = Arc::clone(&self.shared.plan);
        if let Some((lane, seq)) = &item.seat {
            self.parking.remove(lane, *seq);
            self.batch.push(records::unpark(&plan, lane, *seq, &item.parked.stored));
        }
        if let Some((at, offset)) = &item.log {
            self.round.settle(at, *offset);
        }
        self.batch.done(now.monotonic);
        self.round.end(&item.lane);
    }

    fn fail(&mut self, id: Id, error: &ServiceError, now: Now) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.parked.tried += 1;
        item.parked.maybe_begun = true;
        let first = *item.parked.first_failed_at.get_or_insert(now.wall);
        item.parked.error = Some(error.clone());
        let (subscription, tried) = (item.subscription, item.parked.tried);
        let plan = Arc::clone(&self.shared.plan);
        let retry = match plan.delivery {
            Delivery::ExactlyOnce => plan.subscriptions[subscription].retry,
            Delivery::AtMostOnce => crate::services::Retry::none(),
        };
        let random = ids::number(&[&plan.group, &item.event_id, &tried.to_string()]);
        let verdict = judge(&retry, tried, error, now.wall, random);
        tracing::warn!(
            group_id = %plan.group,
            event_id = %item.event_id,
            attempt = tried,
            trace = item.traceparent.as_deref().unwrap_or_default(),
            partition = %item.origin.at,
            offset = %item.origin.offset,
            class = error.class.name(),
            %error,
            is_last = verdict == Verdict::Dead,
            "a handler failed"
        );
        self.status().metrics.failed(error.class);
        self.failed(subscription, error, now);
        match verdict {
            Verdict::Again(due) => self.again(id, due, now),
            Verdict::Dead => self.give_up(id, error, first, now),
        }
    }

    /// A record waits for its next try, and its lane behind it.
    fn again(&mut self, id: Id, due: Timestamp, now: Now) {
        let Some(item) = self.remove(id) else { return };
        self.wait(&item, Waits::Until(due));
        self.batch.done(now.monotonic);
        if self.plan().order != Order::None {
            self.park_waiting(&item.lane);
        }
        self.round.end(&item.lane);
    }

    /// Gives a record a seat, or changes what it waits for there.
    fn wait(&mut self, item: &Item, waits: Waits) {
        let parked = Parked { maybe_begun: true, ..item.parked.clone() };
        match &item.seat {
            Some((lane, seq)) => {
                self.write_parked(lane, *seq, waits, &parked);
                self.parking.insert(lane, *seq, waits, parked);
            }
            None => {
                self.park(&self.seat_lane(item), waits, parked);
            }
        }
        if let Some((at, offset)) = &item.log {
            self.round.settle(at, *offset);
        }
    }

    /// The lane that a record waits in: its own, or with [`Order::None`] one that nobody shares.
    fn seat_lane(&self, item: &Item) -> Lane {
        if self.plan().order != Order::None {
            return item.lane.clone();
        }
        let key = format!("{}@{}", item.lane.key, item.origin).into();
        Lane { partition: item.lane.partition, key }
    }

    /// All that has not begun in a lane waits in order.
    fn park_waiting(&mut self, lane: &Lane) {
        for id in self.round.take_waiting(lane) {
            let Some(item) = self.remove(id) else { continue };
            let parked = Parked { maybe_begun: item.parked.maybe_begun, ..item.parked.clone() };
            self.park(&self.seat_lane(&item), Waits::Until(Timestamp(0)), parked);
            if let Some((at, offset)) = &item.log {
                self.round.settle(at, *offset);
            }
        }
    }

    /// Parks a lane whose handler still runs, so that the offsets can pass it.
    pub(super) fn park_lane(&mut self, lane: &Lane, now: Now) {
        if let Some(id) = self.round.running_in(lane)
            && let Some(mut item) = self.items.remove(&id)
        {
            if item.seat.is_none() {
                let seat = self.seat_lane(&item);
                let parked = Parked { maybe_begun: true, ..item.parked.clone() };
                let seq = self.parking.push(&seat, Waits::Running, parked.clone());
                self.write_parked(&seat, seq, Waits::Until(now.wall), &parked);
                item.seat = Some((seat, seq));
            }
            if let Some((at, offset)) = item.log.take() {
                self.round.settle(&at, offset);
            }
            self.items.insert(id, item);
        }
        self.park_waiting(lane);
    }

    /// No further try: a dead letter, or what is emitted instead.
    fn give_up(&mut self, id: Id, error: &ServiceError, first: Timestamp, now: Now) {
        let Some(item) = self.items.get(&id) else { return };
        let plan = Arc::clone(&self.shared.plan);
        if let Some(emission) = self.instead(item, error) {
            let record = send(&plan.group, item, &emission, 0, now.wall);
            self.batch.push(record);
            // Who is told that it was not done may send it again, under the same id: no duplicate.
            return self.finish_with(id, now);
        }
        let letter = dlq::dead_letter(&Death {
            topic: Arc::clone(&plan.dlq),
            group: &plan.group,
            stored: &item.parked.stored,
            at: &item.origin.at,
            offset: item.origin.offset,
            key: item.origin.key.clone(),
            event_id: &item.event_id,
            tried: item.parked.tried,
            first_failed_at: first,
            error,
        });
        self.batch.push(letter);
        self.status().metrics.dead_letters.add(1);
        let is_replay = header(&item.parked.stored.headers, origin::NO_EFFECTS).is_some();
        if plan.after_dead == AfterDead::Continue || plan.order == Order::None || is_replay {
            return self.complete(id, now);
        }
        let Some(item) = self.remove(id) else { return };
        self.wait(&item, Waits::Held);
        self.batch.done(now.monotonic);
        self.park_waiting(&item.lane);
        self.round.end(&item.lane);
    }

    /// Nobody is answered by a replay without effects: it fails where handling the record at first did not.
    fn instead(&self, item: &Item, error: &ServiceError) -> Option<Emission> {
        if header(&item.parked.stored.headers, origin::NO_EFFECTS).is_some() {
            return None;
        }
        let on_failure = self.plan().subscriptions[item.subscription].on_failure.as_ref()?;
        let Routed::Handle(handle) = self.plan().route(&item.parked.stored) else { return None };
        let emission = on_failure(&handle.input.ok()?, error)?;
        self.store.knows_topic(&emission.topic).then_some(emission)
    }
}

fn item(handle: Handle, parked: Parked) -> Item {
    let correlation_id = match &handle.input {
        Ok(input) => Arc::clone(&input.correlation_id),
        Err(_) => Arc::clone(&handle.event_id),
    };
    let saga_id = handle.input.as_ref().ok().and_then(|input| input.saga_id.clone());
    let stored = &parked.stored;
    let headers = stored.headers.iter();
    let size = stored.value.as_ref().map_or(0, bytes::Bytes::len)
        + headers
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, |v| v.len()))
            .sum::<usize>()
        + ITEM_BYTES;
    Item {
        subscription: handle.subscription,
        lane: handle.lane,
        origin: handle.origin,
        event_id: handle.event_id,
        traceparent: handle.traceparent,
        correlation_id,
        saga_id,
        input: Some(handle.input),
        parked,
        log: None,
        seat: None,
        size,
    }
}

/// What duplicates have in common: the event's id and its key, since ids made of the time are the same for two events of
/// one ms; and how often it was redriven or replayed, which is meant to handle it again.
fn likeness(item: &Item) -> String {
    let stored = &item.parked.stored;
    let key = stored.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let again = |name| header(&stored.headers, name).unwrap_or("0");
    let (redrive, replay) = (again(origin::REDRIVE), again(origin::REPLAY));
    format!("{}/{redrive}/{replay}/{key}", item.event_id)
}

/// What a record costs beside its bytes.
const ITEM_BYTES: usize = 512;

/// An emission as a record. Its id follows from the input and its place among the input's emissions, so that a
/// second try gives the same.
fn send(
    group: &Arc<str>,
    item: &Item,
    emission: &Emission,
    index: usize,
    time: Timestamp,
) -> ToSend {
    let about = About {
        event_id: ids::derived(&[group, &item.event_id, "out", &index.to_string()]).into(),
        correlation_id: Arc::clone(&item.correlation_id),
        causation_id: Some(Arc::clone(&item.event_id)),
        source: Arc::clone(group),
        time,
        saga_id: item.saga_id.clone(),
        traceparent: item.traceparent.clone(),
    };
    envelope::write(emission, &about)
}
