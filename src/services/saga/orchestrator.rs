//! Sagas as a handler: what comes by the topic `ottla.reply.NAME` is read, decided and written back in one
//! transaction.
//!
//! | record | name | key | body |
//! |---|---|---|---|
//! | start | `ottla.saga.start` | saga id | the data |
//! | timers | `ottla.saga.step-due`, `ottla.saga.due` | saga id | `{command_id, due}`, nothing |
//! | decisions | `ottla.saga.retry`, `.skip`, `.abandon` | saga id | `{who}` |
//! | an event came | `ottla.saga.event` | the event's key | topic, name, id, body |
//! | waiting for one | `ottla.saga.watch`, `.unwatch` | the event's key | saga id, command id, topic, names |
//! | that event | `ottla.saga.answer` | saga id | `{command_id, failure?, body}` |
//! | a reply | any other | saga id | the answer; headers say of what |
//!
//! Who waits for an event is kept at the event's key, in the table `saga.NAME.waits`: watch and command are sent
//! in one transaction, so nobody can answer before it is known that somebody waits.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::{Versions, Wait, inbox};
use super::machine::{
    Answered, Decision, Event, Operation, Timer, Verdict, Watch, command_id, decide,
};
use super::record::{Phase, Record};
use crate::client::cluster::Headers;
use crate::services::cx::Cx;
use crate::services::envelope::{headers, trace};
use crate::services::error::{Result, permanent};
use crate::services::event::Envelope;
use crate::services::reply;
use crate::services::service::{Service, service};
use crate::services::table::Table;
use crate::services::unit::{Emission, Input, TimerChange};
use crate::types::Timestamp;

/// What all names of our own records begin with.
const OWN: &str = "ottla.saga.";
/// Where sagas that somebody should look at are told.
const ALERTS_TOPIC: &str = "system.alerts";
/// Sagas that may wait for the same event.
const WAITING_MAX: usize = 1000;

/// The record that begins a saga.
pub fn start(name: &str, saga_id: &str, data: Value) -> Emission {
    own(name, "start", saga_id, data)
}

/// The record by which somebody decides about a saga.
pub fn decision(name: &str, saga_id: &str, operation: Operation, who: &str) -> Emission {
    let word = match operation {
        Operation::Retry => "retry",
        Operation::Skip => "skip",
        Operation::Abandon => "abandon",
    };
    own(name, word, saga_id, json!({ "who": who }))
}

fn own(name: &str, what: &str, key: &str, body: Value) -> Emission {
    Emission {
        topic: inbox(name).into(),
        name: format!("{OWN}{what}").into(),
        envelope: Envelope::CloudEvents,
        key: key.to_owned(),
        body,
        headers: Vec::new(),
    }
}

/// A saga, all versions of it, as the handler of its group.
#[derive(Debug)]
pub struct Orchestrator {
    versions: Versions,
    inbox: Arc<str>,
    records: Table<String, Record>,
    waits: Table<String, Vec<Waiting>>,
}

