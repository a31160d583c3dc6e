//! DescribeLogDirs (API 35, v1-4): the data folder and how much of it each partition takes
//! (KIP-113). KIP-827 (v4): what is free. Topics and partitions that are not there are left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::partition::Topic;
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::server::dispatch::Cx;

pub(super) fn handle(cx: &Cx, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = request.topics.map(wanted);
    let mut topics = BTreeMap::new();
    for topic in cx.broker.registry.topics() {
        let partitions = match &wanted {
            None => measure(&topic, |_| true),
            Some(wanted) => match wanted.get(&*topic.name) {
                Some(indexes) => measure(&topic, |index| indexes.contains(&index)),
                None => Vec::new(),
            },
        };
        if !partitions.is_empty() {
            topics.insert(topic.name.to_string(), partitions);
        }
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions });
    let folder = cx.broker.data_dir();
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let result = DescribeLogDirsResult {
        error_code: ErrorCode::None,
        log_dir: folder.display().to_string(),
        topics: topics.collect(),
        usable_bytes: cx.broker.free_bytes().map_or(-1, wire_size),
        ..DescribeLogDirsResult::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}

/// Which partitions of which topics are asked for, whatever stands twice.
fn wanted(topics: Vec<DescribableLogDirTopic>) -> HashMap<String, HashSet<i32>> {
    let mut wanted: HashMap<String, HashSet<i32>> = HashMap::new();
    for topic in topics {
        wanted.entry(topic.topic).or_default().extend(topic.partitions);
    }
    wanted
}

fn measure(topic: &Topic, is_wanted: impl Fn(i32) -> bool) -> Vec<DescribeLogDirsPartition> {
    let partitions = topic.partitions.iter().filter(|partition| is_wanted(partition.index.0));
    let rows = partitions.map(|partition| DescribeLogDirsPartition {
        partition_index: partition.index.0,
        partition_size: wire_size(partition.size_bytes()),
        offset_lag: 0,
        is_future_key: false,
    });
    rows.collect()
}

fn wire_size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
