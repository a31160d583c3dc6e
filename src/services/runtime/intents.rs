//! Intents of effects that may be done once and cannot be looked up: durable before the effect begins, in the topic
//! `ottla.intent.GROUP`.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::records;
use super::worker::Shared;
use crate::services::cx::Effects;
use crate::services::error::{Result, transient};
use crate::types::PartitionIndex;

/// The intents of a session's partitions.
pub(super) struct Intents {
    shared: Arc<Shared>,
    known: Mutex<HashSet<String>>,
}

impl Intents {
    pub(super) fn new(shared: &Arc<Shared>, known: HashSet<String>) -> Self {
        Self { shared: Arc::clone(shared), known: Mutex::new(known) }
    }

    /// For a record of this partition.
    pub(super) fn of(self: &Arc<Self>, partition: PartitionIndex) -> Arc<dyn Effects> {
        Arc::new(OfPartition { intents: Arc::clone(self), partition })
    }

    async fn intend(&self, key: &str, partition: PartitionIndex) -> Result<bool> {
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.insert(key.to_owned()) {
                return Ok(false);
            }
        }
        let topic = self.shared.plan.own_topic("intent");
        let entry = records::entry(topic, partition, key.to_owned(), Some(b"{}".to_vec()));
        let sent = self.shared.cluster.send(vec![entry]).await;
        sent.map(|_| true).map_err(|error| {
            // Whether it is there is not known; nothing was begun, so that it may be tried again.
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            transient("intent").because(error)
        })
    }
}

struct OfPartition {
    intents: Arc<Intents>,
    partition: PartitionIndex,
}

impl fmt::Debug for OfPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfPartition").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl Effects for OfPartition {
    fn intend<'a>(
        &'a self,
        key: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>> {
        Box::pin(self.intents.intend(key, self.partition))
    }

    fn boundary<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let _ = name;
        Box::pin(std::future::ready(()))
    }
}
