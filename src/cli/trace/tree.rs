//! Events in the order of a tree: each below what caused it, those of one cause by time. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Event;

/// An event and how deep it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) depth: usize,
    pub(super) event: Event,
}

/// All events as lines, each once. Records that carry one event stand next to each other, the first of them first.
pub(super) fn lines(mut events: Vec<Event>) -> Vec<Line> {
    events.sort_by_key(|event| (event.copy.is_some(), event.time, event.at.clone(), event.offset));
    let ids: BTreeSet<String> = events.iter().map(|event| event.id.clone()).collect();
    let mut records = BTreeMap::<String, Vec<Event>>::new();
    // What each id causes, and what nothing here causes, by time.
    let (mut followers, mut roots) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for event in events {
        let of_id = records.entry(event.id.clone()).or_default();
        if of_id.is_empty() {
            let cause = event.causation_id.clone().filter(|id| ids.contains(id) && *id != event.id);
            match cause {
                Some(cause) => followers.entry(cause).or_default().push(event.id.clone()),
                None => roots.push(event.id.clone()),
            }
        }
        of_id.push(event);
    }
    let mut lines = Vec::new();
    // Ids that cause each other have no root: the first of them stands for one.
    let all: Vec<String> = roots.into_iter().chain(ids).collect();
    for root in all {
        let mut stack = vec![(root, 0)];
        while let Some((id, depth)) = stack.pop() {
            let Some(events) = records.remove(&id) else { continue };
            for (place, event) in events.into_iter().enumerate() {
                let depth = if place == 0 { depth } else { depth + 1 };
                lines.push(Line { depth, event });
            }
            let next = followers.remove(&id).unwrap_or_default();
            stack.extend(next.into_iter().rev().map(|id| (id, depth + 1)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::TopicPartition;
    use crate::types::{Offset, Timestamp};

    fn event(id: &str, cause: &str, time: i64) -> Event {
        Event {
            id: id.to_owned(),
            causation_id: Some(cause.to_owned()).filter(|cause| !cause.is_empty()),
            correlation_id: None,
            saga_id: None,
            name: String::new(),
            source: None,
            time: Timestamp(time),
            at: TopicPartition::new("t", 0),
            offset: Offset(time),
            key: None,
            copy: None,
        }
    }

    fn check(events: Vec<Event>, expected: &str) {
        let show = |line: Line| {
            let copy = if line.event.copy.is_some() { "*" } else { "" };
            format!("{}{}{copy}", "-".repeat(line.depth), line.event.id)
        };
        assert_eq!(lines(events).into_iter().map(show).collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn each_stands_below_its_cause_by_time() {
        let events = vec![
            event("d", "b", 5),
            event("c", "a", 4),
            event("b", "a", 2),
            event("a", "", 1),
            event("z", "gone", 3),
        ];
        check(events, "a -b --d -c z");
    }

    #[test]
    fn copies_stand_behind_the_first_and_circles_end() {
        let copy = Event { copy: Some("redriven".to_owned()), ..event("a", "", 0) };
        check(vec![copy, event("b", "a", 2), event("a", "", 1)], "a -a* -b");
        check(vec![event("a", "b", 1), event("b", "a", 2)], "a -b");
        check(vec![event("a", "a", 1)], "a");
        check(Vec::new(), "");
    }
}
