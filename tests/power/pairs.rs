//! A transactional producer that goes on through every cut: a record to each of two partitions and
//! an offset of a group, committed and aborted in turn. The offset names the end of what is committed
//! in the first partition, so it tells whether it went with its records.

use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use ottla::clock::Clock;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla::records::{BatchBuilder, NewRecord};
use ottla::types::{ProducerEpoch, ProducerId, Timestamp};

use super::checker::{
    End, Event, Outcome, Producer, Promise, Recorder, Report, Send, Watermarks, check,
};
use super::support::wait_until;
use super::wire::Wire;
use super::writers::Load;

pub(crate) const PARTITIONS: i32 = 2;
const ID: &str = "pairs";
const GROUP: &str = "pairs";
/// The group in the history; those of the readers have the numbers of their partitions.
const GROUP_NUMBER: u32 = 100;
/// How long a transaction may stay open; the last one does.
const TIMEOUT_MS: i32 = 500;
/// How long a power cut waits for a commit before it.
const COMMIT_MAX: Duration = Duration::from_millis(300);
/// How much longer its end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The producer at work, with a history of its own.
#[derive(Debug)]
pub(crate) struct Pairs {
    load: Load,
    clock: Clock,
    clients: Vec<JoinHandle<()>>,
}

impl Pairs {
    /// Starts it beside another load, on a topic that is there.
    pub(crate) fn start(beside: &Load, topic: &str) -> Self {
        let mut load = beside.clone();
        load.topic = topic.to_owned();
        load.stop = Arc::default();
        load.recorder = Recorder::default();
        load.recorder.note(Event::Producer { producer: 0, kind: Producer::Once });
        let clock = Clock::system();
        let mut client = Client { load: load.clone(), clock: clock.clone(), producer: None };
        let client = spawn(move || {
            let mut wire = client.load.address.connect();
            let mut txn = 0;
            while !client.load.is_over() {
                client.transact(&mut wire, txn);
                txn += 1;
            }
        });
        Self { load, clock, clients: vec![client] }
    }

    /// Follows it, and commits: only where a cut takes nothing that was seen.
    pub(crate) fn with_readers(mut self) -> Self {
        self.clients.extend((0..PARTITIONS).map(|partition| self.load.consume(partition)));
        self
    }

    /// Lets it commit something, unless that takes too long.
    pub(crate) fn wait_for_commit(&self) {
        let count = || {
            let history = self.load.recorder.history();
            let is_commit = |event: &&Event| matches!(event, Event::Commit { group, .. } if *group == GROUP_NUMBER);
            history.iter().filter(is_commit).count()
        };
        let before = count();
        wait_until(COMMIT_MAX, || count() > before);
    }

    /// Ends it, and judges what a broker that is up has of it.
    pub(crate) fn judge(self, address: &str) -> Report {
        self.load.end();
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let (topic, recorder) = (&self.load.topic, &self.load.recorder);
        let mut wire = Wire::connect(address).unwrap();
        let mut ends = Vec::new();
        wait_until(PATIENCE, || {
            ends = (0..PARTITIONS).map(|at| wire.ends(topic, at).unwrap()).collect();
            ends.iter().all(|(last_stable, end)| last_stable == end)
        });
        let at_ms = now_ms(&self.clock);
        for (partition, (last_stable, high_watermark)) in (0..).zip(ends) {
            let marks = Watermarks { partition, at_ms, last_stable, high_watermark };
            recorder.note(Event::Watermarks(marks));
        }
        let taken = wait_until(PATIENCE, || init(&mut wire).is_ok());
        assert!(taken, "the transactional id stays busy");
        self.load.final_read(&mut wire, PARTITIONS);
        let offset = wire.committed(GROUP, topic, 0).unwrap();
        recorder.note(Event::Committed { group: GROUP_NUMBER, partition: 0, offset });
        let history = recorder.history();
        let last = history.iter().find_map(|event| match event {
            Event::FinalRead(read) if read.partition == 0 => Some(read.records.last()),
            _ => None,
        });
        let end = last.unwrap().map_or(-1, |seen| seen.offset + 1);
        assert_eq!(offset, end, "the group's offset did not go with its records");
        check(&history)
    }
}

struct Client {
    load: Load,
    clock: Clock,
    /// Who it is; it asks anew after everything that did not go well.
    producer: Option<(i64, i16)>,
}

