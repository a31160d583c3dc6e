//! A client of a cluster over the network: knows its brokers, keeps a connection to each that it
//! has needed, and finds leaders and coordinators.
//!
//! One call at a time: the client is a value that its user owns, without a task behind it.

use std::collections::HashMap;
use std::fmt;

use super::address::Address;
use super::connection::{Connection, Options};
use super::error::ClientError;
use crate::clock::Clock;
use crate::protocol::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use crate::protocol::{ErrorCode, Request};
use crate::types::{NodeId, PartitionIndex};

/// How long to wait before asking again who leads, in ms.
const RETRY_MS: u64 = 100;
/// How often to ask again: with the wait between, some ten seconds.
const RETRIES_MAX: u32 = 100;

/// A partition by the name of its topic, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl NamedPartition {
    /// Names a partition.
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition: PartitionIndex(partition) }
    }
}

impl fmt::Display for NamedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The cluster as one broker sees it.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Its id.
    pub id: Option<String>,
    /// The broker that changes metadata.
    pub controller: Option<NodeId>,
    /// All brokers, in the order of their ids.
    pub brokers: Vec<(NodeId, Address)>,
    /// The topics asked for, each perhaps with an error.
    pub topics: Vec<MetadataResponseTopic>,
}

/// A client of one cluster.
#[derive(Debug)]
pub struct Client {
    options: Options,
    clock: Clock,
    /// The connection to the address that was given.
    first: Connection,
    bootstrap: Vec<Address>,
    brokers: HashMap<NodeId, Address>,
    controller: Option<NodeId>,
    connections: HashMap<NodeId, Connection>,
    leaders: HashMap<NamedPartition, NodeId>,
}

impl Client {
    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    /// What the last address gave.
    pub async fn connect(
        bootstrap: &[Address],
        clock: Clock,
        options: Options,
    ) -> Result<Self, ClientError> {
        let first = open_any(bootstrap, &clock, &options).await?;
        Ok(Self {
            options,
            clock,
            first,
            bootstrap: bootstrap.to_vec(),
            brokers: HashMap::new(),
            controller: None,
            connections: HashMap::new(),
            leaders: HashMap::new(),
        })
    }

