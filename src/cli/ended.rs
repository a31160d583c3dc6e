//! How a command ends when it does not just end, and the exit code that goes with it.

use std::io;
use std::process::ExitCode;

use super::output::tell;
use crate::client::ClientError;

/// Why a command did not do all it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It failed; each text is a sentence for the user. Exit code 1.
    Failed(Vec<String>),
    /// It was asked wrongly. Exit code 2.
    Usage(String),
    /// Its port or data folder is in use. Exit code 3.
    Taken(String),
    /// Whoever read its output has gone. Exit code 0.
    PipeClosed,
}

impl Ended {
    /// A failure with one sentence.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(vec![text.into()])
    }

    /// A failure if there are complaints.
    ///
    /// # Errors
    /// [`Ended::Failed`] with all of them.
    pub(crate) fn unless_empty(complaints: Vec<String>) -> Result<(), Self> {
        if complaints.is_empty() { Ok(()) } else { Err(Self::Failed(complaints)) }
    }

    /// Tells the user, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (texts, code) = match self {
            Self::Failed(texts) => (texts, 1),
            Self::Usage(text) => (vec![text], 2),
            Self::Taken(text) => (vec![text], 3),
            Self::PipeClosed => (Vec::new(), 0),
        };
        for text in texts {
            tell(format_args!("error: {text}"));
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Ended {
    /// Of the output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::failed(format!("output cannot be written: {error}")),
        }
    }
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Self::failed(explained(&error))
    }
}

/// The error, and what the user can do about it.
pub(crate) fn explained(error: &ClientError) -> String {
    let advice = match error {
        ClientError::Refused { .. } => "start `ottla`, or give --bootstrap-server HOST:PORT",
        ClientError::Connect { .. } => "check --bootstrap-server",
        ClientError::Closed { .. } => {
            "this command speaks PLAINTEXT without a login, does the listener want more?"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {advice}")
}
