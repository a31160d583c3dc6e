//! What OffsetCommit and TxnOffsetCommit share: partitions that do not exist are told so, the rest goes
//! to the coordinator, and each row of the answer gets its code.

use crate::broker::{Broker, TopicRef};
use crate::groups::{GroupError, PartitionCommit, PartitionResults, TopicCommit};
use crate::protocol::ErrorCode;

/// One topic of a request.
pub(super) struct Asked {
    pub(super) topic: TopicRef,
    pub(super) partitions: Vec<PartitionCommit>,
}

/// The code of each partition, by topic, in the order of the request.
pub(super) struct Codes(Vec<Vec<ErrorCode>>);

/// What of a request is to be committed, and what is known of the rest.
pub(super) fn split(broker: &Broker, asked: Vec<Asked>) -> (Vec<TopicCommit>, Codes) {
    let mut codes = Vec::with_capacity(asked.len());
    let mut commits = Vec::with_capacity(asked.len());
    for Asked { topic, partitions } in asked {
        let (known, unknown) = match &topic {
            TopicRef::Name(name) => {
                (broker.registry.by_name(name), ErrorCode::UnknownTopicOrPartition)
            }
            TopicRef::Id(id) => (broker.registry.by_id(*id), ErrorCode::UnknownTopicId),
        };
        let Some(known) = known else {
            codes.push(vec![unknown; partitions.len()]);
            continue;
        };
        let exists = |row: &PartitionCommit| known.partition(row.partition).is_some();
        let code = |row| {
            if exists(row) { ErrorCode::None } else { ErrorCode::UnknownTopicOrPartition }
        };
        codes.push(partitions.iter().map(code).collect());
        let partitions: Vec<_> = partitions.into_iter().filter(exists).collect();
        if !partitions.is_empty() {
            commits.push(TopicCommit {
                topic: known.name.to_string(),
                topic_id: known.id,
                partitions,
            });
        }
    }
    (commits, Codes(codes))
}

impl Codes {
    /// Takes in what the coordinator said to those partitions that exist.
    pub(super) fn settle(
        &mut self,
        committed: Result<Result<Vec<PartitionResults>, GroupError>, ErrorCode>,
    ) {
        let open = self.0.iter_mut().flatten().filter(|code| !code.is_error());
        let refused = match committed {
            Ok(Ok(results)) => {
                let results = results.into_iter().flat_map(|topic| topic.partitions);
                for (code, (_, result)) in open.zip(results) {
                    if let Err(error) = result {
                        *code = (&error).into();
                    }
                }
                return;
            }
            Ok(Err(error)) => (&error).into(),
            Err(code) => code,
        };
        open.for_each(|code| *code = refused);
    }

    /// The codes, topic by topic.
    pub(super) fn into_topics(self) -> impl Iterator<Item = Vec<ErrorCode>> {
        self.0.into_iter()
    }
}
