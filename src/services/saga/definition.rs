//! What a saga is made of, whoever wrote it: functions from JSON data to commands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::check::DataError;
use crate::services::policy::Retry;
use crate::services::unit::Emission;

/// How long an answer is waited for where nothing else is said.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Where the life of sagas is told.
pub(super) const LIFECYCLE_TOPIC: &str = "saga_domain_events";

/// Makes a command of the saga's data; the text says why it cannot.
pub(super) type Build = Arc<dyn Fn(&Value) -> Result<Emission, String> + Send + Sync>;
/// Changes the saga's data by the answer's body.
pub(super) type Save = Arc<dyn Fn(&mut Value, &Value) -> Result<(), String> + Send + Sync>;
/// Whether a saga can be begun with this data.
pub(super) type DataCheck = Arc<dyn Fn(&Value) -> Result<(), DataError> + Send + Sync>;
/// Whether an answer will do; the text says why not.
pub(super) type Check = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;
/// Whether a step is wanted with this data.
pub(super) type Condition = Arc<dyn Fn(&Value) -> Result<bool, String> + Send + Sync>;
/// Reads a text from the saga's data.
pub(super) type KeyOf = Arc<dyn Fn(&Value) -> Result<String, String> + Send + Sync>;

/// A saga of one version.
#[derive(Clone)]
pub struct Definition {
    /// Its name: group, topics and table are called after it.
    pub name: Arc<str>,
    /// A running saga keeps to the version that it began with.
    pub version: u32,
    /// `POST /path`, where it is started by HTTP.
    pub http: Option<Arc<str>>,
    /// How long it may take until everything is undone.
    pub deadline: Option<Duration>,
    /// Where its life is told.
    pub lifecycle_topic: Arc<str>,
    /// In their order; at least one, no name twice.
    pub steps: Vec<Step>,
    /// The field of the data that says what a saga is about. Where it is missing at the start it is the saga's
    /// id; it is told with every event of the saga's life.
    pub about: Option<Arc<str>>,
    /// Whether data is what the saga works with.
    pub(super) check: DataCheck,
}

/// A step.
#[derive(Clone)]
pub struct Step {
    /// Its name.
    pub name: Arc<str>,
    /// What is done.
    pub run: Action,
    /// What undoes it.
    pub undo: Option<Action>,
    /// Whether it is wanted; always, if none.
    pub(super) when: Option<Condition>,
    /// Whether the answer will do; if not, the step has failed, and is undone.
    pub(super) require: Option<Check>,
    /// What is kept of the answer.
    pub(super) save: Option<Save>,
}

/// A command, and how its answer comes.
#[derive(Clone)]
pub struct Action {
    /// The command; a step may also do nothing but wait.
    pub(super) build: Option<Build>,
    /// How the answer comes.
    pub answer: Answer,
    /// How long it is waited for.
    pub timeout: Duration,
    /// How often the command is sent again when no answer came in time.
    pub resend: u32,
    /// How often, and after which pauses, it is sent again where the answer was that it may go well another time.
    /// For undoing, every failure counts.
    pub retry: Retry,
    /// For undoing: the field of the command's body that says why the saga turned back.
    pub reason_field: Option<Arc<str>>,
}

/// How the answer to a command comes.
#[derive(Clone)]
pub enum Answer {
    /// To the saga's reply topic.
    Reply,
    /// As an event that anybody may read.
    Event(Wait),
    /// Not at all: the saga goes on at once.
    None,
}

/// An event that is waited for.
#[derive(Clone)]
pub struct Wait {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Names of events of that topic which mean that it failed.
    pub failures: Vec<Arc<str>>,
    /// Where in the event the key is, as a JSON pointer; not needed where the event names the saga.
    pub by: Arc<str>,
    /// The key that this saga waits for.
    pub(super) key: KeyOf,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        f.debug_struct("Definition")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}

impl Definition {
    /// Whether a saga can be begun with this data.
    ///
    /// # Errors
    /// The first field that is wrong, and why.
    pub fn check(&self, data: &Value) -> Result<(), DataError> {
        match self.with_about(data, "new") {
            Some(filled) => (self.check)(&filled),
            None => (self.check)(data),
        }
    }

    /// The data with what the saga is about, where it does not say that itself.
    pub(super) fn with_about(&self, data: &Value, saga_id: &str) -> Option<Value> {
        let field = self.about.as_deref()?;
        let fields = data.as_object().filter(|all| all.get(field).is_none_or(Value::is_null))?;
        let mut filled = fields.clone();
        filled.insert(field.to_owned(), saga_id.into());
        Some(Value::Object(filled))
    }

