//! The rows of a group's tables in this process: a copy of the topics `ottla.state.NAME`, never ahead of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::topics;
use crate::client::cluster::{Cluster, ClusterError, TopicPartition, TopicSpec};
use crate::services::cx::StateView;
use crate::services::error::{Result, permanent, transient};
use crate::services::table::topic_of;
use crate::types::PartitionIndex;

/// Which group each table belongs to: a table has one writer.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<BTreeMap<String, Arc<str>>>);

impl Owners {
    /// The group that a table belongs to: the first that asked.
    fn claim(&self, table: &str, group: &Arc<str>) -> Arc<str> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(table.to_owned()).or_insert_with(|| Arc::clone(group)))
    }
}

/// What a store is of.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) group: Arc<str>,
    pub(super) owners: Arc<Owners>,
    /// The partition numbers that are ours.
    pub(super) partitions: Vec<PartitionIndex>,
    /// How many there are in all.
    pub(super) partition_count: i32,
    /// Whether the topics that are handled have equally many: else a key has more than one place.
    pub(super) is_even: bool,
}

type Key = (PartitionIndex, Arc<str>);

#[derive(Debug, Default)]
struct Rows {
    committed: HashMap<Key, HashMap<String, Bytes>>,
    /// Written by handlers whose transaction is not committed yet.
    pending: HashMap<Key, HashMap<String, Option<Bytes>>>,
}

/// The tables of a group, as far as they are open.
#[derive(Debug)]
pub(super) struct Store {
    facts: Facts,
    opened: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
    rows: Mutex<Rows>,
    /// Topics that are there for certain.
    topics: Mutex<HashSet<Arc<str>>>,
}

impl Store {
    /// No table is open.
    pub(super) fn new(facts: Facts) -> Self {
        Self { facts, opened: Mutex::default(), rows: Mutex::default(), topics: Mutex::default() }
    }

    /// A committed row, wherever it lies.
    pub(super) fn committed(&self, table: &str, key: &str) -> Option<Bytes> {
        let rows = self.lock();
        let mut places = rows.committed.iter().filter(|((_, name), _)| &**name == table);
        places.find_map(|(_, rows)| rows.get(key).cloned())
    }

    /// All committed rows of a table, in order.
    pub(super) fn all(&self, table: &str) -> BTreeMap<String, Bytes> {
        let rows = self.lock();
        let places = rows.committed.iter().filter(|((_, name), _)| &**name == table);
        places.flat_map(|(_, rows)| rows.clone()).collect()
    }

    /// Notes a row of a transaction that is being made.
    pub(super) fn pend(
        &self,
        partition: PartitionIndex,
        table: &str,
        key: String,
        row: Option<Bytes>,
    ) {
        let place = (partition, table.into());
        self.lock().pending.entry(place).or_default().insert(key, row);
    }

    /// The transaction is committed.
    pub(super) fn apply(&self) {
        let mut rows = self.lock();
        for (place, changed) in std::mem::take(&mut rows.pending) {
            let committed = rows.committed.entry(place).or_default();
            for (key, row) in changed {
                match row {
                    Some(row) => committed.insert(key, row),
                    None => committed.remove(&key),
                };
            }
        }
    }

    fn row(&self, partition: PartitionIndex, table: &str, key: &str) -> Option<Bytes> {
        let rows = self.lock();
        let place = (partition, table.into());
        if let Some(row) = rows.pending.get(&place).and_then(|rows| rows.get(key)) {
            return row.clone();
        }
        rows.committed.get(&place)?.get(key).cloned()
    }

    /// Makes a table known: its topic is there, and its rows are read to the end.
    pub(super) async fn open(&self, table: &str) -> Result<()> {
        let cell = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if opened.get(table).is_some_and(|cell| cell.initialized()) {
                return Ok(());
            }
            Arc::clone(opened.entry(table.to_owned()).or_default())
        };
        cell.get_or_try_init(|| self.load(table)).await.map(|_| ())
    }

    async fn load(&self, table: &str) -> Result<()> {
        let facts = &self.facts;
        let owner = facts.owners.claim(table, &facts.group);
        if owner != facts.group {
            let why = format!("table {table} belongs to group {owner}, not to {}", facts.group);
            return Err(permanent("foreign-table").because(why));
        }
        if !facts.is_even {
            let why = format!(
                "the topics of group {} have different numbers of partitions, so that a row of table {table} would \
                 have two places: route them with .by(..)",
                facts.group
            );
            return Err(permanent("uneven-topics").because(why));
        }
        let passing = |error| transient("state").because(error);
        let topic = topic_of(table);
        let spec = topics::compacted(topic.clone(), facts.partition_count);
        facts.cluster.ensure_topics(vec![spec]).await.map_err(passing)?;
        for partition in &facts.partitions {
            let at = TopicPartition { topic: topic.as_str().into(), partition: *partition };
            let mut rows = HashMap::new();
            topics::read_all(&*facts.cluster, at, |record| {
                let key = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                match record.value {
                    Some(value) => rows.insert(key.into_owned(), value),
                    None => rows.remove(&*key),
                };
            })
            .await
            .map_err(passing)?;
            self.lock().committed.insert((*partition, table.into()), rows);
        }
        Ok(())
    }

    /// Whether a topic is there for certain.
    pub(super) fn knows_topic(&self, topic: &str) -> bool {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }

    /// Makes a topic that something is emitted to, where it is not there yet.
    pub(super) async fn ensure_topic(&self, topic: &Arc<str>) -> Result<()> {
        if self.knows_topic(topic) {
            return Ok(());
        }
        let name = topic.to_string();
        let spec = TopicSpec { name, partitions: None, configs: BTreeMap::new() };
        self.facts.cluster.ensure_topics(vec![spec]).await.map_err(|error| match error {
            ClusterError::Refused(why) => permanent("bad-topic").because(why),
            error => transient("topic").because(error),
        })?;
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(topic));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that a record's handler may see: those of its partition.
#[derive(Debug)]
pub(super) struct View {
    pub(super) store: Arc<Store>,
    pub(super) partition: PartitionIndex,
}

impl StateView for View {
    fn row(&self, table: &str, key: &str) -> Option<Bytes> {
        self.store.row(self.partition, table, key)
    }

    fn open<'a>(&'a self, table: &'a str) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(self.store.open(table))
    }
}