/// A saga that waits for an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    saga_id: String,
    command_id: String,
    topic: String,
    /// The event, and behind it those that mean failure.
    names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StepDue {
    command_id: String,
    due: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Happened {
    topic: String,
    name: String,
    body: Value,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    command_id: String,
    /// The event's id: what makes it the same answer when it comes twice.
    id: String,
    actor: String,
    failure: Option<String>,
    body: Value,
}

impl Orchestrator {
    /// The handler of a saga. Its tables' names stay in memory for good, once for each saga's name.
    pub fn new(versions: Versions) -> Self {
        let name = versions.name();
        Self {
            inbox: inbox(name).into(),
            records: Table::new(interned(format!("saga.{name}"))),
            waits: Table::new(interned(format!("saga.{name}.waits"))),
            versions,
        }
    }

    /// The definitions.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Its consumer group.
    pub fn group(&self) -> String {
        self.versions.newest().group()
    }

    /// The topics that it reads: the saga's own, and those of events that it waits for.
    pub fn topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> =
            self.versions.all().flat_map(|definition| definition.event_topics()).collect();
        topics.sort();
        topics.dedup();
        topics.insert(0, self.inbox.clone());
        topics
    }

    /// The tables that it writes; the first one holds the sagas.
    pub fn tables(&self) -> [&'static str; 2] {
        [self.records.name(), self.waits.name()]
    }

    /// Handles a record of one of its topics.
    ///
    /// # Errors
    /// Permanent: `saga-refused` (a start with data that is wrong, or other than before), `unaddressed-reply`
    /// (nothing says what it answers), `bad-event` (one of our own that is not readable), `too-many-waiting`,
    /// and those of tables.
    pub async fn handle(&self, cx: Cx) -> Result<()> {
        let input = cx.input().clone();
        if input.at.topic != self.inbox {
            return self.pass_on(&cx, &input);
        }
        match input.name.strip_prefix(OWN) {
            Some("watch") => self.watch(&cx, &input, true).await,
            Some("unwatch") => self.watch(&cx, &input, false).await,
            Some("event") => self.answer(&cx, &input).await,
            own => self.step(&cx, &input, own).await,
        }
    }

    /// Passes an event that somebody may wait for on to where that is known.
    fn pass_on(&self, cx: &Cx, input: &Input) -> Result<()> {
        let definitions = self.versions.all();
        let waits = definitions.flat_map(|definition| definition.waits().collect::<Vec<_>>());
        let mut keys: Vec<String> = waits
            .filter(|wait| wait.topic == input.at.topic && wait.is_of(&input.name))
            .filter_map(|wait| key_in(input, &wait.by))
            .collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let body = Happened {
                topic: input.at.topic.to_string(),
                name: input.name.to_string(),
                body: input.body.clone(),
            };
            self.emit(cx, "event", &key, &body)?;
        }
        Ok(())
    }

    async fn watch(&self, cx: &Cx, input: &Input, is_begun: bool) -> Result<()> {
        let waiting: Waiting = parse(&input.body)?;
        let key = input.routed_key.to_string();
        let mut row = cx.get(&self.waits, &key).await?.unwrap_or_default();
        row.retain(|other| other.command_id != waiting.command_id);
        if is_begun {
            if row.len() >= WAITING_MAX {
                let saga = &waiting.saga_id;
                let message = format!("saga {saga}: {WAITING_MAX} sagas wait for {key} already");
                return Err(permanent("too-many-waiting").because(message));
            }
            row.push(waiting);
        }
        self.put_waits(cx, &key, &row)
    }

    /// Tells those who wait for an event that it came.
    async fn answer(&self, cx: &Cx, input: &Input) -> Result<()> {
        let happened: Happened = parse(&input.body)?;
        let key = input.routed_key.to_string();
        let row = cx.get(&self.waits, &key).await?.unwrap_or_default();
        let (told, rest): (Vec<_>, Vec<_>) = row.into_iter().partition(|waiting| {
            waiting.topic == happened.topic && waiting.names.contains(&happened.name)
        });
        for waiting in &told {
            let is_failure = waiting.names.first() != Some(&happened.name);
            let reason = happened.body["reason"].as_str().unwrap_or(&happened.name);
            let answer = Answer {
                command_id: waiting.command_id.clone(),
                id: input.event_id.to_string(),
                actor: happened.topic.clone(),
                failure: is_failure.then(|| reason.to_owned()),
                body: happened.body.clone(),
            };
            self.emit(cx, "answer", &waiting.saga_id, &answer)?;
        }
        if told.is_empty() { Ok(()) } else { self.put_waits(cx, &key, &rest) }
    }

    fn put_waits(&self, cx: &Cx, key: &str, row: &Vec<Waiting>) -> Result<()> {
        if row.is_empty() { cx.remove(&self.waits, key) } else { cx.put(&self.waits, key, row) }
    }

    async fn step(&self, cx: &Cx, input: &Input, own: Option<&str>) -> Result<()> {
        let saga_id = input.routed_key.to_string();
        if own.is_none() && self.send_home(cx, input, &saga_id) {
            return Ok(());
        }
        let event = self.event(input, own, &saga_id)?;
        let record = cx.get(&self.records, &saga_id).await?;
        let decision = decide(&self.versions, record.as_ref(), event, cx.clock());
        self.carry_out(cx, &saga_id, decision)
    }

    /// A reply under another key than its saga's is sent to where the saga is.
    fn send_home(&self, cx: &Cx, input: &Input, saga_id: &str) -> bool {
        let Some(home) =
            reply::header(&input.headers, reply::SAGA_ID).filter(|home| *home != saga_id)
        else {
            return false;
        };
        let mut reply = own(self.versions.name(), "", home, input.body.clone());
        reply.name = input.name.clone();
        let is_ours = |name: &str| name.starts_with("ottla-") || name == reply::CORRELATION;
        reply.headers = input.headers.iter().filter(|(name, _)| is_ours(name)).cloned().collect();
        cx.emit_raw(reply);
        true
    }

    fn event(&self, input: &Input, own: Option<&str>, saga_id: &str) -> Result<Event> {
        let operator = |operation| {
            let who = input.body["who"].as_str().unwrap_or("somebody").to_owned();
            Event::Operator { operation, who }
        };
        Ok(match own {
            None => self.reply(input, saga_id)?,
            Some("start") => Event::Start {
                saga_id: saga_id.to_owned(),
                data: input.body.clone(),
                correlation_id: input.correlation_id.to_string(),
                traceparent: input.traceparent.as_deref().map(str::to_owned),
            },
            Some("step-due") => {
                let StepDue { command_id, due } = parse(&input.body)?;
                Event::StepDue { command_id, due }
            }
            Some("due") => Event::SagaDue,
            Some("retry") => operator(Operation::Retry),
            Some("skip") => operator(Operation::Skip),
            Some("abandon") => operator(Operation::Abandon),
            Some("answer") => {
                let Answer { command_id, id, actor, failure, body } = parse(&input.body)?;
                let status = failure.map_or(Answered::Ok, Answered::Failed);
                Event::Reply { id, command_id, status, body, actor }
            }
            Some(other) => {
                let message = format!("no record of sagas is called {OWN}{other}");
                return Err(permanent("bad-event").because(message));
            }
        })
    }

    fn reply(&self, input: &Input, saga_id: &str) -> Result<Event> {
        let header = |name| reply::header(&input.headers, name);
        let command_id = match (header(reply::STEP), header(reply::CORRELATION)) {
            (Some(step), _) => {
                let (step, phase) = match step.strip_suffix(":undo") {
                    Some(step) => (step, Phase::Undo),
                    None => (step, Phase::Run),
                };
                command_id(self.versions.name(), saga_id, step, phase)
            }
            (None, Some(command_id)) => command_id.to_owned(),
            (None, None) => {
                let message =
                    "a reply needs the header kafka_correlationId or ottla-step of its command";
                return Err(permanent("unaddressed-reply").because(message));
            }
        };
        let reason = || {
            let told = header(reply::REASON).or(input.body["reason"].as_str());
            told.unwrap_or("no reason given").to_owned()
        };
        let status = match header(reply::STATUS).unwrap_or("ok") {
            "ok" => Answered::Ok,
            "failed" => Answered::Failed(reason()),
            "retry" => Answered::Retry(reason()),
            other => {
                let message = format!("ottla-status {other:?}: ok, failed or retry");
                return Err(permanent("unaddressed-reply").because(message));
            }
        };
        let actor = header(headers::CE_SOURCE).unwrap_or("participant").to_owned();
        let (id, body) = (input.event_id.to_string(), input.body.clone());
        Ok(Event::Reply { id, command_id, status, body, actor })
    }

    fn carry_out(&self, cx: &Cx, saga_id: &str, decision: Decision) -> Result<()> {
        match decision.verdict {
            Verdict::Accepted => {}
            Verdict::Ignored(_) => return Ok(()),
            Verdict::Refused(why) => return Err(permanent("saga-refused").because(why)),
        }
        if decision.is_forgotten {
            cx.remove(&self.records, saga_id)?;
        }
        if let Some(record) = &decision.record {
            record.encode().map_err(|error| permanent("record-too-large").because(error))?;
            cx.put(&self.records, saga_id, record)?;
        }
        let about = decision.record.as_ref().map(about).unwrap_or_default();
        for watch in decision.watches {
            self.emit_watch(cx, saga_id, watch)?;
        }
        for command in decision.commands {
            cx.emit_raw(command);
        }
        for told in decision.lifecycle {
            let emission = |topic: Arc<str>, envelope| Emission {
                topic,
                name: told.name.into(),
                envelope,
                key: saga_id.to_owned(),
                body: told.body.clone(),
                headers: about.clone(),
            };
            let topic = self.versions.newest().lifecycle_topic.clone();
            cx.emit_raw(emission(topic, Envelope::Domain));
            if told.is_alert {
                cx.emit_raw(emission(ALERTS_TOPIC.into(), Envelope::Flat));
            }
        }
        for timer in decision.timers {
            cx.timer_raw(self.timer(saga_id, timer, &about)?);
        }
        Ok(())
    }

    fn emit_watch(&self, cx: &Cx, saga_id: &str, watch: Watch) -> Result<()> {
        let what = if watch.wanted.is_some() { "watch" } else { "unwatch" };
        let (topic, names) = watch.wanted.unwrap_or_default();
        let waiting =
            Waiting { saga_id: saga_id.to_owned(), command_id: watch.command_id, topic, names };
        self.emit(cx, what, &watch.key, &waiting)
    }

    fn timer(&self, saga_id: &str, timer: Timer, about: &Headers) -> Result<TimerChange> {
        let name = self.versions.name();
        let (id, set) = match timer {
            Timer::Step(set) => {
                let set = set.map(|(due, command_id)| {
                    let body = serde_json::to_value(StepDue { command_id, due });
                    body.map(|body| (due, own(name, "step-due", saga_id, body)))
                });
                (format!("{saga_id}/step"), set.transpose())
            }
            Timer::Saga(due) => {
                let event = || own(name, "due", saga_id, Value::Null);
                (format!("{saga_id}/saga"), Ok(due.map(|due| (due, event()))))
            }
        };
        let set = set.map_err(|error| permanent("bad-event").because(error))?;
        Ok(match set {
            Some((due, mut event)) => {
                event.headers.clone_from(about);
                TimerChange::Set { id, due, event }
            }
            None => TimerChange::Cancel { id },
        })
    }

    fn emit(&self, cx: &Cx, what: &str, key: &str, body: &impl Serialize) -> Result<()> {
        let body = serde_json::to_value(body).map_err(|it| permanent("bad-event").because(it))?;
        cx.emit_raw(own(self.versions.name(), what, key, body));
        Ok(())
    }
}

