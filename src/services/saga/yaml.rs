//! Sagas in YAML: the same definition as in Rust, with templates over the data for command bodies.
//! `docs/sagas.md` describes the format.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::check::DataError;
use super::definition::{
    Action, Answer, Build, Check, Condition, DataCheck, Definition, KeyOf, LIFECYCLE_TOPIC, Save,
    Step, Wait,
};
use super::template::{Template, text_of};
use crate::services::event::Envelope;
use crate::services::policy::Retry;
use crate::services::unit::Emission;

/// Bytes of a file: a long one is another file.
const FILE_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    saga: Spanned<String>,
    version: u32,
    http: Option<Spanned<String>>,
    deadline: Option<Spanned<String>>,
    lifecycle: Option<String>,
    about: Option<String>,
    #[serde(default)]
    required: Vec<String>,
    steps: Vec<StepEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepEntry {
    name: Spanned<String>,
    #[serde(default)]
    when: BTreeMap<String, Spanned<Value>>,
    send: Option<SendEntry>,
    wait: Option<WaitEntry>,
    answer: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    #[serde(default)]
    resend: u32,
    retry: Option<RetryEntry>,
    #[serde(default)]
    require: BTreeMap<String, Spanned<Value>>,
    refusal: Option<String>,
    #[serde(default)]
    save: BTreeMap<String, Spanned<String>>,
    undo: Option<UndoEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UndoEntry {
    send: SendEntry,
    wait: Option<WaitEntry>,
    answer: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    retry: Option<RetryEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendEntry {
    topic: String,
    #[serde(rename = "type")]
    name: String,
    envelope: Option<Spanned<String>>,
    key: Spanned<String>,
    body: Option<Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitEntry {
    topic: String,
    #[serde(rename = "type")]
    name: String,
    by: Spanned<String>,
    key: Spanned<String>,
    #[serde(default)]
    fails_by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryEntry {
    times: u32,
    first: Option<Spanned<String>>,
    longest: Option<Spanned<String>>,
}

/// What an action is made of, in either direction.
struct ActionParts {
    send: Option<SendEntry>,
    wait: Option<WaitEntry>,
    answer: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    retry: Option<RetryEntry>,
}

/// Reads a saga from the text of a file of that name.
///
/// # Errors
/// All that is wrong with it, a sentence each, with line and column where it stands somewhere.
pub fn parse(file: &str, text: &str) -> Result<Definition, Vec<String>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(vec![format!("{file}: {} bytes are over {FILE_BYTES_MAX}", text.len())]);
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().unwrap_or(Location::UNKNOWN);
        let shown = error.without_snippet().to_string();
        let problem = shown.lines().next().unwrap_or_default().trim();
        let problem = problem.rsplit_once(" at line ").map_or(problem, |(before, _)| before);
        vec![complaint(file, at, problem)]
    })?;
    let mut checking = Checking { file, complaints: Vec::new() };
    let at = parsed.saga.referenced;
    let definition = checking.definition(parsed);
    if let Some(problem) = definition.complaint().filter(|_| checking.complaints.is_empty()) {
        checking.complain(at, &problem);
    }
    if checking.complaints.is_empty() { Ok(definition) } else { Err(checking.complaints) }
}

fn complaint(file: &str, at: Location, problem: &str) -> String {
    format!("{file}, line {}, column {}: {problem}", at.line(), at.column())
}

struct Checking<'a> {
    file: &'a str,
    complaints: Vec<String>,
}

