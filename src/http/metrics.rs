//! Metrics in Prometheus' text format 0.0.4: the names of the Kafka exporter that most dashboards
//! know, and our own.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::HttpState;
use crate::broker::Broker;
use crate::groups::{Command, ListGroups, Reply};
use crate::server::{ServerMetrics, TIME_BUCKETS_US};

/// Series by partition are left out above so many partitions.
const PARTITION_SERIES_MAX: usize = 5_000;
/// Groups whose members are counted.
const GROUPS_MAX: usize = 1_000;

/// The page. Families of the broker are there once it is ready.
pub(super) async fn page(State(state): State<HttpState>) -> Response {
    let mut text = Text::default();
    server(&mut text, &state.metrics);
    process(&mut text);
    if let Some(broker) = state.boot.broker() {
        partitions(&mut text, &broker);
        syncs(&mut text, &broker);
        offsets(&mut text, &broker);
        members(&mut text, &broker).await;
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

/// A page in the making.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let content = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{content}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
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

/// µs as seconds, exactly.
fn seconds(us: u64) -> String {
    const US: u64 = 1_000_000;
    format!("{}.{:06}", us / US, us % US)
}

fn partitions(text: &mut Text, broker: &Broker) {
    let topics = broker.registry.topics();
    text.single("kafka_brokers", "gauge", "Brokers of the cluster.", 1);
    text.family("kafka_topic_partitions", "gauge", "Partitions of a topic.");
    for topic in &topics {
        let labels = [("topic", &*topic.name)];
        text.sample("kafka_topic_partitions", &labels, topic.partitions.len());
    }
    let all: Vec<_> = topics.iter().flat_map(|topic| &topic.partitions).collect();
    let offline = all.iter().filter(|partition| partition.is_offline()).count();
    text.single("ottla_partitions_offline", "gauge", "Partitions that failed.", offline);
    if all.len() > PARTITION_SERIES_MAX {
        return;
    }
    let current = "kafka_topic_partition_current_offset";
    text.family(current, "gauge", "High watermark of a partition.");
    for partition in &all {
        let index = partition.index.to_string();
        let labels = [("topic", &*partition.topic), ("partition", index.as_str())];
        text.sample(current, &labels, partition.watermarks().high_watermark);
    }
    let oldest = "kafka_topic_partition_oldest_offset";
    text.family(oldest, "gauge", "Log start offset of a partition.");
    for partition in &all {
        let index = partition.index.to_string();
        let labels = [("topic", &*partition.topic), ("partition", index.as_str())];
        text.sample(oldest, &labels, partition.watermarks().log_start);
    }
    let size = "ottla_partition_size_bytes";
    text.family(size, "gauge", "Bytes in a partition's segments.");
    for partition in &all {
        let index = partition.index.to_string();
        let labels = [("topic", &*partition.topic), ("partition", index.as_str())];
        text.sample(size, &labels, partition.size_bytes());
    }
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

/// Committed offsets and lag, by group, topic and partition.
fn offsets(text: &mut Text, broker: &Broker) {
    let committed: Vec<_> = broker.groups().look(|groups| {
        let kept = groups.committed().take(PARTITION_SERIES_MAX);
        kept.map(|(group, topic, partition, kept)| {
            (group.to_owned(), topic.to_owned(), partition, kept.offset)
        })
        .collect()
    });
    let current = "kafka_consumergroup_current_offset";
    text.family(current, "gauge", "Committed offset of a group.");
    for (group, topic, partition, offset) in &committed {
        let index = partition.to_string();
        let labels = [("consumergroup", group.as_str()), ("topic", topic), ("partition", &index)];
        text.sample(current, &labels, offset);
    }
    let lag = "kafka_consumergroup_lag";
    text.family(lag, "gauge", "Records between a group's committed offset and the end.");
    for (group, topic, partition, offset) in &committed {
        let Ok(found) = broker.partition(topic, *partition) else { continue };
        let behind = found.watermarks().high_watermark.0.saturating_sub(offset.0).max(0);
        let index = partition.to_string();
        let labels = [("consumergroup", group.as_str()), ("topic", topic), ("partition", &index)];
        text.sample(lag, &labels, behind);
    }
}

async fn members(text: &mut Text, broker: &Broker) {
    let listed = broker.groups().call(Command::List(ListGroups::default())).await;
    let Ok(Reply::List(groups)) = listed else { return };
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

/// What the kernel says of this process.
fn process(text: &mut Text) {
    let files = ["/proc/self/statm", "/proc/self/stat"].map(std::fs::read_to_string);
    let [Ok(memory), Ok(stat)] = files else { return };
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    let resident = memory.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    if let Some(pages) = resident {
        let help = "Resident memory.";
        text.single("process_resident_memory_bytes", "gauge", help, pages.saturating_mul(page));
    }
    // The name in parentheses may hold spaces: fields are counted from behind it.
    let fields: HashMap<usize, u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .enumerate()
        .filter_map(|(index, field)| Some((index, field.parse().ok()?)))
        .collect();
    const USER: usize = 11;
    const SYSTEM: usize = 12;
    let ticks = fields.get(&USER).unwrap_or(&0) + fields.get(&SYSTEM).unwrap_or(&0);
    let us = ticks.saturating_mul(1_000_000 / rustix::param::clock_ticks_per_second().max(1));
    text.single("process_cpu_seconds_total", "counter", "CPU time.", seconds(us));
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.single("process_open_fds", "gauge", "Open file descriptors.", open.count());
    }
}