    /// The clock that its timeouts follow.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A connection to any broker.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub async fn any(&mut self) -> Result<&mut Connection, ClientError> {
        if !self.first.is_usable() {
            self.first = open_any(&self.bootstrap, &self.clock, &self.options).await?;
        }
        Ok(&mut self.first)
    }

    /// The connection to one broker of the cluster.
    ///
    /// # Errors
    /// Those of [`Connection::open`], or `Refusal` with 8 for a node that the cluster does not name.
    pub async fn node(&mut self, node: NodeId) -> Result<&mut Connection, ClientError> {
        if !self.brokers.contains_key(&node) {
            self.cluster(Some(&[])).await?;
        }
        if self.connections.get(&node).is_none_or(|connection| !connection.is_usable()) {
            let address = self.brokers.get(&node).ok_or_else(|| ClientError::Refusal {
                subject: format!("node {node}"),
                code: ErrorCode::BrokerNotAvailable,
                message: None,
            })?;
            let connection = Connection::open(address, &self.clock, &self.options).await?;
            self.connections.insert(node, connection);
        }
        Ok(self.connections.get_mut(&node).expect("connected just before"))
    }

    /// The connection to a node that something was sent to and is to be received from: as it is.
    pub(super) fn waiting_node(&mut self, node: NodeId) -> Option<&mut Connection> {
        self.connections.get_mut(&node)
    }

    /// Calls the broker that changes metadata.
    ///
    /// # Errors
    /// Those of [`Connection::call`].
    pub async fn call_controller<R: Request>(
        &mut self,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        if self.controller.is_none() {
            self.cluster(Some(&[])).await?;
        }
        match self.controller {
            Some(node) => self.node(node).await?.call(request).await,
            None => self.any().await?.call(request).await,
        }
    }

    /// Asks for metadata: of all topics, or of those named, which are not made by it. The nodes and
    /// leaders that it tells are remembered.
    ///
    /// # Errors
    /// Those of [`Connection::call`].
    pub async fn cluster(&mut self, names: Option<&[&str]>) -> Result<Cluster, ClientError> {
        let answer = self.any().await?.call(|version| metadata_request(version, names)).await?;
        ClientError::check(|| "metadata".to_owned(), answer.error_code, None)?;
        self.remember(&answer);
        let mut brokers: Vec<_> = self.brokers.clone().into_iter().collect();
        brokers.sort_by_key(|(node, _)| *node);
        Ok(Cluster {
            id: answer.cluster_id,
            controller: self.controller,
            brokers,
            topics: answer.topics,
        })
    }

    /// Lets the cluster make a topic, where it makes those that are asked for, and waits until it is
    /// there. True if it is.
    ///
    /// # Errors
    /// Those of [`Connection::call`].
    pub async fn make_topic(&mut self, name: &str) -> Result<bool, ClientError> {
        for _ in 0..RETRIES_MAX {
            let request = |version| MetadataRequest {
                allow_auto_topic_creation: true,
                ..metadata_request(version, Some(&[name]))
            };
            let answer = self.any().await?.call(request).await?;
            self.remember(&answer);
            let Some(topic) = answer.topics.first() else { return Ok(false) };
            match topic.error_code {
                ErrorCode::None => return Ok(true),
                ErrorCode::LeaderNotAvailable => self.clock.sleep_ms(RETRY_MS).await,
                ErrorCode::UnknownTopicOrPartition => return Ok(false),
                code => ClientError::check(|| format!("topic {name}"), code, None)?,
            }
        }
        Ok(false)
    }

    /// The node that leads a partition.
    ///
    /// # Errors
    /// `Refusal` with 3 for a partition that does not exist, `NoLeader` after ten seconds without
    /// one.
    pub async fn leader(&mut self, partition: &NamedPartition) -> Result<NodeId, ClientError> {
        for _ in 0..RETRIES_MAX {
            if let Some(leader) = self.leaders.get(partition) {
                return Ok(*leader);
            }
            let cluster = self.cluster(Some(&[partition.topic.as_str()])).await?;
            let topic = cluster.topics.first();
            let exists = topic.is_some_and(|topic| {
                let mut indexes = topic.partitions.iter().map(|found| found.partition_index);
                indexes.any(|index| index == partition.partition.0)
            });
            let code = topic.map_or(ErrorCode::UnknownTopicOrPartition, |topic| topic.error_code);
            let code = match code {
                ErrorCode::None | ErrorCode::LeaderNotAvailable if exists => ErrorCode::None,
                ErrorCode::None => ErrorCode::UnknownTopicOrPartition,
                code => code,
            };
            ClientError::check(|| partition.to_string(), code, None)?;
            if !self.leaders.contains_key(partition) {
                self.clock.sleep_ms(RETRY_MS).await;
            }
        }
        Err(ClientError::NoLeader { subject: partition.to_string() })
    }

    /// Forgets who leads a partition: it said that it does not.
    pub fn forget_leader(&mut self, partition: &NamedPartition) {
        self.leaders.remove(partition);
    }

    /// Forgets everything that was found out about the cluster, after a connection failed.
    pub fn start_over(&mut self) {
        self.leaders.clear();
        self.connections.clear();
        self.brokers.clear();
        self.controller = None;
    }

    /// The node that keeps a group; waits while the cluster is making up its mind.
    ///
    /// # Errors
    /// `Refusal`, or those of [`Connection::call`].
    pub async fn coordinator(&mut self, group: &str) -> Result<NodeId, ClientError> {
        self.coordinator_of(Kept::Group(group)).await
    }

    /// The node that keeps a transactional id; waits as [`Client::coordinator`] does.
    ///
    /// # Errors
    /// `Refusal`, or those of [`Connection::call`].
    pub async fn transaction_coordinator(&mut self, id: &str) -> Result<NodeId, ClientError> {
        self.coordinator_of(Kept::TransactionalId(id)).await
    }

    async fn coordinator_of(&mut self, kept: Kept<'_>) -> Result<NodeId, ClientError> {
        let mut tries = 0;
        loop {
            let answer = self.any().await?.call(|version| coordinator_request(version, kept));
            let found = coordinator_in(kept, answer.await?);
            match found {
                Ok((node, address)) => {
                    self.brokers.insert(node, address);
                    return Ok(node);
                }
                Err(error) if error.is_passing() && tries < RETRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
            self.clock.sleep_ms(RETRY_MS).await;
        }
    }

    /// Calls the node that keeps a group.
    ///
    /// # Errors
    /// Those of [`Client::coordinator`] and [`Connection::call`].
    pub async fn call_coordinator<R: Request>(
        &mut self,
        group: &str,
        request: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let node = self.coordinator(group).await?;
        self.node(node).await?.call(request).await
    }

    fn remember(&mut self, answer: &MetadataResponse) {
        let brokers = answer.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((NodeId(broker.node_id), Address { host: broker.host.clone(), port }))
        });
        let brokers: HashMap<_, _> = brokers.collect();
        // Connections to nodes that have moved or gone are of no use any more.
        let known = std::mem::take(&mut self.brokers);
        self.connections.retain(|node, _| brokers.get(node) == known.get(node));
        self.brokers = brokers;
        let controller = Some(NodeId(answer.controller_id));
        self.controller = controller.filter(|node| self.brokers.contains_key(node));
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            for partition in &topic.partitions {
                let named = NamedPartition::new(name, partition.partition_index);
                let leader = NodeId(partition.leader_id);
                if self.brokers.contains_key(&leader) {
                    self.leaders.insert(named, leader);
                } else {
                    self.leaders.remove(&named);
                }
            }
        }
    }
}

