//! The partitions that this process serves, by topic id and by name. Reads take a short shared lock;
//! a topic is replaced whole when it changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Partition;
use crate::types::{PartitionIndex, TopicId};

/// A topic with its open partitions; immutable, replaced when partitions are added.
#[derive(Debug)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its label.
    pub name: Arc<str>,
    /// Its partitions by index.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// The partition with this index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }
}

/// All open topics.
#[derive(Debug, Default)]
pub struct Registry {
    maps: RwLock<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    by_id: HashMap<TopicId, Arc<Topic>>,
    by_name: HashMap<Arc<str>, Arc<Topic>>,
}

impl Registry {
    /// The topic of that name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// The topic with that id.
    pub fn by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    /// Every open topic, in no order.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect()
    }

    /// Adds a topic, or puts it in the place of its former self.
    pub fn insert(&self, topic: Arc<Topic>) {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        maps.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        maps.by_id.insert(topic.id, topic);
    }

    /// Takes a topic out and returns it.
    pub fn remove(&self, id: TopicId) -> Option<Arc<Topic>> {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let topic = maps.by_id.remove(&id)?;
        if maps.by_name.get(&topic.name).is_some_and(|current| current.id == id) {
            maps.by_name.remove(&topic.name);
        }
        Some(topic)
    }
}
