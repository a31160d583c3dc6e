//! Random lives of a partition with transactions: appends, markers, syncs, starts of every kind, power
//! cuts, DeleteRecords and compaction, against a list of all that was ever appended.
//!
//! After every step a client reads as Kafka's clients do and must see each committed record below the
//! last stable offset and no other; what is known of the producers and their transactions must be what
//! the list says, whether it was kept, saved or learnt from the log.

use std::collections::{BTreeMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::transactions::{compact, marker, part, with_keys};
use super::*;
use crate::partition::syncing::SAVED_EVERY_BYTES;
use crate::records::{ControlRecord, Outcome};
use crate::types::{ProducerEpoch, ProducerId, TransactionVersion};

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    /// Records outside any transaction: so many, from this key on.
    Plain(usize, u8),
    /// A producer's next batch, in a transaction.
    Part(i64, usize, u8),
    /// The end of a producer's transaction, or of one without a record.
    End(i64, Outcome, TransactionVersion),
    Sync,
    /// A sync behind which what is known of the producers is saved.
    Save,
    /// A clean stop, or kill -9; then a start with or without what was saved.
    Restart {
        is_clean: bool,
        keeps_file: bool,
    },
    PowerCut(u64),
    /// So many offsets below the high watermark.
    DeleteBefore(i64),
    Compact {
        merges: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let producer = || 1..5_i64;
    prop_oneof![
        4 => (1..3_usize, 0..6_u8).prop_map(|(count, key)| Step::Plain(count, key)),
        10 => (producer(), 1..3_usize, 0..6_u8)
            .prop_map(|(id, count, key)| Step::Part(id, count, key)),
        6 => (producer(), prop::bool::ANY, prop::bool::ANY).prop_map(|(id, commits, bumps)| {
            let outcome = if commits { Outcome::Commit } else { Outcome::Abort };
            let version = if bumps { TransactionVersion::V2 } else { TransactionVersion::V0 };
            Step::End(id, outcome, version)
        }),
        6 => Just(Step::Sync),
        2 => Just(Step::Save),
        2 => (prop::bool::ANY, prop::bool::weighted(0.7))
            .prop_map(|(is_clean, keeps_file)| Step::Restart { is_clean, keeps_file }),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

fn step_with_losses() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => step(),
        2 => (0..12_i64).prop_map(Step::DeleteBefore),
    ]
}

fn step_of_a_table() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => step(),
        6 => prop::bool::weighted(0.8).prop_map(|merges| Step::Compact { merges }),
    ]
}

/// What was appended at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Row {
    Record { key: u8, transaction: Option<Member>, batch: i64 },
    Marker { id: i64, epoch: i16, outcome: Outcome },
}

/// A transactional record's producer, epoch and sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    id: i64,
    epoch: i16,
    sequence: i32,
}

/// What the list says of a producer.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    epoch: i16,
    next_sequence: i32,
    /// Offset of its last batch with the present epoch.
    last_batch: Option<i64>,
    first: Option<i64>,
}

/// A transaction as the list has it: `last` is its marker.
#[derive(Clone, Copy, Debug)]
struct Told {
    id: i64,
    first: i64,
    last: Option<i64>,
    outcome: Outcome,
}

struct Life {
    machine: Machine,
    config: PartitionConfig,
    partition: Arc<Partition>,
    all: Vec<Row>,
    synced: i64,
    compacted: i64,
    /// Whether a start may have learnt less than was known, since records are gone.
    is_cut: bool,
}

fn life_config(is_table: bool) -> PartitionConfig {
    let config = config();
    let log = LogConfig { segment_bytes: 300, compact: is_table, ..config.log };
    let compaction = CompactionConfig {
        delete_retention_ms: 2,
        min_cleanable_dirty_ratio: 0.0,
        ..config.compaction
    };
    PartitionConfig { log, compact: is_table, compaction, ..config }
}

impl Life {
    fn new(is_table: bool) -> Self {
        let machine = Machine::quiet_on(FaultyFs::new());
        let config = life_config(is_table);
        let opened =
            machine.open_as(config.clone(), Durability::Fsync, Checkpoint::default()).unwrap();
        Self {
            machine,
            config,
            partition: opened,
            all: Vec::new(),
            synced: 0,
            compacted: 0,
            is_cut: false,
        }
    }

    fn live(&mut self, steps: &[Step]) {
        for step in steps {
            self.machine.clock.advance(1);
            self.step(step);
            self.check();
        }
    }

    fn end(&self) -> i64 {
        i64::try_from(self.all.len()).unwrap()
    }

