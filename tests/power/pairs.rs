//! Two transactional producers that go on through every cut, into the same two partitions: a record to
//! each and an offset of a group of the producer's own, committed and aborted in turn. The offset names
//! the end of what this producer has committed in the first partition, so it tells whether it went with
//! its records. In its midst a transaction reads what is committed: never its own records, and never
//! those of one that has read its own.

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
    End, Event, Isolation, Outcome, Poll, Producer, Promise, Recorder, Report, Send, Watermarks,
    check,
};
use super::support::wait_until;
use super::wire::Wire;
use super::writers::{Load, seen};

pub(crate) const PARTITIONS: i32 = 2;
const PARTITION_COUNT: usize = 2;
const PRODUCERS: u32 = 2;
/// The first producer's group in the history; those of the readers have the numbers of their
/// partitions.
const GROUP_NUMBER: u32 = 100;
/// What the first producer is as a consumer; the same of the readers.
const READER_NUMBER: u32 = 100;
/// Transactions of a producer have its number above these bits, and so have their values.
const COUNT_BITS: u32 = 24;
/// How long a transaction may stay open; the last one does.
const TIMEOUT_MS: i32 = 500;
/// How long a power cut waits for a commit before it.
const COMMIT_MAX: Duration = Duration::from_secs(2);
/// How much longer its end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether anybody reads before the end: only where a cut takes nothing that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    Along,
    AtTheEnd,
}

/// The producers at work, with a history of their own.
#[derive(Debug)]
pub(crate) struct Pairs {
    load: Load,
    clock: Clock,
    clients: Vec<JoinHandle<()>>,
}

impl Pairs {
    /// Starts them beside another load, on a topic that is there.
    pub(crate) fn start(beside: &Load, topic: &str, readers: Readers) -> Self {
        let mut load = beside.clone();
        load.topic = topic.to_owned();
        load.stop = Arc::default();
        load.recorder = Recorder::default();
        let clock = Clock::system();
        let mut clients = Vec::new();
        for number in 0..PRODUCERS {
            load.recorder.note(Event::Producer { producer: number, kind: Producer::Once });
            let places = (readers == Readers::Along).then_some([0; _]);
            let (load, clock) = (load.clone(), clock.clone());
            let mut client = Client { load, clock, number, producer: None, places };
            clients.push(spawn(move || {
                let mut wire = client.load.address.connect();
                let mut txn = number << COUNT_BITS;
                while !client.load.is_over() {
                    client.transact(&mut wire, txn);
                    txn += 1;
                }
            }));
        }
        if readers == Readers::Along {
            clients.extend((0..PARTITIONS).map(|partition| load.consume(partition)));
        }
        Self { load, clock, clients }
    }

    /// Lets one of them commit something, unless that takes too long.
    pub(crate) fn wait_for_commit(&self) {
        let count = || {
            let history = self.load.recorder.history();
            let is_commit = |event: &&Event| matches!(event, Event::Commit { group, .. } if *group >= GROUP_NUMBER);
            history.iter().filter(is_commit).count()
        };
        let before = count();
        wait_until(COMMIT_MAX, || count() > before);
    }

    /// Ends them, and judges what a broker that is up has of it.
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
        for number in 0..PRODUCERS {
            let taken = wait_until(PATIENCE, || init(&mut wire, &name(number)).is_ok());
            assert!(taken, "the transactional id stays busy");
        }
        self.load.final_read(&mut wire, PARTITIONS);
        for number in 0..PRODUCERS {
            let (group, partition) = (GROUP_NUMBER + number, 0);
            let offset = wire.committed(&name(number), topic, partition).unwrap();
            let end = committed_end(&recorder.history(), number);
            assert_eq!(offset, end, "the offset of group {number} did not go with its records");
            recorder.note(Event::Committed { group, partition, offset });
        }
        check(&recorder.history())
    }
}

/// The end of what a producer has committed in the first partition; -1 for nothing.
fn committed_end(history: &[Event], producer: u32) -> i64 {
    let last = history.iter().find_map(|event| match event {
        Event::FinalRead(read) if read.partition == 0 => {
            read.records.iter().rfind(|seen| seen.value >> COUNT_BITS == u64::from(producer))
        }
        _ => None,
    });
    last.map_or(-1, |seen| seen.offset + 1)
}

/// A producer's transactional id, and its group.
fn name(producer: u32) -> String {
    format!("pairs-{producer}")
}

