//! Fetch (API 1): whole batches from the offset on, limits that never starve a reader, and a wait
//! that ends when there is something to tell.

use std::time::Duration;

use ottla::clock::Clock;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::fetch::{FetchRequest, FetchResponse};
use uuid::Uuid;

use super::batch::{Batch, Stored};
use super::broker;
use super::client::Client;
use super::kit::{self, FETCH};

fn waiting(request: FetchRequest, max_wait_ms: i32, min_bytes: i32) -> FetchRequest {
    FetchRequest { max_wait_ms, min_bytes, ..request }
}

fn batch_counts(response: &FetchResponse) -> Vec<usize> {
    let partitions = &response.responses[0].partitions;
    partitions.iter().map(|data| Stored::all(&kit::record_bytes(data)).len()).collect()
}

#[test]
fn every_version_reads_what_is_stored() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b"]));
    let id = kit::topic_id(&mut client, &topic);
    for version in 4..=18 {
        let mut request = kit::fetch_request(&topic, 0, 0);
        request.topics[0].topic_id = id;
        let response = client.call(version, &request);
        let (name, topic_id) = (&response.responses[0].topic, response.responses[0].topic_id);
        assert_eq!(*name, if version < 13 { topic.as_str() } else { "" }, "version {version}");
        assert_eq!(topic_id, if version < 13 { Uuid::nil() } else { id }, "version {version}");
        let data = kit::only_partition(&response);
        assert_eq!((data.partition_index, data.error_code), (0, ErrorCode::None));
        assert_eq!((data.high_watermark, data.last_stable_offset), (2, 2));
        assert_eq!(data.log_start_offset, if version < 5 { -1 } else { 0 });
        assert_eq!(data.aborted_transactions, None, "nobody reads committed");
        assert_eq!(data.preferred_read_replica, -1);
        assert_eq!(Stored::all(&kit::record_bytes(&data))[0].record_count, 2);
        assert_eq!((response.session_id, response.throttle_time_ms), (0, 0));
    }
}

#[test]
fn reading_committed_lists_no_aborted_transactions_rather_than_null() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]));
    for offset in [0, 1] {
        let request = FetchRequest { isolation_level: 1, ..kit::fetch_request(&topic, 0, offset) };
        let data = kit::only_partition(&client.call(FETCH, &request));
        assert_eq!(data.aborted_transactions, Some(Vec::new()), "offset {offset}");
        assert_eq!(data.last_stable_offset, 1);
    }
}

#[test]
fn no_records_are_no_bytes_and_not_null() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for (version, expected) in [(4, &[0; 4][..]), (11, &[0; 4]), (12, &[1, 0, 0, 0])] {
        let sent = client.send(version, &kit::fetch_request(&topic, 0, 0));
        let body = client.receive_body(sent);
        // The length of the records is the last field, but for three empty lists of tags.
        assert!(body.ends_with(expected), "version {version}: {body:?}");
    }
}

#[test]
fn an_empty_partition_is_waited_for_and_then_told_empty() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]));
    let request = waiting(kit::fetch_request(&topic, 0, 1), 300, 1);
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let clock = Clock::system();
        let data = kit::only_partition(&client.call(FETCH, &request));
        fastest = fastest.min(clock.elapsed());
        assert!(data.records.is_empty());
        assert_eq!((data.error_code, data.high_watermark), (ErrorCode::None, 1));
        assert_eq!((data.last_stable_offset, data.log_start_offset), (1, 0));
    }
    // Of three, so that a busy machine is not taken for a slow broker.
    assert!(fastest >= Duration::from_millis(295), "after {fastest:?}");
    assert!(fastest < Duration::from_millis(350), "after {fastest:?}");
}

