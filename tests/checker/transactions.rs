//! The rows about transactions. Writes of two transactions that lie between each other (G0) are
//! normal in Kafka and no row.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::history::{End, Event, Isolation, Outcome, Poll, Seen};
use super::{Anomaly, Row};

/// A value that somebody read although its send was refused, or its transaction given up (G1a).
pub fn aborted_read(facts: &Facts, history: &[Event]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (seen, isolation) in all_read(history) {
        let Some(send) = facts.by_value.get(&(seen.partition, seen.value)) else { continue };
        let refused = send.outcome == Outcome::Fail;
        let given_up =
            isolation == Isolation::Committed && send.txn.is_some_and(|txn| facts.is_aborted(txn));
        if refused || given_up {
            found.push(Anomaly::at(Row::AbortedRead, seen.partition, seen.offset, seen.value));
        }
    }
    found
}

fn all_read(history: &[Event]) -> Vec<(Seen, Isolation)> {
    let mut all = Vec::new();
    for event in history {
        match event {
            Event::Poll(poll) => all.extend(poll.records.iter().map(|s| (*s, poll.isolation))),
            Event::FinalRead(last) => {
                all.extend(last.records.iter().map(|seen| (*seen, Isolation::Committed)));
            }
            _ => {}
        }
    }
    all
}

/// A read_committed poll that brings a transaction before its commit was asked for, or only a part
/// of what one call spans (G1b); and a transaction that reads its own values.
pub fn early_read(facts: &Facts, history: &[Event]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (index, event) in history.iter().enumerate() {
        let Event::Poll(poll) = event else { continue };
        for seen in &poll.records {
            let Some(writer) = facts.writer(seen.partition, seen.value) else { continue };
            let at = |row| Anomaly::at(row, seen.partition, seen.offset, seen.value);
            if poll.txn == Some(writer) {
                found.push(at(Row::PrecommittedRead));
            } else if poll.isolation == Isolation::Committed && !facts.is_aborted(writer) {
                let committing = facts.txns.get(&writer).and_then(|txn| txn.committing);
                if committing.is_none_or(|asked| index < asked) {
                    found.push(at(Row::IntermediateRead));
                }
            }
        }
        if poll.isolation == Isolation::Committed {
            found.extend(partial(facts, poll));
        }
    }
    found
}

/// Transactions of which one call spans all batches of a partition and brings only some.
fn partial(facts: &Facts, poll: &Poll) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let brought: BTreeSet<_> = poll.records.iter().map(|s| (s.partition, s.value)).collect();
    let mut spans: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for seen in &poll.records {
        let span = spans.entry(seen.partition).or_insert((seen.offset, seen.offset));
        *span = (span.0.min(seen.offset), span.1.max(seen.offset));
    }
    let writers: BTreeSet<u32> =
        brought.iter().filter_map(|(number, value)| facts.writer(*number, *value)).collect();
    for txn in writers.iter().filter_map(|writer| facts.txns.get(writer)) {
        for (number, (from, to)) in &spans {
            let Some(partition) = facts.partitions.get(number) else { continue };
            let values: Vec<_> = txn.sent.iter().filter(|(sent, _)| sent == number).collect();
            let offsets: Vec<_> = values
                .iter()
                .filter_map(|(_, value)| partition.places.get(value)?.first().copied())
                .collect();
            let within = offsets.iter().all(|offset| from <= offset && offset <= to);
            let some = values.iter().any(|value| brought.contains(*value));
            let missed = values.iter().find(|value| !brought.contains(*value));
            if let (true, true, Some((_, value))) = (within && offsets.len() > 1, some, missed) {
                found.push(Anomaly::at(Row::IntermediateRead, *number, *from, *value));
            }
        }
    }
    found
}

/// A transaction of which one part was read by the end, and another never.
pub fn torn(facts: &Facts) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for txn in facts.txns.values().filter(|txn| txn.end != Some(End::Aborted)) {
        let stored = |(number, value): &(i32, u64)| {
            let last = facts.partitions.get(number)?.last.as_ref()?;
            Some(last.records.iter().any(|seen| seen.value == *value))
        };
        let (mut there, mut missing) = (false, None);
        for part in &txn.sent {
            match stored(part) {
                Some(true) => there = true,
                Some(false) => missing = Some(*part),
                None => {}
            }
        }
        let acknowledged = txn.end == Some(End::Committed);
        if let (true, Some((number, value))) = (there || acknowledged, missing) {
            found.push(Anomaly::at(Row::TornTransaction, number, -1, value));
        }
    }
    found
}

/// Transactions that read from each other in a circle (G1c, over write-read edges).
pub fn circular(facts: &Facts) -> Vec<Anomaly> {
    let mut reads_from: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (reader, txn) in &facts.txns {
        let writers = txn.read.iter().filter_map(|(number, value)| facts.writer(*number, *value));
        reads_from.entry(*reader).or_default().extend(writers.filter(|writer| writer != reader));
    }
    let mut found = Vec::new();
    for start in reads_from.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<u32> = vec![*start];
        while let Some(at) = next.pop() {
            for writer in reads_from.get(&at).into_iter().flatten() {
                if reached.insert(*writer) {
                    next.push(*writer);
                }
            }
        }
        if reached.contains(start) {
            found.push(Anomaly { row: Row::CircularFlow, details: format!("transaction {start}") });
        }
    }
    found
}

/// A last stable offset below the high watermark without a transaction that may still be open there.
pub fn stuck(facts: &Facts, history: &[Event]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (index, event) in history.iter().enumerate() {
        let Event::Watermarks(marks) = event else { continue };
        let may_be_open = facts.txns.values().any(|txn| {
            let writes_here = txn.sent.iter().any(|(number, _)| *number == marks.partition);
            let ended = txn.ended.is_some_and(|ended| ended < index);
            let age_ms = marks.at_ms.saturating_sub(txn.begun_ms);
            writes_here && !ended && age_ms <= txn.timeout_ms
        });
        if marks.last_stable < marks.high_watermark && !may_be_open {
            found.push(Anomaly::at(Row::LastStableStuck, marks.partition, marks.last_stable, 0));
        }
    }
    found
}
