//! The coordinator by scripts (`testdata/*.txt`), by random operations against a model and its
//! invariants, and by the journal that Apache Kafka wrote.

mod harness;
mod random;
mod records;
mod script;
mod scripts;
