//! How a handler fails: in a way that may pass, or in one that will not.

use std::fmt;

/// What handlers return.
pub type Result<T = (), E = ServiceError> = std::result::Result<T, E>;

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A network, a database, somebody else's service: tried again, with growing pauses.
    Transient,
    /// The event itself: to the dead letters at once.
    Permanent,
}

impl Class {
    /// As headers and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// Why a handler did not do its work. Nothing that it wrote, emitted or scheduled takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// Whether trying again can help.
    pub class: Class,
    /// In a word, the same for all that fail alike: `timeout`, `over-limit`; dead letters are grouped by it.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl std::error::Error for ServiceError {}

impl ServiceError {
    /// The same, told in more words.
    #[must_use]
    pub fn because(mut self, message: impl fmt::Display) -> Self {
        self.message = message.to_string();
        self
    }
}

/// A failure that may pass.
pub fn transient(reason: impl Into<String>) -> ServiceError {
    ServiceError { class: Class::Transient, reason: reason.into(), message: String::new() }
}

/// A failure that trying again does not mend.
pub fn permanent(reason: impl Into<String>) -> ServiceError {
    ServiceError { class: Class::Permanent, reason: reason.into(), message: String::new() }
}
