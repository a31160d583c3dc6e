//! Transactions in a partition: what holds the last stable offset back and what lets it go, what
//! read_committed consumers are told, and what is known again after a start.

use super::*;
use crate::log::{AbortedTransaction, Flow};
use crate::partition::syncing::SAVED_EVERY_BYTES;
use crate::records::{EndMarker, Outcome};
use crate::types::TransactionVersion::{self, V0, V2};
use crate::types::{ProducerEpoch, ProducerId};
use Outcome::{Abort, Commit};

/// A batch of `keys` of a producer's transaction.
pub(super) fn part(id: i64, epoch: i16, sequence: i32, keys: &[&str]) -> Bytes {
    let builder = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    with_keys(builder.transactional(), keys).to_bytes()
}

pub(super) fn with_keys(builder: BatchBuilder, keys: &[&str]) -> ValidBatch {
    let mut builder = builder;
    for key in keys {
        builder.push(&NewRecord {
            timestamp: Timestamp(1_700_000_000_000),
            key: Some(key.as_bytes()),
            value: Some(b"value"),
            headers: &[],
        });
    }
    builder.build().unwrap()
}

pub(super) fn marker(id: i64, epoch: i16, outcome: Outcome, version: TransactionVersion) -> Marker {
    let (producer_id, producer_epoch) = (ProducerId(id), ProducerEpoch(epoch));
    let end = EndMarker { outcome, coordinator_epoch: 0 };
    Marker { producer_id, producer_epoch, end, version }
}

/// A partition on a disk that nobody syncs by himself, and its high watermark rises by that alone.
struct Bench {
    machine: Machine,
    partition: Arc<Partition>,
}

impl Bench {
    fn new() -> Self {
        Self::on(Machine::quiet_on(FaultyFs::new()), config(), Checkpoint::default())
    }

    fn on(machine: Machine, config: PartitionConfig, checkpoint: Checkpoint) -> Self {
        let partition = machine.open_as(config, Durability::Fsync, checkpoint).unwrap();
        Self { machine, partition }
    }

    /// Appends a record outside any transaction.
    fn plain(&self) -> i64 {
        let batch = with_keys(BatchBuilder::new(), &["plain"]);
        self.partition.append(batch.to_bytes(), self.machine.clock.now()).unwrap().base_offset.0
    }

    /// Begins a transaction of a producer, or goes on with it.
    fn part(&self, id: i64, sequence: i32) -> i64 {
        let sent = part(id, 0, sequence, &["part"]);
        let appended = self.partition.append_beginning(sent, V0, self.machine.clock.now());
        appended.unwrap().base_offset.0
    }

    fn end(&self, id: i64, outcome: Outcome) -> i64 {
        let marker = marker(id, 0, outcome, V0);
        let appended = self.partition.append_marker(&marker, self.machine.clock.now());
        appended.unwrap().base_offset.0
    }

    fn sync(&self) {
        sync(&self.partition);
    }

    /// Last stable offset and high watermark.
    fn marks(&self) -> (i64, i64) {
        let marks = self.partition.watermarks();
        assert!(marks.log_start <= marks.last_stable && marks.last_stable <= marks.high_watermark);
        (marks.last_stable.0, marks.high_watermark.0)
    }

    /// What a read from `from` of at most `max_bytes` returns: its end, and the producers and first
    /// offsets of aborted transactions.
    fn read(&self, from: i64, max_bytes: u64, isolation: Isolation) -> (i64, Vec<(i64, i64)>) {
        let read = self.partition.read(Offset(from), max_bytes, true, isolation).unwrap();
        let end = read.range.map_or(from, |range| range.next.0);
        let told = |it: &AbortedTransaction| (it.producer_id.0, it.first_offset.0);
        (end, read.aborted.iter().map(told).collect())
    }

    fn committed(&self, from: i64) -> (i64, Vec<(i64, i64)>) {
        self.read(from, 1 << 20, Isolation::ReadCommitted)
    }

    /// A start after `kill -9`, with or without what was saved of the producers.
    fn restart(self, durable: i64) -> Self {
        let machine = Machine::quiet_on(self.machine.disk.clone());
        let durable_up_to = Offset(durable);
        Self::on(machine, config(), Checkpoint { durable_up_to, ..Checkpoint::default() })
    }
}

const ALL: u64 = 1 << 20;

