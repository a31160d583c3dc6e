//! Random requests of a few producers for a few ids, with time, restarts and lost answers between,
//! under the checks of [`Harness`], and against a model of what a producer may rely on. A failure
//! prints its seed; `OTTLA_SEED=n` runs that one alone.
//!
//! The model keeps, by id, every pair that was ever given and the newest one, and by pair how its
//! transaction ended. It holds the coordinator to what transactions are for:
//! - the pairs of an id only rise: no pair is given twice but to who asks again;
//! - only the newest pair adds partitions and commits: a commit by any other is refused, or repeats an
//!   outcome that was decided before;
//! - a transaction has one outcome, and each marker says it;
//! - markers go to every partition that was added, and to no other.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::testing::{Dice, Harness, for_each_seed};
use crate::machine::{Effects, Ticket};
use crate::records::Outcome;
use crate::txn::{
    AddPartitions, Command, Completed, Coordinator, EndTransaction, InitProducerId,
    ListTransactions, MarkersDue, Producer, Reply, TransactionRecord, TxnConfig, TxnError,
    VerifyPartitions,
};
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, TransactionVersion};

const SEEDS: u64 = 24;
const STEPS: u32 = 500;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const IDS: [&str; 3] = ["a", "b", "c"];
const NONE: (i64, i16) = (-1, -1);

type Pair = (i64, i16);

#[test]
fn random_operations_keep_the_promises() {
    for_each_seed(SEEDS, |seed| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.fall_silent();
    });
}

/// What the model knows of an id.
#[derive(Debug, Default)]
struct Known {
    /// In the order they were given.
    given: Vec<Pair>,
    /// What the open transaction has touched; `None` while none is open.
    open: Option<BTreeSet<i32>>,
    /// Markers that are due.
    due: Option<(Outcome, BTreeSet<i32>)>,
    /// How the last transaction ended, by the pair before its end and the one after it.
    ended: BTreeMap<Pair, Outcome>,
}

impl Known {
    fn current(&self) -> Pair {
        self.given.last().copied().unwrap_or(NONE)
    }
}