struct Client {
    load: Load,
    clock: Clock,
    number: u32,
    /// Who it is; it asks anew after everything that did not go well.
    producer: Option<(i64, i16)>,
    /// Where it goes on reading, if it does.
    places: Option<[i64; PARTITION_COUNT]>,
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
            .map(|at| load.ask(wire, |wire| self.send(wire, at, producer, txn.into())))
            .collect();
        self.read(wire, txn);
        let moved = sent.iter().copied().collect::<Option<Vec<_>>>().and_then(|offsets| {
            let offset = offsets[0] + 1;
            let commit = |wire: &mut Wire| self.commit_offset(wire, producer, offset);
            load.ask(wire, commit).map(|()| offset)
        });
        let committed = txn.is_multiple_of(2);
        let end = match moved {
            Some(offset) if !load.is_over() => {
                if committed {
                    note(Event::Committing { txn });
                }
                self.producer = load.ask(wire, |wire| self.end(wire, producer, committed));
                match (committed, self.producer) {
                    (false, _) => End::Aborted,
                    (true, None) => End::Info,
                    (true, Some(_)) => {
                        let group = GROUP_NUMBER + self.number;
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
                producer: self.number,
                partition,
                value: txn.into(),
                promise: Promise::Kept,
                outcome: offset.map_or(Outcome::Info, Outcome::Ok),
                txn: Some(txn),
            }));
        }
        note(Event::Ended { txn, end });
    }

    /// Reads what is committed, inside a transaction.
    fn read(&mut self, wire: &mut Wire, txn: u32) {
        let Some(places) = &mut self.places else { return };
        for (partition, place) in (0..).zip(places) {
            let read = self.load.ask(wire, |wire| {
                let (mut next, mut found) = (*place, Vec::new());
                wire.read_some(&self.load.topic, partition, &mut next, (0, &mut found))?;
                Ok((next, found))
            });
            let Some((next, found)) = read else { continue };
            *place = next;
            let (consumer, isolation) = (READER_NUMBER + self.number, Isolation::Committed);
            let records = seen(partition, &found);
            let poll = Poll { consumer, isolation, records, txn: Some(txn) };
            self.load.recorder.note(Event::Poll(poll));
        }
    }

    /// Takes its id anew, which ends what was open; sees then where the group is.
    fn take_id(&self, wire: &mut Wire) -> Option<(i64, i16)> {
        let name = name(self.number);
        while !self.load.is_over() {
            let Some(producer) = self.load.ask(wire, |wire| init(wire, &name)) else { continue };
            let committed = |wire: &mut Wire| wire.committed(&name, &self.load.topic, 0);
            if let Some(offset) = self.load.ask(wire, committed) {
                let group = GROUP_NUMBER + self.number;
                self.load.recorder.note(Event::Committed { group, partition: 0, offset });
            }
            return Some(producer);
        }
        None
    }

    /// Sends the one record of a transaction in a partition, which makes that part of it (KIP-890).
    fn send(
        &self,
        wire: &mut Wire,
        index: i32,
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
            transactional_id: Some(name(self.number)),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: self.load.topic.clone(),
                partition_data: vec![PartitionProduceData { index, records }],
                ..TopicProduceData::default()
            }],
        };
        let answer = wire.call(12, &request)?;
        let row = &answer.responses[0].partition_responses[0];
        ok(row.error_code)?;
        Ok(row.base_offset)
    }

    fn commit_offset(&self, wire: &mut Wire, producer: (i64, i16), offset: i64) -> Result<()> {
        let request = TxnOffsetCommitRequest {
            transactional_id: name(self.number),
            group_id: name(self.number),
            producer_id: producer.0,
            producer_epoch: producer.1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: self.load.topic.clone(),
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
    fn end(&self, wire: &mut Wire, producer: (i64, i16), committed: bool) -> Result<(i64, i16)> {
        let request = EndTxnRequest {
            transactional_id: name(self.number),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed,
        };
        let answer = wire.call(5, &request)?;
        ok(answer.error_code)?;
        Ok((answer.producer_id, answer.producer_epoch))
    }
}

fn now_ms(clock: &Clock) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap()
}

type Result<T> = std::io::Result<T>;

fn init(wire: &mut Wire, id: &str) -> Result<(i64, i16)> {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer = wire.call(4, &request)?;
    ok(answer.error_code)?;
    Ok((answer.producer_id, answer.producer_epoch))
}

fn ok(code: ErrorCode) -> Result<()> {
    if code.is_error() { Err(std::io::Error::other(code.name())) } else { Ok(()) }
}
