//! How members of a classic consumer group share partitions out, and the bytes that they say their
//! topics and partitions in (version 0 of both is written, any is read: later versions only add fields).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::wire::NamedPartition;
use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// A rule to share out by, by the name that groups agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Each topic's partitions go to its subscribers in runs; the first ones get one more where it does
    /// not come out even.
    Range,
    /// All partitions go round, each to the next one who subscribes to its topic.
    RoundRobin,
    /// The same by the name that kafkajs gives it.
    KafkajsRoundRobin,
}

/// A member as whoever shares out sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) member_id: String,
    /// Of a static member, whose member id is another one after each restart.
    pub(super) instance_id: Option<String>,
    pub(super) topics: Vec<String>,
}

impl Subscriber {
    /// A member with the topics that it said when it joined.
    pub(super) fn read(
        member_id: &str,
        instance_id: Option<&String>,
        metadata: Bytes,
    ) -> Result<Self, DecodeError> {
        let (member_id, instance_id) = (member_id.to_owned(), instance_id.cloned());
        Ok(Self { member_id, instance_id, topics: subscribed(metadata)? })
    }
}

impl Rule {
    /// In our order of preference.
    pub(super) const ALL: [Self; 3] = [Self::Range, Self::RoundRobin, Self::KafkajsRoundRobin];

    /// As groups know it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::KafkajsRoundRobin => "RoundRobinAssigner",
        }
    }

    /// The rule of that name, if it is one of ours.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Everybody's partitions, by member id. The order among members is that of their instance ids,
    /// dynamic ones by member id behind them: a restart of static ones changes nothing.
    pub(super) fn share_out(
        self,
        members: &[Subscriber],
        partition_counts: &BTreeMap<String, u32>,
    ) -> BTreeMap<String, Vec<NamedPartition>> {
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by_key(|member| {
            let is_dynamic = member.instance_id.is_none();
            (is_dynamic, member.instance_id.as_deref(), member.member_id.as_str())
        });
        match self {
            Self::Range => range(&members, partition_counts),
            Self::RoundRobin | Self::KafkajsRoundRobin => round_robin(&members, partition_counts),
        }
    }
}

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

/// A member's partitions, topic and number, as the leader says them.
pub(super) fn assignment<'a>(
    partitions: impl Iterator<Item = (&'a str, i32)>,
) -> Result<Bytes, EncodeError> {
    let mut topics = BTreeMap::<&str, Vec<i32>>::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
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

fn nothing_yet(members: &[&Subscriber]) -> BTreeMap<String, Vec<NamedPartition>> {
    members.iter().map(|member| (member.member_id.clone(), Vec::new())).collect()
}

fn range(
    members: &[&Subscriber],
    partition_counts: &BTreeMap<String, u32>,
) -> BTreeMap<String, Vec<NamedPartition>> {
    let mut assigned = nothing_yet(members);
    for (topic, count) in partition_counts {
        let subscribers: Vec<_> =
            members.iter().filter(|member| member.topics.contains(topic)).collect();
        let mut next = 0;
        for (place, member) in (0u32..).zip(&subscribers) {
            let member_count = u32::try_from(subscribers.len()).unwrap_or(u32::MAX);
            let share = count / member_count + u32::from(place < count % member_count);
            let run = next..next + share;
            next = run.end;
            let indexes = run.filter_map(|index| i32::try_from(index).ok());
            let partitions = indexes.map(|index| NamedPartition::new(topic, index));
            assigned.entry(member.member_id.clone()).or_default().extend(partitions);
        }
    }
    assigned
}

fn round_robin(
    members: &[&Subscriber],
    partition_counts: &BTreeMap<String, u32>,
) -> BTreeMap<String, Vec<NamedPartition>> {
    let mut assigned = nothing_yet(members);
    let mut next = 0;
    for (topic, count) in partition_counts {
        for index in (0..*count).filter_map(|index| i32::try_from(index).ok()) {
            let mut round = (next..next + members.len()).map(|place| place % members.len());
            let subscribes = |place: &usize| members[*place].topics.contains(topic);
            let Some(place) = round.find(subscribes) else { break };
            next = place + 1;
            let partitions = assigned.entry(members[place].member_id.clone()).or_default();
            partitions.push(NamedPartition::new(topic, index));
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members as `id topics`, or `instance/id` of a static one.
    fn check(
        rule: Rule,
        members: &[(&str, &[&str])],
        counts: &[(&str, u32)],
        expected: &[(&str, &[&str])],
    ) {
        let owned = |topics: &[&str]| topics.iter().map(|it| (*it).to_owned()).collect();
        let members = members.iter().map(|(id, topics)| {
            let (instance_id, member_id) = match id.split_once('/') {
                Some((instance_id, member_id)) => (Some(instance_id.to_owned()), member_id),
                None => (None, *id),
            };
            Subscriber { member_id: member_id.to_owned(), instance_id, topics: owned(topics) }
        });
        let members: Vec<_> = members.collect();
        let counts = counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count));
        let found = rule.share_out(&members, &counts.collect());
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
            Rule::Range,
            &[("b", &["t"]), ("a", &["t"])],
            &[("t", 3)],
            &[("a", &["t-0", "t-1"]), ("b", &["t-2"])],
        );
    }

    #[test]
    fn only_subscribers_get_a_topic() {
        check(
            Rule::Range,
            &[("a", &["t", "u"]), ("b", &["u"]), ("c", &[])],
            &[("t", 1), ("u", 2)],
            &[("a", &["t-0", "u-0"]), ("b", &["u-1"]), ("c", &[])],
        );
    }

    #[test]
    fn more_members_than_partitions_leave_some_without() {
        check(
            Rule::Range,
            &[("a", &["t"]), ("b", &["t"])],
            &[("t", 1)],
            &[("a", &["t-0"]), ("b", &[])],
        );
    }

    #[test]
    fn partitions_go_round_among_subscribers() {
        check(
            Rule::RoundRobin,
            &[("a", &["t"]), ("b", &["t", "u"])],
            &[("t", 3), ("u", 2)],
            &[("a", &["t-0", "t-2"]), ("b", &["t-1", "u-0", "u-1"])],
        );
        check(Rule::RoundRobin, &[], &[("t", 1)], &[]);
    }

    #[test]
    fn static_members_come_first_in_the_order_of_their_instances() {
        check(
            Rule::Range,
            &[("a", &["t"]), ("two/b", &["t"]), ("one/c", &["t"])],
            &[("t", 3)],
            &[("a", &["t-2"]), ("b", &["t-1"]), ("c", &["t-0"])],
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let topics = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let bytes = subscription(&topics).expect("short names");
        assert_eq!(subscribed(bytes).ok(), Some(vec!["a".to_owned(), "b".to_owned()]));
        let partitions = vec![NamedPartition::new("a", 0), NamedPartition::new("a", 7)];
        let rows = partitions.iter().map(|it| (it.topic.as_str(), it.partition.0));
        let bytes = assignment(rows).expect("short names");
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
