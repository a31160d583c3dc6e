//! One file an API: from the request as decoded, through the broker, to the response.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
pub(super) mod api_versions;
mod commits;
mod config_resources;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod end_txn;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod txn_offset_commit;
mod write_txn_markers;

use super::connection::Answer;
use super::dispatch::{Cx, later, now};
use crate::codec::Reader;
use crate::groups::{Command, Reply};
use crate::protocol::{ApiKey, ErrorCode};

/// Calls the handler of the request's API.
pub(super) fn route(cx: Cx, reader: Reader) -> Answer {
    match cx.call.api {
        ApiKey::Produce => produce::handle(cx, reader),
        ApiKey::Fetch => fetch::handle(cx, reader),
        ApiKey::ListOffsets => now(&cx, reader, list_offsets::handle),
        ApiKey::Metadata => later(cx, reader, metadata::handle),
        ApiKey::OffsetCommit => later(cx, reader, offset_commit::handle),
        ApiKey::OffsetFetch => later(cx, reader, offset_fetch::handle),
        ApiKey::FindCoordinator => now(&cx, reader, find_coordinator::handle),
        ApiKey::JoinGroup => later(cx, reader, join_group::handle),
        ApiKey::Heartbeat => later(cx, reader, heartbeat::handle),
        ApiKey::LeaveGroup => later(cx, reader, leave_group::handle),
        ApiKey::SyncGroup => later(cx, reader, sync_group::handle),
        ApiKey::DescribeGroups => later(cx, reader, describe_groups::handle),
        ApiKey::ListGroups => later(cx, reader, list_groups::handle),
        ApiKey::ApiVersions => api_versions::answer(&cx.call, reader),
        ApiKey::InitProducerId => later(cx, reader, init_producer_id::handle),
        ApiKey::AddPartitionsToTxn => later(cx, reader, add_partitions_to_txn::handle),
        ApiKey::AddOffsetsToTxn => later(cx, reader, add_offsets_to_txn::handle),
        ApiKey::EndTxn => later(cx, reader, end_txn::handle),
        ApiKey::WriteTxnMarkers => later(cx, reader, write_txn_markers::handle),
        ApiKey::TxnOffsetCommit => later(cx, reader, txn_offset_commit::handle),
        ApiKey::DescribeProducers => now(&cx, reader, describe_producers::handle),
        ApiKey::DescribeTransactions => later(cx, reader, describe_transactions::handle),
        ApiKey::ListTransactions => later(cx, reader, list_transactions::handle),
        ApiKey::DeleteGroups => later(cx, reader, delete_groups::handle),
        ApiKey::OffsetDelete => later(cx, reader, offset_delete::handle),
        ApiKey::CreateTopics => later(cx, reader, create_topics::handle),
        ApiKey::DeleteTopics => later(cx, reader, delete_topics::handle),
        ApiKey::CreatePartitions => later(cx, reader, create_partitions::handle),
        ApiKey::DeleteRecords => now(&cx, reader, delete_records::handle),
        ApiKey::OffsetForLeaderEpoch => now(&cx, reader, offset_for_leader_epoch::handle),
        ApiKey::DescribeConfigs => now(&cx, reader, describe_configs::handle),
        ApiKey::AlterConfigs => later(cx, reader, alter_configs::handle),
        ApiKey::IncrementalAlterConfigs => later(cx, reader, incremental_alter_configs::handle),
        ApiKey::DescribeLogDirs => now(&cx, reader, describe_log_dirs::handle),
        ApiKey::DescribeCluster => now(&cx, reader, describe_cluster::handle),
        ApiKey::DescribeTopicPartitions => now(&cx, reader, describe_topic_partitions::handle),
    }
}

/// Asks the group coordinator; `pick` takes the reply of the command's own kind.
async fn group_call<T>(
    cx: &Cx,
    command: Command,
    pick: impl FnOnce(Reply) -> Option<T>,
) -> Result<T, ErrorCode> {
    match cx.broker.groups().call(command).await {
        Ok(reply) => pick(reply).ok_or(ErrorCode::UnknownServerError),
        Err(error) => Err((&error).into()),
    }
}
