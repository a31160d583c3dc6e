//! The Kafka face: sockets, frames, versions and error codes; what they mean is decided in the
//! broker.

mod budget;
mod connection;
mod context;
mod dispatch;
mod errors;
mod faults;
mod file_sender;
mod frame;
mod handlers;
mod intake;
mod listener;
mod metrics;
mod patience;
mod refusals;
#[expect(clippy::module_inception, reason = "the room is named after its main object")]
mod server;

pub use faults::{Fault, FaultRule, Faults};
pub use metrics::{ApiMetrics, ServerMetrics, TIME_BUCKETS_US};
pub use server::{BindError, Bound, Server, ServerOptions, bind};

#[cfg(test)]
mod tests;
