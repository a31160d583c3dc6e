//! A coordinator with a journal and a clock, which checks after every step that the invariants
//! hold, that nobody is answered twice, and that a restart would bring back the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::machine::{Effects, Machine, Ticket};
use crate::txn::{Command, Coordinator, Reply, TransactionRecord, TxnConfig};
use crate::types::{Monotonic, Now, Timestamp};

/// When every harness begins.
pub(super) const BEGIN: Timestamp = Timestamp(1_000_000);

/// A coordinator and all it needs.
pub(super) struct Harness {
    pub(super) config: TxnConfig,
    pub(super) coordinator: Coordinator,
    pub(super) now: Now,
    /// Every record, as bytes.
    journal: Vec<(Bytes, Option<Bytes>)>,
    waiting: BTreeSet<Ticket>,
    steps: u32,
}

impl Harness {
    pub(super) fn new(config: TxnConfig) -> Self {
        let now = Now { wall: BEGIN, monotonic: Monotonic(0) };
        let coordinator = Coordinator::new(config.clone(), now);
        Self { config, coordinator, now, journal: Vec::new(), waiting: BTreeSet::new(), steps: 0 }
    }

    /// How many callers wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn run(
        &mut self,
        ticket: Ticket,
        command: Command,
    ) -> Effects<TransactionRecord, Reply> {
        assert!(self.waiting.insert(ticket), "tickets are used once");
        let mut effects = Effects::default();
        self.coordinator.handle(self.now, ticket, command, &mut effects);
        self.take(&effects);
        effects
    }

    /// Moves the clock to each deadline on the way and fires it, as the shell would.
    pub(super) fn advance(&mut self, ms: u64) -> Effects<TransactionRecord, Reply> {
        let end = self.now.monotonic.plus_ms(ms);
        let mut all = Effects::default();
        loop {
            let next = self.coordinator.next_deadline().filter(|at| *at <= end);
            let at = next.unwrap_or(end).max(self.now.monotonic);
            let step = at.0 - self.now.monotonic.0;
            self.now.monotonic = at;
            self.now.wall = self.now.wall.plus_ms(i64::try_from(step).unwrap());
            let mut effects = Effects::default();
            self.coordinator.tick(self.now, &mut effects);
            self.take(&effects);
            all.records.append(&mut effects.records);
            all.replies.append(&mut effects.replies);
            if next.is_none() {
                return all;
            }
            let after = self.coordinator.next_deadline();
            assert!(after.is_none_or(|after| after > at), "a deadline that is due has passed");
        }
    }

    /// Stops without notice and starts from the journal. Whoever waited is cut off.
    pub(super) fn restart(&mut self) {
        self.coordinator = self.replayed(&self.journal);
        self.waiting.clear();
        self.coordinator.check();
    }

    /// Puts a record into the journal behind the coordinator's back, and starts anew.
    pub(super) fn find(&mut self, record: &TransactionRecord) {
        self.journal.push(record.encode().unwrap());
        self.restart();
    }

    fn take(&mut self, effects: &Effects<TransactionRecord, Reply>) {
        for record in &effects.records {
            let (key, value) = record.encode().unwrap();
            let back = TransactionRecord::decode(key.clone(), value.clone());
            assert_eq!(back.as_ref(), Ok(record), "records are read as they were written");
            self.journal.push((key, value));
        }
        for (ticket, _) in &effects.replies {
            assert!(self.waiting.remove(ticket), "{ticket:?} is answered once");
        }
        self.coordinator.check();
        self.steps += 1;
        if self.steps.is_multiple_of(4) {
            self.check_replay(&self.compacted());
        }
        if self.steps.is_multiple_of(32) {
            self.check_replay(&self.journal);
        }
    }

    fn check_replay(&self, journal: &[(Bytes, Option<Bytes>)]) {
        assert_eq!(self.coordinator.durable(), self.replayed(journal).durable());
    }

    fn replayed(&self, journal: &[(Bytes, Option<Bytes>)]) -> Coordinator {
        let mut coordinator = Coordinator::new(self.config.clone(), self.now);
        for (key, value) in journal {
            let record = TransactionRecord::decode(key.clone(), value.clone()).unwrap();
            coordinator.replay(self.now, record);
            coordinator.check();
        }
        coordinator
    }

    /// The journal as log compaction leaves it: the last record of each key, in order, without
    /// tombstones.
    fn compacted(&self) -> Vec<(Bytes, Option<Bytes>)> {
        let last: BTreeMap<&Bytes, usize> =
            self.journal.iter().enumerate().map(|(at, (key, _))| (key, at)).collect();
        let kept = |(at, (key, value)): &(usize, &(Bytes, Option<Bytes>))| {
            last[key] == *at && value.is_some()
        };
        self.journal.iter().enumerate().filter(kept).map(|(_, record)| record.clone()).collect()
    }
}