impl From<Orchestrator> for Service {
    fn from(orchestrator: Orchestrator) -> Self {
        let (group, topics) = (orchestrator.group(), orchestrator.topics());
        let orchestrator = Arc::new(orchestrator);
        let handler = move |cx| {
            let orchestrator = Arc::clone(&orchestrator);
            async move { orchestrator.handle(cx).await }
        };
        service(group).on_raw(topics, handler).done()
    }
}

/// The same text, for good.
fn interned(text: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = names.get(&*text) {
        return name;
    }
    let name: &'static str = text.leak();
    names.insert(name);
    name
}

impl Wait {
    fn is_of(&self, name: &str) -> bool {
        &*self.name == name || self.failures.iter().any(|failure| &**failure == name)
    }
}

/// The text at a pointer, in the event or in the whole value that it came in.
fn key_in(input: &Input, by: &str) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let in_event = input.body.pointer(by).and_then(text);
    in_event.or_else(|| {
        let whole: Value = serde_json::from_slice(input.value.as_deref()?).ok()?;
        whole.pointer(by).and_then(text)
    })
}

/// What a saga's own records say of it beside their body, so that whatever follows from them says so too.
fn about(record: &Record) -> Headers {
    let mut all = Headers::new();
    headers::add(&mut all, headers::SAGA_ID, &record.saga_id);
    headers::add(&mut all, headers::CORRELATION_ID, &record.correlation_id);
    let parent = record.traceparent.as_deref();
    let traceparent = trace::child(parent, &record.correlation_id, &record.saga_id);
    headers::add(&mut all, headers::TRACEPARENT, &traceparent);
    all
}

fn parse<'de, T: Deserialize<'de>>(body: &'de Value) -> Result<T> {
    T::deserialize(body).map_err(|error| permanent("bad-event").because(error))
}
