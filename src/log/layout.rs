//! Names in a data folder: what Kafka calls its files and folders, so that its tools find them.
//!
//! | name | what |
//! |---|---|
//! | `TOPIC-INDEX` | a partition's folder |
//! | `TOPIC-INDEX.UUID-delete` | the same, of a deleted topic, until its files go |
//! | `TOPIC-INDEX.UUID-stray` | the same, of a topic that is not known: kept for whoever misses it |
//! | `partition.metadata` | which topic id the folder belongs to |
//! | `00000000000000000042.log` | a segment, by the offset it begins at |
//! | `….log.deleted` | a segment that retention or compaction has taken, until its file goes |
//! | `….log.cleaned` | what compaction leaves of some segments, while it is written |
//! | `….log.swap` | the same, whole, while it takes their place |
//! | `….ottla-index` | ours: the segment's sparse index; may be removed at any time |
//! | `….timeindex` | Kafka's, never read: says that Kafka wrote the segment, whose compaction leaves gaps anywhere |
//! | `ottla-epochs` | ours: where each leader epoch begins; may be removed while the broker is stopped |
//! | `leader-epoch-checkpoint` | the same, for Kafka's tools; never read |
//! | `ottla-start-offset` | ours: the log start offset |
//! | `ottla-producers` | ours: what producers wrote last; may be removed while the broker is stopped |
//! | `ottla-compacted` | ours: offsets may be missing, since the log was compacted, and up to where |

use uuid::Uuid;

use crate::codec::crc32c;
use crate::types::{Offset, PartitionIndex, TopicId};

/// The file that ties a folder to a topic id.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Ours, derived: where each leader epoch begins, with a checksum.
pub const EPOCHS: &str = "ottla-epochs";
/// The same as Kafka has it, without one; never read.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// The file that keeps the log start offset.
pub const START_OFFSET: &str = "ottla-start-offset";
/// The file that says a log has been compacted, and up to where; there before the first swap.
pub const COMPACTED: &str = "ottla-compacted";
/// Ours, derived: what producers wrote last.
pub const PRODUCERS: &str = "ottla-producers";
/// What a deleted segment's name ends in until its file goes.
pub const DELETED_SUFFIX: &str = ".deleted";

/// What a segment's name ends in while compaction writes it.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// What a compacted segment's name ends in while it takes the place of others.
pub const SWAP_SUFFIX: &str = ".swap";

const LOG_SUFFIX: &str = ".log";
const INDEX_SUFFIX: &str = ".ottla-index";
const KAFKA_TIME_INDEX_SUFFIX: &str = ".timeindex";
/// What Kafka keeps beside each segment.
const KAFKA_INDEX_SUFFIXES: [&str; 3] = [".index", KAFKA_TIME_INDEX_SUFFIX, ".txnindex"];
const DELETE_FOLDER_SUFFIX: &str = "-delete";
const STRAY_FOLDER_SUFFIX: &str = "-stray";
const NAME_LEN_MAX: usize = 255;
const OFFSET_DIGITS: usize = 20;

/// File name of the segment that begins at `base`.
pub fn segment_file(base: Offset) -> String {
    format!("{:020}{LOG_SUFFIX}", base.0)
}

/// File name of a compacted segment while it takes the place of others.
pub fn swap_file(base: Offset) -> String {
    format!("{:020}{LOG_SUFFIX}{SWAP_SUFFIX}", base.0)
}

/// File name of a segment's index.
pub fn index_file(base: Offset) -> String {
    format!("{:020}{INDEX_SUFFIX}", base.0)
}

/// The base offset in a segment's file name; `None` for any other name.
pub fn parse_segment_file(name: &str) -> Option<Offset> {
    parse_offset(name.strip_suffix(LOG_SUFFIX)?)
}

/// The base offset in the name of [`swap_file`]; `None` for any other name.
pub fn parse_swap_file(name: &str) -> Option<Offset> {
    parse_segment_file(name.strip_suffix(SWAP_SUFFIX)?)
}

/// The base offset in an index's file name; `None` for any other name.
pub fn parse_index_file(name: &str) -> Option<Offset> {
    parse_offset(name.strip_suffix(INDEX_SUFFIX)?)
}

/// File name of the index of times that Kafka keeps beside each of its segments.
pub fn kafka_time_index_file(base: Offset) -> String {
    format!("{:020}{KAFKA_TIME_INDEX_SUFFIX}", base.0)
}

/// The base offset in the name of [`kafka_time_index_file`]; `None` for any other name.
pub fn parse_kafka_time_index_file(name: &str) -> Option<Offset> {
    parse_offset(name.strip_suffix(KAFKA_TIME_INDEX_SUFFIX)?)
}

/// The base offset in the name of any index that Kafka keeps; `None` for any other name.
pub fn parse_kafka_index_file(name: &str) -> Option<Offset> {
    KAFKA_INDEX_SUFFIXES.iter().find_map(|suffix| parse_offset(name.strip_suffix(suffix)?))
}

fn parse_offset(digits: &str) -> Option<Offset> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() != OFFSET_DIGITS || !all_digits {
        return None;
    }
    digits.parse().ok().map(Offset)
}

