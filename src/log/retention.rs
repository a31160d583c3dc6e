//! Takes the oldest segments away: by age, by size, and below the log start offset.
//!
//! The new start offset is on disk before a file goes. Files are renamed at once and removed after
//! `file.delete.delay.ms`, so that readers who are about to open them mostly still find them.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::LogError;
use super::layout::DELETED_SUFFIX;
use super::log::Log;
use super::segment::Segment;
use crate::types::{Offset, Timestamp};

/// What retention took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// How many segments.
    pub segments: usize,
    /// Their bytes, which are free once the files have been removed.
    pub bytes: u64,
}

/// A file that has been deleted but is still there.
#[derive(Clone, Debug)]
pub(super) struct DeletedFile {
    path: PathBuf,
    due: Timestamp,
}

impl Log {
    /// Deletes the oldest segments that lie wholly below `high_watermark` and are too old, too many
    /// or below the log start offset; stops at the first that is none of it. The active segment
    /// goes too if all before it have gone. Works on a poisoned log too, so that a full disk can
    /// be emptied.
    ///
    /// # Errors
    /// `Damaged` if a segment cannot be looked into; `NoRoom`; `Io`, which poisons.
    pub fn enforce_retention(
        &mut self,
        now: Timestamp,
        high_watermark: Offset,
    ) -> Result<Deleted, LogError> {
        let segments = self.shared.segments.load_full();
        let count = self.expired(&segments, now, high_watermark)?;
        let (gone, kept) = segments.split_at_checked(count).unwrap_or((&segments, &[]));
        if gone.is_empty() {
            return Ok(Deleted::default());
        }
        let start = kept.first().map_or(self.end_offset(), |segment| segment.base);
        self.delete(gone, kept, start.max(self.start_offset()), now)?;
        Ok(Deleted {
            segments: gone.len(),
            bytes: gone.iter().map(|segment| segment.size_bytes()).sum(),
        })
    }

    /// When [`Log::remove_due`] has something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.deleted.iter().map(|file| file.due).min()
    }

    /// Removes the files of deleted segments whose delay is over.
    ///
    /// # Errors
    /// `Io` with the first that could not be removed; opening the log anew removes it.
    pub fn remove_due(&mut self, now: Timestamp) -> Result<usize, LogError> {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.deleted).into_iter().partition(|file| file.due <= now);
        self.deleted = later;
        let mut failed = Ok(due.len());
        for DeletedFile { path, .. } in due {
            let removed = match self.factory.fs.remove_file(&path) {
                // Whoever took it away before us wanted the same.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
            if let Err(error) = removed.map_err(LogError::io("remove", &path)) {
                failed = failed.and(Err(error));
            }
        }
        failed
    }

    /// How many of the oldest segments have to go.
    fn expired(
        &self,
        segments: &[Arc<Segment>],
        now: Timestamp,
        high_watermark: Offset,
    ) -> Result<usize, LogError> {
        let mut left: u64 = segments.iter().map(|segment| segment.size_bytes()).sum();
        for (count, segment) in segments.iter().enumerate() {
            let next = segments.get(count + 1).map_or(self.end_offset(), |next| next.base);
            // Kafka's compaction leaves empty segments behind that are not active.
            let is_new = segment.size_bytes() == 0 && count + 1 == segments.len();
            let stays = next > high_watermark || is_new;
            left = left.saturating_sub(segment.size_bytes());
            if stays || !self.is_expired(segment, next, left, now)? {
                return Ok(count);
            }
        }
        Ok(segments.len())
    }

    /// `next` is the offset behind the segment, `left` what stays without it.
    fn is_expired(
        &self,
        segment: &Segment,
        next: Offset,
        left: u64,
        now: Timestamp,
    ) -> Result<bool, LogError> {
        // Unlike Kafka: an active segment that DeleteRecords has emptied goes too.
        if next <= self.start_offset() {
            return Ok(true);
        }
        if !self.config.delete {
            return Ok(false);
        }
        if u64::try_from(self.config.retention_bytes).is_ok_and(|keep| left >= keep) {
            return Ok(true);
        }
        if self.config.retention_ms < 0 {
            return Ok(false);
        }
        let newest = segment.index(|index| match index.max {
            Some(max) if max.timestamp.0 >= 0 => max.timestamp,
            _ => index.last_append,
        })?;
        Ok(now.0.saturating_sub(newest.0) > self.config.retention_ms)
    }

    fn delete(
        &mut self,
        gone: &[Arc<Segment>],
        kept: &[Arc<Segment>],
        start: Offset,
        now: Timestamp,
    ) -> Result<(), LogError> {
        // The indexes first: on a full disk, what they free is what the start offset needs.
        for segment in gone {
            self.must(segment.remove_index(), "remove the index of", &segment.path)?;
        }
        if start > self.start_offset() {
            self.store_start(start)?;
        }
        if kept.is_empty() {
            self.forget_tail();
        }
        self.shared.segments.store(Arc::new(kept.to_vec()));
        self.names += 1;
        gone.iter().try_for_each(|segment| self.put_away(segment, now))
    }

    /// Gives a segment's file the name of one that goes after `file.delete.delay.ms`.
    pub(super) fn put_away(&mut self, segment: &Segment, now: Timestamp) -> Result<(), LogError> {
        let mut name = segment.path.clone().into_os_string();
        name.push(DELETED_SUFFIX);
        let path = PathBuf::from(name);
        segment.keep_open();
        self.must(self.factory.fs.rename(&segment.path, &path), "rename", &segment.path)?;
        // Compaction may take a segment of the same name away twice: the newer file stands there.
        self.deleted.retain(|file| file.path != path);
        let due = now.plus_ms(self.config.file_delete_delay_ms);
        self.deleted.push(DeletedFile { path, due });
        Ok(())
    }
}
