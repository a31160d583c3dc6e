//! Idempotent producers (KIP-98): an id for each, one store of what is sent twice, and an error for
//! what does not follow.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;

use super::batch::{Batch, Record};
use super::client::Client;
use super::kit;

fn producer_id(client: &mut Client) -> i64 {
    let response = client.call(4, &InitProducerIdRequest::default());
    assert_eq!(response.error_code, ErrorCode::None);
    response.producer_id
}

fn records(count: usize) -> Batch {
    Batch::of(&vec!["v"; count])
}

/// Produces batches of one producer: `(epoch, first sequence, records) -> offset or error`.
fn check(partition_script: &[(i16, i32, usize, Result<i64, ErrorCode>)]) {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let id = producer_id(&mut client);
    for (epoch, sequence, count, expected) in partition_script {
        let batch = records(*count).producer(id, *epoch, *sequence);
        let row = kit::produce(&mut client, &topic, 0, batch);
        let got = if row.error_code.is_error() { Err(row.error_code) } else { Ok(row.base_offset) };
        assert_eq!(got, *expected, "epoch {epoch} sequence {sequence} of {count}");
    }
}

const GAP: Result<i64, ErrorCode> = Err(ErrorCode::OutOfOrderSequenceNumber);
const FENCED: Result<i64, ErrorCode> = Err(ErrorCode::InvalidProducerEpoch);

#[test]
fn ids_are_new_each_time_and_what_is_given_is_ignored() {
    let mut client = Client::connect();
    let mut ids = Vec::new();
    for version in 0..=5 {
        for (producer_id, producer_epoch) in [(-1, -1), (0, 0), (12, 3)] {
            if version < 3 && producer_id != -1 {
                continue;
            }
            let request =
                InitProducerIdRequest { producer_id, producer_epoch, ..Default::default() };
            let response = client.call(version, &request);
            assert_eq!(response.error_code, ErrorCode::None);
            assert_eq!(response.producer_epoch, 0);
            assert!(response.producer_id >= 0);
            ids.push(response.producer_id);
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "no id twice");
}

#[test]
fn what_is_sent_twice_is_stored_once() {
    check(&[
        (0, 0, 1, Ok(0)),
        (0, 1, 1, Ok(1)),
        (0, 1, 1, Ok(1)),
        (0, 0, 1, Ok(0)),
        (0, 3, 1, GAP),
        (0, 2, 3, Ok(2)),
        (0, 2, 3, Ok(2)),
        (0, 5, 1, Ok(5)),
    ]);
}

#[test]
fn a_duplicate_of_the_last_five_batches_is_known() {
    let stored: Vec<_> = (0..7).map(|index| (0, index, 1, Ok(i64::from(index)))).collect();
    let again: Vec<_> = (2..7).map(|index| (0, index, 1, Ok(i64::from(index)))).collect();
    let forgotten = [(0, 1, 1, GAP), (0, 0, 1, GAP), (0, 7, 1, Ok(7))];
    check(&[stored, again, forgotten.to_vec()].concat());
}

#[test]
fn a_batch_that_overlaps_is_no_duplicate() {
    check(&[
        (0, 0, 3, Ok(0)),
        (0, 0, 2, GAP),
        (0, 1, 2, GAP),
        (0, 2, 2, GAP),
        (0, 0, 4, GAP),
        (0, 3, 1, Ok(3)),
    ]);
}

#[test]
fn a_producer_without_history_may_begin_anywhere() {
    check(&[(0, 41, 2, Ok(0)), (0, 43, 1, Ok(2)), (0, 0, 1, GAP)]);
    check(&[(5, 3, 1, Ok(0)), (4, 4, 1, FENCED)]);
}

#[test]
fn sequences_wrap_behind_the_largest_number() {
    check(&[
        (0, i32::MAX - 1, 2, Ok(0)),
        (0, 1, 1, GAP),
        (0, 0, 1, Ok(2)),
        (0, i32::MAX - 1, 2, Ok(0)),
        (0, 1, 1, Ok(3)),
    ]);
    // A batch across the end: its last sequence is 1.
    check(&[
        (0, i32::MAX - 1, 4, Ok(0)),
        (0, i32::MAX - 1, 4, Ok(0)),
        (0, 3, 1, GAP),
        (0, 2, 1, Ok(4)),
    ]);
}

#[test]
fn a_higher_epoch_begins_at_0_and_fences_the_lower() {
    check(&[
        (0, 0, 1, Ok(0)),
        (1, 1, 1, GAP),
        (1, 0, 1, Ok(1)),
        (0, 1, 1, FENCED),
        (1, 0, 1, Ok(1)),
        (1, 1, 1, Ok(2)),
        (7, 0, 1, Ok(3)),
        (1, 2, 1, FENCED),
    ]);
}

#[test]
fn each_partition_counts_for_itself() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let id = producer_id(&mut client);
    for partition in [0, 1] {
        for sequence in 0..3 {
            let batch = records(1).producer(id, 0, sequence);
            let base = kit::produced(&mut client, &topic, partition, batch);
            assert_eq!(base, i64::from(sequence));
        }
    }
}

#[test]
fn a_duplicate_is_answered_with_the_time_of_the_first() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let id = producer_id(&mut client);
    let timestamp = kit::now_ms() - 5_000;
    let batch = Batch::records(vec![Record::at(timestamp, "v")]).producer(id, 0, 0);
    let first = kit::produce(&mut client, &topic, 0, batch.clone());
    assert_eq!(first.log_append_time_ms, -1);
    let second = kit::produce(&mut client, &topic, 0, batch);
    assert_eq!((second.error_code, second.base_offset), (ErrorCode::None, 0));
    assert_eq!(second.log_append_time_ms, timestamp);
    assert_eq!(second.log_start_offset, 0);
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 1);
}

#[test]
fn five_requests_in_flight_keep_their_sequence() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let id = producer_id(&mut client);
    let mut bytes = Vec::new();
    let mut all_sent = Vec::new();
    for sequence in (0..20).chain(15..20) {
        let batch = records(1).producer(id, 0, sequence);
        let (frame, sent) = client.frame(9, &kit::produce_request(&topic, 0, batch));
        bytes.extend(frame);
        all_sent.push((sequence, sent));
    }
    client.send_raw(&bytes);
    for (sequence, sent) in all_sent {
        let response = client.receive(sent);
        let row = &response.responses[0].partition_responses[0];
        assert_eq!(row.error_code, ErrorCode::None, "sequence {sequence}");
        assert_eq!(row.base_offset, i64::from(sequence));
    }
    assert_eq!(kit::end_offset(&mut client, &topic, 0), 20);
}

#[test]
fn a_refused_batch_leaves_the_sequence_where_it_was() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 1);
    let id = producer_id(&mut client);
    kit::produced(&mut client, &topic, 0, records(1).producer(id, 0, 0));
    let bad = Batch { crc: Some(1), ..records(1) }.producer(id, 0, 1);
    let row = kit::produce(&mut client, &topic, 0, bad);
    assert_eq!(row.error_code, ErrorCode::CorruptMessage);
    assert_eq!(kit::produced(&mut client, &topic, 0, records(1).producer(id, 0, 1)), 1);
}
