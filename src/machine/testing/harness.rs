//! A machine with a journal and a clock, which checks after every step that the invariants hold, that
//! nobody is answered twice, and that a restart would bring back the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::Bytes;

use crate::machine::{Effects, Machine, Ticket};
use crate::types::{Monotonic, Now, Timestamp};

/// Steps between two restarts from the compacted journal.
const COMPACTED_STEPS: u32 = 4;
/// Steps between two restarts from the whole journal, which takes longer.
const WHOLE_STEPS: u32 = 32;

/// What a machine says of itself to be tested.
pub(crate) trait Tested: Machine<Record: Clone + Debug + PartialEq> + Sized {
    type Config: Clone;

    fn start(config: &Self::Config, now: Now) -> Self;

    /// Fails where an invariant does not hold.
    fn check(&self);

    /// Key and value as the journal keeps them; `None` for what it keeps in another form.
    fn encode(record: &Self::Record) -> Option<(Bytes, Option<Bytes>)>;

    /// The record again; `written` tells how it was kept.
    fn decode(written: &Self::Record, key: Bytes, value: Option<Bytes>) -> Self::Record;

    /// Fails unless `restarted` has everything that is durable in this one.
    fn assert_same(&self, restarted: &Self);

    /// The journal as log compaction leaves it: the last record of each key, in order, without
    /// tombstones.
    fn compact(journal: &[Written<Self::Record>]) -> Vec<Self::Record> {
        let keys = journal.iter().enumerate().map(|(at, written)| (&written.key, at));
        let last: BTreeMap<&Option<Bytes>, usize> = keys.collect();
        let all = journal.iter().enumerate();
        let kept = all.filter(|(at, written)| last[&written.key] == *at && written.has_value);
        kept.map(|(_, written)| written.record.clone()).collect()
    }

    /// Fails where the state is not what a reader of the journal makes of it.
    fn check_journal(&self, _journal: &[Written<Self::Record>]) {}
}

/// A record in the journal.
pub(crate) struct Written<Record> {
    pub(crate) record: Record,
    /// `None` for what is kept without one.
    pub(crate) key: Option<Bytes>,
    pub(crate) has_value: bool,
}

/// A machine and all it needs.
pub(crate) struct Harness<M: Tested> {
    pub(crate) config: M::Config,
    pub(crate) machine: M,
    pub(crate) now: Now,
    journal: Vec<Written<M::Record>>,
    waiting: BTreeSet<Ticket>,
    steps: u32,
}

/// When every harness begins.
pub(crate) const BEGIN: Timestamp = Timestamp(1_000_000);

impl<M: Tested> Harness<M> {
    pub(crate) fn new(config: M::Config) -> Self {
        let now = Now { wall: BEGIN, monotonic: Monotonic(0) };
        let machine = M::start(&config, now);
        let (journal, waiting) = (Vec::new(), BTreeSet::new());
        Self { config, machine, now, journal, waiting, steps: 0 }
    }

    /// How many callers wait.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn run(
        &mut self,
        ticket: Ticket,
        command: M::Command,
    ) -> Effects<M::Record, M::Reply> {
        assert!(self.waiting.insert(ticket), "tickets are used once");
        let mut effects = Effects::default();
        self.machine.handle(self.now, ticket, command, &mut effects);
        self.take(&effects);
        effects
    }

    /// Moves the clock to each deadline on the way and fires it, as the shell would.
    pub(crate) fn advance(&mut self, ms: u64) -> Effects<M::Record, M::Reply> {
        let end = self.now.monotonic.plus_ms(ms);
        let mut all = Effects::default();
        loop {
            let next = self.machine.next_deadline().filter(|at| *at <= end);
            let at = next.unwrap_or(end).max(self.now.monotonic);
            let step = at.0 - self.now.monotonic.0;
            self.now.monotonic = at;
            self.now.wall = self.now.wall.plus_ms(i64::try_from(step).unwrap());
            let mut effects = Effects::default();
            self.machine.tick(self.now, &mut effects);
            self.take(&effects);
            all.records.append(&mut effects.records);
            all.replies.append(&mut effects.replies);
            if next.is_none() {
                return all;
            }
            let after = self.machine.next_deadline();
            assert!(after.is_none_or(|after| after > at), "a deadline that is due has passed");
        }
    }

    /// Stops without notice and starts from the journal. Whoever waited is cut off.
    pub(crate) fn restart(&mut self) {
        self.machine = self.replayed(self.journal.iter().map(|written| &written.record));
        self.waiting.clear();
        self.machine.check();
    }

    /// Puts a record into the journal behind the machine's back, and starts anew.
    pub(crate) fn find(&mut self, record: &M::Record) {
        self.write(record);
        self.restart();
    }

    fn write(&mut self, record: &M::Record) {
        let encoded = M::encode(record);
        if let Some((key, value)) = encoded.clone() {
            let back = M::decode(record, key, value);
            assert_eq!(&back, record, "records are read as they were written");
        }
        let has_value = encoded.as_ref().is_some_and(|(_, value)| value.is_some());
        let (record, key) = (record.clone(), encoded.map(|(key, _)| key));
        self.journal.push(Written { record, key, has_value });
    }

    fn take(&mut self, effects: &Effects<M::Record, M::Reply>) {
        effects.records.iter().for_each(|record| self.write(record));
        for (ticket, _) in &effects.replies {
            assert!(self.waiting.remove(ticket), "{ticket:?} is answered once");
        }
        self.machine.check();
        self.steps += 1;
        if self.steps.is_multiple_of(COMPACTED_STEPS) {
            self.machine.assert_same(&self.replayed(&M::compact(&self.journal)));
            self.machine.check_journal(&self.journal);
        }
        if self.steps.is_multiple_of(WHOLE_STEPS) {
            let whole = self.journal.iter().map(|written| &written.record);
            self.machine.assert_same(&self.replayed(whole));
        }
    }

    fn replayed<'a>(&self, journal: impl IntoIterator<Item = &'a M::Record>) -> M
    where
        M::Record: 'a,
    {
        let mut machine = M::start(&self.config, self.now);
        for record in journal {
            machine.replay(self.now, record.clone());
            machine.check();
        }
        machine
    }
}
