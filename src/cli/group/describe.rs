//! `ottla group describe`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{refused, unknown};
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::{Output, or_dash};
use crate::client::{Client, ClientError, NamedPartition, Position, assigned};
use crate::protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use crate::types::{NodeId, Offset};

/// Show members, offsets and lag of groups
#[derive(Debug, clap::Args)]
pub(super) struct Describe {
    /// Their names
    #[arg(required = true)]
    groups: Vec<String>,
}

/// All that is shown of one group.
struct Description {
    name: String,
    state: String,
    assignor: String,
    coordinator: NodeId,
    members: Vec<DescribedGroupMember>,
    offsets: Vec<Row>,
}

/// One partition that the group has to do with.
struct Row {
    partition: NamedPartition,
    committed: Option<Offset>,
    end: Option<Offset>,
    /// Where in `members` its consumer stands.
    member: Option<usize>,
}

impl Row {
    /// Records between the committed offset and the end.
    fn lag(&self) -> Option<i64> {
        Some((self.end?.0 - self.committed?.0).max(0))
    }
}

impl Describe {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let (mut described, mut complaints) = (Vec::new(), Vec::new());
        for group in &self.groups {
            match describe(&mut client, group).await {
                Ok(Some(description)) => described.push(description),
                Ok(None) => complaints.push(unknown(group)),
                Err(error) => complaints.push(refused(group, &error)),
            }
        }
        if connect.json {
            out.json(&described.iter().map(Description::as_json).collect())?;
        } else {
            for (place, description) in described.iter().enumerate() {
                if place > 0 {
                    out.line("")?;
                }
                description.print(out)?;
            }
        }
        Ended::unless_empty(complaints)
    }
}

async fn describe(client: &mut Client, group: &str) -> Result<Option<Description>, ClientError> {
    let Some(found) = find(client, group).await? else { return Ok(None) };
    let coordinator = client.coordinator(group).await?;
    let committed = client.committed(group).await?;
    let mut owners = HashMap::new();
    for (place, member) in found.members.iter().enumerate() {
        // Bytes of other protocols than consumers' make no sense here: their members own nothing.
        for partition in assigned(member.member_assignment.clone()).unwrap_or_default() {
            owners.insert(partition, place);
        }
    }
    let wanted: BTreeSet<_> = committed.keys().chain(owners.keys()).cloned().collect();
    let ends = ends(client, &wanted).await?;
    let offsets = wanted.into_iter().map(|partition| Row {
        committed: committed.get(&partition).copied(),
        end: ends.get(&partition).copied(),
        member: owners.get(&partition).copied(),
        partition,
    });
    Ok(Some(Description {
        name: group.to_owned(),
        state: found.group_state,
        assignor: found.protocol_data,
        coordinator,
        offsets: offsets.collect(),
        members: found.members,
    }))
}

/// The group as DescribeGroups tells it; one of another kind as far as ListGroups tells it.
async fn find(client: &mut Client, group: &str) -> Result<Option<DescribedGroup>, ClientError> {
    if let Some(found) = client.describe_group(group).await? {
        return Ok(Some(found));
    }
    let listed = client.groups().await?.into_iter().find(|listed| listed.group_id == group);
    Ok(listed.map(|listed| DescribedGroup {
        group_id: listed.group_id,
        group_state: listed.group_state,
        protocol_type: listed.protocol_type,
        ..DescribedGroup::default()
    }))
}

/// The ends of those partitions that still exist.
async fn ends(
    client: &mut Client,
    partitions: &BTreeSet<NamedPartition>,
) -> Result<BTreeMap<NamedPartition, Offset>, ClientError> {
    let topics: BTreeSet<&str> = partitions.iter().map(|named| named.topic.as_str()).collect();
    let topics: Vec<_> = topics.into_iter().collect();
    let mut existing = Vec::new();
    for topic in client.cluster(Some(&topics)).await?.topics {
        let Some(name) = topic.name else { continue };
        for partition in topic.partitions.iter().filter(|partition| partition.leader_id >= 0) {
            existing.push(NamedPartition::new(&name, partition.partition_index));
        }
    }
    existing.retain(|partition| partitions.contains(partition));
    Ok(client.offsets(&existing, Position::End).await?.into_iter().collect())
}

impl Description {
    fn lag(&self) -> i64 {
        self.offsets.iter().filter_map(Row::lag).sum()
    }

    fn print(&self, out: &mut Output) -> Result<(), Ended> {
        let assignor = match self.assignor.as_str() {
            "" => String::new(),
            assignor => format!(", assignor {assignor}"),
        };
        let (name, state, members) = (&self.name, &self.state, self.members.len());
        let (coordinator, lag) = (self.coordinator, self.lag());
        out.line(format_args!(
            "group {name}: {state}, members {members}{assignor}, coordinator {coordinator}, lag {lag}"
        ))?;
        let row = |row: &Row| {
            let member = row.member.and_then(|place| self.members.get(place));
            vec![
                row.partition.topic.clone(),
                row.partition.partition.to_string(),
                or_dash(row.committed),
                or_dash(row.end),
                or_dash(row.lag()),
                or_dash(member.map(|member| &member.member_id)),
                or_dash(member.map(|member| &member.client_id)),
                or_dash(member.map(|member| &member.client_host)),
            ]
        };
        let mut rows: Vec<_> = self.offsets.iter().map(row).collect();
        let owners: BTreeSet<_> = self.offsets.iter().filter_map(|row| row.member).collect();
        for (place, member) in self.members.iter().enumerate() {
            if !owners.contains(&place) {
                let mut row = vec!["-".to_owned(); 5];
                let DescribedGroupMember { member_id, client_id, client_host, .. } = member;
                row.extend([member_id.clone(), client_id.clone(), client_host.clone()]);
                rows.push(row);
            }
        }
        let header = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "CLIENT", "HOST"];
        out.table(&header, rows)
    }

    fn as_json(&self) -> Value {
        let row = |row: &Row| {
            let member = row.member.and_then(|place| self.members.get(place));
            json!({
                "topic": row.partition.topic,
                "partition": row.partition.partition.0,
                "committed_offset": row.committed.map(|offset| offset.0),
                "end_offset": row.end.map(|offset| offset.0),
                "lag": row.lag(),
                "member_id": member.map(|member| &member.member_id),
            })
        };
        let member = |member: &DescribedGroupMember| {
            json!({
                "member_id": member.member_id,
                "instance_id": member.group_instance_id,
                "client_id": member.client_id,
                "host": member.client_host,
            })
        };
        json!({
            "group": self.name,
            "state": self.state,
            "assignor": Some(&self.assignor).filter(|name| !name.is_empty()),
            "coordinator": self.coordinator.0,
            "lag": self.lag(),
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
            "offsets": self.offsets.iter().map(row).collect::<Vec<_>>(),
        })
    }
}
