//! Each call of a broker's life with transactions fails once, in turn: a transaction whose commit was
//! answered is wholly there after a restart or a power cut, one that was not committed nowhere, and
//! none stays open.

use std::collections::BTreeSet;
use std::io;

use bytes::{Buf, Bytes};
use ottla::broker::{
    Beginning, GroupOffsets, PartitionRecords, TopicRef, TransactionError, TransactionWrites,
    TransactionalProducer,
};
use ottla::config::value::Durability;
use ottla::groups::{CommitOffsetsInTransaction, PartitionCommit, TopicCommit};
use ottla::log::fs::{Crash, Fault, FaultKind, FaultyFs, Op};
use ottla::partition::Isolation;
use ottla::records::{BatchBuilder, BatchHeader, ControlRecord, NewRecord, Outcome, ValidBatch};
use ottla::txn::{InitProducerId, Producer};
use ottla::types::{
    Generation, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TransactionVersion,
};

use super::checker::{
    self, End, Event, FinalRead, Poll, Promise, Recorder, Seen, Send, Watermarks, check,
};
use super::run::{Run, start_with};
use super::{block_on, number};

/// Calls that fail in an ordinary run, spread over all, with one kind of failure and one setting each;
/// every one with all of them in a long run.
const CALLS: u64 = 50;
const KINDS: [FaultKind; 3] =
    [FaultKind::Error(io::ErrorKind::Other), FaultKind::NoRoom, FaultKind::Torn];
const SETTINGS: [Durability; 2] = [Durability::Fsync, Durability::Os];
/// One partition each; the checker knows them by their place here.
const TOPICS: [&str; 2] = ["a", "b"];
const ID: &str = "pairs";
const GROUP: &str = "group";
const TRANSACTIONS: u32 = 12;
const TIMEOUT_MS: i32 = 10_000;

/// How transactions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Step by step, as clients do.
    Steps,
    /// By the producer of this process, which waits for the disk at the commit only.
    AtOnce,
}

async fn begin(fs: &FaultyFs, durability: Durability) -> Result<Run, String> {
    let run = start_with(fs, |config| config.ottla_durability = durability).await;
    let run = run.map_err(|error| error.to_string())?;
    run.broker.start_tasks();
    Ok(run)
}

/// Transactions over both topics and a group, committed and aborted in turn; the last stays open.
async fn live(fs: &FaultyFs, durability: Durability, way: Way, told: &Recorder) {
    let Ok(run) = begin(fs, durability).await else { return };
    let mut are_made = true;
    for topic in TOPICS {
        are_made &= run.create(topic).await.is_ok();
    }
    let (mut producer, mut own) = (None, None);
    for txn in 0..if are_made { TRANSACTIONS } else { 0 } {
        if run.has_failed() {
            break;
        }
        if way == Way::AtOnce {
            if own.is_none() {
                let taken = run.broker.transactional_producer(ID, TIMEOUT_MS);
                own = run.in_time(taken).await.ok();
            }
            if let Some(holder) = own.take() {
                own = run.in_time(transact_at_once(&run, holder, (txn, durability), told)).await;
            }
            continue;
        }
        if producer.is_none() {
            producer = run.in_time(init(&run)).await.ok();
        }
        if let Some(holder) = producer.take() {
            producer = run.in_time(transact(&run, holder, (txn, durability), told)).await;
        }
    }
    drop(own);
    run.end_tasks().await;
    run.stop();
}

async fn init(run: &Run) -> Result<Producer, TransactionError> {
    let init = InitProducerId {
        transactional_id: ID.to_owned(),
        timeout_ms: TIMEOUT_MS,
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
    };
    run.broker.init_transactional_producer(init).await
}

