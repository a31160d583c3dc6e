//! Compaction: rule by rule, read by its readers, cut short at every step, and in random lives.

mod crash;
mod kafka;
mod model;
mod readers;
mod rules;
mod transactions;

use std::collections::{BTreeMap, HashMap};

use super::super::fs::FaultyFs;
use super::*;
use crate::records::{Codec, OwnedRecord};
use crate::types::{ProducerEpoch, ProducerId};

/// How long tombstones stay in these tests, in ms.
const DELETE_RETENTION_MS: i64 = 1000;

/// A log that is used as a table: every record has a key, and the newest counts.
pub(super) struct Table {
    pub(super) log: Log,
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) config: LogConfig,
    pub(super) compaction: CompactionConfig,
    pub(super) memory_bytes: usize,
    pub(super) producers: HashMap<ProducerId, ProducerTail>,
    pub(super) aborted: Vec<AbortedTransaction>,
    pub(super) now: Timestamp,
}

/// One record, by what a consumer sees of it.
pub(super) type Row = (i64, String, Option<String>);

pub(super) fn compaction() -> CompactionConfig {
    CompactionConfig {
        delete_retention_ms: DELETE_RETENTION_MS,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        min_cleanable_dirty_ratio: 0.0,
    }
}

pub(super) fn go_on(_: Io, _: u64) -> Flow {
    Flow::Continue
}

impl Table {
    /// On a disk of its own, with a segment for each batch.
    pub(super) fn new() -> Self {
        Self::on(Arc::new(disk()), dir())
    }

    pub(super) fn on(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        let config = LogConfig { segment_ms: 0, compact: true, delete: false, ..config() };
        let opened = Log::open(Arc::clone(&fs), dir.clone(), config, Checkpoint::default(), NOW);
        Self {
            log: opened.unwrap().0,
            fs,
            dir,
            config,
            compaction: compaction(),
            memory_bytes: 1 << 20,
            producers: HashMap::new(),
            aborted: Vec::new(),
            now: NOW,
        }
    }

    /// Appends one batch, a ms later than the one before; "-" for a value is a tombstone.
    pub(super) fn put(&mut self, records: &[(&str, &str)]) -> Offset {
        self.append(BatchBuilder::new(), records)
    }

    pub(super) fn append(&mut self, builder: BatchBuilder, records: &[(&str, &str)]) -> Offset {
        let mut builder = builder;
        self.now = self.now.plus_ms(1);
        for (key, value) in records {
            builder.push(&NewRecord {
                timestamp: self.now,
                key: (*key != "null").then_some(key.as_bytes()),
                value: (*value != "-").then_some(value.as_bytes()),
                headers: &[("h".as_bytes(), Some(b"1"))],
            });
        }
        self.append_batch(builder.build().unwrap())
    }

    pub(super) fn append_batch(&mut self, mut batch: ValidBatch) -> Offset {
        let base = self.log.end_offset();
        batch.assign(base, LeaderEpoch(0));
        self.log.append(&[batch], self.now).unwrap();
        base
    }

    /// Begins a segment that compaction may not touch, with a record of its own key.
    pub(super) fn roll(&mut self) {
        let key = format!("active-{}", self.log.end_offset());
        self.put(&[(&key, "x")]);
    }

    pub(super) fn cleanable(&self) -> Cleanable {
        let reader = self.log.reader();
        reader.cleanable(&self.compaction, self.log.end_offset(), self.now).unwrap()
    }

    pub(super) fn plan(&self) -> Plan {
        Plan {
            cleanable: self.cleanable(),
            delete_retention_ms: self.compaction.delete_retention_ms,
            segment_bytes: self.config.segment_bytes,
            index_interval_bytes: self.config.index_interval_bytes,
            memory_bytes: self.memory_bytes,
            pages: Pages::Dropped,
            now: self.now,
            producers: self.producers.clone(),
            aborted: self.aborted.clone(),
        }
    }

    /// One run; how many swaps it took.
    pub(super) fn try_compact(&mut self) -> Result<usize, CompactError> {
        let mut run = self.log.reader().compact(self.plan(), &mut go_on)?;
        let mut swaps = 0;
        while let Some(cleaned) = run.next(&mut go_on)? {
            match self.log.swap(cleaned, self.now)? {
                Swap::Done { .. } => swaps += 1,
                Swap::Outdated => panic!("nobody else is here"),
                Swap::Refused(error) => return Err(error.into()),
            }
        }
        self.log.mark_compacted(run.end())?;
        Ok(swaps)
    }

    pub(super) fn compact(&mut self) -> usize {
        self.try_compact().unwrap()
    }

    /// Closes the log and opens it again.
    pub(super) fn reopen(&mut self) {
        let end = self.log.end_offset();
        sync(&mut self.log);
        self.open(Checkpoint { durable_up_to: end, ..Checkpoint::default() }).unwrap();
    }

    pub(super) fn open(&mut self, checkpoint: Checkpoint) -> Result<(), LogError> {
        let (fs, dir) = (Arc::clone(&self.fs), self.dir.clone());
        self.log = Log::open(fs, dir, self.config, checkpoint, self.now)?.0;
        Ok(())
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        rows(&self.log.reader())
    }

    /// What is left, as one word: `offset:key=value ...`, without the active segment's record.
    pub(super) fn told(&self) -> String {
        let told = |(offset, key, value): &Row| {
            format!("{offset}:{key}={}", value.as_deref().unwrap_or("-"))
        };
        let rows = self.rows();
        let words = rows.iter().filter(|row| !row.1.starts_with("active")).map(told);
        words.collect::<Vec<_>>().join(" ")
    }

    /// Base offsets and counts of the batches before the active segment.
    pub(super) fn frames(&self) -> Vec<(i64, i64, i32)> {
        let reader = self.log.reader();
        let active = reader.all_segments().last().unwrap().base;
        let batches = reader.batches(reader.start_offset()).map(Result::unwrap);
        let frames = batches.map(|batch| *batch.header());
        let frames = frames.take_while(|header| header.base_offset < active);
        frames
            .map(|header| (header.base_offset.0, header.last_offset().0, header.record_count))
            .collect()
    }
}

pub(super) fn records(reader: &LogReader) -> Vec<OwnedRecord> {
    let mut found = Vec::new();
    for batch in reader.batches(reader.start_offset()) {
        let records = batch.unwrap().records(1 << 20).unwrap();
        found.extend(records.iter().map(|record| records.own(&record.unwrap())));
    }
    found
}

/// All records that have a key.
pub(super) fn rows(reader: &LogReader) -> Vec<Row> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let row = |record: OwnedRecord| {
        let key = record.key.map_or("null".to_owned(), |key| text(&key));
        (record.offset.0, key, record.value.map(|value| text(&value)))
    };
    let rows: Vec<_> = records(reader).into_iter().map(row).collect();
    assert!(rows.is_sorted_by(|left, right| left.0 < right.0), "{rows:?}");
    rows
}

/// What a table makes of its records.
pub(super) fn table(rows: &[Row]) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, key, value) in rows {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
    table
}
