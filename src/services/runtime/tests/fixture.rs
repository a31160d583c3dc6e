//! Events, a cluster and services for the tests.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::client::cluster::{Cluster, Stored, ToSend};
use crate::clock::Clock;
use crate::services::testing::MemoryCluster;
use crate::services::{App, Command, Event, Running, Table, reply};
use crate::types::Timestamp;

pub(super) const GROUP: &str = "shop";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ordered {
    pub(super) order: String,
    pub(super) amount: u64,
}

impl Event for Ordered {
    const TOPIC: &'static str = "orders";
    const NAME: &'static str = "Ordered";
    fn key(&self) -> String {
        self.order.clone()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Thanked {
    pub(super) order: String,
    pub(super) total: u64,
}

impl Event for Thanked {
    const TOPIC: &'static str = "thanks";
    const NAME: &'static str = "Thanked";
    fn key(&self) -> String {
        self.order.clone()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pay {
    pub(super) order: String,
    pub(super) amount: u64,
}

impl Event for Pay {
    const TOPIC: &'static str = "payment_commands";
    const NAME: &'static str = "pay";
    fn key(&self) -> String {
        self.order.clone()
    }
}

impl Command for Pay {
    type Reply = Thanked;
}

pub(super) static TOTALS: Table<String, u64> = Table::new("totals");

pub(super) struct Bench {
    pub(super) clock: Clock,
    pub(super) cluster: MemoryCluster,
}

impl Bench {
    pub(super) fn new() -> Self {
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let cluster = MemoryCluster::new(clock.clone());
        cluster.make_topic("orders", 3);
        Self { clock, cluster }
    }

    pub(super) fn start(&self, app: &App) -> Running {
        app.start(Arc::new(self.cluster.clone())).unwrap()
    }

    pub(super) async fn order(&self, order: &str, amount: u64) {
        let id = format!("{order}-{amount}");
        self.event(&id, &Ordered { order: order.to_owned(), amount }, &[]).await;
    }

    pub(super) async fn event<E: Event>(&self, id: &str, event: &E, headers: &[(&str, &str)]) {
        let body = serde_json::to_vec(event).unwrap();
        let mut all = vec![("ce_id", id), ("ce_type", E::NAME)];
        all.extend(headers);
        self.send(E::TOPIC, &event.key(), body, &all).await;
    }

    pub(super) async fn send(
        &self,
        topic: &str,
        key: &str,
        value: Vec<u8>,
        headers: &[(&str, &str)],
    ) {
        let text = |text: &str| Some(Bytes::from(text.to_owned()));
        let mut all: Vec<_> = [("ce_specversion", "1.0"), ("ce_source", "test")].to_vec();
        all.extend(headers);
        let record = ToSend {
            topic: topic.into(),
            partition: None,
            key: text(key),
            value: Some(value.into()),
            headers: all.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
            timestamp: None,
        };
        self.cluster.send(vec![record]).await.unwrap();
    }

    /// Moves the clock from one due time to the next until nothing is due any more.
    pub(super) async fn run_out(&self, running: &Running) {
        while let Some(due) = running.settle().await.unwrap() {
            self.advance_to(due);
        }
    }

    pub(super) fn advance_to(&self, due: Timestamp) {
        let left = due.0 - self.clock.now().wall.0;
        self.clock.advance(u64::try_from(left).unwrap_or(0).max(1));
    }

    /// The events of a topic.
    pub(super) fn events<E: Event>(&self) -> Vec<E> {
        let records = self.cluster.records(E::TOPIC);
        records
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap())
            .collect()
    }

    pub(super) fn dead(&self) -> Vec<Stored> {
        self.cluster.records("shop.dlq")
    }

    /// Entries of a compacted topic that have not been taken away.
    pub(super) fn left(&self, topic: &str) -> usize {
        let mut left = std::collections::BTreeMap::new();
        for record in self.cluster.records(topic) {
            left.insert((record.at, record.key), record.value);
        }
        left.values().filter(|value| value.is_some()).count()
    }
}

pub(super) fn text<'a>(record: &'a Stored, header: &str) -> &'a str {
    reply::header(&record.headers, header).unwrap_or_default()
}

pub(super) fn total(running: &Running, order: &str) -> u64 {
    running.row("totals", order).map_or(0, |row| serde_json::from_slice(&row).unwrap())
}
