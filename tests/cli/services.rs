//! A broker in this process with services on it, for the commands that look at services from outside.

use std::sync::Arc;

use bytes::Bytes;
use ottla::Ottla;
use ottla::client::cluster::{Cluster, ReadFrom, Stored, ToSend, TopicPartition, TopicSpec};
use ottla::client::embedded::Embedded;
use ottla::services::{App, Running};

use crate::commands::{Done, run};

/// The broker; dropped, it is gone.
pub(crate) struct Shop {
    pub(crate) ottla: Ottla,
    pub(crate) cluster: Embedded,
    pub(crate) bootstrap: String,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let ottla = Ottla::builder().ephemeral().start().await.unwrap();
        let cluster = Embedded::new(Arc::clone(ottla.broker()));
        let bootstrap = ottla.bootstrap_servers();
        Self { ottla, cluster, bootstrap }
    }

    /// Runs these services and returns once they have handled what there is.
    pub(crate) async fn serve(&self, app: App) -> Running {
        let running = app.start(Arc::new(self.cluster.clone())).unwrap();
        running.settle().await.unwrap();
        running
    }

    pub(crate) async fn close(self) {
        drop(self.cluster);
        self.ottla.stop().await.unwrap();
    }

    /// Runs the binary towards it.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        run(&self.bootstrap, args)
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) {
        let configs = Default::default();
        let spec = TopicSpec { name: name.to_owned(), partitions: Some(partitions), configs };
        self.cluster.ensure_topics(vec![spec]).await.unwrap();
    }

    pub(crate) async fn send(&self, topic: &str, key: &str, value: &str, headers: &[(&str, &str)]) {
        let text = |text: &str| Bytes::from(text.to_owned());
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some(text(value))));
        let record = ToSend {
            topic: topic.into(),
            partition: None,
            key: Some(text(key)),
            value: Some(text(value)),
            headers: headers.collect(),
            timestamp: None,
        };
        self.cluster.send(vec![record]).await.unwrap();
    }

    /// All committed records of a topic.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Stored> {
        let count = self.cluster.partition_count(topic.into()).await.unwrap().unwrap_or(0);
        let mut records = Vec::new();
        for partition in 0..count {
            let at = TopicPartition::new(topic, partition);
            let span = self.cluster.spans(vec![at.clone()]).await.unwrap()[0];
            let mut offset = span.start;
            while offset < span.high_watermark {
                let from = vec![ReadFrom { at: at.clone(), offset }];
                for received in self.cluster.read(from, 1 << 20, 100).await.unwrap() {
                    records.extend(received.records);
                    offset = received.next;
                }
            }
        }
        records
    }
}

/// A header's text.
pub(crate) fn header<'a>(record: &'a Stored, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().rev().find(|(header, _)| header == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}
