//! Runs `testdata/*.txt`, one file a rule: a command, `----`, what the machine decides, an empty line.
//! With `UPDATE_SCRIPTS=1` in the environment the files are written anew, to be reviewed as a diff.
//!
//! ```text
//! saga NAME                          the definition from here on, and no saga yet
//! versions NAME                      other versions of it; the saga stays
//! start [ID] JSON                    it is to begin
//! ok|failed|retry STEP[:undo] [REASON] [JSON] [id=REPLY]   an answer
//! wait SECONDS                       time goes by, timers come
//! due                                the timer of a step comes that was replaced last
//! operator retry|skip|abandon
//! show | history                     the record
//! ```

use std::fmt::Write;

use serde_json::Value;

use super::sagas;
use crate::machine::testing::check_scripts;
use crate::services::saga::{
    Answered, Decision, Event, Operation, Phase, Record, Timer, Verdict, Versions, command_id,
    decide,
};
use crate::types::Timestamp;

#[test]
fn rules_hold_as_the_scripts_tell() {
    check_scripts("src/services/saga/testdata", || {
        let mut runner = Runner::new();
        move |line: &str, place: &str| {
            place.clone_into(&mut runner.place);
            runner.line(line)
        }
    });
}

struct Runner {
    versions: Versions,
    record: Option<Record>,
    now: Timestamp,
    step_timer: Option<(Timestamp, String)>,
    replaced: Option<(Timestamp, String)>,
    saga_timer: Option<Timestamp>,
    reply_count: u32,
    place: String,
}

impl Runner {
    fn new() -> Self {
        Self {
            versions: sagas::named("order"),
            record: None,
            now: Timestamp(0),
            step_timer: None,
            replaced: None,
            saga_timer: None,
            reply_count: 0,
            place: String::new(),
        }
    }

