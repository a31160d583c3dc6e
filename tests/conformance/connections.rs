//! What a connection promises whatever is said over it: answers in the order of requests, silence
//! where none is due, its end where a request cannot be understood, and no more than that.

use std::time::Duration;

use bytes::Bytes;
use ottla::clock::Clock;
use ottla::codec::{Message, Reader, Writer};
use ottla::protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::heartbeat::HeartbeatRequest;
use ottla::protocol::messages::join_group::JoinGroupRequest;
use ottla::protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla::protocol::messages::produce::ProduceRequest;
use ottla::protocol::messages::{
    add_offsets_to_txn, add_partitions_to_txn, alter_configs, create_partitions, create_topics,
    delete_groups, delete_records, delete_topics, describe_cluster, describe_configs,
    describe_groups, describe_log_dirs, describe_producers, describe_topic_partitions,
    describe_transactions, end_txn, incremental_alter_configs, init_producer_id, leave_group,
    list_groups, list_offsets, list_transactions, offset_commit, offset_delete, offset_fetch,
    offset_for_leader_epoch, sync_group, txn_offset_commit, write_txn_markers,
};
use ottla::protocol::{ApiKey, ErrorCode, Request};

use super::batch::Batch;
use super::client::{Client, header};
use super::kit::{self, unique};

fn brokers_only() -> MetadataRequest {
    kit::metadata_request(&[])
}

#[test]
fn a_connection_may_begin_with_any_request() {
    let request = FindCoordinatorRequest { key: unique("group"), ..Default::default() };
    let response = Client::connect().call(0, &request);
    assert_eq!(response.error_code, ErrorCode::None);
    let request = HeartbeatRequest { group_id: unique("group"), ..Default::default() };
    let response = Client::connect().call(3, &request);
    assert_eq!(response.error_code, ErrorCode::UnknownMemberId);
}

#[test]
fn an_unknown_api_ends_its_own_connection_and_no_other() {
    let mut other = Client::connect();
    other.call(4, &brokers_only());
    for key in [999, -1, i16::MAX] {
        let mut client = Client::connect();
        client.send_frame(&header(key, 0, 1, false));
        client.expect_closed();
    }
    other.call(4, &brokers_only());
}

#[test]
fn an_unsupported_version_ends_the_connection_without_an_answer() {
    for (key, version) in [
        (ApiKey::Produce, 2),
        (ApiKey::Produce, 0),
        (ApiKey::Fetch, 3),
        (ApiKey::JoinGroup, 10),
        (ApiKey::Metadata, 99),
        (ApiKey::OffsetCommit, -1),
    ] {
        let mut client = Client::connect();
        client.send_frame(&[&header(key.code(), version, 1, false)[..], &[0; 64]].concat());
        client.expect_closed();
    }
}

#[test]
fn a_request_cut_short_ends_the_connection_without_an_answer() {
    let mut client = Client::connect();
    client.send_frame(&[&header(3, 1, 1, false)[..], &[0, 0, 0, 2, 0, 1, b'a']].concat());
    client.expect_closed();
}

/// Asks in each version that both sides have, with a request that asks for nothing, and looks at
/// the bytes around the body.
fn check_frames<R: Request>(client: &mut Client, announced: &ApiVersionsResponse, request: &R) {
    let key = R::KEY.code();
    let row = announced.api_keys.iter().find(|row| row.api_key == key).unwrap();
    for version in R::KEY.served().iter() {
        if version < row.min_version || version > row.max_version {
            continue; // Differs from Kafka: it lacks the oldest versions of some APIs.
        }
        let name = R::KEY.name();
        let _sent = client.send(version, request);
        let frame = client.receive_frame();
        let mut start = 4;
        if R::KEY.flexible().contains(version) && R::KEY != ApiKey::ApiVersions {
            assert_eq!(frame[4], 0, "{name} {version}: exactly one byte of tags");
            start = 5;
        }
        let mut body = Reader::new(frame.slice(start..));
        if let Err(error) = R::Response::decode(&mut body, version) {
            panic!("{name} {version}: {error}: {frame:?}");
        }
        assert_eq!(body.remaining(), 0, "{name} {version}: bytes behind the body");
    }
}

