//! What others ask of a partition's settings.

use super::Partition;

impl Partition {
    /// Whether records go by age, size or DeleteRecords (cleanup.policy has delete).
    pub fn deletes(&self) -> bool {
        self.config.load().log.delete
    }

    /// How many ms the files of what is deleted stay on disk (file.delete.delay.ms).
    pub fn file_delete_delay_ms(&self) -> i64 {
        self.config.load().log.file_delete_delay_ms
    }

    /// The largest batch that is taken, in bytes (max.message.bytes, segment.bytes).
    pub fn batch_bytes_max(&self) -> u64 {
        let config = self.config.load();
        config.max_message_bytes.min(config.log.segment_bytes)
    }
}
