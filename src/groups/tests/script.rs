//! The language of the scripts: a line is a command, its effects come back as lines.
//!
//! ```text
//! join LABEL GROUP [v=3] [member=] [instance=] [client=c] [session=10000] [rebalance=60000]
//!                  [type=consumer] [protocols=range:METADATA,...]
//! sync LABEL GROUP gen= member= [instance=] [type= protocol=] [assign=MEMBER:SHARE,...]
//! heartbeat LABEL GROUP gen= member= [instance=]
//! leave LABEL GROUP WHO...               WHO: MEMBER, MEMBER@INSTANCE, @INSTANCE
//! commit LABEL GROUP [gen=-1] [member=] [instance=] [v=8] [retention=] TOPIC:PARTITION=OFFSET[/NOTE]...
//! txn-commit LABEL GROUP producer= [epoch=0] [gen=-1] [member=] [instance=] TOPIC:PARTITION=OFFSET...
//! txn-end LABEL commit|abort producer= [epoch=0] [coordinator=0]
//! fetch LABEL GROUP [stable=no] [TOPIC:PARTITION]... without any, all
//! delete-groups LABEL GROUP...           delete-offsets LABEL GROUP TOPIC:PARTITION...
//! describe LABEL GROUP...                list LABEL [states=] [types=]
//! topic-deleted LABEL TOPIC              config KEY=VALUE  (before all others)
//! advance MS                             restart
//! ```
//!
//! LABEL names the caller, so that its answer can be told. `c#1` is member id `c-UUID`, where the
//! UUID is the number of the join command that brought it. METADATA `@a+b` is a subscription to topics a
//! and b, anything else stands for itself.

use bytes::Bytes;
use uuid::Uuid;

use crate::groups::subscription;
use crate::groups::{
    Command, CommitOffsets, CommitOffsetsInTransaction, CommittedOffset, DeleteOffsets,
    EndTransaction, FetchGroup, FetchOffsets, FetchedPartition, GroupError, GroupRecord, Heartbeat,
    JoinGroup, LeaveGroup, Leaving, ListGroups, PartitionCommit, PartitionResults, Protocol, Reply,
    SyncGroup, SyncProtocol, TopicCommit,
};
use crate::machine::testing::Words;
use crate::records::{EndMarker, Outcome};
use crate::types::{Generation, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId};

const ZEROS: &str = "-00000000-0000-0000-0000-000000000";

/// A member id as scripts show it.
fn short(text: &str) -> String {
    let Some((before, after)) = text.split_once(ZEROS) else { return text.to_owned() };
    let (number, after) = after.split_at(3);
    format!("{before}#{}{}", number.trim_start_matches('0'), short(after))
}

fn long(member: &str) -> String {
    let Some((name, number)) = member.split_once('#') else { return member.to_owned() };
    format!("{name}{ZEROS}{:03}", number.parse::<u16>().unwrap())
}

/// An id that shows `number` in its decimal digits.
pub(super) fn fresh_id(number: u32) -> Uuid {
    Uuid::from_u128(u128::from_str_radix(&number.to_string(), 16).unwrap())
}

fn metadata(text: &str) -> Bytes {
    let Some(topics) = text.strip_prefix('@') else { return Bytes::from(text.to_owned()) };
    let topics: Vec<&str> = topics.split('+').collect();
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend_from_slice(&u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
    }
    bytes.extend_from_slice(&[0xff; 4]); // No user data.
    bytes.into()
}

