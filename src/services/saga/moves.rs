//! The moves of a saga: forward, back, once more, stuck, ended.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::definition::{Action, Answer, Definition, Step, inbox};
use super::machine::{
    Answered, Decision, EFFECT_UNKNOWN, Lifecycle, Operation, Timer, Verdict, Watch, command_id,
};
use super::record::{Awaiting, DATA_BYTES_MAX, Outcome, Phase, Record, Status, Why, short};
use crate::client::cluster::Headers;
use crate::services::envelope::{headers, trace};
use crate::services::ids;
use crate::services::policy::Retry;
use crate::services::reply;
use crate::types::Timestamp;

/// One decision in the making.
pub(super) struct Turn<'a> {
    definition: &'a Definition,
    record: Record,
    now: Timestamp,
    out: Decision,
}

/// Whether a command is answered.
#[derive(PartialEq)]
enum Sent {
    Awaiting,
    Told,
}

impl<'a> Turn<'a> {
    pub(super) fn new(definition: &'a Definition, record: Record, now: Timestamp) -> Self {
        Self { definition, record, now, out: Decision::nothing(Verdict::Accepted) }
    }

    pub(super) fn decision(mut self) -> Decision {
        self.out.record = Some(self.record);
        self.out
    }

    pub(super) fn start(&mut self) {
        self.set_deadline();
        self.tell("saga_started");
        self.advance(0);
    }