#[test]
fn the_last_stable_offset_is_where_the_oldest_open_transaction_begins() {
    let bench = Bench::new();
    bench.plain();
    bench.part(1, 0);
    bench.plain();
    bench.part(2, 0);
    bench.sync();
    assert_eq!(bench.marks(), (1, 4));
    bench.end(1, Commit);
    bench.plain();
    assert_eq!(bench.marks(), (1, 4), "a power cut may still take the marker back");
    bench.sync();
    assert_eq!(bench.marks(), (3, 6));
    bench.end(2, Abort);
    bench.sync();
    assert_eq!(bench.marks(), (7, 7));
}

#[test]
fn a_transaction_that_begins_and_ends_above_the_high_watermark_counts_until_that_passes_its_marker()
{
    let bench = Bench::new();
    bench.plain();
    bench.part(1, 0);
    let unsynced = bench.partition.begin_sync().unwrap().unwrap();
    bench.end(1, Commit);
    bench.part(1, 1);
    bench.partition.end_sync(&unsynced, unsynced.sync()).unwrap();
    assert_eq!(bench.marks(), (1, 2), "the first record is visible, its marker is not");
    bench.sync();
    assert_eq!(bench.marks(), (3, 4));
}

#[test]
fn without_syncs_the_marker_lets_go_at_once() {
    let machine = Machine::quiet_on(FaultyFs::new());
    let partition = machine.open(Durability::Os, Checkpoint::default());
    let now = machine.clock.now();
    let sent = part(1, 0, 0, &["a", "b"]);
    partition.append_beginning(sent, V2, now).unwrap();
    let marks = partition.watermarks();
    assert_eq!((marks.last_stable, marks.high_watermark), (Offset(0), Offset(2)));
    partition.append_marker(&marker(1, 1, Commit, V2), now).unwrap();
    assert_eq!(partition.watermarks().last_stable, Offset(3));
}

#[tokio::test]
async fn who_waits_for_committed_records_is_woken_by_the_marker() {
    for durability in [Durability::Fsync, Durability::Os] {
        let machine = Machine::new();
        let partition = machine.open(durability, Checkpoint::default());
        let now = machine.clock.now();
        let sent = partition.append_beginning(part(1, 0, 0, &["a"]), V0, now).unwrap();
        partition.visible(sent.end).await.unwrap();
        let wake = Wake::new();
        let _registration = partition.waiters().register(&wake);
        let read = |from| partition.read(Offset(from), ALL, true, Isolation::ReadCommitted);
        assert!(read(0).unwrap().range.is_none());
        let marker = partition.append_marker(&marker(1, 0, Commit, V0), now).unwrap();
        while read(0).unwrap().range.is_none() {
            wake.woken().await;
        }
        partition.visible(marker.end).await.unwrap();
        assert_eq!(partition.watermarks().last_stable, marker.end);
    }
}

#[tokio::test]
async fn a_marker_can_be_waited_for_on_disk_whatever_the_durability() {
    for durability in [Durability::Fsync, Durability::IntervalMs(60_000), Durability::Os] {
        let machine = Machine::new();
        let partition = machine.open(durability, Checkpoint::default());
        let now = machine.clock.now();
        partition.append_beginning(part(1, 0, 0, &["a"]), V0, now).unwrap();
        let marker = partition.append_marker(&marker(1, 0, Commit, V0), now).unwrap();
        partition.durable(marker.end).await.unwrap();
        let after = Machine::on(machine.disk.crash(Crash::DropUnsynced));
        let found = after.open(durability, Checkpoint::default());
        assert_eq!(found.watermarks().log_end, marker.end);
    }
}

#[test]
fn read_committed_is_told_what_was_aborted_and_read_uncommitted_is_not() {
    let bench = Bench::new();
    bench.part(2, 0); // 0
    bench.part(1, 0); // 1
    bench.plain(); // 2
    bench.end(1, Abort); // 3
    bench.part(1, 1); // 4
    bench.end(1, Commit); // 5
    bench.end(2, Abort); // 6
    bench.part(3, 0); // 7
    bench.plain(); // 8
    bench.sync();
    assert_eq!(bench.marks(), (7, 9));
    assert_eq!(bench.committed(0), (7, vec![(2, 0), (1, 1)]));
    assert_eq!(bench.committed(4), (7, vec![(2, 0)]));
    assert_eq!(bench.committed(7), (7, vec![]));
    assert_eq!(bench.read(0, ALL, Isolation::ReadUncommitted), (9, vec![]));
    // One batch: only what reaches into it.
    assert_eq!(bench.read(0, 1, Isolation::ReadCommitted), (1, vec![(2, 0)]));
    assert_eq!(bench.read(1, 1, Isolation::ReadCommitted), (2, vec![(2, 0), (1, 1)]));
}

