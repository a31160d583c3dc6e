//! Decides what becomes of requests to make, grow and delete topics. Each topic of a request stands
//! or falls alone; nothing is changed here, so `validate_only` is to drop the records.

use std::collections::{HashMap, HashSet};

use super::describe::ConfigRow;
use super::error::CatalogError;
use super::model::{Catalog, ConfigResource, Overrides, Partition, ProducerIdBlock, Topic};
use super::names::{METADATA_TOPIC, check_name, collision_key};
use super::records::{CatalogRecord, RemoveTopicRecord};
use super::snapshot::{partition_record, topic_record};
use crate::config::topic::TopicConfig;
use crate::config::value::ReplicationPolicy;
use crate::config::{ConfigError, ConfigTable};
use crate::ids::Ids;
use crate::types::{LeaderEpoch, NodeId, TopicId};

/// Kafka's limit on the partitions that one request makes.
const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// How many producer ids are taken at a time.
const PRODUCER_ID_BLOCK_SIZE: i64 = 1_000;

/// Settings as a request gives them; null values are refused.
pub type GivenConfigs = Vec<(String, Option<String>)>;

/// A topic that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 is `num.partitions`, or as many as are assigned.
    pub partitions: i32,
    /// How many replicas of each; -1 is `default.replication.factor`, or as many as are assigned.
    pub replication_factor: i16,
    /// The brokers of each partition, placed by hand; empty to have them placed.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Its own settings; of one given twice the last counts.
    pub configs: GivenConfigs,
}

impl NewTopic {
    /// A topic with everything as the broker has it.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

/// A topic that can be made, once its records are written and replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    /// Its new identity.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// How many were asked for, where that is more than there are nodes.
    pub clamped_from: Option<i16>,
    /// Its settings, by name.
    pub configs: Vec<ConfigRow>,
    /// To write as one batch.
    pub records: Vec<CatalogRecord>,
}

/// More partitions that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub name: String,
    /// How many partitions it is to have.
    pub count: i32,
    /// The brokers of each new partition, placed by hand.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// A topic that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef {
    /// By label.
    Name(String),
    /// By identity.
    Id(TopicId),
}

/// A key with what was decided about it, in the order of the request; what stands twice in a
/// request has one answer.
type Decided<Key, Value> = Vec<(Key, Result<Value, CatalogError>)>;

/// What the topics of one request that were decided before take away from those that follow.
struct Taken {
    names: HashMap<String, String>,
    partitions: usize,
}

impl Catalog {
    /// Decides about CreateTopics, and about topics that are made on demand.
    pub fn create_topics(&self, topics: &[NewTopic], ids: &Ids) -> Decided<String, CreatedTopic> {
        let mut taken = Taken { names: HashMap::new(), partitions: 0 };
        let mut decided = Vec::new();
        for (name, topic) in distinct(topics, |topic| topic.name.clone()) {
            let result = match topic {
                None => Err(twice(&name)),
                Some(topic) => self.create_topic(topic, ids, &taken),
            };
            if let Ok(created) = &result {
                taken.names.insert(collision_key(&name), name.clone());
                taken.partitions += size(created.partitions);
            }
            decided.push((name, result));
        }
        decided
    }

    fn create_topic(
        &self,
        topic: &NewTopic,
        ids: &Ids,
        taken: &Taken,
    ) -> Result<CreatedTopic, CatalogError> {
        self.check_new_name(&topic.name, taken)?;
        let by_hand = !topic.assignments.is_empty();
        if by_hand && (topic.partitions != -1 || topic.replication_factor != -1) {
            return Err(CatalogError::InvalidRequest(
                "with assignments, partitions and replication factor must be -1".to_owned(),
            ));
        }
        let id = ids.topic_id();
        let (partitions, clamped_from) = if by_hand {
            (self.assigned(&topic.assignments)?, None)
        } else {
            let count = self.partitions_of(topic.partitions)?;
            let (factor, clamped_from) = self.replicas_of(topic.replication_factor)?;
            self.check_room(count, taken)?;
            ((0..count).map(|at| self.placed(id, at, factor)).collect(), clamped_from)
        };
        self.check_room(partitions.len(), taken)?;
        let overrides = given(&topic.configs)?;
        let config = TopicConfig::resolve(&self.inherited, &overrides)?;
        let overrides = canonical(&config, overrides);
        let mut records = vec![topic_record(id, &topic.name)];
        let resource = ConfigResource::Topic(topic.name.clone());
        records.extend(overrides.iter().map(|(name, value)| resource.record(name, Some(value))));
        records.extend(
            (0..).zip(&partitions).map(|(index, partition)| partition_record(id, index, partition)),
        );
        Ok(CreatedTopic {
            id,
            partitions: count(partitions.len()),
            replication_factor: replication_factor(&partitions),
            clamped_from,
            configs: self.topic_rows(&overrides, &config, None),
            records,
        })
    }

