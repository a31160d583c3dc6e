//! The language of the scripts: a line is a command, its effects come back as lines.
//!
//! ```text
//! init LABEL ID [timeout=60000] [pair=PRODUCER]   PRODUCER: ID/EPOCH
//! add LABEL ID PRODUCER [v=0] [TOPIC:PARTITION]...
//! verify LABEL ID PRODUCER TOPIC:PARTITION...
//! commit LABEL ID PRODUCER [v=0]                  abort LABEL ID PRODUCER [v=0]
//! force-abort LABEL ID
//! await LABEL                                     give-back LABEL ID...
//! written LABEL ID PRODUCER                       supply LABEL PRODUCER_ID...
//! seen LABEL PRODUCER...                         describe LABEL ID...
//! list LABEL [states=] [pids=] [duration=-1] [pattern=]
//! part-of ID PRODUCER TOPIC:PARTITION             wants
//! find ID STATE PRODUCER [next=] [start=]         (a record in the journal, then a restart)
//! config KEY=VALUE  (before all others)
//! advance MS                                      restart
//! ```
//!
//! LABEL names the caller, so that its answer can be told. Fresh producer ids are numbered from 1 and
//! supplied to commands that may take one whenever the coordinator wants one, but for those with `fresh=none`. Times are in ms
//! since the script began.

use std::fmt::Write as _;

use crate::machine::testing::{BEGIN, Words};
use crate::records::Outcome;
use crate::txn::{
    AddPartitions, Command, DescribedTransaction, EndTransaction, IdPattern, InitProducerId,
    ListTransactions, MarkersDue, PartitionList, Producer, Reply, TransactionMetadata,
    TransactionPartitions, TransactionRecord, TransactionState, TxnError, VerifyPartitions,
};
use crate::types::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TransactionVersion};

fn version(words: &Words<'_>) -> TransactionVersion {
    TransactionVersion::from_level(words.number("v", 0))
}

/// The id that comes first.
fn id(words: &Words<'_>) -> String {
    words.others.first().copied().unwrap_or_default().trim_matches('"').replace("\\t", "\t")
}

/// The id and the producer that come first.
fn producer(words: &Words<'_>) -> Producer {
    let (producer_id, producer_epoch) = pair(words.others[1]);
    Producer { transactional_id: id(words), producer_id, producer_epoch }
}

fn pair(text: &str) -> (ProducerId, ProducerEpoch) {
    let (id, epoch) = text.split_once('/').unwrap_or_else(|| panic!("{text} is no producer"));
    (ProducerId(id.parse().unwrap()), ProducerEpoch(epoch.parse().unwrap()))
}

fn partitions(words: &[&str]) -> PartitionList {
    let mut list = PartitionList::new();
    for word in words {
        let (topic, partition) = word.split_once(':').unwrap();
        let partition = PartitionIndex(partition.parse().unwrap());
        match list.iter_mut().find(|(it, _)| it == topic) {
            Some((_, known)) => known.push(partition),
            None => list.push((topic.to_owned(), vec![partition])),
        }
    }
    list
}

/// Whether a command goes without the fresh producer id that is supplied to others.
pub(super) fn goes_without(words: &[&str]) -> bool {
    words.contains(&"fresh=none")
}