/// Folder name of a partition. The topic name must have passed its check: it becomes a path.
pub fn partition_folder(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// Topic name and partition of a folder name; `None` for any other name.
pub fn parse_partition_folder(name: &str) -> Option<(&str, PartitionIndex)> {
    let (topic, digits) = name.rsplit_once('-')?;
    let index: i32 = digits.parse().ok()?;
    let canonical = index >= 0 && !topic.is_empty() && index.to_string() == digits;
    canonical.then_some((topic, PartitionIndex(index)))
}

/// Name of a deleted partition's folder; `unique` keeps two of them apart. Long names are cut, as
/// a file system takes 255 bytes.
pub fn deleted_folder(topic: &str, partition: PartitionIndex, unique: Uuid) -> String {
    renamed_folder(topic, partition, unique, DELETE_FOLDER_SUFFIX)
}

/// Name of the folder of a partition whose topic is not known; otherwise as [`deleted_folder`].
pub fn stray_folder(topic: &str, partition: PartitionIndex, unique: Uuid) -> String {
    renamed_folder(topic, partition, unique, STRAY_FOLDER_SUFFIX)
}

fn renamed_folder(topic: &str, partition: PartitionIndex, unique: Uuid, suffix: &str) -> String {
    let ending = format!("-{partition}.{}{suffix}", unique.simple());
    let kept = NAME_LEN_MAX.saturating_sub(ending.len());
    let topic: String = topic.chars().take(kept).collect();
    format!("{topic}{ending}")
}

/// Whether a folder is a deleted partition's.
pub fn is_deleted_folder(name: &str) -> bool {
    is_renamed_folder(name, DELETE_FOLDER_SUFFIX)
}

/// Whether a folder is kept of a topic that is not known.
pub fn is_stray_folder(name: &str) -> bool {
    is_renamed_folder(name, STRAY_FOLDER_SUFFIX)
}

fn is_renamed_folder(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).and_then(|rest| rest.rsplit_once('.')).is_some_and(
        |(folder, unique)| {
            parse_partition_folder(folder).is_some() && Uuid::try_parse(unique).is_ok()
        },
    )
}

/// Content of `partition.metadata`. Unlike Kafka: a third line, which Kafka does not read, has the
/// CRC-32C of the first two, for with a wrong bit in the id the folder would be a deleted topic's.
pub fn partition_metadata(topic_id: TopicId) -> String {
    let text = format!("version: 0\ntopic_id: {topic_id}");
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text}\ncrc32c: {crc:08x}")
}

/// The topic id in a `partition.metadata`, ours or Kafka's; `None` if it is no such file, or damaged.
pub fn parse_partition_metadata(text: &str) -> Option<TopicId> {
    let (checked, crc) = match text.match_indices('\n').nth(1) {
        Some((end, _)) => text.split_at_checked(end)?,
        None => (text, ""),
    };
    if !crc.trim().is_empty() {
        let crc = crc.strip_prefix("\ncrc32c: ")?;
        if crc.trim_end() != format!("{:08x}", crc32c::crc32c(checked.as_bytes())) {
            return None;
        }
    }
    let mut lines = checked.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    let id = lines.next()?.strip_prefix("topic_id: ")?;
    TopicId::parse(id.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        assert_eq!(segment_file(Offset(42)), "00000000000000000042.log");
        for offset in [0, 42, i64::MAX] {
            assert_eq!(parse_segment_file(&segment_file(Offset(offset))), Some(Offset(offset)));
            assert_eq!(parse_index_file(&index_file(Offset(offset))), Some(Offset(offset)));
            assert_eq!(parse_swap_file(&swap_file(Offset(offset))), Some(Offset(offset)));
            let kafkas = kafka_time_index_file(Offset(offset));
            assert_eq!(parse_kafka_time_index_file(&kafkas), Some(Offset(offset)));
            assert_eq!(parse_kafka_index_file(&kafkas), Some(Offset(offset)));
            assert_eq!(parse_kafka_index_file(&index_file(Offset(offset))), None);
        }
        for name in ["a-b.c_d", "x"] {
            let folder = partition_folder(name, PartitionIndex(7));
            assert_eq!(parse_partition_folder(&folder), Some((name, PartitionIndex(7))));
            let deleted = deleted_folder(name, PartitionIndex(7), Uuid::nil());
            assert!(is_deleted_folder(&deleted) && !is_deleted_folder(&folder), "{deleted}");
            let stray = stray_folder(name, PartitionIndex(7), Uuid::nil());
            assert!(is_stray_folder(&stray) && !is_stray_folder(&deleted), "{stray}");
            assert!(!is_deleted_folder(&stray) && parse_partition_folder(&stray).is_none());
            assert_eq!(parse_partition_folder(&deleted), None);
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in ["42.log", "+0000000000000000042.log", "99999999999999999999.log", ".log"] {
            assert_eq!(parse_segment_file(name), None, "{name}");
        }
        for name in ["topic", "topic-", "-1", "topic-01", "topic-+1", "topic-99999999999"] {
            assert_eq!(parse_partition_folder(name), None, "{name}");
        }
    }

    #[test]
    fn a_long_topic_name_still_makes_a_folder_name() {
        let deleted = deleted_folder(&"t".repeat(249), PartitionIndex(12), Uuid::nil());
        assert!(deleted.len() <= NAME_LEN_MAX && is_deleted_folder(&deleted));
    }

    #[test]
    fn partition_metadata_is_kafkas() {
        let text = "version: 0\ntopic_id: 5pJisFBaT4eET32pVdq6Dw";
        let ours = partition_metadata(parse_partition_metadata(text).unwrap());
        assert!(ours.starts_with(text), "{ours}");
        assert_eq!(parse_partition_metadata(&ours), parse_partition_metadata(text));
        for at in 0..ours.len() {
            let mut bytes = ours.clone().into_bytes();
            *bytes.get_mut(at).unwrap() ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert_eq!(parse_partition_metadata(&damaged), None, "{damaged}");
        }
        for bad in ["", "version: 1\ntopic_id: 5pJisFBaT4eET32pVdq6Dw", "version: 0\ntopic_id: x"] {
            assert_eq!(parse_partition_metadata(bad), None, "{bad}");
        }
    }
}