#[test]
fn an_old_epoch_is_refused_before_the_coordinator_is_asked() {
    let bench = Bench::new();
    bench.part(1, 0);
    let now = bench.machine.clock.now();
    bench.partition.append_marker(&marker(1, 1, Abort, V2), now).unwrap();
    let old = bench.partition.append(part(1, 0, 1, &["a"]), now);
    assert!(matches!(old, Err(AppendError::Producer(ProducerError::InvalidEpoch { .. }))));
    let present = bench.partition.append(part(1, 1, 0, &["a"]), now);
    assert!(matches!(present, Err(AppendError::TransactionNotBegun { .. })));
}

#[test]
fn a_transactional_batch_goes_on_but_does_not_begin_by_itself() {
    let bench = Bench::new();
    let now = bench.machine.clock.now();
    let append = |epoch, sequence| bench.partition.append(part(1, epoch, sequence, &["a"]), now);
    let refused = |result: Result<Appended, AppendError>| {
        matches!(result, Err(AppendError::TransactionNotBegun { producer_id: ProducerId(1), .. }))
    };
    assert!(refused(append(0, 0)));
    bench.part(1, 0);
    assert_eq!(append(0, 1).unwrap().base_offset, Offset(1));
    assert_eq!(append(0, 1).unwrap().base_offset, Offset(1), "sent twice, stored once");
    assert!(refused(append(1, 0)), "of another epoch");
    assert!(matches!(append(0, 7), Err(AppendError::Producer(_))));
    bench.end(1, Commit);
    assert!(refused(append(0, 2)));
    assert!(refused(append(0, 1)), "as in Kafka, even of what is stored");
    assert_eq!(bench.part(1, 1), 1, "that is known then");
    assert_eq!(bench.partition.watermarks().log_end, Offset(3));
    // Its records are not looked at before: the coordinator has to be asked first.
    let mut broken = part(1, 0, 2, &["a"]).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert!(refused(bench.partition.append(Bytes::from(broken), now)));
}

#[test]
fn a_refused_marker_leaves_everything_as_it_was() {
    let bench = Bench::new();
    let now = bench.machine.clock.now();
    let append = |marker: Marker| bench.partition.append_marker(&marker, now);
    bench.partition.append_beginning(part(1, 4, 0, &["a"]), V2, now).unwrap();
    let refused = append(marker(1, 3, Abort, V0));
    assert!(matches!(
        refused,
        Err(AppendError::Producer(ProducerError::InvalidEpoch { current: ProducerEpoch(4), .. }))
    ));
    let refused = append(marker(1, 4, Abort, V2));
    assert!(matches!(refused, Err(AppendError::Producer(ProducerError::EpochNotBumped { .. }))));
    bench.sync();
    assert_eq!(bench.marks(), (0, 1));
    append(marker(1, 5, Commit, V2)).unwrap();
    let mut old = marker(1, 6, Commit, V2);
    old.end.coordinator_epoch = -1;
    assert!(matches!(
        append(old),
        Err(AppendError::Producer(ProducerError::CoordinatorFenced { .. }))
    ));
    bench.sync();
    assert_eq!(bench.marks(), (2, 2));
}

#[test]
fn own_batches_of_transactions_count_without_a_sequence() {
    let bench = Bench::new();
    let now = bench.machine.clock.now();
    let own = |epoch| {
        let builder = BatchBuilder::new().producer(ProducerId(8), ProducerEpoch(epoch), -1);
        bench.partition.append_own(with_keys(builder.transactional(), &["offset"]), now).unwrap()
    };
    let ends = |epoch, outcome| {
        let end = EndMarker { outcome, coordinator_epoch: 0 };
        let batch = end.batch(ProducerId(8), ProducerEpoch(epoch), now.wall).unwrap();
        bench.partition.append_own(batch, now).unwrap()
    };
    own(0);
    own(0);
    bench.sync();
    assert_eq!(bench.marks(), (0, 2));
    ends(0, Abort);
    bench.sync();
    assert_eq!((bench.marks(), bench.committed(0)), ((3, 3), (3, vec![(8, 0)])));
    own(0);
    ends(1, Commit);
    bench.sync();
    assert_eq!((bench.marks(), bench.committed(3)), ((5, 5), (5, vec![])));
}

