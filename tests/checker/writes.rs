//! The rows about what was written: lost, unseen, two values at an offset, a value at two offsets,
//! and sends out of order.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::history::{Outcome, Producer, Promise};
use super::{Anomaly, Row};

/// An acknowledged send below an offset that somebody read, which nobody ever read. This is also the
/// hole that no loss of a suffix leaves.
pub fn lost(facts: &Facts) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for send in &facts.sends {
        let (Outcome::Ok(offset), Some(partition)) =
            (send.outcome, facts.partitions.get(&send.partition))
        else {
            continue;
        };
        if send.txn.is_some_and(|txn| facts.is_aborted(txn)) {
            continue;
        }
        let polled = partition.read_by_all.last_key_value().map(|(offset, _)| *offset);
        let last = partition.last.as_ref().and_then(|last| last.records.last());
        let highest = polled.max(last.map(|seen| seen.offset));
        if highest.is_some_and(|highest| offset < highest) && !partition.read.contains(&send.value)
        {
            found.push(Anomaly::at(Row::LostWrite, send.partition, offset, send.value));
        }
    }
    found
}

/// What the last read does not bring, though it was acknowledged or read before.
pub fn unseen(facts: &Facts) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (number, partition) in &facts.partitions {
        let Some(last) = &partition.last else { continue };
        let stored: BTreeSet<_> = last.records.iter().map(|seen| seen.value).collect();
        for send in facts.sends.iter().filter(|send| send.partition == *number) {
            let Outcome::Ok(offset) = send.outcome else { continue };
            let aborted = send.txn.is_some_and(|txn| facts.is_aborted(txn));
            if send.promise == Promise::Kept && !aborted && !stored.contains(&send.value) {
                found.push(Anomaly::at(Row::Unseen, *number, offset, send.value));
            }
        }
        for (offset, value) in &partition.read_committed {
            let send = facts.by_value.get(&(*number, *value));
            let kept = send.is_none_or(|send| {
                send.promise == Promise::Kept && !matches!(send.outcome, Outcome::Ok(_))
            });
            let given_up = send.and_then(|send| send.txn).is_some_and(|txn| facts.is_aborted(txn));
            if kept && !given_up && !stored.contains(value) {
                found.push(Anomaly::at(Row::Unseen, *number, *offset, *value));
            }
        }
    }
    found
}

/// One offset that has two values, over all sends and reads.
pub fn inconsistent_offset(facts: &Facts) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (number, partition) in &facts.partitions {
        for (offset, values) in partition.at.iter().filter(|(_, values)| values.len() > 1) {
            let value = values.iter().copied().next().unwrap_or_default();
            found.push(Anomaly::at(Row::InconsistentOffset, *number, *offset, value));
        }
    }
    found
}

/// A value at two offsets; how many of those a client that resends may have made itself.
pub fn duplicates(facts: &Facts) -> (Vec<Anomaly>, usize) {
    let (mut found, mut resent) = (Vec::new(), 0);
    for (number, partition) in &facts.partitions {
        for (value, places) in partition.places.iter().filter(|(_, places)| places.len() > 1) {
            let producer = facts.by_value.get(&(*number, *value)).map(|send| send.producer);
            match producer.map(|producer| facts.producer(producer)) {
                Some(Producer::Resends) => resent += 1,
                Some(Producer::Idempotent | Producer::Once) | None => {
                    let offset = places.last().copied().unwrap_or_default();
                    found.push(Anomaly::at(Row::Duplicate, *number, offset, *value));
                }
            }
        }
    }
    (found, resent)
}

/// A later send of one producer that lies before an earlier one. Sends of other producers in
/// between are normal.
pub fn nonmonotonic_send(facts: &Facts) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut behind: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    for send in &facts.sends {
        if facts.producer(send.producer) == Producer::Resends {
            continue;
        }
        let places =
            facts.partitions.get(&send.partition).and_then(|found| found.places.get(&send.value));
        let Some(offset) = places.and_then(|places| places.first()).copied() else { continue };
        let last = behind.entry((send.producer, send.partition)).or_insert(-1);
        if offset < *last {
            found.push(Anomaly::at(Row::NonmonotonicSend, send.partition, offset, send.value));
        }
        *last = offset.max(*last);
    }
    found
}
