//! The coordinator by scripts (`testdata/*.txt`), by random operations against its invariants, and
//! by the journal that Apache Kafka wrote.

mod harness;
mod random;
mod script;
mod scripts;

pub(super) use harness::Durable;
