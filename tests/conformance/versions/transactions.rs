//! The rows of what concerns transactions. Each version goes through one of its own, with an id and a
//! producer that nobody else has.

use kafka_protocol::messages as theirs;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use ottla::protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla::protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use ottla::protocol::messages::describe_transactions::DescribeTransactionsRequest;
use ottla::protocol::messages::end_txn::EndTxnRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::list_transactions::ListTransactionsRequest;
use ottla::protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla::protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

use super::super::client::Client;
use super::super::kit::{self, unique};
use super::Table;

/// A transactional id and the producer that holds it.
struct Holder {
    id: String,
    producer_id: i64,
    producer_epoch: i16,
}

impl Holder {
    fn new(client: &mut Client) -> Self {
        let id = unique("txn");
        let init = InitProducerIdRequest {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let got = client.call(4, &init);
        assert_eq!(got.error_code, ErrorCode::None);
        Self { id, producer_id: got.producer_id, producer_epoch: got.producer_epoch }
    }

    /// One with an open transaction over partition 0 of `topic`.
    fn begun(client: &mut Client, topic: &str) -> Self {
        let holder = Self::new(client);
        let added = client.call(3, &holder.add(3, topic));
        let row = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(row.partition_error_code, ErrorCode::None);
        holder
    }

    fn add(&self, version: i16, topic: &str) -> AddPartitionsToTxnRequest {
        let topics = vec![AddPartitionsToTxnTopic { name: topic.to_owned(), partitions: vec![0] }];
        if version < 4 {
            return AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: self.id.clone(),
                v3_and_below_producer_id: self.producer_id,
                v3_and_below_producer_epoch: self.producer_epoch,
                v3_and_below_topics: topics,
                ..Default::default()
            };
        }
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            verify_only: false,
            topics,
        };
        AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() }
    }

    fn add_offsets(&self, group_id: &str) -> AddOffsetsToTxnRequest {
        AddOffsetsToTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            group_id: group_id.to_owned(),
        }
    }
}

pub(super) fn ask(table: &mut Table) {
    let topic = kit::topic(&mut table.client, 1);
    ask_to_add(table, &topic);
    ask_to_end(table, &topic);
    ask_as_administrator(table, &topic);
}

fn ask_to_add(table: &mut Table, topic: &str) {
    table.row::<AddPartitionsToTxnRequest, theirs::AddPartitionsToTxnResponse>(
        |client, version| Holder::new(client).add(version, topic),
        |version, response| {
            let topics = match version {
                0..4 => &response.results_by_topic_v3_and_below,
                _ => &response.results_by_transaction[0].topic_results,
            };
            topics[0].results_by_partition[0].partition_error_code
        },
    );
    table.row::<AddOffsetsToTxnRequest, theirs::AddOffsetsToTxnResponse>(
        |client, _| Holder::new(client).add_offsets(&unique("group")),
        |_, response| response.error_code,
    );
    table.row::<TxnOffsetCommitRequest, theirs::TxnOffsetCommitResponse>(
        |client, _| {
            let (holder, group_id) = (Holder::new(client), unique("group"));
            let added = client.call(3, &holder.add_offsets(&group_id));
            assert_eq!(added.error_code, ErrorCode::None);
            let partition =
                TxnOffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
            let name = topic.to_owned();
            TxnOffsetCommitRequest {
                transactional_id: holder.id,
                group_id,
                producer_id: holder.producer_id,
                producer_epoch: holder.producer_epoch,
                topics: vec![TxnOffsetCommitRequestTopic { name, partitions: vec![partition] }],
                ..Default::default()
            }
        },
        |_, response| response.topics[0].partitions[0].error_code,
    );
}

fn ask_to_end(table: &mut Table, topic: &str) {
    table.row::<EndTxnRequest, theirs::EndTxnResponse>(
        |client, _| {
            let holder = Holder::begun(client, topic);
            EndTxnRequest {
                transactional_id: holder.id,
                producer_id: holder.producer_id,
                producer_epoch: holder.producer_epoch,
                committed: true,
            }
        },
        |version, response| {
            let epoch = if version < 5 { -1 } else { 1 };
            assert_eq!(response.producer_epoch, epoch, "version {version}");
            response.error_code
        },
    );
    table.row::<WriteTxnMarkersRequest, theirs::WriteTxnMarkersResponse>(
        |client, _| {
            let holder = Holder::begun(client, topic);
            let topics =
                vec![WritableTxnMarkerTopic { name: topic.to_owned(), partition_indexes: vec![0] }];
            let marker = WritableTxnMarker {
                producer_id: holder.producer_id,
                producer_epoch: holder.producer_epoch,
                topics,
                ..Default::default()
            };
            WriteTxnMarkersRequest { markers: vec![marker] }
        },
        |_, response| response.markers[0].topics[0].partitions[0].error_code,
    );
}

fn ask_as_administrator(table: &mut Table, topic: &str) {
    table.row::<DescribeProducersRequest, theirs::DescribeProducersResponse>(
        |_, _| {
            let topic = TopicRequest { name: topic.to_owned(), partition_indexes: vec![0] };
            DescribeProducersRequest { topics: vec![topic] }
        },
        |_, response| {
            let row = &response.topics[0].partitions[0];
            assert!(!row.active_producers.is_empty(), "markers make producers known");
            row.error_code
        },
    );
    table.row::<DescribeTransactionsRequest, theirs::DescribeTransactionsResponse>(
        |client, _| {
            let transactional_ids = vec![Holder::begun(client, topic).id];
            DescribeTransactionsRequest { transactional_ids }
        },
        |_, response| {
            let row = &response.transaction_states[0];
            assert_eq!(row.transaction_state, "Ongoing");
            assert_eq!(row.topics[0].partitions, [0]);
            row.error_code
        },
    );
    table.row::<ListTransactionsRequest, theirs::ListTransactionsResponse>(
        |client, _| {
            let producer_id_filters = vec![Holder::new(client).producer_id];
            ListTransactionsRequest { producer_id_filters, ..Default::default() }
        },
        |_, response| {
            assert_eq!(response.transaction_states[0].transaction_state, "Empty");
            response.error_code
        },
    );
}
