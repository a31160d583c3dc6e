//! Random lives of a table against a model, on a disk, in memory, and on a disk that forgets.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::super::fs::{Crash, MemoryFs, RealFs};
use super::*;

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    /// One batch: keys, and whether each record is a tombstone.
    Put(Vec<(u8, bool)>, u8),
    Sync,
    Compact {
        memory_bytes: usize,
        segment_bytes: u64,
        lag_ms: i64,
    },
    /// kill -9 and a new start.
    Restart,
    /// A power cut; only where the disk can.
    PowerCut(u64),
    Wait(i64),
    DeleteBefore(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::collection::vec((0..6_u8, prop::bool::weighted(0.2)), 1..4), 0..5_u8)
            .prop_map(|(records, codec)| Step::Put(records, codec)),
        3 => Just(Step::Sync),
        4 => (prop_oneof![Just(1_usize), Just(300), Just(1 << 20)],
              prop_oneof![Just(1_u64), Just(400), Just(1 << 20)],
              prop_oneof![3 => Just(0_i64), 1 => Just(3)])
            .prop_map(|(memory_bytes, segment_bytes, lag_ms)| {
                Step::Compact { memory_bytes, segment_bytes, lag_ms }
            }),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::PowerCut),
        1 => (1..DELETE_RETENTION_MS).prop_map(Step::Wait),
        1 => (0..8_u8).prop_map(Step::DeleteBefore),
    ]
}

/// A table and all that was ever put into it.
struct Life {
    table: Table,
    disk: Option<FaultyFs>,
    /// By offset.
    all: Vec<Row>,
    synced: usize,
    /// No run went further.
    compacted: i64,
}

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

impl Life {
    fn on(fs: Arc<dyn Fs>, disk: Option<FaultyFs>, dir: PathBuf) -> Self {
        Self { table: Table::on(fs, dir), disk, all: Vec::new(), synced: 0, compacted: 0 }
    }

    fn live(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            self.step(step)?;
            self.check(step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put(records, codec) => self.put(records, CODECS[usize::from(*codec)]),
            Step::Sync => {
                sync(&mut self.table.log);
                self.synced = self.all.len();
            }
            Step::Compact { memory_bytes, segment_bytes, lag_ms } => {
                self.table.memory_bytes = *memory_bytes;
                self.table.config.segment_bytes = *segment_bytes;
                self.table.compaction.min_compaction_lag_ms = *lag_ms;
                self.compact()?;
                self.table.config.segment_bytes = config().segment_bytes;
            }
            Step::Restart => self.open(self.synced, None).unwrap(),
            Step::PowerCut(seed) => {
                let Some(disk) = self.disk.clone() else { return Ok(()) };
                let kinds = [Crash::DropUnsynced, Crash::KeepPrefix(*seed)];
                let kind = kinds[usize::from(seed % 4 != 0)];
                match self.open(self.synced, Some(disk.crash(kind))) {
                    Err(LogError::Damaged(damage)) if kind != Crash::DropUnsynced => {
                        // A later unsynced segment was kept and an earlier one was not.
                        prop_assert!(damage.offset.0 >= i64::try_from(self.synced).unwrap());
                        let none = disk.crash(Crash::DropUnsynced);
                        self.open(self.synced, Some(none)).unwrap();
                    }
                    opened => opened.unwrap(),
                }
            }
            Step::Wait(ms) => self.table.now = self.table.now.plus_ms(*ms),
            Step::DeleteBefore(back) => {
                let start = self.synced.saturating_sub(usize::from(*back) * 4);
                let start = Offset(i64::try_from(start).unwrap());
                self.table.log.advance_start(start).unwrap();
                self.table.log.enforce_retention(self.table.now, start).unwrap();
                self.table.log.remove_due(self.table.now).unwrap();
            }
        }
        Ok(())
    }

    fn put(&mut self, records: &[(u8, bool)], codec: Codec) {
        let base = self.all.len();
        let rows: Vec<(String, String)> = records
            .iter()
            .enumerate()
            .map(|(i, (key, is_tombstone))| {
                let value = if *is_tombstone { "-".to_owned() } else { format!("v{}", base + i) };
                (format!("k{key}"), value)
            })
            .collect();
        let borrowed: Vec<_> =
            rows.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        self.table.append(BatchBuilder::new().compression(codec), &borrowed);
        for (i, (key, value)) in rows.into_iter().enumerate() {
            let offset = i64::try_from(base + i).unwrap();
            self.all.push((offset, key, (value != "-").then_some(value)));
        }
    }