    fn step(&mut self, step: &Step) {
        let now = self.machine.clock.now();
        match step {
            Step::Plain(count, key) => {
                let batch = with_keys(BatchBuilder::new(), &keys(*count, *key));
                let appended = self.partition.append(batch.to_bytes(), now).unwrap();
                self.note(appended, *count, *key, None);
            }
            Step::Part(id, count, key) => self.append_part(*id, *count, *key),
            Step::End(id, outcome, version) => {
                let known = self.known(*id);
                let epoch = known.epoch + i16::from(*version == TransactionVersion::V2);
                let marker = marker(*id, epoch, *outcome, *version);
                let appended = self.partition.append_marker(&marker, now).unwrap();
                assert_eq!(appended.base_offset.0, self.end());
                self.all.push(Row::Marker { id: *id, epoch, outcome: *outcome });
            }
            Step::Sync => self.sync(),
            Step::Save => {
                self.partition.lock().unsaved_bytes = SAVED_EVERY_BYTES;
                self.sync();
            }
            Step::Restart { is_clean, keeps_file } => self.restart(*is_clean, *keeps_file),
            Step::PowerCut(seed) => {
                let kinds = [Crash::DropUnsynced, Crash::KeepPrefix(*seed)];
                let kind = kinds[usize::from(seed % 4 != 0)];
                let disk = self.machine.disk.clone();
                if let Err(error) = self.open(disk.crash(kind), false) {
                    // A later unsynced segment was kept and an earlier one was not.
                    assert!(kind != Crash::DropUnsynced, "{error}");
                    self.open(disk.crash(Crash::DropUnsynced), false).unwrap();
                }
            }
            Step::DeleteBefore(back) => {
                let high_watermark = self.partition.watermarks().high_watermark;
                let start = Offset((high_watermark.0 - back).max(0));
                self.partition.with_log(|log| log.advance_start(start)).unwrap();
                let retained =
                    self.partition.with_log(|log| log.enforce_retention(now.wall, high_watermark));
                retained.unwrap();
                self.is_cut = true;
            }
            Step::Compact { merges } => {
                let log = LogConfig { segment_bytes: 1 << 20, ..self.config.log };
                if *merges {
                    self.partition.set_config(PartitionConfig { log, ..self.config.clone() });
                }
                let stable = self.partition.watermarks().last_stable.0;
                if let Some(done) = compact(&self.partition, now.wall) {
                    self.compacted = self.compacted.max(done.end.unwrap().0);
                }
                assert!(self.compacted <= stable);
                self.partition.set_config(self.config.clone());
            }
        }
    }

    fn append_part(&mut self, id: i64, count: usize, key: u8) {
        let now = self.machine.clock.now();
        let known = self.known(id);
        let sent = part(id, known.epoch, known.next_sequence, &keys(count, key));
        let is_open = self
            .partition
            .lock()
            .producers
            .has_transaction(ProducerId(id), ProducerEpoch(known.epoch));
        let appended = self.partition.append(sent.clone(), now);
        if let (Err(AppendError::TransactionNotBegun { .. }), false) = (&appended, is_open) {
            let begun = self.partition.append_beginning(sent, TransactionVersion::V0, now).unwrap();
            let member = Member { id, epoch: known.epoch, sequence: known.next_sequence };
            return self.note(begun, count, key, Some(member));
        }
        assert!(is_open);
        let member = Member { id, epoch: known.epoch, sequence: known.next_sequence };
        self.note(appended.unwrap(), count, key, Some(member));
    }

    fn note(&mut self, appended: Appended, count: usize, key: u8, member: Option<Member>) {
        let batch = self.end();
        assert_eq!(appended.base_offset.0, batch);
        for (index, key) in (0..).zip((key..).take(count)) {
            let transaction =
                member.map(|member| Member { sequence: member.sequence + index, ..member });
            self.all.push(Row::Record { key, transaction, batch });
        }
    }

    fn sync(&mut self) {
        sync(&self.partition);
        self.synced = self.end();
        assert_eq!(self.partition.watermarks().high_watermark.0, self.synced);
    }

    fn restart(&mut self, is_clean: bool, keeps_file: bool) {
        let before = (self.partition.producers(), self.partition.aborted.all());
        let is_clean = is_clean && self.partition.close().is_ok();
        let disk = self.machine.disk.clone();
        let file = Path::new("/data/topic-0").join(crate::log::layout::PRODUCERS);
        if !keeps_file && disk.exists(&file) {
            disk.remove_file(&file).unwrap();
        }
        self.open(disk, is_clean).unwrap();
        let after = (self.partition.producers(), self.partition.aborted.all());
        if !self.is_cut && self.compacted == 0 {
            assert_eq!(after, before, "learnt from file: {keeps_file}");
        }
    }

