//! TxnOffsetCommit (API 28), and what becomes of its offsets: pending until the transaction ends,
//! hidden from those who require stable ones (KIP-98, KIP-447).

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla::protocol::messages::delete_groups::DeleteGroupsRequest;
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::client::Client;
use super::group::{Member, commit_code, commit_request};
use super::kit::{self, topic_id, unique};

/// The versions whose offsets AddOffsetsToTxn makes part of the transaction.
const ADDED: std::ops::RangeInclusive<i16> = 0..=4;
/// The version that does it by itself.
const ADDS: i16 = 5;
/// Ends a transaction without a new epoch.
const END: i16 = 4;
/// Ends a transaction and tells the epoch of the next.
const END_AND_GO_ON: i16 = 5;

/// A transactional producer, as far as offsets go.
struct Producer {
    client: Client,
    transactional_id: String,
    id: i64,
    epoch: i16,
}

/// Kafka answers so while the transaction before is ending, or a coordinator is starting.
fn is_for_later(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}

impl Producer {
    fn new() -> Self {
        let transactional_id = unique("transaction");
        let mut client = Client::connect();
        let coordinator = FindCoordinatorRequest {
            key: transactional_id.clone(),
            key_type: 1,
            ..Default::default()
        };
        kit::until("there is a coordinator", || {
            client.call(3, &coordinator).error_code == ErrorCode::None
        });
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let mut response = client.call(4, &request);
        kit::until("the id is given", || {
            if is_for_later(response.error_code) {
                response = client.call(4, &request);
            }
            !is_for_later(response.error_code)
        });
        assert_eq!(response.error_code, ErrorCode::None);
        Self { client, transactional_id, id: response.producer_id, epoch: response.producer_epoch }
    }

    fn add_offsets(&mut self, group: &str) {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: group.to_owned(),
        };
        let mut code = ErrorCode::ConcurrentTransactions;
        kit::until("the offsets are part of the transaction", || {
            code = self.client.call(3, &request).error_code;
            !is_for_later(code)
        });
        assert_eq!(code, ErrorCode::None);
    }

    fn request(&self, group: &str, topic: &str, rows: &[(i32, i64)]) -> TxnOffsetCommitRequest {
        let row =
            |(partition_index, committed_offset): &(i32, i64)| TxnOffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                ..Default::default()
            };
        let partitions = rows.iter().map(row).collect();
        TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: group.to_owned(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![TxnOffsetCommitRequestTopic { name: topic.to_owned(), partitions }],
            ..Default::default()
        }
    }

    /// The code of each row, ordered by partition; Kafka has those with errors first.
    fn codes(&mut self, version: i16, request: &TxnOffsetCommitRequest) -> Vec<ErrorCode> {
        let mut rows: Vec<_> = Vec::new();
        kit::until("the offsets are taken", || {
            let response = self.client.call(version, request);
            rows = response.topics.into_iter().flat_map(|topic| topic.partitions).collect();
            rows.iter().all(|row| !is_for_later(row.error_code))
        });
        rows.sort_by_key(|row| row.partition_index);
        rows.into_iter().map(|row| row.error_code).collect()
    }

    /// Commits offsets of a topic by the way of the version.
    fn commit(&mut self, version: i16, group: &str, topic: &str, rows: &[(i32, i64)]) {
        if version < ADDS {
            self.add_offsets(group);
        }
        let request = self.request(group, topic, rows);
        let codes = self.codes(version, &request);
        assert_eq!(codes, vec![ErrorCode::None; rows.len()], "version {version}");
    }

    fn end(&mut self, version: i16, committed: bool) {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        let response = self.client.call(version, &request);
        assert_eq!(response.error_code, ErrorCode::None);
        if version == END_AND_GO_ON {
            (self.id, self.epoch) = (response.producer_id, response.producer_epoch);
        }
    }
}

/// Offset and error of some partitions of a topic.
fn fetch(group: &str, topic: &str, partitions: &[i32], stable: bool) -> Vec<(i64, ErrorCode)> {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.to_owned(),
        partition_indexes: partitions.to_vec(),
        ..Default::default()
    }];
    let asked = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: Some(topics),
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { groups: vec![asked], require_stable: stable, ..Default::default() };
    let response = Client::connect().call(9, &request);
    let rows = response.groups[0].topics[0].partitions.iter();
    rows.map(|row| (row.committed_offset, row.error_code)).collect()
}

/// The offset of partition 0 once no transaction can change it.
fn stable_offset(group: &str, topic: &str) -> i64 {
    let mut row = (-1, ErrorCode::None);
    kit::until("the offset is stable", || {
        row = fetch(group, topic, &[0], true)[0];
        row.1 != ErrorCode::UnstableOffsetCommit
    });
    assert_eq!(row.1, ErrorCode::None);
    row.0
}

const UNSTABLE: (i64, ErrorCode) = (-1, ErrorCode::UnstableOffsetCommit);
const NOTHING: (i64, ErrorCode) = (-1, ErrorCode::None);