    pub(super) fn reply(
        &mut self,
        id: &str,
        command_id: &str,
        status: Answered,
        body: &Value,
        actor: &str,
    ) -> Result<(), &'static str> {
        if self.record.has_accepted(id) {
            return Err("duplicate");
        }
        let awaited = self.record.awaiting.as_ref();
        if awaited.is_none_or(|awaiting| awaiting.command_id != command_id) {
            return Err("not waited for");
        }
        self.record.remember(id);
        match (self.record.phase, status) {
            (Phase::Run, Answered::Ok) => self.step_done(body, actor),
            (Phase::Run | Phase::Undo, Answered::Failed(reason)) if reason == EFFECT_UNKNOWN => {
                self.stick("effect-unknown: somebody has to find out whether it was done");
            }
            (Phase::Run, Answered::Failed(reason)) => {
                let why = Why { reason: Some(&reason), actor: Some(actor) };
                self.step_failed(Outcome::Failed, why);
            }
            (Phase::Run, Answered::Retry(reason)) => {
                if !self.try_again(&reason) {
                    // It may have happened before the participant lost its own way.
                    let why = Why { reason: Some(&reason), actor: Some(actor) };
                    self.step_failed(Outcome::Unknown, why);
                }
            }
            (Phase::Undo, Answered::Ok) => {
                self.step_undone(Outcome::Done, Why { actor: Some(actor), reason: None });
            }
            (Phase::Undo, Answered::Failed(reason) | Answered::Retry(reason)) => {
                if !self.try_again(&reason) {
                    self.stick(&format!("undoing keeps failing: {reason}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn step_due(
        &mut self,
        command_id: &str,
        due: Timestamp,
    ) -> Result<(), &'static str> {
        if self.record.status == Status::Stuck {
            return Err("stuck");
        }
        let Some(awaiting) = &mut self.record.awaiting else { return Err("not waited for") };
        if awaiting.command_id != command_id || awaiting.due != due {
            return Err("not waited for");
        }
        if awaiting.is_pausing {
            self.send_again();
            return Ok(());
        }
        let is_sent_again = match self.record.phase {
            Phase::Run => self.count_resend(),
            Phase::Undo => self.count_retry(),
        };
        match self.record.phase {
            Phase::Run | Phase::Undo if is_sent_again => self.send_again(),
            Phase::Run => {
                self.step_failed(Outcome::Unknown, Why { reason: Some("timeout"), actor: None });
            }
            Phase::Undo => self.stick("undoing keeps failing: timeout"),
        }
        Ok(())
    }

    pub(super) fn saga_due(&mut self) -> Result<(), &'static str> {
        if self.record.status != Status::Running {
            return Err("not running");
        }
        self.step_failed(Outcome::Unknown, Why { reason: Some("deadline"), actor: None });
        Ok(())
    }

    pub(super) fn operator(&mut self, operation: Operation, who: &str) {
        let why = Why { reason: None, actor: Some(who) };
        match (operation, self.record.phase) {
            (Operation::Retry, phase) => {
                self.unstick();
                self.record.close(Outcome::Unknown, why, self.now);
                if let Some(step) =
                    self.record.step.clone().filter(|_| self.record.awaiting.is_some())
                {
                    self.record.begin(&step, phase, self.now);
                }
                match (phase, &mut self.record.awaiting) {
                    (Phase::Undo, None) => self.undo_next(),
                    (Phase::Run | Phase::Undo, awaiting) => {
                        if let Some(awaiting) = awaiting {
                            (awaiting.retries, awaiting.resends) = (0, 0);
                        }
                        self.send_again();
                    }
                }
            }
            (Operation::Skip, Phase::Run) => {
                self.unstick();
                self.record.close(Outcome::Skipped, why, self.now);
                self.wait_no_more();
                self.count_done();
                self.tell("saga_step_skipped");
                self.advance(self.position() + 1);
            }
            (Operation::Skip, Phase::Undo) => {
                self.step_undone(Outcome::Skipped, why);
            }
            (Operation::Abandon, _) => {
                let reason = format!("abandoned by {who}");
                let why = Why { reason: Some(&reason), actor: Some(who) };
                self.record.close(Outcome::Unknown, why, self.now);
                self.record.reason = Some(short(&reason));
                self.end(Status::Failed);
            }
        }
    }

    /// Waits for somebody to decide. What was asked for may still be answered.
    pub(super) fn stick(&mut self, reason: &str) {
        self.record.status = Status::Stuck;
        self.record.stuck_because = Some(short(reason));
        self.set_timer(Timer::Step(None));
        self.cancel_saga_timer();
        self.tell_of("saga_stuck", true);
    }

    fn unstick(&mut self) {
        if self.record.status != Status::Stuck {
            return;
        }
        self.record.stuck_because = None;
        match self.record.phase {
            Phase::Run => {
                self.record.status = Status::Running;
                // Whoever decided may have taken longer than the saga had left.
                self.set_deadline();
            }
            Phase::Undo => self.record.status = Status::Compensating,
        }
    }

    /// Goes on with the step at `from`, or the first behind it that is wanted.
    fn advance(&mut self, from: usize) {
        let definition = self.definition;
        for step in definition.steps.iter().skip(from) {
            self.record.step = Some(step.name.to_string());
            self.record.begin(&step.name, Phase::Run, self.now);
            let is_wanted = step.when.as_ref().map_or(Ok(true), |when| when(&self.record.data));
            let sent = match is_wanted {
                Ok(false) => {
                    self.record.close(Outcome::Skipped, Why::default(), self.now);
                    continue;
                }
                Ok(true) => self.send(step, &step.run, Phase::Run),
                Err(problem) => Err(problem),
            };
            match sent {
                Ok(Sent::Awaiting) => return,
                Ok(Sent::Told) => {
                    self.record.close(Outcome::Done, Why::default(), self.now);
                    self.count_done();
                    self.tell("saga_step_completed");
                }
                Err(problem) => {
                    let reason = format!("bad-data: {problem}");
                    let why = Why { reason: Some(&reason), actor: None };
                    self.step_failed(Outcome::Failed, why);
                    return;
                }
            }
        }
        self.record.step = None;
        self.end(Status::Completed);
    }

    fn step_done(&mut self, body: &Value, actor: &str) {
        let definition = self.definition;
        self.unstick();
        let Some((position, step)) = self.in_hand(definition) else { return };
        if let Err(reason) = self.keep(step, body) {
            // It was done, but what came of it is of no use.
            let why = Why { reason: Some(&reason), actor: Some(actor) };
            self.step_failed(Outcome::Unknown, why);
            return;
        }
        self.record.close(Outcome::Done, Why { reason: None, actor: Some(actor) }, self.now);
        self.wait_no_more();
        self.count_done();
        self.tell("saga_step_completed");
        self.advance(position + 1);
    }

    fn keep(&mut self, step: &Step, body: &Value) -> Result<(), String> {
        if let Some(require) = &step.require {
            require(body)?;
        }
        let Some(save) = &step.save else { return Ok(()) };
        let mut data = self.record.data.clone();
        save(&mut data, body).map_err(|problem| format!("bad-reply: {problem}"))?;
        let size = data.to_string().len();
        if size > DATA_BYTES_MAX {
            return Err(format!("too-large: data of {size} bytes, {DATA_BYTES_MAX} are allowed"));
        }
        self.record.data = data;
        Ok(())
    }

    /// Turns back. Where nobody knows whether the step was done it is undone as well.
    fn step_failed(&mut self, outcome: Outcome, why: Why<'_>) {
        self.record.close(outcome, why, self.now);
        self.wait_no_more();
        self.record.reason = why.reason.map(short);
        self.record.stuck_because = None;
        self.cancel_saga_timer();
        self.tell("saga_step_failed");
        if outcome == Outcome::Unknown {
            self.count_done();
        }
        let definition = self.definition;
        let has_undo =
            |name: &String| definition.step(name).is_some_and(|(_, step)| step.undo.is_some());
        if !self.record.done.iter().any(has_undo) {
            self.end(Status::Failed);
            return;
        }
        (self.record.status, self.record.phase) = (Status::Compensating, Phase::Undo);
        self.tell_of("saga_compensating", why.reason == Some("deadline"));
        self.undo_next();
    }

    /// Undoes what was done last and can be undone.
    fn undo_next(&mut self) {
        let definition = self.definition;
        while let Some(name) = self.record.done.last().cloned() {
            let undo =
                definition.step(&name).and_then(|(_, step)| Some((step, step.undo.as_ref()?)));
            let Some((step, undo)) = undo else {
                self.record.done.pop();
                continue;
            };
            self.record.step = Some(name);
            self.record.begin(&step.name, Phase::Undo, self.now);
            match self.send(step, undo, Phase::Undo) {
                Ok(Sent::Awaiting) => return,
                Ok(Sent::Told) => {
                    self.record.close(Outcome::Done, Why::default(), self.now);
                    self.record.done.pop();
                    self.tell("saga_step_compensated");
                }
                Err(problem) => {
                    self.stick(&format!("undoing is not possible: {problem}"));
                    return;
                }
            }
        }
        self.record.step = None;
        self.end(Status::Compensated);
    }

    fn step_undone(&mut self, outcome: Outcome, why: Why<'_>) {
        self.unstick();
        self.record.close(outcome, why, self.now);
        self.wait_no_more();
        self.record.done.pop();
        let is_skipped = outcome == Outcome::Skipped;
        self.tell(if is_skipped { "saga_step_skipped" } else { "saga_step_compensated" });
        self.undo_next();
    }

    /// Sends the command once more after a pause, if that is allowed.
    fn try_again(&mut self, reason: &str) -> bool {
        if let Some(entry) = self.record.history.last_mut() {
            entry.reason = Some(short(reason));
        }
        if !self.count_retry() {
            return false;
        }
        self.unstick();
        let retry = self.action().map_or_else(Retry::none, |action| action.retry);
        let now = self.now;
        if let Some(awaiting) = &mut self.record.awaiting {
            awaiting.is_pausing = true;
            awaiting.due = after(now, pause(&retry, awaiting.retries, &awaiting.command_id));
        }
        self.set_step_timer();
        true
    }

    fn count_retry(&mut self) -> bool {
        let attempts = self.action().map_or(1, |action| action.retry.attempts);
        let Some(awaiting) = &mut self.record.awaiting else { return false };
        awaiting.retries += 1;
        awaiting.retries < attempts
    }

    fn count_resend(&mut self) -> bool {
        let most = self.action().map_or(0, |action| action.resend);
        let Some(awaiting) = &mut self.record.awaiting else { return false };
        let is_allowed = awaiting.resends < most;
        awaiting.resends += u32::from(is_allowed);
        is_allowed
    }

    fn send_again(&mut self) {
        let definition = self.definition;
        let (phase, awaiting) = (self.record.phase, self.record.awaiting.clone());
        let (Some((_, step)), Some(awaiting)) = (self.in_hand(definition), awaiting) else {
            return;
        };
        let action = match phase {
            Phase::Run => Some(&step.run),
            Phase::Undo => step.undo.as_ref(),
        };
        let Some(action) = action else { return };
        match self.emit(step, action, phase, Some(awaiting)) {
            Ok(()) => {}
            Err(problem) => self.stick(&format!("it cannot be sent again: {problem}")),
        }
    }

    fn send(&mut self, step: &Step, action: &Action, phase: Phase) -> Result<Sent, String> {
        self.record.phase = phase;
        self.emit(step, action, phase, None)?;
        let is_awaiting = self.record.awaiting.is_some();
        Ok(if is_awaiting { Sent::Awaiting } else { Sent::Told })
    }

    /// Emits a step's command, and waits for its answer.
    fn emit(
        &mut self,
        step: &Step,
        action: &Action,
        phase: Phase,
        before: Option<Awaiting>,
    ) -> Result<(), String> {
        let id = command_id(&self.record.name, &self.record.saga_id, &step.name, phase);
        let command = action.build.as_ref().map(|build| build(&self.record.data)).transpose()?;
        let watch = match &action.answer {
            Answer::Event(wait) => {
                let key = (wait.key)(&self.record.data)?;
                let names = std::iter::once(&wait.name).chain(&wait.failures);
                let wanted = (wait.topic.to_string(), names.map(ToString::to_string).collect());
                Some(Watch { key, command_id: id.clone(), wanted: Some(wanted) })
            }
            Answer::Reply | Answer::None => None,
        };
        if let Some(mut command) = command {
            let is_answered = matches!(action.answer, Answer::Reply);
            command.headers.extend(self.headers(&id, step, phase, is_answered));
            if let (Some(field), Some(reason)) = (&action.reason_field, &self.record.reason)
                && let Some(body) = command.body.as_object_mut()
            {
                body.insert(field.to_string(), reason.as_str().into());
            }
            self.out.commands.push(command);
        }
        let (attempt, retries, resends) =
            before.map_or((1, 0, 0), |it| (it.attempt.saturating_add(1), it.retries, it.resends));
        if let Some(entry) = self.record.history.last_mut() {
            entry.attempt = attempt;
        }
        if matches!(action.answer, Answer::None) {
            return Ok(());
        }
        self.record.awaiting = Some(Awaiting {
            command_id: id,
            attempt,
            retries,
            resends,
            is_pausing: false,
            due: after(self.now, action.timeout),
            watch: watch.as_ref().map(|watch| watch.key.clone()),
        });
        self.out.watches.extend(watch);
        self.set_step_timer();
        Ok(())
    }

    fn headers(&self, id: &str, step: &Step, phase: Phase, is_answered: bool) -> Headers {
        let reply_topic = inbox(&self.record.name);
        let direction = match phase {
            Phase::Run => step.name.to_string(),
            Phase::Undo => format!("{}:undo", step.name),
        };
        let (parent, correlation_id) =
            (self.record.traceparent.as_deref(), &*self.record.correlation_id);
        let traceparent = trace::child(parent, correlation_id, id);
        let mut all = vec![
            (headers::CE_ID, id),
            (headers::TRACEPARENT, &*traceparent),
            (reply::SAGA_ID, &self.record.saga_id),
            (reply::STEP, &direction),
            (reply::CORRELATION, id),
            (headers::CORRELATION_ID, correlation_id),
        ];
        if is_answered {
            all.push((reply::REPLY_TOPIC, &reply_topic));
        }
        let owned = |(name, value): (&str, &str)| {
            (name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
        };
        all.into_iter().map(owned).collect()
    }

    fn set_step_timer(&mut self) {
        let timer = self.record.awaiting.as_ref();
        let timer = timer.map(|it| (it.due, it.command_id.clone()));
        self.set_timer(Timer::Step(timer));
    }

    fn set_deadline(&mut self) {
        if let Some(deadline) = self.definition.deadline {
            let due = after(self.now, deadline);
            self.record.deadline = Some(due);
            self.set_timer(Timer::Saga(Some(due)));
        }
    }

    fn cancel_saga_timer(&mut self) {
        if self.record.deadline.is_some() {
            self.set_timer(Timer::Saga(None));
        }
    }

    /// In place of what this turn has said about that timer before.
    fn set_timer(&mut self, timer: Timer) {
        let kind = std::mem::discriminant(&timer);
        self.out.timers.retain(|said| std::mem::discriminant(said) != kind);
        self.out.timers.push(timer);
    }

    fn wait_no_more(&mut self) {
        if let Some(awaiting) = self.record.awaiting.take() {
            let command_id = awaiting.command_id;
            let ceased = awaiting.watch.map(|key| Watch { key, command_id, wanted: None });
            self.out.watches.extend(ceased);
        }
        self.set_step_timer();
    }

    fn end(&mut self, status: Status) {
        self.wait_no_more();
        self.record.status = status;
        self.record.ended_at = Some(self.now);
        self.cancel_saga_timer();
        match status {
            Status::Completed => self.tell("saga_completed"),
            Status::Compensated => self.tell("saga_compensated"),
            Status::Failed => self.tell_of("saga_failed", true),
            Status::Running | Status::Compensating | Status::Stuck => {}
        }
    }

    fn tell(&mut self, name: &'static str) {
        self.tell_of(name, false);
    }

    fn tell_of(&mut self, name: &'static str, is_alert: bool) {
        let record = &self.record;
        let mut body = json!({
            "saga_id": record.saga_id,
            "saga": record.name,
            "version": record.version,
            "status": record.status.name(),
            "correlation_id": record.correlation_id,
        });
        if let Some(field) = self.definition.about.as_deref() {
            body[field] = record.data[field].clone();
        }
        let reason = record.stuck_because.as_ref().or(record.reason.as_ref());
        let more = [("step", record.step.as_ref()), ("reason", reason)];
        for (field, value) in more {
            if let Some(value) = value {
                body[field] = json!(value);
            }
        }
        self.out.lifecycle.push(Lifecycle { name, body, is_alert });
    }

    fn in_hand<'d>(&self, definition: &'d Definition) -> Option<(usize, &'d Step)> {
        definition.step(self.record.step.as_deref()?)
    }

    fn position(&self) -> usize {
        self.in_hand(self.definition).map_or(0, |(position, _)| position)
    }

    fn action(&self) -> Option<&'a Action> {
        let definition = self.definition;
        let (_, step) = self.in_hand(definition)?;
        match self.record.phase {
            Phase::Run => Some(&step.run),
            Phase::Undo => step.undo.as_ref(),
        }
    }

    fn count_done(&mut self) {
        self.record.done.extend(self.record.step.clone());
    }
}

/// So much later.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// The pause before retry `n`, from 1: doubled each time, shortened by up to a half, at every try of the same
/// decision by the same part.
fn pause(retry: &Retry, n: u32, command_id: &str) -> Duration {
    let doubled =
        retry.first.saturating_mul(1_u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(retry.longest);
    let whole_ms = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    let part = ids::number(&[command_id, &n.to_string()]) % (whole_ms / 2).saturating_add(1);
    Duration::from_millis(whole_ms - part)
}