#[test]
fn a_waiting_fetch_wakes_when_a_record_comes() {
    let (mut reader, mut writer) = (Client::connect(), Client::connect());
    let topic = kit::topic(&mut writer, 1);
    let mut fastest = Duration::MAX;
    for offset in 0..20 {
        let request = waiting(kit::fetch_request(&topic, 0, offset), 30_000, 1);
        let sent = reader.send(FETCH, &request);
        kit::produced(&mut writer, &topic, 0, Batch::of(&["wake"]));
        let clock = Clock::system();
        let data = kit::only_partition(&reader.receive(sent));
        fastest = fastest.min(clock.elapsed());
        assert_eq!(Stored::all(&kit::record_bytes(&data))[0].base_offset, offset);
    }
    // Of twenty, so that a busy machine is not taken for a slow broker.
    assert!(fastest < Duration::from_millis(10), "{fastest:?} after the append");
}

#[test]
fn a_fetch_waits_for_as_many_bytes_as_it_asks_for() {
    let (mut reader, mut writer) = (Client::connect(), Client::connect());
    let topic = kit::topic(&mut writer, 2);
    let size = i32::try_from(Batch::of(&["x"]).bytes().len()).unwrap();
    let request = waiting(kit::fetch_from(&topic, &[(0, 0), (1, 0)]), 30_000, 3 * size);
    let sent = reader.send(FETCH, &request);
    for partition in [0, 1, 0] {
        kit::produced(&mut writer, &topic, partition, Batch::of(&["x"]));
    }
    assert_eq!(batch_counts(&reader.receive(sent)), [2, 1], "bytes of all partitions count");
}

#[test]
fn a_fetch_does_not_wait_when_there_is_something_to_tell() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]));
    let nothing = FetchRequest::default();
    for (what, request) in [
        ("records", kit::fetch_from(&topic, &[(0, 0), (1, 0)])),
        ("nothing but unknown partitions", kit::fetch_from(&topic, &[(98, 0), (99, 0)])),
        ("an offset out of range", kit::fetch_from(&topic, &[(1, 0), (0, 99)])),
        ("no partitions", nothing),
    ] {
        let clock = Clock::system();
        client.call(FETCH, &waiting(request, 20_000, 1));
        assert!(clock.elapsed() < Duration::from_secs(5), "{what}: {:?}", clock.elapsed());
    }
    let clock = Clock::system();
    client.call(FETCH, &waiting(kit::fetch_request(&topic, 1, 0), 20_000, 0));
    assert!(clock.elapsed() < Duration::from_secs(5), "no bytes wanted: {:?}", clock.elapsed());
}

#[test]
fn beside_what_does_not_exist_a_partition_is_waited_for() {
    let (mut reader, mut writer) = (Client::connect(), Client::connect());
    let topic = kit::topic(&mut writer, 1);
    let mut by_name = kit::fetch_from(&topic, &[(0, 0), (99, 0)]);
    by_name.topics.extend(kit::fetch_request(&kit::unique("absent"), 0, 0).topics);
    let mut by_id = kit::fetch_request(&topic, 0, 1); // Behind the record of the first round.
    by_id.topics[0].topic_id = kit::topic_id(&mut writer, &topic);
    by_id.topics.extend(kit::fetch_request("", 0, 0).topics);
    by_id.topics[1].topic_id = Uuid::new_v4();
    for (version, request) in [(FETCH, by_name), (18, by_id)] {
        let clock = Clock::system();
        let response = reader.call(version, &waiting(request.clone(), 300, 1));
        assert!(clock.elapsed() >= Duration::from_millis(295), "after {:?}", clock.elapsed());
        let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
        let errors = rows.filter(|row| row.error_code.is_error()).count();
        assert_eq!(errors, request.topics.iter().map(|it| it.partitions.len()).sum::<usize>() - 1);
        // A record for the good one ends the wait.
        let sent = reader.send(version, &waiting(request, 25_000, 1));
        kit::produced(&mut writer, &topic, 0, Batch::of(&["come"]));
        let clock = Clock::system();
        let _unread = reader.receive(sent);
        assert!(clock.elapsed() < Duration::from_secs(10), "after {:?}", clock.elapsed());
    }
}

