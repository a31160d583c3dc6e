//! Health, readiness and version, as JSON.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::HttpState;
use crate::config::value::Durability;

/// Whether all is well, and what there is: 503 while starting, or with a partition offline.
pub(super) async fn health(State(state): State<HttpState>) -> (StatusCode, Json<Value>) {
    let version = env!("CARGO_PKG_VERSION");
    let durability = state.durability.to_string();
    let Some(broker) = state.boot.broker() else {
        let body = json!({"status": "starting", "version": version, "durability": durability});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body));
    };
    let topics = broker.registry.topics();
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let offline: Vec<_> = partitions
        .clone()
        .filter(|partition| partition.is_offline())
        .map(|partition| {
            json!({
                "topic": &*partition.topic,
                "partition": partition.index.0,
                "reason": partition.offline_reason(),
            })
        })
        .collect();
    let (code, status) = if offline.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "partitions offline")
    };
    let transactions = broker.transaction_counts();
    let is_stored = state.durability != Durability::Ephemeral;
    let body = json!({
        "status": status,
        "version": version,
        "durability": durability,
        "data_dir": is_stored.then(|| broker.data_dir().display().to_string()),
        "cluster_id": broker.cluster_id,
        "node_id": broker.node_id.0,
        "uptime_seconds": broker.uptime().as_secs(),
        "topics": topics.len(),
        "partitions": partitions.count(),
        "partitions_offline": offline,
        "transactional_ids": transactions.ids,
        "transactions_open": transactions.open,
        "transactions_ending": transactions.ending,
        "transactions_oldest_open_ms": transactions.oldest_open_ms,
        "connections": state.metrics.connections.load(Ordering::Relaxed),
        "free_bytes": broker.free_bytes(),
        "accepts_records": !broker.is_disk_full(),
    });
    (code, Json(body))
}

/// Whether clients are let in.
pub(super) async fn ready(State(state): State<HttpState>) -> (StatusCode, Json<Value>) {
    if state.boot.broker().is_some() {
        (StatusCode::OK, Json(json!({"ready": true})))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false})))
    }
}

/// What this is.
pub(super) async fn version() -> Json<Value> {
    Json(json!({"name": "ottla", "version": env!("CARGO_PKG_VERSION")}))
}
