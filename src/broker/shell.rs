//! The one async driver of the state machines: gives them commands and time, appends what they
//! decide to their journal, and lets an answer go only when everything it rests on is durable.
//!
//! A reply carries the journal's end at the moment it was made, its own records included, and the
//! caller waits until the journal is durable up to there. So nobody ever sees a state that a crash
//! could take back, though the machine's own state is ahead of the disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot, watch};

use crate::clock::Clock;
use crate::machine::{Effects, Machine, Ticket};
use crate::partition::{AppendError, Journal, JournalEntry};
use crate::types::Offset;

/// Bytes of records that may wait for room on the disk; beyond, the journal is given up until restart.
const BACKLOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a command got no answer from its machine.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// What it decided could not be stored.
    #[error("not stored: {0}")]
    Storage(String),
    /// The broker stops.
    #[error("the broker stops")]
    Stopping,
    /// A fault of ours.
    #[error("the answer is to another command")]
    WrongReply,
}

impl From<AppendError> for ShellError {
    fn from(error: AppendError) -> Self {
        Self::Storage(error.to_string())
    }
}

/// Drives one machine over one journal.
pub struct Shell<M: Machine> {
    state: Mutex<State<M>>,
    journal: Journal,
    encode: Encode<M::Record>,
    clock: Clock,
    deadline_moved: Notify,
}

struct State<M: Machine> {
    machine: M,
    /// What the machine has applied and the journal had no room for: it goes first.
    backlog: Vec<JournalEntry>,
    waiting: HashMap<Ticket, oneshot::Sender<Answer<M::Reply>>>,
    next_ticket: u64,
    /// Timers fire no more: what cannot be answered at once never will be.
    is_stopped: bool,
}

/// How a machine's record is written; an error is a fault of ours.
pub(super) type Encode<Record> = fn(&Record) -> Result<JournalEntry, String>;

/// A command whose answer is to come.
#[must_use = "an answer that nobody waits for may not be durable"]
pub struct Asked<Reply>(oneshot::Receiver<Answer<Reply>>);

/// A reply and the journal's end that it rests on, or why it could not be stored.
type Answer<Reply> = Result<(Reply, Offset), ShellError>;

impl<M: Machine> Shell<M> {
    /// A machine that has replayed its journal already.
    pub fn new(machine: M, journal: Journal, encode: Encode<M::Record>, clock: Clock) -> Self {
        let state = State {
            machine,
            backlog: Vec::new(),
            waiting: HashMap::new(),
            next_ticket: 0,
            is_stopped: false,
        };
        Self { state: Mutex::new(state), journal, encode, clock, deadline_moved: Notify::new() }
    }

    /// Asks the machine and waits for its answer, which may take as long as the command parks, and
    /// then until everything the answer rests on is durable. A caller that goes away leaves the
    /// command's effects in place.
    pub async fn call(&self, command: M::Command) -> Result<M::Reply, ShellError> {
        self.answer(self.ask(command)).await
    }

    /// Waits for the answer to a command as [`Shell::call`] does.
    pub async fn answer(&self, asked: Asked<M::Reply>) -> Result<M::Reply, ShellError> {
        let (reply, end) = asked.0.await.map_err(|_| ShellError::Stopping)??;
        self.journal.durable(end).await?;
        Ok(reply)
    }

    /// Gives the machine a command that it answers at once; the answer, and the journal's end that it
    /// rests on. Until that is durable ([`Shell::durable`]) nobody outside may hear of it.
    pub(super) fn decide(&self, command: M::Command) -> Result<(M::Reply, Offset), ShellError> {
        self.ask(command).0.try_recv().unwrap_or(Err(ShellError::WrongReply))
    }

    /// Returns once the journal is durable up to `end`.
    pub(super) async fn durable(&self, end: Offset) -> Result<(), ShellError> {
        Ok(self.journal.durable(end).await?)
    }

    /// Looks at the machine without changing it.
    pub fn look<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner).machine)
    }

    /// Gives the machine a command, whose effects are in its journal when this returns, though not
    /// durable yet; the answer is had by [`Shell::answer`]. For a caller that holds a lock under which
    /// the order of things is decided.
    pub fn ask(&self, command: M::Command) -> Asked<M::Reply> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        state.waiting.insert(ticket, sender);
        let before = state.machine.next_deadline();
        let mut effects = Effects::default();
        state.machine.handle(self.clock.now(), ticket, command, &mut effects);
        let moved = state.machine.next_deadline() != before;
        self.carry_out(&mut state, effects);
        if state.is_stopped {
            state.waiting.remove(&ticket); // Tells the caller, if it has no answer yet.
        }
        drop(state);
        if moved {
            self.deadline_moved.notify_one();
        }
        Asked(receiver)
    }

    /// Appends the records, then hands each reply to its caller. Runs under the state's lock, so the
    /// journal has the machine's order.
    fn carry_out(&self, state: &mut State<M>, effects: Effects<M::Record, M::Reply>) {
        let stored = self.store(&mut state.backlog, &effects.records);
        for (ticket, reply) in effects.replies {
            let Some(caller) = state.waiting.remove(&ticket) else { continue };
            let answer = match &stored {
                Ok(end) => Ok((reply, *end)),
                Err(reason) => Err(ShellError::Storage(reason.clone())),
            };
            // A caller that went away needs no answer.
            drop(caller.send(answer));
        }
    }

    /// Appends what a step decided; the journal's end, or why it is not stored. What found no room on
    /// the disk, or no file to open, is kept and goes before what comes next: the machine is ahead of its
    /// journal by it, and until it is stored nobody gets an answer. Nor does anybody while the journal is
    /// offline, which it is until restart: also what is asked again, and changes nothing now, rests on
    /// what is not stored.
    fn store(
        &self,
        backlog: &mut Vec<JournalEntry>,
        records: &[M::Record],
    ) -> Result<Offset, String> {
        let mut entries: Vec<_> = records.iter().map(self.encode).collect::<Result<_, _>>()?;
        let stored = self.append(backlog).and_then(|_| self.append(&mut entries));
        if let Err(AppendError::DiskFull | AppendError::TooManyFiles(_)) = &stored {
            backlog.append(&mut entries);
            if backlog.iter().map(JournalEntry::size_bytes).sum::<usize>() > BACKLOG_BYTES_MAX {
                self.journal.give_up("more is decided than a full disk lets be stored");
            }
        }
        let end = stored.map_err(|error| error.to_string())?;
        let partition = self.journal.partition();
        if partition.is_offline() {
            return Err(format!("the journal is offline: {}", partition.offline_reason()));
        }
        Ok(end)
    }

    /// Appends and takes out `entries`, as far as there is room.
    fn append(&self, entries: &mut Vec<JournalEntry>) -> Result<Offset, AppendError> {
        while !entries.is_empty() {
            let (count, _) = self.journal.append_some(entries, self.clock.now())?;
            entries.drain(..count);
        }
        Ok(self.journal.end())
    }

    /// Lets timers fire until `stopping`; then everyone who waits is told so, and everyone who would
    /// begin to.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        while !*stopping.borrow() {
            let deadline =
                self.state.lock().unwrap_or_else(PoisonError::into_inner).machine.next_deadline();
            let due = async {
                match deadline {
                    Some(deadline) => self.clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.tick(),
                () = self.deadline_moved.notified() => {}
                _ = stopping.changed() => {}
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopped = true;
        state.waiting.clear();
    }

    fn tick(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effects = Effects::default();
        state.machine.tick(self.clock.now(), &mut effects);
        self.carry_out(&mut state, effects);
    }
}