#[test]
fn every_version_of_every_api_is_answered_to_the_last_byte() {
    let mut client = Client::connect();
    let announced = client.call(2, &ApiVersionsRequest::default());
    macro_rules! check {
        ($($module:ident::$request:ident),* $(,)?) => {{
            let mut count = 0;
            $(
                check_frames(&mut client, &announced, &$module::$request::default());
                count += 1;
            )*
            count
        }};
    }
    let count = check! {
        list_offsets::ListOffsetsRequest, offset_commit::OffsetCommitRequest,
        offset_fetch::OffsetFetchRequest, leave_group::LeaveGroupRequest,
        sync_group::SyncGroupRequest, describe_groups::DescribeGroupsRequest,
        list_groups::ListGroupsRequest, create_topics::CreateTopicsRequest,
        delete_topics::DeleteTopicsRequest, delete_records::DeleteRecordsRequest,
        init_producer_id::InitProducerIdRequest,
        offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        describe_configs::DescribeConfigsRequest, alter_configs::AlterConfigsRequest,
        describe_log_dirs::DescribeLogDirsRequest, create_partitions::CreatePartitionsRequest,
        delete_groups::DeleteGroupsRequest,
        incremental_alter_configs::IncrementalAlterConfigsRequest,
        offset_delete::OffsetDeleteRequest, describe_cluster::DescribeClusterRequest,
        describe_topic_partitions::DescribeTopicPartitionsRequest,
        add_partitions_to_txn::AddPartitionsToTxnRequest,
        add_offsets_to_txn::AddOffsetsToTxnRequest, end_txn::EndTxnRequest,
        write_txn_markers::WriteTxnMarkersRequest, txn_offset_commit::TxnOffsetCommitRequest,
        describe_producers::DescribeProducersRequest,
        describe_transactions::DescribeTransactionsRequest,
        list_transactions::ListTransactionsRequest,
    };
    let produce = ProduceRequest { acks: -1, ..Default::default() };
    check_frames(&mut client, &announced, &produce);
    check_frames(&mut client, &announced, &FetchRequest::default());
    check_frames(&mut client, &announced, &MetadataRequest::default());
    check_frames(&mut client, &announced, &FindCoordinatorRequest::default());
    check_frames(&mut client, &announced, &JoinGroupRequest::default());
    check_frames(&mut client, &announced, &HeartbeatRequest::default());
    check_frames(&mut client, &announced, &ApiVersionsRequest::default());
    assert_eq!(count + 7, ApiKey::ALL.len(), "no API is left out");
}

#[test]
fn bytes_behind_a_request_are_ignored() {
    let mut client = Client::connect();
    let name = kit::topic(&mut client, 1);
    // librdkafka leaves the room of a count in its request for all topics.
    let all_topics = [0, 0, 0, 0, 1, 0, 0];
    client.send_frame(&[&header(3, 13, 5, true)[..], &all_topics].concat());
    let mut reader = Reader::new(client.receive_frame());
    assert_eq!((reader.i32().unwrap(), reader.u8().unwrap()), (5, 0));
    let response = MetadataResponse::decode(&mut reader, 13).unwrap();
    assert!(response.topics.iter().any(|topic| topic.name.as_deref() == Some(&name)));
    client.call(4, &brokers_only());
}

#[test]
fn unknown_tagged_fields_are_passed_over() {
    let mut client = Client::connect();
    let mut writer = Writer::new();
    writer.raw(&header(3, 9, 5, false));
    writer.raw(&[2, 100, 3, b'a', b'b', b'c', 101, 0]); // Two tags in the header ...
    writer.raw(&[1, 0, 0, 0, 1, 77, 1, 9]); // ... and one behind the body.
    client.send_frame(writer.as_slice());
    let mut reader = Reader::new(client.receive_frame());
    assert_eq!((reader.i32().unwrap(), reader.u8().unwrap()), (5, 0));
    let response = MetadataResponse::decode(&mut reader, 9).unwrap();
    assert_eq!((response.brokers.len(), response.topics.len()), (1, 0));
}

#[test]
fn pipelined_requests_are_answered_in_order_behind_a_fetch_that_waits() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let fetch = FetchRequest { max_wait_ms: 500, ..kit::fetch_request(&topic, 0, 0) };
    let heartbeat = HeartbeatRequest { group_id: unique("group"), ..Default::default() };
    let (first, fetch) = client.frame(11, &fetch);
    let (second, heartbeat) = client.frame(3, &heartbeat);
    let (third, metadata) = client.frame(8, &brokers_only());
    let clock = Clock::system();
    client.send_raw(&[first, second, third].concat());
    let response = client.receive(fetch);
    assert!(clock.elapsed() >= Duration::from_millis(495), "after {:?}", clock.elapsed());
    assert!(kit::only_partition(&response).records.is_empty());
    assert_eq!(client.receive(heartbeat).error_code, ErrorCode::UnknownMemberId);
    assert_eq!(client.receive(metadata).brokers.len(), 1);
}