#[test]
fn the_start_of_the_log_takes_what_was_aborted_before_it_along() {
    let bench = Bench::new();
    bench.part(1, 0); // 0
    bench.end(1, Abort); // 1
    bench.part(2, 0); // 2
    bench.plain(); // 3
    bench.end(2, Abort); // 4
    bench.part(3, 0); // 5
    bench.plain(); // 6
    bench.sync();
    let advance = |start| bench.partition.with_log(|log| log.advance_start(Offset(start))).unwrap();
    advance(1);
    assert_eq!(bench.partition.aborted.all().len(), 2, "the marker is still there");
    advance(3);
    assert_eq!(bench.committed(3), (5, vec![(2, 2)]));
    assert_eq!(bench.partition.aborted.all().len(), 1);
    advance(7);
    assert_eq!((bench.partition.aborted.all(), bench.marks()), (vec![], (7, 7)));
    bench.plain();
    bench.sync();
    assert_eq!(bench.marks(), (7, 8), "the one whose records are gone is open all the same");
    let bench = bench.restart(8);
    assert_eq!(bench.marks(), (8, 8), "until nothing of it is left to know it by");
}

#[test]
fn a_start_finds_open_and_aborted_transactions_with_and_without_the_file() {
    for has_file in [true, false] {
        let mut bench = Bench::new();
        bench.part(1, 0);
        bench.end(1, Abort);
        bench.part(2, 0);
        if has_file {
            bench.partition.lock().unsaved_bytes = SAVED_EVERY_BYTES;
        }
        bench.sync();
        bench.part(3, 0);
        bench.end(2, Abort);
        bench.sync();
        let (told, states) = (bench.committed(0), bench.partition.producers());
        let file = Path::new("/data/topic-0").join(crate::log::layout::PRODUCERS);
        assert_eq!(bench.machine.disk.exists(&file), has_file);
        bench = bench.restart(5);
        assert_eq!((bench.marks(), bench.committed(0)), ((3, 5), told));
        assert_eq!(bench.partition.producers(), states);
        let now = bench.machine.clock.now();
        let next = bench.partition.append(part(3, 0, 1, &["a"]), now).unwrap();
        assert_eq!(next.base_offset, Offset(5), "its transaction is open still");
        // Only the first record is known to be on disk, but the file was made behind the marker.
        bench = bench.restart(1);
        assert_eq!(bench.marks(), (i64::from(has_file), 1));
        bench.sync();
        assert_eq!(bench.marks(), (3, 6));
    }
}

#[test]
fn a_file_from_before_the_log_start_does_not_keep_a_transaction_open_for_ever() {
    let mut bench = Bench::new();
    bench.part(1, 0);
    bench.partition.lock().unsaved_bytes = SAVED_EVERY_BYTES;
    bench.sync(); // The file has it open.
    bench.end(1, Commit);
    bench.plain();
    bench.plain();
    bench.sync();
    bench.partition.with_log(|log| log.advance_start(Offset(3))).unwrap();
    bench = bench.restart(4);
    assert_eq!(bench.marks(), (4, 4));
}

#[test]
fn a_producer_whose_records_were_deleted_goes_on_behind_its_marker() {
    let mut bench = Bench::new();
    bench.part(1, 0);
    bench.end(1, Commit);
    bench.sync();
    bench.partition.with_log(|log| log.advance_start(Offset(1))).unwrap();
    bench = bench.restart(2);
    assert_eq!(bench.part(1, 1), 2);
    let now = bench.machine.clock.now();
    let skips = bench.partition.append(part(1, 0, 3, &["a"]), now);
    assert!(matches!(skips, Err(AppendError::Producer(_))), "it is known again from there on");
}

fn compacting() -> PartitionConfig {
    let config = config();
    let compaction = CompactionConfig { min_cleanable_dirty_ratio: 0.0, ..config.compaction };
    // A segment for each batch.
    let log = LogConfig { segment_bytes: 1, compact: true, ..config.log };
    PartitionConfig { log, compact: true, compaction, ..config }
}

#[test]
fn without_syncs_a_record_on_disk_gives_way_only_to_one_that_is_there_too() {
    let machine = Machine::quiet_on(FaultyFs::new());
    let partition = machine.open(Durability::Os, Checkpoint::default());
    partition.set_config(compacting());
    let now = machine.clock.now();
    for _ in 0..3 {
        partition.append_own(with_keys(BatchBuilder::new(), &["a"]), now).unwrap();
    }
    assert!(partition.compaction_due(now.wall).unwrap().is_none(), "it may be lost");
    sync(&partition);
    assert!(partition.compaction_due(now.wall).unwrap().is_some());
}