fn show_metadata(bytes: &[u8]) -> String {
    match subscription::topics(bytes) {
        Some(topics) => format!("@{}", topics.into_iter().collect::<Vec<_>>().join("+")),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn text(words: &Words<'_>, name: &str, default: &str) -> String {
    words.get(name).unwrap_or(default).to_owned()
}

fn member(words: &Words<'_>) -> String {
    long(words.get("member").unwrap_or_default())
}

fn instance(words: &Words<'_>) -> Option<String> {
    words.get("instance").map(str::to_owned)
}

/// Reads a command; `fresh` is the number of the join.
pub(super) fn parse(verb: &str, words: &[&str], fresh: u32) -> Command {
    let group_id = words.first().copied().unwrap_or_default().trim_matches('"').to_owned();
    let all: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
    let words = Words::new(words.get(1..).unwrap_or_default());
    match verb {
        "join" => Command::Join(join(group_id, &words, fresh)),
        "sync" => Command::Sync(sync(group_id, &words)),
        "heartbeat" => Command::Heartbeat(Heartbeat {
            group_id,
            generation: Generation(words.number("gen", 0)),
            member_id: member(&words),
            group_instance_id: instance(&words),
        }),
        "leave" => {
            let who = |word: &&str| {
                let (member, instance) =
                    word.split_once('@').map_or((*word, None), |(m, i)| (m, Some(i.to_owned())));
                Leaving { member_id: long(member), group_instance_id: instance }
            };
            Command::Leave(LeaveGroup { group_id, members: words.others.iter().map(who).collect() })
        }
        "commit" => Command::CommitOffsets(commit(group_id, &words)),
        "fetch" => {
            let topics = (!words.others.is_empty()).then(|| rows(&words.others));
            let groups = vec![FetchGroup { group_id, topics }];
            let require_stable = words.get("stable") == Some("yes");
            Command::FetchOffsets(FetchOffsets { groups, require_stable })
        }
        "txn-commit" => {
            let CommitOffsets { member_id, group_instance_id, generation, topics, .. } =
                commit(group_id.clone(), &words);
            Command::CommitOffsetsInTransaction(CommitOffsetsInTransaction {
                producer_id: ProducerId(words.number("producer", -1)),
                producer_epoch: ProducerEpoch(words.number("epoch", 0)),
                group_id,
                member_id,
                group_instance_id,
                generation,
                topics,
            })
        }
        "txn-end" => Command::EndTransaction(EndTransaction {
            producer_id: ProducerId(words.number("producer", -1)),
            producer_epoch: ProducerEpoch(words.number("epoch", 0)),
            marker: EndMarker {
                outcome: if group_id == "commit" { Outcome::Commit } else { Outcome::Abort },
                coordinator_epoch: words.number("coordinator", 0),
            },
        }),
        "delete-groups" => Command::DeleteGroups(all),
        "delete-offsets" => {
            Command::DeleteOffsets(DeleteOffsets { group_id, topics: rows(&words.others) })
        }
        "describe" => Command::Describe(all),
        "list" => {
            let words = Words::new(&all.iter().map(String::as_str).collect::<Vec<_>>());
            let owned = |name| words.list(name).into_iter().map(str::to_owned).collect();
            Command::List(ListGroups { states: owned("states"), types: owned("types") })
        }
        "topic-deleted" => Command::TopicsDeleted(vec![(group_id, TopicId::ZERO)]),
        other => panic!("no such command: {other}"),
    }
}

fn join(group_id: String, words: &Words<'_>, fresh: u32) -> JoinGroup {
    let version: i16 = words.number("v", 3);
    let protocol = |word: &str| {
        let (name, said) = word.split_once(':').unwrap_or((word, ""));
        Protocol { name: name.to_owned(), metadata: metadata(said) }
    };
    let protocols =
        if words.get("protocols").is_some() { words.list("protocols") } else { vec!["range"] };
    JoinGroup {
        group_id,
        member_id: member(words),
        group_instance_id: instance(words),
        client_id: text(words, "client", "c"),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: words.number("session", 10_000),
        rebalance_timeout_ms: words.number("rebalance", 60_000),
        protocol_type: text(words, "type", "consumer"),
        protocols: protocols.into_iter().map(protocol).collect(),
        requires_member_id: version >= 4,
        supports_skip_assignment: version >= 9,
        fresh_id: fresh_id(fresh),
    }
}

fn sync(group_id: String, words: &Words<'_>) -> SyncGroup {
    let protocol = (words.get("type").is_some() || words.get("protocol").is_some()).then(|| {
        let text = |name| words.get(name).map(str::to_owned);
        SyncProtocol { protocol_type: text("type"), protocol_name: text("protocol") }
    });
    let share = |word: &str| {
        let (member, share) = word.split_once(':').unwrap();
        (long(member), Bytes::from(share.to_owned()))
    };
    SyncGroup {
        group_id,
        generation: Generation(words.number("gen", 0)),
        member_id: member(words),
        group_instance_id: instance(words),
        protocol,
        assignments: words.list("assign").into_iter().map(share).collect(),
    }
}

fn commit(group_id: String, words: &Words<'_>) -> CommitOffsets {
    let row = |word: &&str| {
        let (place, value) = word.split_once('=').unwrap();
        let (topic, partition) = place.split_once(':').unwrap();
        let (offset, note) = value.split_once('/').unwrap_or((value, ""));
        let partition = PartitionCommit {
            partition: PartitionIndex(partition.parse().unwrap()),
            offset: Offset(offset.parse().unwrap()),
            leader_epoch: None,
            metadata: note.to_owned(),
        };
        let topic = topic.to_owned();
        TopicCommit { topic, topic_id: TopicId::ZERO, partitions: vec![partition] }
    };
    CommitOffsets {
        group_id,
        member_id: member(words),
        group_instance_id: instance(words),
        generation: Generation(words.number("gen", -1)),
        retention_ms: words.get("retention").map(|it| it.parse().unwrap()),
        knows_group_id_not_found: words.number("v", 8) >= 9,
        topics: words.others.iter().map(row).collect(),
    }
}

fn rows(words: &[&str]) -> Vec<(String, Vec<PartitionIndex>)> {
    let row = |word: &&str| {
        let (topic, partition) = word.split_once(':').unwrap();
        (topic.to_owned(), vec![PartitionIndex(partition.parse().unwrap())])
    };
    words.iter().map(row).collect()
}

/// A record as a line.
pub(super) fn show_record(record: &GroupRecord) -> String {
    short(&match record {
        GroupRecord::Offset { group_id, topic, partition, committed } => {
            let value = committed.as_ref().map_or("none".to_owned(), show_committed);
            format!("write {group_id} {topic}:{partition} = {value}")
        }
        GroupRecord::PendingOffset {
            producer_id,
            producer_epoch,
            group_id,
            topic,
            partition,
            committed,
        } => {
            let value = show_committed(committed);
            format!("pend {producer_id}/{producer_epoch} {group_id} {topic}:{partition} = {value}")
        }
        GroupRecord::EndTransaction { producer_id, producer_epoch, marker } => {
            format!("mark {producer_id}/{producer_epoch} {:?}", marker.outcome)
        }
        GroupRecord::Group { group_id, metadata: None } => format!("write {group_id} = none"),
        GroupRecord::Group { group_id, metadata: Some(group) } => {
            let members = group.members.iter().map(|member| {
                let instance = member.group_instance_id.iter().map(|it| format!("@{it}"));
                let (said, share) = (
                    show_metadata(&member.subscription),
                    String::from_utf8_lossy(&member.assignment),
                );
                format!(" {}{} {said}->{share}", member.member_id, instance.collect::<String>())
            });
            format!(
                "write {group_id} = generation {} {}/{} leader {}:{}",
                group.generation,
                group.protocol_type,
                group.protocol.as_deref().unwrap_or("none"),
                group.leader.as_deref().unwrap_or("none"),
                members.collect::<Vec<_>>().join(","),
            )
        }
    })
}

fn show_committed(committed: &CommittedOffset) -> String {
    let note = Some(&committed.metadata).filter(|it| !it.is_empty()).map(|it| format!("/{it}"));
    let until = committed.expires.map(|it| format!(" until {it}"));
    format!("{}{}{}", committed.offset, note.unwrap_or_default(), until.unwrap_or_default())
}

fn show_fetched(row: &FetchedPartition) -> String {
    match &row.committed {
        Some(committed) => show_committed(committed),
        None if row.is_unstable => "unstable".to_owned(),
        None => "none".to_owned(),
    }
}

fn show_error(error: &GroupError) -> String {
    let name: String =
        format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
    format!("{name}: {error}")
}

fn show_result(result: &Result<(), GroupError>) -> String {
    result.as_ref().map_or_else(show_error, |()| "ok".to_owned())
}

fn show_results(label: &str, results: &[Result<(), GroupError>]) -> String {
    results.iter().map(|it| format!("{label} {}", show_result(it))).collect::<Vec<_>>().join("\n")
}

fn show_partitions(label: &str, topics: &[PartitionResults]) -> String {
    let row = |topic: &PartitionResults| {
        let rows = topic.partitions.iter();
        rows.map(|(partition, result)| {
            format!("{label} {}:{partition} {}", topic.topic, show_result(result))
        })
        .collect::<Vec<_>>()
    };
    topics.iter().flat_map(row).collect::<Vec<_>>().join("\n")
}

/// An answer as lines.
pub(super) fn show_reply(label: &str, reply: &Reply) -> String {
    let refused = |error: &GroupError| format!("{label} {}", show_error(error));
    short(&match reply {
        Reply::Join(Ok(joined)) => {
            let member = |it: &crate::groups::JoinedMember| {
                let instance = it.group_instance_id.iter().map(|it| format!("@{it}"));
                let said = show_metadata(&it.metadata);
                format!(" {}{} {said}", it.member_id, instance.collect::<String>())
            };
            let members: Vec<String> = joined.members.iter().map(member).collect();
            format!(
                "{label} joined as {} generation {} {}/{} leader {}{}{}{}",
                joined.member_id,
                joined.generation,
                joined.protocol_type,
                joined.protocol_name,
                joined.leader,
                if members.is_empty() { "" } else { ":" },
                members.join(","),
                if joined.skip_assignment { " (skips assignment)" } else { "" },
            )
        }
        Reply::Sync(Ok(synced)) => format!(
            "{label} assigned {}/{} {:?}",
            synced.protocol_type, synced.protocol_name, synced.assignment
        ),
        Reply::Join(Err(error))
        | Reply::Sync(Err(error))
        | Reply::Leave(Err(error))
        | Reply::CommitOffsets(Err(error))
        | Reply::CommitOffsetsInTransaction(Err(error))
        | Reply::DeleteOffsets(Err(error)) => refused(error),
        Reply::Heartbeat(result) | Reply::EndTransaction(result) => {
            format!("{label} {}", show_result(result))
        }
        Reply::Leave(Ok(results)) | Reply::DeleteGroups(results) => show_results(label, results),
        Reply::CommitOffsets(Ok(topics))
        | Reply::CommitOffsetsInTransaction(Ok(topics))
        | Reply::DeleteOffsets(Ok(topics)) => show_partitions(label, topics),
        Reply::FetchOffsets(groups) => {
            let topics = groups.iter().flat_map(|group| &group.topics);
            let rows = topics.flat_map(|(topic, rows)| rows.iter().map(move |row| (topic, row)));
            let lines = rows.map(|(topic, row)| {
                format!("{label} {topic}:{} = {}", row.partition, show_fetched(row))
            });
            let lines: Vec<String> = lines.collect();
            if lines.is_empty() { format!("{label} nothing") } else { lines.join("\n") }
        }
        Reply::Describe(groups) => groups
            .iter()
            .map(|it| show_described(label, it.as_ref()))
            .collect::<Vec<_>>()
            .join("\n"),
        Reply::List(groups) => {
            let line = |it: &crate::groups::ListedGroup| {
                format!("{label} {} {:?} {}", it.group_id, it.protocol_type, it.state.name())
            };
            let lines: Vec<String> = groups.iter().map(line).collect();
            if lines.is_empty() { format!("{label} nothing") } else { lines.join("\n") }
        }
        Reply::TopicsDeleted => format!("{label} ok"),
    })
}

fn show_described(label: &str, group: Option<&crate::groups::DescribedGroup>) -> String {
    let Some(group) = group else { return format!("{label} no such group") };
    let mut lines = vec![format!(
        "{label} {} {} {:?}/{:?}",
        group.group_id,
        group.state.name(),
        group.protocol_type,
        group.protocol
    )];
    lines.extend(group.members.iter().map(|it| {
        let instance = it.group_instance_id.iter().map(|it| format!("@{it}")).collect::<String>();
        let (said, share) = (show_metadata(&it.metadata), String::from_utf8_lossy(&it.assignment));
        format!(
            "{label}   {}{instance} {}{} {said:?} {share:?}",
            it.member_id, it.client_id, it.client_host
        )
    }));
    lines.join("\n")
}