    /// Up to what is synced, as the high watermark has it.
    fn compact(&mut self) -> Result<(), TestCaseError> {
        let table = &mut self.table;
        let up_to = Offset(i64::try_from(self.synced).unwrap());
        let reader = table.log.reader();
        let cleanable = reader.cleanable(&table.compaction, up_to, table.now).unwrap();
        prop_assert!(cleanable.from <= cleanable.end);
        let plan = Plan { cleanable, ..table.plan() };
        let mut run = reader.compact(plan, &mut go_on).unwrap();
        while let Some(cleaned) = run.next(&mut go_on).unwrap() {
            table.log.swap(cleaned, table.now).unwrap();
        }
        prop_assert!(cleanable.dirty_bytes == 0 || cleanable.from < run.end());
        table.log.mark_compacted(run.end()).unwrap();
        self.compacted = self.compacted.max(run.end().0);
        // Each key at most once among what was compacted; the map was never too small for that,
        // since a run goes only as far as it reaches.
        let mut keys = std::collections::HashSet::new();
        for (offset, key, _) in rows(&reader) {
            if offset < run.end().0 && Offset(offset) >= reader.start_offset() {
                prop_assert!(keys.insert(key.clone()), "{key} twice before {}", run.end());
            }
        }
        Ok(())
    }

    fn open(&mut self, durable: usize, disk: Option<FaultyFs>) -> Result<(), LogError> {
        if let Some(disk) = disk {
            self.table.fs = Arc::new(disk.clone());
            self.disk = Some(disk);
        }
        let durable_up_to = Offset(i64::try_from(durable).unwrap());
        self.table.open(Checkpoint { durable_up_to, ..Checkpoint::default() })?;
        let end = usize::try_from(self.table.log.end_offset().0).unwrap();
        assert!(durable <= end && end <= self.all.len());
        self.all.truncate(end);
        Ok(())
    }

    /// A reader's table is that of all records, wherever it begins to read; each record left is one
    /// that was put, at its offset; and what was not compacted is all there.
    fn check(&self, step: &Step) -> Result<(), TestCaseError> {
        let log = &self.table.log;
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        prop_assert_eq!(usize::try_from(end).unwrap(), self.all.len());
        let mut left = rows(&log.reader());
        for row in &left {
            prop_assert_eq!(row, &self.all[usize::try_from(row.0).unwrap()]);
        }
        left.retain(|row| row.0 >= start);
        let wanted: Vec<_> = self.all.iter().filter(|row| row.0 >= start).cloned().collect();
        prop_assert_eq!(table(&left), table(&wanted), "{:?}", step);
        let mark = self.compacted.max(start);
        prop_assert!(log.compacted_up_to().0 <= self.compacted);
        let tail =
            |rows: &[Row]| rows.iter().filter(|row| row.0 >= mark).cloned().collect::<Vec<_>>();
        prop_assert_eq!(tail(&left), tail(&wanted), "{:?}", step);
        for from in start..end {
            let next = left.iter().find(|row| row.0 >= from).map(|row| row.0);
            let mut found = None;
            for batch in log.reader().batches(Offset(from)) {
                let records = batch.unwrap().records(1 << 20).unwrap();
                let offsets: Vec<_> = records.iter().map(|it| it.unwrap().offset.0).collect();
                found = offsets.into_iter().find(|offset| *offset >= from);
                if found.is_some() {
                    break;
                }
            }
            prop_assert_eq!(found, next, "from {}", from);
        }
        Ok(())
    }
}

fn lives(count: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some(); // The long form.
    let cases = if asked { default.cases } else { count };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(lives(100))]
    #[test]
    fn any_life_on_a_disk_that_forgets(steps in prop::collection::vec(step(), 1..60)) {
        let disk = disk();
        Life::on(Arc::new(disk.clone()), Some(disk), dir()).live(&steps)?;
    }
}

proptest! {
    #![proptest_config(lives(20))]
    #[test]
    fn any_life_in_memory(steps in prop::collection::vec(step(), 1..60)) {
        Life::on(Arc::new(MemoryFs::new()), None, dir()).live(&steps)?;
    }

    #[test]
    fn any_life_on_a_disk(steps in prop::collection::vec(step(), 1..40)) {
        let scratch = tempfile::tempdir().unwrap();
        Life::on(Arc::new(RealFs), None, scratch.path().join("topic-0")).live(&steps)?;
    }
}