/// Reads a command.
pub(super) fn parse(verb: &str, words: &[&str]) -> Command {
    let words = Words::new(words);
    let ids = || words.others.iter().map(|id| id.trim_matches('"').to_owned()).collect();
    let end = |outcome| {
        Command::EndTransaction(EndTransaction {
            producer: producer(&words),
            outcome,
            version: version(&words),
        })
    };
    match verb {
        "init" => {
            let (producer_id, producer_epoch) = pair(words.get("pair").unwrap_or("-1/-1"));
            Command::InitProducerId(InitProducerId {
                transactional_id: id(&words),
                timeout_ms: words.number("timeout", 60_000),
                producer_id,
                producer_epoch,
            })
        }
        "add" => Command::AddPartitions(AddPartitions {
            producer: producer(&words),
            partitions: partitions(&words.others[2..]),
            version: version(&words),
        }),
        "verify" => Command::VerifyPartitions(VerifyPartitions {
            producer: producer(&words),
            partitions: partitions(&words.others[2..]),
        }),
        "commit" => end(Outcome::Commit),
        "abort" => end(Outcome::Abort),
        "force-abort" => Command::AbortTransaction(id(&words)),
        "await" => Command::AwaitMarkers,
        "give-back" => Command::GiveBackMarkers(ids()),
        "written" => Command::MarkersWritten(producer(&words)),
        "supply" => Command::SupplyProducerIds(
            words.others.iter().map(|id| ProducerId(id.parse().unwrap())).collect(),
        ),
        "seen" => Command::EpochsSeen(words.others.iter().map(|it| pair(it)).collect()),
        "describe" => Command::Describe(ids()),
        "list" => Command::List(ListTransactions {
            states: words.list("states").into_iter().map(str::to_owned).collect(),
            producer_ids: words
                .list("pids")
                .iter()
                .map(|id| ProducerId(id.parse().unwrap()))
                .collect(),
            duration_ms: words.number("duration", -1),
            pattern: IdPattern::parse(words.get("pattern").unwrap_or_default()).unwrap(),
        }),
        other => panic!("no such command: {other}"),
    }
}

/// Reads what `part-of` asks.
pub(super) fn parse_part(words: &[&str]) -> (Producer, String, PartitionIndex) {
    let producer = producer(&Words::new(words));
    let (topic, found) = partitions(&words[2..]).swap_remove(0);
    (producer, topic, found[0])
}

/// Reads a record to be found in the journal.
pub(super) fn parse_record(words: &[&str]) -> TransactionRecord {
    let words = Words::new(words);
    let [id, state, producer, rest @ ..] = words.others.as_slice() else { panic!("incomplete") };
    let state = TransactionState::ALL.into_iter().find(|it| it.name() == *state).unwrap();
    let (producer_id, epoch) = pair(producer);
    let rows = partitions(rest).into_iter().map(|(topic, found)| TransactionPartitions {
        topic,
        partition_ids: found.into_iter().map(|it| it.0).collect(),
    });
    TransactionRecord {
        transactional_id: (*id).to_owned(),
        metadata: Some(TransactionMetadata {
            producer_id: producer_id.0,
            previous_producer_id: producer_id.0,
            next_producer_id: words.number("next", -1),
            producer_epoch: epoch.0,
            timeout_ms: words.number("timeout", 60_000),
            state: state.code(),
            partitions: (state != TransactionState::Empty).then(|| rows.collect()),
            last_update_timestamp: BEGIN.0,
            start_timestamp: BEGIN.0 + words.number::<i64>("start", 0),
            client_transaction_version: version(&words).level(),
            ..TransactionMetadata::default()
        }),
    }
}

fn show_time(ms: i64) -> String {
    if ms < 0 { ms.to_string() } else { format!("+{}", ms - BEGIN.0) }
}

pub(super) fn show_record(record: &TransactionRecord) -> String {
    let id = &record.transactional_id;
    let Some(kept) = &record.metadata else { return format!("delete {id}") };
    let state = TransactionState::from_code(kept.state).unwrap().name();
    let mut line = format!("write {id} = {state} {}/{}", kept.producer_id, kept.producer_epoch);
    if kept.previous_producer_id != kept.producer_id {
        write!(line, " before {}", kept.previous_producer_id).unwrap();
    }
    if kept.next_producer_id >= 0 {
        write!(line, " next {}", kept.next_producer_id).unwrap();
    }
    for row in kept.partitions.iter().flatten() {
        write!(line, " {}:{}", row.topic, numbers(&row.partition_ids)).unwrap();
    }
    let (start, update) = (show_time(kept.start_timestamp), show_time(kept.last_update_timestamp));
    let (timeout, version) = (kept.timeout_ms, kept.client_transaction_version);
    write!(line, " timeout {timeout} start {start} update {update} v{version}").unwrap();
    line
}