struct World {
    harness: Harness<Coordinator>,
    dice: Dice,
    tickets: u64,
    producer_ids: i64,
    known: BTreeMap<&'static str, Known>,
    /// Markers that somebody took and has not written yet.
    taken: Vec<MarkersDue>,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = TxnConfig {
            partition_count_max: 6,
            expiration_check_interval_ms: DAY_MS,
            ..TxnConfig::default()
        };
        let mut world = Self {
            harness: Harness::new(config),
            dice: Dice::new(seed),
            tickets: 0,
            producer_ids: 1_000,
            known: IDS.iter().map(|id| (*id, Known::default())).collect(),
            taken: Vec::new(),
        };
        if seed % 2 == 1 {
            world.age("a");
        }
        world
    }

    /// Lets an id be near the end of its epochs.
    fn age(&mut self, id: &'static str) {
        let (producer_id, producer_epoch) = (7, i16::MAX - 6);
        let metadata = crate::txn::TransactionMetadata {
            producer_id,
            previous_producer_id: producer_id,
            producer_epoch,
            timeout_ms: 60_000,
            last_update_timestamp: self.harness.now.wall.0,
            start_timestamp: -1,
            ..Default::default()
        };
        let record =
            TransactionRecord { transactional_id: id.to_owned(), metadata: Some(metadata) };
        self.harness.find(&record);
        self.known.entry(id).or_default().given.push((producer_id, producer_epoch));
    }

    fn version(&mut self) -> TransactionVersion {
        self.dice.pick(&[TransactionVersion::V0, TransactionVersion::V2])
    }

    fn outcome(&mut self) -> Outcome {
        self.dice.pick(&[Outcome::Commit, Outcome::Abort])
    }

    /// Supplies a fresh producer id where one is wanted; mostly.
    fn supply(&mut self) {
        if self.harness.machine.wants_producer_id() && self.dice.below(8) > 0 {
            self.producer_ids += 1;
            let supply = Command::SupplyProducerIds(vec![ProducerId(self.producer_ids)]);
            assert_eq!(self.answer(supply), Reply::SupplyProducerIds);
        }
    }

    /// A pair that some producer of `id` believes in: mostly the newest.
    fn claim(&mut self, id: &str) -> Pair {
        let given = self.known[id].given.clone();
        match self.dice.below(10) {
            0..7 => self.known[id].current(),
            7 | 8 if !given.is_empty() => self.dice.pick(&given),
            _ => {
                let (producer_id, epoch) = self.known[id].current();
                self.dice.pick(&[(producer_id + 1, epoch), (producer_id, epoch.saturating_add(1))])
            }
        }
    }

    /// Runs a command; markers that come of it are taken.
    fn run(&mut self, command: Command) -> Effects<TransactionRecord, Reply> {
        self.tickets += 1;
        let mut effects = self.harness.run(Ticket(self.tickets), command);
        self.take(&mut effects);
        effects
    }

    fn take(&mut self, effects: &mut Effects<TransactionRecord, Reply>) {
        effects.replies.retain_mut(|(_, reply)| {
            let Reply::AwaitMarkers(due) = reply else { return true };
            self.taken.append(due);
            false
        });
    }

    fn answer(&mut self, command: Command) -> Reply {
        let mut effects = self.run(command);
        assert_eq!(effects.replies.len(), 1, "one answer at once");
        effects.replies.remove(0).1
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..14 => self.init(),
            14..44 => self.add(),
            44..70 => self.end(),
            70..86 => self.write_markers(),
            86..89 => self.look(),
            89..92 => self.force_abort(),
            92..97 => {
                let ms = self.dice.pick(&[1, 1_000, 9_999, 61_000]);
                self.advance(ms);
            }
            97 => self.advance(8 * DAY_MS),
            _ => self.restart(),
        }
        self.check_due();
    }

    fn init(&mut self) {
        self.supply();
        let id = self.dice.pick(&IDS);
        let (producer_id, producer_epoch) =
            if self.dice.below(2) == 0 { NONE } else { self.claim(id) };
        let request = InitProducerId {
            transactional_id: id.to_owned(),
            timeout_ms: self.dice.pick(&[1_000, 60_000]),
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(producer_epoch),
        };
        let Reply::InitProducerId(result) = self.answer(Command::InitProducerId(request)) else {
            panic!("an answer to InitProducerId")
        };
        let known = self.known.get_mut(id).unwrap();
        match result {
            Ok(producer) => {
                assert_eq!(
                    (&known.open, &known.due),
                    (&None, &None),
                    "an id is taken when settled"
                );
                let pair = (producer.producer_id.0, producer.producer_epoch.0);
                let is_repeated = known.current() == pair && producer_epoch != -1;
                assert!(is_repeated || !known.given.contains(&pair), "{pair:?} is given once");
                if !is_repeated {
                    known.given.push(pair);
                }
                known.ended.clear();
            }
            Err(TxnError::ConcurrentTransactions(_)) if known.due.is_none() => {
                known.fence();
            }
            Err(_) => {}
        }
    }

    fn producer(&mut self, id: &str) -> (Producer, Pair) {
        let pair = self.claim(id);
        let (producer_id, producer_epoch) = (ProducerId(pair.0), ProducerEpoch(pair.1));
        (Producer { transactional_id: id.to_owned(), producer_id, producer_epoch }, pair)
    }

    fn add(&mut self) {
        let id = self.dice.pick(&IDS);
        let (producer, pair) = self.producer(id);
        let count = self.dice.below(3);
        let added: Vec<i32> =
            (0..count).map(|_| self.dice.pick(&[0, 1, 2, 3, 4, 5, 6, 7])).collect();
        let rows = added.iter().map(|partition| PartitionIndex(*partition)).collect();
        let version = self.version();
        let partitions = vec![("t".to_owned(), rows)];
        let request = AddPartitions { producer: producer.clone(), partitions, version };
        let Reply::AddPartitions(result) = self.answer(Command::AddPartitions(request)) else {
            panic!("an answer to AddPartitions")
        };
        let known = self.known.get_mut(id).unwrap();
        if result.is_ok() {
            assert_eq!(pair, known.current(), "only the holder adds");
            assert_eq!(known.due, None, "nothing is added while it ends");
            known.ended.clear();
            known.open.get_or_insert_default().extend(added);
        }
        for partition in 0..8 {
            let is_part = known.open.as_ref().is_some_and(|open| open.contains(&partition));
            let expected = is_part && pair == known.current();
            let coordinator = &self.harness.machine;
            let actual = coordinator.is_part_of(&producer, "t", PartitionIndex(partition));
            assert_eq!(actual, expected, "{producer:?} and partition {partition}");
        }
    }

    fn end(&mut self) {
        let id = self.dice.pick(&IDS);
        let (producer, pair) = self.producer(id);
        let (outcome, version) = (self.outcome(), self.version());
        self.supply();
        let request = EndTransaction { producer, outcome, version };
        let Reply::EndTransaction(result) = self.answer(Command::EndTransaction(request)) else {
            panic!("an answer to EndTransaction")
        };
        let known = self.known.get_mut(id).unwrap();
        let Ok(next) = result else { return };
        let next = (next.producer_id.0, next.producer_epoch.0);
        if let Some(ended) = known.ended.get(&pair) {
            let is_empty_abort = known.due.is_none() && next != known.current();
            if !is_empty_abort {
                assert_eq!(*ended, outcome, "a transaction has one outcome");
                assert_eq!(next, known.current(), "a repeated end gets the same answer");
                return;
            }
        }
        assert_eq!(pair, known.current(), "only the holder ends");
        assert_eq!(known.due, None, "it ends once");
        assert!(known.open.is_some() || outcome == Outcome::Abort, "nothing cannot be committed");
        let bumps = version == TransactionVersion::V2;
        assert_eq!(next != pair, bumps, "{pair:?} goes on as {next:?}");
        assert!(!bumps || !known.given.contains(&next), "{next:?} is given once");
        if bumps {
            known.given.push(next);
        }
        known.ended = BTreeMap::from([(pair, outcome), (next, outcome)]);
        known.due = Some((outcome, known.open.take().unwrap_or_default()));
    }

    fn force_abort(&mut self) {
        let id = self.dice.pick(&IDS);
        let answer = self.answer(Command::AbortTransaction(id.to_owned()));
        let known = self.known.get_mut(id).unwrap();
        if answer == Reply::AbortTransaction(Ok(())) {
            assert!(known.open.is_some(), "only what is open is aborted");
            known.fence();
        }
    }

    fn write_markers(&mut self) {
        self.run(Command::AwaitMarkers);
        if self.taken.is_empty() {
            return;
        }
        let count = u64::try_from(self.taken.len()).unwrap();
        let at = usize::try_from(self.dice.below(count)).unwrap();
        let due = self.taken.swap_remove(at);
        let id = due.producer.transactional_id.clone();
        if self.dice.below(4) == 0 {
            self.run(Command::GiveBackMarkers(vec![id]));
            return;
        }
        let known = self.known.get_mut(id.as_str()).unwrap();
        let (outcome, partitions) = known.due.take().expect("markers are due");
        assert_eq!(due.outcome, outcome, "a transaction has one outcome");
        let told = due.partitions.iter().flat_map(|(_, rows)| rows.iter().map(|it| it.0));
        assert_eq!(told.collect::<BTreeSet<_>>(), partitions, "markers go where it has been");
        let written = |producer| Command::MarkersWritten(producer);
        let completed = self.answer(written(due.producer.clone()));
        assert_eq!(completed, Reply::MarkersWritten(Completed::Now));
        let completed = self.answer(written(due.producer));
        assert_eq!(completed, Reply::MarkersWritten(Completed::NotEnding));
        let known = self.known.get_mut(id.as_str()).unwrap();
        known.learn(&self.harness, &id);
    }

    fn look(&mut self) {
        let id = self.dice.pick(&IDS);
        let (producer, _) = self.producer(id);
        let partitions = vec![("t".to_owned(), vec![PartitionIndex(0)])];
        let filter = ListTransactions { duration_ms: -1, ..ListTransactions::default() };
        for command in [
            Command::VerifyPartitions(VerifyPartitions { producer, partitions }),
            Command::Describe(vec![id.to_owned()]),
            Command::List(filter),
        ] {
            assert!(self.run(command).records.is_empty(), "a look writes nothing");
        }
    }

    fn advance(&mut self, ms: u64) {
        let mut effects = self.harness.advance(ms);
        self.take(&mut effects);
        for record in &effects.records {
            let known = self.known.get_mut(record.transactional_id.as_str()).unwrap();
            if record.metadata.is_some() {
                known.fence();
            } else {
                assert_eq!((&known.open, &known.due), (&None, &None), "only a settled id goes");
            }
        }
        for (id, known) in &mut self.known {
            known.learn(&self.harness, id);
        }
    }

    fn restart(&mut self) {
        self.harness.restart();
        self.taken.clear();
    }

    /// What the coordinator has due is what the model has.
    fn check_due(&self) {
        let due = self.harness.machine.markers_due();
        let due: BTreeSet<_> = due.map(|it| it.producer.transactional_id).collect();
        let expected: BTreeSet<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.due.is_some())
            .map(|(id, _)| (*id).to_owned())
            .collect();
        assert_eq!(due, expected);
        assert!(due.iter().all(|id| self.harness.machine.is_ending(id)));
        let open_count = self.known.values().filter(|known| known.open.is_some()).count();
        assert_eq!(self.harness.machine.open_count(), open_count);
        let ending_count = self.harness.machine.markers_due().count();
        assert_eq!(self.harness.machine.ending_count(), ending_count);
    }

    /// Everyone goes: all that is open times out, its markers are written, and the ids expire.
    fn fall_silent(&mut self) {
        self.run(Command::SupplyProducerIds((2_000..2_010).map(ProducerId).collect()));
        self.advance(62_000);
        self.restart();
        while self.known.values().any(|known| known.due.is_some()) {
            self.write_markers();
        }
        self.advance(9 * DAY_MS);
        assert_eq!(self.harness.machine.id_count(), 0);
        assert!(self.harness.waiting_count() <= 1, "only who waits for markers waits");
    }
}

impl Known {
    /// The open transaction is aborted over its producer's head.
    fn fence(&mut self) {
        let open = self.open.take().expect("only what is open is fenced");
        self.ended = BTreeMap::from([(self.current(), Outcome::Abort)]);
        self.due = Some((Outcome::Abort, open));
    }

    /// Learns the pair that a fence has made, which nobody was told.
    fn learn(&mut self, harness: &Harness<Coordinator>, id: &str) {
        let Some(record) = harness.machine.durable().remove(id) else { return };
        let kept = record.metadata.unwrap();
        let pair = (kept.producer_id, kept.producer_epoch);
        if self.due.is_none() && pair != self.current() {
            assert!(!self.given.contains(&pair), "{pair:?} is given once");
            self.given.push(pair);
            self.ended.insert(pair, Outcome::Abort);
        }
    }
}
