//! A saga's record, as it lies in the compacted topic `ottla.saga.NAME`: JSON, keyed by saga id.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::types::Timestamp;

/// Bytes that a record may have: what a topic takes where nobody has changed it.
pub(super) const RECORD_BYTES_MAX: usize = 1_000_000;
/// Bytes of a saga's data, so that the rest of its record always has room.
pub(in crate::services) const DATA_BYTES_MAX: usize = 600_000;
/// Accepted answers that are remembered.
const REPLIES_MAX: usize = 16;
/// Entries of the history; further ones take the place of the last.
const HISTORY_MAX: usize = 128;
/// Characters of a text that comes from outside.
const TEXT_MAX: usize = 200;

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its steps are being done.
    Running,
    /// All of them are.
    Completed,
    /// What was done is being undone.
    Compensating,
    /// It is.
    Compensated,
    /// It ended without its purpose, and nothing was there to undo; or it was abandoned.
    Failed,
    /// It cannot go on by itself: somebody has to decide.
    Stuck,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Completed,
        Self::Compensating,
        Self::Compensated,
        Self::Failed,
        Self::Stuck,
    ];

    /// As records and events have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_end(self) -> bool {
        match self {
            Self::Completed | Self::Compensated | Self::Failed => true,
            Self::Running | Self::Compensating | Self::Stuck => false,
        }
    }
}

/// The direction in which a saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Steps are done.
    Run,
    /// Steps are undone.
    Undo,
}

impl Phase {
    /// As records have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Undo => "undo",
        }
    }
}

/// How a try of a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Well.
    Done,
    /// It was not done.
    Failed,
    /// Nobody knows.
    Unknown,
    /// It was not wanted, or somebody said so.
    Skipped,
}

/// An answer that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaiting {
    /// The command's id.
    pub command_id: String,
    /// How often it was sent.
    pub attempt: u32,
    /// How often that was because the answer was `retry`, or undoing failed.
    pub retries: u32,
    /// How often because no answer came in time.
    pub resends: u32,
    /// Whether it is not sent yet again: that happens when it is due.
    pub is_pausing: bool,
    /// When the wait, or the pause, ends.
    pub due: Timestamp,
    /// The key of the event that is waited for, where that is the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
}

/// A line of the history: a step in one direction, or what somebody decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The step.
    pub step: String,
    /// The direction.
    pub phase: Phase,
    /// When it began.
    pub started_at: Timestamp,
    /// When its outcome was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How often its command was sent.
    pub attempt: u32,
    /// How it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it did not go well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who answered or decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// A saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub saga_id: String,
    /// What it is an instance of.
    pub name: String,
    /// The version that it goes by.
    pub version: u32,
    /// Where it stands.
    pub status: Status,
    /// Why it turned back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it cannot go on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck_because: Option<String>,
    /// The step in hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The direction.
    pub phase: Phase,
    /// Steps that are done, or may be, and not undone.
    pub done: Vec<String>,
    /// What it works with.
    pub data: Value,
    /// The answer that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<Awaiting>,
    /// What it belongs to as a whole.
    pub correlation_id: String,
    /// W3C traceparent, if it began with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When it is undone if it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Ids of the answers that were accepted last.
    pub replies: Vec<String>,
    /// What has happened.
    pub history: Vec<Entry>,
    /// What tells a repeated start from another saga under the same id.
    pub start_digest: String,
}

/// Why a record cannot be kept, or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too large.
    #[error(
        "saga {saga_id} has {size} bytes, {RECORD_BYTES_MAX} are allowed: keep large things elsewhere and their \
         names in its data"
    )]
    TooLarge {
        /// Which.
        saga_id: String,
        /// Its bytes.
        size: usize,
    },
    /// No saga.
    #[error("not the record of a saga: {0}")]
    Unreadable(String),
}

impl Record {
    /// The record's value in its topic.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`].
    pub fn encode(&self) -> Result<Bytes, RecordError> {
        let bytes =
            serde_json::to_vec(self).map_err(|error| RecordError::Unreadable(error.to_string()))?;
        if bytes.len() > RECORD_BYTES_MAX {
            let saga_id = self.saga_id.clone();
            return Err(RecordError::TooLarge { saga_id, size: bytes.len() });
        }
        Ok(Bytes::from(bytes))
    }

    /// Reads the value of a record.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        serde_json::from_slice(bytes).map_err(|error| RecordError::Unreadable(error.to_string()))
    }

    /// Remembers an accepted answer.
    pub(super) fn remember(&mut self, reply_id: &str) {
        if self.replies.len() >= REPLIES_MAX {
            self.replies.remove(0);
        }
        self.replies.push(short(reply_id));
    }

    /// Whether an answer was accepted before, as far as that is remembered.
    pub(super) fn has_accepted(&self, reply_id: &str) -> bool {
        let reply_id = short(reply_id);
        self.replies.contains(&reply_id)
    }

    /// Begins a line of the history.
    pub(super) fn begin(&mut self, step: &str, phase: Phase, now: Timestamp) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop();
        }
        self.history.push(Entry {
            step: step.to_owned(),
            phase,
            started_at: now,
            ended_at: None,
            attempt: 0,
            outcome: None,
            reason: None,
            actor: None,
        });
    }

    /// Ends the line that was begun last.
    pub(super) fn close(&mut self, outcome: Outcome, why: Why<'_>, now: Timestamp) {
        if let Some(entry) = self.history.last_mut() {
            entry.ended_at = Some(now);
            entry.outcome = Some(outcome);
            entry.reason = why.reason.map(short);
            entry.actor = why.actor.map(short);
        }
    }
}

/// Who made it so, and why.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Why<'a> {
    pub(super) reason: Option<&'a str>,
    pub(super) actor: Option<&'a str>,
}

/// The beginning of a text.
pub(super) fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}
