//! What the facts about a group mean, and what to do. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::services::ServiceFacts;
use crate::cli::time;
use crate::client::NamedPartition;
use crate::services::replay::retry_topic;
use crate::types::Offset;

/// What a cluster says about a group and all that it has to do with.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) group: String,
    /// All groups of the cluster.
    pub(super) groups: Vec<String>,
    /// Kafka's name for what the group is doing; `None` if there is no such group.
    pub(super) state: Option<String>,
    pub(super) members: Vec<MemberFacts>,
    /// Topics that are named by a member or an offset and do not exist.
    pub(super) missing_topics: BTreeSet<String>,
    /// All partitions of the others.
    pub(super) partitions: BTreeMap<NamedPartition, PartitionFacts>,
    /// Offsets of partitions that do not exist.
    pub(super) orphaned: Vec<(NamedPartition, Offset)>,
    /// Records in the group's topic of dead letters.
    pub(super) dead_letters: i64,
    /// What a group of ottla's services has written down.
    pub(super) services: Option<ServiceFacts>,
}

/// One member.
#[derive(Debug, Default)]
pub(super) struct MemberFacts {
    pub(super) client_id: String,
    pub(super) topics: Vec<String>,
    pub(super) assigned: Vec<NamedPartition>,
}

/// One partition; what is not known is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionFacts {
    /// Whether a broker leads it.
    pub(super) leads: bool,
    pub(super) start: Option<Offset>,
    pub(super) end: Option<Offset>,
    pub(super) stable_end: Option<Offset>,
    pub(super) committed: Option<Offset>,
}

/// Something worth telling.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// For scripts.
    pub(super) code: &'static str,
    /// Whether it keeps records from the group.
    pub(super) is_wrong: bool,
    pub(super) what: String,
    pub(super) advice: String,
}

fn wrong(code: &'static str, what: String, advice: impl Into<String>) -> Finding {
    Finding { code, is_wrong: true, what, advice: advice.into() }
}

fn note(code: &'static str, what: String, advice: impl Into<String>) -> Finding {
    Finding { code, is_wrong: false, what, advice: advice.into() }
}

impl Facts {
    /// Records between the committed offsets and the ends.
    pub(super) fn lag(&self) -> i64 {
        let lag = |it: &PartitionFacts| Some((it.end?.0 - it.committed?.0).max(0));
        self.partitions.values().filter_map(lag).sum()
    }

    /// The first line.
    pub(super) fn summary(&self) -> String {
        let (group, members) = (&self.group, self.members.len());
        match &self.state {
            None => format!("group {group}: does not exist"),
            Some(state) => {
                format!("group {group}: {state}, members {members}, lag {}", self.lag())
            }
        }
    }

    /// Makes a count of the partitions of the dead letters, which the group does not read.
    pub(super) fn take_dead_letters(&mut self, topic: &str) {
        let held = |it: &PartitionFacts| Some((it.end?.0 - it.start?.0).max(0));
        let ours = self.partitions.iter().filter(|(at, _)| at.topic == topic);
        self.dead_letters = ours.filter_map(|(_, it)| held(it)).sum();
        self.partitions.retain(|at, _| at.topic != topic);
        self.missing_topics.remove(topic);
    }

    fn owner(&self, at: &NamedPartition) -> Option<&MemberFacts> {
        self.members.iter().find(|member| member.assigned.contains(at))
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        self.members.iter().any(|member| member.topics.iter().any(|it| it == topic))
    }
}

/// What the facts mean, the weightiest first; one entry that all is well, if nothing is wrong.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    match facts.state.as_deref() {
        None => found.push(no_group(facts)),
        Some("Empty" | "Dead") => found.push(no_members(facts)),
        Some("PreparingRebalance" | "CompletingRebalance") => found.push(wrong(
            "rebalancing",
            "the group is sharing its partitions out, and nobody gets records meanwhile".to_owned(),
            "ask again; if it goes on, a member joins and leaves all the time: look at its log and at \
             max.poll.interval.ms",
        )),
        Some(_) => {}
    }
    topics(facts, &mut found);
    for (at, partition) in &facts.partitions {
        offsets(facts, at, partition, &mut found);
    }
    for (at, offset) in &facts.orphaned {
        found.push(note(
            "partition-gone",
            format!("offset {offset} is committed for {at}, which does not exist"),
            "harmless, unless the topic was deleted by mistake",
        ));
    }
    idle_members(facts, &mut found);
    if let Some(services) = &facts.services {
        of_services(&facts.group, services, &mut found);
    } else if facts.dead_letters > 0 {
        found.push(note(
            "dead-letters",
            format!(
                "{}.dlq holds {} records that handlers gave up on",
                facts.group, facts.dead_letters
            ),
            format!("`ottla consume {}.dlq --from-beginning` shows them", facts.group),
        ));
    }
    found.sort_by_key(|finding| !finding.is_wrong);
    if !found.iter().any(|finding| finding.is_wrong) && facts.lag() == 0 {
        found.push(note(
            "caught-up",
            "every record that there is has been committed".to_owned(),
            "nothing to do: produce a record and ask again",
        ));
    }
    found
}

