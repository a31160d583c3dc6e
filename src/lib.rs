//! ottla: a whole Kafka stack in one process, for one machine.
//!
//! The rooms, from the ones that know least to the ones that know most; each may use those before
//! it (`tests/tidy.rs` holds the exact rule).

pub mod broker;
pub mod catalog;
pub mod cli;
pub mod client;
pub mod clock;
pub mod codec;
pub mod config;
pub mod embed;
pub mod groups;
pub mod http;
pub mod ids;
pub mod log;
pub mod machine;
pub mod partition;
pub mod protocol;
pub mod records;
pub mod server;
pub mod services;
pub mod telemetry;
pub mod txn;
pub mod types;

pub use embed::{Builder, DeclaredTopic, Ottla, StartError, StopError};
pub use server::{Fault, FaultRule};