impl Client {
    /// One transaction. What is over in its midst leaves it open.
    fn transact(&mut self, wire: &mut Wire, txn: u32) {
        let load = self.load.clone();
        let Some(producer) = self.producer.take().or_else(|| self.take_id(wire)) else { return };
        let note = |event| load.recorder.note(event);
        let at_ms = now_ms(&self.clock);
        note(Event::Begin { txn, at_ms, timeout_ms: u64::from(TIMEOUT_MS.unsigned_abs()) });
        let sent: Vec<Option<i64>> = (0..PARTITIONS)
            .map(|at| load.ask(wire, |wire| send(wire, (&load.topic, at), producer, txn.into())))
            .collect();
        let moved = sent.iter().copied().collect::<Option<Vec<_>>>().and_then(|offsets| {
            let offset = offsets[0] + 1;
            let commit = |wire: &mut Wire| commit_offset(wire, &load.topic, producer, offset);
            load.ask(wire, commit).map(|()| offset)
        });
        let committed = txn.is_multiple_of(2);
        let end = match moved {
            Some(offset) if !load.is_over() => {
                if committed {
                    note(Event::Committing { txn });
                }
                self.producer = load.ask(wire, |wire| end(wire, producer, committed));
                match (committed, self.producer) {
                    (false, _) => End::Aborted,
                    (true, None) => End::Info,
                    (true, Some(_)) => {
                        let group = GROUP_NUMBER;
                        note(Event::Commit { group, partition: 0, offset });
                        End::Committed
                    }
                }
            }
            // Nobody will ask for its commit.
            _ => End::Aborted,
        };
        for (partition, offset) in (0..).zip(sent) {
            let offset = offset.filter(|_| end == End::Committed);
            note(Event::Send(Send {
                producer: 0,
                partition,
                value: txn.into(),
                promise: Promise::Kept,
                outcome: offset.map_or(Outcome::Info, Outcome::Ok),
                txn: Some(txn),
            }));
        }
        note(Event::Ended { txn, end });
    }

    /// Takes its id anew, which ends what was open; sees then where the group is.
    fn take_id(&self, wire: &mut Wire) -> Option<(i64, i16)> {
        while !self.load.is_over() {
            let Some(producer) = self.load.ask(wire, init) else { continue };
            let committed = |wire: &mut Wire| wire.committed(GROUP, &self.load.topic, 0);
            if let Some(offset) = self.load.ask(wire, committed) {
                let group = GROUP_NUMBER;
                self.load.recorder.note(Event::Committed { group, partition: 0, offset });
            }
            return Some(producer);
        }
        None
    }
}

fn now_ms(clock: &Clock) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap()
}

type Result<T> = std::io::Result<T>;

fn init(wire: &mut Wire) -> Result<(i64, i16)> {
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer = wire.call(4, &request)?;
    ok(answer.error_code)?;
    Ok((answer.producer_id, answer.producer_epoch))
}

/// Sends the one record of a transaction in a partition, which makes that part of it (KIP-890).
fn send(
    wire: &mut Wire,
    (topic, index): (&str, i32),
    (id, epoch): (i64, i16),
    value: u64,
) -> Result<i64> {
    let mut batch =
        BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), 0).transactional();
    let value = value.to_be_bytes();
    let timestamp = Timestamp(-1);
    batch.push(&NewRecord { timestamp, value: Some(&value), ..Default::default() });
    let records = Some(batch.build().unwrap().to_bytes());
    let request = ProduceRequest {
        transactional_id: Some(ID.to_owned()),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData { index, records }],
            ..TopicProduceData::default()
        }],
    };
    let answer = wire.call(12, &request)?;
    let row = &answer.responses[0].partition_responses[0];
    ok(row.error_code)?;
    Ok(row.base_offset)
}

fn commit_offset(wire: &mut Wire, topic: &str, producer: (i64, i16), offset: i64) -> Result<()> {
    let request = TxnOffsetCommitRequest {
        transactional_id: ID.to_owned(),
        group_id: GROUP.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..TxnOffsetCommitRequestPartition::default()
            }],
        }],
        ..TxnOffsetCommitRequest::default()
    };
    ok(wire.call(5, &request)?.topics[0].partitions[0].error_code)
}

/// Ends a transaction; who the producer is from there on.
fn end(wire: &mut Wire, producer: (i64, i16), committed: bool) -> Result<(i64, i16)> {
    let request = EndTxnRequest {
        transactional_id: ID.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    };
    let answer = wire.call(5, &request)?;
    ok(answer.error_code)?;
    Ok((answer.producer_id, answer.producer_epoch))
}

fn ok(code: ErrorCode) -> Result<()> {
    if code.is_error() { Err(std::io::Error::other(code.name())) } else { Ok(()) }
}