    /// The consumer group.
    pub fn group(&self) -> String {
        format!("ottla-saga-{}", self.name)
    }

    /// The topic by which everything comes to it.
    pub fn inbox(&self) -> String {
        inbox(&self.name)
    }

    /// Topics of the events that it waits for.
    pub fn event_topics(&self) -> Vec<Arc<str>> {
        let mut topics: Vec<_> = self.waits().map(|wait| wait.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The events that it waits for.
    pub(super) fn waits(&self) -> impl Iterator<Item = &Wait> {
        self.steps.iter().flat_map(Step::actions).filter_map(|action| match &action.answer {
            Answer::Event(wait) => Some(wait),
            Answer::Reply | Answer::None => None,
        })
    }

    pub(super) fn step(&self, name: &str) -> Option<(usize, &Step)> {
        self.steps.iter().enumerate().find(|(_, step)| &*step.name == name)
    }

    /// What is wrong with it as a whole.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn complaint(&self) -> Option<String> {
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if !is_name(&self.name) {
            return Some(format!(
                "saga name {:?}: letters, digits, `.`, `_` and `-`, at most 100 of them",
                self.name
            ));
        }
        if self.steps.is_empty() {
            return Some(format!("saga {} has no steps", self.name));
        }
        let mut names: Vec<_> = self.steps.iter().map(|step| &*step.name).collect();
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            return Some(format!("saga {}: step name {bad:?}: see saga names", self.name));
        }
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1])?;
        Some(format!("saga {} has two steps {}", self.name, twice[0]))
    }
}

/// The topic by which everything comes to the sagas of this name.
pub(super) fn inbox(name: &str) -> String {
    format!("ottla.reply.{name}")
}

impl Step {
    fn actions(&self) -> impl Iterator<Item = &Action> {
        std::iter::once(&self.run).chain(&self.undo)
    }
}

impl Action {
    /// A command that is answered to the saga's reply topic.
    pub(super) fn command(build: Build) -> Self {
        Self { build: Some(build), ..Self::wait(Answer::Reply) }
    }

    /// No command.
    pub(super) fn wait(answer: Answer) -> Self {
        Self {
            build: None,
            answer,
            timeout: TIMEOUT,
            resend: 0,
            retry: Retry::default(),
            reason_field: None,
        }
    }

    /// The same, as undoing is done: patiently.
    pub(super) fn patient(self) -> Self {
        let retry = Retry::exp(Duration::from_secs(1), Duration::from_secs(60)).attempts(9);
        Self { retry, ..self }
    }
}

/// The versions of one saga that are known here.
#[derive(Clone, Debug)]
pub struct Versions {
    name: Arc<str>,
    by_version: BTreeMap<u32, Arc<Definition>>,
    kept: Option<Duration>,
}

impl Versions {
    /// One version.
    ///
    /// # Errors
    /// What is wrong with it, a sentence.
    pub fn of(definition: impl Into<Definition>) -> Result<Self, String> {
        let definition = definition.into();
        let name = definition.name.clone();
        Self { name, by_version: BTreeMap::new(), kept: None }.and(definition)
    }

    /// With another one, so that sagas which began with it come to their end.
    ///
    /// # Errors
    /// What is wrong with it, a sentence; another saga, or a version that is there already.
    pub fn and(mut self, definition: impl Into<Definition>) -> Result<Self, String> {
        let definition = definition.into();
        if let Some(complaint) = definition.complaint() {
            return Err(complaint);
        }
        if definition.name != self.name {
            return Err(format!("saga {} is no version of {}", definition.name, self.name));
        }
        let version = definition.version;
        if self.by_version.insert(version, Arc::new(definition)).is_some() {
            return Err(format!("saga {} has version {version} twice", self.name));
        }
        Ok(self)
    }

    /// Sagas that have ended go after so long; without this they stay for ever.
    #[must_use]
    pub fn keep(mut self, kept: Duration) -> Self {
        self.kept = Some(kept);
        self
    }

    /// How long sagas that have ended are kept.
    pub fn kept(&self) -> Option<Duration> {
        self.kept
    }

    /// The saga's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What new sagas go by.
    pub fn newest(&self) -> &Arc<Definition> {
        let (_, newest) = self.by_version.last_key_value().expect("made with one, and never less");
        newest
    }

    /// What a saga of this version goes by.
    pub fn get(&self, version: u32) -> Option<&Arc<Definition>> {
        self.by_version.get(&version)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_version.values()
    }
}
