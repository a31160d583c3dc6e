//! The `range` assignor and the bytes that members of a classic consumer group say their topics and
//! partitions in (version 0 of both is written, any is read: later versions only add fields).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::wire::NamedPartition;
use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// The assignor's name, as groups agree on it.
pub(super) const RANGE: &str = "range";

/// A member's topics, as it says them when it joins.
pub(super) fn subscription(topics: &BTreeSet<String>) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.i16(0);
    writer.length(Some(topics.len()), false)?;
    for topic in topics {
        writer.nullable_string(Some(topic), false)?;
    }
    writer.nullable_bytes(None, false)?;
    Ok(writer.into_bytes())
}

/// Reads the topics of a subscription.
///
/// # Errors
/// Whatever is wrong with the bytes.
pub fn subscribed(bytes: Bytes) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.i16()?;
    let count = reader.count(false, 2)?.unwrap_or(0);
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.extend(reader.nullable_string(false)?);
    }
    Ok(topics)
}

/// A member's partitions, as the leader says them.
pub(super) fn assignment(partitions: &[NamedPartition]) -> Result<Bytes, EncodeError> {
    let mut topics = BTreeMap::<&str, Vec<i32>>::new();
    for named in partitions {
        topics.entry(&named.topic).or_default().push(named.partition.0);
    }
    let mut writer = Writer::new();
    writer.i16(0);
    writer.length(Some(topics.len()), false)?;
    for (topic, partitions) in topics {
        writer.nullable_string(Some(topic), false)?;
        writer.length(Some(partitions.len()), false)?;
        for partition in partitions {
            writer.i32(partition);
        }
    }
    writer.nullable_bytes(None, false)?;
    Ok(writer.into_bytes())
}

/// Reads the partitions of an assignment; no bytes at all are none.
///
/// # Errors
/// Whatever is wrong with the bytes.
pub fn assigned(bytes: Bytes) -> Result<Vec<NamedPartition>, DecodeError> {
    let mut partitions = Vec::new();
    if bytes.is_empty() {
        return Ok(partitions);
    }
    let mut reader = Reader::new(bytes);
    reader.i16()?;
    for _ in 0..reader.count(false, 6)?.unwrap_or(0) {
        let topic = reader.nullable_string(false)?.unwrap_or_default();
        for _ in 0..reader.count(false, 4)?.unwrap_or(0) {
            partitions.push(NamedPartition::new(&topic, reader.i32()?));
        }
    }
    Ok(partitions)
}

/// Gives each topic's partitions to its subscribers in runs, in the order of their member ids; the
/// first ones get one more where it does not come out even.
pub(super) fn range(
    members: &BTreeMap<String, Vec<String>>,
    partition_counts: &BTreeMap<String, u32>,
) -> BTreeMap<String, Vec<NamedPartition>> {
    let mut assigned: BTreeMap<String, Vec<NamedPartition>> =
        members.keys().map(|member| (member.clone(), Vec::new())).collect();
    for (topic, count) in partition_counts {
        let subscribers: Vec<&String> = members
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| member)
            .collect();
        let mut next = 0;
        for (place, member) in (0u32..).zip(&subscribers) {
            let member_count = u32::try_from(subscribers.len()).unwrap_or(u32::MAX);
            let share = count / member_count + u32::from(place < count % member_count);
            let run = next..next + share;
            next = run.end;
            let indexes = run.filter_map(|index| i32::try_from(index).ok());
            let partitions = indexes.map(|index| NamedPartition::new(topic, index));
            assigned.entry((*member).clone()).or_default().extend(partitions);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(members: &[(&str, &[&str])], counts: &[(&str, u32)], expected: &[(&str, &[&str])]) {
        let owned = |topics: &[&str]| topics.iter().map(|it| (*it).to_owned()).collect();
        let members = members.iter().map(|(id, topics)| ((*id).to_owned(), owned(topics)));
        let counts = counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count));
        let found = range(&members.collect(), &counts.collect());
        let found: Vec<_> = found
            .into_iter()
            .map(|(id, list)| (id, list.iter().map(ToString::to_string).collect::<Vec<_>>()))
            .collect();
        let expected: Vec<(String, Vec<String>)> =
            expected.iter().map(|(id, list)| ((*id).to_owned(), owned(list))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn partitions_go_in_runs_and_the_rest_to_the_first() {
        check(
            &[("b", &["t"]), ("a", &["t"])],
            &[("t", 3)],
            &[("a", &["t-0", "t-1"]), ("b", &["t-2"])],
        );
    }

    #[test]
    fn only_subscribers_get_a_topic() {
        check(
            &[("a", &["t", "u"]), ("b", &["u"]), ("c", &[])],
            &[("t", 1), ("u", 2)],
            &[("a", &["t-0", "u-0"]), ("b", &["u-1"]), ("c", &[])],
        );
    }

    #[test]
    fn more_members_than_partitions_leave_some_without() {
        check(&[("a", &["t"]), ("b", &["t"])], &[("t", 1)], &[("a", &["t-0"]), ("b", &[])]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let topics = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let bytes = subscription(&topics).expect("short names");
        assert_eq!(subscribed(bytes).ok(), Some(vec!["a".to_owned(), "b".to_owned()]));
        let partitions = vec![NamedPartition::new("a", 0), NamedPartition::new("a", 7)];
        let bytes = assignment(&partitions).expect("short names");
        assert_eq!(assigned(bytes).ok(), Some(partitions));
        assert_eq!(assigned(Bytes::new()).ok(), Some(vec![]));
    }

    #[test]
    fn hostile_counts_are_refused() {
        let bytes = Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert!(subscribed(bytes.clone()).is_err());
        assert!(assigned(bytes).is_err());
    }
}