impl Checking<'_> {
    fn complain(&mut self, at: Location, problem: &str) {
        self.complaints.push(complaint(self.file, at, problem));
    }

    fn definition(&mut self, file: File) -> Definition {
        let http = file.http.as_ref();
        if let Some(wrong) = http.filter(|http| !http.value.starts_with("POST /")) {
            self.complain(wrong.referenced, "http: `POST /path`");
        }
        let required = file.required;
        let check: DataCheck = Arc::new(move |data| {
            let missing = required.iter().find(|field| data.get(field).is_none_or(Value::is_null));
            missing.map_or(Ok(()), |field| Err(DataError::new(field, "is missing")))
        });
        Definition {
            name: file.saga.value.into(),
            version: file.version,
            http: file.http.map(|http| http.value.into()),
            deadline: file.deadline.and_then(|deadline| self.span(&deadline)),
            lifecycle_topic: file.lifecycle.map_or(LIFECYCLE_TOPIC.into(), Into::into),
            about: file.about.map(Into::into),
            steps: file.steps.into_iter().map(|step| self.step(step)).collect(),
            check,
        }
    }

    fn step(&mut self, entry: StepEntry) -> Step {
        let at = entry.name.referenced;
        if entry.send.is_none() && entry.wait.is_none() {
            self.complain(at, "a step needs `send`, `wait` or both");
        }
        let StepEntry { send, wait, answer, timeout, retry, .. } = entry;
        let parts = ActionParts { send, wait, answer, timeout, retry };
        let mut run = self.action(parts, Retry::default());
        run.resend = entry.resend;
        let undo = entry.undo.map(|undo| {
            let UndoEntry { send, wait, answer, timeout, retry } = undo;
            let parts = ActionParts { send: Some(send), wait, answer, timeout, retry };
            self.action(parts, Action::wait(Answer::None).patient().retry)
        });
        let when: Option<Condition> = self.equalities(entry.when).map(|wanted| -> Condition {
            Arc::new(move |data| {
                Ok(wanted.iter().all(|(at, value)| data.pointer(at) == Some(value)))
            })
        });
        let refusal = entry.refusal;
        let require: Option<Check> = self.equalities(entry.require).map(|wanted| -> Check {
            Arc::new(move |answer| refuse(&wanted, refusal.as_deref(), answer))
        });
        let save = self.save(entry.save);
        Step { name: entry.name.value.into(), run, undo, when, require, save }
    }

    fn action(&mut self, parts: ActionParts, default: Retry) -> Action {
        let answer = match (parts.wait, &parts.answer) {
            (Some(wait), None) => Answer::Event(self.wait(wait)),
            (Some(_), Some(answer)) => {
                self.complain(answer.referenced, "`answer` and `wait` say two things");
                Answer::None
            }
            (None, None) => Answer::Reply,
            (None, Some(answer)) if answer.value == "reply" => Answer::Reply,
            (None, Some(answer)) => {
                if answer.value != "none" {
                    self.complain(answer.referenced, "answer: `reply` or `none`");
                }
                Answer::None
            }
        };
        let mut action = Action::wait(answer);
        action.build = parts.send.map(|send| self.send(send));
        action.retry = parts.retry.map_or(default, |retry| self.retry(&retry, default));
        if let Some(timeout) = parts.timeout.and_then(|timeout| self.span(&timeout)) {
            action.timeout = timeout;
        }
        action
    }

    fn send(&mut self, entry: SendEntry) -> Build {
        let envelope = self.envelope(entry.envelope.as_ref());
        let key = self.key(&entry.key);
        let body = entry.body.map_or(Template::Object(Vec::new()), |body| {
            self.template(body.referenced, &body.value)
        });
        let (topic, name): (Arc<str>, Arc<str>) = (entry.topic.into(), entry.name.into());
        Arc::new(move |data| {
            Ok(Emission {
                topic: topic.clone(),
                name: name.clone(),
                envelope,
                key: key(data)?,
                body: body.fill(data)?,
                headers: Vec::new(),
            })
        })
    }

    fn wait(&mut self, entry: WaitEntry) -> Wait {
        self.pointer(&entry.by.value, entry.by.referenced);
        let key = self.key(&entry.key);
        Wait {
            topic: entry.topic.into(),
            name: entry.name.into(),
            failures: entry.fails_by.into_iter().map(Into::into).collect(),
            by: entry.by.value.into(),
            key,
        }
    }

    fn envelope(&mut self, given: Option<&Spanned<String>>) -> Envelope {
        let Some(given) = given else { return Envelope::CloudEvents };
        match &*given.value {
            "cloudevents" => Envelope::CloudEvents,
            "flat" => Envelope::Flat,
            "payload" => Envelope::Payload,
            "command" => Envelope::Command,
            "domain" => Envelope::Domain,
            "data" => Envelope::Data,
            other => {
                let known = "`cloudevents`, `flat`, `payload`, `command`, `domain` or `data`";
                self.complain(given.referenced, &format!("envelope {other:?}: {known}"));
                Envelope::CloudEvents
            }
        }
    }

    fn key(&mut self, given: &Spanned<String>) -> KeyOf {
        let template = self.template(given.referenced, &Value::String(given.value.clone()));
        Arc::new(move |data| {
            let key = template.fill(data)?;
            let key = text_of(&key).filter(|key| !key.is_empty());
            key.ok_or_else(|| "the key is no text, or empty".to_owned())
        })
    }

    fn template(&mut self, at: Location, value: &Value) -> Template {
        Template::parse(value).unwrap_or_else(|problem| {
            self.complain(at, &problem);
            Template::Fixed(Value::Null)
        })
    }

    fn equalities(
        &mut self,
        given: BTreeMap<String, Spanned<Value>>,
    ) -> Option<Vec<(String, Value)>> {
        if given.is_empty() {
            return None;
        }
        let checked = given.into_iter().map(|(pointer, value)| {
            self.pointer(&pointer, value.referenced);
            (pointer, value.value)
        });
        Some(checked.collect())
    }

    fn save(&mut self, given: BTreeMap<String, Spanned<String>>) -> Option<Save> {
        if given.is_empty() {
            return None;
        }
        let fields = given.into_iter().map(|(field, pointer)| {
            self.pointer(&pointer.value, pointer.referenced);
            (field, pointer.value)
        });
        let fields: Vec<_> = fields.collect();
        Some(Arc::new(move |data, answer| {
            let data = data.as_object_mut().ok_or("the saga's data is no object")?;
            for (field, pointer) in &fields {
                let value = answer.pointer(pointer);
                let value = value.ok_or_else(|| format!("{pointer} is missing"))?;
                data.insert(field.clone(), value.clone());
            }
            Ok(())
        }))
    }

    fn pointer(&mut self, pointer: &str, at: Location) {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            self.complain(at, &format!("{pointer:?} is no JSON pointer: `/field/field`"));
        }
    }

    fn retry(&mut self, entry: &RetryEntry, default: Retry) -> Retry {
        let mut span = |given: &Option<Spanned<String>>, default| {
            given.as_ref().and_then(|given| self.span(given)).unwrap_or(default)
        };
        let first = span(&entry.first, default.first);
        Retry::exp(first, span(&entry.longest, default.longest).max(first)).attempts(entry.times)
    }

    /// `500ms`, `5s`, `10m`, `12h`, `7d`.
    fn span(&mut self, given: &Spanned<String>) -> Option<Duration> {
        let text = given.value.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit_ms = match &text[digits..] {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        let count = text[..digits].parse::<u64>().ok().filter(|count| *count > 0);
        let ms = count.zip(unit_ms).and_then(|(count, unit): (u64, u64)| count.checked_mul(unit));
        if ms.is_none() {
            let problem = format!("{text:?} is no span of time: `500ms`, `5s`, `10m`, `12h`, `7d`");
            self.complain(given.referenced, &problem);
        }
        ms.map(Duration::from_millis)
    }
}

fn refuse(wanted: &[(String, Value)], refusal: Option<&str>, answer: &Value) -> Result<(), String> {
    let Some((at, value)) = wanted.iter().find(|(at, value)| answer.pointer(at) != Some(value))
    else {
        return Ok(());
    };
    let found = answer.pointer(at).map_or("missing".to_owned(), ToString::to_string);
    Err(refusal.map_or_else(|| format!("{at} is {found}, not {value}"), str::to_owned))
}