    fn check_new_name(&self, name: &str, taken: &Taken) -> Result<(), CatalogError> {
        check_name(name)?;
        if name == METADATA_TOPIC {
            return Err(CatalogError::InvalidRequest(format!(
                "{METADATA_TOPIC} is the log of the cluster itself"
            )));
        }
        if self.names.contains_key(name) {
            return Err(CatalogError::TopicExists(name.to_owned()));
        }
        let key = collision_key(name);
        let known = self.collisions.get(&key).and_then(|id| self.topics.get(id));
        let other = known.map(|topic| &topic.name).or_else(|| taken.names.get(&key));
        match other {
            Some(other) => Err(CatalogError::InvalidName {
                name: name.to_owned(),
                reason: format!("it differs from topic {other:?} only in '.' and '_'"),
            }),
            None => Ok(()),
        }
    }

    fn partitions_of(&self, asked: i32) -> Result<usize, CatalogError> {
        match asked {
            -1 => Ok(size(self.broker().num_partitions)),
            1.. => Ok(size(asked)),
            _ => Err(CatalogError::InvalidPartitions(format!(
                "{asked} partitions: at least 1 is needed, -1 is num.partitions"
            ))),
        }
    }

    /// The replicas of each partition, and what was asked for if that was more.
    fn replicas_of(&self, asked: i16) -> Result<(usize, Option<i16>), CatalogError> {
        let broker = self.broker();
        let wanted = match asked {
            -1 => i16::try_from(broker.default_replication_factor).unwrap_or(i16::MAX),
            1.. => asked,
            _ => {
                return Err(CatalogError::InvalidReplicationFactor(format!(
                    "replication factor {asked}: at least 1 is needed, -1 is the broker's default"
                )));
            }
        };
        let nodes = self.nodes().len();
        let factor = size(i32::from(wanted));
        match broker.ottla_replication_factor_policy {
            _ if factor <= nodes => Ok((factor, None)),
            ReplicationPolicy::Clamp => Ok((nodes, Some(wanted))),
            ReplicationPolicy::Strict => Err(CatalogError::InvalidReplicationFactor(format!(
                "replication factor {wanted} with {nodes} broker(s): ask for {nodes} at most, \
                     or set ottla.replication.factor.policy to clamp"
            ))),
        }
    }

    fn check_room(&self, count: usize, taken: &Taken) -> Result<(), CatalogError> {
        let in_request = taken.partitions.saturating_add(count);
        if in_request > REQUEST_PARTITIONS_MAX {
            return Err(CatalogError::PolicyViolation(format!(
                "more than {REQUEST_PARTITIONS_MAX} partitions in one request"
            )));
        }
        let all = self.partition_count().saturating_add(in_request);
        if let Some((files, most)) = self.partitions_by_files().filter(|(_, most)| all > *most) {
            return Err(CatalogError::PolicyViolation(format!(
                "{all} partitions are over the {most} that can be served with {files} open files: raise \
                 that limit (ulimit -n, LimitNOFILE=) and start anew"
            )));
        }
        let most = size(self.broker().ottla_max_partitions);
        if self.partition_count().saturating_add(in_request) > most {
            return Err(CatalogError::PolicyViolation(format!(
                "{count} more partitions beside {} are over ottla.max.partitions {most}",
                self.partition_count().saturating_add(taken.partitions)
            )));
        }
        Ok(())
    }

    /// A new partition, placed: leaders go round the nodes, from one that the topic's id picks.
    fn placed(&self, id: TopicId, index: usize, factor: usize) -> Partition {
        let nodes = self.nodes();
        let start = usize::from(id.0.as_bytes()[0]).wrapping_add(index) % nodes.len().max(1);
        let replicas = nodes.iter().cycle().skip(start).take(factor).copied().collect();
        self.partition_on(replicas)
    }

    fn partition_on(&self, replicas: Vec<NodeId>) -> Partition {
        Partition {
            leader: replicas.first().copied().unwrap_or_else(|| self.first_node()),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            in_sync: replicas.clone(),
            replicas,
        }
    }

