//! Partitions as people name them: `TOPIC` for all of a topic, `TOPIC:PARTITION` for one.

use super::ended::Ended;
use super::topic;
use crate::client::{Client, NamedPartition};
use crate::protocol::ErrorCode;

/// The partitions that these texts name. Of those with a number it is not asked whether they exist.
///
/// # Errors
/// `Usage` for what is no such text, `Failed` for a topic that does not exist.
pub(crate) async fn named(
    client: &mut Client,
    texts: &[String],
) -> Result<Vec<NamedPartition>, Ended> {
    let mut partitions = Vec::new();
    for text in texts {
        // No topic's name has a colon.
        if let Some((name, index)) = text.rsplit_once(':') {
            let index = index.parse().ok().filter(|index| 0 <= *index);
            let index = index
                .ok_or_else(|| Ended::Usage(format!("{text:?} is not TOPIC or TOPIC:PARTITION")))?;
            partitions.push(NamedPartition::new(name, index));
            continue;
        }
        let cluster = client.cluster(Some(&[text])).await?;
        let found = cluster.topics.first();
        let found = found.filter(|it| it.error_code != ErrorCode::UnknownTopicOrPartition);
        let found = found.ok_or_else(|| Ended::failed(topic::unknown(text)))?;
        for partition in &found.partitions {
            partitions.push(NamedPartition::new(text, partition.partition_index));
        }
    }
    Ok(partitions)
}