#[test]
fn the_first_batch_comes_whole_whatever_the_limits() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 3);
    let large = "x".repeat(900_000);
    for partition in 0..3 {
        kit::produced(&mut client, &topic, partition, Batch::of(&[&large]));
        kit::produced(&mut client, &topic, partition, Batch::of(&["small"]));
    }
    let all = [(0, 0), (1, 0), (2, 0)];
    let request = FetchRequest { max_bytes: 1, ..kit::fetch_from(&topic, &all) };
    assert_eq!(batch_counts(&client.call(FETCH, &request)), [1, 0, 0], "max_bytes 1");
    let mut request = kit::fetch_from(&topic, &all);
    for partition in &mut request.topics[0].partitions {
        partition.partition_max_bytes = 1;
    }
    let counts = batch_counts(&client.call(FETCH, &request));
    assert_eq!(counts, [1, 0, 0], "partition_max_bytes 1");
    // Nothing in the first partition: the second one's first batch is whole.
    let request =
        FetchRequest { max_bytes: 1, ..kit::fetch_from(&topic, &[(0, 2), (1, 0), (2, 1)]) };
    assert_eq!(batch_counts(&client.call(FETCH, &request)), [0, 1, 0]);
    // Room for one and a half: of the second not a part that could be taken for the whole.
    let mut request = kit::fetch_from(&topic, &all);
    request.max_bytes = 1_300_000;
    assert_eq!(batch_counts(&client.call(FETCH, &request)), [2, 0, 0]);
}

#[test]
fn many_batches_come_up_to_the_limit() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let batch = Batch::of(&[&"x".repeat(1_000)]).bytes();
    for _ in 0..50 {
        kit::produced(&mut client, &topic, 0, batch.clone());
    }
    let mut request = kit::fetch_request(&topic, 0, 7);
    request.topics[0].partitions[0].partition_max_bytes =
        i32::try_from(batch.len() * 10 + batch.len() / 2).unwrap();
    let data = kit::only_partition(&client.call(FETCH, &request));
    let batches = Stored::all(&kit::record_bytes(&data));
    assert_eq!((batches.len(), batches[0].base_offset), (10, 7));
    let all = kit::stored(&mut client, &topic, 0, 0);
    assert_eq!(all.len(), 50);
    assert!(all.iter().zip(0..).all(|(batch, offset)| batch.base_offset == offset));
}

#[test]
fn an_offset_inside_a_batch_brings_the_whole_batch() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    for codec in [0, 1] {
        let base = kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b", "c"]).codec(codec));
        for offset in base..base + 3 {
            let batches = kit::stored(&mut client, &topic, 0, offset);
            assert_eq!((batches[0].base_offset, batches[0].record_count), (base, 3));
        }
    }
}

#[test]
fn offsets_out_of_range_are_error_1_and_the_end_is_not() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a", "b"]));
    for offset in [-1, 3, 1_000_000, i64::MAX, i64::MIN] {
        let data = kit::fetch(&mut client, &topic, 0, offset);
        assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange, "offset {offset}");
        assert!(data.records.is_empty());
        assert_eq!(data.aborted_transactions, None);
        let told = (data.high_watermark, data.last_stable_offset, data.log_start_offset);
        assert_eq!(told, (-1, -1, -1), "as Kafka 4.3.1 does, and unlike its documents");
    }
    let data = kit::fetch(&mut client, &topic, 0, 2);
    assert_eq!((data.error_code, data.high_watermark), (ErrorCode::None, 2));
}

#[test]
fn unknown_topics_and_partitions_are_told_each_by_its_error() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let absent = kit::unique("absent");
    for (name, partition) in [(&absent, 0), (&topic, 99), (&topic, -1)] {
        let data = kit::fetch(&mut client, name, partition, 0);
        assert_eq!(data.error_code, ErrorCode::UnknownTopicOrPartition);
        assert_eq!((data.high_watermark, data.last_stable_offset), (-1, -1));
        assert_eq!((data.log_start_offset, data.records.is_empty()), (-1, true));
    }
    for version in 13..=18 {
        let mut request = kit::fetch_request("", 0, 0);
        request.topics[0].topic_id = Uuid::new_v4();
        let data = kit::only_partition(&client.call(version, &request));
        assert_eq!(data.error_code, ErrorCode::UnknownTopicId, "version {version}");
        assert_eq!(data.high_watermark, -1);
    }
}

