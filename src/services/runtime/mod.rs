//! The runtime of services: one worker a consumer group, whose unit of work is one transaction of the records that
//! it read, the tables and timers that its handlers changed, and the events that they emitted.
//!
//! The parts that decide are pure: `round` (order and offsets), `parking` (retries), `timers`, `seen` (duplicates),
//! `batch` (when to commit), `plan` (who takes a record). `session` and `flow` put them together for as long as a worker
//! has its partitions; `worker` begins the next one.

mod app;
mod batch;
mod flow;
mod gate;
mod handle;
mod intents;
mod load;
pub mod metrics;
mod origin;
mod parking;
mod plan;
mod records;
mod round;
mod runs;
mod seen;
mod session;
mod status;
mod store;
mod timers;
mod topics;
mod worker;

#[cfg(test)]
mod tests;

pub use app::{App, Running};
pub use handle::{GroupState, Handle, Looked};
pub use plan::PlanError;
