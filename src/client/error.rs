//! What can go wrong between a client and a cluster.

use std::io;

use crate::codec::{DecodeError, EncodeError, Versions};
use crate::protocol::ErrorCode;

/// Why a call did not get its answer, or got a refusal for one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process listens at the address.
    #[error("nothing listens at {address}")]
    Refused {
        /// `HOST:PORT`.
        address: String,
    },
    /// The address itself is wrong, or the network is.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// `HOST:PORT`.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The text is no `HOST:PORT`.
    #[error("{text:?} is no address: give HOST:PORT")]
    Address {
        /// As given.
        text: String,
    },
    /// No answer in time.
    #[error("{address} did not answer {what} within {timeout_ms} ms")]
    Timeout {
        /// `HOST:PORT`.
        address: String,
        /// The API, or "the connection".
        what: &'static str,
        /// How long it was waited for.
        timeout_ms: u64,
    },
    /// The broker ended the connection instead of answering.
    #[error("{address} closed the connection instead of answering {what}")]
    Closed {
        /// `HOST:PORT`.
        address: String,
        /// The API.
        what: &'static str,
    },
    /// Any other failure of the socket.
    #[error("connection to {address} failed: {source}")]
    Io {
        /// `HOST:PORT`.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// What answers speaks something else, or TLS.
    #[error("{address} does not answer as a Kafka broker: is it the port of a PLAINTEXT listener?")]
    NotKafka {
        /// `HOST:PORT`.
        address: String,
    },
    /// The answer makes no sense.
    #[error("answer of {address} to {what} cannot be read: {source}")]
    Decode {
        /// `HOST:PORT`.
        address: String,
        /// The API.
        what: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// What was asked cannot be said to this broker.
    #[error("{what} version {version} cannot carry the request: {source}")]
    Encode {
        /// The API.
        what: &'static str,
        /// The version agreed on.
        version: i16,
        /// The field that is in the way.
        source: EncodeError,
    },
    /// Client and broker have no version in common.
    #[error("{address} has no usable version of {what}: it has {theirs}, this client {ours}")]
    Version {
        /// `HOST:PORT`.
        address: String,
        /// The API.
        what: &'static str,
        /// The broker's versions.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// The cluster refused.
    #[error("{subject}: {}", refusal(*.code, .message.as_deref()))]
    Refusal {
        /// What was refused, such as `topic orders`.
        subject: String,
        /// Kafka's code for it.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
    /// A partition that no broker leads at the moment.
    #[error("{subject} has no leader at the moment")]
    NoLeader {
        /// Such as `orders-0`.
        subject: String,
    },
    /// Bytes of a batch that are not what they should be.
    #[error("records of {subject} cannot be read: {problem}")]
    Records {
        /// Such as `orders-0 at offset 7`.
        subject: String,
        /// What is wrong.
        problem: String,
    },
}

impl ClientError {
    /// A refusal, if `code` is one.
    ///
    /// # Errors
    /// [`ClientError::Refusal`].
    pub fn check(
        subject: impl FnOnce() -> String,
        code: ErrorCode,
        message: Option<String>,
    ) -> Result<(), Self> {
        if code.is_error() {
            return Err(Self::Refusal { subject: subject(), code, message });
        }
        Ok(())
    }

    /// Kafka's code, if the cluster refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refusal { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the connection failed, not the call: the broker may be back soon, or another may have
    /// taken over.
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Connect { .. }
                | Self::Timeout { .. }
                | Self::Closed { .. }
                | Self::Io { .. }
        )
    }

    /// Whether the same call may succeed a little later: a leader or coordinator is moving.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refusal { code, .. } => is_passing(*code),
            Self::NoLeader { .. } => true,
            _ => false,
        }
    }
}

/// Whether an error means: ask again, perhaps somebody else.
pub(crate) fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NotController
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::UnstableOffsetCommit
    )
}

fn refusal(code: ErrorCode, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => format!("{} ({}): {text}", code.name(), code.code()),
        None => format!("{} ({})", code.name(), code.code()),
    }
}

/// `0-5`, as people write versions.
pub(crate) fn shown(versions: Versions) -> String {
    if versions.min > versions.max {
        return "none".to_owned();
    }
    format!("{}-{}", versions.min, versions.max)
}
