//! Event-driven services: handlers whose table writes, events, timers and input offset are one
//! transaction, and sagas that are records instead of replayed code.
//!
//! They speak to a [`crate::client::cluster::Cluster`] and nothing else, and whatever they keep is a record in a
//! topic that any Kafka client can read.

pub mod breaker;
mod cx;
pub mod dlq;
pub mod envelope;
mod error;
mod event;
pub mod http;
pub mod ids;
pub mod modules;
mod policy;
pub mod publish;
pub mod rate;
pub mod replay;
pub mod reply;
pub mod runtime;
pub mod saga;
mod service;
mod table;
pub mod testing;
mod unit;

pub use cx::{Cx, Effects, StateView};
pub use error::{Class, Result, ServiceError, permanent, transient};
pub use event::{Command, Effect, EffectMode, Envelope, Event};
pub use policy::{AfterDead, Delivery, Order, Retry};
pub use runtime::{App, Handle, PlanError, Running};
pub use service::{On, Service, service};
pub use table::{Table, TableKey};
pub use unit::{Emission, Input, TimerChange, Unit};
