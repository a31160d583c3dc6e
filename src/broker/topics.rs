//! Topics as the broker makes, changes, shows and removes them.
//!
//! A change is decided on the catalog, appended to its journal as one batch, replayed into the
//! catalog and carried out on the partitions, all under the catalog's lock, so that journal, catalog
//! and partitions have one order; it is answered once the journal is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::folders::Opening;
use super::tasks::for_each_index;
use super::{Broker, ShellError, settings};
use crate::catalog::{
    self, Catalog, CatalogError, CatalogRecord, Change, ConfigChange, ConfigOperation,
    ConfigResource, CreatedTopic, GivenConfigs, NewPartitions, NewTopic, TopicRef,
};
use crate::groups::Command;
use crate::partition::{AppendError, JournalRecord, Partition, PartitionConfig, Topic};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TopicId};

/// A topic as clients are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its label.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// Whether it is the broker's own.
    pub is_internal: bool,
    /// By number.
    pub partitions: Vec<PartitionView>,
}

/// A partition as clients are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Its number.
    pub index: PartitionIndex,
    /// The node that leads it.
    pub leader: NodeId,
    /// Counts its leaderships.
    pub leader_epoch: LeaderEpoch,
    /// The nodes that hold it; all of them are in sync.
    pub replicas: Vec<NodeId>,
}

/// Why a topic is not as asked.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The change could not be stored.
    #[error("not stored: {0}")]
    Storage(#[from] AppendError),
    /// The change is no metadata record; a fault of ours.
    #[error("not stored: {0}")]
    Encode(String),
}

/// What was decided about each thing of a request, in its order.
pub type Outcomes<Key, Value> = Vec<(Key, Result<Value, CatalogError>)>;

/// Topics that are gone, with the ids they had.
type Removed = Vec<(String, TopicId)>;

/// Whether a request is only to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// Carry it out.
    Yes,
    /// Only say what would come of it.
    ValidateOnly,
}

impl Apply {
    /// Whether to carry a request out, from the flag that says so.
    pub fn when(is_wanted: bool) -> Self {
        if is_wanted { Self::Yes } else { Self::ValidateOnly }
    }
}

