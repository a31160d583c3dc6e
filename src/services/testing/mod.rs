//! For tests of services: a cluster that is a value in memory.

mod groups;
mod memory;

pub use memory::{CommitFault, MemoryCluster};
