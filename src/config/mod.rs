//! Every setting of ottla, declared once: name, type, default, what is valid, and what it means.
//!
//! The tables ([`topic::TopicConfig`], [`broker::BrokerConfig`], [`group::GroupConfig`]) are made by
//! one macro; parsing, the rows of DescribeConfigs and `docs/configuration.md` all come from them.

#[macro_use]
mod keys;
pub mod accepted;
pub mod broker;
pub mod docs;
pub mod group;
pub mod listener;
pub mod load;
pub mod topic;
pub mod value;

pub use keys::{Change, ConfigError, ConfigKey, ConfigTable, Importance, KeyInfo, Synonym};
pub use value::{ConfigType, Valid};

#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod tests;
