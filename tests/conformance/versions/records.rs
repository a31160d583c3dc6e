//! The rows of what concerns records: Produce, Fetch, ListOffsets, OffsetForLeaderEpoch,
//! DeleteRecords, InitProducerId.

use kafka_protocol::messages as theirs;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::list_offsets::ListOffsetsRequest;
use ottla::protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::protocol::messages::produce::ProduceRequest;

use super::super::batch::{Batch, Stored};
use super::super::kit;
use super::Table;

pub(super) fn ask(table: &mut Table) {
    let topic = kit::topic(&mut table.client, 1);
    let id = kit::topic_id(&mut table.client, &topic);
    let batch = Batch::of(&["a record"]).bytes();
    table.row::<ProduceRequest, theirs::ProduceResponse>(
        |_, _| {
            let mut request = kit::produce_request(&topic, 0, batch.clone());
            request.topic_data[0].topic_id = id;
            request
        },
        |version, response| {
            let row = &response.responses[0].partition_responses[0];
            assert_eq!(row.base_offset, i64::from(version) - 3, "one record a version");
            row.error_code
        },
    );
    table.row::<FetchRequest, theirs::FetchResponse>(
        |_, _| {
            let mut request = kit::fetch_request(&topic, 0, 0);
            request.topics[0].topic_id = id;
            request
        },
        |version, response| {
            let row = kit::only_partition(response);
            let batches = Stored::all(&kit::record_bytes(&row));
            assert!(batches.iter().any(|stored| stored.record_count == 1), "version {version}");
            row.error_code
        },
    );
    table.row::<ListOffsetsRequest, theirs::ListOffsetsResponse>(
        |_, _| kit::list_offsets_request(&topic, 0, -2),
        |version, response| {
            let row = &response.topics[0].partitions[0];
            let start = if version == 0 { row.old_style_offsets[0] } else { row.offset };
            assert_eq!(start, 0, "version {version}");
            row.error_code
        },
    );
    ask_by_epoch_and_id(table, &topic);
}

fn ask_by_epoch_and_id(table: &mut Table, topic: &str) {
    let end = kit::end_offset(&mut table.client, topic, 0);
    table.row::<OffsetForLeaderEpochRequest, theirs::OffsetForLeaderEpochResponse>(
        |client, _| {
            let leader_epoch = kit::describe(client, topic).partitions[0].leader_epoch;
            let partition = OffsetForLeaderPartition { leader_epoch, ..Default::default() };
            let topic =
                OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![partition] };
            OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }
        },
        |_, response| {
            let row = &response.topics[0].partitions[0];
            assert_eq!(row.end_offset, end);
            row.error_code
        },
    );
    table.row::<DeleteRecordsRequest, theirs::DeleteRecordsResponse>(
        |_, version| {
            let offset = i64::from(version) + 1;
            let partition = DeleteRecordsPartition { partition_index: 0, offset };
            let topic = DeleteRecordsTopic { name: topic.to_owned(), partitions: vec![partition] };
            DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 }
        },
        |version, response| {
            let row = &response.topics[0].partitions[0];
            assert_eq!(row.low_watermark, i64::from(version) + 1);
            row.error_code
        },
    );
    table.row::<InitProducerIdRequest, theirs::InitProducerIdResponse>(
        |client, _| {
            let request =
                InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
            if client.is_kafka() {
                // Differs from Kafka: a fresh broker has no ids for a moment (14).
                let is_there = |code| code == ErrorCode::None;
                kit::until("there are ids", || is_there(client.call(0, &request).error_code));
            }
            request
        },
        |_, response| {
            let is_new = response.producer_id >= 0 && response.producer_epoch == 0;
            assert_eq!(is_new, response.error_code == ErrorCode::None);
            response.error_code
        },
    );
}
