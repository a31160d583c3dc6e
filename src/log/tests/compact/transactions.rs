//! Transactions in a compacted log: what was aborted shadows nothing, and a marker stays as long as
//! it means something.

use super::*;
use crate::records::{EndMarker, Outcome};

const P: ProducerId = ProducerId(9);

fn of_transaction(table: &mut Table, sequence: i32, records: &[(&str, &str)]) {
    let builder = BatchBuilder::new().producer(P, ProducerEpoch(0), sequence).transactional();
    table.append(builder, records);
}

fn end(table: &mut Table, outcome: Outcome) {
    table.now = table.now.plus_ms(1);
    let marker = EndMarker { outcome, coordinator_epoch: 3 };
    let batch = marker.batch(P, ProducerEpoch(0), table.now).unwrap();
    table.append_batch(batch);
}

#[test]
fn aborted_records_go_and_shadow_nothing() {
    let mut table = Table::new();
    table.put(&[("a", "1"), ("b", "1")]);
    of_transaction(&mut table, 0, &[("a", "2"), ("c", "2")]);
    table.put(&[("b", "2")]);
    end(&mut table, Outcome::Abort);
    of_transaction(&mut table, 2, &[("a", "3")]);
    end(&mut table, Outcome::Commit);
    table.roll();
    table.aborted = vec![AbortedTransaction {
        producer_id: P,
        first_offset: Offset(2),
        last_offset: Offset(5),
    }];
    table.config.segment_bytes = 1;
    table.compact();
    // The committed record counts, the aborted one never did.
    let told = table.rows().into_iter().filter(|row| row.1.len() == 1).collect::<Vec<_>>();
    let row = |offset, key: &str, value: &str| (offset, key.to_owned(), Some(value.to_owned()));
    assert_eq!(told, [row(4, "b", "2"), row(6, "a", "3")]);
}

#[test]
fn an_aborted_value_does_not_take_the_older_one_away() {
    let mut table = Table::new();
    table.put(&[("a", "1")]);
    of_transaction(&mut table, 0, &[("a", "2")]);
    end(&mut table, Outcome::Abort);
    table.roll();
    table.aborted = vec![AbortedTransaction {
        producer_id: P,
        first_offset: Offset(1),
        last_offset: Offset(2),
    }];
    table.compact();
    assert!(table.told().starts_with("0:a=1"), "{}", table.told());
    assert!(!table.told().contains("a=2"));
}

/// Which outcomes are left, by offset.
fn markers(table: &Table) -> Vec<(i64, bool)> {
    let batches = table.log.reader().batches(Offset(0)).map(Result::unwrap);
    let control = batches.filter(|batch| batch.header().attributes.is_control());
    let control = control.filter(|batch| batch.header().record_count > 0);
    control
        .map(|batch| (batch.header().base_offset.0, batch.header().delete_horizon().is_some()))
        .collect()
}

#[test]
fn a_marker_stays_while_records_are_left_and_then_for_its_time() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let mut table = Table::new();
        of_transaction(&mut table, 0, &[("a", "1")]);
        end(&mut table, outcome);
        table.put(&[("b", "1")]);
        table.roll();
        if outcome == Outcome::Abort {
            table.aborted = vec![AbortedTransaction {
                producer_id: P,
                first_offset: Offset(0),
                last_offset: Offset(1),
            }];
        }
        table.compact();
        assert_eq!(markers(&table), [(1, false)], "{outcome:?}");
        // The record of the commit is superseded, that of the abort is gone already.
        table.put(&[("a", "2")]);
        table.roll();
        table.compact();
        let met = if outcome == Outcome::Commit {
            assert_eq!(markers(&table), [(1, false)]);
            table.roll();
            table.compact();
            table.now
        } else {
            table.now
        };
        assert_eq!(markers(&table), [(1, true)], "{outcome:?}");
        table.roll();
        table.now = met.plus_ms(DELETE_RETENTION_MS - 1);
        table.compact();
        assert_eq!(markers(&table), [(1, true)], "{outcome:?}");
        table.roll();
        table.now = met.plus_ms(DELETE_RETENTION_MS);
        table.compact();
        assert_eq!(markers(&table), [], "{outcome:?}");
        assert!(table.told().contains("a=2") && table.told().contains("b=1"));
    }
}

#[test]
fn a_marker_that_told_a_producers_epoch_leaves_its_frame() {
    let mut table = Table::new();
    end(&mut table, Outcome::Commit);
    table.put(&[("a", "1")]);
    table.roll();
    let tail = ProducerTail { from: Offset(0) };
    table.producers = HashMap::from([(P, tail)]);
    table.compaction.delete_retention_ms = 0;
    for _ in 0..3 {
        table.compact();
        table.roll();
    }
    assert_eq!(table.frames()[0], (0, 0, 0));
}
