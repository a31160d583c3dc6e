//! The rows about the order in which consumers got records, and about committed offsets.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::history::{Event, Isolation, Poll};
use super::{Anomaly, Row};

/// Records that a consumer jumped over or went back behind, inside one call and from one to the
/// next. What was read by nobody with the same isolation is no reason to stop there.
pub fn order(facts: &Facts, history: &[Event]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut last: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    for event in history {
        match event {
            Event::Reassigned { consumer } => last.retain(|(whose, _), _| whose != consumer),
            Event::Poll(poll) => {
                let mut inside: BTreeMap<i32, i64> = BTreeMap::new();
                for seen in &poll.records {
                    let within = inside.insert(seen.partition, seen.offset);
                    let before = last.insert((poll.consumer, seen.partition), seen.offset);
                    let Some(before) = within.or(before) else { continue };
                    let is_inside = within.is_some();
                    let row = if seen.offset <= before {
                        [Row::NonmonotonicPoll, Row::InternalNonmonotonicPoll]
                    } else if skips(facts, poll, seen.partition, (before, seen.offset)) {
                        [Row::PollSkip, Row::InternalPollSkip]
                    } else {
                        continue;
                    };
                    let row = row[usize::from(is_inside)];
                    found.push(Anomaly::at(row, seen.partition, seen.offset, seen.value));
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether something known lies between two offsets.
fn skips(facts: &Facts, poll: &Poll, partition: i32, (from, to): (i64, i64)) -> bool {
    let Some(known) = facts.partitions.get(&partition) else { return false };
    let known = match poll.isolation {
        Isolation::Committed => &known.read_committed,
        Isolation::Uncommitted => &known.read_by_all,
    };
    known.range(from + 1..to).next().is_some()
}

/// A group's offset that is behind what was acknowledged, or beyond the log's end.
pub fn committed_offsets(facts: &Facts, history: &[Event]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut acknowledged: BTreeMap<(u32, i32), i64> = BTreeMap::new();
    for event in history {
        match event {
            Event::Commit { group, partition, offset } => {
                acknowledged.insert((*group, *partition), *offset);
            }
            Event::Committed { group, partition, offset } => {
                if acknowledged.get(&(*group, *partition)).is_some_and(|before| offset < before) {
                    found.push(Anomaly::at(Row::CommitWentBack, *partition, *offset, 0));
                }
                let known = facts.partitions.get(partition);
                let last = known.and_then(|partition| partition.last.as_ref());
                if last.is_some_and(|last| *offset > last.log_end) {
                    found.push(Anomaly::at(Row::CommitBeyondEnd, *partition, *offset, 0));
                }
            }
            _ => {}
        }
    }
    found
}