fn of_services(group: &str, services: &ServiceFacts, found: &mut Vec<Finding>) {
    let ServiceFacts { dead_letters, parked, stuck } = services;
    if *dead_letters > 0 {
        found.push(note(
            "dead-letters",
            format!("{group}.dlq holds {dead_letters} records that nobody has decided about"),
            format!("`ottla dlq list {group}` shows why, `ottla dlq redrive` and `discard` decide"),
        ));
    }
    if parked.held > 0 {
        found.push(wrong(
            "held-keys",
            format!("{} keys are held, each behind a dead letter", parked.held),
            format!("mend the cause, then `ottla dlq redrive {group} --all`, or discard them"),
        ));
    }
    let waiting = parked.keys.saturating_sub(parked.held);
    if waiting > 0 {
        let reasons = parked.reasons.iter().map(|(name, count)| format!("{name} {count}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let due = parked.next_due.map(|due| format!(", the next try is at {}", time::show(due)));
        found.push(note(
            "parked-keys",
            format!(
                "{waiting} keys wait for another try, {} records in all: {reasons}{}",
                parked.records,
                due.unwrap_or_default()
            ),
            "they go on by themselves; where the same reason comes again and again, what the handler calls is down"
                .to_owned(),
        ));
    }
    if *stuck > 0 {
        let name = group.strip_prefix("ottla-saga-").unwrap_or(group);
        found.push(wrong(
            "stuck-sagas",
            format!("{stuck} sagas cannot go on until somebody decides"),
            format!("`ottla saga list --saga {name} --state stuck` shows them and why"),
        ));
    }
}

fn no_group(facts: &Facts) -> Finding {
    let near = facts.groups.iter().map(|name| (distance(name, &facts.group), name)).min();
    let advice = match near {
        Some((distance, name)) if distance <= facts.group.len() / 3 => format!("did you mean {name}?"),
        _ if facts.groups.is_empty() => {
            "no consumer has ever joined a group here: is it connected to another cluster?".to_owned()
        }
        _ => "`ottla group list` shows those that exist: is the consumer connected to another cluster?".to_owned(),
    };
    wrong(
        "no-group",
        "no consumer has joined a group of this name, and none has committed".to_owned(),
        advice,
    )
}

fn no_members(facts: &Facts) -> Finding {
    let what = "no consumer is connected".to_owned();
    let lag = facts.lag();
    let advice = format!("start it: {lag} records wait, and it goes on at its committed offsets");
    wrong("no-members", what, advice)
}

fn topics(facts: &Facts, found: &mut Vec<Finding>) {
    for topic in &facts.missing_topics {
        if facts.is_subscribed(topic) {
            found.push(wrong(
                "no-topic",
                format!("a member subscribes to {topic}, which does not exist"),
                format!("`ottla topic create {topic}`, or mend the name"),
            ));
        }
    }
    let of_topics: BTreeSet<&str> = facts.partitions.keys().map(|at| at.topic.as_str()).collect();
    for topic in of_topics {
        let held = facts.partitions.iter().filter(|(at, _)| at.topic == topic);
        let is_empty = held.clone().all(|(_, it)| it.end.is_some() && it.end == it.start);
        // Where services get nothing again unless somebody says so.
        let is_own = facts.services.is_some() && topic == retry_topic(&facts.group);
        if facts.is_subscribed(topic) && is_empty && !is_own {
            found.push(note(
                "empty-topic",
                format!("topic {topic} holds no record"),
                "nobody has produced to it, or retention has deleted all: `ottla topic describe` shows which",
            ));
        }
        let stops = !facts.members.is_empty() && !facts.is_subscribed(topic);
        if stops && held.clone().any(|(_, it)| it.committed.is_some()) {
            found.push(wrong(
                "not-subscribed",
                format!("the group has read {topic}, but no member subscribes to it now"),
                "add it to a member's subscription",
            ));
        }
    }
}

fn offsets(facts: &Facts, at: &NamedPartition, it: &PartitionFacts, found: &mut Vec<Finding>) {
    if !it.leads {
        found.push(wrong(
            "offline",
            format!("no broker leads {at}: its disk failed, or its data is damaged"),
            "`ottla status` and the broker's log say why",
        ));
        return;
    }
    let (Some(start), Some(end)) = (it.start, it.end) else { return };
    if let Some(committed) = it.committed {
        if committed < start {
            found.push(wrong(
                "records-deleted",
                format!(
                    "{} records of {at} were deleted before the group read them: it is at {committed}, the log begins at {start}",
                    start.0 - committed.0
                ),
                "the consumer goes on where auto.offset.reset says; raise retention.ms of the topic, or read faster",
            ));
        }
        if committed > end {
            found.push(wrong(
                "beyond-end",
                format!("the group is at {committed} of {at}, beyond its end {end}: the topic was made anew, or is another cluster's"),
                format!("stop the consumers, then `ottla group reset {} --topic {} --to-earliest`", facts.group, at.topic),
            ));
        }
    } else if facts.owner(at).is_some() && end > start {
        found.push(note(
            "no-offset",
            format!("nothing is committed for {at}, which holds {} records", end.0 - start.0),
            "a consumer with auto.offset.reset=latest (the default) gets only what comes from now on",
        ));
    }
    let position = it.committed.unwrap_or(start);
    if let Some(stable) = it.stable_end.filter(|stable| *stable < end && position >= *stable) {
        found.push(wrong(
            "open-transaction",
            format!("an open transaction holds back {at} from {stable} on, for readers of committed records"),
            "`ottla txn list --state ongoing` names it; `ottla txn abort` ends it",
        ));
    }
    let waits = position < end && position >= start;
    if waits
        && !facts.members.is_empty()
        && facts.owner(at).is_none()
        && facts.is_subscribed(&at.topic)
    {
        found.push(wrong(
            "no-owner",
            format!("no member has {at}, where {} records wait", end.0 - position.0),
            "the group has not seen the partition yet: members look for new ones every metadata.max.age.ms",
        ));
    } else if waits && it.committed.is_some() && facts.owner(at).is_some() {
        found.push(note(
            "lag",
            format!("{} records of {at} wait for their consumer", end.0 - position.0),
            "ask again: if the number does not fall, the consumer is stuck in a record; look at its log",
        ));
    }
}

fn idle_members(facts: &Facts, found: &mut Vec<Finding>) {
    let idle: Vec<_> = facts.members.iter().filter(|member| member.assigned.is_empty()).collect();
    let stable = facts.state.as_deref() == Some("Stable");
    if let Some(first) = idle.first().filter(|_| stable) {
        found.push(note(
            "idle-member",
            format!(
                "{} of {} members have no partition, {} is one",
                idle.len(),
                facts.members.len(),
                first.client_id
            ),
            "a partition has one owner: there are more members than partitions",
        ));
    }
}

/// How many letters have to be changed, added or taken out.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::super::services::Parked;
    use super::*;

    fn stable() -> Facts {
        let at = NamedPartition::new("orders", 0);
        let member = MemberFacts {
            client_id: "app".to_owned(),
            topics: vec!["orders".to_owned()],
            assigned: vec![at.clone()],
        };
        let offset = |offset| Some(Offset(offset));
        let partition = PartitionFacts {
            leads: true,
            start: offset(10),
            end: offset(20),
            stable_end: offset(20),
            committed: offset(20),
        };
        Facts {
            group: "billing".to_owned(),
            groups: vec!["billing".to_owned()],
            state: Some("Stable".to_owned()),
            members: vec![member],
            partitions: BTreeMap::from([(at, partition)]),
            ..Facts::default()
        }
    }

    /// What is found once `change` was made to a group that is well.
    fn codes(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
        let mut facts = stable();
        change(&mut facts);
        judge(&facts).iter().map(|finding| finding.code).collect()
    }

    fn only(facts: &mut Facts) -> &mut PartitionFacts {
        facts.partitions.values_mut().next().unwrap()
    }

    #[test]
    fn each_cause_is_named() {
        assert_eq!(codes(|_| {}), ["caught-up"]);
        assert_eq!(codes(|it| only(it).committed = Some(Offset(5))), ["records-deleted"]);
        assert_eq!(codes(|it| only(it).committed = Some(Offset(21))), ["beyond-end"]);
        assert_eq!(codes(|it| only(it).committed = Some(Offset(12))), ["lag"]);
        assert_eq!(codes(|it| only(it).committed = None), ["no-offset", "caught-up"]);
        assert_eq!(codes(|it| only(it).leads = false), ["offline"]);
        assert_eq!(
            codes(|it| {
                only(it).stable_end = Some(Offset(15));
                only(it).committed = Some(Offset(15));
            }),
            ["open-transaction", "lag"]
        );
        let empty = |it: &mut Facts| {
            it.state = Some("Empty".to_owned());
            it.members.clear();
        };
        assert_eq!(codes(empty), ["no-members"]);
        assert_eq!(codes(|it| it.state = Some("PreparingRebalance".to_owned())), ["rebalancing"]);
        assert_eq!(
            codes(|it| {
                it.members[0].topics.push("ordres".to_owned());
                it.missing_topics.insert("ordres".to_owned());
            }),
            ["no-topic"]
        );
        assert_eq!(codes(|it| it.members[0].topics = vec!["other".to_owned()]), ["not-subscribed"]);
        assert_eq!(
            codes(|it| it.members.push(MemberFacts::default())),
            ["idle-member", "caught-up"]
        );
        assert_eq!(codes(|it| it.dead_letters = 3), ["dead-letters", "caught-up"]);
        let services = |parked: Parked, stuck| ServiceFacts { dead_letters: 0, parked, stuck };
        let waiting = Parked { records: 5, keys: 3, held: 1, ..Parked::default() };
        let found = codes(|it| it.services = Some(services(waiting.clone(), 2)));
        assert_eq!(found, ["held-keys", "stuck-sagas", "parked-keys"]);
    }

    #[test]
    fn a_name_that_is_nearly_right_is_proposed() {
        let mut facts = stable();
        (facts.group, facts.state) = ("biling".to_owned(), None);
        assert_eq!(judge(&facts)[0].advice, "did you mean billing?");
    }
}
