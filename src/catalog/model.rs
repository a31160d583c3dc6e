//! The catalog itself: plain maps, and the one function that changes them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::names::is_internal;
use super::records::CatalogRecord;
use crate::config::broker::BrokerConfig;
use crate::config::topic::TopicConfig;
use crate::config::{Change as KeyChange, ConfigTable};
use crate::types::{LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId};

/// Files that are not for partitions, where that many may be open at all.
const FILES_KEPT_FREE: u64 = 1_000;

/// Settings of one resource that were given, by name.
pub(super) type Overrides = BTreeMap<String, String>;

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its label.
    pub name: String,
    /// Its partitions, by number without a gap.
    pub partitions: Vec<Partition>,
    /// Its own settings, as they were given.
    pub overrides: BTreeMap<String, String>,
    /// What is in force: its own settings over the broker's.
    pub config: Arc<TopicConfig>,
}

impl Topic {
    /// Whether it belongs to the broker itself.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }

    /// The partition of that number.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }
}

/// A partition, as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The node that serves it; always one of the replicas.
    pub leader: NodeId,
    /// Counts its leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts its changes.
    pub partition_epoch: i32,
    /// The nodes that hold it, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Those of them that have all of it.
    pub in_sync: Vec<NodeId>,
}

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    /// The topic of that name.
    Topic(String),
    /// One broker.
    Broker(NodeId),
    /// Every broker that has no setting of its own.
    BrokerDefaults,
    /// The group of that name, whether it exists or not.
    Group(String),
}

/// A run of producer ids for one broker to give away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The ids.
    pub ids: Range<i64>,
}

impl ProducerIdBlock {
    /// Takes the next id of the block; `None` once it is used up.
    pub fn take(&mut self) -> Option<ProducerId> {
        self.ids.next().map(ProducerId)
    }
}

/// What a catalog is told at start: everything that is not in its records.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster's id, for ever.
    pub cluster_id: String,
    /// The nodes of this process; the first is the one whose settings topics inherit.
    pub nodes: Vec<NodeId>,
    /// The settings that stood before the start.
    pub broker: BrokerConfig,
    /// Which of them were set, with their values as Kafka prints them; `None` is null.
    pub statics: BTreeMap<&'static str, Option<String>>,
    /// Files that the process may have open, of which each partition needs one; `None` for any number.
    pub open_files_max: Option<u64>,
}

/// What replaying one record changed, for those who hold something derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic was made, or its name or settings changed.
    Topic(TopicId),
    /// A partition was made or changed.
    Partition(TopicId, PartitionIndex),
    /// A topic is gone.
    TopicRemoved(TopicId, String),
    /// Brokers' settings changed, and so perhaps those in force for every topic.
    Brokers,
    /// A group's settings changed.
    Group(String),
    /// Something else that is counted but held by nobody.
    Other,
    /// Nothing: the record has no meaning here.
    Nothing,
}

/// The cluster. Equal catalogs were made by equal setups and say the same of everything but
/// [`Catalog::version`], [`Catalog::skipped_count`] and [`Catalog::was_removed`].
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(super) setup: Setup,
    pub(super) topics: HashMap<TopicId, Topic>,
    pub(super) names: BTreeMap<String, TopicId>,
    /// By the form in which no two names may be equal.
    pub(super) collisions: HashMap<String, TopicId>,
    pub(super) partition_count: usize,
    pub(super) broker_defaults: Overrides,
    pub(super) brokers: BTreeMap<NodeId, Overrides>,
    pub(super) groups: BTreeMap<String, Overrides>,
    pub(super) features: BTreeMap<String, i16>,
    pub(super) next_producer_id: i64,
    /// Records of later versions, kept for the snapshot.
    pub(super) unknown: Vec<CatalogRecord>,
    pub(super) broker: Arc<BrokerConfig>,
    pub(super) inherited: Arc<TopicConfig>,
    pub(super) version: u64,
    pub(super) skipped_count: u64,
    /// Topics whose removal was replayed, the last one behind.
    pub(super) removed: VecDeque<TopicId>,
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.topics == other.topics
            && self.names == other.names
            && self.collisions == other.collisions
            && self.partition_count == other.partition_count
            && self.broker_defaults == other.broker_defaults
            && self.brokers == other.brokers
            && self.groups == other.groups
            && self.features == other.features
            && self.next_producer_id == other.next_producer_id
            && self.unknown == other.unknown
            && self.broker == other.broker
            && self.inherited == other.inherited
    }
}