#[test]
fn leader_epochs_are_compared_when_they_are_given() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]));
    let current = kit::describe(&mut client, &topic).partitions[0].leader_epoch;
    for (epoch, expected) in [
        (-1, ErrorCode::None),
        (current, ErrorCode::None),
        (current + 1, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut request = kit::fetch_request(&topic, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let data = kit::only_partition(&client.call(11, &request));
        assert_eq!(data.error_code, expected, "epoch {epoch}");
    }
    for (epoch, expected) in [
        (-1, ErrorCode::None),
        (current, ErrorCode::None),
        (current + 1, { ErrorCode::OffsetOutOfRange }),
    ] {
        let mut request = kit::fetch_request(&topic, 0, 1);
        request.topics[0].partitions[0].last_fetched_epoch = epoch;
        let data = kit::only_partition(&client.call(12, &request));
        assert_eq!(data.error_code, expected, "last fetched epoch {epoch}");
    }
}

#[test]
fn zstd_is_served_as_it_is_to_old_versions_too() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]).codec(4));
    for version in [4, 9, 10] {
        let response = client.call(version, &kit::fetch_request(&topic, 0, 0));
        let data = kit::only_partition(&response);
        assert_eq!(data.error_code, ErrorCode::None);
        assert_eq!(Stored::all(&kit::record_bytes(&data))[0].attributes, 4);
    }
}

#[test]
fn sessions_are_declined_and_unknown_ones_refused() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    kit::produced(&mut client, &topic, 0, Batch::of(&["a"]));
    let of_session = |session_id, session_epoch| FetchRequest {
        session_id,
        session_epoch,
        ..kit::fetch_request(&topic, 0, 0)
    };
    for version in [7, 11, 12] {
        let response = client.call(version, &of_session(0, -1));
        assert_eq!(response.session_id, 0);
        kit::only_partition(&response);
        let response = client.call(version, &of_session(0, 0));
        // Differs from Kafka: session id 0 is the answer, which every client can live with.
        assert_eq!(response.session_id != 0, broker::shared().is_kafka());
        kit::only_partition(&response);
        let response = client.call(version, &of_session(7, 3));
        assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound);
        assert_eq!((response.session_id, response.responses.len()), (0, 0));
        let closing = FetchRequest { topics: Vec::new(), ..of_session(0, -1) };
        let clock = Clock::system();
        let response = client.call(version, &waiting(closing, 20_000, 1));
        assert_eq!((response.error_code, response.session_id), (ErrorCode::None, 0));
        assert!(response.responses.is_empty());
        assert!(clock.elapsed() < Duration::from_secs(5), "an empty fetch does not wait");
        // What the Java client says when it closes: end session 7, nothing wanted.
        let response = client.call(version, &of_session(7, -1));
        assert_eq!((response.error_code, response.session_id), (ErrorCode::None, 0));
        kit::only_partition(&response);
    }
}

#[test]
fn a_topic_deleted_under_a_waiting_fetch_ends_the_wait() {
    let (mut reader, mut other) = (Client::connect(), Client::connect());
    let topic = kit::topic(&mut other, 1);
    let clock = Clock::system();
    let sent = reader.send(FETCH, &waiting(kit::fetch_request(&topic, 0, 0), 25_000, 1));
    let request = ottla::protocol::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec![topic],
        timeout_ms: 30_000,
        ..Default::default()
    };
    assert_eq!(other.call(5, &request).responses[0].error_code, ErrorCode::None);
    let data = kit::only_partition(&reader.receive(sent));
    assert!(data.records.is_empty());
    assert!(clock.elapsed() < Duration::from_secs(20), "after {:?}", clock.elapsed());
}
