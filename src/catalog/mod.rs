//! What the cluster is made of: topics with their partitions and settings, the brokers' dynamic
//! settings, groups' settings, features and producer id blocks.
//!
//! Kept as records of `__cluster_metadata` in Kafka's own format. Every change is first decided
//! (the `decide` functions look and return records, and change nothing), then written, then
//! replayed: [`Catalog::replay`] is the only thing that changes a catalog, live and at start.
//! No file, no lock, no clock and no wire type is here.

mod alter;
mod create;
mod describe;
mod error;
mod model;
mod names;
pub mod records;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;

pub use alter::{ConfigChange, ConfigOperation};
pub use create::{CreatedTopic, GivenConfigs, NewPartitions, NewTopic, TopicRef};
pub use describe::{ConfigRow, ConfigSource, ConfigSynonym};
pub use error::CatalogError;
pub use model::{Catalog, Change, ConfigResource, Partition, ProducerIdBlock, Setup, Topic};
pub use names::{check_name, is_internal};
pub use records::CatalogRecord;