fn numbers(numbers: &[i32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn show_partitions(list: &PartitionList) -> String {
    let row = |(topic, partitions): &(String, Vec<PartitionIndex>)| {
        format!(" {topic}:{}", numbers(&partitions.iter().map(|it| it.0).collect::<Vec<_>>()))
    };
    list.iter().map(row).collect()
}

fn show_producer(producer: &Producer) -> String {
    format!("{}/{}", producer.producer_id, producer.producer_epoch)
}

fn show_error(error: &TxnError) -> String {
    let debug = format!("{error:?}");
    let name = debug.split([' ', '(']).next().unwrap();
    format!("{name}: {error}")
}

fn show<T>(result: &Result<T, TxnError>, show: impl FnOnce(&T) -> String) -> String {
    result.as_ref().map_or_else(show_error, show)
}

fn show_due(due: &MarkersDue) -> String {
    let MarkersDue { producer, coordinator_epoch, outcome, version, partitions } = due;
    let (id, level) = (&producer.transactional_id, version.level());
    let (producer, partitions) = (show_producer(producer), show_partitions(partitions));
    format!("{outcome:?} {id} {producer} coordinator {coordinator_epoch} v{level}{partitions}")
}

fn show_described(described: &DescribedTransaction) -> String {
    let DescribedTransaction { producer, state, timeout_ms, started, partitions } = described;
    let (id, state) = (&producer.transactional_id, state.name());
    let (producer, partitions) = (show_producer(producer), show_partitions(partitions));
    let started = started.map_or("never".to_owned(), |Timestamp(ms)| show_time(ms));
    format!("{id} {state} {producer} timeout {timeout_ms} start {started}{partitions}")
}

/// An answer as lines.
pub(super) fn show_reply(label: &str, reply: &Reply) -> String {
    let done = |(): &()| "ok".to_owned();
    let texts = match reply {
        Reply::InitProducerId(result) | Reply::EndTransaction(result) => {
            vec![show(result, show_producer)]
        }
        Reply::AddPartitions(result) | Reply::AbortTransaction(result) => vec![show(result, done)],
        Reply::VerifyPartitions(result) => vec![show(result, |rows| {
            let row = |(topic, found): &(String, Vec<crate::txn::Membership>)| {
                let one = |it: &crate::txn::Membership| {
                    format!("{topic}:{} {}", it.partition, if it.is_member { "in" } else { "out" })
                };
                found.iter().map(one).collect::<Vec<_>>().join(" ")
            };
            rows.iter().map(row).collect::<Vec<_>>().join(" ")
        })],
        Reply::AwaitMarkers(due) if due.is_empty() => vec!["is sent away".to_owned()],
        Reply::AwaitMarkers(due) => due.iter().map(show_due).collect(),
        Reply::MarkersWritten(completed) => vec![format!("{completed:?}")],
        Reply::GiveBackMarkers | Reply::SupplyProducerIds => vec!["ok".to_owned()],
        Reply::EpochsSeen(behind) => vec![format!("behind: {}", behind.join(" "))],
        Reply::Describe(rows) => rows.iter().map(|row| show(row, show_described)).collect(),
        Reply::List(listed) => {
            let row = |it: &crate::txn::ListedTransaction| {
                format!("{} {} {}", it.transactional_id, it.producer_id, it.state.name())
            };
            let unknown = listed.unknown_states.iter().map(|name| format!("unknown state {name}"));
            let mut lines: Vec<_> = unknown.chain(listed.transactions.iter().map(row)).collect();
            if lines.is_empty() {
                lines.push("none".to_owned());
            }
            lines
        }
    };
    texts.into_iter().map(|text| format!("{label} {text}\n")).collect()
}
