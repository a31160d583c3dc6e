//! The commands as a user has them: the binary, run against a broker that the test starts, right and
//! wrong input, what it prints and its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

mod commands;
mod groups;
mod log;
mod records;
mod serve;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod txns;
mod why;
