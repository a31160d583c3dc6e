//! Event-driven services: handlers whose table writes, events, timers and input offset are one
//! transaction, and sagas that are records instead of replayed code.
//!
//! They speak to a [`crate::client::cluster::Cluster`] and nothing else, and whatever they keep is a record in a
//! topic that any Kafka client can read.

mod cx;
mod error;
mod event;
pub mod ids;
mod policy;
mod table;
mod unit;

pub use cx::{Cx, Effects, StateView};
pub use error::{Class, Result, ServiceError, permanent, transient};
pub use event::{Command, Effect, EffectMode, Envelope, Event};
pub use policy::{AfterDead, Order, Retry};
pub use table::{Table, TableKey};
pub use unit::{Emission, Input, TimerChange, Unit};