#[test]
fn offsets_of_a_transaction_count_once_it_commits_and_never_if_it_aborts() {
    let mut producer = Producer::new();
    let (topic, group) = (kit::topic(&mut producer.client, 1), unique("group"));
    for (offset, version) in (1..).zip(ADDED) {
        producer.commit(version, &group, &topic, &[(0, 100 * offset)]);
        producer.end(END, false);
        let before = if offset == 1 { -1 } else { offset - 1 };
        assert_eq!(stable_offset(&group, &topic), before, "version {version}");
        producer.commit(version, &group, &topic, &[(0, 50)]);
        producer.commit(version, &group, &topic, &[(0, offset)]);
        assert_eq!(fetch(&group, &topic, &[0], true), [UNSTABLE]);
        producer.end(END, true);
        assert_eq!(stable_offset(&group, &topic), offset, "version {version}");
    }
}

#[test]
fn the_newest_version_needs_no_other_request() {
    let mut producer = Producer::new();
    let (topic, group) = (kit::topic(&mut producer.client, 1), unique("group"));
    for offset in [5, 3] {
        producer.commit(ADDS, &group, &topic, &[(0, 100)]);
        producer.end(END_AND_GO_ON, false);
        producer.commit(ADDS, &group, &topic, &[(0, offset)]);
        assert_eq!(fetch(&group, &topic, &[0], true), [UNSTABLE]);
        producer.end(END_AND_GO_ON, true);
        assert_eq!(stable_offset(&group, &topic), offset);
    }
}

#[test]
fn only_who_requires_stable_offsets_is_told_to_wait_and_only_for_those() {
    let mut producer = Producer::new();
    let (topic, group) = (kit::topic(&mut producer.client, 3), unique("group"));
    let id = topic_id(&mut producer.client, &topic);
    commit_code(&mut producer.client, 8, &commit_request(&group, &topic, 5));
    producer.commit(3, &group, &topic, &[(0, 10), (1, 11)]);
    let plain = [(5, ErrorCode::None), NOTHING, NOTHING];
    assert_eq!(fetch(&group, &topic, &[0, 1, 2], false), plain);
    assert_eq!(fetch(&group, &topic, &[0, 1, 2], true), [UNSTABLE, UNSTABLE, NOTHING]);
    let one = OffsetFetchRequest {
        group_id: group.clone(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: topic.clone(),
            partition_indexes: vec![0, 2],
        }]),
        require_stable: true,
        ..Default::default()
    };
    let response = producer.client.call(7, &one);
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [ErrorCode::UnstableOffsetCommit, ErrorCode::None]);
    assert_eq!(response.error_code, ErrorCode::None);
    // Of all there are: those that are committed, stable or not.
    let all = OffsetFetchRequestGroup { group_id: group, topics: None, ..Default::default() };
    let all = OffsetFetchRequest { groups: vec![all], require_stable: true, ..Default::default() };
    for version in 8..=10 {
        let response = producer.client.call(version, &all);
        assert_eq!(response.groups[0].error_code, ErrorCode::None);
        let [found] = response.groups[0].topics.as_slice() else { panic!("{response:?}") };
        assert!(found.name == topic || found.topic_id == id);
        let rows = found.partitions.iter();
        let rows: Vec<_> = rows.map(|row| (row.partition_index, row.error_code)).collect();
        assert_eq!(rows, [(0, ErrorCode::UnstableOffsetCommit)], "version {version}");
    }
    producer.end(END, true);
}

#[test]
fn offsets_that_are_not_part_of_a_transaction_are_refused() {
    let mut producer = Producer::new();
    let (topic, group) = (kit::topic(&mut producer.client, 1), unique("group"));
    let request = producer.request(&group, &topic, &[(0, 1)]);
    for version in ADDED {
        let expected =
            if version < 4 { ErrorCode::InvalidTxnState } else { ErrorCode::TransactionAbortable };
        assert_eq!(producer.codes(version, &request), [expected], "version {version}");
    }
    for version in [4, ADDS] {
        let other = TxnOffsetCommitRequest { producer_epoch: 7, ..request.clone() };
        assert_eq!(producer.codes(version, &other), [ErrorCode::InvalidProducerEpoch]);
        let other = TxnOffsetCommitRequest { producer_id: i64::MAX, ..request.clone() };
        assert_eq!(producer.codes(version, &other), [ErrorCode::InvalidProducerIdMapping]);
        let other = TxnOffsetCommitRequest { group_id: String::new(), ..request.clone() };
        assert_eq!(producer.codes(version, &other), [ErrorCode::InvalidGroupId]);
    }
    assert_eq!(fetch(&group, &topic, &[0], true), [NOTHING]);
}

#[test]
fn what_does_not_exist_or_is_too_long_fails_alone() {
    let mut producer = Producer::new();
    let (topic, group) = (kit::topic(&mut producer.client, 2), unique("group"));
    producer.add_offsets(&group);
    let mut request = producer.request(&group, &topic, &[(0, 1), (1, 2), (7, 3)]);
    request.topics[0].partitions[1].committed_metadata = Some("x".repeat(4_097));
    let expected =
        [ErrorCode::None, ErrorCode::OffsetMetadataTooLarge, ErrorCode::UnknownTopicOrPartition];
    assert_eq!(producer.codes(3, &request), expected);
    let absent = producer.request(&group, &unique("absent"), &[(0, 1)]);
    assert_eq!(producer.codes(3, &absent), [ErrorCode::UnknownTopicOrPartition]);
    producer.end(END, true);
    assert_eq!(stable_offset(&group, &topic), 1);
    assert_eq!(fetch(&group, &topic, &[1], true), [NOTHING]);
}

