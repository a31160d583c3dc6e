//! Conformance on the wire: what a broker answers, byte by byte and rule by rule, to requests that
//! real clients send and to some that none should. The rules are Apache Kafka's, so these tests can
//! be run against one: see `broker.rs`.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "a test looks into a data folder of its own")]
#![allow(unreachable_pub, reason = "a small library of their own to the test files")]

mod batch;
#[allow(dead_code, reason = "other test binaries use the rest")]
mod broker;
mod client;
#[path = "../support/kafka_folder.rs"]
mod kafka_folder;
mod kit;
mod script;

mod api_versions;
mod compaction;
mod configs;
mod connections;
mod descriptions;
mod faults;
mod fetch;
mod group;
mod group_admin;
mod group_join;
mod group_offsets;
mod group_offsets_by_id;
mod group_states;
mod idempotence;
mod limits;
mod metadata;
mod offsets;
mod patience;
mod produce;
mod produce_checks;
mod read_committed;
mod timestamps;
mod topics;
mod transaction_offsets;
mod txn;
mod txn_back_to_back;
mod vectors;
mod versions;
