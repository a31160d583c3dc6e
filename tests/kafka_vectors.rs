//! Reads what Apache Kafka wrote (`tests/vectors`): every batch decoded and encoded again byte for
//! byte, compared with what Kafka's own tool says of it, and every folder recovered and read.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "a test looks at files beside the one door")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use ottla::catalog::CatalogRecord;
use ottla::groups::GroupRecord;
use ottla::log::fs::RealFs;
use ottla::log::{Checkpoint, Log, LogConfig, layout};
use ottla::machine::{Effects, Machine, Ticket};
use ottla::partition::{ProducerSlots, Producers};
use ottla::records::record::put_record;
use ottla::records::{
    BatchHeader, Codec, Compression, ControlRecord, EndMarker, NewRecord, Outcome, ValidBatch,
};
use ottla::txn::{Command, Coordinator, DescribedTransaction, Reply, TransactionRecord, TxnConfig};
use ottla::types::{Monotonic, Now, Offset, Timestamp};

const LIMIT: usize = 1 << 24;
const NOW: Timestamp = Timestamp(1_795_320_000_000);

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(vectors()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert_eq!(folders.len(), 8);
    folders
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    logs.sort();
    assert!(!logs.is_empty());
    logs
}

fn batches(path: &Path) -> Vec<ValidBatch> {
    let mut rest = Bytes::from(fs::read(path).unwrap());
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let size = BatchHeader::parse(&rest).unwrap().size_bytes();
        let batch = rest.split_to(usize::try_from(size).unwrap());
        batches.push(ValidBatch::parse_stored(batch).unwrap());
    }
    batches
}

/// The `name: value` pairs of a line of the dump.
fn pairs(line: &str) -> BTreeMap<&str, &str> {
    let words: Vec<&str> = line.trim_start_matches("| ").split(' ').collect();
    words.windows(2).filter_map(|pair| Some((pair[0].strip_suffix(':')?, pair[1]))).collect()
}

#[test]
fn every_batch_comes_back_byte_for_byte() {
    let mut logs: Vec<PathBuf> = folders().iter().flat_map(|folder| segments(folder)).collect();
    logs.push(vectors().join("bootstrap.checkpoint"));
    for log in logs {
        let mut out = Vec::new();
        for mut batch in batches(&log) {
            let header = *batch.header();
            let records = batch.records(LIMIT).unwrap();
            let mut area = Vec::new();
            for record in &records {
                let record = record.unwrap();
                let headers: Vec<_> = record.headers.iter().collect();
                let (timestamp, key, value) = (record.timestamp, record.key, record.value);
                let new = NewRecord { timestamp, key, value, headers: &headers };
                put_record(&mut area, record.timestamp_delta, record.offset_delta, &new);
            }
            assert_eq!(area, **records.area());
            assert_eq!(batch.to_bytes()[..61], header.encode());
            batch.assign(header.base_offset, header.leader_epoch);
            out.extend(batch.slices().concat());
            let codec = header.attributes.codec().unwrap();
            let again = batch.recompressed(Compression::from(codec), LIMIT).unwrap();
            assert_eq!(again.records(LIMIT).unwrap().area(), records.area());
        }
        assert_eq!(out, fs::read(&log).unwrap(), "{}", log.display());
    }
}

#[test]
fn every_batch_reads_as_kafka_reads_it() {
    let mut seen = 0;
    for log in folders().iter().flat_map(|folder| segments(folder)) {
        let text = String::from_utf8_lossy(&fs::read(format!("{}.txt", log.display())).unwrap())
            .into_owned();
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("baseOffset: ") || line.starts_with("| offset: "));
        let mut position = 0;
        for batch in batches(&log) {
            let header = batch.header();
            let said = pairs(lines.next().unwrap());
            let codec = match header.attributes.codec().unwrap() {
                Codec::None => "none",
                Codec::Gzip => "gzip",
                Codec::Snappy => "snappy",
                Codec::Lz4 => "lz4",
                Codec::Zstd => "zstd",
            };
            for (name, ours) in [
                ("baseOffset", header.base_offset.to_string()),
                ("lastOffset", header.last_offset().to_string()),
                ("count", header.record_count.to_string()),
                ("baseSequence", header.base_sequence.to_string()),
                ("lastSequence", header.last_sequence().to_string()),
                ("producerId", header.producer_id.to_string()),
                ("producerEpoch", header.producer_epoch.to_string()),
                ("partitionLeaderEpoch", header.leader_epoch.to_string()),
                ("isTransactional", header.attributes.is_transactional().to_string()),
                ("isControl", header.attributes.is_control().to_string()),
                ("position", position.to_string()),
                ("size", header.size_bytes().to_string()),
                ("compresscodec", codec.to_owned()),
                ("crc", header.crc.to_string()),
                (time_name(header), header.max_timestamp.to_string()),
            ] {
                assert_eq!(said[name], ours, "{name} in {}", log.display());
            }
            position += header.size_bytes();
            seen += check_records(&batch, &mut lines);
        }
        assert_eq!(lines.next(), None);
    }
    assert!(seen > 200, "{seen}");
}

