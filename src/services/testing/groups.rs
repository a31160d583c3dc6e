//! Consumer groups of the cluster in memory: static members, ranges, generations.

use std::collections::BTreeMap;

use crate::client::cluster::{ClusterError, GroupIdentity, JoinAs, TopicPartition};
use crate::types::{Generation, Offset};

/// A group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) generation: i32,
    members: BTreeMap<String, Member>,
    pub(super) committed: BTreeMap<TopicPartition, Offset>,
    ids_drawn: u64,
}

#[derive(Debug)]
struct Member {
    member_id: String,
    topics: Vec<String>,
}

impl Group {
    /// Takes the place of who has this instance id, or a new one, for which all share out anew.
    pub(super) fn join(&mut self, join: &JoinAs) -> GroupIdentity {
        self.ids_drawn += 1;
        let member_id = format!("{}-{}", join.instance_id, self.ids_drawn);
        let member = Member { member_id: member_id.clone(), topics: join.topics.clone() };
        let before = self.members.insert(join.instance_id.clone(), member);
        if before.is_none_or(|before| before.topics != join.topics) {
            self.generation += 1;
        }
        GroupIdentity {
            group: join.group.clone(),
            generation: Generation(self.generation),
            member_id,
            instance_id: join.instance_id.clone(),
        }
    }

    /// Goes on without a member.
    pub(super) fn leave(&mut self, instance_id: &str) {
        if self.members.remove(instance_id).is_some() {
            self.generation += 1;
        }
    }

    /// Whether this member may speak.
    pub(super) fn check(&self, who: &GroupIdentity) -> Result<(), ClusterError> {
        let known = self.members.get(&who.instance_id);
        if known.is_none_or(|member| member.member_id != who.member_id) {
            return Err(ClusterError::Fenced(format!("{} is somebody else", who.instance_id)));
        }
        if who.generation.0 != self.generation {
            return Err(ClusterError::Rebalancing(who.group.clone()));
        }
        Ok(())
    }

    /// The partitions of a member: of each topic a run, in the order of the instances' names.
    pub(super) fn assigned(
        &self,
        instance_id: &str,
        counts: impl Fn(&str) -> usize,
    ) -> Vec<TopicPartition> {
        let Some(member) = self.members.get(instance_id) else { return Vec::new() };
        let mut assigned = Vec::new();
        for topic in &member.topics {
            let takers: Vec<_> = self
                .members
                .iter()
                .filter(|(_, member)| member.topics.contains(topic))
                .map(|(name, _)| name.as_str())
                .collect();
            let place = takers.iter().position(|name| *name == instance_id).unwrap_or(0);
            let (each, more) = (counts(topic) / takers.len(), counts(topic) % takers.len());
            let first = place * each + place.min(more);
            let last = first + each + usize::from(place < more);
            assigned.extend(
                (first..last)
                    .filter_map(|n| i32::try_from(n).ok())
                    .map(|n| TopicPartition::new(topic.as_str(), n)),
            );
        }
        assigned.sort();
        assigned
    }
}
