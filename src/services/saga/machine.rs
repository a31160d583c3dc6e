//! What an event does to a saga. Pure: record, event and time in, record, commands, events and timers out.

use serde_json::{Map, Value};

use super::definition::{Definition, Versions};
use super::moves::{Turn, after};
use super::record::{DATA_BYTES_MAX, Phase, Record, Status};
use crate::services::ids;
use crate::services::unit::Emission;
use crate::types::Timestamp;

/// What happens to a saga.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is to begin.
    Start {
        /// Its id.
        saga_id: String,
        /// What it works with.
        data: Value,
        /// What it belongs to as a whole.
        correlation_id: String,
        /// W3C traceparent.
        traceparent: Option<String>,
    },
    /// A command is answered.
    Reply {
        /// The answer's own id.
        id: String,
        /// The command.
        command_id: String,
        /// How it went.
        status: Answered,
        /// The answer; of one that did not go well, perhaps null.
        body: Value,
        /// Who answers.
        actor: String,
    },
    /// A wait or a pause is over.
    StepDue {
        /// What was waited for.
        command_id: String,
        /// When it was due: what tells it from a timer that was replaced.
        due: Timestamp,
    },
    /// The saga has had its time.
    SagaDue,
    /// Somebody has decided.
    Operator {
        /// What.
        operation: Operation,
        /// Who.
        who: String,
    },
}

/// How a command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Well.
    Ok,
    /// It was not done, and never will be, for this reason.
    Failed(String),
    /// It did not go well, for this reason, but may another time.
    Retry(String),
}

/// What somebody may decide about a saga that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// What is waited for is sent again.
    Retry,
    /// What is waited for counts as done.
    Skip,
    /// The saga ends as `failed`; nothing more is sent.
    Abandon,
}

/// The reason by which a participant says that nobody can tell whether its effect was done.
pub(super) const EFFECT_UNKNOWN: &str = "effect-unknown";

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// It comes too late, or for the second time; nothing is done.
    Ignored(&'static str),
    /// It is wrong; nothing is done.
    Refused(String),
}

/// An event of the saga's life, for everybody to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// `saga_started`, `saga_step_completed`, ...
    pub name: &'static str,
    /// What is told.
    pub body: Value,
    /// Whether somebody should look at it.
    pub is_alert: bool,
}

/// A timer of the saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Its step's: an [`Event::StepDue`] of these parts, or none at all.
    Step(Option<(Timestamp, String)>),
    /// Its own: an [`Event::SagaDue`], or none at all.
    Saga(Option<Timestamp>),
}

/// An event that a saga begins, or ceases, to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The key of the event.
    pub key: String,
    /// The command that it answers.
    pub command_id: String,
    /// The event's topic and names, those that mean failure behind the first; none to cease.
    pub wanted: Option<(String, Vec<String>)>,
}

/// What is to be done, as one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What becomes of the event.
    pub verdict: Verdict,
    /// The saga from now on; none: as before.
    pub record: Option<Record>,
    /// Commands, with their headers.
    pub commands: Vec<Emission>,
    /// What is told of it.
    pub lifecycle: Vec<Lifecycle>,
    /// Timers.
    pub timers: Vec<Timer>,
    /// Events to wait for.
    pub watches: Vec<Watch>,
    /// Whether the saga's record has been kept long enough, and goes.
    pub is_forgotten: bool,
}

impl Decision {
    /// Nothing is done.
    pub(super) fn nothing(verdict: Verdict) -> Self {
        Self {
            verdict,
            record: None,
            commands: Vec::new(),
            lifecycle: Vec::new(),
            timers: Vec::new(),
            watches: Vec::new(),
            is_forgotten: false,
        }
    }
}

/// The id of a saga's command: the same however often it is sent.
pub fn command_id(name: &str, saga_id: &str, step: &str, phase: Phase) -> String {
    ids::derived(&["saga-command", name, saga_id, step, phase.name()])
}

/// Decides what an event does.
pub fn decide(
    versions: &Versions,
    record: Option<&Record>,
    event: Event,
    now: Timestamp,
) -> Decision {
    let mut decision = decide_on(versions, record, event, now);
    let goes_at = decision.record.as_ref().and_then(|record| goes_at(versions, record));
    if let Some(goes_at) = goes_at {
        decision.timers.retain(|timer| !matches!(timer, Timer::Saga(_)));
        decision.timers.push(Timer::Saga(Some(goes_at)));
    }
    decision
}