impl Broker {
    /// Looks at the catalog.
    pub fn look_at_catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.lock_catalog())
    }

    fn lock_catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides, stores and carries out one change; durable on return.
    async fn change<T>(
        &self,
        decide: impl FnOnce(&Catalog) -> (Vec<CatalogRecord>, T),
    ) -> Result<T, TopicError> {
        let (outcome, end, removed) = self.change_now(decide)?;
        if removed.is_empty() {
            self.catalog_journal.durable(end).await?;
        } else {
            self.forget_removed(end, removed).await?;
        }
        Ok(outcome)
    }

    /// Forgets the offsets of topics that are gone, once the catalog up to `end` is durable. A task
    /// of its own does it, so that a client that hangs up does not leave half a deletion behind.
    async fn forget_removed(&self, end: Offset, removed: Removed) -> Result<(), TopicError> {
        let (journal, groups) = (self.catalog_journal.clone(), Arc::clone(&self.groups));
        let (done, outcome) = oneshot::channel();
        self.tasks.spawn("topic deletion", async move {
            let durable = journal.durable(end).await;
            if durable.is_ok() {
                // Offsets of clients that gave none of an id go with the name.
                let nameless = removed.iter().map(|(name, _)| (name.clone(), TopicId::ZERO));
                let gone = nameless.chain(removed.iter().cloned()).collect();
                // A coordinator that stops meanwhile forgets them at the next start.
                drop(groups.call(Command::TopicsDeleted(gone)).await);
            }
            // Who asked may have left.
            drop(done.send(durable));
        });
        match outcome.await {
            Ok(durable) => Ok(durable?),
            Err(_) => Err(AppendError::Storage("the broker stops".to_owned()).into()),
        }
    }

    /// The part of a change that runs under the catalog's lock: returns the journal's end to wait
    /// for and the topics that are gone.
    pub(super) fn change_now<T>(
        &self,
        decide: impl FnOnce(&Catalog) -> (Vec<CatalogRecord>, T),
    ) -> Result<(T, Offset, Removed), TopicError> {
        let mut catalog = self.lock_catalog();
        let (records, outcome) = decide(&catalog);
        if records.is_empty() {
            return Ok((outcome, self.catalog_journal.end(), Vec::new()));
        }
        let journal: Vec<_> = records.iter().map(journal_record).collect::<Result<_, _>>()?;
        let end = self.catalog_journal.append(&journal, self.clock.now())?;
        let mut touched = BTreeSet::new();
        let (mut removed, mut closed) = (Vec::new(), Vec::new());
        for record in &records {
            match catalog.replay(record) {
                Change::Topic(id) | Change::Partition(id, _) => {
                    touched.insert(id);
                }
                Change::TopicRemoved(id, name) => {
                    closed.extend(self.close_topic(id));
                    touched.remove(&id);
                    removed.push((name, id));
                }
                Change::Brokers => {
                    touched.extend(catalog.topics().map(|topic| topic.id));
                    *self.in_force.write().unwrap_or_else(PoisonError::into_inner) =
                        Arc::clone(catalog.broker());
                }
                Change::Group(_) | Change::Other | Change::Nothing => {}
            }
        }
        if !removed.is_empty() {
            // A power cut that takes the removal back must find the folders.
            self.catalog_journal.wait_durable(end)?;
            closed.iter().for_each(|topic| self.put_topic_away(topic));
        }
        let touched: Vec<_> = touched.iter().filter_map(|id| catalog.topic(*id)).collect();
        self.carry_out(&catalog, &touched, Opening::Change);
        Ok((outcome, end, removed))
    }

    /// Opens partitions of these topics that the catalog has and the registry has not, all in one go,
    /// and puts settings in force.
    pub(super) fn carry_out(
        &self,
        catalog: &Catalog,
        topics: &[&catalog::Topic],
        opening: Opening,
    ) {
        let mut open: Vec<_> = topics.iter().map(|topic| self.open_so_far(topic)).collect();
        let mut lacking = Vec::new();
        for (at, topic) in topics.iter().enumerate() {
            for index in open[at].1.len()..topic.partitions.len() {
                let index = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
                self.make_way(catalog, topic, index);
                lacking.push((at, index));
            }
        }
        let opened = for_each_index(lacking.len(), |next| {
            let (at, index) = lacking[next];
            self.open_partition(topics[at], index, open[at].0.clone(), opening)
        });
        for ((at, _), partition) in lacking.into_iter().zip(opened) {
            open[at].1.push(partition);
        }
        for (topic, (_, partitions)) in topics.iter().zip(open) {
            let name = topic.name.as_str().into();
            self.registry.insert(Arc::new(Topic { id: topic.id, name, partitions }));
        }
    }

    /// The settings of a topic's partitions, and those of them that are open, which have them.
    fn open_so_far(&self, topic: &catalog::Topic) -> (PartitionConfig, Vec<Arc<Partition>>) {
        let config = settings::partition_config(&topic.config);
        let open = self.registry.by_id(topic.id);
        let partitions = open.map(|open| open.partitions.clone()).unwrap_or_default();
        for partition in &partitions {
            partition.set_config(config.clone());
        }
        (config, partitions)
    }

    /// Takes a topic out of service.
    fn close_topic(&self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.registry.remove(id)?;
        for partition in &topic.partitions {
            if let Err(error) = partition.retire() {
                tracing::debug!(topic = %topic.name, %error, "deleted partition not closed");
            }
        }
        Some(topic)
    }

    /// Gives the folders of a topic whose removal is durable another name; they go later.
    fn put_topic_away(&self, topic: &Topic) {
        for partition in &topic.partitions {
            let delay_ms = partition.file_delete_delay_ms();
            if let Err(error) = self.put_away(&topic.name, partition.index, topic.id, delay_ms) {
                tracing::error!(topic = %topic.name, partition = %partition.index, %error,
                    "folder of a deleted topic stays");
            }
        }
    }

    /// Every topic, by name.
    pub fn topic_views(&self) -> Vec<TopicView> {
        self.look_at_catalog(|catalog| catalog.topics().map(view).collect())
    }

    /// The topic with that id.
    pub fn topic_view_by_id(&self, id: TopicId) -> Option<TopicView> {
        self.look_at_catalog(|catalog| catalog.topic(id).map(view))
    }

    /// The topic of that name; made on demand, if the client and auto.create.topics.enable let it.
    pub async fn topic_view_or_create(
        &self,
        name: &str,
        create: bool,
    ) -> Result<TopicView, TopicError> {
        let found = self.look_at_catalog(|catalog| {
            let found = catalog.topic_named(name).map(view);
            let create = create && catalog.broker().auto_create_topics_enable;
            (found, create)
        });
        match found {
            (Some(view), _) => return Ok(view),
            (None, false) => {
                catalog::check_name(name)?;
                return Err(CatalogError::UnknownTopic(name.to_owned()).into());
            }
            (None, true) => {}
        }
        let topic = self.look_at_catalog(|catalog| catalog.topic_on_demand(name));
        let (_, created) = self.create_topics(vec![topic], Apply::Yes).await?.swap_remove(0);
        match created {
            // Somebody else made it meanwhile.
            Ok(_) | Err(CatalogError::TopicExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let found = self.look_at_catalog(|catalog| catalog.topic_named(name).map(view));
        found.ok_or_else(|| CatalogError::UnknownTopic(name.to_owned()).into())
    }

    /// CreateTopics: the topics are there, leader and log, on return.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        apply: Apply,
    ) -> Result<Outcomes<String, CreatedTopic>, TopicError> {
        let outcomes = self
            .change(|catalog| {
                let outcomes = catalog.create_topics(&topics, &self.ids);
                let made = outcomes.iter().filter_map(|(_, created)| created.as_ref().ok());
                (records(apply, made.flat_map(|created| created.records.clone())), outcomes)
            })
            .await?;
        for (topic, created) in &outcomes {
            if let Ok(CreatedTopic { clamped_from: Some(asked), replication_factor, .. }) = created
            {
                tracing::warn!(
                    topic,
                    asked,
                    given = replication_factor,
                    "replication factor above the node count: clamped"
                );
            }
        }
        Ok(outcomes)
    }

    /// CreatePartitions.
    pub async fn create_partitions(
        &self,
        topics: Vec<NewPartitions>,
        apply: Apply,
    ) -> Result<Outcomes<String, ()>, TopicError> {
        self.change(|catalog| {
            let decided = catalog.create_partitions(&topics);
            let grown = decided.iter().filter_map(|(_, grown)| grown.as_ref().ok());
            let records = records(apply, grown.flatten().cloned());
            (records, decided.into_iter().map(|(key, grown)| (key, grown.map(drop))).collect())
        })
        .await
    }

    /// DeleteTopics: producers and consumers meet an unknown topic on return. Each outcome carries
    /// the topic's name and id as they were.
    pub async fn delete_topics(
        &self,
        topics: Vec<TopicRef>,
    ) -> Result<Outcomes<TopicRef, (String, TopicId)>, TopicError> {
        self.change(|catalog| {
            let decided = catalog.delete_topics(&topics);
            let gone = decided.iter().filter_map(|(_, record)| record.as_ref().ok().cloned());
            let records = records(Apply::Yes, gone);
            let named = decided.into_iter().map(|(key, record)| {
                let named = record.and_then(|_| {
                    catalog.referred(&key).map(|topic| (topic.name.clone(), topic.id))
                });
                (key, named)
            });
            let named = named.collect();
            (records, named)
        })
        .await
    }

    /// IncrementalAlterConfigs (KIP-339).
    pub async fn alter_configs(
        &self,
        changes: Vec<(ConfigResource, Vec<ConfigChange>)>,
        apply: Apply,
    ) -> Result<Outcomes<ConfigResource, ()>, TopicError> {
        self.change(|catalog| altered(apply, catalog.alter_configs(&changes))).await
    }

    /// AlterConfigs: what is not named goes back to its default.
    pub async fn replace_configs(
        &self,
        configs: Vec<(ConfigResource, GivenConfigs)>,
        apply: Apply,
    ) -> Result<Outcomes<ConfigResource, ()>, TopicError> {
        self.change(|catalog| altered(apply, catalog.replace_configs(&configs))).await
    }

    /// Finishes deletions that a crash cut short: offsets of topics that are gone, or whose name now
    /// belongs to another topic, are forgotten. On return that is durable, and so is what opening
    /// itself has put into the catalog: nobody may be let in before. Call once at start.
    pub async fn forget_lost_topics(&self) -> Result<(), ShellError> {
        self.catalog_journal.durable(self.catalog_journal.end()).await?;
        let mut lost: BTreeSet<_> = self.groups.look(|groups| {
            let kept = groups.committed().chain(groups.pending());
            kept.map(|(_, topic, _, offset)| (topic.to_owned(), offset.topic_id)).collect()
        });
        self.look_at_catalog(|catalog| {
            lost.retain(|(name, id)| {
                let current = catalog.topic_named(name).map(|topic| topic.id);
                // Offsets without an id are of a time or a client that knew none.
                current.is_none_or(|current| *id != current && *id != TopicId::ZERO)
            });
        });
        if lost.is_empty() {
            return Ok(());
        }
        for (topic, _) in &lost {
            tracing::info!(topic, "offsets of a deleted topic forgotten");
        }
        self.groups.call(Command::TopicsDeleted(lost.into_iter().collect())).await?;
        Ok(())
    }

    /// A producer id that nobody has had; durable on return that nobody else will.
    pub async fn new_producer_id(&self) -> Result<ProducerId, TopicError> {
        if let Some(id) = self.producer_ids.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(id);
        }
        let mut block = self
            .change(|catalog| {
                let (record, block) = catalog.allocate_producer_ids(self.node_id);
                (vec![record], block)
            })
            .await?;
        let first = block.take().ok_or_else(|| TopicError::Encode("an empty block".to_owned()))?;
        *self.producer_ids.lock().unwrap_or_else(PoisonError::into_inner) = block;
        Ok(first)
    }

    /// Makes a topic be there with at least so many partitions and these settings.
    pub async fn declare_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        replication_factor: Option<i16>,
        configs: BTreeMap<String, String>,
    ) -> Result<(), TopicError> {
        let existing = self.look_at_catalog(|catalog| {
            catalog.topic_named(name).map(|topic| topic.partitions.len())
        });
        let Some(existing) = existing else {
            let mut topic = NewTopic::named(name);
            topic.partitions = partitions.unwrap_or(-1);
            topic.replication_factor = replication_factor.unwrap_or(-1);
            topic.configs = configs.into_iter().map(|(key, value)| (key, Some(value))).collect();
            return first(self.create_topics(vec![topic], Apply::Yes).await?).map(drop);
        };
        let existing = i32::try_from(existing).unwrap_or(i32::MAX);
        if let Some(count) = partitions.filter(|count| *count != existing) {
            let more = NewPartitions { name: name.to_owned(), count, assignments: None };
            first(self.create_partitions(vec![more], Apply::Yes).await?)?;
        }
        if configs.is_empty() {
            return Ok(());
        }
        let changes = configs.into_iter().map(|(name, value)| ConfigChange {
            name,
            operation: ConfigOperation::Set,
            value: Some(value),
        });
        let changes = vec![(ConfigResource::Topic(name.to_owned()), changes.collect())];
        first(self.alter_configs(changes, Apply::Yes).await?)
    }
}

