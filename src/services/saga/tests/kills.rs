//! Every kill, and every pair of kills, of one order: orchestrator, four participants and a payment provider,
//! each with the moments at which something becomes durable. After a kill whatever was not committed is read
//! again. Wrong is: charged or refunded twice, a wrong net amount or stock, a saga that does not end, or not as
//! it should.
//!
//! What a participant commits (answer, row, offset) and what the orchestrator commits (record, commands, offset)
//! is all there or not at all; the provider alone stands outside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::sagas;
use crate::services::ids;
use crate::services::saga::{
    Answered, Event, Operation, Phase, Record, Status, Timer, Verdict, Versions, command_id, decide,
};
use crate::services::unit::Emission;
use crate::types::Timestamp;

/// How the provider keeps a charge from being made twice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Provider {
    /// It knows the key.
    Key,
    /// It can be asked.
    Lookup,
    /// Neither: an intent is durable first, and if it is found again somebody has to look.
    Parked,
    /// Neither, and nobody cares.
    Blind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Path {
    /// All goes well.
    Happy,
    /// Nobody ships, so all is undone.
    Undo,
}

/// The process was killed.
struct Killed;

const TOPICS: [&str; 4] =
    ["order_commands", "inventory_commands", "payment_commands", "shipping_commands"];

/// What survives a kill, and the one outside.
#[derive(Default)]
struct World {
    inbox: Vec<Event>,
    record: Option<Record>,
    step_timer: Option<(Timestamp, String)>,
    saga_timer: Option<Timestamp>,
    commands: [Vec<Emission>; 4],
    /// What each participant has answered, by command.
    rows: [BTreeMap<String, Answered>; 4],
    /// Steps in force at each participant.
    in_force: [bool; 4],
    intents: BTreeSet<String>,
    /// Every movement of money, with its key.
    ledger: Vec<(String, i64)>,
    /// Whether the client has its answer.
    is_accepted: bool,
    has_waited_for_somebody: bool,
}

struct Run {
    versions: Versions,
    provider: Provider,
    path: Path,
    world: World,
    now: Timestamp,
    /// Boundaries so far, and those at which to die.
    reached: usize,
    kills: Vec<usize>,
    /// Whether a try before this one may have begun.
    maybe_begun: bool,
}

impl Run {
    /// How it ends: whether it is wrong, how many boundaries there were, and whether somebody had to look.
    fn outcome(provider: Provider, path: Path, kills: Vec<usize>) -> (bool, usize, bool) {
        let mut run = Self {
            versions: sagas::named("order"),
            provider,
            path,
            world: World::default(),
            now: Timestamp(0),
            reached: 0,
            kills,
            maybe_begun: false,
        };
        for _ in 0..500 {
            match run.turn() {
                Ok(true) => run.maybe_begun = false,
                Ok(false) => break,
                Err(Killed) => run.maybe_begun = true,
            }
        }
        (run.is_wrong(), run.reached, run.world.has_waited_for_somebody)
    }

    fn boundary(&mut self) -> Result<(), Killed> {
        let at = self.reached;
        self.reached += 1;
        if self.kills.contains(&at) { Err(Killed) } else { Ok(()) }
    }