/// One transaction; who the producer is from there on, if all went well.
async fn transact(
    run: &Run,
    holder: Producer,
    (txn, durability): (u32, Durability),
    told: &Recorder,
) -> Option<Producer> {
    told.note(Event::Begin { txn, at_ms: 0, timeout_ms: 0 });
    let mut offsets = Vec::new();
    for topic in TOPICS {
        offsets.push(send(run, &holder, topic, txn).await);
    }
    if durability == Durability::Fsync {
        look(run, txn, told);
    }
    let mut is_whole = offsets.iter().all(Option::is_some);
    if let (true, Some(offset)) = (is_whole, offsets[0]) {
        is_whole = commit_offset(run, &holder, offset + 1).await;
    }
    let outcome = if txn.is_multiple_of(2) { Outcome::Commit } else { Outcome::Abort };
    let (mut next, mut end) = (None, End::Aborted);
    if is_whole && txn + 1 < TRANSACTIONS {
        if outcome == Outcome::Commit {
            told.note(Event::Committing { txn });
        }
        let version = TransactionVersion::V2;
        next = run.broker.end_transaction(&holder, outcome, version).await.ok();
        end = match (outcome, &next) {
            (Outcome::Abort, _) => End::Aborted,
            (Outcome::Commit, None) => End::Info,
            (Outcome::Commit, Some(_)) => End::Committed,
        };
    }
    tell_end(told, txn, &offsets, end);
    next
}

/// As [`transact`], by the producer of this process.
async fn transact_at_once(
    run: &Run,
    mut holder: TransactionalProducer,
    (txn, durability): (u32, Durability),
    told: &Recorder,
) -> Option<TransactionalProducer> {
    told.note(Event::Begin { txn, at_ms: 0, timeout_ms: 0 });
    let records = TOPICS.iter().map(|topic| PartitionRecords {
        topic: TopicRef::Name((*topic).to_owned()),
        partition: PartitionIndex(0),
        records: record(run, BatchBuilder::new(), txn),
    });
    let writes = TransactionWrites { records: records.collect(), offsets: Vec::new() };
    let written = holder.write(writes).await.unwrap_or_default();
    let offsets: Vec<_> = (0..TOPICS.len())
        .map(|place| written.get(place).map(|appended| appended.base_offset.0))
        .collect();
    if let Some(offset) = offsets[0] {
        let offsets = vec![GroupOffsets {
            group_id: GROUP.to_owned(),
            member: None,
            offsets: vec![(TOPICS[0].to_owned(), vec![commit_to(offset + 1)])],
        }];
        // What is refused here is told by the commit.
        drop(holder.write(TransactionWrites { records: Vec::new(), offsets }).await);
    }
    if durability == Durability::Fsync {
        look(run, txn, told);
    }
    let mut end = End::Aborted;
    let mut is_over = false;
    if txn + 1 < TRANSACTIONS && txn.is_multiple_of(2) {
        told.note(Event::Committing { txn });
        is_over = holder.commit().await.is_ok();
        end = if is_over { End::Committed } else { End::Info };
    } else if txn + 1 < TRANSACTIONS {
        is_over = holder.abort().await.is_ok();
    }
    tell_end(told, txn, &offsets, end);
    is_over.then_some(holder)
}

fn tell_end(told: &Recorder, txn: u32, offsets: &[Option<i64>], end: End) {
    for (partition, offset) in (0..).zip(offsets) {
        let offset = offset.filter(|_| end == End::Committed);
        let (producer, value, promise) = (0, u64::from(txn), Promise::Kept);
        let outcome = offset.map_or(checker::Outcome::Info, checker::Outcome::Ok);
        told.note(Event::Send(Send {
            producer,
            partition,
            value,
            promise,
            outcome,
            txn: Some(txn),
        }));
    }
    told.note(Event::Ended { txn, end });
}

/// Reads what is committed, inside a transaction; only where nothing that was seen may go.
fn look(run: &Run, txn: u32, told: &Recorder) {
    let consumer = 0;
    told.note(Event::Reassigned { consumer });
    for (partition, topic) in (0..).zip(TOPICS) {
        let Ok(records) = committed(run, topic, partition) else { continue };
        let isolation = checker::Isolation::Committed;
        told.note(Event::Poll(Poll { consumer, isolation, records, txn: Some(txn) }));
    }
}

