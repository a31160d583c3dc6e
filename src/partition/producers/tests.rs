use super::*;
use crate::records::{BatchBuilder, EndMarker, NewRecord};
use crate::types::TransactionVersion::{self, V0, V2};

/// A batch of `count` records at `offset`.
fn batch_of(builder: BatchBuilder, count: usize, offset: i64) -> ValidBatch {
    let mut builder = builder;
    for _ in 0..count {
        let timestamp = Timestamp(1);
        builder.push(&NewRecord { timestamp, key: None, value: None, headers: &[] });
    }
    let mut batch = builder.build().unwrap();
    batch.assign(Offset(offset), crate::types::LeaderEpoch(0));
    batch
}

fn batch(producer_id: i64, base_sequence: i32, offset: i64) -> ValidBatch {
    let builder =
        BatchBuilder::new().producer(ProducerId(producer_id), ProducerEpoch(0), base_sequence);
    batch_of(builder, 1, offset)
}

/// Records one batch a producer, in this order; their offsets count up from `from`.
fn fill(producers: &mut Producers, ids: std::ops::Range<i64>, from: i64) {
    for (offset, id) in (from..).zip(ids) {
        producers.record(&batch(id, 0, offset));
    }
}

#[test]
fn full_table_takes_new_producers_and_forgets_the_oldest() {
    let slots = ProducerSlots::new(32);
    let mut producers = Producers::new(slots.clone());
    fill(&mut producers, 0..32, 0);
    producers.record(&batch(0, 1, 32)); // The oldest id has the newest batch.
    assert_eq!(producers.check(batch(99, 0, 0).header(), V0), Ok(Checked::New));
    producers.record(&batch(99, 0, 33));
    assert_eq!((producers.count(), slots.taken()), (31, 31));
    let knows =
        |id| matches!(producers.check(batch(id, 0, 0).header(), V0), Ok(Checked::Duplicate { .. }));
    let gone: Vec<_> = (0..32).filter(|id| !knows(*id)).collect();
    assert_eq!(gone, [1, 2]);
}

#[test]
fn limit_is_that_of_all_partitions_together() {
    let slots = ProducerSlots::new(10);
    let mut full = Producers::new(slots.clone());
    fill(&mut full, 0..10, 0);
    let mut other = Producers::new(slots.clone());
    fill(&mut other, 0..100, 0);
    assert_eq!((full.count(), other.count(), slots.taken()), (10, 1, 11));
    drop(full);
    assert_eq!(slots.taken(), 1);
    fill(&mut other, 0..100, 0);
    assert!(other.count() <= 10 && slots.taken() == other.count());
}

#[test]
fn expiry_bears_any_timestamp_of_a_client() {
    let slots = ProducerSlots::new(10);
    let mut producers = Producers::new(slots.clone());
    for (id, timestamp) in [(1, i64::MIN), (2, i64::MAX)] {
        let batch = batch(id, 0, 0).with_append_time(Timestamp(timestamp));
        producers.record(&batch);
    }
    producers.expire(Timestamp(1_700_000_000_000), 86_400_000);
    assert_eq!((producers.count(), slots.taken()), (1, 1), "the one of the future stays");
}

/// What a step of [`check`] does with producer 5.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// `(epoch, sequence, records)` outside any transaction.
    Plain(i16, i32, usize),
    /// The same in a transaction, which it may begin, under these rules.
    Part(i16, i32, usize, TransactionVersion),
    /// `(epoch, coordinator epoch)`.
    End(i16, i32, Outcome, TransactionVersion),
}
use Outcome::{Abort, Commit};
use Step::{End, Part, Plain};

const P: ProducerId = ProducerId(5);

/// What came of a step: an offset, or a refusal by the name of its code.
type Came = Result<i64, &'static str>;

