//! Making a partition durable and visible: what the sync thread calls, and who waits for it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::error::AppendError;
use super::partition::{Partition, Writer};
use super::producers::Snapshot;
use super::waiters::Wake;
use crate::config::value::Durability;
use crate::log::fs::is_out_of_files;
use crate::log::{Log, LogError, Sidecar, Unsynced};
use crate::types::Offset;

/// What producers wrote last is saved each time so much was appended, in bytes: as much as a start
/// after a crash walks in some tens of milliseconds. And at least so many times as much as its file has,
/// which grows with the aborted transactions of the log.
pub(super) const SAVED_EVERY_BYTES: u64 = 64 * 1024 * 1024;
const SAVED_EVERY_TIMES: u64 = 8;

/// Why a sync has made nothing durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSynced {
    /// The partition is offline and its log says why.
    Failed,
    /// No file could be opened, and no sync has failed: what waits goes on waiting, and the partition is
    /// to be synced again.
    PutOff,
}

impl Writer {
    fn is_save_due(&self) -> bool {
        let least = self.saved_bytes.saturating_mul(SAVED_EVERY_TIMES);
        SAVED_EVERY_BYTES.max(least) <= self.unsaved_bytes
    }

    /// Writes down what producers wrote last. A failure costs the next start some time only.
    fn save(file: Option<&Sidecar>, bytes: &[u8]) {
        if let Some(Err(error)) = file.map(|file| file.write(bytes)) {
            tracing::debug!(%error, "what producers wrote last was not saved");
        }
    }
}

/// A partition whose log is synced and takes nothing more.
#[derive(Debug)]
pub struct Sealed {
    end: Offset,
    log: Option<Log>,
    producers: Option<(Sidecar, Snapshot)>,
}

impl Sealed {
    /// Writes what saves the next start some time, and nothing else.
    pub fn save(&self) {
        if let Some(log) = &self.log {
            log.save_index();
        }
        if let Some((file, snapshot)) = &self.producers {
            Writer::save(Some(file), &snapshot.clone().into_file());
        }
    }
}

