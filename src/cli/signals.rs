//! Ctrl-C and SIGTERM, as one stream of requests to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ended::Ended;

/// From here on the two signals do not kill the process: somebody must look at them.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// `Failed` if the system does not allow it.
    pub(crate) fn listen() -> Result<Self, Ended> {
        let take = |kind| {
            signal(kind).map_err(|error| Ended::failed(format!("no signal handler: {error}")))
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Returns at the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
