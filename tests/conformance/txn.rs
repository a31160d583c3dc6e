//! Transactions on the wire (KIP-98, KIP-360, KIP-447, KIP-890): the scenarios of `txn/*.txt`, each
//! with a transactional id, a topic of three partitions and a group of its own.
//!
//! Producer ids are named A, B and so on as they come up; `pid=` and `epoch=` stand for those of the
//! last answer where they are not written. Behind an answer that ends a transaction a scenario goes
//! on when its markers are written. What is told:
//!
//! | command | answer |
//! |---|---|
//! | `init vN [timeout=MS] [pid=A] [epoch=E] [id=] [settled] [times=N]` | code, producer id, epoch; of the last of N; `settled`: asked until it is not 51 |
//! | `add vN p0,p1 [topic=NAME] [also=NAME] [verify]` | code of each partition, and of the first one of `also`; of all if they are the same |
//! | `offsets vN [group=]` | code |
//! | `commit vN p0 at=OFFSET [generation=G] [member=M] [instance=I] [group=G] [topic=NAME]` | code of each partition |
//! | `end vN commit` or `abort` | code; from v5 producer id and epoch for the next one |
//! | `produce vN p0 seq=S [count=N] [plain]` | code, and where it lies |
//! | `marker vN p0 commit` or `abort`, `[coordinator=E]` | code of each partition |
//! | `state [id=]` | state, producer id, epoch, partitions; `+offsets` for a group's |
//! | `producers p0` | of each: producer id, epoch, last sequence, begin of what is open |
//! | `ends p0` | last stable offset, high watermark |
//! | `fetch p0 [at=OFFSET] [uncommitted]` | aborted transactions, then batches: producer, epoch, offsets |
//! | `group [stable]` | the group's offset of partition 0, or the code |
//! | `list vN [state=NAME] [pattern=P] [duration=MS]` | whether the id is listed, unknown states |
//! | `join` | code; the group's only member, for whom `commit` speaks from then on |
//! | `timeout` | nothing: waits until the broker has ended what is open |
//! | `delete` | code: removes the topic |

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use ottla::protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, TransactionState,
};
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::list_offsets::ListOffsetsRequest;
use ottla::protocol::messages::list_transactions::ListTransactionsRequest;
use ottla::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use ottla::protocol::messages::produce::ProduceRequest;
use ottla::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

use super::batch::{Batch, Stored};
use super::client::Client;
use super::group::Member;
use super::kit;
use super::script::{self, Command};

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// Requests that are sent before the first one is answered, where many are.
const IN_FLIGHT: usize = 200;
const NO_PRODUCER: (i64, i16) = (-1, -1);

#[test]
fn ids_and_epochs() {
    check("txn/init.txt");
}

#[test]
fn epochs_that_are_worn_out() {
    check("txn/exhaustion.txt");
}

#[test]
fn requests_of_a_transaction() {
    check("txn/requests.txt");
}

#[test]
fn ends() {
    check("txn/end.txt");
}

#[test]
fn produce_inside_and_outside() {
    check("txn/produce.txt");
}

#[test]
fn offsets_of_groups() {
    check("txn/offsets.txt");
}

#[test]
fn markers_and_what_is_read() {
    check("txn/read.txt");
}

#[test]
fn what_times_out() {
    check("txn/timeout.txt");
}

#[track_caller]
fn check(file: &str) {
    script::run(file, Scenario::new, Scenario::step);
}

/// What a scenario has.
struct Scenario {
    client: Client,
    id: String,
    topic: String,
    group: String,
    member: Option<Member>,
    /// Those that came up; the first one is A.
    ids: Vec<i64>,
    /// Of the last answer.
    producer: (i64, i16),
}

impl Scenario {
    fn new() -> Self {
        let mut client = Client::connect();
        let topic = kit::topic(&mut client, 3);
        Self {
            client,
            id: kit::unique("txn"),
            topic,
            group: kit::unique("group"),
            member: None,
            ids: Vec::new(),
            producer: NO_PRODUCER,
        }
    }

    /// Asks, and waits for the markers of what that ended.
    #[track_caller]
    fn step(&mut self, command: &Command<'_>) -> String {
        let told = self.ask(command);
        let may_end = matches!(command.name(), "init" | "end") && command.get("id").is_none();
        if may_end {
            self.settle(false);
        }
        told
    }