impl Partition {
    /// Asks for a sync of what is not on disk yet, whatever the durability setting.
    pub fn request_sync(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.context.flusher.enqueue(Arc::clone(self));
        }
    }

    /// Lets what is appended next to one of the broker's own journals be synced along with what others
    /// wait for; soon, if nobody waits for anything.
    pub fn sync_along(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.context.flusher.enqueue_unhurried(Arc::clone(self));
        }
    }

    /// The files to sync for everything appended up to now; `None` where there is nothing.
    pub(super) fn begin_sync(&self) -> Result<Option<Unsynced>, NotSynced> {
        self.queued.store(false, Ordering::Release);
        let mut writer = self.lock();
        if writer.broken.is_some() {
            return Ok(None); // After a failed sync another one would say that all is well.
        }
        let Some(log) = writer.log.as_ref() else { return Ok(None) };
        match log.unsynced() {
            Ok(unsynced) => {
                writer.syncing = !unsynced.is_empty();
                if writer.is_save_due() {
                    writer.unsaved_bytes = 0;
                    writer.to_save = Some(writer.producers.snapshot(unsynced.end));
                }
                Ok(writer.syncing.then_some(unsynced))
            }
            Err(LogError::NoFile { .. }) => Err(NotSynced::PutOff),
            Err(error) => {
                // What waits for this sync must hear that there is none.
                self.break_down(writer, &format!("sync not begun: {error}"));
                Err(NotSynced::Failed)
            }
        }
    }

    /// Takes in how a sync went: on success what it covered is durable and visible, on failure the
    /// partition is offline until restart, for the pages may be lost and a second sync would lie.
    pub(super) fn end_sync(
        &self,
        unsynced: &Unsynced,
        result: std::io::Result<()>,
    ) -> Result<(), NotSynced> {
        let mut writer = self.lock();
        let to_save = writer.to_save.take().filter(|_| result.is_ok());
        if let Some(snapshot) = to_save {
            let file = writer.producers_file.clone();
            drop(writer);
            let bytes = snapshot.into_file();
            Writer::save(file.as_ref(), &bytes);
            writer = self.lock();
            writer.saved_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        }
        writer.syncing = false;
        self.sync_ended.notify_all();
        if let Err(error) = result {
            if is_out_of_files(&error) {
                return Err(NotSynced::PutOff);
            }
            self.break_down(writer, &format!("sync failed: {error}"));
            return Err(NotSynced::Failed);
        }
        if writer.broken.is_some() {
            // Whatever broke it meanwhile may have been told of the failure that this sync was not.
            return Err(NotSynced::Failed);
        }
        if let Some(log) = &mut writer.log {
            log.mark_synced(unsynced);
        }
        drop(writer);
        let end = unsynced.end;
        let is_news = self.durable_end.fetch_max(end.0, Ordering::AcqRel) < end.0;
        if self.raise_high_watermark(end) || is_news {
            self.waiters.wake_reached(end);
        }
        Ok(())
    }

    /// Lets consumers read up to `end`.
    pub(super) fn advance_high_watermark(&self, end: Offset) {
        if self.raise_high_watermark(end) {
            self.waiters.wake_reached(end);
        }
    }

    /// Raises the high watermark, and the last stable offset with it: who sees the one sees the
    /// other. Whether anything has moved.
    fn raise_high_watermark(&self, end: Offset) -> bool {
        let raise = || self.high_watermark.fetch_max(end.0, Ordering::AcqRel) < end.0;
        // Whoever comes with an end behind a marker had the append lock after that was published.
        if !self.has_ended.load(Ordering::Acquire) {
            return raise();
        }
        let mut writer = self.lock();
        let visible = end.0.max(self.high_watermark.load(Ordering::Acquire));
        let released = writer.producers.transactions().release(Offset(visible));
        self.publish_unstable(&mut writer.producers);
        raise() || released
    }

    /// Returns once consumers may read up to `end`; under [`Durability::Fsync`] all of it is then on
    /// disk. Errors when the partition went offline first.
    pub async fn visible(&self, end: Offset) -> Result<(), AppendError> {
        if self.watermarks().high_watermark >= end {
            return Ok(());
        }
        let wake = Wake::new();
        let _registration = self.waiters.register_for(&wake, end);
        loop {
            if self.watermarks().high_watermark >= end {
                return Ok(());
            }
            if self.offline.load(Ordering::Acquire) {
                return Err(AppendError::Storage(self.offline_reason()));
            }
            wake.woken().await;
        }
    }

    /// Returns once everything before `end` is on disk, whatever the durability setting; under
    /// [`Durability::Ephemeral`] once it is visible. Errors when the partition went offline first.
    pub async fn durable(self: &Arc<Self>, end: Offset) -> Result<(), AppendError> {
        if self.context.durability == Durability::Ephemeral {
            return self.visible(end).await;
        }
        let wake = Wake::new();
        let _registration = self.waiters.register_for(&wake, end);
        loop {
            if self.durable_end() >= end {
                return Ok(());
            }
            if self.is_offline() {
                return Err(AppendError::Storage(self.offline_reason()));
            }
            self.request_sync();
            wake.woken().await;
        }
    }

    /// Syncs everything and closes the log: nothing is appended any more. Returns its end, which is
    /// on disk.
    pub fn close(&self) -> Result<Offset, AppendError> {
        let sealed = self.seal()?;
        sealed.save();
        Ok(sealed.end)
    }

    /// Takes note that the folder which holds the partition's own was synced.
    pub fn parent_is_synced(&self) {
        if let Some(log) = &mut self.lock().log {
            log.parent_is_synced();
        }
    }

    /// The part of [`Partition::close`] that makes things durable.
    pub fn seal(&self) -> Result<Sealed, AppendError> {
        let mut writer = self.lock();
        while writer.syncing {
            // Two at a time would write the same files; and should that one fail, this must not.
            writer = self.sync_ended.wait(writer).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(reason) = &writer.broken {
            return Err(AppendError::Storage(reason.clone()));
        }
        writer.broken = Some("the broker stops".to_owned());
        let log = writer.log.take();
        let unsaved = writer.unsaved_bytes > 0;
        let to_save =
            log.as_ref().filter(|_| unsaved).map(|log| writer.producers.snapshot(log.end_offset()));
        let file = writer.producers_file.take();
        drop(writer);
        self.offline.store(true, Ordering::Release);
        self.waiters.wake_all();
        let Some(mut log) = log else {
            return Ok(Sealed { end: self.watermarks().log_end, log: None, producers: None });
        };
        let end = log.seal().map_err(|error| AppendError::Storage(error.to_string()))?;
        self.durable_end.store(end.0, Ordering::Release);
        Ok(Sealed { end, log: Some(log), producers: file.zip(to_save) })
    }

    /// As [`Partition::close`], of a topic that is deleted: what only the next start needs is not made.
    pub fn retire(&self) -> Result<Offset, AppendError> {
        self.lock().producers_file = None;
        self.close()
    }
}