/// When a saga's record goes: a while after its end, by the timer that its deadline had before.
fn goes_at(versions: &Versions, record: &Record) -> Option<Timestamp> {
    let kept = versions.kept()?;
    let ended_at = record.ended_at.filter(|_| record.status.is_end())?;
    Some(after(ended_at, kept))
}

fn decide_on(
    versions: &Versions,
    record: Option<&Record>,
    event: Event,
    now: Timestamp,
) -> Decision {
    let ignored = |why| Decision::nothing(Verdict::Ignored(why));
    match (record, event) {
        (None, Event::Start { saga_id, data, correlation_id, traceparent }) => {
            let filled = versions.newest().with_about(&data, &saga_id);
            let record = Record {
                saga_id,
                name: versions.name().to_string(),
                version: versions.newest().version,
                status: Status::Running,
                reason: None,
                stuck_because: None,
                step: None,
                phase: Phase::Run,
                done: Vec::new(),
                start_digest: digest(&data),
                data: filled.unwrap_or(data),
                awaiting: None,
                correlation_id,
                traceparent,
                started_at: now,
                ended_at: None,
                deadline: None,
                replies: Vec::new(),
                history: Vec::new(),
            };
            start(versions.newest(), record, now)
        }
        (Some(record), Event::Start { data, .. }) => {
            if record.start_digest == digest(&data) {
                return ignored("started before");
            }
            let refusal = format!("saga {} was started with other data", record.saga_id);
            Decision::nothing(Verdict::Refused(refusal))
        }
        (
            None,
            Event::Reply { .. } | Event::StepDue { .. } | Event::SagaDue | Event::Operator { .. },
        ) => ignored("no such saga"),
        (Some(record), Event::SagaDue) if record.status.is_end() => {
            let is_forgotten = goes_at(versions, record).is_some_and(|at| at <= now);
            let verdict = if is_forgotten { Verdict::Accepted } else { Verdict::Ignored("ended") };
            Decision { is_forgotten, ..Decision::nothing(verdict) }
        }
        (Some(record), _) if record.status.is_end() => ignored("ended"),
        (Some(record), event) => match versions.get(record.version) {
            Some(definition) => go_on(definition, record, event, now),
            None => without_definition(versions, record, &event, now),
        },
    }
}

fn start(definition: &Definition, record: Record, now: Timestamp) -> Decision {
    let size = record.data.to_string().len();
    if size > DATA_BYTES_MAX {
        return Decision::nothing(Verdict::Refused(format!(
            "saga data of {size} bytes, {DATA_BYTES_MAX} are allowed"
        )));
    }
    if let Err(problem) = definition.check(&record.data) {
        return Decision::nothing(Verdict::Refused(format!("data of saga: {problem}")));
    }
    let mut turn = Turn::new(definition, record, now);
    turn.start();
    turn.decision()
}

fn go_on(definition: &Definition, record: &Record, event: Event, now: Timestamp) -> Decision {
    let mut turn = Turn::new(definition, record.clone(), now);
    let counts = match event {
        Event::Start { .. } => Err("started before"),
        Event::Reply { id, command_id, status, body, actor } => {
            turn.reply(&id, &command_id, status, &body, &actor)
        }
        Event::StepDue { command_id, due } => turn.step_due(&command_id, due),
        Event::SagaDue => turn.saga_due(),
        Event::Operator { operation, who } => {
            turn.operator(operation, &who);
            Ok(())
        }
    };
    match counts {
        Ok(()) => turn.decision(),
        Err(why) => Decision::nothing(Verdict::Ignored(why)),
    }
}

/// A saga of a version that nobody has registered: nothing but giving it up can be decided without it.
fn without_definition(
    versions: &Versions,
    record: &Record,
    event: &Event,
    now: Timestamp,
) -> Decision {
    let mut turn = Turn::new(versions.newest(), record.clone(), now);
    if let Event::Operator { operation: Operation::Abandon, who } = event {
        turn.operator(Operation::Abandon, who);
        return turn.decision();
    }
    let known: Vec<_> = versions.all().map(|known| known.version.to_string()).collect();
    let reason = format!(
        "it began with version {} of saga {}, and here is only {}: register that one, then retry it",
        record.version,
        record.name,
        known.join(", ")
    );
    if record.status == Status::Stuck && record.stuck_because.as_deref() == Some(&reason) {
        return Decision::nothing(Verdict::Ignored("version not registered"));
    }
    turn.stick(&reason);
    turn.decision()
}

/// Equal for data that is equal, whatever the order of its fields.
pub(in crate::services) fn digest(data: &Value) -> String {
    ids::derived(&["saga-start", &sorted(data).to_string()])
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields = fields.into_iter().map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