    #[track_caller]
    fn ask(&mut self, command: &Command<'_>) -> String {
        match command.name() {
            "init" => self.init(command),
            "add" => self.add(command),
            "offsets" => self.offsets(command),
            "commit" => self.commit(command),
            "end" => self.end(command),
            "produce" => self.produce(command),
            "marker" => self.marker(command),
            "state" => self.state(command),
            "producers" => self.producers(command),
            "ends" => self.ends(command),
            "fetch" => self.fetch(command),
            "group" => self.group_offset(command),
            "list" => self.list(command),
            "join" => self.join(),
            "timeout" => self.settle(true),
            "delete" => self.delete(),
            other => panic!("no command {other}"),
        }
    }

    /// The name of a producer id.
    fn name(&mut self, id: i64) -> String {
        if id < 0 {
            return id.to_string();
        }
        let place = self.ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        char::from(b'A' + u8::try_from(place).unwrap()).to_string()
    }

    /// Takes a pair over, and tells it.
    fn learn(&mut self, code: ErrorCode, id: i64, epoch: i16) -> String {
        if !code.is_error() {
            self.producer = (id, epoch);
        }
        format!("{} {} {epoch}", code.code(), self.name(id))
    }

    /// The producer that a command speaks for, or its `default`.
    fn producer_of(&self, command: &Command<'_>, default: (i64, i16)) -> (i64, i16) {
        let id = match command.get("pid") {
            Some(name) if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
                self.ids[usize::from(name.as_bytes()[0] - b'A')]
            }
            Some(number) => number.parse().unwrap(),
            None => default.0,
        };
        (id, command.number("epoch").unwrap_or(default.1))
    }

    fn id_of(&self, command: &Command<'_>) -> String {
        command.get("id").map_or_else(|| self.id.clone(), str::to_owned)
    }

    fn topic_of(&self, command: &Command<'_>) -> String {
        command.get("topic").map_or_else(|| self.topic.clone(), str::to_owned)
    }

    fn group_of(&self, command: &Command<'_>) -> String {
        command.get("group").map_or_else(|| self.group.clone(), str::to_owned)
    }

    fn describe(&mut self, id: &str) -> TransactionState {
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.to_owned()] };
        self.client.call(0, &request).transaction_states[0].clone()
    }

    /// Waits for the markers, and for the timeout of what is open if that is asked for.
    fn settle(&mut self, ends_open: bool) -> String {
        let id = self.id.clone();
        kit::until("the transaction is over", || {
            let state = self.describe(&id).transaction_state;
            !(state.starts_with("Prepare") || ends_open && state == "Ongoing")
        });
        String::new()
    }

    fn init(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, NO_PRODUCER);
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id_of(command)),
            transaction_timeout_ms: command.number("timeout").unwrap_or(60_000),
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let (times, version): (usize, _) =
            (command.number("times").unwrap_or(1), command.version());
        for done in (1..times).step_by(IN_FLIGHT) {
            let sent: Vec<_> = (done..times.min(done + IN_FLIGHT))
                .map(|_| self.client.send(version, &request))
                .collect();
            for sent in sent {
                self.client.receive(sent);
            }
        }
        let mut response = self.client.call(command.version(), &request);
        // Differs from Kafka: ottla answers when the transaction before has ended, Kafka says 51.
        while command.has("settled") && response.error_code == ErrorCode::ConcurrentTransactions {
            response = self.client.call(command.version(), &request);
        }
        self.learn(response.error_code, response.producer_id, response.producer_epoch)
    }

    fn add(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, self.producer);
        let transactional_id = self.id_of(command);
        let name = self.topic_of(command);
        let mut topics = vec![AddPartitionsToTxnTopic { name, partitions: command.partitions() }];
        topics.extend(
            command
                .get("also")
                .map(|name| AddPartitionsToTxnTopic { name: name.to_owned(), partitions: vec![0] }),
        );
        let is_batched = command.version() >= 4;
        let request = if is_batched {
            let transaction = AddPartitionsToTxnTransaction {
                transactional_id,
                producer_id,
                producer_epoch,
                verify_only: command.has("verify"),
                topics,
            };
            AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() }
        } else {
            AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: transactional_id,
                v3_and_below_producer_id: producer_id,
                v3_and_below_producer_epoch: producer_epoch,
                v3_and_below_topics: topics,
                ..Default::default()
            }
        };
        let response = self.client.call(command.version(), &request);
        assert_eq!(response.error_code, ErrorCode::None);
        let topics = match response.results_by_transaction.first() {
            Some(result) if is_batched => result.topic_results.clone(),
            _ => response.results_by_topic_v3_and_below.clone(),
        };
        let rows = topics.iter().flat_map(|topic| &topic.results_by_partition);
        codes(rows.map(|row| (row.partition_index, row.partition_error_code)))
    }

    fn offsets(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, self.producer);
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id_of(command),
            producer_id,
            producer_epoch,
            group_id: self.group_of(command),
        };
        self.client.call(command.version(), &request).error_code.code().to_string()
    }

    fn commit(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, self.producer);
        let member = self.member.as_ref();
        let (member_id, generation_id) = member
            .map_or((String::new(), -1), |member| (member.member_id.clone(), member.generation_id));
        let partition = |partition_index| TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset: command.number("at").unwrap(),
            ..Default::default()
        };
        let topic = TxnOffsetCommitRequestTopic {
            name: self.topic_of(command),
            partitions: command.partitions().into_iter().map(partition).collect(),
        };
        let is_grouped = command.version() >= 3;
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id_of(command),
            group_id: self.group_of(command),
            producer_id,
            producer_epoch,
            generation_id: match command.get("generation") {
                Some("next") => generation_id + 1,
                Some(number) => number.parse().unwrap(),
                None if is_grouped => generation_id,
                None => -1,
            },
            member_id: match command.get("member") {
                Some(name) => name.to_owned(),
                None if is_grouped => member_id,
                None => String::new(),
            },
            group_instance_id: command.get("instance").map(str::to_owned),
            topics: vec![topic],
        };
        let response = self.client.call(command.version(), &request);
        let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
        codes(rows.map(|row| (row.partition_index, row.error_code)))
    }

    fn end(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, self.producer);
        let request = EndTxnRequest {
            transactional_id: self.id_of(command),
            producer_id,
            producer_epoch,
            committed: command.has("commit"),
        };
        let response = self.client.call(command.version(), &request);
        if command.version() < 5 {
            return response.error_code.code().to_string();
        }
        self.learn(response.error_code, response.producer_id, response.producer_epoch)
    }

    fn produce(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, self.producer);
        let count = command.number("count").unwrap_or(1);
        let sequence = command.number("seq").unwrap();
        let mut batch =
            Batch::of(&vec!["v"; count]).producer(producer_id, producer_epoch, sequence);
        let is_plain = command.has("plain");
        if !is_plain {
            batch.attributes |= TRANSACTIONAL;
        }
        let mut request = ProduceRequest {
            transactional_id: (!is_plain).then(|| self.id_of(command)),
            ..kit::produce_request(&self.topic, command.partitions()[0], batch)
        };
        if command.version() >= 13 {
            request.topic_data[0].topic_id = kit::topic_id(&mut self.client, &self.topic);
        }
        let response = self.client.call(command.version(), &request);
        let row = &response.responses[0].partition_responses[0];
        if row.error_code.is_error() {
            return row.error_code.code().to_string();
        }
        format!("0 at {}", row.base_offset)
    }

    fn marker(&mut self, command: &Command<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer_of(command, self.producer);
        let topic = WritableTxnMarkerTopic {
            name: self.topic_of(command),
            partition_indexes: command.partitions(),
        };
        let marker = WritableTxnMarker {
            producer_id,
            producer_epoch,
            transaction_result: command.has("commit"),
            topics: vec![topic],
            coordinator_epoch: command.number("coordinator").unwrap_or(0),
            transaction_version: command.number("version").unwrap_or(0),
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker] };
        let response = self.client.call(command.version(), &request);
        let rows = response.markers[0].topics.iter().flat_map(|topic| &topic.partitions);
        codes(rows.map(|row| (row.partition_index, row.error_code)))
    }

    fn state(&mut self, command: &Command<'_>) -> String {
        let state = self.describe(&self.id_of(command));
        if state.error_code.is_error() {
            return state.error_code.code().to_string();
        }
        let mut parts = Vec::new();
        for topic in &state.topics {
            if topic.topic == "__consumer_offsets" {
                parts.push("offsets".to_owned());
            }
            let is_own = topic.topic == self.topic;
            parts.extend(
                topic.partitions.iter().filter(|_| is_own).map(|index| format!("p{index}")),
            );
        }
        parts.sort();
        let name = self.name(state.producer_id);
        let head = format!("{} {name} {}", state.transaction_state, state.producer_epoch);
        [head, parts.join(",")].join(" ").trim_end().to_owned()
    }

    fn producers(&mut self, command: &Command<'_>) -> String {
        let topic =
            TopicRequest { name: self.topic_of(command), partition_indexes: command.partitions() };
        let response = self.client.call(0, &DescribeProducersRequest { topics: vec![topic] });
        let row = &response.topics[0].partitions[0];
        if row.error_code.is_error() {
            return row.error_code.code().to_string();
        }
        let mut told = Vec::new();
        for state in &row.active_producers {
            let open = state.current_txn_start_offset;
            let name = self.name(state.producer_id);
            let epoch = state.producer_epoch;
            told.push(format!("{name} {epoch} last {} open {open}", state.last_sequence));
        }
        told.sort();
        told.join("; ")
    }

    fn ends(&mut self, command: &Command<'_>) -> String {
        let mut ends = Vec::new();
        for isolation_level in [1, 0] {
            let request = kit::list_offsets_request(&self.topic, command.partitions()[0], -1);
            let request = ListOffsetsRequest { isolation_level, ..request };
            let row = self.client.call(9, &request).topics[0].partitions[0].clone();
            assert_eq!(row.error_code, ErrorCode::None);
            ends.push(row.offset.to_string());
        }
        ends.join(" ")
    }

    fn fetch(&mut self, command: &Command<'_>) -> String {
        let at = command.number("at").unwrap_or(0);
        let mut request = kit::fetch_request(&self.topic, command.partitions()[0], at);
        request.isolation_level = i8::from(!command.has("uncommitted"));
        let data = kit::only_partition(&self.client.call(kit::FETCH, &request));
        assert_eq!(data.error_code, ErrorCode::None);
        let mut told = Vec::new();
        match &data.aborted_transactions {
            None => told.push("null".to_owned()),
            Some(aborted) => told.push(format!("{} aborted", aborted.len())),
        }
        for aborted in data.aborted_transactions.iter().flatten() {
            told.push(format!("{} from {}", self.name(aborted.producer_id), aborted.first_offset));
        }
        for batch in Stored::all(&kit::record_bytes(&data)) {
            let kind = if batch.attributes & CONTROL == 0 { "records" } else { "marker" };
            let last = batch.base_offset + i64::from(batch.last_offset_delta);
            let name = self.name(batch.producer_id);
            told.push(format!(
                "{kind} {name} {} {}-{last}",
                batch.producer_epoch, batch.base_offset
            ));
        }
        told.join("; ")
    }

    fn group_offset(&mut self, command: &Command<'_>) -> String {
        let topic =
            OffsetFetchRequestTopic { name: self.topic.clone(), partition_indexes: vec![0] };
        let request = OffsetFetchRequest {
            group_id: self.group.clone(),
            topics: Some(vec![topic]),
            require_stable: command.has("stable"),
            ..Default::default()
        };
        let response = self.client.call(7, &request);
        assert_eq!(response.error_code, ErrorCode::None);
        let row = &response.topics[0].partitions[0];
        if row.error_code.is_error() {
            return format!("code {}", row.error_code.code());
        }
        row.committed_offset.to_string()
    }

    fn list(&mut self, command: &Command<'_>) -> String {
        let request = ListTransactionsRequest {
            state_filters: command.get("state").into_iter().map(str::to_owned).collect(),
            producer_id_filters: Vec::new(),
            duration_filter: command.number("duration").unwrap_or(-1),
            transactional_id_pattern: command.get("pattern").map(str::to_owned),
        };
        let response = self.client.call(command.version(), &request);
        let row = response.transaction_states.iter().find(|row| row.transactional_id == self.id);
        let mut told = vec![response.error_code.code().to_string()];
        told.push(row.map_or("not listed".to_owned(), |row| row.transaction_state.clone()));
        told.extend(response.unknown_state_filters.iter().map(|name| format!("unknown {name}")));
        told.join(" ")
    }

    fn join(&mut self) -> String {
        let mut member = Member::new(&self.group);
        member.join_alone();
        self.member = Some(member);
        "0".to_owned()
    }

    fn delete(&mut self) -> String {
        let topic_names = vec![self.topic.clone()];
        let request = DeleteTopicsRequest { topic_names, timeout_ms: 30_000, ..Default::default() };
        self.client.call(4, &request).responses[0].error_code.code().to_string()
    }
}

/// The code of all rows if it is the same, or each row with its own.
fn codes(rows: impl Iterator<Item = (i32, ErrorCode)>) -> String {
    let mut rows: Vec<_> = rows.map(|(index, code)| (index, code.code())).collect();
    rows.sort_unstable();
    match rows.first() {
        Some((_, code)) if rows.iter().all(|(_, other)| other == code) => code.to_string(),
        _ => {
            let each = rows.iter().map(|(index, code)| format!("p{index} {code}"));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}
