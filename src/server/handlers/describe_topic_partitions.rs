//! DescribeTopicPartitions (API 75, v0): topics by name, in pages of partitions (KIP-966).

use std::collections::BTreeSet;

use crate::catalog::{self, Catalog, CatalogError, Topic};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::server::dispatch::Cx;
use crate::types::NodeId;

pub(super) fn handle(
    cx: &Cx,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    cx.broker.look_at_catalog(|catalog| page(catalog, request))
}

/// One page: the partitions from the cursor on, as many as are asked for, at most
/// max.request.partition.size.limit, and where the next page begins.
fn page(
    catalog: &Catalog,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let most = usize::try_from(catalog.broker().max_request_partition_size_limit).unwrap_or(1);
    let limit = limit.clamp(1, most.max(1));
    let all = request.topics.is_empty();
    let mut names: BTreeSet<String> = request.topics.into_iter().map(|topic| topic.name).collect();
    let first = match &request.cursor {
        None => 0,
        Some(cursor) => match usize::try_from(cursor.partition_index) {
            Ok(first) => first,
            Err(_) => return refused(names),
        },
    };
    let from = request.cursor.map(|cursor| cursor.topic_name);
    if let (Some(from), false) = (&from, all) {
        // The cursor's topic counts as asked for.
        names.insert(from.clone());
    }
    let begins = |name: &str| if from.as_deref() == Some(name) { first } else { 0 };
    let is_left = |name: &str| from.as_deref().is_none_or(|from| from <= name);
    let mut page = Page { left: limit, response: DescribeTopicPartitionsResponse::default() };
    if all {
        for topic in catalog.topics().filter(|topic| is_left(&topic.name)) {
            if !page.add(topic, begins(&topic.name)) {
                break;
            }
        }
        return page.response;
    }
    for name in names.into_iter().filter(|name| is_left(name)) {
        let goes_on = match catalog.topic_named(&name) {
            Some(topic) => page.add(topic, begins(&name)),
            None => page.add_unknown(name),
        };
        if !goes_on {
            break;
        }
    }
    page.response
}

/// A cursor that points nowhere: every topic that was named is answered so.
fn refused(names: BTreeSet<String>) -> DescribeTopicPartitionsResponse {
    let topics = names.into_iter().map(|name| failed(name, ErrorCode::InvalidRequest));
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..DescribeTopicPartitionsResponse::default()
    }
}

/// A page as it fills.
struct Page {
    /// How many more partitions fit.
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page {
    /// Adds what fits of a topic, from its partition `first` on. False once the page is full; the
    /// cursor then says what comes next.
    fn add(&mut self, topic: &Topic, first: usize) -> bool {
        if self.left == 0 {
            return self.end(&topic.name, 0);
        }
        let rows = (0_i32..).zip(&topic.partitions).skip(first).take(self.left);
        let rows: Vec<_> = rows.map(|(index, it)| partition(index, it)).collect();
        self.left -= rows.len();
        let next = first.saturating_add(rows.len());
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None,
            name: Some(topic.name.clone()),
            topic_id: topic.id.0,
            is_internal: topic.is_internal(),
            partitions: rows,
            ..DescribeTopicPartitionsResponseTopic::default()
        });
        if next < topic.partitions.len() { self.end(&topic.name, next) } else { true }
    }

    fn add_unknown(&mut self, name: String) -> bool {
        if self.left == 0 {
            return self.end(&name, 0);
        }
        let error = catalog::check_name(&name).err();
        let error = error.unwrap_or_else(|| CatalogError::UnknownTopic(name.clone()));
        self.response.topics.push(failed(name, (&error).into()));
        true
    }

    fn end(&mut self, topic: &str, partition: usize) -> bool {
        self.response.next_cursor = Some(Cursor {
            topic_name: topic.to_owned(),
            partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        });
        false
    }
}