    fn open(&mut self, disk: FaultyFs, clean: bool) -> Result<(), LogError> {
        let mut machine = Machine::quiet_on(disk);
        machine.clock = self.machine.clock.clone();
        let durable_up_to = Offset(if clean { self.end() } else { self.synced });
        let checkpoint = Checkpoint { durable_up_to, clean, ..Checkpoint::default() };
        self.partition = machine.open_as(self.config.clone(), Durability::Fsync, checkpoint)?;
        self.machine = machine;
        let end = usize::try_from(self.partition.watermarks().log_end.0).unwrap();
        assert!(usize::try_from(self.synced).unwrap() <= end && end <= self.all.len());
        self.all.truncate(end);
        // As a broker does before it lets anyone in.
        self.sync();
        Ok(())
    }

    fn known(&self, id: i64) -> Known {
        let mut known = Known::default();
        for row in &self.all {
            match row {
                Row::Record { transaction: Some(member), batch, .. } if member.id == id => {
                    known.next_sequence = member.sequence + 1;
                    known.last_batch = Some(*batch);
                    known.first = known.first.or(Some(*batch));
                }
                Row::Marker { id: of, epoch, .. } if *of == id => {
                    if *epoch != known.epoch {
                        known = Known { epoch: *epoch, ..Known::default() };
                    }
                    known.first = None;
                }
                Row::Record { .. } | Row::Marker { .. } => {}
            }
        }
        known
    }

    /// All transactions with records.
    fn transactions(&self) -> Vec<Told> {
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        let mut all = Vec::new();
        for (offset, row) in (0..).zip(&self.all) {
            match row {
                Row::Record { transaction: Some(member), .. } => {
                    open.entry(member.id).or_insert(offset);
                }
                Row::Record { .. } => {}
                Row::Marker { id, outcome, .. } => {
                    if let Some(first) = open.remove(id) {
                        let (id, outcome) = (*id, *outcome);
                        all.push(Told { id, first, last: Some(offset), outcome });
                    }
                }
            }
        }
        let outcome = Outcome::Commit;
        all.extend(open.into_iter().map(|(id, first)| Told { id, first, last: None, outcome }));
        all
    }

    /// Whether the record at an offset is in a transaction that was aborted.
    fn is_aborted(transactions: &[Told], offset: i64, id: i64) -> bool {
        transactions.iter().any(|it| {
            it.id == id
                && it.outcome == Outcome::Abort
                && it.first <= offset
                && it.last.is_some_and(|last| offset < last)
        })
    }

    fn check(&mut self) {
        let marks = self.partition.watermarks();
        let (start, stable) = (marks.log_start.0, marks.last_stable.0);
        assert!(start <= stable && stable <= marks.high_watermark.0);
        assert_eq!((marks.high_watermark.0, marks.log_end.0), (self.synced, self.end()));
        let transactions = self.transactions();
        self.check_last_stable(&transactions, start, stable);
        self.check_producers(start);
        let committed: Vec<(i64, u8)> = (0..)
            .zip(&self.all)
            .filter(|(offset, _)| start <= *offset && *offset < stable)
            .filter_map(|(offset, row)| match row {
                Row::Record { key, transaction: None, .. } => Some((offset, *key)),
                Row::Record { key, transaction: Some(member), .. } => {
                    let counts = !Self::is_aborted(&transactions, offset, member.id);
                    counts.then_some((offset, *key))
                }
                Row::Marker { .. } => None,
            })
            .collect();
        for from in (start..stable).step_by(3) {
            for max_bytes in [1, 250, 1 << 20] {
                self.check_client(from, max_bytes, stable, &committed);
            }
        }
    }

    fn check_last_stable(&self, transactions: &[Told], start: i64, stable: i64) {
        let counts_as_open = |it: &&Told| it.last.is_none_or(|last| self.synced <= last);
        let bound = |first: &dyn Fn(&Told) -> Option<i64>| {
            let firsts = transactions.iter().filter(counts_as_open).filter_map(first);
            firsts.min().unwrap_or(i64::MAX).clamp(start, self.synced)
        };
        let exact = bound(&|it| Some(it.first));
        if !self.is_cut {
            assert_eq!(stable, exact);
            return;
        }
        // A start knows a transaction by what is left of it.
        let left = bound(&|it| {
            let is_part = |(offset, row): &(i64, &Row)| match row {
                Row::Record { transaction: Some(member), .. } => {
                    member.id == it.id
                        && it.first <= *offset
                        && start <= *offset
                        && it.last.is_none_or(|last| *offset < last)
                }
                Row::Record { .. } | Row::Marker { .. } => false,
            };
            (0..).zip(&self.all).find(is_part).map(|(offset, _)| offset)
        });
        assert!(exact <= stable && stable <= left, "{exact} {stable} {left}");
    }