async fn open_any(
    addresses: &[Address],
    clock: &Clock,
    options: &Options,
) -> Result<Connection, ClientError> {
    let mut last = ClientError::Address { text: String::new() };
    for address in addresses {
        match Connection::open(address, clock, options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn metadata_request(version: i16, names: Option<&[&str]>) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic {
        name: Some((*name).to_owned()),
        ..MetadataRequestTopic::default()
    };
    MetadataRequest {
        topics: names.map(|names| names.iter().map(topic).collect()),
        // Before version 4 the broker alone decides; the default is what such a version can say.
        allow_auto_topic_creation: version < 4,
        ..MetadataRequest::default()
    }
}

/// What a coordinator keeps.
#[derive(Clone, Copy)]
enum Kept<'a> {
    Group(&'a str),
    TransactionalId(&'a str),
}

impl Kept<'_> {
    fn key_type(self) -> i8 {
        match self {
            Self::Group(_) => 0,
            Self::TransactionalId(_) => 1,
        }
    }

    fn key(self) -> String {
        let (Self::Group(key) | Self::TransactionalId(key)) = self;
        key.to_owned()
    }

    fn subject(self) -> String {
        match self {
            Self::Group(group) => format!("coordinator of group {group}"),
            Self::TransactionalId(id) => format!("coordinator of transactional id {id}"),
        }
    }
}

fn coordinator_request(version: i16, kept: Kept<'_>) -> FindCoordinatorRequest {
    let request =
        FindCoordinatorRequest { key_type: kept.key_type(), ..FindCoordinatorRequest::default() };
    if version >= 4 {
        FindCoordinatorRequest { coordinator_keys: vec![kept.key()], ..request }
    } else {
        FindCoordinatorRequest { key: kept.key(), ..request }
    }
}

/// The coordinator in an answer of any version: from 4 on each key has its own.
fn coordinator_in(
    kept: Kept<'_>,
    mut answer: FindCoordinatorResponse,
) -> Result<(NodeId, Address), ClientError> {
    let (code, message, node, host, port) = match answer.coordinators.pop() {
        Some(found) => {
            (found.error_code, found.error_message, found.node_id, found.host, found.port)
        }
        None => (answer.error_code, answer.error_message, answer.node_id, answer.host, answer.port),
    };
    ClientError::check(|| kept.subject(), code, message)?;
    let Ok(port) = u16::try_from(port) else {
        let (subject, code) = (kept.subject(), ErrorCode::CoordinatorNotAvailable);
        return Err(ClientError::Refusal { subject, code, message: None });
    };
    Ok((NodeId(node), Address { host, port }))
}
