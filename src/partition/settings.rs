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
}