#[test]
fn pipelined_produces_are_stored_in_their_order() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let mut frames = Vec::new();
    let mut all_sent = Vec::new();
    for index in 0..50 {
        let request = kit::produce_request(&topic, 0, Batch::of(&[&index.to_string()]));
        let (frame, sent) = client.frame(9, &request);
        frames.extend(frame);
        all_sent.push(sent);
    }
    client.send_raw(&frames);
    for (index, sent) in (0..).zip(all_sent) {
        let response = client.receive(sent);
        assert_eq!(response.responses[0].partition_responses[0].base_offset, index);
    }
}

#[test]
fn frames_may_come_byte_by_byte_or_several_at_once() {
    let mut client = Client::connect();
    let (frame, sent) = client.frame(9, &brokers_only());
    for byte in &frame {
        client.send_raw(&[*byte]);
    }
    assert_eq!(client.receive(sent).brokers.len(), 1);
    let (one, first) = client.frame(1, &MetadataRequest::default());
    let (two, second) = client.frame(9, &brokers_only());
    let (three, third) = client.frame(0, &FindCoordinatorRequest::default());
    let all = [one, two, three].concat();
    // The second frame begins in one segment and ends in another.
    client.send_raw(&all[..all.len() - 30]);
    client.receive(first);
    client.send_raw(&all[all.len() - 30..]);
    assert_eq!(client.receive(second).brokers.len(), 1);
    client.receive(third);
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answer() {
    let mut client = Client::connect();
    let (frame, sent) = client.frame(9, &brokers_only());
    client.send_raw(&frame);
    client.finish_sending();
    assert_eq!(client.receive(sent).brokers.len(), 1);
    client.expect_closed();
}

#[test]
fn a_request_whose_sender_is_gone_has_its_effect() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let mut hasty = Client::connect();
    let _ = hasty.send(9, &kit::produce_request(&topic, 0, Batch::of(&["kept"])));
    drop(hasty);
    kit::until("the record is there", || kit::end_offset(&mut client, &topic, 0) == 1);
}

#[test]
fn client_ids_may_be_null_empty_or_long() {
    for client_id in [None, Some(String::new()), Some("ü".repeat(16_000))] {
        let mut client = Client::connect();
        client.client_id = client_id;
        assert_eq!(client.call(1, &MetadataRequest::default()).brokers.len(), 1);
        assert_eq!(client.call(9, &brokers_only()).brokers.len(), 1);
    }
}

#[test]
fn a_client_id_that_is_no_text_harms_nobody() {
    let mut client = Client::connect();
    let mut frame = header(3, 1, 1, false);
    let start = frame.len() - "conformance".len();
    frame[start..].fill(0xff);
    client.send_frame(&[&frame[..], &[0, 0, 0, 0]].concat());
    // Answered or closed; Kafka answers. The broker lives either way.
    Client::connect().call(4, &brokers_only());
}

#[test]
fn a_produce_without_acknowledgement_is_not_answered() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for version in [3, 7, 9, 11] {
        let batch = Batch::of(&["silent"]);
        let request = ProduceRequest { acks: 0, ..kit::produce_request(&topic, 0, batch) };
        let _ = client.send(version, &request);
        // The next thing the broker says is the answer to this:
        client.call(4, &brokers_only());
    }
    kit::until("all are stored", || kit::end_offset(&mut client, &topic, 0) == 4);
}

#[test]
fn a_failed_produce_without_acknowledgement_ends_the_connection() {
    let mut client = Client::connect();
    let request = kit::produce_request(&unique("no-topic"), 0, Batch::of(&["lost"]));
    let _ = client.send(9, &ProduceRequest { acks: 0, ..request });
    client.expect_closed();
}

#[test]
fn many_connections_are_served_at_once() {
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect()).collect();
    let mut all_sent = Vec::new();
    for client in &mut clients {
        all_sent.push(client.send(4, &brokers_only()));
    }
    for (client, sent) in clients.iter_mut().zip(all_sent).rev() {
        assert_eq!(client.receive(sent).brokers.len(), 1);
    }
}

#[test]
fn a_correlation_id_comes_back_whatever_it_is() {
    let mut client = Client::connect();
    for correlation_id in [0, -1, i32::MIN, i32::MAX] {
        let frame = [&header(3, 1, correlation_id, false)[..], &[0, 0, 0, 0]].concat();
        client.send_frame(&frame);
        let answer: Bytes = client.receive_frame();
        assert_eq!(answer[..4], correlation_id.to_be_bytes());
    }
}
