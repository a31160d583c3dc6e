//! Compaction of one partition: whether it is due, and one run. The pass over the log needs no lock;
//! each segment that comes of it is swapped in under the append lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::error::AppendError;
use super::partition::{Partition, Writer};
use super::syncing::SAVED_EVERY_BYTES;
use crate::config::value::Durability;
use crate::log::{Cleanable, Cleaned, CompactError, LogError, Pace, Pages, Plan, Sidecar, Swap};
use crate::types::{Offset, Timestamp};

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were written.
    pub segments: usize,
    /// Bytes that their records take less now; free once `file.delete.delay.ms` is over.
    pub freed_bytes: u64,
    /// How far the partition is compacted now; `None` if retention got in between.
    pub end: Option<Offset>,
}

/// Why a run ended early. Consumers see the same records as before, or those that remain.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// The pass over the log.
    #[error(transparent)]
    Pass(#[from] CompactError),
    /// The partition is closed, or has just gone offline.
    #[error(transparent)]
    Offline(#[from] AppendError),
}

impl CompactionError {
    /// Whether a further run would meet the same: what is stored is broken.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Pass(CompactError::Read(
                crate::log::ReadError::Damaged(_) | crate::log::ReadError::Unreadable { .. }
            ))
        )
    }
}

impl Partition {
    /// What can be compacted, if cleanup.policy has compact and enough of it is new or some of it
    /// has waited long enough. What is not on disk yet is synced first, and due at the next look.
    pub fn compaction_due(
        self: &Arc<Self>,
        now: Timestamp,
    ) -> Result<Option<Cleanable>, crate::log::ReadError> {
        let config = self.config.load();
        let Some(reader) = self.reader().ok().filter(|_| config.compact && !self.is_offline())
        else {
            return Ok(None);
        };
        let up_to = self.watermarks().last_stable;
        let found = reader.cleanable(&config.compaction, up_to, now)?;
        if !found.is_due(&config.compaction) {
            return Ok(None);
        }
        let is_on_disk =
            self.context.durability == Durability::Ephemeral || found.end <= self.durable_end();
        if !is_on_disk {
            // A record on disk must not give way to a newer one that a power cut may take.
            self.request_sync();
        }
        Ok(is_on_disk.then_some(found))
    }

    /// One run over what [`Partition::compaction_due`] found, with at most `memory_bytes` for keys.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// See [`CompactionError`]; a file that could not be written takes nothing offline.
    pub fn compact(
        &self,
        cleanable: Cleanable,
        memory_bytes: usize,
        now: Timestamp,
        pace: &mut Pace<'_>,
    ) -> Result<Compacted, CompactionError> {
        let config = self.config.load_full();
        let reader =
            self.reader().map_err(|error| AppendError::Storage(error.to_string()))?.clone();
        let plan = Plan {
            cleanable,
            delete_retention_ms: config.compaction.delete_retention_ms,
            segment_bytes: config.log.segment_bytes,
            index_interval_bytes: config.log.index_interval_bytes,
            memory_bytes,
            pages: if self.context.flusher.has_window() { Pages::Dropped } else { Pages::Kept },
            now,
            producers: self.lock().producers.tails(self.watermarks().high_watermark),
            // All that reach into what is cleaned: it ends before the last stable offset.
            aborted: self.aborted.all(),
        };
        let mut run = reader.compact(plan, pace)?;
        let mut done = Compacted::default();
        while let Some(cleaned) = run.next(pace)? {
            match self.swap(cleaned, now)? {
                Swap::Done { freed_bytes } => {
                    done.segments += 1;
                    done.freed_bytes = done.freed_bytes.saturating_add(freed_bytes);
                }
                Swap::Outdated => return Ok(done),
                Swap::Refused(error) => return Err(CompactError::Write(error).into()),
            }
        }
        let marked = self.with_log(|log| Ok(log.mark_compacted(run.end())))?;
        marked.map_err(CompactError::Write)?;
        done.end = Some(run.end());
        Ok(done)
    }
    /// Puts a segment of survivors in place. With the marker of an aborted transaction goes what is
    /// known of it: a client that is told of one drops that producer's records until a marker comes.
    fn swap(&self, cleaned: Cleaned, now: Timestamp) -> Result<Swap, AppendError> {
        let markers = cleaned.markers_gone().to_vec();
        let mut writer = self.lock();
        let forgets = self.aborted.has_any(&markers);
        if forgets {
            while writer.syncing {
                // What it lets be saved speaks of them still.
                writer = self.sync_ended.wait(writer).unwrap_or_else(PoisonError::into_inner);
            }
            if let Err(error) = writer.outdate_producers_file() {
                return Ok(Swap::Refused(error));
            }
        }
        let Some(log) = writer.log.as_mut() else {
            return Err(AppendError::Storage("the log is closed".to_owned()));
        };
        self.forgettings.fetch_add(u64::from(forgets), Ordering::AcqRel);
        let result = log.swap(cleaned, now);
        if let (true, Ok(Swap::Done { .. })) = (forgets, &result) {
            self.aborted.forget(&markers);
        }
        self.forgettings.fetch_add(u64::from(forgets), Ordering::AcqRel);
        result.map_err(|error| self.failed(writer, &error))
    }
}

impl Writer {
    /// Takes away, durably, what is saved of the producers, and has it saved anew with the next sync.
    fn outdate_producers_file(&mut self) -> Result<(), LogError> {
        self.to_save = None;
        (self.unsaved_bytes, self.saved_bytes) = (SAVED_EVERY_BYTES, 0);
        self.producers_file.as_ref().map_or(Ok(()), Sidecar::remove_for_good)
    }
}
