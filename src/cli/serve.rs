//! `ottla serve`, which is `ottla` alone: the broker, and the packs of services that it is told to run.
//!
//! The first line on stdout says where it is to be reached; the ready file appears at the same time.
//! Before either, nothing is promised; from then on everything works. Logs go to stderr.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ended::Ended;
use super::output::Output;
use super::ready::Ready;
use super::settings::Settings;
use super::signals::Signals;
use super::topics_file;
use crate::broker::{Closed, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::clock::Clock;
use crate::config::load::Loaded;
use crate::embed::{DeclaredTopic, Ottla, StartError};
use crate::log::fs;
use crate::telemetry::{self, LogFormat};

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(5);
/// When it begins nothing more, in ms: what is under way may still end within [`STOP_MAX`].
const STOP_BEGINS_MAX_MS: u64 = 3_000;

/// Where each declared topic stands in its file.
type Places = BTreeMap<String, String>;

/// Threads for what must wait for the disk, cold reads above all.
const BLOCKING_THREADS_MAX: usize = 16;

/// Run the broker
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Topics to be there from the start, as a YAML file; `ottla check` checks it
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    topics: Option<PathBuf>,
    /// Write addresses and process id as JSON to this file once everything works
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    ready_json: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace or off, or a list such as
    /// info,ottla::server=debug; by default info
    #[arg(long, value_name = "LEVEL", help_heading = "Output")]
    log_level: Option<String>,
    /// How to log
    #[arg(long, value_enum, help_heading = "Output")]
    log_format: Option<LogFormatFlag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormatFlag {
    Text,
    Json,
}

impl Serve {
    /// Does it, until a signal says that it is enough.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        self.start_logs()?;
        let loaded = self.settings.load()?;
        let topics = self.declared()?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(path) = &self.ready_json {
            Ready::remove(path)?;
        }
        match fs::raise_open_files_max() {
            Ok(files) => tracing::debug!(?files, "open files allowed"),
            Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Ended::failed(format!("no runtime: {error}")))?;
        let outcome = runtime.block_on(self.serve(&loaded, topics, out));
        // Whatever still runs has been asked to end and had its time.
        runtime.shutdown_background();
        outcome
    }

    async fn serve(
        &self,
        loaded: &Loaded,
        topics: Vec<(DeclaredTopic, String)>,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let mut signals = Signals::listen()?;
        let (topics, places): (Vec<_>, Places) =
            topics.into_iter().map(|(topic, place)| (topic.clone(), (topic.name, place))).unzip();
        let builder = Ottla::builder().loaded(loaded).topics(topics);
        let ottla = tokio::select! {
            started = builder.start() => started.map_err(|error| refused(error, places))?,
            () = signals.next() => return Err(Ended::failed("stopped before it was ready")),
        };
        let ready = Ready::of(&ottla);
        if let Some(path) = &self.ready_json {
            ready.write(path)?;
        }
        // Nobody has to read the line: a closed pipe is no reason to stop.
        match out.line(&ready).and_then(|()| out.flush()) {
            Ok(()) | Err(Ended::PipeClosed) => {}
            Err(ended) => return Err(ended),
        }
        let broker = Arc::clone(ottla.broker());
        let failed = tokio::select! {
            () = signals.next() => None,
            failed = broker.journal_failed() => Some(failed),
        };
        drop(broker);
        tracing::info!("stopping");
        let stopped = stop(ottla, &mut signals).await;
        match failed {
            None => stopped,
            Some((topic, error)) => Err(Ended::failed(format!(
                "{topic} takes nothing more until the next start, and without it {} go on: {error}",
                match topic {
                    TRANSACTIONS_TOPIC => "no transactions",
                    OFFSETS_TOPIC => "no consumer groups",
                    _ => "no topics and settings",
                }
            ))),
        }
    }

    fn start_logs(&self) -> Result<(), Ended> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let level = self.log_level.clone().or_else(|| variable("OTTLA_LOG_LEVEL"));
        let format = match (self.log_format, variable("OTTLA_LOG_FORMAT").as_deref()) {
            (Some(LogFormatFlag::Json), _) | (None, Some("json")) => LogFormat::Json,
            (Some(LogFormatFlag::Text), _) | (None, Some("text") | None) => LogFormat::Text,
            (None, Some(other)) => {
                return Err(Ended::Usage(format!(
                    "OTTLA_LOG_FORMAT is {other:?}: it must be text or json"
                )));
            }
        };
        let started = telemetry::start(level.as_deref().unwrap_or("info"), format);
        started.map_err(|error| Ended::Usage(error.to_string()))
    }

    /// The topics of the file, each with its place there.
    fn declared(&self) -> Result<Vec<(DeclaredTopic, String)>, Ended> {
        let Some(path) = &self.topics else { return Ok(Vec::new()) };
        let declared = topics_file::read(path).map_err(Ended::Failed)?.into_iter();
        let topic = |topic: topics_file::Declared| {
            let declared = DeclaredTopic {
                name: topic.name,
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs: topic.configs,
            };
            (declared, topic.place)
        };
        Ok(declared.map(topic).collect())
    }
}

/// Why it did not start, and what to do.
fn refused(error: StartError, places: Places) -> Ended {
    let is_taken = error.is_taken();
    match &error {
        StartError::Topic { name, error } if places.contains_key(name) => {
            Ended::failed(format!("{}: {error}", places[name]))
        }
        StartError::Bind(_) if is_taken => Ended::Taken(format!(
            "{error}: stop what listens there, or give another --port, 0 takes a free one"
        )),
        StartError::Lock(_) if is_taken => Ended::Taken(error.to_string()),
        StartError::Config(_) | StartError::Pack(_) => Ended::Usage(error.to_string()),
        StartError::Bind(_)
        | StartError::Lock(_)
        | StartError::Open(_)
        | StartError::Topic { .. }
        | StartError::Services(_)
        | StartError::RemoteCluster
        | StartError::Internal(_) => Ended::failed(error.to_string()),
    }
}

/// Stops cleanly, as far as that is done in time; a second signal ends the process at once.
async fn stop(ottla: Ottla, signals: &mut Signals) -> Result<(), Ended> {
    let clock = Clock::system();
    let limit_ms = u64::try_from(STOP_MAX.as_millis()).unwrap_or(u64::MAX);
    tokio::select! {
        stopped = ottla.stop_within(STOP_BEGINS_MAX_MS) => match stopped {
            Ok(Closed::Clean) => Ok(()),
            Ok(Closed::Late(logs)) => {
                tracing::warn!(logs, "the disk is too slow for a clean stop in time: the next start \
                    checks these logs; what was acknowledged is safe");
                Ok(())
            }
            Err(error) => Err(Ended::failed(error.to_string())),
        },
        () = clock.sleep_ms(limit_ms) => {
            tracing::warn!("not everything had ended after {STOP_MAX:?}: the next start checks the \
                logs; what was acknowledged is safe");
            Ok(())
        }
        () = signals.next() => {
            Err(Ended::failed("ended by a second signal: what was acknowledged is safe"))
        }
    }
}