/// Sends the one record of a transaction in a topic; its offset.
async fn send(run: &Run, holder: &Producer, topic: &str, txn: u32) -> Option<i64> {
    let batch = BatchBuilder::new().producer(holder.producer_id, holder.producer_epoch, 0);
    let batch = record(run, batch.transactional(), txn);
    let beginning = Beginning {
        topic: TopicRef::Name(topic.to_owned()),
        partition: PartitionIndex(0),
        records: batch.build().unwrap().to_bytes(),
    };
    let version = TransactionVersion::V2;
    let written = run.broker.produce_beginning(ID, version, vec![beginning]).await.remove(0);
    let written = written.ok()?;
    written.partition.visible(written.appended.end).await.ok()?;
    Some(written.appended.base_offset.0)
}

/// The one record of a transaction.
fn record(run: &Run, mut batch: BatchBuilder, txn: u32) -> BatchBuilder {
    let (timestamp, value) = (run.clock.now().wall, u64::from(txn).to_be_bytes());
    batch.push(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
    batch
}

fn commit_to(offset: i64) -> PartitionCommit {
    PartitionCommit {
        partition: PartitionIndex(0),
        offset: Offset(offset),
        leader_epoch: None,
        metadata: String::new(),
    }
}

async fn commit_offset(run: &Run, holder: &Producer, offset: i64) -> bool {
    let topics = vec![TopicCommit {
        topic: TOPICS[0].to_owned(),
        topic_id: TopicId::ZERO,
        partitions: vec![commit_to(offset)],
    }];
    let commit = CommitOffsetsInTransaction {
        producer_id: holder.producer_id,
        producer_epoch: holder.producer_epoch,
        group_id: GROUP.to_owned(),
        member_id: String::new(),
        group_instance_id: None,
        generation: Generation(-1),
        topics,
    };
    let done = run.broker.commit_offsets_in_transaction(ID.to_owned(), commit, true).await;
    done.is_ok_and(|results| results[0].partitions[0].1.is_ok())
}

/// What is on the disk is what was told.
async fn judge(fs: &FaultyFs, durability: Durability, told: &Recorder, context: &str) {
    let run = begin(fs, durability).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    let partitions: Vec<_> = TOPICS.iter().filter_map(|topic| run.partition(topic)).collect();
    run.wait_until(|| {
        partitions.iter().map(|found| found.watermarks()).all(|m| m.last_stable == m.log_end)
    })
    .await;
    let mut history = told.history();
    let mut end = -1;
    for (partition, topic) in (0..).zip(TOPICS) {
        let Some(found) = run.partition(topic) else { continue };
        let marks = found.watermarks();
        history.push(Event::Watermarks(Watermarks {
            partition,
            at_ms: u64::MAX,
            last_stable: marks.last_stable.0,
            high_watermark: marks.log_end.0,
        }));
        let records = committed(&run, topic, partition);
        let records = records.unwrap_or_else(|error| panic!("{context}: {topic}: {error}"));
        if partition == 0 {
            end = records.last().map_or(-1, |seen| seen.offset + 1);
        }
        let log_end = marks.log_end.0;
        history.push(Event::FinalRead(FinalRead { partition, log_end, records }));
    }
    let mut taken = run.in_time(init(&run)).await;
    let patience = run.patience();
    while taken.is_err() && !patience.is_over(&run) {
        taken = run.in_time(init(&run)).await;
    }
    assert!(taken.is_ok(), "{context}: the id stays busy: {taken:?}");
    let offset = run.committed(TOPICS[0]).await.unwrap();
    assert_eq!(offset, end, "{context}: the group's offset did not go with its records");
    let report = check(&history);
    assert!(report.anomalies.is_empty(), "{context}: {report}");
    run.end_tasks().await;
    run.kill();
}

/// What a read_committed consumer gets.
fn committed(run: &Run, topic: &str, partition: i32) -> Result<Vec<Seen>, String> {
    let log = run.partition(topic).ok_or("no such topic")?;
    let (mut next, mut found) = (log.watermarks().log_start, Vec::new());
    while next < log.watermarks().last_stable {
        let read = log.read(next, 600, true, Isolation::ReadCommitted);
        let read = read.map_err(|error| error.to_string())?;
        let range = read.range.ok_or("nothing to read")?;
        let mut bytes: Bytes = range.read().map_err(|error| error.to_string())?;
        let mut aborted = read.aborted.iter().peekable();
        let (mut left_out, before) = (BTreeSet::new(), next);
        while bytes.has_remaining() {
            let header = BatchHeader::parse(&bytes).map_err(|error| error.to_string())?;
            let size = usize::try_from(header.size_bytes()).unwrap();
            if size > bytes.len() {
                break;
            }
            let batch = ValidBatch::parse_stored(bytes.split_to(size));
            let batch = batch.map_err(|error| error.to_string())?;
            while let Some(begun) = aborted.next_if(|at| at.first_offset <= header.last_offset()) {
                left_out.insert(begun.producer_id);
            }
            for record in &batch.records(1 << 20).map_err(|error| error.to_string())? {
                let record = record.map_err(|error| error.to_string())?;
                if header.attributes.is_control() {
                    let marker = ControlRecord::decode(&record);
                    if matches!(marker, Some(ControlRecord::End(end)) if end.outcome == Outcome::Abort)
                    {
                        left_out.remove(&header.producer_id);
                    }
                } else if record.offset >= next && !left_out.contains(&header.producer_id) {
                    let value = record.value.and_then(|value| value.try_into().ok());
                    let value = u64::from_be_bytes(value.ok_or("another value")?);
                    found.push(Seen { partition, offset: record.offset.0, value });
                }
            }
            next = next.max(header.next_offset());
        }
        if next == before {
            return Err(format!("no progress at {next}"));
        }
    }
    Ok(found)
}

#[test]
fn whichever_call_fails_no_transaction_is_torn_or_stays_open() {
    fail_calls(Way::Steps);
}

#[test]
fn nor_is_one_of_the_producer_of_this_process() {
    fail_calls(Way::AtOnce);
}

fn fail_calls(way: Way) {
    if let Some(after) = number("OTTLA_FAULT_AT") {
        return fail_in_every_way(after, way);
    }
    let is_long = number("OTTLA_FAULT_CALLS").is_some();
    let (whole, told) = (FaultyFs::new(), Recorder::default());
    block_on(live(&whole, Durability::Fsync, way, &told));
    let committed = told.history().iter().any(|event| match event {
        Event::Ended { end, .. } => *end == End::Committed,
        _ => false,
    });
    assert!(committed, "nothing was committed without a failure");
    let all = whole.calls();
    assert!(all >= CALLS, "a life has {all} calls only");
    eprintln!("{} of {all} calls", if is_long { all } else { CALLS });
    let step = if is_long { 1 } else { all / CALLS };
    let turns = (0..KINDS.len() * SETTINGS.len()).cycle();
    for (place, after) in turns.zip((0..all).step_by(usize::try_from(step).unwrap())) {
        if is_long {
            fail_in_every_way(after, way);
        } else {
            let (kind, setting) = (place % KINDS.len(), place / KINDS.len());
            fail((after, KINDS[kind]), SETTINGS[setting], way);
        }
    }
}

fn fail_in_every_way(after: u64, way: Way) {
    for kind in KINDS {
        for durability in SETTINGS {
            fail((after, kind), durability, way);
        }
    }
}

fn fail((after, kind): (u64, FaultKind), durability: Durability, way: Way) {
    let (disk, told) = (FaultyFs::new(), Recorder::default());
    disk.inject(Fault { op: Op::Any, after, kind });
    let context = format!("call {after}, {kind:?}, {durability:?}, {way:?}");
    block_on(async {
        live(&disk, durability, way, &told).await;
        disk.heal();
        for crash in [Crash::DropUnsynced, Crash::KeepPrefix(after)] {
            let context = format!("{context}, {crash:?}");
            judge(&disk.crash(crash), durability, &told, &context).await;
        }
        judge(&disk, durability, &told, &format!("{context}, restarted")).await;
    });
}