fn time_name(header: &BatchHeader) -> &'static str {
    if header.attributes.is_append_time() { "LogAppendTime" } else { "CreateTime" }
}

fn check_records<'a>(batch: &ValidBatch, lines: &mut impl Iterator<Item = &'a str>) -> usize {
    let records = batch.records(LIMIT).unwrap();
    for record in &records {
        let record = record.unwrap();
        let line = lines.next().unwrap();
        let said = pairs(line);
        let size = |bytes: Option<&[u8]>| bytes.map_or("-1".to_owned(), |b| b.len().to_string());
        assert_eq!(said["offset"], record.offset.to_string());
        assert_eq!(said[time_name(batch.header())], record.timestamp.to_string());
        assert_eq!(said["keySize"], size(record.key), "{line}");
        assert_eq!(said["valueSize"], size(record.value), "{line}");
        let names: Vec<_> =
            record.headers.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect();
        assert!(line.contains(&format!("headerKeys: [{}]", names.join(","))), "{line}");
        if let Some(ended) = said.get("endTxnMarker") {
            let outcome = if *ended == "COMMIT" { Outcome::Commit } else { Outcome::Abort };
            let coordinator_epoch = said["coordinatorEpoch"].parse().unwrap();
            let marker = ControlRecord::End(EndMarker { outcome, coordinator_epoch });
            assert_eq!(ControlRecord::decode(&record), Some(marker));
        }
    }
    records.iter().count()
}

/// Key and value of every record of a journal.
fn journal(folder: &str) -> Vec<(Option<Bytes>, Option<Bytes>)> {
    let mut all = Vec::new();
    for batch in segments(&vectors().join(folder)).iter().flat_map(|log| batches(log)) {
        let records = batch.records(LIMIT).unwrap();
        if !batch.header().attributes.is_control() {
            let own = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
            all.extend(records.iter().map(|record| {
                let record = record.unwrap();
                (own(record.key), own(record.value))
            }));
        }
    }
    all
}

#[test]
fn every_record_of_the_groups_journal_comes_back_byte_for_byte() {
    let records = journal("__consumer_offsets-0");
    assert_eq!(records.len(), 5);
    for (key, value) in records {
        let key = key.unwrap();
        let record = GroupRecord::decode(key.clone(), value.clone()).unwrap();
        assert_eq!(record.encode().unwrap(), Some((key, value)), "{record:?}");
    }
}

#[test]
fn every_record_of_the_transactions_journal_comes_back_byte_for_byte() {
    let now = Now { wall: NOW, monotonic: Monotonic(0) };
    let mut coordinator = Coordinator::new(TxnConfig::default(), now);
    let records = journal("__transaction_state-0");
    assert_eq!(records.len(), 17);
    for (key, value) in records {
        let key = key.unwrap();
        let record = TransactionRecord::decode(key.clone(), value.clone()).unwrap();
        assert_eq!(record.encode().unwrap(), (key, value), "{record:?}");
        coordinator.replay(now, record);
    }
    let mut effects = Effects::default();
    let ids = vec!["tx-1".to_owned(), "tx-2".to_owned()];
    coordinator.handle(now, Ticket(0), Command::Describe(ids), &mut effects);
    let (_, Reply::Describe(described)) = effects.replies.remove(0) else { panic!("described") };
    let described = described.into_iter().map(|row| {
        let DescribedTransaction { producer, state, started, partitions, .. } = row.unwrap();
        let (id, epoch) = (producer.producer_id.0, producer.producer_epoch.0);
        (id, epoch, state.name(), started.unwrap().0, partitions.len())
    });
    let expected = [
        (4, 2, "CompleteCommit", 1_795_315_088_377, 0),
        (5, 0, "CompleteCommit", 1_795_315_089_216, 0),
    ];
    assert_eq!(described.collect::<Vec<_>>(), expected);
}

#[test]
fn every_record_of_the_catalogs_journal_comes_back_byte_for_byte() {
    let mut known = 0;
    for (key, value) in journal("__cluster_metadata-0") {
        assert_eq!(key, None);
        let value = value.unwrap();
        let read = CatalogRecord::decode(value.clone()).unwrap();
        known += usize::from(!matches!(read.record, CatalogRecord::Other { .. }));
        assert_eq!(read.record.encode_as(read.version).unwrap(), value, "{read:?}");
    }
    assert_eq!(known, 36);
}

#[test]
fn every_folder_is_recovered_and_read() {
    for folder in folders() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(layout::parse_partition_folder(name).is_some());
        let scratch = tempfile::tempdir().unwrap();
        let copy = scratch.path().join(name);
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let metadata = fs::read_to_string(copy.join(layout::PARTITION_METADATA)).unwrap();
        let topic_id = layout::parse_partition_metadata(&metadata).unwrap();
        assert!(layout::partition_metadata(topic_id).starts_with(metadata.trim_end()));
        let epochs = fs::read_to_string(copy.join(layout::LEADER_EPOCHS)).unwrap();
        fs::remove_file(copy.join(layout::LEADER_EPOCHS)).unwrap();
        check_log(&folder, copy, &epochs);
    }
}