    /// Partitions placed by hand: numbers 0 to n-1 in any order, each on the same number of brokers.
    fn assigned(&self, assignments: &[(i32, Vec<i32>)]) -> Result<Vec<Partition>, CatalogError> {
        let mut sorted: Vec<_> = assignments.iter().collect();
        sorted.sort_by_key(|(index, _)| *index);
        let mut partitions = Vec::with_capacity(sorted.len());
        for (expected, (index, brokers)) in (0..).zip(sorted) {
            if *index != expected {
                return Err(CatalogError::InvalidReplicaAssignment(format!(
                    "partitions must be numbered from 0 without a gap and without one twice: \
                     {index} stands where {expected} should"
                )));
            }
            partitions.push(self.assigned_to(brokers, partitions.first())?);
        }
        Ok(partitions)
    }

    fn assigned_to(
        &self,
        brokers: &[i32],
        like: Option<&Partition>,
    ) -> Result<Partition, CatalogError> {
        let wrong = |text: String| Err(CatalogError::InvalidReplicaAssignment(text));
        let mut replicas = Vec::new();
        for id in brokers.iter().copied() {
            if !self.nodes().contains(&NodeId(id)) {
                return wrong(format!("there is no broker {id}"));
            }
            if replicas.contains(&NodeId(id)) {
                return wrong(format!("broker {id} stands twice for one partition"));
            }
            replicas.push(NodeId(id));
        }
        let like = like.map_or(replicas.len(), |partition| partition.replicas.len());
        if replicas.is_empty() || replicas.len() != like {
            return wrong(format!(
                "a partition is given {} broker(s), and others {like}",
                replicas.len()
            ));
        }
        Ok(self.partition_on(replicas))
    }

    /// Decides about CreatePartitions.
    pub fn create_partitions(
        &self,
        topics: &[NewPartitions],
    ) -> Decided<String, Vec<CatalogRecord>> {
        let mut taken = Taken { names: HashMap::new(), partitions: 0 };
        let mut decided = Vec::new();
        for (name, asked) in distinct(topics, |topic| topic.name.clone()) {
            let result = match asked {
                None => Err(twice(&name)),
                Some(asked) => self.grow_topic(asked, &taken),
            };
            if let Ok(records) = &result {
                taken.partitions += records.len();
            }
            decided.push((name, result));
        }
        decided
    }

    fn grow_topic(
        &self,
        asked: &NewPartitions,
        taken: &Taken,
    ) -> Result<Vec<CatalogRecord>, CatalogError> {
        let topic = self.named(&asked.name)?;
        let current = topic.partitions.len();
        let added = size(asked.count).saturating_sub(current);
        if added == 0 {
            return Err(CatalogError::InvalidPartitions(format!(
                "topic {:?} has {current} partitions already: they cannot become {}",
                topic.name, asked.count
            )));
        }
        self.check_room(added, taken)?;
        let like = topic.partitions.first();
        let partitions: Vec<_> = match &asked.assignments {
            None => {
                let factor = like.map_or(1, |partition| partition.replicas.len());
                (current..current + added).map(|at| self.placed(topic.id, at, factor)).collect()
            }
            Some(assignments) if assignments.len() != added => {
                return Err(CatalogError::InvalidReplicaAssignment(format!(
                    "{added} partitions are added, and {} assigned",
                    assignments.len()
                )));
            }
            Some(assignments) => assignments
                .iter()
                .map(|brokers| self.assigned_to(brokers, like))
                .collect::<Result<_, _>>()?,
        };
        let numbered = (count(current)..).zip(&partitions);
        Ok(numbered.map(|(index, it)| partition_record(topic.id, index, it)).collect())
    }

    /// Decides about DeleteTopics; a topic that is meant twice is not deleted.
    pub fn delete_topics(&self, topics: &[TopicRef]) -> Decided<TopicRef, CatalogRecord> {
        let mut times_meant: HashMap<TopicId, usize> = HashMap::new();
        for topic in topics.iter().filter_map(|topic| self.referred(topic).ok()) {
            *times_meant.entry(topic.id).or_default() += 1;
        }
        let mut answered = HashSet::new();
        let once = topics.iter().filter(|topic| answered.insert(*topic));
        once.map(|topic| (topic.clone(), self.delete_topic(topic, &times_meant))).collect()
    }