    /// Does the next thing there is to do; false if there is none.
    fn turn(&mut self) -> Result<bool, Killed> {
        if !self.world.is_accepted {
            self.post()?;
        } else if !self.world.inbox.is_empty() {
            self.orchestrate()?;
        } else if let Some(at) = self.world.commands.iter().position(|queue| !queue.is_empty()) {
            self.participate(at)?;
        } else if self.world.record.as_ref().is_some_and(|it| it.status == Status::Stuck) {
            self.look();
        } else if let Some((due, command_id)) = self.world.step_timer.take() {
            self.now = due;
            self.world.inbox.push(Event::StepDue { command_id, due });
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn post(&mut self) -> Result<(), Killed> {
        self.boundary()?;
        let data = json!({
            "order_id": "o-1", "customer_id": "c-1", "total_amount": 100.0,
            "items": [{ "product_id": "p-1", "quantity": 2 }],
        });
        self.world.inbox.push(Event::Start {
            saga_id: "s-1".to_owned(),
            data,
            correlation_id: "c-1".to_owned(),
            traceparent: None,
        });
        self.boundary()?; // The client has no answer, and will ask again.
        self.world.is_accepted = true;
        Ok(())
    }

    fn orchestrate(&mut self) -> Result<(), Killed> {
        self.boundary()?;
        let event = self.world.inbox[0].clone();
        let decision = decide(&self.versions, self.world.record.as_ref(), event, self.now);
        assert!(!matches!(decision.verdict, Verdict::Refused(_)));
        self.boundary()?;
        let world = &mut self.world;
        world.inbox.remove(0);
        if decision.record.is_some() {
            world.record = decision.record;
        }
        for command in decision.commands {
            let at = TOPICS.iter().position(|topic| **topic == *command.topic).unwrap();
            world.commands[at].push(command);
        }
        for timer in decision.timers {
            match timer {
                Timer::Step(set) => world.step_timer = set,
                Timer::Saga(set) => world.saga_timer = set,
            }
        }
        self.boundary()
    }

    fn participate(&mut self, at: usize) -> Result<(), Killed> {
        self.boundary()?;
        let command = self.world.commands[at][0].clone();
        let id = header(&command, "ce_id");
        let is_undo = header(&command, "ottla-step").ends_with(":undo");
        let row = self.world.rows[at].get(&id).cloned();
        let in_force = self.world.in_force[at];
        let status = match (row, is_undo) {
            (Some(answered), _) => answered,
            (None, true) if !in_force => Answered::Ok,
            (None, false) if at == 3 && self.path == Path::Undo => {
                Answered::Failed("no carrier".to_owned())
            }
            (None, _) if at == 2 => self.pay(&command.name, if is_undo { -100 } else { 100 })?,
            (None, _) => Answered::Ok,
        };
        self.boundary()?;
        self.world.commands[at].remove(0);
        if status == Answered::Ok {
            self.world.in_force[at] = !is_undo;
        }
        let is_known = status != Answered::Failed("effect-unknown".to_owned());
        if is_known {
            self.world.rows[at].insert(id.clone(), status.clone());
        }
        self.world.inbox.push(Event::Reply {
            id: ids::derived(&["reply", &id, &self.reached.to_string()]),
            command_id: id,
            status,
            body: json!({ "receipt": "r-1" }),
            actor: TOPICS[at].to_owned(),
        });
        self.boundary()
    }

    /// The one thing outside: money moves.
    fn pay(&mut self, name: &str, amount: i64) -> Result<Answered, Killed> {
        let key = ids::derived(&["payment-service", "s-1", name, "charge"]);
        let is_there = |world: &World| world.ledger.iter().any(|(other, _)| *other == key);
        match self.provider {
            Provider::Key if is_there(&self.world) => return Ok(Answered::Ok),
            Provider::Lookup if self.maybe_begun && is_there(&self.world) => {
                return Ok(Answered::Ok);
            }
            Provider::Parked => {
                self.boundary()?;
                if !self.world.intents.insert(key.clone()) {
                    return Ok(Answered::Failed("effect-unknown".to_owned()));
                }
            }
            Provider::Key | Provider::Lookup | Provider::Blind => {}
        }
        self.boundary()?;
        self.world.ledger.push((key, amount));
        self.boundary()?;
        Ok(Answered::Ok)
    }

    /// Somebody looks at the provider's books and decides.
    fn look(&mut self) {
        self.world.has_waited_for_somebody = true;
        let record = self.world.record.as_ref().unwrap();
        let is_undo = record.phase == Phase::Undo;
        let name = if is_undo { "refund_payment" } else { "process_payment" };
        let key = ids::derived(&["payment-service", "s-1", name, "charge"]);
        let was_done = self.world.ledger.iter().any(|(other, _)| *other == key);
        let operation = if was_done {
            // What the participant does not know it is told as well.
            self.world.in_force[2] = !is_undo;
            let id = command_id("order", "s-1", "process_payment", record.phase);
            self.world.rows[2].insert(id, Answered::Ok);
            Operation::Skip
        } else {
            self.world.intents.remove(&key);
            Operation::Retry
        };
        self.world.inbox.push(Event::Operator { operation, who: "ann".to_owned() });
    }

    fn is_wrong(&self) -> bool {
        let world = &self.world;
        let end = world.record.as_ref().map(|record| record.status);
        let charges = world.ledger.iter().filter(|(_, amount)| *amount > 0).count();
        let refunds = world.ledger.len() - charges;
        let net: i64 = world.ledger.iter().map(|(_, amount)| amount).sum();
        let is_right = match self.path {
            Path::Happy => {
                (end, charges, refunds, net) == (Some(Status::Completed), 1, 0, 100)
                    && world.in_force == [true; 4]
            }
            Path::Undo => {
                (end, charges, refunds, net) == (Some(Status::Compensated), 1, 1, 0)
                    && world.in_force == [false; 4]
            }
        };
        let is_quiet = world.inbox.is_empty()
            && world.commands.iter().all(Vec::is_empty)
            && (&world.step_timer, world.saga_timer) == (&None, None);
        !(is_right && is_quiet)
    }
}

fn header(command: &Emission, name: &str) -> String {
    let (_, value) = command.headers.iter().find(|(key, _)| key == name).unwrap();
    String::from_utf8(value.as_ref().unwrap().to_vec()).unwrap()
}

/// Schedules, wrong ones and those where somebody had to look.
fn all(provider: Provider, path: Path) -> (usize, usize, usize) {
    let (is_wrong, undisturbed, _) = Run::outcome(provider, path, Vec::new());
    assert!(!is_wrong, "{provider:?} {path:?} without a kill");
    let (mut schedules, mut wrong, mut looked) = (0, 0, 0);
    let mut count = |kills: Vec<usize>| {
        let (is_wrong, reached, has_looked) = Run::outcome(provider, path, kills);
        schedules += 1;
        wrong += usize::from(is_wrong);
        looked += usize::from(has_looked);
        reached
    };
    for first in 0..undisturbed {
        let reached = count(vec![first]);
        for second in first + 1..reached {
            count(vec![first, second]);
        }
    }
    (schedules, wrong, looked)
}

#[test]
fn no_kill_and_no_pair_of_kills_makes_an_order_wrong() {
    for path in [Path::Happy, Path::Undo] {
        for provider in [Provider::Key, Provider::Lookup, Provider::Parked] {
            let (schedules, wrong, looked) = all(provider, path);
            assert!(schedules > 500, "{provider:?} {path:?}: {schedules} schedules");
            assert_eq!(wrong, 0, "{provider:?} {path:?}: of {schedules}");
            assert_eq!(looked > 0, provider == Provider::Parked, "{provider:?} {path:?}");
        }
    }
}

#[test]
fn a_blind_second_call_is_found_out() {
    for path in [Path::Happy, Path::Undo] {
        let (schedules, wrong, _) = all(Provider::Blind, path);
        assert!(0 < wrong && wrong < schedules, "{path:?}: {wrong} of {schedules}");
    }
}

#[test]
fn whatever_comes_in_whatever_order_the_saga_ends_or_waits_for_an_answer() {
    const STEPS: [&str; 4] =
        ["create_order", "reserve_inventory", "process_payment", "create_shipping"];
    let versions = sagas::named("order");
    for seed in 0..1000_u64 {
        let (mut record, mut draws) = (None, 0);
        let mut draw = |below: u64| {
            draws += 1;
            ids::number(&["random", &seed.to_string(), &draws.to_string()]) % below
        };
        let data = json!({
            "order_id": "o", "customer_id": "c", "items": [], "total_amount": 1.0,
        });
        for at in 0..60 {
            let step = usize::try_from(draw(4)).unwrap();
            let phase = if draw(2) == 0 { Phase::Run } else { Phase::Undo };
            let waiting = record.as_ref().and_then(|it: &Record| it.awaiting.clone());
            let event = match draw(12) {
                0 => Event::Start {
                    saga_id: "s".to_owned(),
                    data: data.clone(),
                    correlation_id: "c".to_owned(),
                    traceparent: None,
                },
                1 | 2 => waiting.map_or(Event::SagaDue, |it| Event::StepDue {
                    command_id: it.command_id,
                    due: it.due,
                }),
                3 if draw(4) == 0 => Event::SagaDue,
                drawn => Event::Reply {
                    id: draw(20).to_string(),
                    command_id: command_id("order", "s", STEPS[step], phase),
                    status: match drawn {
                        4 => Answered::Failed("no".to_owned()),
                        5 => Answered::Retry("busy".to_owned()),
                        _ => Answered::Ok,
                    },
                    body: Value::Null,
                    actor: "p".to_owned(),
                },
            };
            let before = record.clone();
            let decision = decide(&versions, before.as_ref(), event, Timestamp(at));
            if let Some(next) = decision.record {
                check(before.as_ref(), &next, seed);
                record = Some(next);
            }
        }
    }
}

/// What holds after every step.
fn check(before: Option<&Record>, after: &Record, seed: u64) {
    let (status, has_waiting) = (after.status, after.awaiting.is_some());
    assert!(before.is_none_or(|before| !before.status.is_end()), "seed {seed}");
    assert_eq!(status.is_end(), after.ended_at.is_some(), "seed {seed}");
    assert!(!(status.is_end() && has_waiting), "seed {seed}");
    assert!(status.is_end() || has_waiting, "seed {seed}: it waits for nothing");
    assert!(status != Status::Compensated || after.done.is_empty(), "seed {seed}");
    assert!(status != Status::Completed || after.done.len() == 4, "seed {seed}");
    if let Some(before) = before {
        let grew = after.done.len() > before.done.len() && before.phase == Phase::Undo;
        assert!(!grew, "seed {seed}: done again while being undone");
        let is_forward = before.phase == Phase::Undo && after.phase == Phase::Run;
        assert!(!is_forward, "seed {seed}: forward again");
    }
}