fn first<Key, Value>(outcomes: Outcomes<Key, Value>) -> Result<Value, TopicError> {
    let outcome = outcomes.into_iter().next().map(|(_, outcome)| outcome);
    let outcome = outcome.ok_or_else(|| TopicError::Encode("nothing was decided".to_owned()))?;
    Ok(outcome?)
}

fn records(apply: Apply, records: impl Iterator<Item = CatalogRecord>) -> Vec<CatalogRecord> {
    match apply {
        Apply::Yes => records.collect(),
        Apply::ValidateOnly => Vec::new(),
    }
}

fn altered(
    apply: Apply,
    decided: Vec<(ConfigResource, Result<Vec<CatalogRecord>, CatalogError>)>,
) -> (Vec<CatalogRecord>, Outcomes<ConfigResource, ()>) {
    let changed = decided.iter().filter_map(|(_, changed)| changed.as_ref().ok());
    let records = records(apply, changed.flatten().cloned());
    (records, decided.into_iter().map(|(key, changed)| (key, changed.map(drop))).collect())
}

pub(super) fn journal_record(record: &CatalogRecord) -> Result<JournalRecord, TopicError> {
    let value = record.encode().map_err(|error| TopicError::Encode(error.to_string()))?;
    Ok(JournalRecord { key: None, value: Some(value) })
}

fn view(topic: &catalog::Topic) -> TopicView {
    let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| PartitionView {
        index: PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX)),
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas.clone(),
    });
    TopicView {
        name: topic.name.clone(),
        id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
    }
}
