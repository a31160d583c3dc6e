//! kill -9 while a table is written and compacted, over and over on one data folder, also while it
//! starts: each round finds the table that was acknowledged, every record at its offset, and none
//! back from the dead. `OTTLA_KILL_ROUNDS` says how many rounds, `OTTLA_SEED` which.

use std::collections::BTreeMap;
use std::io::Error;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ottla::clock::Clock;
use ottla::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, Records};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::records::{BatchBuilder, BatchHeader, Codec, NewRecord, ValidBatch};
use ottla::types::Timestamp;

use super::support::{Broker, Storage};
use super::wire::Wire;
use super::{START_MS_MAX, START_SHARE, linger, next, number};

/// Rounds in an ordinary run.
const ROUNDS: u64 = 40;
/// The longest that a round writes before the kill, in ms.
const LOAD_MS_MAX: u64 = 200;
const TOPIC: &str = "table";
const KEYS: u64 = 20;
const BATCH: usize = 3;
/// Between two batches; a segment holds ten of them.
const STEP_MS: i64 = 100;
const CONFIGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("delete.retention.ms", "0"),
    ("file.delete.delay.ms", "0"),
];

/// Key, and a value or a tombstone.
type Row = (u64, Option<u64>);

/// What was sent, by offset; the last batch may not have been stored.
#[derive(Debug, Default)]
struct Sent {
    rows: Vec<Row>,
    acknowledged: usize,
}

impl Sent {
    /// What comes next: it is sent once this returns.
    fn draw(&mut self, seed: &mut u64) -> Vec<Row> {
        let base = self.rows.len();
        let row = |offset: usize| {
            let is_tombstone = next(seed).is_multiple_of(5);
            (next(seed) % KEYS, (!is_tombstone).then_some(offset as u64))
        };
        (base..base + BATCH).map(row).collect()
    }

    /// Where a batch was stored tells whether the one before it, which had no answer, was stored too.
    fn settle(&mut self, base: usize) {
        let (acknowledged, sent) = (self.acknowledged, self.rows.len());
        assert!(base == acknowledged || base == sent, "{base} of {acknowledged} to {sent}");
        self.rows.truncate(base);
    }

    fn acknowledge(&mut self, rows: &[Row]) {
        self.rows.extend(rows);
        self.acknowledged = self.rows.len();
    }
}

