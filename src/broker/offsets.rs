//! Looking up offsets: by position, by time, by leader epoch; and moving a partition's start.

use std::sync::Arc;

use super::Broker;
use super::fetch::{FetchError, check_epoch};
use crate::log::EpochEnd;
use crate::partition::{AppendError, Isolation, Partition, ReadError};
use crate::types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

/// What to look for in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The end of what may be read.
    Latest,
    /// The first readable offset.
    Earliest,
    /// The first record that has the largest timestamp.
    MaxTimestamp,
    /// The end of what lies in tiered storage: there is none.
    Tiered,
    /// The first record at or after this time.
    At(Timestamp),
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// Where.
    pub offset: Offset,
    /// The record's time, where one was looked for.
    pub timestamp: Option<Timestamp>,
    /// The leader epoch of that offset.
    pub leader_epoch: LeaderEpoch,
}

/// Why records are not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// No such topic or partition, or not ours.
    #[error(transparent)]
    Partition(#[from] FetchError),
    /// Only the broker deletes from its own topics.
    #[error("{0} belongs to the broker")]
    InternalTopic(String),
    /// The topic's cleanup.policy has no `delete`.
    #[error("records of {0} are compacted, not deleted: cleanup.policy has no delete")]
    NotDeletable(String),
    /// Below 0 or beyond the high watermark.
    #[error("offset {asked} is beyond the high watermark {high_watermark}")]
    OutOfRange {
        /// What was asked for.
        asked: Offset,
        /// The end of what can be deleted.
        high_watermark: Offset,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] AppendError),
}

impl Broker {
    /// A partition by its topic's name, if this node leads it.
    pub fn partition(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Result<Arc<Partition>, FetchError> {
        let topic = self.registry.by_name(topic).ok_or(FetchError::UnknownTopicOrPartition)?;
        let partition = topic.partition(partition).ok_or(FetchError::UnknownTopicOrPartition)?;
        if partition.leader() != self.node_id {
            return Err(FetchError::NotLeader);
        }
        Ok(Arc::clone(partition))
    }

    /// ListOffsets for one partition; `None` where no record fits.
    pub fn list_offset(
        &self,
        partition: &Partition,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<FoundOffset>, FetchError> {
        check_epoch(current_leader_epoch, partition.leader_epoch)?;
        let watermarks = partition.watermarks();
        let up_to = match isolation {
            Isolation::ReadUncommitted => watermarks.high_watermark,
            Isolation::ReadCommitted => watermarks.last_stable,
        };
        let leader_epoch = partition.leader_epoch;
        let plain = |offset| Some(FoundOffset { offset, timestamp: None, leader_epoch });
        let storage = |error: crate::log::ReadError| ReadError::Storage(error.to_string());
        let reader = partition.reader()?;
        let found = match spec {
            OffsetSpec::Latest => return Ok(plain(up_to)),
            OffsetSpec::Earliest => return Ok(plain(watermarks.log_start)),
            OffsetSpec::Tiered => return Ok(None),
            OffsetSpec::MaxTimestamp => reader.max_timestamp(up_to).map_err(storage)?,
            OffsetSpec::At(time) => reader.offset_for_timestamp(time, up_to).map_err(storage)?,
        };
        Ok(found.map(|found| FoundOffset {
            offset: found.offset,
            timestamp: Some(found.timestamp),
            leader_epoch: found.leader_epoch,
        }))
    }

    /// OffsetForLeaderEpoch for one partition: the largest epoch up to `epoch` and where it ended
    /// (KIP-320); `None` where `epoch` is none or newer than ours.
    pub fn end_of_epoch(
        &self,
        partition: &Partition,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>, FetchError> {
        check_epoch(current_leader_epoch, partition.leader_epoch)?;
        Ok(partition.reader()?.epoch_end(epoch, partition.leader_epoch))
    }

    /// Makes everything before `before` unreadable; `None` stands for the high watermark. The new
    /// start is durable on return; the space is given back by the next retention run.
    pub fn delete_records(
        &self,
        partition: &Partition,
        before: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsError> {
        if super::produce::INTERNAL_TOPICS.contains(&&*partition.topic) {
            return Err(DeleteRecordsError::InternalTopic(partition.topic.to_string()));
        }
        if !partition.deletes() {
            return Err(DeleteRecordsError::NotDeletable(partition.topic.to_string()));
        }
        let high_watermark = partition.watermarks().high_watermark;
        let asked = before.unwrap_or(high_watermark);
        if asked < Offset(0) || high_watermark < asked {
            return Err(DeleteRecordsError::OutOfRange { asked, high_watermark });
        }
        partition.with_log(|log| log.advance_start(asked))?;
        Ok(partition.watermarks().log_start)
    }
}
