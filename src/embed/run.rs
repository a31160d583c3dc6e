//! A program of services by itself: broker and services in this process, until somebody ends it.

use tokio::signal::unix::{SignalKind, signal};

use super::Ottla;
use crate::config::load::{ConfigFile, Input, Loaded, load};
use crate::services::{App, Result, ServiceError, permanent};
use crate::telemetry::{self, LogFormat};

/// Where clients are told the cluster that they are to use.
const BOOTSTRAP_VARIABLE: &str = "KAFKA_BOOTSTRAP_SERVERS";

impl App {
    /// No services yet, to be run as the environment says: with nothing set, beside a broker in this process.
    /// `KAFKA_BOOTSTRAP_SERVERS` would have them run on that cluster, which is not there yet: [`App::run`] says so.
    pub fn from_env() -> Self {
        let servers = std::env::var(BOOTSTRAP_VARIABLE).unwrap_or_default();
        Self::new().remote(!servers.is_empty())
    }

    /// Runs the services beside a broker, with the settings of `OTTLA_CONFIG` and the environment, until Ctrl-C or
    /// SIGTERM; then both are stopped cleanly.
    ///
    /// # Errors
    /// Permanent: `settings`, `start`, `stop`, each with what was wrong.
    pub async fn run(self) -> Result {
        let ended = |error| permanent("start").because(error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ended)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(ended)?;
        let loaded = settings()?;
        // Whoever logs already goes on as it is.
        let _ = telemetry::start("info", LogFormat::Text);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let started = Ottla::builder().loaded(&loaded).app(self).start().await;
        let ottla = started.map_err(|error| permanent("start").because(error))?;
        let (kafka, services) = (ottla.bootstrap_servers(), ottla.services_address());
        tracing::info!(kafka, ?services, "ready");
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ottla.stop().await.map_err(|error| permanent("stop").because(error))
    }
}

fn settings() -> Result<Loaded> {
    let refused =
        |error: &dyn std::fmt::Display| -> ServiceError { permanent("settings").because(error) };
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment: Vec<_> = std::env::vars_os().filter_map(text).collect();
    let is_file = |(name, value): &&(String, String)| name == "OTTLA_CONFIG" && !value.is_empty();
    let file = environment.iter().find(is_file).map(|(_, path)| ConfigFile::read(path.as_ref()));
    let file = file.transpose().map_err(|error| refused(&error))?;
    load(&Input { file, environment, ..Input::default() }).map_err(|error| refused(&error))
}