fn take(producers: &mut Producers, step: Step, offset: &mut i64) -> Came {
    let epoch = ProducerEpoch;
    let (batch, checked) = match step {
        Plain(e, sequence, count) => {
            let builder = BatchBuilder::new().producer(P, epoch(e), sequence);
            let batch = batch_of(builder, count, *offset);
            let checked = producers.check(batch.header(), V0);
            (batch, checked)
        }
        Part(e, sequence, count, version) => {
            let builder = BatchBuilder::new().producer(P, epoch(e), sequence).transactional();
            let batch = batch_of(builder, count, *offset);
            let checked = producers.check(batch.header(), version);
            (batch, checked)
        }
        End(e, coordinator_epoch, outcome, version) => {
            let end = EndMarker { outcome, coordinator_epoch };
            let marker = Marker { producer_id: P, producer_epoch: epoch(e), end, version };
            let mut batch = end.batch(P, epoch(e), Timestamp(1)).unwrap();
            batch.assign(Offset(*offset), crate::types::LeaderEpoch(0));
            (batch, producers.check_marker(&marker).map(|()| Checked::New))
        }
    };
    match checked {
        Ok(Checked::New) => {
            producers.record(&batch);
            let at = *offset;
            *offset = batch.header().next_offset().0;
            Ok(at)
        }
        Ok(Checked::Duplicate { base_offset, .. }) => Ok(base_offset.0),
        Err(ProducerError::InvalidEpoch { .. } | ProducerError::EpochNotBumped { .. }) => Err("47"),
        Err(ProducerError::OutOfOrderSequence { .. }) => Err("45"),
        Err(ProducerError::TransactionOpen { .. }) => Err("48"),
        Err(ProducerError::CoordinatorFenced { .. }) => Err("52"),
    }
}

fn check(script: &[(Step, Came)]) {
    let mut producers = Producers::new(ProducerSlots::new(10));
    let mut offset = 0;
    for (index, (step, expected)) in script.iter().enumerate() {
        assert_eq!(take(&mut producers, *step, &mut offset), *expected, "step {index}: {step:?}");
    }
}

#[test]
fn an_unknown_producer_may_begin_anywhere_but_not_where_each_transaction_has_its_epoch() {
    check(&[(Plain(3, 77, 1), Ok(0))]);
    check(&[(Part(3, 77, 1, V0), Ok(0))]);
    check(&[(Part(3, 77, 1, V2), Err("45")), (Part(3, 0, 1, V2), Ok(0))]);
}

#[test]
fn sequences_follow_within_an_epoch_and_begin_with_0_in_the_next() {
    check(&[
        (Part(0, 0, 2, V0), Ok(0)),
        (Part(0, 0, 2, V0), Ok(0)),
        (Part(0, 0, 1, V0), Err("45")),
        (Part(0, 3, 1, V0), Err("45")),
        (Part(0, 2, 1, V0), Ok(2)),
        (Part(1, 3, 1, V0), Err("45")),
        // Nor does a new epoch go on with the transaction of the old one.
        (Part(1, 0, 1, V0), Err("48")),
        (End(1, 0, Abort, V0), Ok(3)),
        (Part(1, 0, 1, V0), Ok(4)),
        (Part(0, 3, 1, V0), Err("47")),
        (Part(1, 1, 1, V2), Ok(5)),
    ]);
}

#[test]
fn sequences_wrap() {
    check(&[
        (Plain(0, i32::MAX - 1, 2), Ok(0)),
        (Plain(0, 0, 1), Ok(2)),
        (Plain(0, i32::MAX - 1, 2), Ok(0)),
    ]);
    check(&[(Plain(0, i32::MAX, 3), Ok(0)), (Plain(0, 2, 1), Ok(3)), (Plain(0, 1, 1), Err("45"))]);
}

#[test]
fn what_is_outside_the_open_transaction_is_refused_until_it_ends() {
    check(&[
        (Part(0, 0, 1, V0), Ok(0)),
        (Plain(0, 1, 1), Err("48")),
        (Plain(0, 0, 1), Ok(0)),
        (Plain(0, 7, 1), Err("45")),
        (Plain(1, 0, 1), Err("48")),
        (End(0, 0, Commit, V0), Ok(1)),
        (Plain(0, 1, 1), Ok(2)),
    ]);
}