fn failed(name: String, error_code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn partition(index: i32, it: &catalog::Partition) -> DescribeTopicPartitionsResponsePartition {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode::None,
        partition_index: index,
        leader_id: it.leader.0,
        leader_epoch: it.leader_epoch.0,
        replica_nodes: ids(&it.replicas),
        isr_nodes: ids(&it.in_sync),
        // Empty, as Kafka has them while nothing is out of sync.
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{NewTopic, Setup};
    use crate::config::broker::BrokerConfig;
    use crate::ids::Ids;
    use crate::protocol::messages::describe_topic_partitions::TopicRequest;

    /// A cluster with topics a (3 partitions), b (1) and c (2).
    fn abc(broker: BrokerConfig) -> Catalog {
        let mut catalog = Catalog::new(Setup {
            cluster_id: "test".to_owned(),
            nodes: vec![NodeId(1)],
            broker,
            statics: std::collections::BTreeMap::new(),
            open_files_max: None,
        });
        let topics = [("a", 3), ("b", 1), ("c", 2)]
            .map(|(name, partitions)| NewTopic { partitions, ..NewTopic::named(name) });
        for (_, created) in catalog.create_topics(&topics, &Ids::seeded(1)) {
            for record in created.unwrap().records {
                catalog.replay(&record);
            }
        }
        catalog
    }

    /// A page as one line: each topic with its error or its partitions, then the cursor.
    fn show(catalog: &Catalog, topics: &[&str], limit: i32, from: Option<(&str, i32)>) -> String {
        let request = DescribeTopicPartitionsRequest {
            topics: topics.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect(),
            response_partition_limit: limit,
            cursor: from.map(|(topic, partition_index)| Cursor {
                topic_name: topic.to_owned(),
                partition_index,
            }),
        };
        let page = page(catalog, request);
        let topics = page.topics.iter().map(|topic| {
            let name = topic.name.as_deref().unwrap_or("null");
            if topic.error_code != ErrorCode::None {
                return format!("{name}!{:?} ", topic.error_code);
            }
            let partitions = topic.partitions.iter().map(|it| it.partition_index.to_string());
            format!("{name}[{}] ", partitions.collect::<Vec<_>>().join(" "))
        });
        let topics: String = topics.collect();
        match page.next_cursor {
            Some(next) => format!("{topics}> {} {}", next.topic_name, next.partition_index),
            None => topics.trim_end().to_owned(),
        }
    }

    #[test]
    fn pages_end_at_the_limit_and_go_on_at_the_cursor() {
        let catalog = abc(BrokerConfig::default());
        let all = |limit, from| show(&catalog, &[], limit, from);
        assert_eq!(all(2_000, None), "a[0 1 2] b[0] c[0 1]");
        assert_eq!(all(2, None), "a[0 1] > a 2");
        assert_eq!(all(2, Some(("a", 2))), "a[2] b[0] > c 0");
        assert_eq!(all(2, Some(("c", 0))), "c[0 1]");
        assert_eq!(all(0, None), "a[0] > a 1", "a page holds one partition at least");
    }

    #[test]
    fn pages_end_at_the_configured_limit() {
        let broker =
            BrokerConfig { max_request_partition_size_limit: 3, ..BrokerConfig::default() };
        let catalog = abc(broker);
        assert_eq!(show(&catalog, &[], 2_000, None), "a[0 1 2] > b 0");
        assert_eq!(show(&catalog, &[], 2, None), "a[0 1] > a 2");
    }

    #[test]
    fn named_topics_come_sorted_once_and_with_their_errors() {
        let catalog = abc(BrokerConfig::default());
        let named = |topics, from| show(&catalog, topics, 2_000, from);
        assert_eq!(
            named(&["x", "c", "b", "c", "a b"], None),
            "a b!InvalidTopicException b[0] c[0 1] x!UnknownTopicOrPartition"
        );
        assert_eq!(named(&["a", "c"], Some(("b", 0))), "b[0] c[0 1]");
        assert_eq!(named(&["a"], Some(("a", -1))), "a!InvalidRequest");
    }
}
