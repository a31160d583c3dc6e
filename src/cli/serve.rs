//! `ottla serve`, which is `ottla` alone: the broker.

use super::ended::Ended;
use super::output::Output;
use super::settings::Settings;

/// Run the broker
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) fn run(self, _out: &mut Output) -> Result<(), Ended> {
        self.settings.load()?;
        Err(Ended::failed("this build has no broker yet"))
    }
}
