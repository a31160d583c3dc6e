//! The transaction in the making: what is done and not committed, and when that is enough. Pure.

use crate::client::cluster::ToSend;
use crate::types::Monotonic;

/// Inputs of a transaction.
const INPUTS_MAX: usize = 500;
/// Bytes of a transaction.
const BYTES_MAX: usize = 8 << 20;
/// How long what is done waits for more.
const WAIT_MS: u64 = 20;
/// How long it waits for a slow record that would have to be parked for it.
const WAIT_FOR_SLOW_MS: u64 = 100;

/// What is done and not committed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<ToSend>,
    inputs: usize,
    bytes: usize,
    since: Option<Monotonic>,
    is_urgent: bool,
}

impl Batch {
    /// A record of it.
    pub(super) fn push(&mut self, record: ToSend) {
        self.bytes += record.key.as_ref().map_or(0, bytes::Bytes::len)
            + record.value.as_ref().map_or(0, bytes::Bytes::len);
        self.records.push(record);
    }

    /// An input is done.
    pub(super) fn done(&mut self, now: Monotonic) {
        self.inputs += 1;
        self.since.get_or_insert(now);
    }

    /// It is to be committed before anything else begins.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    /// Whether nothing begins before it is committed.
    pub(super) fn must_close(&self) -> bool {
        self.is_urgent || self.inputs >= INPUTS_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether nothing is done.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs == 0 && self.records.is_empty() && !self.is_urgent
    }

    /// When it closes though more is running; later where something has to be parked for that.
    pub(super) fn closes_at(&self, has_gap: bool) -> Option<Monotonic> {
        let wait = if has_gap { WAIT_FOR_SLOW_MS } else { WAIT_MS };
        self.since.map(|since| since.plus_ms(wait))
    }

    /// Whether that time has come.
    pub(super) fn is_old(&self, now: Monotonic, has_gap: bool) -> bool {
        self.closes_at(has_gap).is_some_and(|at| at <= now)
    }

    /// Its records; it is empty then.
    pub(super) fn take(&mut self) -> Vec<ToSend> {
        std::mem::take(self).records
    }
}