#[test]
fn a_marker_of_the_same_epoch_keeps_the_sequences() {
    check(&[
        (Part(0, 0, 2, V0), Ok(0)),
        (End(0, 0, Commit, V0), Ok(2)),
        (Part(0, 0, 2, V0), Ok(0)),
        (Part(0, 2, 1, V0), Ok(3)),
        (End(0, 0, Abort, V0), Ok(4)),
        (Part(0, 3, 1, V0), Ok(5)),
    ]);
}

#[test]
fn a_marker_of_a_higher_epoch_sets_it_and_lets_sequences_begin_anew() {
    for version in [V0, V2] {
        check(&[
            (Part(0, 0, 2, version), Ok(0)),
            (End(1, 0, Abort, version), Ok(2)),
            (Part(0, 2, 1, version), Err("47")),
            (Part(1, 2, 1, version), Err("45")),
            (Part(1, 0, 2, version), Ok(3)),
            (Part(1, 0, 2, version), Ok(3)),
        ]);
    }
}

#[test]
fn markers_of_old_epochs_are_refused() {
    check(&[
        (End(3, 7, Commit, V2), Ok(0)),
        (End(2, 7, Commit, V0), Err("47")),
        (End(2, 7, Commit, V2), Err("47")),
        (End(3, 7, Commit, V2), Ok(1)), // Sent again.
        (End(3, 7, Commit, V0), Ok(2)),
        (End(3, 6, Commit, V0), Err("52")),
        (End(4, 6, Commit, V2), Err("52")),
        (End(3, 8, Commit, V0), Ok(3)),
        (End(4, 8, Abort, V2), Ok(4)),
    ]);
}

#[test]
fn behind_a_marker_alone_any_sequence_may_come_unless_each_transaction_has_its_epoch() {
    check(&[
        (End(0, 0, Abort, V0), Ok(0)),
        (Part(0, 7, 1, V2), Err("45")),
        (Part(0, 7, 1, V0), Ok(1)),
        (Part(0, 9, 1, V0), Err("45")),
        (Part(1, 7, 1, V0), Err("45")),
    ]);
    check(&[(End(0, 0, Abort, V0), Ok(0)), (Part(1, 7, 1, V0), Err("45"))]);
}

#[test]
fn one_that_comes_twice_does_not_end_the_next_transaction() {
    check(&[
        (Part(0, 0, 1, V2), Ok(0)),
        (End(1, 0, Commit, V2), Ok(1)),
        (Part(1, 0, 1, V2), Ok(2)),
        (End(1, 0, Commit, V2), Err("47")),
        (Plain(1, 1, 1), Err("48")),
    ]);
}

#[test]
fn producers_with_an_open_transaction_are_neither_pushed_out_nor_expired() {
    let slots = ProducerSlots::new(4);
    let mut producers = Producers::new(slots.clone());
    let part = |id: i64, offset| {
        let builder = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), 0);
        batch_of(builder.transactional(), 1, offset)
    };
    (0..4).for_each(|id| producers.record(&part(id, id)));
    producers.record(&batch(50, 0, 4));
    assert_eq!((producers.count(), slots.taken()), (5, 5), "none of them may go");
    producers.record(&batch(51, 0, 5));
    let ids = |producers: &Producers| {
        producers.describe().iter().map(|state| state.producer_id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(&producers), [0, 1, 2, 3, 51]);
    producers.expire(Timestamp(1_700_000_000_000), 1);
    assert_eq!(ids(&producers), [0, 1, 2, 3]);
    assert_eq!(slots.taken(), 4);
    let end = EndMarker { outcome: Commit, coordinator_epoch: 0 };
    for id in 0..2 {
        let mut marker = end.batch(ProducerId(id), ProducerEpoch(0), Timestamp(1)).unwrap();
        marker.assign(Offset(6 + id), crate::types::LeaderEpoch(0));
        producers.record(&marker);
    }
    producers.expire(Timestamp(1_700_000_000_000), 1);
    assert_eq!(ids(&producers), [2, 3]);
}

