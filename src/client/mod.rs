//! A Kafka client over our own codec, for the command line and for what runs above a broker: it
//! works with ottla and with Apache Kafka from 2.0 on, over PLAINTEXT.
//!
//! ```text
//! let bootstrap = Address::parse_list("localhost:9092")?;
//! let mut client = Client::connect(&bootstrap, Clock::system(), Options::default()).await?;
//! for topic in client.cluster(None).await?.topics { .. }
//! ```
//!
//! A [`Client`] is a value without tasks behind it: it does what it is told while it is told, so
//! nothing has to be stopped. Everything that comes from the network is bounded: the length of
//! answers, the counts in them, and what batches unpack to.

mod address;
mod assignor;
pub mod cluster;
mod connection;
pub mod crash_points;
pub mod embedded;
mod error;
mod fetch;
mod groups;
mod member;
mod offsets;
mod produce;
#[cfg(test)]
mod tests;
mod topics;
mod transaction_writer;
mod transactions;
mod wire;

pub use address::Address;
pub use assignor::{assigned, subscribed};
pub use connection::{Connection, Options, Sent};
pub use error::ClientError;
pub use fetch::{Fetched, Isolation};
pub use groups::Committer;
pub use member::{HEARTBEAT_INTERVAL_MS, Member, Standing};
pub use offsets::Position;
pub use produce::{Acks, Outgoing, partition_of};
pub use topics::{CreatedTopic, Mode, NewTopic};
pub use transaction_writer::TransactionWriter;
pub use transactions::{ListedTransaction, ListedTransactions, TransactionFilter};
pub use wire::{Client, Cluster, NamedPartition};
