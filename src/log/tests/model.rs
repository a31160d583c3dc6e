//! Random lives of a log beside a plain list of what should be in it. A failure prints its seed.

use super::super::fs::{Crash, FaultyFs, MemoryFs, RealFs};
use super::*;
use crate::records::Codec;

const STEPS: usize = 120;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap() % end.max(1)
    }
}

/// What should be there: timestamps by offset.
#[derive(Default)]
struct Model {
    times: Vec<i64>,
    start: i64,
    synced: i64,
}

impl Model {
    fn time(&self, offset: i64) -> i64 {
        self.times[usize::try_from(offset).unwrap()]
    }
}

struct Run {
    random: Random,
    fs: Arc<dyn Fs>,
    disk: Option<FaultyFs>,
    dir: PathBuf,
    log: Option<Log>,
    model: Model,
    now: Timestamp,
}

impl Run {
    fn new(seed: u64, fs: Arc<dyn Fs>, disk: Option<FaultyFs>, dir: PathBuf) -> Self {
        eprintln!("seed {seed}");
        let random = Random(seed);
        let model = Model::default();
        let mut run = Self { random, fs, disk, dir, log: None, model, now: NOW };
        run.open(false);
        run
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn config(&mut self) -> LogConfig {
        LogConfig {
            segment_bytes: 2000 + u64::try_from(self.random.below(3000)).unwrap(),
            segment_ms: [500, 604_800_000][usize::try_from(self.random.below(2)).unwrap()],
            segment_jitter_ms: self.random.below(100),
            index_interval_bytes: u32::try_from(self.random.below(1000)).unwrap(),
            retention_ms: [-1, 2000][usize::try_from(self.random.below(2)).unwrap()],
            retention_bytes: [-1, 6000][usize::try_from(self.random.below(2)).unwrap()],
            ..config()
        }
    }

    fn open(&mut self, clean: bool) {
        let config = self.config();
        let durable_up_to = Offset(if clean { self.end() } else { self.model.synced });
        let checkpoint = Checkpoint { log_start: Offset(0), durable_up_to, clean };
        let opened =
            Log::open(Arc::clone(&self.fs), self.dir.clone(), config, checkpoint, self.now);
        let (log, recovery) = opened.unwrap();
        if self.disk.is_none() {
            assert_eq!(recovery.truncated_bytes, 0);
        }
        self.log = Some(log);
    }

    fn end(&self) -> i64 {
        i64::try_from(self.model.times.len()).unwrap()
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(self.random.below(100));
        let op = self.random.below(20);
        eprintln!(
            "op {op} start {} end {} synced {}",
            self.model.start,
            self.end(),
            self.model.synced
        );
        match op {
            0..=9 => self.append(),
            10 | 11 => self.sync(),
            12 => self.advance_start(),
            13 => self.retain(),
            14 => {
                let config = self.config();
                self.log().set_config(config);
            }
            15 => {
                self.log.take().unwrap().close().unwrap();
                self.model.synced = self.end();
                self.open(true);
            }
            16 => {
                self.log = None; // kill -9
                self.open(false);
            }
            17 => self.crash(),
            _ => self.read(),
        }
        let (start, end) = (self.model.start, self.end());
        assert_eq!(self.log().start_offset(), Offset(start));
        assert_eq!(self.log().end_offset(), Offset(end));
    }

    fn append(&mut self) {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let mut batches = Vec::new();
        for _ in 0..=self.random.below(4) {
            let codec = codecs[usize::try_from(self.random.below(5)).unwrap()];
            let mut builder = BatchBuilder::new().compression(codec);
            let base = Offset(self.end());
            for _ in 0..=self.random.below(6) {
                let timestamp = self.now.plus_ms(self.random.below(40) - 20);
                let value = format!("record-{}", self.end());
                let value = Some(value.as_bytes());
                builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
                self.model.times.push(timestamp.0);
            }
            let mut batch = builder.build().unwrap();
            batch.assign(base, LeaderEpoch(0));
            batches.push(batch);
        }
        let now = self.now;
        self.log().append(&batches, now).unwrap();
    }

    fn sync(&mut self) {
        sync(self.log());
        self.model.synced = self.end();
    }

    fn advance_start(&mut self) {
        let start = self.random.below(self.model.synced + 1);
        self.log().advance_start(Offset(start)).unwrap();
        self.model.start = self.model.start.max(start);
    }

    fn retain(&mut self) {
        let (now, synced) = (self.now, self.model.synced);
        self.log().enforce_retention(now, Offset(synced)).unwrap();
        self.log().remove_due(now).unwrap();
        let start = self.log().start_offset().0;
        assert!(self.model.start <= start && start <= synced.max(self.model.start));
        self.model.start = start;
    }

    /// A power cut: the end is anywhere between what was synced and what was appended.
    fn crash(&mut self) {
        let Some(disk) = self.disk.clone() else { return };
        let seed = self.random.0;
        let kinds = [Crash::DropUnsynced, Crash::KeepPrefix(seed), Crash::KeepAny(seed)];
        let kind = kinds[usize::try_from(self.random.below(3)).unwrap()];
        let synced = self.model.synced;
        let log = match self.open_crashed(disk.crash(kind)) {
            Ok(log) => log,
            Err(LogError::Damaged(damage)) => {
                // A later unsynced write was kept and an earlier one was not.
                assert!(kind != Crash::DropUnsynced && synced < self.end(), "{damage}");
                assert!(damage.offset >= Offset(synced), "{damage}");
                self.open_crashed(disk.crash(Crash::DropUnsynced)).unwrap()
            }
            Err(error) => panic!("{error}"),
        };
        let end = log.end_offset().0;
        assert!(synced <= end && end <= self.end(), "{end}");
        self.model.times.truncate(usize::try_from(end).unwrap());
        self.log = Some(log);
    }

    fn open_crashed(&mut self, disk: FaultyFs) -> Result<Log, LogError> {
        self.fs = Arc::new(disk.clone());
        self.disk = Some(disk);
        let config = self.config();
        let durable_up_to = Offset(self.model.synced);
        let checkpoint = Checkpoint { durable_up_to, ..Checkpoint::default() };
        Log::open(Arc::clone(&self.fs), self.dir.clone(), config, checkpoint, self.now)
            .map(|(log, _)| log)
    }

    fn read(&mut self) {
        let (start, end) = (self.model.start, self.end());
        let reader = self.log().reader();
        assert_eq!(read_all(&reader), (start..end).collect::<Vec<i64>>());
        let from = start + self.random.below(end - start);
        let up_to = from + self.random.below(end - from + 1);
        let max_bytes = u64::try_from(self.random.below(3000)).unwrap();
        let range = reader.read(Offset(from), Offset(up_to), max_bytes, false).unwrap();
        if let Some(range) = range {
            assert!(range.base_offset.0 <= from && from < range.next.0 && range.next.0 <= up_to);
            assert!(range.len <= max_bytes);
        }
        let time = self.now.0 - self.random.below(3000);
        let expected = (start..up_to).find(|at| self.model.time(*at) >= time);
        let found = reader.offset_for_timestamp(Timestamp(time), Offset(up_to)).unwrap();
        assert_eq!(found.map(|found| found.offset.0), expected);
        let max = reader.max_timestamp(Offset(up_to)).unwrap().map(|found| found.timestamp.0);
        let expected = (start..up_to).map(|at| self.model.time(at)).max();
        assert_eq!(max, expected);
    }
}

#[test]
fn any_life_on_a_disk_that_forgets_keeps_what_was_synced() {
    for seed in 0..100 {
        let disk = disk();
        let mut run = Run::new(seed, Arc::new(disk.clone()), Some(disk), dir());
        (0..STEPS).for_each(|_| run.step());
    }
}

#[test]
fn any_life_in_memory_keeps_everything() {
    for seed in 0..10 {
        let mut run = Run::new(seed, Arc::new(MemoryFs::new()), None, dir());
        (0..STEPS).for_each(|_| run.step());
    }
}

#[test]
fn any_life_on_a_disk_keeps_everything() {
    for seed in 0..5 {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("topic-0");
        let mut run = Run::new(seed, Arc::new(RealFs), None, dir);
        (0..STEPS).for_each(|_| run.step());
    }
}