#[test]
fn a_marker_of_a_producer_that_nothing_is_known_of_pushes_nobody_out() {
    let slots = ProducerSlots::new(10);
    let mut producers = Producers::new(slots.clone());
    let end = EndMarker { outcome: Commit, coordinator_epoch: 0 };
    let mut offset = 0;
    let mut mark = |producers: &mut Producers, id| {
        let mut marker = end.batch(ProducerId(id), ProducerEpoch(0), Timestamp(1)).unwrap();
        marker.assign(Offset(offset), crate::types::LeaderEpoch(0));
        producers.record(&marker);
        offset += 1;
    };
    (0..100).for_each(|id| mark(&mut producers, id));
    assert_eq!((producers.count(), slots.taken()), (6, 6), "half of them, and one");
    (200..204).for_each(|id| producers.record(&batch(id, 0, 200 + id)));
    (300..400).for_each(|id| mark(&mut producers, id));
    let known: Vec<_> = producers.describe().iter().map(|state| state.producer_id.0).collect();
    assert_eq!(known, [0, 1, 2, 3, 4, 5, 200, 201, 202, 203]);
    mark(&mut producers, 201);
    assert_eq!(producers.describe()[7].coordinator_epoch, Some(0), "whom it is about");
}

#[test]
fn it_tells_what_it_knows_of_each() {
    let mut producers = Producers::new(ProducerSlots::new(10));
    let mut offset = 0;
    let state = |producers: &Producers| producers.describe()[0];
    take(&mut producers, Part(0, 0, 2, V2), &mut offset).unwrap();
    take(&mut producers, Part(0, 2, 2, V2), &mut offset).unwrap();
    let open = state(&producers);
    assert_eq!((open.last_sequence, open.coordinator_epoch), (Some(3), None));
    assert_eq!(open.transaction_start, Some(Offset(0)));
    take(&mut producers, End(1, 9, Abort, V2), &mut offset).unwrap();
    let ended = state(&producers);
    assert_eq!(ended.producer_epoch, ProducerEpoch(1));
    assert_eq!((ended.last_sequence, ended.coordinator_epoch), (None, Some(9)));
    assert_eq!((ended.transaction_start, producers.aborted_count()), (None, 1));
}

#[test]
fn only_an_abort_of_an_open_transaction_is_one() {
    let mut producers = Producers::new(ProducerSlots::new(10));
    let mut offset = 0;
    let script = [
        End(0, 0, Abort, V0),
        Plain(0, 0, 1),
        End(0, 0, Abort, V0),
        Part(0, 1, 1, V0),
        End(0, 0, Commit, V0),
        End(0, 0, Abort, V0),
    ];
    for step in script {
        take(&mut producers, step, &mut offset).unwrap();
    }
    assert_eq!(producers.aborted_count(), 0);
    assert_eq!(producers.transactions().first_unstable(), Some(Offset(3)), "until it is visible");
    assert!(!producers.transactions().release(Offset(4)));
    assert!(producers.transactions().release(Offset(5)));
    assert_eq!(producers.transactions().first_unstable(), None);
}

#[test]
fn the_file_gives_all_of_it_back_and_no_byte_of_it_may_be_wrong() {
    let mut producers = Producers::new(ProducerSlots::new(10));
    let mut offset = 0;
    for step in [Part(0, 0, 2, V0), End(1, 4, Abort, V2), Part(1, 0, 1, V2), Part(1, 1, 1, V2)] {
        take(&mut producers, step, &mut offset).unwrap();
    }
    producers.record(&batch(77, 12, offset));
    let bytes = producers.snapshot(Offset(offset + 1)).into_file();
    let mut again = Producers::new(ProducerSlots::new(10));
    assert_eq!(again.restore(&bytes), Some(Offset(offset + 1)));
    assert_eq!(again.entries, producers.entries);
    assert_eq!(again.aborted().all(), producers.aborted().all());
    assert_eq!(again.transactions().first_unstable(), Some(Offset(3)));
    for index in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1;
        let mut none = Producers::new(ProducerSlots::new(10));
        assert_eq!(none.restore(&flipped), None, "byte {index}");
        assert_eq!(none.restore(&bytes[..index]), None, "{index} bytes");
        assert_eq!((none.count(), none.aborted_count()), (0, 0));
    }
}