    fn line(&mut self, line: &str) -> Vec<String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "saga" => {
                *self = Self { versions: sagas::named(rest), ..Self::new() };
                Vec::new()
            }
            "versions" => {
                self.versions = sagas::named(rest);
                Vec::new()
            }
            "start" => self.start(rest),
            "ok" | "failed" | "retry" => self.reply(command, rest),
            "wait" => self.wait(rest),
            "due" => {
                let (due, command_id) = self.replaced.clone().expect("a timer was replaced");
                self.event(Event::StepDue { command_id, due })
            }
            "operator" => {
                let operation = match rest {
                    "retry" => Operation::Retry,
                    "skip" => Operation::Skip,
                    "abandon" => Operation::Abandon,
                    other => panic!("{}: {other}", self.place),
                };
                self.event(Event::Operator { operation, who: "ann".to_owned() })
            }
            "show" => vec![self.show()],
            "history" => self.history(),
            other => panic!("{}: no command {other}", self.place),
        }
    }

    fn start(&mut self, data: &str) -> Vec<String> {
        let data = serde_json::from_str(data).expect("JSON");
        self.event(Event::Start {
            saga_id: "s-1".to_owned(),
            data,
            correlation_id: "c-1".to_owned(),
            traceparent: None,
        })
    }

    fn reply(&mut self, status: &str, rest: &str) -> Vec<String> {
        let (rest, body) = match rest.find('{') {
            Some(at) => (&rest[..at], serde_json::from_str(&rest[at..]).expect("JSON")),
            None => (rest, Value::Null),
        };
        let mut words: Vec<_> = rest.split_whitespace().collect();
        let id = words.iter().position(|word| word.starts_with("id="));
        let id = id.map(|at| words.remove(at)[3..].to_owned());
        let (step, phase) = match words[0].strip_suffix(":undo") {
            Some(step) => (step, Phase::Undo),
            None => (words[0], Phase::Run),
        };
        let reason = words[1..].join(" ");
        let status = match status {
            "ok" => Answered::Ok,
            "failed" => Answered::Failed(reason),
            _ => Answered::Retry(reason),
        };
        self.reply_count += 1;
        let id = id.unwrap_or_else(|| format!("r-{}", self.reply_count));
        let command_id = command_id(self.versions.name(), "s-1", step, phase);
        let actor = "participant".to_owned();
        self.event(Event::Reply { id, command_id, status, body, actor })
    }

    /// Lets time go by, and every timer come that is due meanwhile.
    fn wait(&mut self, seconds: &str) -> Vec<String> {
        let until = self.now.plus_ms(seconds.parse::<i64>().expect("seconds") * 1000);
        let mut effects = Vec::new();
        loop {
            let step = self.step_timer.as_ref().map(|(due, _)| *due);
            let next = [step, self.saga_timer].into_iter().flatten().min();
            let Some(due) = next.filter(|due| *due <= until) else { break };
            self.now = due;
            effects.push(format!("at {}", due.0));
            let event = if step == Some(due) {
                let (due, command_id) = self.step_timer.take().expect("just seen");
                Event::StepDue { command_id, due }
            } else {
                self.saga_timer = None;
                Event::SagaDue
            };
            effects.extend(self.event(event));
        }
        self.now = until;
        effects
    }

    fn event(&mut self, event: Event) -> Vec<String> {
        let decision = decide(&self.versions, self.record.as_ref(), event, self.now);
        let effects = self.describe(&decision);
        for timer in &decision.timers {
            match timer {
                Timer::Step(set) => {
                    self.replaced = self.step_timer.take().or(self.replaced.take());
                    self.step_timer.clone_from(set);
                }
                Timer::Saga(due) => self.saga_timer = *due,
            }
        }
        if let Some(record) = decision.record {
            let again = Record::decode(&record.encode().expect("small")).expect("a record");
            assert_eq!(again, record, "{}", self.place);
            self.record = Some(record);
        }
        effects
    }

    fn describe(&self, decision: &Decision) -> Vec<String> {
        let mut lines = match &decision.verdict {
            Verdict::Accepted => Vec::new(),
            Verdict::Ignored(why) => vec![format!("ignored: {why}")],
            Verdict::Refused(why) => vec![format!("refused: {why}")],
        };
        for told in &decision.lifecycle {
            let mut line = told.name.to_owned();
            for field in ["step", "reason"] {
                if let Some(text) = told.body[field].as_str() {
                    write!(line, " {field}={text:?}").expect("a string");
                }
            }
            lines.push(line + if told.is_alert { " ALERT" } else { "" });
        }
        for command in &decision.commands {
            let header = |name: &str| {
                let found = command.headers.iter().find(|(key, _)| key == name);
                found
                    .map(|(_, value)| String::from_utf8_lossy(value.as_ref().unwrap()).into_owned())
            };
            let step = header("ottla-step").unwrap();
            let name = step.strip_suffix(":undo").unwrap_or(&step);
            let phase = if name == step { Phase::Run } else { Phase::Undo };
            let id = command_id(self.versions.name(), "s-1", name, phase);
            assert_eq!(header("ce_id"), Some(id.clone()));
            assert_eq!(header("kafka_correlationId"), Some(id));
            assert_eq!(header("ottla-saga-id").as_deref(), Some("s-1"));
            let reply = header("kafka_replyTopic").map_or(String::new(), |it| format!(" -> {it}"));
            let (topic, command, key, body) =
                (&command.topic, &command.name, &command.key, &command.body);
            lines.push(format!("send {topic} {command} {step} key={key} {body}{reply}"));
        }
        for watch in &decision.watches {
            match &watch.wanted {
                Some((topic, names)) => {
                    lines.push(format!("watch {topic} {} key={}", names.join(","), watch.key));
                }
                None => lines.push(format!("watch no more key={}", watch.key)),
            }
        }
        for timer in &decision.timers {
            let in_ms = |due: &Timestamp| due.0 - self.now.0;
            lines.push(match timer {
                Timer::Step(Some((due, _))) => format!("timer step in {}", in_ms(due)),
                Timer::Step(None) => "timer step off".to_owned(),
                Timer::Saga(Some(due)) => format!("timer saga in {}", in_ms(due)),
                Timer::Saga(None) => "timer saga off".to_owned(),
            });
        }
        lines
    }

    fn show(&self) -> String {
        let Some(record) = &self.record else { return "no saga".to_owned() };
        let mut line = format!("v{} {}", record.version, record.status.name());
        let texts =
            [("step", &record.step), ("reason", &record.reason), ("stuck", &record.stuck_because)];
        for (name, text) in texts {
            if let Some(text) = text {
                write!(line, " {name}={text:?}").expect("a string");
            }
        }
        if let Some(awaiting) = &record.awaiting {
            write!(line, " attempt={}", awaiting.attempt).expect("a string");
        }
        format!("{line} done={:?} data={}", record.done, record.data)
    }

    fn history(&self) -> Vec<String> {
        let record = self.record.as_ref().expect("a saga");
        let entries = record.history.iter().map(|entry| {
            let ended = entry.ended_at.map_or("-".to_owned(), |at| at.0.to_string());
            let outcome = entry.outcome.map_or("-".to_owned(), |it| format!("{it:?}"));
            let more = [&entry.reason, &entry.actor].into_iter().flatten();
            let more: String = more.map(|text| format!(" {text:?}")).collect();
            let (step, phase, from) = (&entry.step, entry.phase.name(), entry.started_at);
            format!("{step} {phase} {from}..{ended} attempt={} {outcome}{more}", entry.attempt)
        });
        entries.collect()
    }
}
