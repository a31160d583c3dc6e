//! Consumer groups seen from outside: listed, described, their offsets told and set.

use std::collections::BTreeMap;

use super::error::ClientError;
use super::wire::{Client, NamedPartition};
use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_groups::DeleteGroupsRequest;
use crate::protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use crate::types::Offset;

/// Who commits: a member of a generation, or somebody outside of an empty group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    /// The generation, -1 from outside.
    pub generation: i32,
    /// The member id, empty from outside.
    pub member_id: String,
}

impl Committer {
    /// An administrator, or a consumer that assigns partitions to itself.
    pub fn outside() -> Self {
        Self { generation: -1, member_id: String::new() }
    }
}

impl Client {
    /// All groups of all brokers, by name.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn groups(&mut self) -> Result<Vec<ListedGroup>, ClientError> {
        let brokers = self.cluster(Some(&[])).await?.brokers;
        let mut groups = Vec::new();
        for (node, _) in brokers {
            let answer = self.node(node).await?.call(|_| ListGroupsRequest::default()).await?;
            let subject = || format!("groups of node {node}");
            ClientError::check(subject, answer.error_code, None)?;
            groups.extend(answer.groups);
        }
        groups.sort_by(|left, right| left.group_id.cmp(&right.group_id));
        Ok(groups)
    }

    /// State and members of a group of the classic kind; `None` if there is no such group.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn describe_group(
        &mut self,
        group: &str,
    ) -> Result<Option<DescribedGroup>, ClientError> {
        let request = |_| DescribeGroupsRequest {
            groups: vec![group.to_owned()],
            ..DescribeGroupsRequest::default()
        };
        let answer = self.call_coordinator(group, request).await?;
        let Some(found) = answer.groups.into_iter().next() else { return Ok(None) };
        if found.error_code == ErrorCode::GroupIdNotFound || found.group_state == "Dead" {
            return Ok(None);
        }
        let subject = || format!("group {group}");
        ClientError::check(subject, found.error_code, found.error_message.clone())?;
        Ok(Some(found))
    }

    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// `Refusal`: 68 with members, 69 where there is none.
    pub async fn delete_group(&mut self, group: &str) -> Result<(), ClientError> {
        let request = |_| DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
        for result in self.call_coordinator(group, request).await?.results {
            ClientError::check(|| format!("group {group}"), result.error_code, None)?;
        }
        Ok(())
    }

    /// The offsets that a group has committed.
    ///
    /// # Errors
    /// `Refusal`, or those of [`super::Connection::call`].
    pub async fn committed(
        &mut self,
        group: &str,
    ) -> Result<BTreeMap<NamedPartition, Offset>, ClientError> {
        let answer =
            self.call_coordinator(group, |version| committed_request(version, group)).await?;
        let subject = || format!("offsets of group {group}");
        ClientError::check(subject, answer.error_code, None)?;
        let mut offsets = BTreeMap::new();
        let mut add = |topic: &str, partition: i32, offset: i64, code: ErrorCode| {
            let named = NamedPartition::new(topic, partition);
            ClientError::check(|| format!("offset of {named} in group {group}"), code, None)?;
            if offset >= 0 {
                offsets.insert(named, Offset(offset));
            }
            Ok(())
        };
        for topic in &answer.topics {
            for it in &topic.partitions {
                add(&topic.name, it.partition_index, it.committed_offset, it.error_code)?;
            }
        }
        for found in &answer.groups {
            ClientError::check(subject, found.error_code, None)?;
            for topic in &found.topics {
                for it in &topic.partitions {
                    add(&topic.name, it.partition_index, it.committed_offset, it.error_code)?;
                }
            }
        }
        Ok(offsets)
    }

    /// Commits offsets for a group.
    ///
    /// # Errors
    /// `Refusal` with the first code that is one, or those of [`super::Connection::call`].
    pub async fn commit(
        &mut self,
        group: &str,
        by: &Committer,
        offsets: &BTreeMap<NamedPartition, Offset>,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let answer = self.call_coordinator(group, |_| commit_request(group, by, offsets)).await?;
        for topic in answer.topics {
            for it in topic.partitions {
                let named = NamedPartition::new(&topic.name, it.partition_index);
                let subject = || format!("commit of {named} in group {group}");
                ClientError::check(subject, it.error_code, None)?;
            }
        }
        Ok(())
    }
}

fn committed_request(version: i16, group: &str) -> OffsetFetchRequest {
    let group_id = group.to_owned();
    if version >= 8 {
        let all = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
        OffsetFetchRequest { groups: vec![all], ..OffsetFetchRequest::default() }
    } else {
        OffsetFetchRequest { group_id, topics: None, ..OffsetFetchRequest::default() }
    }
}

fn commit_request(
    group: &str,
    by: &Committer,
    offsets: &BTreeMap<NamedPartition, Offset>,
) -> OffsetCommitRequest {
    let mut topics = BTreeMap::<&str, Vec<_>>::new();
    for (named, offset) in offsets {
        topics.entry(&named.topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: named.partition.0,
            committed_offset: offset.0,
            ..OffsetCommitRequestPartition::default()
        });
    }
    let topic = |(name, partitions): (&str, _)| OffsetCommitRequestTopic {
        name: name.to_owned(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: by.generation,
        member_id: by.member_id.clone(),
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    }
}