#[test]
fn who_names_a_member_is_held_to_it() {
    let mut producer = Producer::new();
    let topic = kit::topic(&mut producer.client, 1);
    let mut member = Member::fixed(&unique("group"), "instance");
    member.join_alone();
    let group = member.group_id.clone();
    producer.add_offsets(&group);
    let plain = producer.request(&group, &topic, &[(0, 1)]);
    let of = |generation_id, member_id: &str, instance: Option<&str>| TxnOffsetCommitRequest {
        generation_id,
        member_id: member_id.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..plain.clone()
    };
    let (id, generation) = (member.member_id.clone(), member.generation_id);
    for (request, expected) in [
        (of(generation, &id, Some("instance")), ErrorCode::None),
        (of(generation, &id, None), ErrorCode::None),
        (of(-1, "", None), ErrorCode::None),
        (of(generation + 1, &id, None), ErrorCode::IllegalGeneration),
        (of(-1, &id, None), ErrorCode::IllegalGeneration),
        (of(generation, "stranger", None), ErrorCode::UnknownMemberId),
        (of(generation, "", None), ErrorCode::UnknownMemberId),
        (of(generation, &id, Some("other")), ErrorCode::UnknownMemberId),
        (of(generation, "stranger", Some("instance")), ErrorCode::FencedInstanceId),
    ] {
        assert_eq!(producer.codes(3, &request), [expected], "{request:?}");
    }
    let unknown = unique("group");
    producer.add_offsets(&unknown);
    let of_unknown = |generation_id, member_id: &str| TxnOffsetCommitRequest {
        group_id: unknown.clone(),
        ..of(generation_id, member_id, None)
    };
    let code = producer.codes(3, &of_unknown(0, "m"));
    assert_eq!(code, [ErrorCode::IllegalGeneration]);
    assert_eq!(producer.codes(3, &of_unknown(-1, "m")), [ErrorCode::None]);
    producer.end(END, false);
}

#[test]
fn what_was_committed_last_counts_not_whose_marker_came_last() {
    let mut producer = Producer::new();
    let mut other = Producer::new();
    let (topic, group) = (kit::topic(&mut producer.client, 1), unique("group"));
    producer.commit(3, &group, &topic, &[(0, 10)]);
    commit_code(&mut producer.client, 8, &commit_request(&group, &topic, 7));
    producer.end(END, true);
    assert_eq!(stable_offset(&group, &topic), 7, "the plain commit is newer");

    producer.commit(3, &group, &topic, &[(0, 20)]);
    other.commit(3, &group, &topic, &[(0, 21)]);
    other.end(END, true);
    kit::until("the first to end is done", || {
        fetch(&group, &topic, &[0], false) == [(21, ErrorCode::None)]
    });
    assert_eq!(fetch(&group, &topic, &[0], true), [UNSTABLE]);
    producer.end(END, true);
    assert_eq!(stable_offset(&group, &topic), 21);
}

#[test]
fn deletions_take_pending_offsets_along() {
    let mut producer = Producer::new();
    let (topic, gone) = (kit::topic(&mut producer.client, 1), kit::topic(&mut producer.client, 1));
    let (one, two) = (unique("group"), unique("group"));
    for group in [&one, &two] {
        commit_code(&mut producer.client, 8, &commit_request(group, &topic, 1));
        producer.commit(3, group, &topic, &[(0, 2)]);
        producer.commit(3, group, &gone, &[(0, 2)]);
    }
    let delete = OffsetDeleteRequest {
        group_id: one.clone(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.clone(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    };
    let response = producer.client.call(0, &delete);
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::None);
    assert_eq!(fetch(&one, &topic, &[0], true), [NOTHING]);

    let delete = DeleteGroupsRequest { groups_names: vec![two.clone()] };
    assert_eq!(producer.client.call(1, &delete).results[0].error_code, ErrorCode::None);
    assert_eq!(fetch(&two, &topic, &[0], true), [NOTHING]);
    assert_eq!(fetch(&two, &gone, &[0], true), [NOTHING]);

    assert_eq!(fetch(&one, &gone, &[0], true), [UNSTABLE]);
    let delete = DeleteTopicsRequest {
        topic_names: vec![gone.clone()],
        timeout_ms: 30_000,
        ..Default::default()
    };
    assert_eq!(producer.client.call(5, &delete).responses[0].error_code, ErrorCode::None);
    kit::until("the offset is gone", || fetch(&one, &gone, &[0], true) == [NOTHING]);

    // What comes later in the same transaction counts.
    producer.commit(3, &one, &topic, &[(0, 3)]);
    producer.end(END, true);
    assert_eq!(stable_offset(&one, &topic), 3);
    assert_eq!(stable_offset(&two, &topic), -1);
}
