//! Metrics in Prometheus' text format 0.0.4: the names of the Kafka exporter that most dashboards
//! know, and our own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::HttpState;
use super::process::process;
use super::service_metrics::services;
use super::text::{Text, seconds};
use crate::broker::{Broker, Cleaner, PartitionView, TopicView, TransactionCounts};
use crate::groups::{Command, ListGroups, Reply};
use crate::partition::Partition;
use crate::server::{ServerMetrics, TIME_BUCKETS_US};
use crate::types::Offset;

/// Series by partition are left out above so many partitions.
const PARTITION_SERIES_MAX: usize = 5_000;
/// Groups whose members are counted.
const GROUPS_MAX: usize = 1_000;

/// The page. Families of the broker are there once it is ready.
pub(super) async fn page(State(state): State<HttpState>) -> Response {
    let mut text = Text::default();
    about(&mut text, &state);
    server(&mut text, &state.metrics);
    process(&mut text);
    if let Some(broker) = state.boot.broker() {
        topics(&mut text, &broker);
        partitions(&mut text, &broker);
        syncs(&mut text, &broker);
        cleaner(&mut text, broker.cleaner());
        offsets(&mut text, &broker);
        members(&mut text, &broker).await;
        transactions(&mut text, &broker);
    }
    if let Some(api) = state.services.get() {
        services(&mut text, api).await;
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

/// What this is, and who it is in its cluster.
fn about(text: &mut Text, state: &HttpState) {
    let version = env!("CARGO_PKG_VERSION");
    text.info("ottla_build_info", "What runs here.", &[("version", version)]);
    let durability = state.durability.to_string();
    let help = "What an acknowledgement means.";
    text.info("ottla_durability_info", help, &[("durability", &durability)]);
    let uptime = state.clock.elapsed().as_secs();
    text.single("ottla_uptime_seconds", "gauge", "Time since the start.", uptime);
    text.single("kafka_brokers", "gauge", "Brokers of the cluster.", 1);
    if let Some(broker) = state.boot.broker() {
        let (id, address) = (broker.node_id.to_string(), state.kafka.to_string());
        let help = "A broker of the cluster.";
        text.info("kafka_broker_info", help, &[("id", &id), ("address", &address)]);
    }
}

fn server(text: &mut Text, metrics: &ServerMetrics) {
    let open = metrics.connections.load(Ordering::Relaxed);
    text.single("ottla_connections", "gauge", "Open Kafka connections.", open);
    let counters = [
        ("ottla_connections_accepted_total", "Connections accepted.", &metrics.accepted),
        ("ottla_connections_refused_total", "Connections refused at a limit.", &metrics.refused),
        ("ottla_received_bytes_total", "Bytes read from clients.", &metrics.received_bytes),
        ("ottla_sent_bytes_total", "Bytes written to clients.", &metrics.sent_bytes),
    ];
    for (name, help, counter) in counters {
        text.single(name, "counter", help, counter.load(Ordering::Relaxed));
    }
    let name = "ottla_request_seconds";
    text.family(name, "histogram", "Time from a request's last byte to its answer, by API.");
    for (api, api_metrics) in metrics.by_api() {
        let count = api_metrics.requests.load(Ordering::Relaxed);
        if count == 0 {
            continue;
        }
        let mut below = 0;
        for (bound_us, bucket) in TIME_BUCKETS_US.iter().zip(&api_metrics.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let bound = seconds(*bound_us);
            let labels = [("api", api), ("le", bound.as_str())];
            text.sample("ottla_request_seconds_bucket", &labels, below);
        }
        let labels = [("api", api), ("le", "+Inf")];
        text.sample("ottla_request_seconds_bucket", &labels, count);
        let sum = seconds(api_metrics.time_us.load(Ordering::Relaxed));
        text.sample("ottla_request_seconds_sum", &[("api", api)], sum);
        text.sample("ottla_request_seconds_count", &[("api", api)], count);
    }
}

/// Leaders and replicas, as the catalog has them.
fn topics(text: &mut Text, broker: &Broker) {
    let topics = broker.topic_views();
    text.single("ottla_topics", "gauge", "Topics, internal ones included.", topics.len());
    let count: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    text.single("ottla_partitions", "gauge", "Partitions of all topics.", count);
    let name = "kafka_topic_partitions";
    text.family(name, "gauge", "Partitions of a topic.");
    for topic in &topics {
        text.sample(name, &[("topic", &topic.name)], topic.partitions.len());
    }
    if count > PARTITION_SERIES_MAX {
        return;
    }
    let leads = |it: &PartitionView| it.replicas.first() == Some(&it.leader);
    let replicas = |it: &PartitionView| it.replicas.len().to_string();
    let gauge =
        |text: &mut Text, name: &str, help: &str, value: &dyn Fn(&PartitionView) -> String| {
            text.family(name, "gauge", help);
            for (topic, partition) in each(&topics) {
                let index = partition.index.to_string();
                text.sample(name, &[("topic", topic), ("partition", &index)], value(partition));
            }
        };
    let name = "kafka_topic_partition_leader";
    gauge(text, name, "Node that leads a partition.", &|it| it.leader.to_string());
    let name = "kafka_topic_partition_leader_is_preferred";
    gauge(text, name, "Whether the first replica leads.", &|it| u8::from(leads(it)).to_string());
    gauge(text, "kafka_topic_partition_replicas", "Replicas of a partition.", &replicas);
    let name = "kafka_topic_partition_in_sync_replica";
    gauge(text, name, "In-sync replicas of a partition.", &replicas);
    let name = "kafka_topic_partition_under_replicated_partition";
    gauge(text, name, "Whether a replica is not in sync.", &|_| "0".to_owned());
}

fn each(topics: &[TopicView]) -> impl Iterator<Item = (&str, &PartitionView)> {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(|it| (topic.name.as_str(), it)))
}

/// Offsets and sizes, as the logs have them.
fn partitions(text: &mut Text, broker: &Broker) {
    let topics = broker.registry.topics();
    let mut all: Vec<_> = topics.iter().flat_map(|topic| &topic.partitions).collect();
    all.sort_by(|left, right| (&left.topic, left.index).cmp(&(&right.topic, right.index)));
    let offline = all.iter().filter(|partition| partition.is_offline()).count();
    text.single("ottla_partitions_offline", "gauge", "Partitions that failed.", offline);
    if let Some(free) = broker.free_bytes() {
        text.single("ottla_free_bytes", "gauge", "Bytes left where the data is.", free);
    }
    if all.len() > PARTITION_SERIES_MAX {
        return;
    }
    let gauge = |text: &mut Text, name: &str, help: &str, value: &dyn Fn(&Partition) -> String| {
        text.family(name, "gauge", help);
        for partition in &all {
            let index = partition.index.to_string();
            let labels = [("topic", &*partition.topic), ("partition", index.as_str())];
            text.sample(name, &labels, value(partition));
        }
    };
    let name = "kafka_topic_partition_current_offset";
    let help = "High watermark of a partition.";
    gauge(text, name, help, &|it| it.watermarks().high_watermark.to_string());
    let name = "kafka_topic_partition_oldest_offset";
    let help = "Log start offset of a partition.";
    gauge(text, name, help, &|it| it.watermarks().log_start.to_string());
    let name = "ottla_partition_last_stable_offset_lag";
    let help =
        "Offsets that wait for a transaction to end before read_committed consumers see them.";
    let unstable = |it: &Partition| {
        let watermarks = it.watermarks();
        (watermarks.high_watermark.0 - watermarks.last_stable.0).max(0).to_string()
    };
    gauge(text, name, help, &unstable);
    let name = "ottla_partition_size_bytes";
    let help = "Bytes in a partition's segments.";
    gauge(text, name, help, &|it| it.size_bytes().to_string());
}

fn syncs(text: &mut Text, broker: &Broker) {
    let rounds = broker.flusher.rounds();
    text.single("ottla_sync_rounds_total", "counter", "Sync rounds.", rounds.count);
    let us = u64::try_from(rounds.time.as_micros()).unwrap_or(u64::MAX);
    text.single("ottla_sync_seconds_total", "counter", "Time in sync rounds.", seconds(us));
    let name = "ottla_synced_partitions_total";
    text.single(name, "counter", "Partitions synced, over all rounds.", rounds.partitions);
    text.single("ottla_syncs_failed_total", "counter", "Syncs that failed.", rounds.failed);
}

fn cleaner(text: &mut Text, cleaner: &Cleaner) {
    let counters = [
        ("ottla_cleaner_runs_total", "Partitions compacted.", &cleaner.runs),
        ("ottla_cleaner_failures_total", "Compactions that failed.", &cleaner.failures),
        ("ottla_cleaner_read_bytes_total", "Bytes read to compact.", &cleaner.read_bytes),
        ("ottla_cleaner_written_bytes_total", "Bytes written compacted.", &cleaner.written_bytes),
        ("ottla_cleaner_freed_bytes_total", "Bytes that compaction saved.", &cleaner.freed_bytes),
    ];
    for (name, help, counter) in counters {
        text.single(name, "counter", help, counter.load(Ordering::Relaxed));
    }
    let name = "ottla_cleaner_uncleanable_partitions";
    let help = "Partitions that are not compacted until restart, since their log is damaged.";
    text.single(name, "gauge", help, cleaner.damaged_count());
}

/// What a group has committed of one partition, and how far that is from the end.
struct Position {
    group: String,
    topic: String,
    partition: String,
    offset: i64,
    /// `None` where the partition is gone.
    lag: Option<i64>,
}

/// Committed offsets and lag, by group and topic, and by partition up to a number of series.
fn offsets(text: &mut Text, broker: &Broker) {
    let committed: Vec<_> = broker.groups().look(|groups| {
        let kept = groups.committed();
        kept.map(|(group, topic, partition, kept)| {
            (group.to_owned(), topic.to_owned(), partition, kept.offset)
        })
        .collect()
    });
    let position = |(group, topic, partition, offset): (String, String, _, Offset)| {
        let found = broker.partition(&topic, partition).ok();
        let end = found.map(|found| found.watermarks().high_watermark);
        let lag = end.map(|end| end.0.saturating_sub(offset.0).max(0));
        Position { group, topic, partition: partition.to_string(), offset: offset.0, lag }
    };
    let positions: Vec<_> = committed.into_iter().map(position).collect();
    let name = "kafka_consumergroup_current_offset";
    by_partition(text, name, "Committed offset of a group.", &positions, |it| Some(it.offset));
    let name = "kafka_consumergroup_lag";
    let help = "Records between a group's committed offset and the end.";
    by_partition(text, name, help, &positions, |it| it.lag);
    let name = "kafka_consumergroup_current_offset_sum";
    by_topic(text, name, "Committed offsets, summed.", &positions, |it| Some(it.offset));
    by_topic(text, "kafka_consumergroup_lag_sum", "Lag, summed.", &positions, |it| it.lag);
}

fn by_partition(
    text: &mut Text,
    name: &str,
    help: &str,
    positions: &[Position],
    value: impl Fn(&Position) -> Option<i64>,
) {
    text.family(name, "gauge", help);
    for position in positions.iter().take(PARTITION_SERIES_MAX) {
        let Some(value) = value(position) else { continue };
        let Position { group, topic, partition, .. } = position;
        let labels = [("consumergroup", group), ("topic", topic), ("partition", partition)];
        text.sample(name, &labels.map(|(label, content)| (label, content.as_str())), value);
    }
}

fn by_topic(
    text: &mut Text,
    name: &str,
    help: &str,
    positions: &[Position],
    value: impl Fn(&Position) -> Option<i64>,
) {
    let mut sums = BTreeMap::<(&str, &str), i64>::new();
    for position in positions {
        let Some(value) = value(position) else { continue };
        let sum = sums.entry((&position.group, &position.topic)).or_default();
        *sum = sum.saturating_add(value);
    }
    text.family(name, "gauge", help);
    for ((group, topic), sum) in sums {
        text.sample(name, &[("consumergroup", group), ("topic", topic)], sum);
    }
}

async fn members(text: &mut Text, broker: &Broker) {
    let listed = broker.groups().call(Command::List(ListGroups::default())).await;
    let Ok(Reply::List(groups)) = listed else { return };
    text.single("ottla_groups", "gauge", "Consumer groups.", groups.len());
    let ids: Vec<_> = groups.into_iter().take(GROUPS_MAX).map(|group| group.group_id).collect();
    let Ok(Reply::Describe(groups)) = broker.groups().call(Command::Describe(ids)).await else {
        return;
    };
    let name = "kafka_consumergroup_members";
    text.family(name, "gauge", "Members of a group.");
    for group in groups.into_iter().flatten() {
        text.sample(name, &[("consumergroup", group.group_id.as_str())], group.members.len());
    }
}

fn transactions(text: &mut Text, broker: &Broker) {
    let TransactionCounts { ids, open, ending, oldest_open_ms } = broker.transaction_counts();
    text.single("ottla_transactional_ids", "gauge", "Transactional ids known.", ids);
    text.single("ottla_transactions_open", "gauge", "Open transactions.", open);
    let help = "Transactions whose markers are being written.";
    text.single("ottla_transactions_ending", "gauge", help, ending);
    let help = "Age of the oldest open transaction; 0 if none is open.";
    let age = seconds(oldest_open_ms.unwrap_or(0).saturating_mul(1_000));
    text.single("ottla_transactions_oldest_open_seconds", "gauge", help, age);
}