    fn check_producers(&self, start: i64) {
        for state in self.partition.producers() {
            let known = self.known(state.producer_id.0);
            let Some(last) = known.last_batch.filter(|last| start <= *last) else { continue };
            assert_eq!(state.producer_epoch.0, known.epoch, "{state:?}");
            assert_eq!(state.last_sequence, Some(known.next_sequence - 1), "{state:?} at {last}");
            assert_eq!(state.transaction_start.is_some(), known.first.is_some(), "{state:?}");
        }
        for id in 1..5 {
            let known = self.known(id);
            let must_be_known = known.last_batch.is_some_and(|last| start <= last);
            let is_known = self.partition.producers().iter().any(|it| it.producer_id.0 == id);
            assert!(!must_be_known || is_known, "{id}");
        }
    }

    /// What a read_committed client sees from `from` on.
    fn check_client(&self, from: i64, max_bytes: u64, stable: i64, committed: &[(i64, u8)]) {
        let mut next = Offset(from);
        let mut seen = Vec::new();
        while next.0 < stable {
            let read =
                self.partition.read(next, max_bytes, true, Isolation::ReadCommitted).unwrap();
            let Some(range) = read.range else { break };
            assert!(range.next.0 <= stable && next < range.next);
            let firsts: Vec<_> = read.aborted.iter().map(|it| it.first_offset).collect();
            assert!(firsts.is_sorted());
            take(range.read().unwrap(), read.aborted.into(), next, &mut seen);
            next = range.next;
        }
        let wanted: Vec<_> = committed.iter().filter(|row| from <= row.0).copied().collect();
        let tail = |rows: &[(i64, u8)]| {
            rows.iter().filter(|row| self.compacted <= row.0).copied().collect::<Vec<_>>()
        };
        assert_eq!(tail(&seen), tail(&wanted), "from {from} by {max_bytes}");
        assert!(seen.iter().all(|row| wanted.contains(row)), "{seen:?} of {wanted:?}");
        let table = |rows: &[(i64, u8)]| -> BTreeMap<u8, i64> {
            rows.iter().map(|(offset, key)| (*key, *offset)).collect()
        };
        assert_eq!(table(&seen), table(&wanted), "from {from} by {max_bytes}");
    }
}

fn keys(count: usize, key: u8) -> Vec<&'static str> {
    const KEYS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    (usize::from(key)..).take(count).map(|key| KEYS[key]).collect()
}

/// Takes the records of a response as Kafka's clients do: a producer's are dropped from the first
/// offset of an aborted transaction on, until its abort marker.
fn take(
    bytes: Bytes,
    mut aborted: VecDeque<crate::log::AbortedTransaction>,
    from: Offset,
    seen: &mut Vec<(i64, u8)>,
) {
    let mut dropped = HashSet::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let header = crate::records::BatchHeader::parse(&rest).unwrap();
        let batch = rest.split_to(usize::try_from(header.size_bytes()).unwrap());
        let batch = ValidBatch::parse_stored(batch).unwrap();
        while let Some(next) =
            aborted.pop_front_if(|next| next.first_offset <= header.last_offset())
        {
            dropped.insert(next.producer_id);
        }
        let records = batch.records(1 << 20).unwrap();
        for record in &records {
            let record = record.unwrap();
            if header.attributes.is_control() {
                let Some(ControlRecord::End(marker)) = ControlRecord::decode(&record) else {
                    panic!("no marker at {}", record.offset)
                };
                if marker.outcome == Outcome::Abort {
                    dropped.remove(&header.producer_id);
                }
            } else if from <= record.offset
                && !(header.attributes.is_transactional() && dropped.contains(&header.producer_id))
            {
                seen.push((record.offset.0, record.key.unwrap()[0] - b'0'));
            }
        }
    }
}

fn lives(count: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some(); // The long form.
    let cases = if asked { default.cases } else { count };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(lives(60))]
    #[test]
    fn any_life(steps in prop::collection::vec(step(), 1..60)) {
        Life::new(false).live(&steps);
    }

    #[test]
    fn any_life_that_loses_its_oldest_records(
        steps in prop::collection::vec(step_with_losses(), 1..60)
    ) {
        Life::new(false).live(&steps);
    }

    #[test]
    fn any_life_of_a_compacted_topic(steps in prop::collection::vec(step_of_a_table(), 1..80)) {
        Life::new(true).live(&steps);
    }
}