impl Catalog {
    /// A cluster without topics. A setup without nodes has the one that its settings name.
    pub fn new(mut setup: Setup) -> Self {
        if setup.nodes.is_empty() {
            setup.nodes.push(NodeId(setup.broker.node_id));
        }
        let broker = Arc::new(setup.broker.clone());
        let inherited = Arc::new(TopicConfig::inherited(&broker).unwrap_or_default());
        Self {
            setup,
            topics: HashMap::new(),
            names: BTreeMap::new(),
            collisions: HashMap::new(),
            partition_count: 0,
            broker_defaults: Overrides::new(),
            brokers: BTreeMap::new(),
            groups: BTreeMap::new(),
            features: BTreeMap::new(),
            next_producer_id: 0,
            unknown: Vec::new(),
            broker,
            inherited,
            version: 0,
            skipped_count: 0,
            removed: VecDeque::new(),
        }
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.setup.cluster_id
    }

    /// The nodes of this process.
    pub fn nodes(&self) -> &[NodeId] {
        &self.setup.nodes
    }

    /// Grows with every record: what features are dated by, so it must not fall over a restart.
    /// See [`Catalog::advance_version`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Lifts the version to the end of the catalog's log, after a start from a snapshot.
    pub fn advance_version(&mut self, at_least: u64) {
        self.version = self.version.max(at_least);
    }

    /// Records so far that could not be applied: of a type that is not known, or about a topic
    /// that is not there.
    pub fn skipped_count(&self) -> u64 {
        self.skipped_count
    }

    /// Whether the removal of that topic is known: it is, of the newest removals since the last
    /// snapshot. Where it is not, the topic may be one that the catalog has lost.
    pub fn was_removed(&self, id: TopicId) -> bool {
        self.removed.contains(&id)
    }

    /// The topic with that id.
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The topic of that name.
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.names.get(name).and_then(|id| self.topics.get(id))
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// Partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// As many partitions as files may be open, with some left for connections and old segments.
    pub fn partitions_by_files(&self) -> Option<(u64, usize)> {
        let files = self.setup.open_files_max?;
        let left = files.saturating_sub((files / 4).min(FILES_KEPT_FREE));
        Some((files, usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// The settings in force for the first node.
    pub fn broker(&self) -> &Arc<BrokerConfig> {
        &self.broker
    }

    /// The settings of topics that have none of their own.
    pub fn topic_defaults(&self) -> &Arc<TopicConfig> {
        &self.inherited
    }

    /// Settings given for a group.
    pub fn group_overrides(&self, group_id: &str) -> Option<&BTreeMap<String, String>> {
        self.groups.get(group_id)
    }

    /// Features with their level.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The first producer id that was never given away.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    pub(super) fn first_node(&self) -> NodeId {
        self.setup.nodes.first().copied().unwrap_or(NodeId(self.setup.broker.node_id))
    }

    /// The settings in force for a node.
    pub fn broker_of(&self, node: NodeId) -> BrokerConfig {
        let own = self.brokers.get(&node);
        self.broker_with(&self.broker_defaults, own.unwrap_or(&Overrides::new()))
    }

    /// The settings in force under these dynamic ones. A key that is not dynamic, or a value that
    /// is no longer valid, has no effect.
    pub(super) fn broker_with(&self, defaults: &Overrides, own: &Overrides) -> BrokerConfig {
        let mut broker = self.setup.broker.clone();
        for (name, value) in defaults.iter().chain(own) {
            if BrokerConfig::info(name).is_some_and(|info| info.change == KeyChange::Dynamic) {
                let _ = broker.set(name, value);
            }
        }
        broker
    }
}
