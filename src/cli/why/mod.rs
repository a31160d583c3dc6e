//! `ottla why GROUP`: why a consumer group gets nothing, or falls behind.
//!
//! What the cluster says is gathered here; what it means is decided in [`findings`], without a cluster.

mod findings;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::connect::Connect;
use super::ended::Ended;
use super::output::Output;
use crate::client::{Client, ClientError, NamedPartition, Position, assigned, subscribed};
use crate::protocol::ErrorCode;
use findings::{Facts, Finding, MemberFacts, PartitionFacts};

/// Say why a consumer group gets nothing, or falls behind
///
/// Looks at the group, its members, their topics, offsets, open transactions and dead letters; of ottla's services
/// also at keys that wait for another try and at sagas that are stuck. Exit code 1 if something is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// The consumer group
    group: String,
    #[command(flatten)]
    connect: Connect,
}

impl Why {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` if something is wrong with the group, or nobody answers.
    pub(crate) async fn run(self, out: &mut Output) -> Result<(), Ended> {
        let mut client = self.connect.client().await?;
        let mut facts = gather(&mut client, &self.group).await?;
        facts.services = services::gather(&mut client, &self.group).await?;
        let found = findings::judge(&facts);
        if self.connect.json {
            out.json(&as_json(&facts, &found))?;
        } else {
            out.line(facts.summary())?;
            for finding in &found {
                out.line(format_args!("  {}\n    {}", finding.what, finding.advice))?;
            }
        }
        out.flush()?;
        match found.iter().filter(|finding| finding.is_wrong).count() {
            0 => Ok(()),
            1 => Err(Ended::failed(format!("group {}: see the reason above", self.group))),
            count => {
                Err(Ended::failed(format!("group {}: {count} reasons, see above", self.group)))
            }
        }
    }
}

fn as_json(facts: &Facts, found: &[Finding]) -> Value {
    let row = |finding: &Finding| {
        json!({
            "code": finding.code,
            "wrong": finding.is_wrong,
            "what": finding.what,
            "advice": finding.advice,
        })
    };
    json!({
        "group": facts.group,
        "state": facts.state,
        "lag": facts.lag(),
        "findings": found.iter().map(row).collect::<Vec<_>>(),
    })
}

async fn gather(client: &mut Client, group: &str) -> Result<Facts, ClientError> {
    let listed: Vec<_> = client.groups().await?.into_iter().map(|row| row.group_id).collect();
    let described = client.describe_group(group).await?;
    let committed = client.committed(group).await?;
    let mut facts = Facts { group: group.to_owned(), groups: listed, ..Facts::default() };
    let mut named: BTreeSet<String> = committed.keys().map(|it| it.topic.clone()).collect();
    if let Some(described) = described {
        facts.state = Some(described.group_state);
        for member in described.members {
            // What other kinds of groups say is not for us to read: their members name no topics.
            let topics = subscribed(member.member_metadata).unwrap_or_default();
            let assigned = assigned(member.member_assignment).unwrap_or_default();
            named.extend(topics.iter().cloned());
            let client_id = member.client_id;
            facts.members.push(MemberFacts { client_id, topics, assigned });
        }
    }
    let dead_letters = format!("{group}.dlq");
    named.insert(dead_letters.clone());
    add_topics(client, &named, &mut facts).await?;
    add_partitions(client, &committed, &mut facts).await?;
    facts.take_dead_letters(&dead_letters);
    Ok(facts)
}

/// Which of the topics exist, and which of their partitions nobody leads.
async fn add_topics(
    client: &mut Client,
    named: &BTreeSet<String>,
    facts: &mut Facts,
) -> Result<(), ClientError> {
    let names: Vec<&str> = named.iter().map(String::as_str).collect();
    for topic in client.cluster(Some(&names)).await?.topics {
        let Some(name) = topic.name else { continue };
        if topic.error_code != ErrorCode::None {
            facts.missing_topics.insert(name);
            continue;
        }
        for partition in topic.partitions {
            let at = NamedPartition::new(&name, partition.partition_index);
            let leads = partition.leader_id >= 0;
            facts.partitions.insert(at, PartitionFacts { leads, ..PartitionFacts::default() });
        }
    }
    Ok(())
}

/// Where partitions begin and end, for every reader and for one of committed records.
async fn add_partitions(
    client: &mut Client,
    committed: &BTreeMap<NamedPartition, crate::types::Offset>,
    facts: &mut Facts,
) -> Result<(), ClientError> {
    let led: Vec<_> =
        facts.partitions.iter().filter(|(_, it)| it.leads).map(|(at, _)| at.clone()).collect();
    let starts = client.offsets(&led, Position::Start).await?;
    let ends = client.offsets(&led, Position::End).await?;
    let stable = client.offsets(&led, Position::StableEnd).await?;
    for (at, partition) in &mut facts.partitions {
        partition.start = starts.get(at).copied();
        partition.end = ends.get(at).copied();
        partition.stable_end = stable.get(at).copied();
        partition.committed = committed.get(at).copied();
    }
    for (at, offset) in committed {
        if !facts.partitions.contains_key(at) {
            facts.orphaned.push((at.clone(), *offset));
        }
    }
    Ok(())
}
