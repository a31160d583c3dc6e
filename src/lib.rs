//! ottla: a whole Kafka stack in one process, for one machine.
//!
//! The rooms, from the ones that know least to the ones that know most; each may use those before
//! it (`tests/tidy.rs` holds the exact rule).
//!
//! # Transactions in process
//!
//! A program that embeds ottla reads, works and writes exactly once without a socket: the records it
//! makes and the offsets of those it made them from are one transaction, the same as any Kafka client's
//! ([`broker::TransactionalProducer`]). Whoever takes the transactional id next fences this producer and
//! aborts what it left open.
//!
//! ```no_run
//! use ottla::broker::{GroupOffsets, PartitionRecords, TopicRef, TransactionWrites};
//! use ottla::groups::PartitionCommit;
//! use ottla::records::{BatchBuilder, NewRecord};
//! use ottla::types::{Offset, PartitionIndex};
//!
//! # async fn example(ottla: ottla::Ottla) -> Result<(), Box<dyn std::error::Error>> {
//! let broker = ottla.broker();
//! let mut producer = broker.transactional_producer("billing-0", 60_000).await?;
//! let mut records = BatchBuilder::new();
//! let (timestamp, value) = (broker.clock.now().wall, Some(b"paid".as_slice()));
//! records.push(&NewRecord { timestamp, key: Some(b"order-1"), value, headers: &[] });
//! let topic = TopicRef::Name("payments".to_owned());
//! let next = PartitionCommit {
//!     partition: PartitionIndex(0),
//!     offset: Offset(42),
//!     leader_epoch: None,
//!     metadata: String::new(),
//! };
//! let written = producer.write(TransactionWrites {
//!     records: vec![PartitionRecords { topic, partition: PartitionIndex(0), records }],
//!     offsets: vec![GroupOffsets {
//!         group_id: "billing".to_owned(),
//!         member: None,
//!         offsets: vec![("orders".to_owned(), vec![next])],
//!     }],
//! });
//! match written.await {
//!     Ok(_) => producer.commit().await?, // On disk: all of it, or none.
//!     Err(_) => producer.abort().await?,
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Readers ask [`broker::Broker::fetch_later`] with `Isolation::ReadCommitted` and take what counts out of
//! [`broker::Fetched::records`].

// Derived code says `::ottla`, here as well.
extern crate self as ottla;

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
pub mod prelude;
pub mod protocol;
pub mod records;
pub mod server;
pub mod services;
pub mod telemetry;
pub mod txn;
pub mod types;

pub use embed::{Builder, DeclaredTopic, Ottla, StartError, StopError};
pub use server::{Fault, FaultRule};
