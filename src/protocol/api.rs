//! The table of APIs: every key that is served, its messages, and its versions. ApiVersions answers
//! from it, the dispatcher gates by it, the headers follow from it.

use crate::codec::{DecodeError, Message, Reader, Versions};

use super::messages::*;

/// A request that has a key and a response.
pub trait Request: Message {
    /// Its key.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Message;
}

/// Makes the enum of keys, with what is known of each.
macro_rules! api_keys {
    ($(
        $name:ident = $code:literal, advertise $from:literal - $to:literal $(serve $least:literal+)?,
        $module:ident::{$request:ident => $response:ident};
    )*) => {
        /// An API that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!(stringify!($name), ", versions ", $from, "-", $to, ".")]
                $name = $code,
            )*
        }

        impl ApiKey {
            /// Every key, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The key with this number, if it is served.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name for it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The versions that ApiVersions tells.
            pub const fn advertised(self) -> Versions {
                match self {
                    $(Self::$name => Versions::between($from, $to),)*
                }
            }

            /// The versions that are answered.
            pub const fn served(self) -> Versions {
                match self {
                    $(Self::$name => Versions::between(api_keys!(@least $from $($least)?), $to),)*
                }
            }

            /// The versions with compact lengths and tagged fields.
            pub const fn flexible(self) -> Versions {
                match self {
                    $(Self::$name => <$module::$request as Message>::FLEXIBLE,)*
                }
            }

            /// Reads a request of this API and drops it: whether it is well-formed. What fuzzing
            /// drives.
            ///
            /// # Errors
            /// As [`Message::decode`].
            pub fn check_request(
                self,
                version: i16,
                reader: &mut Reader,
            ) -> Result<(), DecodeError> {
                match self {
                    $(Self::$name => $module::$request::decode(reader, version).map(drop),)*
                }
            }
        }

        $(
            impl Request for $module::$request {
                const KEY: ApiKey = ApiKey::$name;
                type Response = $module::$response;
            }

            const _: () = {
                use $module::{$request, $response};
                let served = ApiKey::$name.served();
                let (request, response) =
                    (<$request as Message>::VERSIONS, <$response as Message>::VERSIONS);
                assert!(request.contains(served.min) && request.contains(served.max));
                assert!(response.contains(served.min) && response.contains(served.max));
                let flexible = (<$request as Message>::FLEXIBLE, <$response as Message>::FLEXIBLE);
                assert!(flexible.0.min == flexible.1.min && flexible.0.max == flexible.1.max);
            };
        )*

        /// Calls a macro with the messages of every key, as they stand in the table.
        #[cfg(test)]
        macro_rules! for_each_api {
            ($callback:ident) => { $callback! { $($module::{$request => $response};)* } };
        }
        #[cfg(test)]
        pub(crate) use for_each_api;
    };
    (@least $from:literal) => { $from };
    (@least $from:literal $least:literal) => { $least };
}