/// One producer of a `.snapshot` file: id, epoch, last sequence, time, coordinator epoch, and where
/// its open transaction begins.
type Known = (i64, i16, i32, i64, i32, i64);

/// What Kafka knew of the producers of a log.
fn snapshot(path: &Path) -> Vec<Known> {
    let mut bytes = Bytes::from(fs::read(path).unwrap());
    assert_eq!(bytes.get_i16(), 1);
    let _crc = bytes.get_u32();
    let count = bytes.get_i32();
    let mut all = Vec::new();
    for _ in 0..count {
        let (id, epoch, last_sequence) = (bytes.get_i64(), bytes.get_i16(), bytes.get_i32());
        let (_last_offset, _offset_delta) = (bytes.get_i64(), bytes.get_i32());
        let (timestamp, coordinator_epoch) = (bytes.get_i64(), bytes.get_i32());
        all.push((id, epoch, last_sequence, timestamp, coordinator_epoch, bytes.get_i64()));
    }
    assert!(bytes.is_empty());
    all.sort_unstable();
    all
}

fn known(producers: &Producers) -> Vec<Known> {
    let states = producers.describe().into_iter().map(|state| {
        let last_sequence = state.last_sequence.unwrap_or(-1);
        let coordinator_epoch = state.coordinator_epoch.unwrap_or(-1);
        let first = state.transaction_start.map_or(-1, |first| first.0);
        let (id, epoch) = (state.producer_id.0, state.producer_epoch.0);
        (id, epoch, last_sequence, state.last_timestamp.0, coordinator_epoch, first)
    });
    states.collect()
}

#[test]
fn what_kafka_knew_of_its_producers_and_transactions_is_what_the_log_tells() {
    for (name, ends, aborted) in [
        ("transactions-0", [5, 20].as_slice(), 1),
        ("codecs-0", &[110], 0),
        ("__consumer_offsets-0", &[6], 0),
    ] {
        let folder = vectors().join(name);
        let mut producers = Producers::new(ProducerSlots::new(100));
        let stored: Vec<ValidBatch> =
            segments(&folder).iter().flat_map(|path| batches(path)).collect();
        for batch in &stored {
            let base = batch.header().base_offset;
            if ends.contains(&base.0) {
                let path = folder.join(format!("{:020}.snapshot", base.0));
                assert_eq!(known(&producers), snapshot(&path), "{name} at {base}");
            }
            producers.record(batch);
        }
        let end = stored.last().unwrap().header().next_offset();
        let path = folder.join(format!("{:020}.snapshot", end.0));
        assert_eq!(known(&producers), snapshot(&path), "{name} at {end}");
        assert_eq!(producers.aborted_count(), aborted, "{name}: as many as its .txnindex has");
    }
}

fn check_log(original: &Path, copy: PathBuf, epochs: &str) {
    let config = LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: 604_800_000,
        segment_jitter_ms: 0,
        index_interval_bytes: 300,
        retention_ms: -1,
        retention_bytes: -1,
        delete: true,
        compact: false,
        file_delete_delay_ms: 0,
    };
    let (log, recovery) =
        Log::open(Arc::new(RealFs), copy, config, Checkpoint::default(), NOW).unwrap();
    assert_eq!((recovery.truncated_bytes, recovery.truncated_from), (0, None));
    let stored: Vec<ValidBatch> =
        segments(original).iter().flat_map(|path| batches(path)).collect();
    let end = stored.last().unwrap().header().next_offset();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), end));
    let lines =
        log.epochs().entries().iter().map(|(e, o)| format!("{e} {o}\n")).collect::<String>();
    // Compaction may have taken the first batch of an epoch.
    let first = stored.first().unwrap().header().base_offset;
    let epochs = epochs.replace("\n0 0\n", &format!("\n0 {first}\n"));
    assert!(epochs.ends_with(&lines) && !lines.is_empty(), "{epochs} {lines}");
    let reader = log.reader();
    let read: Vec<Bytes> =
        reader.batches(Offset(0)).map(|batch| batch.unwrap().to_bytes()).collect();
    assert_eq!(read, stored.iter().map(ValidBatch::to_bytes).collect::<Vec<_>>());
    let mut from = Offset(0);
    let mut ranges = Vec::new();
    while let Some(range) = reader.read(from, end, 700, true).unwrap() {
        ranges.extend(range.read().unwrap());
        from = range.next;
    }
    let files: Vec<u8> =
        segments(original).iter().flat_map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(ranges, files);
    let newest = stored.iter().map(|batch| batch.header().max_timestamp).max();
    let found = reader.max_timestamp(end).unwrap().unwrap();
    assert_eq!(Some(found.timestamp), newest);
    let since = reader.offset_for_timestamp(found.timestamp, end).unwrap().unwrap();
    assert_eq!(since, found);
}