/// Compacts as much as may be.
pub(super) fn compact(partition: &Arc<Partition>, now: Timestamp) -> Option<Compacted> {
    let cleanable = partition.compaction_due(now).unwrap()?;
    let done = partition.compact(cleanable, 1 << 20, now, &mut |_, _| Flow::Continue);
    Some(done.unwrap())
}

#[test]
fn compaction_stops_at_the_last_stable_offset_and_forgets_an_aborted_one_with_its_marker() {
    let machine = Machine::quiet_on(FaultyFs::new());
    let clock = machine.clock.clone();
    // A file of producers that a power cut could bring back would bring the transaction back.
    let disk = machine.disk.clone();
    let bench = Bench::on(machine, compacting(), Checkpoint::default());
    let now = || clock.now().wall;
    let append = |sent| bench.partition.append_own(sent, clock.now()).unwrap();
    let keyed = |keys: &[&str]| with_keys(BatchBuilder::new(), keys);
    append(keyed(&["a"])); // 0
    let own = |id, sequence, keys: &[&str]| {
        let builder = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), sequence);
        append(with_keys(builder.transactional(), keys))
    };
    own(1, 0, &["a"]); // 1
    own(2, 0, &["b"]); // 2
    append(keyed(&["b"])); // 3
    bench.end(1, Abort); // 4
    append(keyed(&["c"])); // 5
    bench.sync();
    let run = || {
        // What is left of all segments goes into one.
        let log = LogConfig { segment_bytes: 4096, ..compacting().log };
        bench.partition.set_config(PartitionConfig { log, ..compacting() });
        let done = compact(&bench.partition, now());
        bench.partition.set_config(compacting());
        done
    };
    assert_eq!(run().unwrap().end, Some(Offset(2)), "up to the open one");
    bench.end(2, Commit); // 6
    own(1, 1, &["d"]); // 7
    bench.end(1, Commit); // 8
    append(keyed(&["e"])); // 9
    bench.partition.lock().unsaved_bytes = SAVED_EVERY_BYTES;
    bench.sync();
    disk.sync_dir(Path::new("/data/topic-0")).unwrap();
    let keys = |bench: &Bench| {
        let mut keys = Vec::new();
        for batch in bench.partition.reader().unwrap().batches(Offset(0)) {
            let batch = batch.unwrap();
            let records = batch.records(1 << 20).unwrap();
            for record in records.iter().filter(|_| !batch.header().attributes.is_control()) {
                let record = record.unwrap();
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                keys.push((record.offset.0, key));
            }
        }
        keys
    };
    let left = [(0, "a"), (3, "b"), (5, "c"), (7, "d"), (9, "e")].map(|(at, k)| (at, k.to_owned()));
    // The records go first, the marker when its time is over and a run meets nothing of them.
    for _ in 0..3 {
        clock.advance(1);
        run();
        // After kill -9 at this moment as much is known, whatever the file has said before.
        let killed = Machine::quiet_on(disk.crash(Crash::KeepPrefix(u64::MAX)));
        let killed = Bench::on(killed, compacting(), Checkpoint::default());
        let known = bench.partition.aborted.all();
        assert!(killed.partition.aborted.all().iter().all(|told| known.contains(told)));
        append(keyed(&["e"]));
        bench.sync();
    }
    assert_eq!(keys(&bench)[..4], left[..4]);
    assert!(bench.partition.aborted.all().is_empty());
    let told = bench.committed(0);
    assert_eq!(told.1, []);
    let end = bench.marks().1;
    let after = Machine::quiet_on(disk.crash(Crash::DropUnsynced));
    let checkpoint = Checkpoint { durable_up_to: Offset(end), ..Checkpoint::default() };
    let after = Bench::on(after, compacting(), checkpoint);
    assert!(after.partition.aborted.all().is_empty(), "nor after a power cut");
    assert_eq!(keys(&after)[..4], left[..4]);
}

#[test]
fn a_batch_is_admitted_without_being_stored() {
    let bench = Bench::new();
    let now = bench.machine.clock.now();
    let admitted = bench.partition.admit(part(7, 0, 0, &["part"]), now).unwrap();
    assert_eq!(bench.partition.watermarks().log_end, Offset(0));
    let plain = bench.plain();
    let appended = bench.partition.append_admitted(admitted, V2, now).unwrap();
    assert_eq!((plain, appended.base_offset), (0, Offset(1)));
    assert_eq!(bench.plain(), 2);
    let broken = part(8, 0, 0, &["part"]).slice(..70);
    let refused = bench.partition.admit(broken, now);
    assert!(matches!(refused, Err(AppendError::Batch(_))), "{refused:?}");
}
