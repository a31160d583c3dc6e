//! Topics that are to be there.

use super::super::cluster::{ClusterError, TopicSpec};
use super::refusal;
use crate::broker::{Apply, Broker, Outcomes, TopicError};
use crate::catalog::{CatalogError, NewPartitions, NewTopic};

/// How often to look again where somebody else makes or grows the same topics at the same time.
const TRIES_MAX: usize = 3;

/// Makes topics that are not there and grows those that are too small. Others do the same at the same
/// time: what they did meanwhile is looked at again.
pub(super) async fn ensure(broker: &Broker, topics: Vec<TopicSpec>) -> Result<(), ClusterError> {
    let mut tries = 0;
    loop {
        let (new, grown) = lacking(broker, &topics);
        let all = || list(&topics);
        let mut overtaken = None;
        if !new.is_empty() {
            let made = broker.create_topics(new, Apply::Yes).await;
            let made = made.map_err(|error| refusal::of_topic(&error, &all()))?;
            overtaken = refused(made)?;
        }
        if !grown.is_empty() {
            let made = broker.create_partitions(grown, Apply::Yes).await;
            let made = made.map_err(|error| refusal::of_topic(&error, &all()))?;
            overtaken = refused(made)?.or(overtaken);
        }
        match overtaken {
            None => return Ok(()),
            Some((name, error)) if tries == TRIES_MAX => {
                return Err(refusal::of_topic(&TopicError::Catalog(error), &name));
            }
            Some(_) => tries += 1,
        }
    }
}

/// What is to be made, and what is to have more partitions.
fn lacking(broker: &Broker, topics: &[TopicSpec]) -> (Vec<NewTopic>, Vec<NewPartitions>) {
    let (mut new, mut grown) = (Vec::new(), Vec::new());
    for topic in topics {
        let existing = broker.look_at_catalog(|catalog| {
            catalog.topic_named(&topic.name).map(|topic| topic.partitions.len())
        });
        match (existing, topic.partitions) {
            (None, partitions) => {
                let configs = topic.configs.iter();
                let configs = configs.map(|(key, value)| (key.clone(), Some(value.clone())));
                new.push(NewTopic {
                    partitions: partitions.unwrap_or(-1),
                    configs: configs.collect(),
                    ..NewTopic::named(topic.name.as_str())
                });
            }
            (Some(existing), Some(count)) if i32::try_from(existing).is_ok_and(|it| it < count) => {
                grown.push(NewPartitions { name: topic.name.clone(), count, assignments: None });
            }
            (Some(_), _) => {}
        }
    }
    (new, grown)
}

/// The first refusal that another look may settle.
///
/// # Errors
/// The first one that it will not.
fn refused<Value>(
    outcomes: Outcomes<String, Value>,
) -> Result<Option<(String, CatalogError)>, ClusterError> {
    let mut overtaken = None;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(_) => {}
            Err(error @ (CatalogError::TopicExists(_) | CatalogError::InvalidPartitions(_))) => {
                overtaken.get_or_insert((name, error));
            }
            Err(error) => return Err(refusal::of_topic(&TopicError::Catalog(error), &name)),
        }
    }
    Ok(overtaken)
}

fn list(topics: &[TopicSpec]) -> String {
    topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(", ")
}