/// The time of the batch that begins at an offset.
fn time_at(begin: Timestamp, offset: usize) -> Timestamp {
    begin.plus_ms(i64::try_from(offset / BATCH).unwrap() * STEP_MS)
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeMap<u64, u64> {
    let mut table = BTreeMap::new();
    for (key, value) in rows {
        match value {
            Some(value) => table.insert(*key, *value),
            None => table.remove(key),
        };
    }
    table
}

#[test]
fn a_table_survives_kill_9_while_it_is_compacted() {
    let rounds = number("OTTLA_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut seed = number("OTTLA_SEED").unwrap_or(20_260_102);
    println!("{rounds} rounds, OTTLA_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    let arguments = ["--set", "log.cleaner.backoff.ms=1"];
    let begin = Clock::system().now().wall.plus_ms(-100 * 24 * 3_600_000);
    let sent = Arc::new(Mutex::new(Sent::default()));
    let mut broker = Some(Broker::start(&storage, &arguments).unwrap());
    create(&mut Wire::connect(broker.as_ref().unwrap().bootstrap()).unwrap()).unwrap();
    for round in 0..rounds {
        let context = |error: String| -> Broker { panic!("round {round}: {error}") };
        if broker.is_none() && next(&mut seed).is_multiple_of(START_SHARE) {
            let starting = Broker::spawn(&storage, &arguments).unwrap_or_else(context);
            linger(next(&mut seed) % START_MS_MAX);
            starting.kill();
            continue;
        }
        let start = || Broker::start(&storage, &arguments).unwrap_or_else(context);
        let running = broker.take().unwrap_or_else(start);
        verify(running.bootstrap(), &sent, (begin, &mut seed));
        let writer = write(running.bootstrap(), &sent, (begin, next(&mut seed)));
        linger(next(&mut seed) % LOAD_MS_MAX);
        running.kill();
        writer.join().unwrap();
    }
    let last = Broker::start(&storage, &arguments).unwrap();
    let left = verify(last.bootstrap(), &sent, (begin, &mut seed));
    last.stop().unwrap();
    let count = sent.lock().unwrap().rows.len();
    println!("{count} records sent, {left} left");
    assert!(count > 0 && left < count, "nothing was compacted: {left} of {count}");
}

fn create(wire: &mut Wire) -> Result<(), Error> {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: 1,
        replication_factor: -1,
        configs: CONFIGS.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let code = wire.call(4, &request)?.topics[0].error_code;
    if code.is_error() { Err(Error::other(code.name())) } else { Ok(()) }
}

/// Writes batch after batch until the broker is gone.
fn write(
    bootstrap: &str,
    sent: &Arc<Mutex<Sent>>,
    (begin, mut seed): (Timestamp, u64),
) -> JoinHandle<()> {
    let (bootstrap, sent) = (bootstrap.to_owned(), Arc::clone(sent));
    std::thread::spawn(move || {
        let Ok(mut wire) = Wire::connect(&bootstrap) else { return };
        loop {
            let (base, rows) = {
                let mut sent = sent.lock().unwrap();
                let (base, rows) = (sent.rows.len(), sent.draw(&mut seed));
                sent.rows.extend(&rows);
                (base, rows)
            };
            let Ok(offset) = produce(&mut wire, &rows, time_at(begin, base)) else { return };
            assert_eq!(offset, base);
            sent.lock().unwrap().acknowledged = base + BATCH;
        }
    })
}

/// Sends one batch; where it was stored.
fn produce(wire: &mut Wire, rows: &[Row], timestamp: Timestamp) -> Result<usize, Error> {
    let mut batch = BatchBuilder::new().compression(Codec::Lz4);
    for (key, value) in rows {
        let (key, value) = (key.to_be_bytes(), value.map(u64::to_be_bytes));
        let value = value.as_ref().map(|value| &value[..]);
        batch.push(&NewRecord { timestamp, key: Some(&key), value, headers: &[] });
    }
    let records = Some(batch.build().unwrap().to_bytes());
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let data = TopicProduceData { name: TOPIC.to_owned(), partition_data, ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![data],
        ..ProduceRequest::default()
    };
    let answer = wire.call(9, &request)?;
    let row = &answer.responses[0].partition_responses[0];
    if row.error_code.is_error() {
        return Err(Error::other(row.error_code.name()));
    }
    Ok(usize::try_from(row.base_offset).unwrap())
}

/// Writes a batch, reads all that is there up to it, and compares that with what was sent; how many
/// records there are.
fn verify(bootstrap: &str, sent: &Mutex<Sent>, (begin, seed): (Timestamp, &mut u64)) -> usize {
    let mut wire = Wire::connect(bootstrap).unwrap();
    let mut sent = sent.lock().unwrap();
    let rows = sent.draw(seed);
    let base = produce(&mut wire, &rows, time_at(begin, sent.rows.len())).unwrap();
    sent.settle(base);
    sent.acknowledge(&rows);
    let (found, end) = read_all(&mut wire).unwrap();
    assert_eq!(end, sent.acknowledged);
    assert!(found.is_sorted_by(|left, right| left.0 < right.0), "{found:?}");
    for (offset, row) in &found {
        assert_eq!(*row, sent.rows[*offset], "offset {offset}");
    }
    assert_eq!(table(found.iter().map(|(_, row)| row)), table(sent.rows.iter()));
    found.len()
}

/// Every record by offset, and the high watermark.
fn read_all(wire: &mut Wire) -> Result<(Vec<(usize, Row)>, usize), Error> {
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        let partition = FetchPartition {
            fetch_offset: next,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: TOPIC.to_owned(),
            partitions: vec![partition],
            ..FetchTopic::default()
        };
        let request = FetchRequest { min_bytes: 1, topics: vec![topic], ..Default::default() };
        let answer = wire.call(11, &request)?;
        let data = &answer.responses[0].partitions[0];
        assert!(!data.error_code.is_error(), "{data:?}");
        let Records::Bytes(mut bytes) = data.records.clone() else { unreachable!() };
        if bytes.is_empty() && next >= data.high_watermark {
            return Ok((found, usize::try_from(next).unwrap()));
        }
        while let Ok(header) = BatchHeader::parse(&bytes) {
            let size = usize::try_from(header.size_bytes()).unwrap();
            if size > bytes.len() {
                break;
            }
            let batch = ValidBatch::parse_stored(bytes.split_to(size)).unwrap();
            next = header.next_offset().0;
            for record in &batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
                let row = (number(record.key.unwrap()), record.value.map(number));
                found.push((usize::try_from(record.offset.0).unwrap(), row));
            }
        }
    }
}