// Produce is advertised from 0 and served from 3, as Kafka does: librdkafka up to 2.11.0 compresses
// only where version 0 is in the range (KAFKA-18659). Minimums below Kafka 4's keep old clients
// working: JoinGroup 0 and 1 (kafka-go, brod), ListOffsets 0, CreateTopics 0, DeleteTopics 0.
api_keys! {
    Produce = 0, advertise 0-13 serve 3+,
        produce::{ProduceRequest => ProduceResponse};
    Fetch = 1, advertise 4-18,
        fetch::{FetchRequest => FetchResponse};
    ListOffsets = 2, advertise 0-10,
        list_offsets::{ListOffsetsRequest => ListOffsetsResponse};
    Metadata = 3, advertise 0-13,
        metadata::{MetadataRequest => MetadataResponse};
    OffsetCommit = 8, advertise 2-10,
        offset_commit::{OffsetCommitRequest => OffsetCommitResponse};
    OffsetFetch = 9, advertise 1-10,
        offset_fetch::{OffsetFetchRequest => OffsetFetchResponse};
    FindCoordinator = 10, advertise 0-6,
        find_coordinator::{FindCoordinatorRequest => FindCoordinatorResponse};
    JoinGroup = 11, advertise 0-9,
        join_group::{JoinGroupRequest => JoinGroupResponse};
    Heartbeat = 12, advertise 0-4,
        heartbeat::{HeartbeatRequest => HeartbeatResponse};
    LeaveGroup = 13, advertise 0-5,
        leave_group::{LeaveGroupRequest => LeaveGroupResponse};
    SyncGroup = 14, advertise 0-5,
        sync_group::{SyncGroupRequest => SyncGroupResponse};
    DescribeGroups = 15, advertise 0-6,
        describe_groups::{DescribeGroupsRequest => DescribeGroupsResponse};
    ListGroups = 16, advertise 0-5,
        list_groups::{ListGroupsRequest => ListGroupsResponse};
    ApiVersions = 18, advertise 0-4,
        api_versions::{ApiVersionsRequest => ApiVersionsResponse};
    CreateTopics = 19, advertise 0-7,
        create_topics::{CreateTopicsRequest => CreateTopicsResponse};
    DeleteTopics = 20, advertise 0-6,
        delete_topics::{DeleteTopicsRequest => DeleteTopicsResponse};
    DeleteRecords = 21, advertise 0-2,
        delete_records::{DeleteRecordsRequest => DeleteRecordsResponse};
    InitProducerId = 22, advertise 0-5,
        init_producer_id::{InitProducerIdRequest => InitProducerIdResponse};
    OffsetForLeaderEpoch = 23, advertise 2-4,
        offset_for_leader_epoch::{OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse};
    AddPartitionsToTxn = 24, advertise 0-5,
        add_partitions_to_txn::{AddPartitionsToTxnRequest => AddPartitionsToTxnResponse};
    AddOffsetsToTxn = 25, advertise 0-4,
        add_offsets_to_txn::{AddOffsetsToTxnRequest => AddOffsetsToTxnResponse};
    EndTxn = 26, advertise 0-5,
        end_txn::{EndTxnRequest => EndTxnResponse};
    WriteTxnMarkers = 27, advertise 1-2,
        write_txn_markers::{WriteTxnMarkersRequest => WriteTxnMarkersResponse};
    TxnOffsetCommit = 28, advertise 0-5,
        txn_offset_commit::{TxnOffsetCommitRequest => TxnOffsetCommitResponse};
    DescribeConfigs = 32, advertise 1-4,
        describe_configs::{DescribeConfigsRequest => DescribeConfigsResponse};
    AlterConfigs = 33, advertise 0-2,
        alter_configs::{AlterConfigsRequest => AlterConfigsResponse};
    DescribeLogDirs = 35, advertise 1-4,
        describe_log_dirs::{DescribeLogDirsRequest => DescribeLogDirsResponse};
    CreatePartitions = 37, advertise 0-3,
        create_partitions::{CreatePartitionsRequest => CreatePartitionsResponse};
    DeleteGroups = 42, advertise 0-2,
        delete_groups::{DeleteGroupsRequest => DeleteGroupsResponse};
    IncrementalAlterConfigs = 44, advertise 0-1,
        incremental_alter_configs::{IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse};
    OffsetDelete = 47, advertise 0-0,
        offset_delete::{OffsetDeleteRequest => OffsetDeleteResponse};
    DescribeCluster = 60, advertise 0-2,
        describe_cluster::{DescribeClusterRequest => DescribeClusterResponse};
    DescribeProducers = 61, advertise 0-0,
        describe_producers::{DescribeProducersRequest => DescribeProducersResponse};
    DescribeTransactions = 65, advertise 0-0,
        describe_transactions::{DescribeTransactionsRequest => DescribeTransactionsResponse};
    ListTransactions = 66, advertise 0-2,
        list_transactions::{ListTransactionsRequest => ListTransactionsResponse};
    DescribeTopicPartitions = 75, advertise 0-0,
        describe_topic_partitions::{DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse};
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// 2 for flexible versions, else 1: whether tagged fields follow the client id.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.flexible().contains(version) { 2 } else { 1 }
    }

    /// 1 for flexible versions, else 0: whether tagged fields follow the correlation id.
    pub const fn response_header_version(self, version: i16) -> i16 {
        // A client whose ApiVersions is too new for the broker must still find the error code.
        if matches!(self, Self::ApiVersions) || !self.flexible().contains(version) { 0 } else { 1 }
    }
}
