//! Disks that fail, forget and lie, under a whole broker: which call, which bit, which byte.
//!
//! The disk is one in memory that fails on command (`log::fs::FaultyFs`). `OTTLA_FAULT_CALLS=N` lets
//! the first N calls fail in every way (of transactions: all), `OTTLA_FAULT_AT=N` only the n-th one of
//! a life with transactions; `OTTLA_FLIPS=N` flips N bits, `OTTLA_SEED` says which.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "the disk is one of the test's own")]

mod calls;
#[path = "../checker/mod.rs"]
mod checker;
mod flips;
mod run;
mod snapshots;
mod tails;
mod transactions;

use std::future::Future;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One step of a small generator; a failure is repeated with the seed that was printed.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
