//! Sagas: a row of steps in several services, each undone in reverse order if a later one fails. A saga is a
//! record, not replayed code: what it has done, what it waits for, its data.
//!
//! [`decide`] is the whole machine, and pure: definition, record, event and time in; record, commands, events and
//! timers out. A saga NAME lives in the consumer group `ottla-saga-NAME`, and everything that moves it comes by
//! one topic, `ottla.reply.NAME`, keyed by saga id.
//!
//! What always holds:
//! - The id of a command follows from saga, step and direction, so sending it again is no second command.
//! - An answer counts only while its command is waited for, and once.
//! - Each step that may have happened is undone, the one whose answer never came included: undoing must be
//!   idempotent, and bear that what it undoes was never done or comes after it.
//! - A saga ends once: `completed`, `compensated` or `failed`; or it is `stuck`, waits for somebody, and says why.

mod builder;
mod check;
mod definition;
mod machine;
mod moves;
mod orchestrator;
mod record;
mod template;
#[cfg(test)]
mod tests;
pub mod yaml;

pub use builder::{Saga, StepBuilder};
pub use check::DataError;
pub use definition::{Action, Answer, Definition, Step, Versions, Wait};
pub(super) use machine::digest;
pub use machine::{
    Answered, Decision, Event, Lifecycle, Operation, Timer, Verdict, Watch, command_id, decide,
};
pub use orchestrator::{Orchestrator, decision, start};
pub(super) use record::DATA_BYTES_MAX;
pub use record::{Awaiting, Entry, Outcome, Phase, Record, RecordError, Status};
