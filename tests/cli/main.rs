//! The commands as a user has them: the binary, run against a broker that the test starts, right and
//! wrong input, what it prints and its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

mod commands;
mod dead_letters;
mod groups;
mod log;
mod new;
mod records;
mod replays;
mod sagas;
mod serve;
mod services;
mod status;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "its main starts a broker")]
#[path = "../../src/cli/new/template/main.rs"]
mod template;
mod transactions;
mod txns;
mod why;