    fn delete_topic(
        &self,
        topic: &TopicRef,
        times_meant: &HashMap<TopicId, usize>,
    ) -> Result<CatalogRecord, CatalogError> {
        if !self.broker().delete_topic_enable {
            return Err(CatalogError::TopicDeletionDisabled);
        }
        let found = self.referred(topic)?;
        if times_meant.get(&found.id).is_some_and(|times| *times > 1) {
            return Err(twice(&found.name));
        }
        if found.is_internal() {
            // Unlike Kafka: it is the journal of what runs, and is not made anew before a restart.
            return Err(CatalogError::InvalidRequest(format!(
                "{} is the broker's own and cannot be deleted",
                found.name
            )));
        }
        Ok(CatalogRecord::RemoveTopic(RemoveTopicRecord { topic_id: found.id.0 }))
    }

    /// The topic that is meant.
    ///
    /// # Errors
    /// [`CatalogError::UnknownTopic`] or [`CatalogError::UnknownTopicId`].
    pub fn referred(&self, topic: &TopicRef) -> Result<&Topic, CatalogError> {
        match topic {
            TopicRef::Name(name) => self.named(name),
            TopicRef::Id(id) => self.topic(*id).ok_or(CatalogError::UnknownTopicId(*id)),
        }
    }

    pub(super) fn named(&self, name: &str) -> Result<&Topic, CatalogError> {
        self.topic_named(name).ok_or_else(|| CatalogError::UnknownTopic(name.to_owned()))
    }

    /// A topic of the broker's own, as Kafka makes it when it is first needed; any other name is an
    /// ordinary topic made on demand.
    pub fn topic_on_demand(&self, name: &str) -> NewTopic {
        let broker = self.broker();
        let mut topic = NewTopic::named(name);
        // A journal of a coordinator is one partition: one sync serves all of it.
        let journal = match name {
            "__consumer_offsets" => Some((
                broker.offsets_topic_replication_factor,
                "producer",
                broker.offsets_topic_segment_bytes,
            )),
            "__transaction_state" => Some((
                broker.transaction_state_replication_factor,
                "uncompressed",
                broker.transaction_state_segment_bytes,
            )),
            _ => None,
        };
        if let Some((replication_factor, compression, segment_bytes)) = journal {
            topic.partitions = 1;
            topic.replication_factor = self.at_most_nodes(replication_factor);
            topic.configs = [
                ("compression.type", compression.to_owned()),
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", segment_bytes.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), Some(value)))
            .into();
        }
        topic
    }

    /// Counts the internal topics' factor as the number of nodes at most, whatever the policy.
    fn at_most_nodes(&self, factor: i16) -> i16 {
        factor.min(i16::try_from(self.nodes().len()).unwrap_or(i16::MAX))
    }

    /// Takes the next block of producer ids for a node: the record to write first, and the ids.
    pub fn allocate_producer_ids(&self, node: NodeId) -> (CatalogRecord, ProducerIdBlock) {
        let first = self.next_producer_id();
        let end = first.saturating_add(PRODUCER_ID_BLOCK_SIZE);
        (self.producer_ids_record(node, end), ProducerIdBlock { ids: first..end })
    }
}

/// Settings that were given, none of them null.
fn given(configs: &[(String, Option<String>)]) -> Result<Overrides, CatalogError> {
    let mut overrides = Overrides::new();
    for (name, value) in configs {
        let value = value.clone().ok_or_else(|| ConfigError::Null { name: name.clone() })?;
        overrides.insert(name.clone(), value);
    }
    Ok(overrides)
}

/// The same settings, written as they are shown.
pub(super) fn canonical<Table: ConfigTable>(table: &Table, mut overrides: Overrides) -> Overrides {
    for (name, value) in &mut overrides {
        if let Some(shown) = table.value_of(name).flatten() {
            *value = shown;
        }
    }
    overrides
}

/// The items with their keys in order, each key once; `None` for one that stands more than once.
fn distinct<Item>(
    items: &[Item],
    key_of: impl Fn(&Item) -> String,
) -> Vec<(String, Option<&Item>)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<(String, Option<&Item>)> = Vec::new();
    for item in items {
        let key = key_of(item);
        match places.get(&key).and_then(|at| kept.get_mut(*at)) {
            Some((_, again)) => *again = None,
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, Some(item)));
            }
        }
    }
    kept
}

fn twice(name: &str) -> CatalogError {
    CatalogError::InvalidRequest(format!("topic {name:?} stands twice in the request"))
}

/// A number of the wire as a size; a negative one is 0.
fn size(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn count(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

fn replication_factor(partitions: &[Partition]) -> i16 {
    let replicas = partitions.first().map_or(0, |partition| partition.replicas.len());
    i16::try_from(replicas).unwrap_or(i16::MAX)
}
