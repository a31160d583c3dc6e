//! Logs: where they go and in which form. What is logged is said where it happens.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there are no logs as asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Neither a level nor a list of targets with levels.
    #[error(
        "log level {0:?} is not valid: give off, error, warn, info, debug or trace, or a list such \
         as info,ottla::server=debug"
    )]
    Level(String),
    /// Somebody logs already in this process.
    #[error("logs are set up already")]
    Twice,
}

/// Sends the logs of this process to stderr from now on.
///
/// # Errors
/// `Level` if `level` says nothing, `Twice` after an earlier call.
pub fn start(level: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(filter(level)?)
        .with_span_events(FmtSpan::NONE);
    let started = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    started.map_err(|_| TelemetryError::Twice)
}

/// A bare word must be a level: as a target it would silently mean nothing.
fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = || TelemetryError::Level(level.to_owned());
    let is_item = |item: &str| match item.split_once('=') {
        Some((target, level)) => !target.is_empty() && LEVELS.contains(&level),
        None => LEVELS.contains(&item),
    };
    if !level.split(',').all(|item| is_item(item.trim())) {
        return Err(wrong());
    }
    EnvFilter::try_new(level).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_taken() {
        for level in ["off", "info", "warn,ottla::server=debug", "ottla=trace, info"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for level in ["", "loud", "info,", "ottla::server=loud", "=debug"] {
            let error = filter(level).map(drop);
            assert_eq!(error, Err(TelemetryError::Level(level.to_owned())), "{level}");
        }
    }
}
