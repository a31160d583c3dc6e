//! `ottla completions`: a script that teaches a shell our commands.

use clap::CommandFactory;
use clap_complete::aot::{Bash, Fish, Generator, Zsh, generate};

use super::Cli;
use super::ended::Ended;
use super::output::Output;

/// Print a completion script for a shell
///
/// For bash: ottla completions bash > ~/.local/share/bash-completion/completions/ottla
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// Does it.
    ///
    /// # Errors
    /// See [`Output::bytes`].
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        let script = match self.shell {
            Shell::Bash => script(Bash),
            Shell::Zsh => script(Zsh),
            Shell::Fish => script(Fish),
        };
        out.bytes(&script)
    }
}

fn script(shell: impl Generator) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "ottla", &mut script);
    script
}
